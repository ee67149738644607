"""Link offers of this company: a URL for a position, which it prints where applicants see it.

docs/rights/student-api.md §4. Promises: nothing in the URL is about anybody; who opens it is not counted, and
this company hears of a student only through her consent.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from noren_client import campaign_files, config, keystore
from noren_core.errors import ConfigurationError
from noren_core.rights.consent.link_offer import NONCE_BYTES, OFFER_PATH, LinkOffer

MAX_DAYS = 366
_DAY_SECONDS = 86_400


def link_offer_url(company_dir: Path, campaign: str, position: str, *, base: str, days: int, now: int) -> str:
    """The URL of a fresh offer for a position of the season that the campaign scores.

    Args:
        company_dir: the company's directory.
        campaign: accepted; names the season.
        position: which one.
        base: `https://…` where students reach the platform's site.
        days: how long it is open, 1 to 366.
        now: Unix seconds.

    Raises:
        ConfigurationError: for a base that is no HTTPS address, or another number of days.
        DataError: if the position is no name.
    """
    if not base.startswith("https://") or "?" in base or "#" in base:
        raise ConfigurationError("link offer: expected an https address of the platform's site")
    if not 1 <= days <= MAX_DAYS:
        raise ConfigurationError(f"link offer: expected 1 to {MAX_DAYS} days, got another number")
    offer = LinkOffer(
        company=config.load(company_dir).company,
        position=position,
        season=campaign_files.load_plan(company_dir, campaign).score_season,
        nonce=secrets.token_bytes(NONCE_BYTES),
        expires_at=now + days * _DAY_SECONDS,
    )
    return base.rstrip("/") + OFFER_PATH + offer.to_token(keystore.load(company_dir).signing)

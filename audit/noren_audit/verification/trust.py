"""The trust file: the only thing the auditor believes before looking at the bundle.

It names the log, its key and the platform's key, received by a way the platform does not control. It may
set upper limits for epsilon and delta that no plan in the ledger can raise, and name witnesses, some of whom
must have cosigned the checkpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from noren_core import toml_text
from noren_core.errors import ConfigurationError, DataError
from noren_core.ledger.cosignature import CosignerKey
from noren_core.ledger.note import VerifierKey
from noren_core.season.plan import MAX_WITNESSES

_KEY_HEX = re.compile(r"[0-9a-f]{64}\Z")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,15})?(e-[0-9]{1,2})?\Z", re.ASCII)
_REQUIRED = frozenset({"origin", "log_key", "platform_key"})
_FIX = "Fix: get the trust file anew from somebody you believe; docs/auditing.md shows its format"
_LIMITS = ("max_epsilon", "max_row_epsilon", "max_person_epsilon", "max_delta")
_WITNESSES = frozenset({"witnesses", "witness_quorum"})
_OPTIONAL = frozenset({*_LIMITS, *_WITNESSES, "auditor_keys"})
MAX_AUDITORS = 16


class BadTrustFileError(ConfigurationError):
    """The trust file cannot be used; nothing can be said about any bundle."""

    code = "BAD_TRUST_FILE"

    def __init__(self, cause: str) -> None:
        super().__init__(f"trust file: {cause}. {_FIX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe, and the auditor's own limits (None: the plans' limits alone apply).

    Attributes:
        log_key: the log's verifier key; its name is the origin.
        platform_key: the platform's Ed25519 public key.
        max_epsilon: most that a campaign may plan to spend on a record.
        max_row_epsilon: most that a campaign's row release may spend on a row.
        max_person_epsilon: most that a plan may let a person lose over all campaigns.
        max_delta: largest delta of any of them.
        witnesses: whose cosignatures count.
        witness_quorum: how many of them the checkpoint needs; 0 only if no witness is named.
        auditor_keys: whose verdicts of replays count.
    """

    log_key: VerifierKey
    platform_key: bytes
    max_epsilon: Fraction | None = None
    max_row_epsilon: Fraction | None = None
    max_person_epsilon: Fraction | None = None
    max_delta: Fraction | None = None
    witnesses: tuple[CosignerKey, ...] = ()
    witness_quorum: int = 0
    auditor_keys: tuple[bytes, ...] = ()

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.log_key.name


def load_trust(path: Path) -> Trust:
    """Read a trust file; BadTrustFileError says which field is missing, unknown or malformed."""
    try:
        fields = toml_text.parse(path.read_bytes(), parse_float=str)
    except OSError as error:
        raise BadTrustFileError(f"expected a readable file, got {error.strerror}") from error
    except DataError as error:
        raise BadTrustFileError(error.message) from error
    missing, unknown = _REQUIRED - set(fields), set(fields) - _REQUIRED - _OPTIONAL
    if missing or unknown:
        raise BadTrustFileError(
            f"expected the fields {', '.join(sorted(_REQUIRED))} and optional limits, witnesses, auditors; "
            f"{len(missing)} missing, {len(unknown)} unknown"
        )
    witnesses = _witnesses(fields.get("witnesses", []))
    return Trust(
        log_key=_log_key(fields["log_key"], fields["origin"]),
        platform_key=_public_key(fields["platform_key"], "platform_key"),
        **{name: _limit(fields[name], name) for name in _LIMITS if name in fields},
        witnesses=witnesses,
        witness_quorum=_quorum(fields.get("witness_quorum", 0), len(witnesses)),
        auditor_keys=_auditor_keys(fields.get("auditor_keys", [])),
    )


def _log_key(text: Any, origin: Any) -> VerifierKey:
    try:
        key = VerifierKey.from_text(text if isinstance(text, str) else "")
    except DataError as error:
        raise BadTrustFileError(f"log_key: {error.message}") from error
    if key.name != origin:
        raise BadTrustFileError("origin: expected the name in log_key, got another")
    return key


def _auditor_keys(texts: Any) -> tuple[bytes, ...]:
    if not isinstance(texts, list) or len(texts) > MAX_AUDITORS:
        raise BadTrustFileError(f"auditor_keys: expected a list of at most {MAX_AUDITORS} keys")
    return tuple(_public_key(text, "auditor_keys") for text in texts)


def _public_key(text: Any, what: str) -> bytes:
    if not isinstance(text, str) or not _KEY_HEX.match(text):
        raise BadTrustFileError(f"{what}: expected 64 lower-case hex digits")
    return bytes.fromhex(text)


def _witnesses(texts: Any) -> tuple[CosignerKey, ...]:
    if not isinstance(texts, list) or len(texts) > MAX_WITNESSES:
        raise BadTrustFileError(f"witnesses: expected a list of at most {MAX_WITNESSES} verifier keys")
    try:
        keys = tuple(CosignerKey.from_text(text if isinstance(text, str) else "") for text in texts)
    except DataError as error:
        raise BadTrustFileError(f"witnesses: {error.message}") from error
    if len({key.public_key for key in keys}) != len(keys):
        raise BadTrustFileError("witnesses: expected another public key for each, got one twice")
    return keys


def _quorum(value: Any, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not min(1, count) <= value <= count:
        raise BadTrustFileError(
            f"witness_quorum: expected {min(1, count)} to {count}, by the witnesses named"
        )
    return value


def _limit(value: Any, name: str) -> Fraction:
    """A positive decimal, written as a TOML number or text; parsed exactly, never through a float."""
    text = value if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not _DECIMAL.match(text) or Fraction(text) <= 0:
        raise BadTrustFileError(f"{name}: expected a positive decimal such as 1 or 0.000001")
    return Fraction(text)

"""From released heads to bands for this company's own offerees; nothing of it leaves this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from noren_client import alignment, calibration, campaign_files, keystore, scoring
from noren_client.calibration import IntegerHead
from noren_client.scoring import OpenedScore
from noren_core import canonical_json
from noren_core.errors import LocalProtocolError
from noren_core.season.plan import CampaignPlan

SCORE_WAIT_SECONDS = 300.0
PROBABILITY_UNIT = 10_000  # probabilities are kept as integers of this unit


@dataclass(frozen=True, slots=True)
class FollowUp:
    """How many offerees there are, and for how many a band could be computed."""

    offerees: int
    banded: int


def score(
    company_dir: Path,
    campaign: str,
    *,
    others: Sequence[str] = (),
    wait_seconds: float = SCORE_WAIT_SECONDS,
) -> FollowUp:
    """Send the encrypted heads, open our offerees' scores, calibrate locally, keep bands in scores.json.

    A season is scored with one message (docs/protocol.md §5.5). Campaigns for other outcomes, trained on the
    same rows, are therefore scored with this one: their heads travel in its message, and every campaign gets
    bands of its own.

    Args:
        company_dir: the company's directory.
        campaign: whose plan the message is sent under.
        others: campaigns over the same rows, at most as many as this one's plan has further heads.
        wait_seconds: how long to wait for the score table.

    Raises:
        LocalProtocolError: if this company did not take part in the rounds of one of them to their end, or
            they are over other rows, or too many.
        RemoteProtocolError: with code NOT_READY, if the platform has no score table in time.
    """
    plans = [campaign_files.load_plan(company_dir, name) for name in (campaign, *others)]
    if any(_rows_of(plan) != _rows_of(plans[0]) for plan in plans):
        raise LocalProtocolError(
            "score: expected campaigns over the same cohort, seasons and rows, got others"
        )
    heads = [
        calibration.integer_head(campaign_files.load_head(company_dir, plan.campaign), plan) for plan in plans
    ]
    scoring.submit_head(company_dir, campaign, [head.weights for head in heads])
    opened = scoring.open_scores(company_dir, campaign, wait_seconds=wait_seconds)
    for place, (plan, head) in enumerate(zip(plans, heads, strict=True)):
        found = [(item, item.scores[place]) for item in opened if item.scores is not None]
        _keep_bands(company_dir, plan, head, found)
    return FollowUp(offerees=len(opened), banded=sum(item.scores is not None for item in opened))


def _rows_of(plan: CampaignPlan) -> tuple[object, ...]:
    """What decides which coordinates a head's weights belong to."""
    cohorts = plan.companies, plan.train_seasons, plan.score_season
    return *cohorts, plan.release.dimensions, plan.release.clip, plan.scoring.weight_bits


def _keep_bands(
    company_dir: Path, plan: CampaignPlan, head: IntegerHead, found: Sequence[tuple[OpenedScore, int]]
) -> None:
    labels = alignment.past_labels(company_dir, plan)
    values = calibration.probabilities(
        [value for _, value in found], unit=head.unit, rate=calibration.base_rate(labels)
    )
    bands = calibration.bands(values, plan.scoring.band_edges)
    rows = [
        _row(item, value, probability, band)
        for (item, value), probability, band in zip(found, values, bands, strict=True)
    ]
    body = {"campaign": plan.campaign, "scores": rows}
    keystore.write_secret(
        company_dir, campaign_files.secret_name(plan.campaign, "scores.json"), canonical_json.encode(body)
    )


def _row(item: OpenedScore, value: int, probability: float, band: int) -> dict[str, str | int]:
    return {
        "identifier_kind": item.applicant.identifier_kind.value,
        "identifier": item.applicant.identifier,
        "score": value,
        "probability": round(probability * PROBABILITY_UNIT),
        "band": band,
    }

"""From the released head to bands for this company's own offerees; nothing of it leaves this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noren_client import calibration, campaign_files, scoring
from noren_client.scoring import OpenedScore
from noren_core import canonical_json

SCORE_WAIT_SECONDS = 300.0
PROBABILITY_UNIT = 10_000  # probabilities are kept as integers of this unit


@dataclass(frozen=True, slots=True)
class FollowUp:
    """How many offerees there are, and for how many a band could be computed."""

    offerees: int
    banded: int


def score(company_dir: Path, campaign: str, *, wait_seconds: float = SCORE_WAIT_SECONDS) -> FollowUp:
    """Send the encrypted head, open our offerees' scores, calibrate locally, keep bands in scores.json.

    Raises:
        LocalProtocolError: if this company did not take part in the rounds to their end.
        RemoteProtocolError: with code NOT_READY, if the platform has no score table in time.
    """
    plan = campaign_files.load_plan(company_dir, campaign)
    head = calibration.integer_head(campaign_files.load_head(company_dir, campaign), plan)
    _, labels = campaign_files.load_training_set(company_dir, campaign)
    scoring.submit_head(company_dir, campaign, head.weights)
    opened = scoring.open_scores(company_dir, campaign, wait_seconds=wait_seconds)
    found = [(item, item.score) for item in opened if item.score is not None]
    values = calibration.probabilities(
        [value for _, value in found], unit=head.unit, rate=calibration.base_rate(labels)
    )
    bands = calibration.bands(values, plan.scoring.band_edges)
    rows = [
        _row(item, value, probability, band)
        for (item, value), probability, band in zip(found, values, bands, strict=True)
    ]
    campaign_files.write_private(
        campaign_files.directory(company_dir, campaign) / "scores.json",
        canonical_json.encode({"campaign": campaign, "scores": rows}),
    )
    return FollowUp(offerees=len(opened), banded=len(rows))


def _row(item: OpenedScore, value: int, probability: float, band: int) -> dict[str, str | int]:
    return {
        "identifier_kind": item.applicant.identifier_kind.value,
        "identifier": item.applicant.identifier,
        "score": value,
        "probability": round(probability * PROBABILITY_UNIT),
        "band": band,
    }

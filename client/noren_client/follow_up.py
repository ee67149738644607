"""From released heads to bands for this company's own offerees: computed in memory, kept one by one.

Promises: integer scores and probabilities exist in this process only, while they are calibrated together, and
are on no disk; of each person a band is kept, and only after she has her own copy (docs/rights/
gate-at-a-company.md §3). Nothing of it leaves this machine but that copy, sealed to her.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from noren_client import alignment, calibration, campaign_files, config, scoring
from noren_client.calibration import IntegerHead
from noren_client.gate import score_records
from noren_client.gate.score_records import OpenedRow, ScoreIndex
from noren_client.rights import orders
from noren_client.rights.custody import CustodyStore
from noren_client.rights.mirror_deposit import DepositedScore, MirrorDeposits, ScoredPerson
from noren_client.rights.transport import RightsClient
from noren_client.scoring import OpenedScore, OpenedScores
from noren_client.transport import PlatformClient
from noren_core import canonical_json
from noren_core.errors import LocalProtocolError
from noren_core.rights.disclosure.mirror import BASE_RATE_STEP, MirrorRecord, Reason
from noren_core.rights.notices.data_categories import DataCategory
from noren_core.season.plan import CampaignPlan

SCORE_WAIT_SECONDS = 300.0

_MODEL_LABEL = b"noren/v1/model\0"


class ScoringState(StrEnum):
    """How far scoring is."""

    HEAD_SUBMITTED = "head-submitted"  # no gate is open yet
    SCORED = "scored"


def score(
    company_dir: Path,
    campaign: str,
    *,
    others: Sequence[str] = (),
    wait_seconds: float = SCORE_WAIT_SECONDS,
    clock: Callable[[], float] = time.time,
) -> ScoringState:
    """Send the encrypted heads; once a gate is open, open our offerees' scores and keep their bands.

    A season is scored with one message (docs/protocol.md §5.5). Campaigns for other outcomes, trained on the
    same rows, are therefore scored with this one: their heads travel in its message, and every campaign gets
    bands of its own.

    1. Every erasure order was carried out here; what is past its time, or answered, goes.
    2. The heads; for a later call the same message.
    3. Whatever decision batch's cooling time is over is evaluated; the newest table is read.
    4. For every campaign: whose row does not open any more loses her record; whoever is new gets her copy,
       and then a record.

    Args:
        company_dir: the company's directory.
        campaign: whose plan the message is sent under, and whose decision batches count.
        others: campaigns over the same rows, at most as many as this one's plan has further heads.
        wait_seconds: how long to wait for the score table.
        clock: seconds since 1970.

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
    with RightsClient(company_dir) as rights:  # 1
        orders.verify_up_to_date(company_dir, campaign, rights)
    tidy(company_dir, now=int(clock()))
    scoring.submit_head(company_dir, campaign, [head.weights for head in heads])  # 2
    opened = scoring.open_scores(company_dir, campaign, now=int(clock()), wait_seconds=wait_seconds)  # 3
    if opened is None:
        return ScoringState.HEAD_SUBMITTED
    _keep_bands(company_dir, plans, heads, opened, now=int(clock()))  # 4
    return ScoringState.SCORED


def tidy(company_dir: Path, *, now: int) -> None:
    """Destroy what is past its time, and the records of whoever has answered the offer or lost it."""
    with CustodyStore(company_dir) as custody:
        for campaign in campaign_files.accepted(company_dir):
            score_records.expire(company_dir, campaign, custody, now=now)
            if score_records.load(company_dir, campaign).people:
                plan = campaign_files.load_plan(company_dir, campaign)
                waiting = {
                    person.key
                    for person in alignment.applicants(company_dir, plan)
                    if person.season == plan.score_season and not person.outcome
                }
                score_records.keep_only(company_dir, campaign, custody, waiting)


def model_sha256(company_dir: Path, campaign: str) -> bytes:
    """What a record says of the model: SHA-256(label ‖ 0 ‖ canonical JSON of the head's integers)."""
    weights = [str(weight) for weight in campaign_files.load_head(company_dir, campaign)]
    return hashlib.sha256(_MODEL_LABEL + canonical_json.encode(weights)).digest()


def _rows_of(plan: CampaignPlan) -> tuple[object, ...]:
    """What decides which coordinates a head's weights belong to."""
    cohorts = plan.companies, plan.train_seasons, plan.score_season
    return *cohorts, plan.release.dimensions, plan.release.clip, plan.scoring.weight_bits


def _keep_bands(
    company_dir: Path,
    plans: Sequence[CampaignPlan],
    heads: Sequence[IntegerHead],
    opened: OpenedScores,
    *,
    now: int,
) -> None:
    """Let the records follow the table; deposit copies for whoever is new, then keep hers.

    Who has a record keeps it as it is: a band that changed because others came later would tell of them.
    """
    plan = plans[0]
    rows = [
        OpenedRow(
            item.applicant.key,
            item.tag,
            item.mailbox,
            is_over=score_records.is_over(plan, opened_at=item.batch.opened_at, now=now),
        )
        for item in opened.people
    ]
    models = {model_sha256(company_dir, each.campaign): each.campaign for each in plans}
    with (
        CustodyStore(company_dir) as custody,
        PlatformClient(company_dir) as ledger,
        RightsClient(company_dir) as copies,
    ):

        def keep(deposited: Sequence[DepositedScore]) -> None:
            score_records.keep_deposited(company_dir, plan.campaign, custody, deposited, heads=models)

        deposits = MirrorDeposits(company_dir, plan, ledger=ledger, copies=copies)
        deposits.complete(keep=keep)
        index = score_records.refresh(
            company_dir,
            plan.campaign,
            custody,
            table_id=opened.table_id,
            rows=rows,
            heads=[each.campaign for each in plans],
        )
        for place, (each, head) in enumerate(zip(plans, heads, strict=True)):
            records = _records(company_dir, each, head, opened, place=place, scored_with=plan, now=now)
            people = [
                ScoredPerson(records[item.applicant.key], item.disclosure_key)
                for item in opened.people
                if _is_missing(index, item, each.campaign)
            ]
            deposits.deposit(people, now=now, keep=keep)


def _is_missing(index: ScoreIndex, item: OpenedScore, campaign: str) -> bool:
    """Whether she has no record of this campaign's head yet."""
    person = index.find(item.applicant.key, campaign)
    return person is not None and not person.is_deposited


def _records(
    company_dir: Path,
    plan: CampaignPlan,
    head: IntegerHead,
    opened: OpenedScores,
    *,
    place: int,
    scored_with: CampaignPlan,
    now: int,
) -> dict[bytes, MirrorRecord]:
    """By identifier what company and student both see: everybody's band, calibrated together.

    A record names the campaign of the table, since that is the one whose gate was opened; the digest of the
    model says whose head it is.
    """
    rate = calibration.base_rate(alignment.past_labels(company_dir, plan))
    values = calibration.probabilities(
        [item.scores[place] for item in opened.people], unit=head.unit, rate=rate
    )
    bands = calibration.bands(values, plan.scoring.band_edges)
    settings, model = config.load(company_dir), model_sha256(company_dir, plan.campaign)
    return {
        item.applicant.key: MirrorRecord(
            campaign=scored_with.campaign,
            company=settings.company,
            position=item.applicant.position,
            mailbox=item.mailbox,
            band=band - 1,
            band_edges=plan.scoring.band_edges,
            base_rate_percent=BASE_RATE_STEP * round(100 * rate / BASE_RATE_STEP),
            reasons=tuple(Reason),
            data_categories=(DataCategory.BEHAVIOUR.value,),
            computed_at=now,
            expires_at=max(now, score_records.expiry(scored_with, opened_at=item.batch.opened_at)),
            model_sha256=model,
            gate_index=item.batch.opened_index,
            contest=settings.gate.contest,
        )
        for item, band in zip(opened.people, bands, strict=True)
    }

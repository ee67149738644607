"""How far this company is in a campaign, from its own files; and what the ledger says of it now.

Promises: `progress` asks nobody and changes nothing; `ask_ledger` believes what the ledger proves and keeps
what was proven (`ledger_watch`). No number of records is in either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from noren_client import calibration, campaign_files, config, scoring
from noren_client.gate import decisions, score_records
from noren_client.ledger_watch import LedgerWatch
from noren_client.odometer import Odometer
from noren_client.rights.custody import CustodyStore
from noren_client.transport import PlatformClient
from noren_core.ledger.entries import CoverageVerdict, EntryKind, ServiceStatus
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.rights.service.service_state import ServiceStates, StateChange
from noren_core.season.plan import TrainingMode


class Stage(StrEnum):
    """What was done last; each comes after the one before."""

    ACCEPTED = "accepted"
    PREPARED = "prepared"
    TRAINING = "training"  # a round was spent
    TRAINED = "trained"  # the head of the last round is here
    SCORED = "scored"  # bands were computed


@dataclass(frozen=True, slots=True)
class Progress:
    """One campaign at this company.

    Attributes:
        rounds: of the plan.
        reserved: rounds that this company took part in; `settled` of them are known to be in the head.
        is_gate_open: whether the ledger opened the gate for a batch of ours.
        message: whose message of heads is sent for the season that is scored, or nothing before.
        partners: the other campaigns whose heads are in the message of this one, in its order.
    """

    campaign: str
    train_seasons: tuple[str, ...]
    score_season: str
    stage: Stage
    rounds: int
    reserved: int
    settled: int
    is_gate_open: bool
    message: str
    partners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What the ledger says of a campaign, as it was proven now.

    Attributes:
        state: of the service for us and this campaign.
        size: how many entries the whole ledger has.
        counts: entries of the campaign that concern us, by kind.
        accepted: companies that accepted the plan, of `companies` in its cohort.
        is_coverage_clear: whether the newest coverage report clears the campaign; None without one.
    """

    campaign: str
    state: ServiceStatus
    size: int
    counts: dict[EntryKind, int]
    accepted: int
    companies: int
    is_coverage_clear: bool | None


def progress(company_dir: Path, campaign: str) -> Progress:
    """How far the campaign is here.

    Raises:
        LocalProtocolError: if the plan was not accepted, or a file is damaged.
        VerificationError: with code ACCOUNTANT_RESET, if the odometer cannot be relied on.
    """
    plan = campaign_files.load_plan(company_dir, campaign)
    spent = next(
        (known for known in Odometer.open(company_dir).spending() if known.campaign == campaign), None
    )
    batches = decisions.kept_batches(company_dir, campaign)
    return Progress(
        campaign=campaign,
        train_seasons=plan.train_seasons,
        score_season=plan.score_season,
        stage=_stage(company_dir, campaign, plan.mode, is_begun=spent is not None),
        rounds=plan.training.rounds,
        reserved=0 if spent is None else spent.reserved,
        settled=0 if spent is None else spent.settled,
        is_gate_open=any(batch.is_open for batch in batches),
        message=_message_of(company_dir, plan.score_season),
        partners=_partners(company_dir, campaign, plan.score_season),
    )


def same_season(company_dir: Path, campaign: str) -> tuple[str, ...]:
    """The other accepted campaigns that score the same season and have their head, by name."""
    season = campaign_files.load_plan(company_dir, campaign).score_season
    return tuple(name for name in _trained_for(company_dir, season) if name != campaign)


def last_contact(company_dir: Path) -> int:
    """When the platform last proved something new to us, Unix seconds; 0 if it never did."""
    path = company_dir / "platform" / "checkpoint"
    return int(path.stat().st_mtime) if path.exists() else 0


def is_worker_running(company_dir: Path) -> bool:
    """Whether `noren-company run` says that it can answer the training rounds."""
    return (company_dir / "run" / "ready").exists()


def ask_ledger(company_dir: Path, campaign: str) -> LedgerView:
    """What the ledger says now; PlatformUnavailableError or VerificationError if it cannot be known."""
    company, watch = config.load(company_dir).company, LedgerWatch(company_dir)
    with PlatformClient(company_dir) as platform:
        proven = watch.accept(platform.get_proof(campaign, known_tree_size=watch.known_tree_size))
    ours = [item for item in proven if item.entry.campaign == campaign]
    counts = Counter(item.entry.kind for item in ours)
    accepted = {item.entry.company for item in ours if item.entry.kind is EntryKind.PLAN_ACCEPTANCE}
    verdicts = [item.entry.body["verdict"] for item in ours if item.entry.kind is EntryKind.COVERAGE]
    return LedgerView(
        campaign=campaign,
        state=_service(proven).state_for(company=company, campaign=campaign),
        size=watch.known_tree_size,
        counts=dict(counts),
        accepted=len(accepted),
        companies=len(campaign_files.load_plan(company_dir, campaign).companies),
        is_coverage_clear=verdicts[-1] == CoverageVerdict.CLEAR if verdicts else None,
    )


def _stage(company_dir: Path, campaign: str, mode: TrainingMode, *, is_begun: bool) -> Stage:
    if any(person.is_deposited for person in score_records.load(company_dir, campaign).people):
        return Stage.SCORED
    if (company_dir / campaign_files.secret_name(campaign, "head.json")).exists():
        return Stage.TRAINED
    if is_begun:
        return Stage.TRAINING
    if _is_prepared(company_dir, campaign, mode):
        return Stage.PREPARED
    return Stage.ACCEPTED


def _trained_for(company_dir: Path, season: str) -> list[str]:
    """The accepted campaigns that score a season and have the head of their last round."""
    return [
        name
        for name in campaign_files.accepted(company_dir)
        if campaign_files.load_plan(company_dir, name).score_season == season
        and (company_dir / campaign_files.secret_name(name, "head.json")).exists()
    ]


def _message_of(company_dir: Path, season: str) -> str:
    names = _trained_for(company_dir, season)
    return next((name for name in names if scoring.submitted_heads(company_dir, name)), "")


def _partners(company_dir: Path, campaign: str, season: str) -> tuple[str, ...]:
    """Found by the heads themselves: a later call has to send the very same ones."""
    sent = scoring.submitted_heads(company_dir, campaign)
    if not sent:
        return ()
    names = {}
    for name in _trained_for(company_dir, season):
        plan = campaign_files.load_plan(company_dir, name)
        names[calibration.integer_head(campaign_files.load_head(company_dir, name), plan).weights] = name
    return tuple(names[head] for head in sent if names.get(head, campaign) != campaign)


def _is_prepared(company_dir: Path, campaign: str, mode: TrainingMode) -> bool:
    if mode is TrainingMode.SEALED_STATISTICS:
        return (company_dir / campaign_files.secret_name(campaign, campaign_files.SUMS_FILE)).exists()
    with CustodyStore(company_dir) as custody:
        return campaign_files.training_record(campaign) in custody.names(campaign, ArtefactClass.TRAIN_ROW)


def _service(proven: Sequence[VerifiedEntry]) -> ServiceStates:
    states = ServiceStates()
    for item in proven:
        if item.entry.kind is EntryKind.SERVICE_STATE:
            states.apply(StateChange.from_body(item.entry.body))
    return states

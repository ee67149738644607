"""Accepting a campaign's plan, and making the company's training set (docs/protocol.md §1 to §4).

Promises: a plan beyond this company's own limits is refused and nothing is signed; what the plan costs is
recomputed here, from what it releases; the training set is what the ledger's table holds for our own
applicants, joined with outcomes that never leave this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noren_client import campaign_files, config, keystore, sealed_statistics
from noren_client.applicants import (
    Applicant,
    read_applicants,
    training_applicants,
)
from noren_client.config import CompanyConfig
from noren_client.imports import import_journal
from noren_client.ledger_watch import LedgerWatch
from noren_client.lifetime import CampaignSpending, forecasts, verify_room
from noren_client.odometer import Odometer
from noren_client.rights import orders
from noren_client.rights.transport import RightsClient
from noren_client.table_reading import Aligner, OpenedTable
from noren_client.training_set import TrainingSet
from noren_client.transport import PlatformClient
from noren_core.errors import (
    BudgetExceededError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ids import TableKind
from noren_core.ledger.entries import CompanyKey, EntryKind, sign_entry
from noren_core.ledger.key_history import KeyHistoryError
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.privacy.events import NoisePlacement
from noren_core.privacy.forecast import Forecast
from noren_core.privacy.small_samples import publishes_a_record, strongest_placement
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_core.season.round_event import round_event
from noren_core.wire.refusal import Refusal

APPLICANTS_FILE = "applicants.csv"

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class AcceptedPlan:
    """An accepted plan and what it can cost one person, recomputed here from what is released.

    Attributes:
        epsilon, row_epsilon: of this plan alone.
        forecasts: by season to train on, what it comes to with all campaigns that were begun on it.
    """

    plan: CampaignPlan
    epsilon: float
    row_epsilon: float
    forecasts: Mapping[str, Forecast]


@dataclass(frozen=True, slots=True)
class PreparedTraining:
    """What came of the alignment; these numbers are for the company's own eyes."""

    applicants: int
    rows: int
    positive: int = field(repr=False)


def accept_plan(company_dir: Path, campaign: str, *, sleep: Sleep = time.sleep) -> AcceptedPlan:
    """Check a campaign's plan against our own limits, then sign it into the ledger.

    1. The ledger proves the plan, and for every company of the cohort the keys that were current when the
       plan was published, which none of them changes until it is done; none is revoked.
    2. Within our limits: bundle, cohort, rounds, deltas.
    3. Epsilons recomputed from the events, not read from the plan, are within the limits.
    4. The same with every campaign that our odometer says was begun on the same records; the odometer has
       all that the ledger says it had.
    5. Sign the hash of the plan; the ledger proves that our acceptance is in it.
    6. Keep plan and cohort keys: from now on the training session acts on them.

    Raises:
        BudgetExceededError: if the plan would cost more than we allow; nothing was sent.
        VerificationError: with code ACCOUNTANT_RESET, if the odometer was lost, changed or rolled back;
            nothing was sent.
        VerificationError, RemoteProtocolError: with code PLAN_MISMATCH, if it is not what we agreed to take
            part in; nothing was sent.
    """
    keys, watch = keystore.load(company_dir), LedgerWatch(company_dir)
    with PlatformClient(company_dir, sleep=sleep) as platform:
        accepted, roster = _checked_plan(company_dir, campaign, platform, watch)  # 1 to 4
        plan = accepted.plan
        body = {"campaign": campaign, "company": keys.company, "plan_sha256": plan.digest().hex()}
        entry = sign_entry(EntryKind.PLAN_ACCEPTANCE, keys.company, body, keys.signing)  # 5
        shown = watch.verify(platform.append(entry, known_tree_size=watch.known_tree_size))
    if not any(item.kind is EntryKind.PLAN_ACCEPTANCE and item.body == body for item in shown):
        raise VerificationError("acceptance: expected a proof that it is in the ledger, got none")
    campaign_files.save_plan(company_dir, plan)  # 6
    campaign_files.save_roster(
        company_dir, campaign, signing=roster[CompanyKey.SIGNING], sealing=roster[CompanyKey.SEALING]
    )
    return accepted


def proposed_plan(company_dir: Path, campaign: str, *, sleep: Sleep = time.sleep) -> AcceptedPlan:
    """What `accept_plan` would sign, after the same checks; nothing is signed, and it raises the same."""
    with PlatformClient(company_dir, sleep=sleep) as platform:
        return _checked_plan(company_dir, campaign, platform, LedgerWatch(company_dir))[0]


def prepare(company_dir: Path, campaign: str, *, sleep: Sleep = time.sleep) -> PreparedTraining:
    """Open our training rows and join them with our outcomes: the campaign's training set.

    1. Our applicants of the training seasons with an offer and an outcome that counts.
    2. Our odometer has all that the ledger says it had, and every erasure order was carried out here; with
       older files, nothing is computed.
    3. Align them.
    4. Read the sealed table to its end and open our rows.
    5. Join and keep; in the mode of sealed statistics have the platform sum our rows, and keep the sums. That
       is done however few rows were opened: down to none, this company takes part with its noise.
       Staying away because of what the table held would tell the platform, which chose what to put in it,
       who our applicants are and how their outcomes differ.

    Raises:
        TrainingSetError: with a `TrainingSetCode`, if our own file has nothing to learn from: this company
            then takes no part and the season goes on. A training set of an earlier call is removed first.
        VerificationError: with code ACCOUNTANT_RESET, if the odometer was lost, changed or rolled back.
        LocalProtocolError: with code PENDING_ERASURE_ORDERS or RESTORE_NEEDS_TOMBSTONES.
        DataError: if our own file is malformed.
    """
    plan = campaign_files.load_plan(company_dir, campaign)
    campaign_files.forget_training_set(company_dir, campaign)
    labels = training_labels(company_dir, plan)  # 1
    import_journal.note_use(company_dir, import_journal.Use.TRAINING)
    with PlatformClient(company_dir, sleep=sleep) as platform:
        watch = LedgerWatch(company_dir)
        watch.accept(platform.get_proof(campaign, known_tree_size=watch.known_tree_size))  # 2
        Odometer.open(company_dir)
        with RightsClient(company_dir) as rights:
            orders.verify_up_to_date(company_dir, campaign, rights)
        aligner = Aligner(company_dir, plan, platform, sleep=sleep)
        opened = aligner.open_table(  # 3, 4
            TableKind.TRAIN, list(labels), payload_bytes=plan.training_payload_bytes
        )
        if plan.mode is TrainingMode.NOISED_ROWS:  # 5
            joined = _joined(opened, labels, plan.rows.dimensions)
            campaign_files.save_training_set(company_dir, campaign, joined)
            used = joined.labels
        else:
            positions = {row.position: labels[identifier] for identifier, row in opened.rows.items()}
            used = sealed_statistics.obtain_sums(
                company_dir, plan, platform, manifest=opened.manifest, labels=positions
            ).labels
    return PreparedTraining(applicants=len(labels), rows=len(used), positive=int(used.sum()))


def past_labels(company_dir: Path, plan: CampaignPlan) -> NDArray[np.int8]:
    """The outcomes that this company trained on, 0 and 1; LocalProtocolError before it is prepared."""
    if plan.mode is TrainingMode.NOISED_ROWS:
        return campaign_files.load_training_set(company_dir, plan.campaign).labels
    return sealed_statistics.load_weights(company_dir, plan.campaign).labels


def _joined(opened: OpenedTable, labels: Mapping[bytes, bool], dimensions: int) -> TrainingSet:
    """The opened rows with their outcomes, by tag: the order in which they are committed to."""
    rows = opened.rows
    ordered = sorted(rows, key=lambda identifier: rows[identifier].tag)
    values = np.frombuffer(b"".join(rows[identifier].payload for identifier in ordered), dtype="<i2")
    return TrainingSet(
        tags=tuple(rows[identifier].tag for identifier in ordered),
        rows=values.reshape(len(ordered), dimensions).astype(np.int16),
        labels=np.array([labels[identifier] for identifier in ordered], dtype=np.int8),
        table_id=opened.manifest.context.table_id,
    )


def applicants(company_dir: Path, plan: CampaignPlan) -> tuple[Applicant, ...]:
    """The company's own file, checked against the plan's outcome words."""
    return read_applicants(company_dir / APPLICANTS_FILE, vocabulary=plan.task.vocabulary)


def training_labels(company_dir: Path, plan: CampaignPlan) -> dict[bytes, bool]:
    """Label by normalised identifier; of a person in several seasons the last one counts."""
    chosen = training_applicants(applicants(company_dir, plan), plan.train_seasons, plan.task)
    order = {season: place for place, season in enumerate(plan.train_seasons)}
    by_season = sorted(chosen, key=lambda row: order[row.applicant.season])
    return {row.applicant.key: row.is_positive for row in by_season}


def _checked_plan(
    company_dir: Path, campaign: str, platform: PlatformClient, watch: LedgerWatch
) -> tuple[AcceptedPlan, dict[CompanyKey, dict[str, bytes]]]:
    """The campaign's plan and the cohort's keys; steps 1 to 4 of `accept_plan`."""
    settings, keys = config.load(company_dir), keystore.load(company_dir)
    proof = platform.get_proof(campaign, known_tree_size=watch.known_tree_size)
    index, plan = _only_plan(watch.accept(proof), campaign)  # 1
    roster = _roster(watch, index, plan, keys)
    _check_limits(plan, settings)  # 2
    return _check_budget(plan, settings, Odometer.open(company_dir).spending()), roster  # 3, 4


def _only_plan(entries: Sequence[VerifiedEntry], campaign: str) -> tuple[int, CampaignPlan]:
    """The campaign's plan and its index."""
    plans = [item for item in entries if (item.entry.kind, item.entry.campaign) == (EntryKind.PLAN, campaign)]
    if len(plans) != 1:
        raise _mismatch(f"plan: expected one in the ledger for this campaign, got {len(plans)}")
    return plans[0].index, CampaignPlan.from_body(plans[0].entry.body)


def _roster(
    watch: LedgerWatch, index: int, plan: CampaignPlan, ours: keystore.CompanyKeys
) -> dict[CompanyKey, dict[str, bytes]]:
    """The signing and sealing keys of the cohort at the plan's index; ours are those that we hold."""
    known, size = watch.keys(), watch.known_tree_size
    if ours.company not in plan.companies:
        raise _mismatch("plan: expected a cohort that we are in, got another")
    if any(known.is_revoked(company, size) for company in plan.companies):
        raise _mismatch("plan: expected a cohort without revoked companies, got one with them")
    try:
        roster = {
            role: {c: bytes.fromhex(known.key_at(c, role, index)) for c in plan.companies}
            for role in (CompanyKey.SIGNING, CompanyKey.SEALING)
        }
    except KeyHistoryError as error:
        raise _mismatch("plan: expected every company of the cohort enrolled before it, got fewer") from error
    held = (ours.signing.public_key, ours.sealing.public_key)
    if (roster[CompanyKey.SIGNING][ours.company], roster[CompanyKey.SEALING][ours.company]) != held:
        raise _mismatch("plan: expected it to rely on the keys that we hold, got others")
    return roster


def _check_limits(plan: CampaignPlan, settings: CompanyConfig) -> None:
    limits = settings.limits
    if plan.bundle_sha256 != settings.pins.bundle_sha256:
        raise _mismatch("plan: expected the bundle that we pinned, got another")
    if plan.training.rounds > limits.max_rounds:
        raise _mismatch(f"plan: expected at most {limits.max_rounds} rounds, got {plan.training.rounds}")
    if plan.minimum_cohort < limits.minimum_cohort:
        raise _mismatch(
            f"plan: expected a minimum cohort of {limits.minimum_cohort} or more, got {plan.minimum_cohort}"
        )
    _check_protection(plan, settings.company)


def _check_protection(plan: CampaignPlan, company: str) -> None:
    """Refuse numbers with which no epsilon means anything, whatever the limits allow.

    The padded batch is public and at least the declared size: an upper bound of our rows.
    """
    training = plan.training
    strongest = strongest_placement(
        companies=len(plan.companies), minimum_cohort=plan.minimum_cohort, tolerated=training.tolerated
    )
    if NoisePlacement(training.placement) is not strongest is NoisePlacement.LOCAL:
        raise _mismatch(
            "plan: expected local noise, since too few honest shares would remain, got distributed"
        )
    for delta in (Fraction(training.delta), Fraction(plan.release.delta)):
        if publishes_a_record(delta, records=plan.member(company).padded_batch):
            raise BudgetExceededError(
                "plan: expected a delta far below one over our declared size, got one that lets a whole "
                "record be published"
            )


def _check_budget(
    plan: CampaignPlan, settings: CompanyConfig, spent: Sequence[CampaignSpending]
) -> AcceptedPlan:
    """What the plan costs one person at most, if that is within our limits and what the plan itself says."""
    from noren_core.privacy import accounting

    limits, training, release = settings.limits, plan.training, plan.release
    for delta in (Fraction(training.delta), Fraction(release.delta)):
        if delta > limits.max_delta:
            raise BudgetExceededError(
                f"plan: expected delta of at most {float(limits.max_delta):g}, got more"
            )
    epsilon = accounting.epsilon_pld([round_event(plan)] * training.rounds, Fraction(training.delta))
    row_epsilon = accounting.epsilon_rows(
        coordinates=release.dimensions,
        variance=release.variance,
        sensitivity=release.sensitivity,
        delta=Fraction(release.delta),
    )
    for name, value, said, limit in (
        ("epsilon", epsilon, training.epsilon, limits.max_epsilon),
        ("row epsilon", row_epsilon, release.epsilon, limits.max_row_epsilon),
    ):
        if value > limit:
            raise BudgetExceededError(f"plan: expected {name} of at most {float(limit):g}, got {value:.4f}")
        if value > Fraction(said):
            raise _mismatch(f"plan: expected {name} of at most its own {said}, got {value:.4f}")
    planned = CampaignSpending.of_plan(plan)
    verify_room(spent, planned, limits)
    return AcceptedPlan(plan, epsilon, row_epsilon, forecasts(spent, planned, limits))


def _mismatch(sentence: str) -> RemoteProtocolError:
    return RemoteProtocolError(sentence, code=Refusal.PLAN_MISMATCH)

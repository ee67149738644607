"""Looking at one score: the only way to a band, one person at a time.

docs/rights/gate-at-a-company.md §4. Promises: nothing is shown unless every condition of the gate holds now
(`noren_core.rights.gate.conditions`), with the ledger and the revocation list as the platform has them now;
who may not look is told the company's own reasons, and of everything that is the student's there is one
answer, NOT_AVAILABLE, with the same bytes. Every look and every refusal is in the access log before it is
answered.

Refuses: more than one identifier at once (BULK_SCORE_FORBIDDEN), and more looks in an hour than the company
set for one member of its staff (VIEW_LIMIT). There is no list, no order, no filter and no file of bands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from noren_client import alignment, campaign_files, config, follow_up, keystore, revocations
from noren_client.applicants import Applicant, Decision, applicants_for
from noren_client.gate import access_log, decisions, score_records
from noren_client.gate.access_log import RECORDED, LoggedAccess
from noren_client.gate.decisions import NOT_YET, KeptBatch
from noren_client.gate.score_records import ScoredPerson
from noren_client.gate.staff import Authorised
from noren_client.ledger_watch import LedgerWatch
from noren_client.rights.custody import CustodyStore
from noren_client.table_reading import Sleep
from noren_client.transport import PlatformClient
from noren_core.crypto.sealed_table import TableManifest
from noren_core.errors import DataError, LocalProtocolError, NorenError
from noren_core.ids import IdentifierKind, TableKind
from noren_core.ledger.entries import CoverageVerdict, EntryKind
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.rights.disclosure.mirror import MirrorRecord
from noren_core.rights.disclosure.student_report import reason_text, utc_text
from noren_core.rights.gate.conditions import (
    CompanyFacts,
    GateNotOpenError,
    GateReason,
    PlatformFacts,
    verify_gate,
)
from noren_core.rights.gate.decision_batch import Decision as SealedDecision
from noren_core.rights.gate.gate_file import ACCESS_SHOWN, Access
from noren_core.rights.gate.roles import Action
from noren_core.rights.locales import Locale
from noren_core.rights.service.service_state import ServiceStates, StateChange
from noren_core.season.plan import CampaignPlan

MAX_IDENTIFIER_CHARACTERS = 1024
_HOUR_SECONDS = 3600

NOT_FOR = (
    "deciding about an offer, or taking it back",
    "comparing or ranking people",
    "pay or place of work",
    "anybody but the people who look after this student",
)
"""What every view says that a band must not be used for."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a request is about: what the company looks her up by, and the position."""

    identifier_kind: IdentifierKind
    identifier: str = field(repr=False)
    position: str

    @property
    def applicant(self) -> Applicant:
        """The same as an application, of which only who and where are used."""
        return Applicant("", self.position, self.identifier_kind, self.identifier, Decision.HOLD, "")


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of one score.

    Attributes:
        band, bands: from 1, the lowest likelihood of declining; and how many there are.
        computed_at, expires_at: as texts, UTC.
        reasons: all that can be said, in the words in which the student reads them.
        not_for: what it must not be used for.
    """

    band: int = field(repr=False)
    bands: int
    computed_at: str
    expires_at: str
    reasons: tuple[str, ...] = field(repr=False)
    not_for: tuple[str, ...]

    @classmethod
    def of(cls, record: MirrorRecord, locale: Locale) -> View:
        """What is shown of a record."""
        return cls(
            band=record.band + 1,
            bands=record.bands,
            computed_at=utc_text(record.computed_at),
            expires_at=utc_text(record.expires_at),
            reasons=tuple(reason_text(reason, record, locale) for reason in record.reasons),
            not_for=NOT_FOR,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One request about one person.

    Attributes:
        campaign: whose table is read.
        head: the campaign of whose head the band is; the same, or another that was scored with it.
        subject: whom it is about.
        viewer: who wants to look, authorised for the position.
    """

    campaign: str
    head: str
    subject: Subject
    viewer: Authorised


def parse_subject(text: bytes, kind: IdentifierKind, position: str) -> Subject:
    """The one identifier in what was given, a line of UTF-8.

    Raises:
        DataError: with code BULK_SCORE_FORBIDDEN for several lines; BAD_DATA for no line or another text.
    """
    try:
        lines = [line.strip() for line in text.decode().splitlines()]
    except UnicodeDecodeError as error:
        # The original error would carry the undecodable bytes.
        raise DataError(f"applicant: expected UTF-8, got other bytes at {error.start}") from None
    given = [line for line in lines if line]
    if len(given) > 1:
        raise DataError("applicant: expected one person at a time, got several", code="BULK_SCORE_FORBIDDEN")
    if not given or len(given[0]) > MAX_IDENTIFIER_CHARACTERS:
        raise DataError(f"applicant: expected a line of 1 to {MAX_IDENTIFIER_CHARACTERS} characters")
    subject = Subject(kind, given[0], position)
    _ = subject.applicant.key  # refuse here what cannot be an identifier
    return subject


def show(
    company_dir: Path,
    request: Request,
    *,
    locale: Locale = Locale.EN,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = time.sleep,
) -> View:
    """One person's band.

    1. Who asks is authorised for this position, and has looks left in this hour.
    2. What is past its time, answered or revoked is destroyed.
    3. Every condition of the gate, with the ledger as it is now.
    4. Looks are still left, and this one is in the access log, in one step; then shown.

    Raises:
        LocalProtocolError: with code ROLE_FORBIDDEN, VIEW_LIMIT, SCORES_OUTDATED, or those of the gate: its
            first reason, or NOT_AVAILABLE.
        PlatformUnavailableError, CustodianUnavailableError: if one of them does not answer; nothing is shown.
        VerificationError: with code ACCESS_LOG_DAMAGED, or if ledger or revocation list do not verify.
    """
    _, record = open_record(company_dir, request, Action.VIEW_SCORE, clock=clock, sleep=sleep)
    return View.of(record, locale)


def open_record(
    company_dir: Path,
    request: Request,
    action: Action,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = time.sleep,
) -> tuple[ScoredPerson, MirrorRecord]:
    """One person's record, if this action may be taken with it now; steps and errors are those of `show`."""
    plan, now = campaign_files.load_plan(company_dir, request.campaign), int(clock())
    request.viewer.verify(action, position=request.subject.position, season=plan.score_season)
    log = _Log(company_dir, plan, request, action)
    log.verify_looks_left(access_log.read(company_dir), now)  # 1
    try:
        follow_up.tidy(company_dir, now=now)  # 2
        person, record = _gated(company_dir, plan, request, now, sleep)  # 3
    except NorenError as error:
        log.append(_code(error), b"", int(clock()))
        raise
    outcome = ACCESS_SHOWN if action is Action.VIEW_SCORE else RECORDED
    log.append(outcome, person.handle, int(clock()), verify=partial(log.verify_looks_left, now=now))  # 4
    return person, record


class _Log:
    """The access log, for one request."""

    def __init__(self, company_dir: Path, plan: CampaignPlan, request: Request, action: Action) -> None:
        self._company_dir = company_dir
        self._plan = plan
        self._request = request
        self._action = action

    def verify_looks_left(self, entries: Sequence[LoggedAccess], now: int) -> None:
        """Raise LocalProtocolError (VIEW_LIMIT) if, by the log, this member of the staff asked too often."""
        limit = config.load(self._company_dir).gate.views_per_hour
        name = self._request.viewer.name
        recent = [
            item for item in entries if item.access.staff == name and item.access.at > now - _HOUR_SECONDS
        ]
        if len(recent) >= limit:
            raise LocalProtocolError(
                f"view: expected at most {limit} requests in an hour, got more", code="VIEW_LIMIT"
            )

    def append(
        self,
        outcome: str,
        handle: bytes,
        at: int,
        *,
        verify: Callable[[Sequence[LoggedAccess]], None] | None = None,
    ) -> None:
        access = Access(
            at,
            self._request.viewer.name,
            self._action.value,
            self._request.subject.position,
            handle,
            outcome,
        )
        entry = LoggedAccess(self._plan.campaign, self._plan.score_season, access)
        access_log.append(self._company_dir, entry, verify=verify)


def _gated(
    company_dir: Path, plan: CampaignPlan, request: Request, now: int, sleep: Sleep
) -> tuple[ScoredPerson, MirrorRecord]:
    """Her record, if every condition holds; GateNotOpenError otherwise."""
    company, watch = keystore.load(company_dir).company, LedgerWatch(company_dir)
    with PlatformClient(company_dir, sleep=sleep) as platform, CustodyStore(company_dir) as custody:
        proof = platform.get_proof(plan.campaign, known_tree_size=watch.known_tree_size)
        proven = watch.accept(proof)
        _follow_table(company_dir, plan, platform, custody, watch, _newest_score_table(proven, plan, company))
        key = request.subject.applicant.key
        person = score_records.load(company_dir, plan.campaign).find(key, request.head)
        is_usable = person is not None and person.is_deposited and now < person.expires_at
        batches = decisions.kept_batches(company_dir, plan.campaign)
        batch = decisions.batch_of(batches, key)
        is_ended = watch.keys().is_revoked(company, watch.known_tree_size)
        facts = _platform_facts(proven, plan, company, batch, is_active=not is_ended)
        ours = _company_facts(company_dir, plan, request, batches, batch, is_usable=is_usable)
        verify_gate(facts, ours, now=now)
        record = None if person is None else _read(custody, plan.campaign, person)
    if person is None or record is None:
        raise GateNotOpenError((GateReason.NOT_AVAILABLE,))
    return person, record


def _read(custody: CustodyStore, campaign: str, person: ScoredPerson) -> MirrorRecord | None:
    """Her record; None if there is none, or its key was destroyed: why, is not for the company to see."""
    try:
        score = score_records.read_record(custody, campaign, person)
    except LocalProtocolError as error:
        if error.code not in score_records.KEY_GONE:
            raise
        return None
    return None if score is None else score.score.committed.record


def _follow_table(
    company_dir: Path,
    plan: CampaignPlan,
    platform: PlatformClient,
    custody: CustodyStore,
    watch: LedgerWatch,
    table: TableManifest | None,
) -> None:
    """Destroy the records of whoever is on the newest revocation list of the table that they came from.

    Raises:
        LocalProtocolError: with code SCORES_OUTDATED, if there is a newer table than that.
    """
    index = score_records.load(company_dir, plan.campaign)
    if not index.people or table is None:
        return
    if table.context.table_id != index.table_id:
        raise LocalProtocolError(
            "scores: expected those of the newest table, got older ones: run noren-company score first",
            code="SCORES_OUTDATED",
        )
    revoked = revocations.revoked_tags(company_dir, table.context, platform, watch)
    score_records.destroy(company_dir, plan.campaign, custody, lambda person: person.tag in revoked)


def _newest_score_table(
    proven: Sequence[VerifiedEntry], plan: CampaignPlan, company: str
) -> TableManifest | None:
    ours = [
        TableManifest.from_body(item.entry.body["manifest"])
        for item in proven
        if item.entry.kind is EntryKind.TABLE
        and (item.entry.campaign, item.entry.company) == (plan.campaign, company)
    ]
    found = [table for table in ours if table.context.kind is TableKind.SCORE]
    return found[-1] if found else None


def _platform_facts(
    proven: Sequence[VerifiedEntry],
    plan: CampaignPlan,
    company: str,
    batch: KeptBatch | None,
    *,
    is_active: bool,
) -> PlatformFacts:
    """What the ledger says now."""
    is_sealed = batch is not None and batch.index != NOT_YET
    return PlatformFacts(
        is_batch_sealed=is_sealed,
        sequence=batch.sequence if batch is not None else 0,
        batches=plan.gate.batches,
        sealed_at=batch.sealed_at if batch is not None else 0,
        cooling_seconds=plan.gate.cooling_seconds,
        is_agreement_active=is_active,
        is_coverage_clear=_is_coverage_clear(proven, plan.campaign),
        is_service_running=_is_running(proven, company, plan.campaign),
    )


def _is_coverage_clear(proven: Sequence[VerifiedEntry], campaign: str) -> bool:
    """Whether there is a report, and the newest one clears the campaign.

    How fresh it was when the gate opened, the platform checked then, and an auditor does again.
    """
    verdicts = [
        item.entry.body["verdict"]
        for item in proven
        if (item.entry.kind, item.entry.campaign) == (EntryKind.COVERAGE, campaign)
    ]
    return bool(verdicts) and verdicts[-1] == CoverageVerdict.CLEAR


def _is_running(proven: Sequence[VerifiedEntry], company: str, campaign: str) -> bool:
    states = ServiceStates()
    for item in proven:
        if item.entry.kind is EntryKind.SERVICE_STATE:
            states.apply(StateChange.from_body(item.entry.body))
    return states.is_running(company=company, campaign=campaign)


def _company_facts(
    company_dir: Path,
    plan: CampaignPlan,
    request: Request,
    batches: Sequence[KeptBatch],
    batch: KeptBatch | None,
    *,
    is_usable: bool,
) -> CompanyFacts:
    """What only we know.

    That she was notified is not asked here: there is a row only for who acknowledged the offer herself, and
    whether she did is hers to tell, so that it is part of whether the row is usable.
    """
    position, season = request.subject.position, plan.score_season
    everybody = alignment.applicants(company_dir, plan)
    competitors = applicants_for(everybody, season=season, position=position)
    return CompanyFacts(
        decision=_decision(batch, competitors, request.subject.applicant.key),
        is_notified=True,
        has_unresolved=any(person.decision is Decision.HOLD for person in competitors),
        has_open_evaluation=any(
            person.season == season
            and person.is_same_person(request.subject.applicant)
            and not _is_decided(batches, person)
            for person in everybody
        ),
        is_viewer_decider=request.viewer.name
        in decisions.deciders_of(company_dir, position=position, season=season),
        is_row_usable=is_usable,
    )


def _decision(
    batch: KeptBatch | None, competitors: Sequence[Applicant], identifier: bytes
) -> SealedDecision | None:
    """What stands about her: an offer that the file does not have any more is none, recorded or not."""
    if batch is None:
        return None
    is_offered = any(person.key == identifier and person.decision is Decision.OFFER for person in competitors)
    return batch.decision(identifier) if is_offered else SealedDecision.FAIL


def _is_decided(batches: Sequence[KeptBatch], person: Applicant) -> bool:
    """Whether her decision is sealed, and the ledger has it."""
    batch = decisions.batch_of(batches, person.key)
    return batch is not None and batch.index != NOT_YET


def _code(error: NorenError) -> str:
    """What the log says of a refusal: the gate's first reason, or the error's code."""
    return error.reasons[0].value if isinstance(error, GateNotOpenError) else error.code

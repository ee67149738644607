"""Runs of the coverage report on disk: what each computed, how far it is, and the auditor's word.

    coverage/<campaign>/<as of>[-<phases>]/report.json   exact, for operator and auditor (0600)
                                           public.json   small counts hidden
                                           report.html   the same for people, English and Japanese
                                           state.json    how far the run is

Promises: a run that an auditor attested is never computed again; a report counts from its ledger entry on,
which is appended only with a signature of an auditor whose word counts, and only if it is about the
platform's own data; a crash leaves a run that can be repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from noren_core import canonical_json
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ids import parse_name
from noren_core.ledger.entries import EntryKind
from noren_core.rights import fields
from noren_core.rights.coverage.coverage_report import (
    FACTS,
    MAX_REPORT_BYTES,
    Attestation,
    BlockReason,
    CoverageReport,
    JudgedBy,
    ReportSource,
    ReportState,
    attested_fields,
    make_report,
    parse_attestation,
    parse_report,
    verify_step,
)
from noren_core.rights.coverage.launch_gate import is_stale
from noren_local.private_file import write_private
from noren_server.coverage import journey_check, statistics
from noren_server.coverage.classification import Question
from noren_server.coverage.public_report import public_figures
from noren_server.coverage.report_page import report_page
from noren_server.coverage.snapshot_files import (
    MAX_JSON_BYTES,
    Snapshot,
    open_snapshot,
    snapshot_digest,
    table_digests,
)
from noren_server.ledger_store import LedgerStore

REPORT, PUBLIC, PAGE, STATE = "report.json", "public.json", "report.html", "state.json"
DIRECTORY = "coverage"

_UNKNOWN = hashlib.sha256(b"").hexdigest()
_VIOLATIONS = frozenset(
    {
        BlockReason.UNCONSENTED_PROCESSING,
        BlockReason.UNCONSENTED_PROVISION,
        BlockReason.UNCLASSIFIED,
        BlockReason.UNKNOWN_SCREENS,
        BlockReason.UNDOMINATED_PATHS,
    }
)

Suspend = Callable[[str, tuple[BlockReason, ...]], None]
"""Suspends a campaign for these reasons: what a report forbids must not go on until somebody reads it."""


class Ledger(Protocol):
    """What of the ledger is needed to put an attestation in it."""

    @property
    def store(self) -> LedgerStore:
        """Its entries."""

    def append_platform_entry(self, kind: str, body: dict[str, Any]) -> int:
        """Sign and append an entry of the platform's; its index."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run on disk."""

    directory: Path
    state: ReportState

    @property
    def name(self) -> str:
        """How it is called among the campaign's runs."""
        return self.directory.name

    def report(self) -> CoverageReport:
        """What it computed; DataError if that was changed since."""
        return parse_report(_read(self.directory / REPORT, MAX_REPORT_BYTES))


class CoverageRuns:
    """The runs of one platform."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the platform's."""
        self._directory = directory / DIRECTORY

    def compute(
        self,
        snapshot: Path,
        *,
        campaign: str,
        question: Question,
        source: ReportSource,
        now: int,
        suspend: Suspend | None = None,
    ) -> Run:
        """Compute and write the report of a snapshot.

        1. A run that was attested stays as it is.
        2. DRAFT while it is computed.
        3. The files, then COMPUTED.
        4. The campaign is suspended if the platform's own data show processing without consent.

        Raises:
            DataError: if the snapshot is not one, or the question is about a time to come.
            LocalProtocolError: with code COVERAGE_STATE, for an attested run.
            VerificationError: with code COVERAGE_SUMS, if the figures do not add up.
        """
        if question.at > now:
            raise DataError("coverage: expected a question about now or before, got one about a time to come")
        directory = self._place(campaign, question)
        if (directory / STATE).exists() and _state(directory) is ReportState.ATTESTED:  # 1
            raise LocalProtocolError(
                "coverage: expected a run that is not attested, got one that is", code="COVERAGE_STATE"
            )
        _write_state(directory, ReportState.DRAFT)  # 2
        data = _compute(snapshot, campaign=campaign, question=question, source=source, now=now)
        report = parse_report(data)
        public = public_figures(report)
        write_private(directory / REPORT, data)  # 3
        write_private(directory / PUBLIC, canonical_json.encode(public))
        write_private(directory / PAGE, report_page(public).encode())
        _step(Run(directory, ReportState.DRAFT), ReportState.COMPUTED)
        violations = tuple(reason for reason in report.reasons if reason in _VIOLATIONS)
        if suspend is not None and violations and source is ReportSource.PLATFORM:  # 4
            suspend(campaign, violations)
        return Run(directory, ReportState.COMPUTED)

    def runs(self, campaign: str) -> tuple[Run, ...]:
        """Every run of a campaign, by name."""
        parent = self._directory / parse_name(campaign, "campaign")
        places = sorted(parent.iterdir()) if parent.is_dir() else []
        return tuple(Run(place, _state(place)) for place in places if (place / STATE).exists())

    def run(self, campaign: str, name: str) -> Run:
        """One of them; LocalProtocolError if there is none of that name."""
        for run in self.runs(campaign):
            if run.name == name:
                return run
        raise LocalProtocolError("coverage: expected the name of a run of this campaign, got another")

    def review(self, campaign: str, name: str) -> Run:
        """The operator has read the report. LocalProtocolError, code COVERAGE_STATE, unless COMPUTED."""
        run = self.run(campaign, name)
        run.report()
        return _step(run, ReportState.REVIEWED)

    def attest(self, data: bytes, ledger: Ledger, *, auditors: Collection[str]) -> Attestation:
        """Put an auditor's attestation in the ledger; the report counts from then on.

        1. A signature of an auditor whose word counts.
        2. Over exactly a report here, which was reviewed, about the platform's own data; about no earlier
           time than one in the ledger: whoever reads the ledger takes the last entry for the newest.
        3. The entry, then ATTESTED. The same attestation again appends no second one.

        Args:
            data: the file that `noren-audit coverage attest` wrote.
            ledger: the platform's.
            auditors: the public keys (hex) of those whose word counts.
        """
        said = parse_attestation(data)
        if said.auditor_key not in auditors:  # 1
            raise VerificationError("attestation: expected one by an auditor of this platform, got another's")
        said.verify()
        run = self._attested_run(said)  # 2
        if run.state is ReportState.ATTESTED:
            return said
        verify_step(run.state, ReportState.ATTESTED)
        known = ledger.store.entries(kind=EntryKind.COVERAGE, campaign=said.campaign)
        if any(stored.entry.body["as_of"] > said.as_of for stored in known):
            raise LocalProtocolError(
                "attestation: expected a report about a later time than the ledger's, got an older one",
                code="COVERAGE_STATE",
            )
        ledger.append_platform_entry(EntryKind.COVERAGE, said.to_entry_body())  # 3
        _step(run, ReportState.ATTESTED)
        return said

    def find(self, campaign: str, sha256: str) -> CoverageReport | None:
        """The report with this hash, if there is a run that has it."""
        for run in self.runs(campaign):
            data = _find(run.directory / REPORT)
            if data is not None and hashlib.sha256(data).hexdigest() == sha256:
                return parse_report(data)
        return None

    def newest(self, campaign: str) -> Run:
        """The run that was computed last; LocalProtocolError if there is none."""
        computed = [run for run in self.runs(campaign) if run.state is not ReportState.DRAFT]
        if not computed:
            raise LocalProtocolError("coverage: expected a campaign with a report, got one without")
        return max(computed, key=lambda run: (run.report().body["computed_at"], run.name))

    def mark_stale(self, campaign: str, now_judged_by: JudgedBy, *, now: int) -> None:
        """Note which runs about the platform's own data count no more; the gate knows without that."""
        for run in self.runs(campaign):
            if run.state in (ReportState.DRAFT, ReportState.STALE):
                continue
            report = run.report()
            if report.source is ReportSource.PLATFORM and is_stale(report, now_judged_by, now=now):
                _step(run, ReportState.STALE)

    def _attested_run(self, said: Attestation) -> Run:
        for run in self.runs(said.campaign):
            data = _find(run.directory / REPORT)
            if data is None or hashlib.sha256(data).hexdigest() != said.report_sha256:
                continue
            report = parse_report(data)
            body = said.to_entry_body()
            if any(body[name] != value for name, value in attested_fields(report).items()):
                raise VerificationError("attestation: expected what the report says, got another statement")
            if report.source is not ReportSource.PLATFORM:
                raise LocalProtocolError(
                    "coverage: expected a report about the platform's own data, got a replay's"
                )
            return run
        raise LocalProtocolError("coverage: expected an attestation of a report here, got another's")

    def _place(self, campaign: str, question: Question) -> Path:
        name = "-".join((str(question.at), *sorted(question.phases)))
        return self._directory / parse_name(campaign, "campaign") / parse_name(name, "run")


def judged_by(snapshot: Snapshot) -> JudgedBy:
    """What a report on this snapshot is judged by."""
    facts = _facts(snapshot.directory)
    return JudgedBy(**table_digests(snapshot), **facts)


def _compute(directory: Path, *, campaign: str, question: Question, source: ReportSource, now: int) -> bytes:
    with open_snapshot(directory) as snapshot:
        digests = judged_by(snapshot)
        figures = {
            "campaign": campaign,
            "as_of": question.at,
            "computed_at": now,
            "phases": sorted(question.phases),
            "source": source.value,
            "digests": {
                "snapshot": snapshot_digest(snapshot),
                **{name: getattr(digests, name) for name in JudgedBy.__slots__},
            },
            **statistics.collect(snapshot, question),
            "journeys": journey_check.check(snapshot, question),
        }
    return make_report(figures)


def _facts(directory: Path) -> dict[str, str]:
    """The digests of the flow manifest and of the build; of an export without them, the hash of nothing."""
    path = directory / FACTS
    if not path.exists():
        return {"flows": _UNKNOWN, "build": _UNKNOWN}
    body = canonical_json.parse(_read(path, MAX_JSON_BYTES))
    digest = fields.bytes_of(32)
    found = fields.read_fields(body, {"flows": digest, "build": digest}, FACTS)
    return {name: value.hex() for name, value in found.items()}


def _state(directory: Path) -> ReportState:
    body = canonical_json.parse(_read(directory / STATE, MAX_JSON_BYTES))
    found = fields.read_fields(body, {"state": fields.word_of(ReportState)}, STATE)
    return ReportState(found["state"])


def _step(run: Run, state: ReportState) -> Run:
    verify_step(run.state, state)
    _write_state(run.directory, state)
    return Run(run.directory, state)


def _write_state(directory: Path, state: ReportState) -> None:
    write_private(directory / STATE, canonical_json.encode({"state": state.value}))


def _read(path: Path, limit: int) -> bytes:
    data = _find(path)
    if data is None or len(data) > limit:
        raise DataError(f"{path.name}: expected a file of at most {limit} bytes, got none or a larger one")
    return data


def _find(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None

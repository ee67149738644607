"""A coverage report: its figures, what follows from them, its states, and the auditor's attestation.

docs/rights/coverage.md §3-5. Promises: classes, cells and cohorts add up, or the report is refused; the
verdict follows from the figures and from nothing else; an attestation is over exactly one report. Whether the
figures are true is known to whoever computes them again from the snapshot.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.entries import CoverageVerdict
from noren_core.rights import fields
from noren_core.rights.coverage.classes import CoverageClass
from noren_core.rights.signed_statement import parse_statement, sign_statement

FORMAT = "noren/v1/coverage-report"
MAX_REPORT_BYTES = 64 << 20
MAX_ATTESTATION_BYTES = 4096
MAX_CELLS = 1 << 20

SNAPSHOT_LABEL = b"noren/v1/coverage-snapshot\0"
"""Begins the hash over a snapshot: then, by name, each file's name ‖ 0 ‖ SHA-256 of its bytes."""
SNAPSHOT_TABLES = (
    *("population", "consent_events", "screens", "policies", "agreements"),
    *("provisions", "permits", "deposits"),
)
JOURNEYS, FACTS = "journeys.json", "facts.json"
SNAPSHOT_FILES = (*(f"{name}.parquet" for name in SNAPSHOT_TABLES), JOURNEYS, FACTS)
"""All that a snapshot can consist of; other files in its directory are no part of it."""

_ATTESTATION_LABEL = b"noren/v1/coverage-attestation"
_HASH_BYTES = 32


class BlockReason(StrEnum):
    """Why a launch is blocked: the first by a report's figures, from NO_REPORT on by its standing."""

    UNCONSENTED_PROCESSING = "WOULD_PROCESS_WITHOUT_VALID"
    UNCONSENTED_PROVISION = "DID_PROCESS_WITHOUT_VALID"
    UNCLASSIFIED = "UNCLASSIFIED"
    UNKNOWN_SCREENS = "UNKNOWN_SCREENS"
    UNDOMINATED_PATHS = "UNDOMINATED_PATHS"
    JOURNEYS_MISSING = "JOURNEYS_MISSING"
    CONTROLS_MISSING = "CONTROLS_MISSING"
    CONTROLS_IMPERFECT = "CONTROLS_IMPERFECT"
    UNRECONCILED = "UNRECONCILED"
    PARTIAL = "PARTIAL_PHASES"
    NO_REPORT = "NO_REPORT"
    OTHER_CAMPAIGN = "OTHER_CAMPAIGN"
    NOT_FROM_PLATFORM = "NOT_FROM_PLATFORM"
    NOT_ATTESTED = "NOT_ATTESTED"
    STALE = "STALE"


class ReportSource(StrEnum):
    """Where a report's snapshot came from."""

    PLATFORM = "platform"
    DIRECTORY = "directory"


class ReportState(StrEnum):
    """How far a report is."""

    DRAFT = "DRAFT"
    COMPUTED = "COMPUTED"
    REVIEWED = "REVIEWED"
    ATTESTED = "ATTESTED"
    STALE = "STALE"


_STEPS: Mapping[ReportState, frozenset[ReportState]] = {
    ReportState.DRAFT: frozenset({ReportState.COMPUTED}),
    ReportState.COMPUTED: frozenset({ReportState.REVIEWED, ReportState.STALE}),
    ReportState.REVIEWED: frozenset({ReportState.ATTESTED, ReportState.STALE}),
    ReportState.ATTESTED: frozenset({ReportState.STALE}),
    ReportState.STALE: frozenset(),
}


def verify_step(old: ReportState, new: ReportState) -> None:
    """Raise LocalProtocolError, code COVERAGE_STATE, unless a report in state `old` may come into `new`."""
    if new not in _STEPS[old]:
        raise LocalProtocolError(
            f"coverage: expected a step that state {old} allows, got one to {new}", code="COVERAGE_STATE"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedBy:
    """SHA-256 (hex) of everything whose change makes a report stale."""

    policies: str
    screens: str
    agreements: str
    flows: str
    build: str


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """A report that adds up."""

    body: dict[str, Any]
    sha256: str

    @property
    def campaign(self) -> str:
        """The campaign that it is about."""
        return str(self.body["campaign"])

    @property
    def as_of(self) -> int:
        """The time that it is about, Unix seconds."""
        return int(self.body["as_of"])

    @property
    def source(self) -> ReportSource:
        """Where its snapshot came from."""
        return ReportSource(self.body["source"])

    @property
    def verdict(self) -> CoverageVerdict:
        """Whether its figures let processing begin."""
        return CoverageVerdict(self.body["verdict"])

    @property
    def reasons(self) -> tuple[BlockReason, ...]:
        """What in its figures blocks."""
        return tuple(BlockReason(reason) for reason in self.body["reasons"])

    @property
    def judged_by(self) -> JudgedBy:
        """What it was judged by."""
        return JudgedBy(**{name: self.body["digests"][name] for name in JudgedBy.__slots__})


def make_report(figures: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a report with these figures, and the verdict that follows from them.

    Raises:
        VerificationError: with code COVERAGE_SUMS, if they do not add up: nothing is reported then.
    """
    reasons = content_reasons(figures)
    body = {
        "format": FORMAT,
        **figures,
        "reasons": [reason.value for reason in reasons],
        "verdict": _verdict(reasons).value,
    }
    data = canonical_json.encode(body)
    parse_report(data)
    return data


def parse_report(data: bytes) -> CoverageReport:
    """The report in `data`.

    1. Bounded, canonical, exactly the fields of a report, each in its range; about a time that had come: one
       about a later time would stay fresh for longer.
    2. Everything that is counted in several ways comes to the same.
    3. Reasons and verdict follow from the figures.

    Raises:
        DataError: if it is no report.
        VerificationError: with code COVERAGE_SUMS or COVERAGE_VERDICT, for the last two.
    """
    if len(data) > MAX_REPORT_BYTES:  # 1
        raise DataError(f"coverage report: expected at most {MAX_REPORT_BYTES} bytes, got more")
    body = canonical_json.parse_object(data)
    fields.read_fields(body, _REPORT, "coverage report")
    if body["as_of"] > body["computed_at"]:
        raise DataError("coverage report.as_of: expected a time before it was computed, got a later one")
    _verify_sums(body)  # 2
    reasons = content_reasons(body)  # 3
    if body["reasons"] != [reason.value for reason in reasons] or body["verdict"] != _verdict(reasons):
        raise VerificationError(
            "coverage report: expected the verdict that follows from its figures, got another",
            code="COVERAGE_VERDICT",
        )
    return CoverageReport(body, hashlib.sha256(data).hexdigest())


def content_reasons(figures: Mapping[str, Any]) -> tuple[BlockReason, ...]:
    """What in a report's figures blocks a launch, in the order of `BlockReason`; none if nothing does."""
    reconciled = figures["reconciliation"]
    holds = {
        BlockReason.UNCONSENTED_PROCESSING: figures["would_process_without_valid"],
        BlockReason.UNCONSENTED_PROVISION: figures["did_process_without_valid"],
        BlockReason.UNCLASSIFIED: figures["classes"][CoverageClass.UNKNOWN],
        BlockReason.UNKNOWN_SCREENS: figures["screens"]["unknown"],
        BlockReason.UNDOMINATED_PATHS: figures["journeys"]["checked"]
        and not figures["journeys"]["dominated"],
        BlockReason.JOURNEYS_MISSING: not figures["journeys"]["checked"],
        BlockReason.CONTROLS_MISSING: not _has_all_controls(figures["controls"]),
        BlockReason.CONTROLS_IMPERFECT: not all(map(_is_perfect, figures["controls"])),
        BlockReason.UNRECONCILED: reconciled["provisions_without_permit"]
        or reconciled["permits_without_consent"]
        or reconciled["provisions_without_agreement"],
        BlockReason.PARTIAL: figures["phases"],
    }
    return tuple(reason for reason in BlockReason if holds.get(reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """An auditor's word on one report; the same fields as the ledger's entry `coverage`."""

    campaign: str
    report_sha256: str
    as_of: int
    policy_sha256: str
    screens_sha256: str
    verdict: CoverageVerdict
    auditor_key: str
    attestation: bytes

    def to_entry_body(self) -> dict[str, Any]:
        """The body of the ledger's entry."""
        return {**self._signed(), "attestation": self.attestation.hex()}

    def to_bytes(self) -> bytes:
        """The file that the auditor hands back."""
        return canonical_json.encode({"body": self._signed(), "signature": self.attestation.hex()})

    def verify(self) -> None:
        """Raise VerificationError unless the auditor whom it names signed it.

        That the auditor is one whose word counts is left to the caller.
        """
        message = canonical_json.encode(self._signed())
        verify_signature(bytes.fromhex(self.auditor_key), _ATTESTATION_LABEL, message, self.attestation)

    def _signed(self) -> dict[str, Any]:
        return {
            "campaign": self.campaign,
            "report_sha256": self.report_sha256,
            "as_of": self.as_of,
            "policy_sha256": self.policy_sha256,
            "screens_sha256": self.screens_sha256,
            "verdict": self.verdict.value,
            "auditor_key": self.auditor_key,
        }


def attest(report: CoverageReport, key: SigningKey) -> Attestation:
    """The auditor's attestation of a report."""
    body = {**attested_fields(report), "auditor_key": key.public_key.hex()}
    return _attestation(body, sign_statement(_ATTESTATION_LABEL, body, key).signature)


def attested_fields(report: CoverageReport) -> dict[str, Any]:
    """What an attestation says of a report, besides whose it is."""
    return {
        "campaign": report.campaign,
        "report_sha256": report.sha256,
        "as_of": report.as_of,
        "policy_sha256": report.judged_by.policies,
        "screens_sha256": report.judged_by.screens,
        "verdict": report.verdict.value,
    }


def parse_attestation(data: bytes) -> Attestation:
    """The attestation in a file; its signature is not verified yet. DataError for anything else."""
    statement = parse_statement(data, "attestation", limit=MAX_ATTESTATION_BYTES)
    fields.read_fields(statement.body, _ATTESTED, "attestation")
    return _attestation(statement.body, statement.signature)


def attestation_of_entry(body: Mapping[str, Any]) -> Attestation:
    """The attestation that a ledger entry `coverage` holds."""
    said = {name: value for name, value in body.items() if name != "attestation"}
    return _attestation(said, bytes.fromhex(body["attestation"]))


def _attestation(body: Mapping[str, Any], signature: bytes) -> Attestation:
    said = {**body, "verdict": CoverageVerdict(body["verdict"])}
    return Attestation(**said, attestation=signature)


def _verdict(reasons: Iterable[BlockReason]) -> CoverageVerdict:
    return CoverageVerdict.BLOCKED if tuple(reasons) else CoverageVerdict.CLEAR


def _has_all_controls(controls: Iterable[Mapping[str, Any]]) -> bool:
    """One account at least for every class that evidence can be planted for."""
    planted = {item["class"] for item in controls if item["planted"]}
    return planted >= {name.value for name in CoverageClass if name is not CoverageClass.UNKNOWN}


def _is_perfect(control: Mapping[str, Any]) -> bool:
    """All of E1 are processed and none of the others, and all are recognised as what they are."""
    processed = control["planted"] if control["class"] == CoverageClass.VALID else 0
    return bool(control["processed"] == processed and control["recognised"] == control["planted"])


def _verify_sums(body: Mapping[str, Any]) -> None:
    classes, uses = body["classes"], body["population"]["uses"]
    in_cells: Counter[str] = Counter()
    for cell in body["cells"]:
        in_cells.update(cell["classes"])
    cohorts = body["cohorts"]
    invalid = sum(count for name, count in classes.items() if name != CoverageClass.VALID)
    sums = {
        "classes": sum(classes.values()) == uses,
        "cells": dict(in_cells) == classes or not any((uses, *in_cells.values())),
        "would_process_without_valid": body["would_process_without_valid"] == invalid,
        "cohorts": sum(item["uses"] for item in cohorts) == uses
        and sum(item["valid"] for item in cohorts) == classes[CoverageClass.VALID],
        "students": body["students_without_valid"] <= min(invalid, body["population"]["students"])
        and body["population"]["students"] <= uses,
    }
    for what, holds in sums.items():
        if not holds:
            raise VerificationError(
                f"coverage report: expected {what} that add up with the rest, got others",
                code="COVERAGE_SUMS",
            )


_COUNT = fields.integer_in(0, canonical_json.MAX_INTEGER)
_HASH = fields.bytes_of(_HASH_BYTES)


def _object_of(parts: Mapping[str, Callable[[object], Any]], what: str) -> Callable[[object], dict[str, Any]]:
    return lambda value: fields.read_fields(value, parts, what)


def _many(parts: Mapping[str, Callable[[object], Any]], what: str) -> Callable[[object], tuple[Any, ...]]:
    return fields.list_of(_object_of(parts, what), most=MAX_CELLS)


_TEXTS = fields.list_of(fields.text, most=MAX_CELLS)
_CLASSES = _object_of(dict.fromkeys((name.value for name in CoverageClass), _COUNT), "classes")
_REPORT: Mapping[str, Callable[[object], Any]] = {
    "format": fields.constant(FORMAT),
    "campaign": fields.name,
    "as_of": fields.seconds,
    "computed_at": fields.seconds,
    "phases": _TEXTS,
    "source": fields.word_of(ReportSource),
    "digests": _object_of(dict.fromkeys(("snapshot", *JudgedBy.__slots__), _HASH), "digests"),
    "population": _object_of(dict.fromkeys(("uses", "students", "left_out"), _COUNT), "population"),
    "classes": _CLASSES,
    "would_process_without_valid": _COUNT,
    "students_without_valid": _COUNT,
    "did_process_without_valid": _COUNT,
    "cells": _many(
        {
            **dict.fromkeys(("company", "season", "purpose", "phase", "route", "month"), fields.text),
            "classes": _CLASSES,
        },
        "cells",
    ),
    "cohorts": _many(
        {
            **dict.fromkeys(("month", "selection_on_site", "route"), fields.text),
            **dict.fromkeys(("uses", "valid"), _COUNT),
        },
        "cohorts",
    ),
    "controls": _many(
        {
            "class": fields.word_of(CoverageClass),
            **dict.fromkeys(("planted", "processed", "recognised"), _COUNT),
        },
        "controls",
    ),
    "transitions": _many(
        {
            **dict.fromkeys(("policy", "purpose"), fields.text),
            **dict.fromkeys(("holders", "reshown", "answered", "never_reshown"), _COUNT),
            **dict.fromkeys(("days_since", "median_days_to_reshow", "most_days_to_reshow"), _COUNT),
        },
        "transitions",
    ),
    "reconciliation": _object_of(
        dict.fromkeys(
            (
                *("processed_without_event", "provisions", "provisions_without_permit"),
                *("permits_without_consent", "score_provisions_without_deposit"),
                "provisions_without_agreement",
            ),
            _COUNT,
        ),
        "reconciliation",
    ),
    "screens": _object_of(
        {
            **dict.fromkeys(("registered", "observed", "unknown", "verified", "stale", "dead"), _COUNT),
            "missing_clauses": _many(
                {"screen": fields.text, "purpose": fields.text, "clauses": _TEXTS}, "missing_clauses"
            ),
            "events": _many(
                {"screen": fields.text, "events": _COUNT, "registered": fields.boolean}, "events"
            ),
            "routes_without_screen": _TEXTS,
        },
        "screens",
    ),
    "journeys": _object_of(
        {
            **dict.fromkeys(("checked", "dominated", "cut_short"), fields.boolean),
            "undominated": _many({"path": _TEXTS, "users": _COUNT}, "undominated"),
        },
        "journeys",
    ),
    "answers": _many(
        {**dict.fromkeys(("company", "purpose", "state"), fields.text), "events": _COUNT}, "answers"
    ),
    "recipients": _object_of(dict.fromkeys(("contracted", "received"), _COUNT), "recipients"),
    "reasons": fields.list_of(fields.word_of(BlockReason)),
    "verdict": fields.word_of(CoverageVerdict),
}
"""The fields of a report; docs/rights/coverage.md §3 says what they mean."""

_ATTESTED: Mapping[str, Callable[[object], Any]] = {
    "campaign": fields.name,
    "report_sha256": _HASH,
    "as_of": fields.seconds,
    "policy_sha256": _HASH,
    "screens_sha256": _HASH,
    "verdict": fields.word_of(CoverageVerdict),
    "auditor_key": _HASH,
}

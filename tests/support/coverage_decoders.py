"""Decoders of coverage reports, attestations and snapshots, for `decoders.DECODERS`: fields of each."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import coverage_snapshots as snapshots
import hostile_input as shapes
from coverage_figures import figures, with_class

from noren_audit.rights import coverage_check
from noren_core.crypto.identity import SigningKey
from noren_core.rights.consent.consent_event import Action, EventKind
from noren_core.rights.coverage import coverage_report
from noren_core.rights.coverage.classes import (
    AgreementPeriod,
    Evidence,
    PolicyPeriod,
    Register,
    Scope,
    ScreenPeriod,
)
from noren_core.rights.purposes import Purpose
from noren_server.coverage import statistics
from noren_server.coverage.classification import Question
from noren_server.coverage.snapshot_files import open_snapshot

_REPORTS = [coverage_report.make_report(figures()), coverage_report.make_report(with_class("E4", 12))]
_ATTESTATION = coverage_report.attest(
    coverage_report.parse_report(_REPORTS[0]), SigningKey.from_bytes(hashlib.sha256(b"auditor").digest())
)
_SCOPE = Scope(company="company-1", position="engineer", season="2026", purpose=Purpose.SCORE)
_CASE = snapshots.Case(
    Register(
        {"policy-1": PolicyPeriod(policy="policy-1", season="2026", activated_at=1)},
        [
            ScreenPeriod(
                screen="s1",
                route="web",
                policy="policy-1",
                company="*",
                position="*",
                purposes=frozenset({Purpose.SCORE}),
                clauses=frozenset(),
                verified_from=1,
                verified_until=9,
            )
        ],
        [AgreementPeriod(company="company-1", active_from=1)],
    ),
    [snapshots.PersonUse(student=f"s{number}", scope=_SCOPE) for number in range(3)],
    {
        "s1": [
            Evidence(
                seq=1,
                time=2,
                scope=_SCOPE,
                policy="policy-1",
                state=EventKind.GIVEN,
                screen="s1",
                action=Action.TICK_UNTICKED_BOX,
            )
        ]
    },
)


def _tables(_: Any) -> list[bytes]:
    with tempfile.TemporaryDirectory() as directory:
        snapshots.write(Path(directory), _CASE)
        return [(Path(directory) / "population.parquet").read_bytes()]


def _open_snapshot(data: bytes, place: Any) -> Any:
    """What is accepted can be counted to its end."""
    snapshots.write(place.directory, _CASE)
    (place.directory / "population.parquet").write_bytes(data)
    with open_snapshot(place.directory) as snapshot:
        return statistics.collect(snapshot, Question(10))


def _read_report(data: bytes, place: Any) -> Any:
    place.file.write_bytes(data)
    return coverage_check.read_report(place.file)


FIELDS: tuple[Mapping[str, Any], ...] = (
    {
        "name": "noren_core.rights.coverage.coverage_report.parse_report",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: _REPORTS,
        "decode": lambda data, _: coverage_report.parse_report(data),
    },
    {
        "name": "noren_core.rights.coverage.coverage_report.parse_attestation",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_ATTESTATION.to_bytes()],
        "decode": lambda data, _: coverage_report.parse_attestation(data),
        "encode": coverage_report.Attestation.to_bytes,
    },
    {
        "name": "noren_audit.rights.coverage_check.read_report",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: _REPORTS,
        "decode": _read_report,
        "examples": 60,
    },
    {
        "name": "noren_server.coverage.snapshot_files.open_snapshot",
        "shape": shapes.Parquet(),
        "valid": _tables,
        "decode": _open_snapshot,
        "examples": 30,
    },
)

EXEMPT = {
    "noren_audit.rights.coverage_check.verify_snapshot": "compares one hash",
}
"""Functions with a decoder's name that need no fuzzing, and why."""

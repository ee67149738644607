"""Coverage snapshots written from core's own values, so that both classifications get the same history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from noren_core.rights.coverage.classes import Evidence, Register, Scope
from noren_server.coverage.snapshot_files import SCHEMAS, write_table


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonUse:
    """One row of a population."""

    student: str
    scope: Scope
    route: str = "web"
    phase: str = "main"
    registered_at: int = 0
    processed: bool = True
    control: str = ""


@dataclass(slots=True)
class Case:
    """Everything a snapshot holds; `events` by student."""

    register: Register
    uses: Sequence[PersonUse] = ()
    events: Mapping[str, Sequence[Evidence]] = field(default_factory=dict)
    provisions: Sequence[Mapping[str, Any]] = ()
    permits: Sequence[Mapping[str, Any]] = ()
    received: frozenset[str] = frozenset()


def scope_columns(scope: Scope) -> dict[str, str]:
    return {
        "company": scope.company,
        "position": scope.position,
        "season": scope.season,
        "purpose": scope.purpose.value,
    }


def write(directory: Path, case: Case) -> Path:
    """The snapshot in `directory`."""
    for name, rows in _tables(case).items():
        schema = SCHEMAS[name]
        columns = {column: [row[column] for row in rows] for column in schema.names}
        write_table(directory, name, pa.table(columns, schema=schema))
    return directory


def _tables(case: Case) -> dict[str, list[Mapping[str, Any]]]:
    return {
        "population": [
            {
                "student": use.student,
                **scope_columns(use.scope),
                "phase": use.phase,
                "route": use.route,
                "registered_at": use.registered_at,
                "processed": use.processed,
                "control": use.control,
            }
            for use in case.uses
        ],
        "consent_events": sorted(_event_rows(case.events), key=lambda row: row["seq"]),
        "screens": [
            {
                "screen": item.screen,
                "route": item.route,
                "build": "b1",
                "locale": "ja",
                "policy": item.policy,
                "company": item.company,
                "position": item.position,
                "purposes": sorted(item.purposes),
                "clauses": sorted(item.clauses),
                "verified_from": item.verified_from,
                "verified_until": item.verified_until,
                "state": "VERIFIED",
            }
            for item in case.register.screens
        ],
        "policies": [
            {
                "policy": item.policy,
                "season": item.season,
                "activated_at": item.activated_at,
                "retired_at": item.retired_at,
                "material": sorted(item.material),
            }
            for item in case.register.policies.values()
        ],
        "agreements": [
            {
                "company": item.company,
                "active_from": item.active_from,
                "active_until": item.active_until,
                "received_provision": item.company in case.received,
            }
            for item in case.register.agreements
        ],
        "provisions": list(case.provisions),
        "permits": list(case.permits),
    }


def _event_rows(events: Mapping[str, Iterable[Evidence]]) -> list[Mapping[str, Any]]:
    return [
        {
            "seq": event.seq,
            "time": event.time,
            "student": student,
            **scope_columns(event.scope),
            "policy": event.policy,
            "state": event.state.value,
            "screen": event.screen,
            "clauses": sorted(event.clauses),
            "action": event.action or "",
            "prechecked": event.prechecked,
            "bundled": event.bundled,
            "expires_at": event.expires_at,
        }
        for student, history in events.items()
        for event in history
    ]

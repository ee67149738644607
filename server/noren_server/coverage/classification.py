"""The class of every use in a snapshot, by SQL over whole tables (classification.sql).

The same rules as `noren_core.rights.coverage.classes.classify`, which says them for one person; a test
holds the two against each other. Whatever concerns a person follows from her own rows alone, so people are
taken in buckets by a hash of their account, and memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from noren_core.errors import DataError
from noren_core.rights.clauses import REQUIRED_CLAUSES
from noren_core.rights.coverage import classes as coverage

ROWS_PER_BUCKET = 1_500_000
"""Of population and consent events together; what a bucket needs stays well below the engine's memory."""

_KINDS = {
    "exposed": coverage.EXPOSURES,
    "agreed": coverage.AGREEMENTS,
    "ends scope": coverage.ENDS_SCOPE,
    "ends version": coverage.ENDS_VERSION - coverage.ENDS_FOR_GOOD,
    "ends for good": coverage.ENDS_FOR_GOOD,
}

_OUT_OF_ORDER = """
select 1
from (
  select time,
         lag(time) over (
           partition by student, company, position, season, purpose, policy order by seq
         ) as earlier
  from bucket_events
)
where time < earlier
limit 1
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is about.

    Attributes:
        at: as of when, Unix seconds; later rows do not count.
        phases: of the population; empty for all.
    """

    at: int
    phases: tuple[str, ...] = ()


def buckets(connection: Any, question: Question) -> Iterator[int]:
    """Classify bucket after bucket; while one is yielded, its temporary tables can be queried.

    They are `uses` (one row per use: `point`, scope, phase, route, month of registration, processed, control,
    and as of when it is judged), `bucket_events` (the evidence), `verdicts` (`point`, `class`, `has_event`)
    and `provided_badly` (the scopes for which something was provided when the use was not E1).

    Raises:
        DataError: with code CONSENT_EVENT_OUT_OF_ORDER, if an event is older than the one before it about the
            same consent.
    """
    _load_rules(connection)
    script = resources.files(__package__).joinpath("classification.sql").read_text(encoding="utf-8")
    [(rows,)] = connection.execute(
        "select (select count(*) from population) + (select count(*) from consent_events)"
    ).fetchall()
    count = -(-rows // ROWS_PER_BUCKET) or 1
    _set(connection, "as_of", question.at)
    _set(connection, "phases", list(question.phases), kind="varchar[]")
    _set(connection, "buckets", count)
    for bucket in range(count):
        _set(connection, "bucket", bucket)
        connection.execute(script)
        if connection.execute(_OUT_OF_ORDER).fetchall():
            raise DataError(
                "consent_events.parquet: expected the events of each consent in order of time, got another "
                "order",
                code="CONSENT_EVENT_OUT_OF_ORDER",
            )
        yield bucket


def _load_rules(connection: Any) -> None:
    """What core decides, as tables."""
    connection.execute("create or replace temp table requirement (purpose varchar, required varchar[])")
    connection.executemany(
        "insert into requirement values (?, ?)",
        [[purpose.value, sorted(required)] for purpose, required in REQUIRED_CLAUSES.items()],
    )
    connection.execute("create or replace temp table event_kinds (state varchar, kind varchar)")
    connection.executemany(
        "insert into event_kinds values (?, ?)",
        [[state.value, kind] for kind, states in _KINDS.items() for state in sorted(states)],
    )
    connection.execute("create or replace temp table deliberate_actions (action varchar)")
    connection.executemany(
        "insert into deliberate_actions values (?)",
        [[action.value] for action in sorted(coverage.DELIBERATE_ACTIONS)],
    )


def _set(connection: Any, name: str, value: Any, *, kind: str = "bigint") -> None:
    connection.execute(f"set variable {name} = ?::{kind}", [value])

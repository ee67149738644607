"""The figures of a coverage report, added up bucket by bucket (docs/rights/coverage.md §3).

What is here is exact and about small groups, so it goes to the operator and the auditor alone; what everybody
may see is made from it by `noren_core.rights.coverage.small_cells`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from noren_core.rights.clauses import REQUIRED_CLAUSES
from noren_core.rights.coverage.classes import CoverageClass
from noren_server.coverage.classification import Question, buckets
from noren_server.coverage.snapshot_files import Snapshot

CELL = ("company", "season", "purpose", "phase", "route", "month")
_DAY = 86_400


def collect(snapshot: Snapshot, question: Question) -> dict[str, Any]:
    """Every figure that the snapshot allows, in plain values that canonical JSON can hold."""
    tally = _Tally(snapshot.connection)
    for _ in buckets(snapshot.connection, question):
        tally.add_bucket()
    return {
        **tally.figures(),
        "transitions": tally.transitions(question),
        "reconciliation": {**tally.unseen(), **_numbers(snapshot.connection, _RECONCILIATION)},
        "screens": _screens(snapshot.connection),
        "answers": _rows(snapshot.connection, _ANSWERS),
        "recipients": _numbers(snapshot.connection, _RECIPIENTS),
    }


class _Tally:
    """Sums over buckets; nobody is in two of them, so that people can be added up as well."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._totals: Counter[str] = Counter()
        self._cells: dict[tuple[str, ...], Counter[str]] = {}
        self._cohorts: dict[tuple[str, str, str], Counter[str]] = {}
        self._controls: dict[str, Counter[str]] = {}
        self._transitions: dict[tuple[str, str], Counter[str]] = {}
        self._days: dict[tuple[str, str], Counter[int]] = {}

    def add_bucket(self) -> None:
        """Add what the bucket's tables hold now."""
        self._totals.update(_numbers(self._connection, _TOTALS))
        for *cell, found, count in self._connection.execute(_CELLS).fetchall():
            self._cells.setdefault(tuple(cell), Counter())[found] += count
        for month, place, route, uses, valid in self._connection.execute(_COHORTS).fetchall():
            self._cohorts.setdefault((month, place, route), Counter()).update(uses=uses, valid=valid)
        for control, planted, processed, recognised in self._connection.execute(_CONTROLS).fetchall():
            counts = {"planted": planted, "processed": processed, "recognised": recognised}
            self._controls.setdefault(control, Counter()).update(counts)
        self._connection.execute(_CHANGES)
        for policy, purpose, holders, reshown, answered in self._connection.execute(_TRANSITIONS).fetchall():
            counts = {"holders": holders, "reshown": reshown, "answered": answered}
            self._transitions.setdefault((policy, purpose), Counter()).update(counts)
        for policy, purpose, days, count in self._connection.execute(_DAYS).fetchall():
            self._days.setdefault((policy, purpose), Counter())[days] += count

    def figures(self) -> dict[str, Any]:
        """Population, classes, cells, cohorts and controls."""
        classes: Counter[str] = Counter()
        for counts in self._cells.values():
            classes.update(counts)
        return {
            "population": {name: self._totals[name] for name in ("uses", "students", "left_out")},
            "classes": _by_class(classes),
            "would_process_without_valid": sum(classes.values()) - classes[CoverageClass.VALID],
            "students_without_valid": self._totals["students_without_valid"],
            "did_process_without_valid": self._totals["did_process_without_valid"],
            "cells": [
                {**dict(zip(CELL, cell, strict=True)), "classes": _by_class(counts)}
                for cell, counts in sorted(self._cells.items())
            ],
            "cohorts": [
                {"month": month, "selection_on_site": place, "route": route, **counts}
                for (month, place, route), counts in sorted(self._cohorts.items())
            ],
            "controls": [{"class": name, **counts} for name, counts in sorted(self._controls.items())],
        }

    def unseen(self) -> dict[str, int]:
        """Of those processed, who has no event at all for what they are processed for."""
        return {"processed_without_event": self._totals["processed_without_event"]}

    def transitions(self, question: Question) -> list[dict[str, Any]]:
        """By material change and purpose: who held an older version, and was asked again or not."""
        activated = dict(self._connection.execute("select policy, activated_at from policies").fetchall())
        return [
            {
                "policy": policy,
                "purpose": purpose,
                **counts,
                "never_reshown": counts["holders"] - counts["reshown"],
                "days_since": (question.at - activated[policy]) // _DAY,
                "median_days_to_reshow": _median(self._days.get((policy, purpose), Counter())),
                "most_days_to_reshow": max(self._days.get((policy, purpose), {0: 0})),
            }
            for (policy, purpose), counts in sorted(self._transitions.items())
        ]


def _by_class(counts: Counter[str]) -> dict[str, int]:
    return {name.value: counts[name] for name in CoverageClass}


def _median(days: Counter[int]) -> int:
    """The lower median; 0 of nobody."""
    middle, passed = (days.total() + 1) // 2, 0
    for day in sorted(days):
        passed += days[day]
        if passed >= middle:
            return day
    return 0


def _screens(connection: Any) -> dict[str, Any]:
    """What is registered, what was seen in traffic, and which of both is missing from the other."""
    return {
        **_numbers(connection, _SCREEN_TOTALS),
        "missing_clauses": [
            {"screen": screen, "purpose": purpose, "clauses": missing}
            for screen, purpose, missing in _missing_clauses(connection)
        ],
        "events": _rows(connection, _EVENTS_BY_SCREEN),
        "routes_without_screen": _column(connection, _HOLES),
    }


def _missing_clauses(connection: Any) -> Iterable[tuple[str, str, list[str]]]:
    """The matrix screen × clause, as far as a clause is missing that a purpose requires."""
    found = connection.execute("select distinct screen, clauses from screens order by all").fetchall()
    for screen, clauses in found:
        for purpose, required in REQUIRED_CLAUSES.items():
            if missing := sorted(clause.value for clause in required - set(clauses)):
                yield screen, purpose.value, missing


def _numbers(connection: Any, query: str) -> dict[str, int]:
    """The one row of a query, by column."""
    found = connection.execute(query)
    names = [column[0] for column in found.description]
    [row] = found.fetchall()
    return {name: int(value) for name, value in zip(names, row, strict=True)}


def _rows(connection: Any, query: str) -> list[dict[str, Any]]:
    found = connection.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _column(connection: Any, query: str) -> list[str]:
    return [value for (value,) in connection.execute(query).fetchall()]


_TOTALS = """
select count(*) filter (processed) as uses,
       count(distinct student) filter (processed) as students,
       count(*) filter (not processed) as left_out,
       count(distinct student) filter (processed and class <> 'E1') as students_without_valid,
       count(*) filter (processed and not has_event) as processed_without_event,
       (select count(*) from provided_badly b
        where not exists (
          select 1 from uses c
          where c.control <> ''
            and (c.student, c.company, c.position, c.season, c.purpose)
              = (b.student, b.company, b.position, b.season, b.purpose)
        )) as did_process_without_valid
from uses
join verdicts using (point)
where control = ''
"""

_CELLS = """
select company, season, purpose, phase, route, month, class, count(*)
from uses
join verdicts using (point)
where control = '' and processed
group by all
"""

_COHORTS = """
select month, case when s.student is null then 'no' else 'yes' end, route,
       count(*), count(*) filter (class = 'E1')
from uses u
join verdicts using (point)
left join (
  select distinct student from bucket_events where company <> '*' and time <= getvariable('as_of')
) s using (student)
where control = '' and processed
group by all
"""

_CONTROLS = """
select control, count(*), count(*) filter (processed), count(*) filter (class = control)
from uses
join verdicts using (point)
where control <> ''
group by all
"""

_CHANGES = """
create or replace temp table changes as
select c.policy, e.purpose, e.student, c.activated_at,
       min(e.time) filter (e.activated_at >= c.activated_at and kind in ('exposed', 'agreed')) as reshown_at,
       bool_or(e.activated_at >= c.activated_at and kind in ('agreed', 'ends scope')) as has_answered
from policies c
join bucket_events e on list_contains(c.material, e.purpose)
join policies own on own.policy = e.policy and own.season = c.season
where c.activated_at <= getvariable('as_of') and e.time <= getvariable('as_of')
  and e.student not in (select student from uses where control <> '')
group by all
having bool_or(e.activated_at < c.activated_at and kind = 'agreed')
"""

_TRANSITIONS = """
select policy, purpose, count(*), count(reshown_at), count(*) filter (has_answered)
from changes
group by all
"""

_DAYS = """
select policy, purpose, (reshown_at - activated_at) // 86400, count(*)
from changes
where reshown_at is not null
group by all
"""

_RECONCILIATION = """
select
  (select count(*) from provisions where time <= getvariable('as_of')) as provisions,
  (select count(*) from provisions v
   where time <= getvariable('as_of')
     and not exists (select 1 from permits m where m.permit = v.permit and m.record = v.record))
    as provisions_without_permit,
  (select count(*) from permits m
   where not exists (
     select 1 from consent_events e
     where e.seq = m.seq and e.state in ('GIVEN', 'RENEWED'))
   or exists (
     select 1 from provisions v join consent_events e on e.seq = m.seq
     where v.record = m.record
       and ((v.student, v.company, v.position, v.season, v.purpose)
            <> (e.student, e.company, e.position, e.season, e.purpose) or v.time < e.time)))
    as permits_without_consent,
  (select count(*) from provisions v
   where time <= getvariable('as_of') and purpose = 'score.offer_followup'
     and not exists (select 1 from deposits d where (d.student, d.company) = (v.student, v.company)))
    as score_provisions_without_deposit,
  (select count(*) from provisions v
   where time <= getvariable('as_of')
     and not exists (
       select 1 from agreements a
       where a.company = v.company and a.active_from <= v.time
         and (a.active_until = 0 or v.time < a.active_until)))
    as provisions_without_agreement
"""

_RECIPIENTS = """
select count(distinct company) as contracted,
       count(distinct company) filter (received_provision) as received
from agreements
where active_from <= getvariable('as_of')
"""

_SCREEN_TOTALS = """
with observed as (
  select distinct screen from consent_events where screen <> '' and time <= getvariable('as_of')
)
select
  (select count(distinct screen) from screens where verified_from <= getvariable('as_of')) as registered,
  (select count(*) from observed) as observed,
  (select count(*) from observed where screen not in (select screen from screens)) as unknown,
  (select count(distinct screen) from screens
   where getvariable('as_of') between verified_from and verified_until) as verified,
  (select count(distinct screen) from screens
   where verified_from <= getvariable('as_of')
     and screen not in (
       select screen from screens where getvariable('as_of') between verified_from and verified_until))
    as stale,
  (select count(distinct screen) from screens
   where verified_from <= getvariable('as_of') and screen not in (select screen from observed)) as dead
"""

_EVENTS_BY_SCREEN = """
select screen, count(*) as events, screen in (select screen from screens) as registered
from consent_events
where screen <> '' and time <= getvariable('as_of')
group by all
order by screen
"""

_HOLES = """
select distinct route
from population
where control = '' and processed and registered_at <= getvariable('as_of')
  and route not in (select route from screens)
order by route
"""

_ANSWERS = """
select company, purpose, state, count(*) as events
from consent_events
where time <= getvariable('as_of')
group by all
order by all
"""

"""From a data source's applications to what students will do, the companies' files and the evaluator's truth.

Everything drawn here (identifiers, who did not consent) comes from a keyed hash of the seed and the names, so
it does not depend on the order of the applications. Demo data only: a real consent code is random.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from noren_client.applicants import COLUMNS as APPLICANT_COLUMNS
from noren_client.applicants import Decision
from noren_core.errors import DataError
from noren_core.ids import IdentifierKind
from noren_core.rights.purposes import Purpose
from noren_demo.season_data import CompanyEntry, SeasonEntry, SeasonFiles, declared_size, write_csv

TRUTH_COLUMNS = ("student", "company", "season", "identifier_kind", "identifier", "outcome")
CHOICE_COLUMNS = (
    *("student", "company", "season", "purpose"),
    *("identifier_kind", "identifier", "choice", "offered"),
)
EMAIL_SHARE = 0.10
POSITION = "graduate"  # every company of the demo has this one


class Choice(StrEnum):
    """What a student does when she is asked; who is never asked has no line."""

    GIVES = "gives"
    WITHDRAWS = "withdraws"  # having given


@dataclass(frozen=True, slots=True)
class StudentChoice:
    """One student's answer to one company about one purpose, and whether she holds its offer."""

    student: str
    company: str
    season: str
    purpose: Purpose
    identifier_kind: IdentifierKind
    identifier: str
    choice: Choice
    offered: bool


@dataclass(frozen=True, slots=True)
class Application:
    """One student's application at one company in one season, and how it ended."""

    student: str
    company: str
    season: str
    decision: Decision
    outcome: str


@dataclass(frozen=True, slots=True)
class Truth:
    """How the application of a student to be scored ended; the evaluator alone reads it."""

    student: str
    company: str
    season: str
    identifier_kind: IdentifierKind
    identifier: str
    outcome: str


def permute_outcomes(applications: Sequence[Application], *, seed: int) -> list[Application]:
    """The same applications with outcomes shuffled among the offers of each company and season.

    Nothing is left to learn: whatever finds a gain in these finds it where there is none.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, application in enumerate(applications):
        if application.decision is Decision.OFFER:
            groups[application.company, application.season].append(position)
    rng = np.random.default_rng([seed, 7])
    result = list(applications)
    for positions in groups.values():
        shuffled = rng.permutation(np.array(positions))
        for to, origin in zip(positions, shuffled, strict=True):
            result[to] = replace(applications[to], outcome=applications[int(origin)].outcome)
    return result


def write_people(
    files: SeasonFiles,
    seasons: Sequence[SeasonEntry],
    applications: Sequence[Application],
    *,
    unconsented: float,
    seed: int,
) -> tuple[CompanyEntry, ...]:
    """Write choices.csv, each company's applicants.csv and truth.csv; returns the companies' public entries.

    A share `unconsented` of the applications, drawn for each, has no live consent: half were withdrawn, half
    never given. In a season to be scored the company's file says no outcome; truth.csv does.
    """
    past = {season.name: season.is_past for season in seasons}
    write_csv(files.choices, CHOICE_COLUMNS, _choice_rows(applications, past, unconsented, seed))
    by_company: dict[str, list[Application]] = defaultdict(list)
    for application in applications:
        by_company[application.company].append(application)
    for company, own in by_company.items():
        write_csv(files.applicants(company), APPLICANT_COLUMNS, _applicant_rows(own, past, seed))
    write_csv(files.truth, TRUTH_COLUMNS, _truth_rows(applications, past, seed))
    return tuple(_company_entry(company, by_company[company], past) for company in sorted(by_company))


def read_truth(path: Path) -> tuple[Truth, ...]:
    """The rows of truth.csv, as `write_people` wrote them."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
        return tuple(
            Truth(**{**row, "identifier_kind": IdentifierKind(row["identifier_kind"])}) for row in rows
        )
    except (OSError, UnicodeDecodeError, csv.Error, TypeError, KeyError, ValueError) as error:
        raise DataError(
            f"{path.name}: expected the columns {', '.join(TRUTH_COLUMNS)}, got others"
        ) from error


def read_choices(path: Path) -> tuple[StudentChoice, ...]:
    """The rows of choices.csv, as `write_people` wrote them."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
        return tuple(
            StudentChoice(
                row["student"],
                row["company"],
                row["season"],
                Purpose(row["purpose"]),
                IdentifierKind(row["identifier_kind"]),
                row["identifier"],
                Choice(row["choice"]),
                row["offered"] == "yes",
            )
            for row in rows
        )
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        raise DataError(
            f"{path.name}: expected the columns {', '.join(CHOICE_COLUMNS)}, got others"
        ) from error


def _choice_rows(
    applications: Iterable[Application], past: dict[str, bool], unconsented: float, seed: int
) -> Iterable[tuple[str, ...]]:
    for a in applications:
        purpose = Purpose.TRAIN if past[a.season] else Purpose.SCORE
        draw = _uniform(seed, "consent", a.student, a.company, a.season, purpose.value)
        if draw < unconsented / 2:
            continue
        choice = Choice.WITHDRAWS if draw < unconsented else Choice.GIVES
        kind, identifier = _identifier(a, seed)
        offered = "yes" if a.decision is Decision.OFFER else "no"
        yield a.student, a.company, a.season, purpose.value, kind.value, identifier, choice.value, offered


def _applicant_rows(
    applications: Iterable[Application], past: dict[str, bool], seed: int
) -> Iterable[tuple[str, ...]]:
    for a in applications:
        kind, identifier = _identifier(a, seed)
        outcome = a.outcome if past[a.season] else ""
        yield a.season, POSITION, kind.value, identifier, a.decision.value, outcome


def _truth_rows(
    applications: Iterable[Application], past: dict[str, bool], seed: int
) -> Iterable[tuple[str, ...]]:
    for a in applications:
        if not past[a.season] and a.decision is Decision.OFFER:
            kind, identifier = _identifier(a, seed)
            yield a.student, a.company, a.season, kind.value, identifier, a.outcome


def _company_entry(company: str, own: Sequence[Application], past: dict[str, bool]) -> CompanyEntry:
    """Its declared size covers the larger of its two batches: rows to train on, people to score."""
    training = sum(past[a.season] for a in own if a.decision is Decision.OFFER)
    scoring = sum(not past[a.season] for a in own if a.decision is Decision.OFFER)
    return CompanyEntry(name=company, declared_size=declared_size(max(training, scoring)))


def _identifier(application: Application, seed: int) -> tuple[IdentifierKind, str]:
    """An 80-bit consent code per student and company; for one in ten, an e-mail address per student."""
    if _uniform(seed, "kind", application.student) < EMAIL_SHARE:
        name = base64.b32encode(_digest(seed, "email", application.student)[:10]).decode().lower()
        return IdentifierKind.EMAIL, f"{name}@students.example"
    code = _digest(seed, "code", application.student, application.company)[:10]
    return IdentifierKind.CONSENT_CODE, base64.b32encode(code).decode().lower()


def _digest(seed: int, *parts: str) -> bytes:
    return hashlib.blake2b("\0".join([str(seed), *parts]).encode(), digest_size=32).digest()


def _uniform(seed: int, *parts: str) -> float:
    return int.from_bytes(_digest(seed, *parts)[:8], "big") / 2.0**64

"""OULAD as a season: the adapter from its tables to the generic formats.

A module (or a module in a region) plays the company, an intake the season, and one registration (student ×
module × presentation) one platform account: in OULAD a person's activity is recorded per registration, and
so it becomes one `student` here. Everything after this module knows generic events and files only.

Written against the published schema: other intakes and modules work the same. A missing column, another
type, an unknown result or a registration that comes twice is refused by name, before anything is written.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from noren_client.applicants import Decision
from noren_core.errors import ConfigurationError, DataError
from noren_core.ids import parse_name
from noren_demo.people import Application, permute_outcomes, write_people
from noren_demo.season_data import OutcomeClass, SeasonData, SeasonEntry, SeasonFiles, Task, write_description
from noren_server.features import DAY_US

_POSITIVE, _NEGATIVE, _EXCLUDED = OutcomeClass.POSITIVE, OutcomeClass.NEGATIVE, OutcomeClass.EXCLUDED
RESULTS = ("withdrawn", "fail", "pass", "distinction")
TASKS = (
    Task(
        "W",
        {"withdrawn": _POSITIVE, "fail": _NEGATIVE, "pass": _NEGATIVE, "distinction": _NEGATIVE},
        -1,
        "0.3",
    ),
    Task("WF", {"withdrawn": _POSITIVE, "fail": _POSITIVE, "pass": _NEGATIVE, "distinction": _NEGATIVE}, -1),
    Task(
        "DP",
        {"withdrawn": _EXCLUDED, "fail": _EXCLUDED, "pass": _NEGATIVE, "distinction": _POSITIVE},
        1,
        "0.2",
    ),
)
ACTIVITY_TYPES = (
    "oucontent",
    "forumng",
    "homepage",
    "subpage",
    "quiz",
    "resource",
    "url",
    "ouwiki",
    "oucollaborate",
    "page",
    "questionnaire",
    "externalquiz",
)
MILESTONE_TYPES = ("submission-tma", "submission-cma", "submission-banked", "lateness", "deadline-missed")

_START_MONTH = {"B": 2, "J": 10}
_PRESENTATION = re.compile(r"(\d{4})([BJ])\Z")
_MAX_LATENESS_DAYS = 30
_TEXT = ("VARCHAR",)
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_NUMBER = (*_WHOLE, "FLOAT", "DOUBLE")
_TABLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "studentInfo": {
        "code_module": _TEXT,
        "code_presentation": _TEXT,
        "id_student": _WHOLE,
        "region": _TEXT,
        "final_result": _TEXT,
    },
    "studentRegistration": {
        "code_module": _TEXT,
        "code_presentation": _TEXT,
        "id_student": _WHOLE,
        "date_registration": _NUMBER,
        "date_unregistration": _NUMBER,
    },
    "studentVle": {
        "code_module": _TEXT,
        "code_presentation": _TEXT,
        "id_student": _WHOLE,
        "id_site": _WHOLE,
        "date": _NUMBER,
        "sum_click": _NUMBER,
    },
    "vle": {"id_site": _WHOLE, "activity_type": _TEXT},
    "assessments": {
        "code_module": _TEXT,
        "code_presentation": _TEXT,
        "id_assessment": _WHOLE,
        "assessment_type": _TEXT,
        "date": _NUMBER,
    },
    "studentAssessment": {
        "id_assessment": _WHOLE,
        "id_student": _WHOLE,
        "date_submitted": _NUMBER,
        "is_banked": _WHOLE,
        "score": _NUMBER,
    },
}
_MAY_BE_NULL = {
    ("studentRegistration", "date_registration"),
    ("studentRegistration", "date_unregistration"),
    ("assessments", "date"),
    ("studentAssessment", "score"),
}


@dataclass(frozen=True, slots=True)
class OuladOptions:
    """What to make of the tables.

    Attributes:
        companies: "module", "module-region", or a number N: N cells of module × region, chosen by `seed`
            among those with enough rows, each with `rows_per_company` training rows.
        train_intakes: presentations whose outcomes the companies know.
        score_intakes: presentations to be scored.
        cutoff_day: registered by then and not yet unregistered; nothing later is used for features.
        unconsented: share of applications without a live consent.
        permute_labels: shuffle outcomes within each company and season.
    """

    companies: str = "module"
    train_intakes: tuple[str, ...] = ("2013B", "2013J")
    score_intakes: tuple[str, ...] = ("2014B",)
    cutoff_day: int = 60
    seed: int = 1
    rows_per_company: int = 100
    unconsented: float = 0.03
    permute_labels: bool = False


@dataclass(frozen=True, slots=True)
class _Registration:
    module: str
    presentation: str
    student_id: int
    region: str
    result: str

    @property
    def account(self) -> str:
        return f"{self.presentation}-{self.module}-{self.student_id}".lower()


def convert_oulad(source: Path, destination: Path, options: OuladOptions) -> SeasonData:
    """Write the season that `options` makes of the OULAD tables in `source` into `destination`.

    Raises:
        DataError: if a table is missing, unreadable or not of the schema, or no company is left.
        ConfigurationError: if the options ask for intakes or companies that there are not.
    """
    import duckdb

    files = SeasonFiles(destination)
    seasons = _seasons(options)
    try:
        with _connect() as connection:
            for table in _TABLES:
                _open_table(connection, source, table)
            registrations = _registrations(connection, options)
            applications = _applications(registrations, options)
            if options.permute_labels:
                applications = permute_outcomes(applications, seed=options.seed)
            _write_events(connection, files.events, seasons, options)
    except duckdb.Error as error:
        raise DataError(
            "OULAD tables: expected the published schema, got values that do not fit it"
        ) from error
    data = SeasonData(
        source="oulad",
        seasons=seasons,
        tasks=TASKS,
        companies=write_people(
            files, seasons, applications, unconsented=options.unconsented, seed=options.seed
        ),
        activity_types=ACTIVITY_TYPES,
        milestone_types=MILESTONE_TYPES,
    )
    write_description(files, data)
    return data


def _connect() -> Any:
    import duckdb

    return duckdb.connect(
        config={
            "threads": 2,
            "memory_limit": "1500MB",
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        }
    )


def _seasons(options: OuladOptions) -> tuple[SeasonEntry, ...]:
    """One season per intake to train on, and one for all intakes to be scored."""
    intakes = (*options.train_intakes, *options.score_intakes)
    if not options.train_intakes or not options.score_intakes or len(set(intakes)) != len(intakes):
        raise ConfigurationError("intakes: expected at least one to train on, one to score, and none twice")
    if options.cutoff_day < 1 or not 0 <= options.unconsented < 1:
        raise ConfigurationError("options: expected a cut-off day ≥ 1 and an unconsented share in [0, 1)")
    start = {intake: _start_us(intake) for intake in intakes}
    groups = [((intake,), True) for intake in options.train_intakes] + [(options.score_intakes, False)]
    return tuple(
        SeasonEntry(_season_name(group), start[group[0]], options.cutoff_day, is_past)
        for group, is_past in groups
    )


def _season_name(intakes: Sequence[str]) -> str:
    return parse_name("-".join(intakes).lower(), "season")


def _start_us(presentation: str) -> int:
    """A B presentation starts in February, a J presentation in October; the tables count days from then."""
    match = _PRESENTATION.match(presentation)
    if match is None:
        raise ConfigurationError("intake: expected a year and B or J, such as 2013B, got another text")
    start = datetime(int(match[1]), _START_MONTH[match[2]], 1, tzinfo=UTC)
    return int(start.timestamp()) * 1_000_000


def _open_table(connection: Any, source: Path, table: str) -> None:
    """Make `table` a view after checking columns, types and nulls."""
    import duckdb

    file = source / f"{table}.parquet"
    try:
        relation = connection.read_parquet(str(file))
    except duckdb.Error as error:
        raise DataError(f"{file.name}: expected a readable Parquet file, got none") from error
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    for column, accepted in _TABLES[table].items():
        if types.get(column) not in accepted:
            got = types.get(column, "no such column")
            raise DataError(f"{file.name}, column {column}: expected {' or '.join(accepted)}, got {got}")
    relation.create_view(table)
    for column in _TABLES[table]:
        if (table, column) not in _MAY_BE_NULL:
            missing = connection.execute(f"select count(*) - count({column}) from {table}").fetchall()[0][0]  # noqa: S608
            if missing:
                raise DataError(f"{file.name}, column {column}: expected a value, got none in {missing} rows")


def _registrations(connection: Any, options: OuladOptions) -> list[_Registration]:
    """Who was registered at the cut-off day, in a fixed order.

    Dropped, as nobody can say whether they were: registrations without a date, and withdrawals without one.
    """
    rows = connection.execute(
        """
        select code_module, code_presentation, id_student, region, lower(final_result)
        from studentInfo join studentRegistration using (code_module, code_presentation, id_student)
        where list_contains($intakes, code_presentation) and date_registration <= $day
          and (date_unregistration > $day
               or (date_unregistration is null and lower(final_result) <> 'withdrawn'))
        order by all
        """,
        {"intakes": [*options.train_intakes, *options.score_intakes], "day": options.cutoff_day},
    ).fetchall()
    registrations = [_Registration(*row) for row in rows]
    for registration in registrations:
        if registration.result not in RESULTS:
            raise DataError(f"studentInfo.parquet, column final_result: expected one of {', '.join(RESULTS)}")
    if len({registration.account for registration in registrations}) != len(registrations):
        raise DataError("studentInfo.parquet: expected each registration once, got one twice")
    for intake in (*options.train_intakes, *options.score_intakes):
        if not any(registration.presentation == intake for registration in registrations):
            raise ConfigurationError(f"intakes: no registration of {intake} in these tables")
    return registrations


def _applications(registrations: Sequence[_Registration], options: OuladOptions) -> list[Application]:
    """The registrations of the chosen companies; a company needs at least one training row."""
    by_company: dict[str, list[_Registration]] = defaultdict(list)
    for registration in registrations:
        by_company[_company(registration, options)].append(registration)
    known = {
        c: [r for r in rows if r.presentation in options.train_intakes] for c, rows in by_company.items()
    }
    chosen = [c for c in sorted(by_company) if known[c]]
    keep = set(registrations)
    if options.companies.isdigit():
        chosen, keep = _sample_companies(by_company, known, options)
    if not chosen:
        raise DataError("OULAD tables: expected at least one company with training rows, got none")
    season = {intake: _season_name((intake,)) for intake in options.train_intakes}
    season |= dict.fromkeys(options.score_intakes, _season_name(options.score_intakes))
    return [
        Application(r.account, company, season[r.presentation], Decision.OFFER, r.result)
        for company in chosen
        for r in by_company[company]
        if r in keep
    ]


def _company(registration: _Registration, options: OuladOptions) -> str:
    if options.companies == "module":
        return parse_name(registration.module.lower(), "module")
    if options.companies == "module-region" or options.companies.isdigit():
        region = re.sub(r"[^a-z0-9]+", "-", registration.region.lower()).strip("-")
        return parse_name(f"{registration.module.lower()}-{region}", "module and region")
    raise ConfigurationError("companies: expected module, module-region or a number, got another word")


def _sample_companies(
    by_company: Mapping[str, Sequence[_Registration]],
    known: Mapping[str, Sequence[_Registration]],
    options: OuladOptions,
) -> tuple[list[str], set[_Registration]]:
    """N cells with enough training rows and someone to score, and the rows to keep of them."""
    count = int(options.companies)
    large = [
        company
        for company in sorted(by_company)
        if len(known[company]) >= options.rows_per_company and len(by_company[company]) > len(known[company])
    ]
    if not 1 <= count <= len(large):
        raise ConfigurationError(
            f"companies: expected 1 to {len(large)} (cells with {options.rows_per_company} rows), got {count}"
        )
    rng = np.random.default_rng([options.seed, 3])
    chosen = sorted(large[i] for i in rng.choice(len(large), count, replace=False))
    keep: set[_Registration] = set()
    for company in chosen:
        drawn = rng.choice(len(known[company]), options.rows_per_company, replace=False)
        keep.update(known[company][i] for i in drawn)
        keep.update(r for r in by_company[company] if r.presentation in options.score_intakes)
    return chosen, keep


def _write_events(
    connection: Any, folder: Path, seasons: Sequence[SeasonEntry], options: OuladOptions
) -> None:
    """One Parquet file per intake; of an intake to be scored, only what happened before the cut-off.

    Days are relative to the season's start, so several intakes scored together share one calendar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    of_intake = dict(zip(options.train_intakes, seasons, strict=False))
    of_intake |= dict.fromkeys(options.score_intakes, seasons[-1])
    for intake, season in of_intake.items():
        last_day = "32767" if season.is_past else str(season.cutoff_day)
        query = _EVENTS.format(
            intake=intake, start=season.start_us, day=DAY_US, last_day=last_day, lateness=_MAX_LATENESS_DAYS
        )
        file = folder / f"{intake.lower()}.parquet"
        partial = file.with_name(file.name + ".partial")
        connection.execute(f"copy ({query}) to '{_quoted(partial)}' (format parquet, compression zstd)")
        partial.replace(file)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


# The tables know days only: clicks are put at noon, submissions at 20:00 and missed deadlines at 23:00 UTC.
# A score counts from the day of submission. A deadline is missed by whoever is registered and late.
_EVENTS = """
with submitted as (
  select a.id_assessment, s.id_student, a.code_module, a.assessment_type, a.date as due, s.date_submitted,
         s.score, s.is_banked
  from studentAssessment s join assessments a using (id_assessment)
  where a.code_presentation = '{intake}'
), raw as (
  select v.code_module, v.id_student, v.date as day, 12 as hour,
         coalesce(s.activity_type, 'other') as event_type, 'site-' || v.id_site as context,
         v.sum_click::double as value
  from studentVle v left join vle s using (id_site)
  where v.code_presentation = '{intake}'
  union all
  select code_module, id_student, date_submitted, 20,
         case when score is null then 'submission-unmarked' when is_banked <> 0 then 'submission-banked'
              else 'submission-' || lower(assessment_type) end,
         'assessment-' || id_assessment, score / 100.0
  from submitted
  union all
  select code_module, id_student, date_submitted, 20, 'lateness', 'assessment-' || id_assessment,
         greatest(-{lateness}, least({lateness}, date_submitted - due))::double
  from submitted where due is not null and is_banked = 0
  union all
  select r.code_module, r.id_student, a.date, 23, 'deadline-missed', 'assessment-' || a.id_assessment, 1.0
  from studentRegistration r join assessments a using (code_module, code_presentation)
    left join submitted s on s.id_assessment = a.id_assessment and s.id_student = r.id_student
  where r.code_presentation = '{intake}' and a.date is not null and a.assessment_type <> 'Exam'
    and (r.date_unregistration is null or r.date_unregistration > a.date)
    and (s.date_submitted is null or s.date_submitted > a.date)
)
select lower('{intake}-' || code_module || '-' || id_student) as student,
       {start} + day::bigint * {day} + hour * 3600000000 as time_us, event_type, context, value
from raw where day < {last_day}
"""

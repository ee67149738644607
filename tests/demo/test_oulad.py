"""The OULAD adapter, on made-up tables of its schema."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from student_choices import StudentChoices

from noren_client.applicants import read_applicants
from noren_core.errors import ConfigurationError, DataError
from noren_core.ids import IdentifierKind
from noren_core.rights.purposes import Purpose
from noren_demo.oulad import TASKS, OuladOptions, convert_oulad
from noren_demo.people import read_truth
from noren_demo.season_data import OutcomeClass, SeasonFiles, read_description
from noren_server.event_log import open_event_log
from noren_server.features import DAY_US

RESULTS = ("Withdrawn", "Fail", "Pass", "Distinction")
REGIONS = ("Scotland", "East Anglian Region")
INTAKES = ("2013B", "2013J", "2014B")


def write_tables(folder: Path, **replace: Any) -> Path:
    """Two modules in three intakes, 24 students each; every fourth withdrew on day 80."""
    info, registration, clicks, handed_in = [], [], [], []
    for intake in INTAKES:
        for module in ("AAA", "BBB"):
            for student in range(24):
                result = RESULTS[student % 4]
                key = (module, intake, 1000 + student)
                info.append((*key, REGIONS[student % 8 // 4], result))
                registration.append((*key, -20, 80 if result == "Withdrawn" else None))
                clicks += [(*key, 7, day, 3) for day in (-30, 0, 59, 60, 100)]
                handed_in += [(assessment(module, intake), 1000 + student, 20, 0, 55)] if student % 3 else []
    odd = [("late", 70, None), ("gone", -5, 30), ("undated", None, None), ("vanished", -5, None)]
    for number, (_, joined, left) in enumerate(odd):
        info.append(("AAA", "2013B", 9000 + number, "Scotland", "Withdrawn" if number else "Pass"))
        registration.append(("AAA", "2013B", 9000 + number, joined, left))
    key = ["code_module", "code_presentation", "id_student"]
    tables = {
        "studentInfo": ([*key, "region", "final_result"], info),
        "studentRegistration": ([*key, "date_registration", "date_unregistration"], registration),
        "studentVle": ([*key, "id_site", "date", "sum_click"], clicks),
        "vle": (["id_site", "activity_type"], [(7, "quiz")]),
        "assessments": (
            [*key[:2], "id_assessment", "assessment_type", "date"],
            [(m, i, assessment(m, i), "TMA", 19) for m in ("AAA", "BBB") for i in INTAKES],
        ),
        "studentAssessment": (
            ["id_assessment", "id_student", "date_submitted", "is_banked", "score"],
            handed_in,
        ),
    }
    folder.mkdir(exist_ok=True)
    for name, (columns, rows) in (tables | replace).items():
        values = [list(column) for column in zip(*rows, strict=True)]
        pq.write_table(pa.table(values, names=columns), folder / f"{name}.parquet")
    return folder


def assessment(module: str, intake: str) -> int:
    return 10 * INTAKES.index(intake) + (module == "BBB")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tables(tmp_path_factory.mktemp("oulad"))


def convert(tables: Path, to: Path, **options: Any) -> SeasonFiles:
    convert_oulad(tables, to, OuladOptions(**{"unconsented": 0.0, **options}))
    return SeasonFiles(to)


def events(files: SeasonFiles) -> list[dict[str, Any]]:
    return [row for file in open_event_log(files.events).files for row in pq.read_table(file).to_pylist()]


def outcomes(files: SeasonFiles, company: str, season: str) -> list[str]:
    return [row.outcome for row in read_applicants(files.applicants(company)) if row.season == season]


def test_a_company_is_a_module_and_only_the_registered_count(tables: Path, tmp_path: Path) -> None:
    """Registrations after the cut-off, ended before it, or without the dates to tell are dropped."""
    files = convert(tables, tmp_path)
    data = read_description(files)
    assert [company.name for company in data.companies] == ["aaa", "bbb"]
    assert [company.declared_size for company in data.companies] == [50, 50]
    assert len(outcomes(files, "aaa", "2013b")) == 24
    assert Counter(outcomes(files, "aaa", "2013b")) == dict.fromkeys(map(str.lower, RESULTS), 6)


def test_outcomes_to_be_scored_are_only_in_the_truth(tables: Path, tmp_path: Path) -> None:
    """The company's file has no outcome of the season to be scored; the evaluator's file has all."""
    files = convert(tables, tmp_path)
    assert set(outcomes(files, "aaa", "2014b")) == {""}
    truth = read_truth(files.truth)
    assert len(truth) == 48
    assert {row.season for row in truth} == {"2014b"}
    assert Counter(row.outcome for row in truth) == dict.fromkeys(map(str.lower, RESULTS), 12)


def test_events_follow_the_generic_format(tables: Path, tmp_path: Path) -> None:
    """Clicks, submissions, lateness and missed deadlines become events on their day of the season."""
    files = convert(tables, tmp_path)
    start = {season.name: season.start_us for season in read_description(files).seasons}
    own = [row for row in events(files) if row["student"] == "2013b-aaa-1001"]
    found = {(row["event_type"], (row["time_us"] - start["2013b"]) // DAY_US, row["value"]) for row in own}
    clicks = {("quiz", day, 3.0) for day in (-30, 0, 59, 60, 100)}
    # Handed in on day 20, one day late: the deadline of day 19 was missed.
    assert found == clicks | {
        ("submission-tma", 20, 0.55),
        ("lateness", 20, 1.0),
        ("deadline-missed", 19, 1.0),
    }
    never = [row["event_type"] for row in events(files) if row["student"] == "2013b-aaa-1000"]
    assert Counter(never) == {"quiz": 5, "deadline-missed": 1}


def test_nothing_after_the_cutoff_of_the_season_to_be_scored(tables: Path, tmp_path: Path) -> None:
    """What has not happened yet is in no file; past seasons keep their later behaviour."""
    files = convert(tables, tmp_path)
    last = {season.name: season.start_us + 60 * DAY_US for season in read_description(files).seasons}
    late = Counter(row["student"][:5] for row in events(files) if row["time_us"] >= last[row["student"][:5]])
    assert set(late) == {"2013b", "2013j"}


def test_who_did_not_consent_has_no_live_consent(tables: Path, tmp_path: Path) -> None:
    """About the asked share of applications, in both seasons, has no live consent; the others all do."""
    consents = StudentChoices(convert(tables, tmp_path / "all").choices)
    assert len(consents.live("aaa", "2013b", Purpose.TRAIN)) == 24
    assert not consents.live("aaa", "2013b", Purpose.SCORE)
    some = StudentChoices(convert(tables, tmp_path / "some", unconsented=0.5).choices)
    train = sum(len(some.live(c, s, Purpose.TRAIN)) for c in ("aaa", "bbb") for s in ("2013b", "2013j"))
    score = sum(len(some.live(c, "2014b", Purpose.SCORE)) for c in ("aaa", "bbb"))
    assert 20 < train < 76
    assert 10 < score < 38


def test_identifiers_match_between_consents_and_companies(tables: Path, tmp_path: Path) -> None:
    """Company and student say the same identifier of her: a code of 80 bits, for some an address."""
    files = convert(tables, tmp_path)
    consents = StudentChoices(files.choices)
    known = {item.identifier for item in consents.live("aaa", "2013b", Purpose.TRAIN)}
    rows = [row for row in read_applicants(files.applicants("aaa")) if row.season == "2013b"]
    assert {row.identifier for row in rows} == known
    codes = [row.identifier for row in rows if row.identifier_kind is IdentifierKind.CONSENT_CODE]
    assert 12 < len(codes) <= 24
    assert all(len(code) == 16 for code in codes)


def test_regions_and_sampled_companies(tables: Path, tmp_path: Path) -> None:
    """module-region makes a company of each cell; a number draws that many cells of equal training size."""
    by_region = read_description(convert(tables, tmp_path / "region", companies="module-region"))
    assert [c.name for c in by_region.companies] == [
        "aaa-east-anglian-region",
        "aaa-scotland",
        "bbb-east-anglian-region",
        "bbb-scotland",
    ]
    files = convert(tables, tmp_path / "three", companies="3", rows_per_company=10)
    companies = read_description(files).companies
    assert len(companies) == 3
    for company in companies:
        rows = read_applicants(files.applicants(company.name))
        assert sum(row.season != "2014b" for row in rows) == 10
        assert sum(row.season == "2014b" for row in rows) == 12


def test_several_intakes_are_scored_as_one_season(tables: Path, tmp_path: Path) -> None:
    """Intakes that are scored together share one season and one calendar."""
    files = convert(tables, tmp_path, train_intakes=("2013B",), score_intakes=("2013J", "2014B"))
    data = read_description(files)
    assert data.score_seasons == ("2013j-2014b",)
    assert len(outcomes(files, "aaa", "2013j-2014b")) == 48
    start = data.seasons[-1].start_us
    times = {row["time_us"] for row in events(files) if row["student"].startswith("2014b")}
    assert max(times) < start + 60 * DAY_US
    assert min(times) == start - 30 * DAY_US + DAY_US // 2


def test_permuted_outcomes_are_the_same_words_elsewhere(tables: Path, tmp_path: Path) -> None:
    """Shuffling keeps each company's counts of outcomes and changes who has which."""
    plain = convert(tables, tmp_path / "plain")
    mixed = convert(tables, tmp_path / "mixed", permute_labels=True)
    before, after = (outcomes(files, "bbb", "2013j") for files in (plain, mixed))
    assert Counter(before) == Counter(after)
    assert before != after
    truth = [[row.outcome for row in read_truth(files.truth)] for files in (plain, mixed)]
    assert truth[0] != truth[1]


def test_tasks_class_every_result() -> None:
    """Each task says of each result word whether it counts, and has both classes."""
    for task in TASKS:
        assert set(task.outcomes) == {word.lower() for word in RESULTS}
        assert task.words(OutcomeClass.POSITIVE)
        assert task.words(OutcomeClass.NEGATIVE)


KEY = ["code_module", "code_presentation", "id_student"]


@pytest.mark.parametrize(
    ("replace", "told"),
    [
        ({"vle": (["id_site"], [(7,)])}, "vle.parquet, column activity_type: expected VARCHAR"),
        ({"vle": (["id_site", "activity_type"], [("7", "quiz")])}, "vle.parquet, column id_site"),
        ({"vle": (["id_site", "activity_type"], [(7, None), (8, "quiz")])}, "got none in 1 rows"),
        (
            {"studentInfo": ([*KEY, "region", "final_result"], [("AAA", "2013B", 1000, "Scotland", "Top")])},
            "column final_result: expected one of withdrawn, fail, pass, distinction",
        ),
        (
            {
                "studentInfo": (
                    [*KEY, "region", "final_result"],
                    [("AAA", "2013B", 1000, "Scotland", "Pass"), ("AAA", "2013B", 1000, "Wales", "Pass")],
                )
            },
            "expected each registration once",
        ),
    ],
)
def test_malformed_tables_are_refused_by_name(tmp_path: Path, replace: dict[str, Any], told: str) -> None:
    """A missing column, another type, an empty value, an unknown word or a double row is named."""
    tables = write_tables(tmp_path / "tables", **replace)
    with pytest.raises(DataError) as caught:
        convert(tables, tmp_path / "out")
    assert told in caught.value.message
    assert not (tmp_path / "out" / "season.toml").exists()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    """A table that is not there, or is no Parquet file, is refused by name."""
    tables = write_tables(tmp_path / "tables")
    (tables / "vle.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"vle\.parquet"):
        convert(tables, tmp_path / "out")
    (tables / "vle.parquet").unlink()
    with pytest.raises(DataError, match=r"vle\.parquet"):
        convert(tables, tmp_path / "out")


@pytest.mark.parametrize(
    "options",
    [
        {"companies": "planet"},
        {"companies": "9", "rows_per_company": 10},
        {"companies": "0"},
        {"train_intakes": ("2013B",), "score_intakes": ("2013B",)},
        {"score_intakes": ()},
        {"score_intakes": ("2019J",)},
        {"score_intakes": ("spring",)},
        {"cutoff_day": 0},
        {"unconsented": 1.0},
    ],
)
def test_options_that_ask_for_what_there_is_not(
    tables: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Unknown words, intakes without registrations and too many companies are configuration errors."""
    with pytest.raises(ConfigurationError):
        convert(tables, tmp_path, **options)


def test_a_season_file_that_says_something_else_is_refused(tables: Path, tmp_path: Path) -> None:
    """season.toml and truth.csv are checked when read back."""
    files = convert(tables, tmp_path)
    with files.truth.open(newline="") as file:
        assert len(list(csv.reader(file))) == 49
    files.description.write_text(files.description.read_text().replace("cutoff_day", "cutoff"))
    files.truth.write_text("student\nx\n")
    with pytest.raises(DataError):
        read_description(files)
    with pytest.raises(DataError):
        read_truth(files.truth)

"""Bad input, given to the real commands: a code, a place in the file, and nothing half-written.

The readers themselves are tested where they live; here it is what a person or a script around the commands
sees, that what was there before still is, and that the others go on.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noren_client import campaign_files, keystore
from noren_client.cli import main as company_main
from noren_core.errors import LocalProtocolError
from noren_core.ledger.entries import MAX_DECLARED_SIZE, EntryKind
from noren_core.rights.purposes import Purpose
from noren_demo.people import POSITION, Choice
from noren_server.cli import main as platform_main

if TYPE_CHECKING:
    from conftest import SmallSeason

CAMPAIGN = "spring-2026"
VICTIM = "chidori"
PERSON = "hanako@example.jp"
HEADER = "season,position,identifier_kind,identifier,decision,outcome"

Answer = tuple[int, dict[str, Any]]


@pytest.fixture
def company(season: SmallSeason, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """A command of the victim: exit code and JSON."""

    def run(*arguments: str, name: str = VICTIM) -> Answer:
        return answer(company_main, season.company_dir(name), arguments, capsys)

    return run


@pytest.fixture
def platform(season: SmallSeason, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """A command of the platform: exit code and JSON."""

    def run(*arguments: str) -> Answer:
        return answer(platform_main, season.places.platform, arguments, capsys)

    return run


def answer(
    main: Callable[[Sequence[str]], int],
    directory: Path,
    arguments: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> Answer:
    capsys.readouterr()
    exit_code = main(["--directory", str(directory), "--json", *arguments])
    printed = capsys.readouterr()
    assert PERSON not in printed.out + printed.err
    return exit_code, json.loads(printed.out)


def assert_refused(got: Answer, exit_code: int, code: str, *told: str) -> None:
    assert got[0] == exit_code, got
    assert (got[1]["success"], got[1]["code"]) == (False, code), got
    for text in told:
        assert text in got[1]["message"], got


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file; of a database what it holds, for what lies in which of SQLite's files changes by itself."""
    return {
        str(path.relative_to(directory)): dump(path) if path.suffix == ".db" else path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def dump(database: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(database)) as db:
        return "\n".join(db.iterdump()).encode()


# A company's own file


BAD_FILES = {
    "missing column": (
        "season,position,identifier_kind,identifier,decision\n2025,clerk,email,{0},offer\n",
        "column outcome: expected once, got 0",
    ),
    "other column": (HEADER + ",name\n2025,clerk,email,{0},offer,accepted,x\n", "got 1 more"),
    "malformed row": (HEADER + "\n2025,clerk,email,{0},offer\n", "row 2: expected 6 fields, got 5"),
    "unknown decision": (HEADER + "\n2025,clerk,email,{0},perhaps,accepted\n", "row 2, column decision"),
    "unknown kind": (HEADER + "\n2025,clerk,phone,{0},offer,accepted\n", "row 2, column identifier_kind"),
    "malformed season": (HEADER + "\nSpring 25,clerk,email,{0},offer,accepted\n", "row 2, column season"),
    "malformed position": (HEADER + "\n2025,The Clerk,email,{0},offer,accepted\n", "row 2, column position"),
    "duplicate": (
        HEADER + "\n2025,clerk,email,{0},offer,accepted\n2025,clerk,email,{0},no-offer,\n",
        "row 3, column identifier: expected each applicant once per season",
    ),
    "nobody": (HEADER + "\n", "expected at least one applicant, got none"),
    "nothing": ("", "got an empty file"),
}


@pytest.mark.parametrize(("text", "told"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_not_imported(
    season: SmallSeason, company: Callable[..., Answer], tmp_path: Path, text: str, told: str
) -> None:
    """The file is refused by row and column, and the one imported before stays."""
    path = tmp_path / "applicants.csv"
    path.write_text(text.format(PERSON))
    before = snapshot(season.company_dir(VICTIM))
    assert_refused(company("import", str(path)), 6, "BAD_DATA", "applicants.csv", told)
    assert snapshot(season.company_dir(VICTIM)) == before


def test_a_file_that_is_not_there_is_not_imported(company: Callable[..., Answer], tmp_path: Path) -> None:
    """A missing file and one in another encoding are input errors, not crashes."""
    assert_refused(company("import", str(tmp_path / "missing.csv")), 6, "BAD_DATA", "missing.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes(HEADER.encode() + b"\n2025,clerk,email,\xe9,offer,\n")
    assert_refused(company("import", str(latin)), 6, "ENCODING_UNKNOWN", "latin.csv", "UTF-8")


def test_importing_comes_after_enrolling(
    season: SmallSeason, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory of no company takes no applicants; the error says what to do first."""
    source = season.company_dir(VICTIM) / "applicants.csv"
    got = answer(company_main, tmp_path / "nobody", ("import", str(source)), capsys)
    assert_refused(got, 3, "BAD_CONFIGURATION", "enrol first")
    assert not (tmp_path / "nobody").exists()


# What cannot be learned from


def change_applicants(season: SmallSeason, change: Callable[[list[str]], list[str]]) -> None:
    """Rewrite the victim's rows; each is season, position, kind, identifier, decision, outcome."""
    path = season.company_dir(VICTIM) / "applicants.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *change(rows)]) + "\n")


def in_another_season(rows: list[str]) -> list[str]:
    return [row.replace("season-2025", "season-2019") for row in rows]


def without_outcomes(rows: list[str]) -> list[str]:
    return [row.rsplit(",", 1)[0] + "," for row in rows]


def one_class(rows: list[str]) -> list[str]:
    return [row for row in rows if not row.endswith(",declined")]


def one_row(rows: list[str]) -> list[str]:
    return next([row] for row in rows if row.endswith(",declined"))


def unknown_outcome(rows: list[str]) -> list[str]:
    place = next(n for n, row in enumerate(rows) if row.endswith(",declined"))
    return [*rows[:place], rows[place].replace(",declined", f",{PERSON}"), *rows[place + 1 :]]


UNTEACHABLE = {
    "wrong season": (in_another_season, "TRAINING_SET_EMPTY"),
    "no outcomes": (without_outcomes, "TRAINING_SET_EMPTY"),
    "one class": (one_class, "TRAINING_SET_ONE_CLASS"),
    "one row": (one_row, "TRAINING_SET_ONE_ROW"),
}


@pytest.mark.parametrize(("change", "code"), UNTEACHABLE.values(), ids=UNTEACHABLE)
def test_a_company_with_nothing_to_learn_from_is_left_out(
    season: SmallSeason,
    company: Callable[..., Answer],
    change: Callable[[list[str]], list[str]],
    code: str,
) -> None:
    """It is told why, has no training set any more, and the four others finish the season without it."""
    change_applicants(season, change)
    with season.serving():
        assert_refused(company("prepare", CAMPAIGN), 6, code, "training set")
    assert_without_training_set(season)
    season.train()
    assert set(season.exchange.refusals) == {(VICTIM, "ILLEGAL_STATE")}
    heads = season.heads()
    assert heads.pop(VICTIM) is None
    assert len(set(heads.values())) == 1
    assert heads["akane"] is not None
    assert season.rounds_spent(VICTIM) == 0
    verdict = season.audit()
    assert (verdict.word, verdict.findings) == ("VERIFIED", ())


def assert_without_training_set(season: SmallSeason) -> None:
    with pytest.raises(LocalProtocolError):
        campaign_files.load_training_set(season.company_dir(VICTIM), CAMPAIGN)
    assert not list(season.company_dir(VICTIM).rglob("*.part"))


def test_an_outcome_that_the_plan_does_not_know_is_named_by_row(
    season: SmallSeason, company: Callable[..., Answer]
) -> None:
    """Row and column and the words that are known; not the word that came, which may be anything."""
    change_applicants(season, unknown_outcome)
    lines = (season.company_dir(VICTIM) / "applicants.csv").read_text().splitlines()
    row = 1 + next(n for n, line in enumerate(lines) if PERSON in line)
    with season.serving():
        got = company("prepare", CAMPAIGN)
    assert_refused(got, 6, "BAD_DATA", f"row {row}, column outcome: expected one of accepted, declined")
    assert_without_training_set(season)


def test_more_applicants_than_declared_are_refused(
    season: SmallSeason, company: Callable[..., Answer]
) -> None:
    """The batch that the plan allows is used up; no further identifier is sent."""
    more = [f"season-2025,{POSITION},consent-code,new-{n},offer,accepted" for n in range(200)]
    change_applicants(season, lambda rows: rows + more)
    with season.serving():
        got = company("prepare", CAMPAIGN)
    assert got[0] in {6, 8}
    assert got[1]["code"] in {"MORE_THAN_DECLARED", "EVALUATION_LIMIT"}
    assert_without_training_set(season)


def test_a_company_without_consents_takes_part_like_any_other(
    season: SmallSeason, company: Callable[..., Answer], platform: Callable[..., Answer]
) -> None:
    """It gets a table like any other, finds no row and adds its noise: nobody sees that it has none."""
    assert season.launch is not None
    assert season.students is not None
    mine = [
        choice
        for choice in season.students.choices
        if (choice.company, choice.purpose, choice.choice) == (VICTIM, Purpose.TRAIN, Choice.GIVES)
    ]
    season.launch.take([season.students.withdrawal(choice) for choice in mine])
    publish_another(season, platform, "autumn-2026")
    with season.serving():
        for name in season.companies:
            assert company("accept", "autumn-2026", name=name)[0] == 0
            assert company("prepare", "autumn-2026", name=name)[0] == 0
        tables = list((season.places.platform / "tables" / "autumn-2026").iterdir())
        assert (
            len({path.stat().st_size for path in tables if VICTIM in path.name or "akane" in path.name}) == 1
        )
    season.train(campaign="autumn-2026")
    assert season.head(VICTIM, campaign="autumn-2026") == season.head("akane", campaign="autumn-2026")
    assert season.head(VICTIM, campaign="autumn-2026") is not None
    assert season.audit().word == "VERIFIED"


def publish_another(season: SmallSeason, platform: Callable[..., Answer], campaign: str) -> None:
    file = season.root / "another.toml"
    text = (season.root / "campaign.toml").read_text().replace(CAMPAIGN, campaign)
    file.write_text(text)
    assert platform("campaign", "create", str(file))[0] == 0
    assert season.launch is not None
    season.launch.attest(campaign)
    assert platform("campaign", "publish", campaign)[0] == 0


# What the platform takes in


def ingest(season: SmallSeason, platform: Callable[..., Answer], **given: Path) -> Answer:
    paths = {
        "events": season.files.events,
        "seasons": season.files.description,
    } | given
    return platform("ingest", *(text for name in paths for text in (f"--{name}", str(paths[name]))))


def write_events(path: Path, column: str, bad: Any) -> Path:
    row = {"student": PERSON, "time_us": 1, "event_type": "view", "context": None, "value": 1.0, column: bad}
    kinds = {"student": pa.string(), "time_us": pa.int64(), "event_type": pa.string()}
    kinds |= {"context": pa.string(), "value": pa.float64()}
    if column not in kinds:
        row.pop(column)
        kinds.pop(bad)
        row.pop(bad)
    pq.write_table(pa.table({n: pa.array([row[n]], kind) for n, kind in kinds.items()}), path)
    return path


@pytest.mark.parametrize(
    ("column", "bad", "told"),
    [
        ("value", float("nan"), "column value, row 0: expected a finite number"),
        ("value", float("inf"), "column value, row 0: expected a finite number"),
        ("time_us", -1, "column time_us, row 0"),
        ("student", None, "column student, row 0: expected a value"),
        ("without", "value", "column value: expected exactly one, got 0"),
        ("without", "student", "column student: expected exactly one, got 0"),
    ],
)
def test_bad_events_are_not_taken_in(
    season: SmallSeason, platform: Callable[..., Answer], tmp_path: Path, column: str, bad: Any, told: str
) -> None:
    """File, column and row of the first bad event; logs, consents and seasons of before stay as they were."""
    events = write_events(tmp_path / "events.parquet", column, bad)
    before = snapshot(season.places.platform)
    assert_refused(ingest(season, platform, events=events), 6, "BAD_DATA", "events.parquet", told)
    assert snapshot(season.places.platform) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Purpose.TRAIN.value, "selection.pass_fail"),
        (Purpose.TRAIN.value, Purpose.SCORE.value),  # signed for another purpose
        ('"event":"GIVEN"', '"event":"ASSUMED"'),
        ('"signature":"', '"signature":"zz'),
    ],
)
def test_bad_consents_are_not_taken_in(
    season: SmallSeason, platform: Callable[..., Answer], tmp_path: Path, old: str, new: str
) -> None:
    """One event that nobody signed so, or that says what no consent can say: none of the file counts."""
    assert season.students is not None
    choice = next(
        choice
        for choice in season.students.choices
        if (choice.purpose, choice.choice) == (Purpose.TRAIN, Choice.GIVES)
    )
    fresh = replace(season.students, choices=(choice,), _devices={}, _records={})
    events = tmp_path / "events.jsonl"
    fresh.write_consents(events)
    text = events.read_text()
    assert old in text
    events.write_text(text.replace(old, new))
    before = snapshot(season.places.platform)
    exit_code, got = platform("consents", "import", str(events))
    assert exit_code != 0
    assert choice.identifier not in json.dumps(got)
    assert snapshot(season.places.platform) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("is_past = true", ""),
        ('name = "season-2025"', 'name = "Season 2025"'),
        ('name = "season-2025"', 'name = "season-2026"'),
        ("[[seasons]]", "[[season"),
        ("cutoff_day = 60", 'cutoff_day = "soon"'),
    ],
)
def test_bad_seasons_are_not_taken_in(
    season: SmallSeason, platform: Callable[..., Answer], tmp_path: Path, old: str, new: str
) -> None:
    """A missing field, a malformed or repeated name: an input error, and nothing changed."""
    seasons = tmp_path / "seasons.toml"
    text = season.files.description.read_text()
    seasons.write_text(text.replace(old, new, 1))
    assert seasons.read_text() != text
    before = snapshot(season.places.platform)
    assert_refused(ingest(season, platform, seasons=seasons), 6, "BAD_DATA", "season")
    assert snapshot(season.places.platform) == before


# Campaigns


CAMPAIGN_CHANGES = {
    "no campaign name": (f'campaign = "{CAMPAIGN}"', "", 3, "BAD_CONFIGURATION", "campaign"),
    "malformed name": (CAMPAIGN, "Spring 2026", 6, "BAD_DATA", "plan.campaign"),
    "unknown field": ("rounds = 3", "runds = 3", 3, "BAD_CONFIGURATION", "runds"),
    "no rounds": ("rounds = 3", "rounds = 0", 6, "BAD_DATA", "plan.rounds"),
    "too many rounds": ("rounds = 3", "rounds = 101", 6, "BAD_DATA", "plan.rounds"),
    "not TOML": ("[task]", "[task", 3, "BAD_CONFIGURATION", "campaign file"),
    "a word in two classes": ('["accepted"]', '["declined"]', 6, "BAD_DATA", "plan.task"),
    "unknown training season": ("season-2025", "season-2019", 3, "BAD_CONFIGURATION", "season"),
    "unknown score season": ("season-2026", "season-2019", 3, "BAD_CONFIGURATION", "season"),
    "a current season to train on": ("season-2025", "season-2026", 6, "BAD_DATA", "season"),
    "a past season to score": ("season-2026", "season-2025", 6, "BAD_DATA", "season"),
    "the same campaign again": ("rounds = 3", "rounds = 3", 1, "ILLEGAL_STATE", "campaign"),
}


@pytest.mark.parametrize(
    ("old", "new", "exit_code", "code", "told"), CAMPAIGN_CHANGES.values(), ids=CAMPAIGN_CHANGES
)
def test_a_bad_campaign_leaves_no_plan_in_the_ledger(
    season: SmallSeason,
    platform: Callable[..., Answer],
    tmp_path: Path,
    old: str,
    new: str,
    exit_code: int,
    code: str,
    told: str,
) -> None:
    """What is in the ledger stays for ever, so a campaign is checked before: field named, nothing written."""
    file = tmp_path / "campaign.toml"
    text = (season.root / "campaign.toml").read_text()
    if exit_code != 1:
        text = text.replace(CAMPAIGN, "autumn-2026")
        old = old.replace(CAMPAIGN, "autumn-2026")
    assert old in text
    file.write_text(text.replace(old, new, 1))
    before = snapshot(season.places.platform)
    assert_refused(platform("campaign", "create", str(file)), exit_code, code, told)
    assert snapshot(season.places.platform) == before


def test_a_campaign_of_strangers_or_too_few_is_refused(
    season: SmallSeason, platform: Callable[..., Answer], tmp_path: Path
) -> None:
    """Only approved companies, and three at least; a missing file is named."""
    file = tmp_path / "campaign.toml"
    file.write_text((season.root / "campaign.toml").read_text().replace(CAMPAIGN, "autumn-2026"))
    for companies, told in (("akane,benten,zaruba", "zaruba"), ("akane,benten", "at least 3")):
        got = platform("campaign", "create", str(file), "--companies", companies)
        assert_refused(got, 3, "BAD_CONFIGURATION", told)
    missing = platform("campaign", "create", str(tmp_path / "missing.toml"))
    assert_refused(missing, 3, "BAD_CONFIGURATION", "missing.toml")
    with season.platform() as opened:
        assert len(opened.ledger_store.entries(kind=EntryKind.PLAN)) == 1


def test_publishing_again_changes_nothing(season: SmallSeason, platform: Callable[..., Answer]) -> None:
    """A second publication draws no row and seals no table anew: averaging two draws would undo noise."""
    before = snapshot(season.places.platform)
    assert platform("campaign", "publish", CAMPAIGN)[0] == 0
    after = snapshot(season.places.platform)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if name.startswith(("tables/", "ledger"))} == set()
    assert season.audit().word == "VERIFIED"


def test_an_unknown_campaign_is_refused(
    company: Callable[..., Answer], platform: Callable[..., Answer]
) -> None:
    """A name that nobody gave, and one that could be a path, on both sides."""
    assert_refused(platform("campaign", "publish", "winter"), 1, "ILLEGAL_STATE", "campaign")
    assert_refused(platform("campaign", "status", "../etc"), 6, "BAD_DATA", "campaign")
    assert_refused(company("prepare", "winter"), 1, "ILLEGAL_STATE", "accept the plan first")
    assert_refused(company("prepare", "../etc"), 6, "BAD_DATA", "campaign")
    assert_refused(company("score", CAMPAIGN), 1, "ILLEGAL_STATE", "training rounds")


# What the platform says to a company


def expire(season: SmallSeason) -> None:
    directory = season.company_dir(VICTIM)
    request = keystore.certificate_request(directory, VICTIM)
    with season.platform() as platform:
        chain = platform.authority.issue_client(request, VICTIM, now=datetime.now(UTC) - timedelta(days=800))
    (directory / "keys" / "tls.pem").write_bytes(chain)


def take_anothers_certificate(season: SmallSeason) -> None:
    for name in ("tls.key", "tls.pem"):
        shutil.copy(season.company_dir("akane") / "keys" / name, season.company_dir(VICTIM) / "keys" / name)


def take_anothers_chain(season: SmallSeason) -> None:
    shutil.copy(season.company_dir("akane") / "keys" / "tls.pem", season.company_dir(VICTIM) / "keys")


def pin_another_bundle(season: SmallSeason) -> None:
    path = season.company_dir(VICTIM) / "config.toml"
    lines = [
        f'bundle_sha256 = "{"cd" * 32}"' if line.startswith("bundle_sha256") else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")


def corrupt_the_table(season: SmallSeason) -> None:
    path = season.places.platform / "tables" / CAMPAIGN / f"{VICTIM}-train.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def publish_a_second_plan(season: SmallSeason) -> None:
    body = season.plan.to_body()
    body["training"]["epsilon"] = "0.9"
    with season.platform() as platform:
        platform.ledger.append_platform_entry(EntryKind.PLAN, body)


WRONG_PLATFORMS = {
    "expired certificate": (expire, "prepare", 5, "CERTIFICATE_EXPIRED"),
    "another's certificate": (take_anothers_certificate, "prepare", 4, "NOT_AVAILABLE"),
    "another's chain": (take_anothers_chain, "prepare", 3, "KEY_ROTATION_UNFINISHED"),
    "unpinned bundle": (pin_another_bundle, "accept", 4, "PLAN_MISMATCH"),
    "plan changed after acceptance": (publish_a_second_plan, "accept", 4, "PLAN_MISMATCH"),
    "corrupt table chunk": (corrupt_the_table, "prepare", 9, "NOT_VERIFIED"),
}


@pytest.mark.parametrize(
    ("change", "command", "exit_code", "code"), WRONG_PLATFORMS.values(), ids=WRONG_PLATFORMS
)
def test_what_does_not_fit_is_refused_with_its_code(
    season: SmallSeason,
    company: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[SmallSeason], None],
    command: str,
    exit_code: int,
    code: str,
) -> None:
    """Certificates, pins, plans and tables that are not as they should be: code, exit code, nothing kept."""
    monkeypatch.setattr("noren_client.transport.FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("noren_client.table_reading.FIRST_PAUSE_SECONDS", 0.0)
    change(season)
    plan = campaign_files.directory(season.company_dir(VICTIM), CAMPAIGN) / "plan.json"
    accepted = plan.read_bytes()
    with season.serving():
        assert_refused(company(command, CAMPAIGN), exit_code, code)
    assert plan.read_bytes() == accepted
    if command == "prepare":
        assert_without_training_set(season)
    assert len(season.entries(EntryKind.PLAN_ACCEPTANCE)) == 5


# Invitations


def test_a_bad_invitation_writes_nothing(
    season: SmallSeason, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing, damaged or foreign invitation, or a size out of range: no key is made."""
    invitation = tmp_path / "invitation.json"
    good = json.loads((season.company_dir(VICTIM) / "invitation.json").read_text())
    cases: list[tuple[str | None, str, int, str]] = [
        (None, "50", 6, "BAD_DATA"),
        ("{", "50", 6, "BAD_DATA"),
        (json.dumps({"format": "else"}, separators=(",", ":")), "50", 6, "BAD_DATA"),
        (canonical({**good, "agreement_sha256": "ab" * 32}), "50", 3, "AGREEMENT_MISMATCH"),
        (canonical({**good, "platform_key": "xyz"}), "50", 3, "BAD_CONFIGURATION"),
        (canonical(good), "0", 2, "USAGE"),
        (canonical(good), str(MAX_DECLARED_SIZE + 1), 2, "USAGE"),
    ]
    for text, size, exit_code, code in cases:
        invitation.unlink(missing_ok=True)
        if text is not None:
            invitation.write_text(text)
        arguments = ("enrol", str(invitation), "--declared-size", size)
        assert_refused(answer(company_main, tmp_path / "new", arguments, capsys), exit_code, code)
        assert not (tmp_path / "new").exists()


def canonical(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

"""A whole season through the real commands: what each party ends up with, and what it never had."""

from __future__ import annotations

import csv
import re
import shutil
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from ledger_bundle import files

from noren_audit.rights import gate_check
from noren_audit.verification.trust import load_trust
from noren_client import calibration, campaign_files
from noren_client.applicants import Applicant, Decision, offerees, read_applicants
from noren_client.gate import decision_report, score_records
from noren_client.rights.custody import CustodyStore
from noren_core.crypto import oprf
from noren_core.crypto.sealed_table import row_secrets
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.ledger.entries import EntryKind
from noren_core.rights.disclosure.mirror import MirrorRecord
from noren_core.rights.gate.gate_file import parse_gate_file
from noren_core.rights.purposes import Purpose
from noren_demo.parties import CommandFailedError
from noren_demo.people import POSITION
from noren_server import alignment
from noren_server.tables import TablePublisher

if TYPE_CHECKING:
    from conftest import SmallSeason

CAMPAIGN = "spring-2026"
PAST, CURRENT = "season-2025", "season-2026"


@dataclass(frozen=True)
class Consent:
    """What a student answered who gave her consent; read here on its own, not with the platform's reader."""

    student: str
    identifier_kind: IdentifierKind
    identifier: str


class Consents:
    """The live consents of the season, as the students gave them on their devices."""

    def __init__(self, path: Path) -> None:
        with path.open(newline="") as file:
            self.lines = list(csv.DictReader(file))

    def live(self, company: str, season: str, purpose: Purpose) -> list[Consent]:
        wanted = (company, season, purpose.value, "gives")
        found = [
            Consent(line["student"], IdentifierKind(line["identifier_kind"]), line["identifier"])
            for line in self.lines
            if (line["company"], line["season"], line["purpose"], line["choice"]) == wanted
        ]
        return sorted(found, key=lambda consent: consent.student)

    def acknowledged(self, company: str) -> list[Consent]:
        """Those who may be scored and said that they got the company's offer."""
        offered = {
            line["student"]
            for line in self.lines
            if (line["company"], line["season"], line["offered"]) == (company, CURRENT, "yes")
        }
        return [item for item in self.live(company, CURRENT, Purpose.SCORE) if item.student in offered]


@pytest.fixture(scope="module")
def consents(finished: SmallSeason) -> Consents:
    return Consents(finished.files.choices)


def applicants_of(season: SmallSeason, company: str) -> tuple[Applicant, ...]:
    return read_applicants(season.files.applicants(company))


def key_of(student: Consent) -> bytes:
    return normalise_identifier(student.identifier_kind, student.identifier, POSITION)


# The rounds


def test_every_company_ends_with_the_same_head(finished: SmallSeason) -> None:
    """All five hold one head of five integers, and it is not the initial one."""
    heads = set(finished.heads().values())
    assert len(heads) == 1
    (head,) = heads
    assert head is not None
    assert len(head) == 5
    assert any(head)


def test_the_settles_of_a_round_agree(finished: SmallSeason) -> None:
    """Each company settled each round once; all say the same of it, and each round begins where one ended."""
    said = defaultdict(set)
    for company in finished.companies:
        settles = finished.entries(EntryKind.SETTLE, company=company)
        assert [entry.body["round"] for entry in settles] == [1, 2, 3]
        for entry in settles:
            body = entry.body
            said[body["round"]].add((tuple(body["survivors"]), body["model_in"], body["model_out"]))
    assert all(len(statements) == 1 for statements in said.values())
    (first,), (second,), (third,) = said[1], said[2], said[3]
    assert first[0] == finished.companies
    assert (first[2], second[2]) == (second[1], third[1])
    assert [finished.rounds_spent(company) for company in finished.companies] == [3] * 5


def test_the_auditor_verifies_it(finished: SmallSeason) -> None:
    """From ledger and public keys alone: VERIFIED, with epsilon of every company within the plan's."""
    verdict = finished.audit()
    assert (verdict.word, verdict.findings) == ("VERIFIED", ())
    assert [item.company for item in verdict.rounds] == list(finished.companies)
    assert all(0.9 < item.epsilon <= 1 for item in verdict.rounds)


def test_no_byte_of_the_ledger_can_change(finished: SmallSeason, tmp_path: Path) -> None:
    """One bit flipped anywhere in the export, the checkpoint included, is NOT VERIFIED."""
    bundle = finished.export(tmp_path / "bundle")
    places = [("checkpoint", place) for place in range(0, 170, 17)]
    for name in (name for name in files(bundle) if name != "checkpoint"):
        length = (bundle / name).stat().st_size
        places += [(name, round(part * (length - 1) / 20)) for part in range(21)]
    for number, (name, place) in enumerate(places):
        changed = tmp_path / f"changed-{number}"
        shutil.copytree(bundle, changed)
        data = bytearray((changed / name).read_bytes())
        data[place] ^= 1
        (changed / name).write_bytes(data)
        assert finished.verify(changed).word == "NOT VERIFIED", (name, place)


# Who has a row


def test_a_training_set_holds_consented_students_of_this_company_alone(
    finished: SmallSeason, consents: Consents
) -> None:
    """Rows and labels are those of offers with an outcome, a live consent, and training assigned here."""
    trained_at = training_companies(finished, consents)
    for company in finished.companies:
        live = {key_of(s): s.student for s in consents.live(company, PAST, Purpose.TRAIN)}
        expected = {
            person.key: person.outcome == "declined"
            for person in applicants_of(finished, company)
            if person.season == PAST
            and person.decision is Decision.OFFER
            and trained_at.get(live.get(person.key, "")) == [company]
        }
        kept = campaign_files.load_training_set(finished.company_dir(company), CAMPAIGN)
        released = released_rows(finished, company)
        stored = [released[row_key] for row_key in row_keys(finished, company, sorted(expected))]
        labelled = zip(stored, [expected[key] for key in sorted(expected)], strict=True)
        found = zip((row.astype("<i2").tobytes() for row in kept.rows), kept.labels.tolist(), strict=True)
        assert sorted(found) == sorted(labelled)
        assert list(kept.tags) == sorted(set(kept.tags))
        assert 10 < len(kept.labels) < len([p for p in applicants_of(finished, company) if p.season == PAST])


def test_a_student_trains_at_one_company(finished: SmallSeason, consents: Consents) -> None:
    """Whoever consented to several companies has a row at exactly one of them; everybody has one."""
    found = training_companies(finished, consents)
    several = [
        student
        for student in found
        if sum(student in students_of(consents, c, Purpose.TRAIN) for c in finished.companies) > 1
    ]
    assert len(several) > 50
    assert {len(companies) for companies in found.values()} == {1}


def test_only_students_with_a_live_consent_have_a_row_or_an_embedding(
    finished: SmallSeason, consents: Consents
) -> None:
    """Of the others, withdrawn ones included, no row was drawn and no feature kept."""
    for company in finished.companies:
        live = [key_of(s) for s in consents.live(company, PAST, Purpose.TRAIN)]
        known = set(row_keys(finished, company, live))
        assert set(released_rows(finished, company)) <= known
        students, _ = embeddings(finished, company)
        assert set(students) == students_of(consents, company, Purpose.SCORE)
        people = applicants_of(finished, company)
        assert len(students) < len([person for person in people if person.season == CURRENT])


# Scores


def test_bands_are_for_offerees_with_a_live_consent(finished: SmallSeason, consents: Consents) -> None:
    """A band for every offeree who consented to scoring and acknowledged her offer, and for nobody else."""
    for company in finished.companies:
        acknowledged = {key_of(s) for s in consents.acknowledged(company)}
        people = offerees(applicants_of(finished, company), CURRENT)
        expected = {person.key for person in people if person.key in acknowledged}
        found = records_of(finished, company)
        assert set(found) == expected
        assert {record.band for record in found.values()} <= {0, 1, 2}
        assert len(expected) < len(people)


def test_nobody_without_an_offer_has_a_row(finished: SmallSeason, consents: Consents) -> None:
    """Everybody who acknowledged has a row of the score table; who consented and was not chosen has none."""
    for company in finished.companies:
        consented = {key_of(s) for s in consents.live(company, CURRENT, Purpose.SCORE)}
        acknowledged = {key_of(s) for s in consents.acknowledged(company)}
        assert consented - acknowledged
        assert score_rows(finished, company, acknowledged) == acknowledged
        assert score_rows(finished, company, consented - acknowledged) == set()


def test_bands_are_those_of_the_exact_products(finished: SmallSeason, consents: Consents) -> None:
    """Every band is what w·h of integer head and int8 embedding comes to, calibrated with the past rate."""
    head = finished.head("akane")
    assert head is not None
    integers = calibration.integer_head(head, finished.plan)
    weights = np.array(integers.weights, dtype=np.int64)
    for company in finished.companies:
        by_student = dict(zip(*embeddings(finished, company), strict=True))
        found = records_of(finished, company)
        people = [s for s in consents.acknowledged(company) if key_of(s) in found]
        products = [int(by_student[s.student].astype(np.int64) @ weights) for s in people]
        labels = campaign_files.load_training_set(finished.company_dir(company), CAMPAIGN).labels
        values = calibration.probabilities(products, unit=integers.unit, rate=calibration.base_rate(labels))
        bands = calibration.bands(values, finished.plan.scoring.band_edges)
        assert [found[key_of(s)].band for s in people] == [band - 1 for band in bands]
        assert len(set(products)) > 5


def test_one_band_is_looked_at_and_the_auditor_agrees(
    finished: SmallSeason, consents: Consents, tmp_path: Path
) -> None:
    """Shown to who follows up, refused to who decided, nothing without consent; and the gate checks out."""
    season, company = finished.copy_to(tmp_path / "season"), "akane"
    who = tmp_path / "who"
    acknowledged = {key_of(s) for s in consents.acknowledged(company)}
    people = offerees(applicants_of(season, company), CURRENT)
    answers: dict[str, str] = {}
    with season.serving() as parties:

        def look(name: str, person: Applicant, member: str) -> None:
            who.write_text(person.identifier)
            kind = ("--identifier-kind", person.identifier_kind.value, "--applicant-file", str(who))
            arguments = ("show", CAMPAIGN, POSITION, "--as", member, *kind)
            try:
                answers[name] = str(parties.staff(company, member, *arguments)["band"])
            except CommandFailedError as error:
                answers[name] = error.code

        scored = next(person for person in people if person.key in acknowledged)
        look("by a mentor", scored, "mentor")
        look("by a decider", scored, "decider")
        look("without consent", next(p for p in people if p.key not in acknowledged), "mentor")
    expected = records_of(season, company)[scored.key].band + 1
    assert answers == {
        "by a mentor": str(expected),
        "by a decider": "ROLE_FORBIDDEN",
        "without consent": "NOT_AVAILABLE",
    }
    shown = parse_gate_file(b"".join(decision_report.export(season.company_dir(company), CAMPAIGN)))
    assert season.audit().word == "VERIFIED"
    report = gate_check.check(shown, season.root / "bundle", load_trust(season.root / "trust.toml"))
    assert (report.batches, report.findings) == (1, ())
    assert [access.outcome for access in shown.accesses] == ["SHOWN", "NOT_AVAILABLE"]


# What the platform never had


def test_the_platform_holds_no_head(finished: SmallSeason) -> None:
    """The head's weights are in no file of the platform, however software may write them."""
    head = finished.head("akane")
    assert head is not None
    needles = list(forms_of_head(head))
    integers = calibration.integer_head(head, finished.plan).weights
    needles += forms_of_sequence(integers)
    assert search(finished.places.company("akane"), needles)  # the search finds what is there
    assert search(finished.places.platform, needles) == []


def test_the_platform_holds_no_score(finished: SmallSeason) -> None:
    """No three scores that follow each other in the platform's order are in its files, or in a company's."""
    head = finished.head("akane")
    assert head is not None
    weights = np.array(calibration.integer_head(head, finished.plan).weights, dtype=np.int64)
    needles: list[bytes] = []
    for company in finished.companies:
        _, values = embeddings(finished, company)
        scores = (values.astype(np.int64) @ weights).tolist()
        for place in range(0, len(scores) - 3, 7):
            three = scores[place : place + 3]
            needles += forms_of_sequence(three) if len(set(three)) == 3 else []
    assert len(needles) > 100
    assert search(finished.places.platform, needles) == []
    assert search(finished.root / "companies", needles) == []  # nor does a company keep them


def test_the_platform_holds_outcome_words_in_plans_only(finished: SmallSeason) -> None:
    """Outside the plan's vocabulary no outcome word and no decision is in any file of the platform."""
    vocabulary = re.compile(rb'(negative|positive|excluded)("| )?[:=] ?\[[^]]*\]')
    left = {}
    for path, data in contents(finished.places.platform):
        if words := re.findall(rb"declined|accepted(?!_at)|no-offer", vocabulary.sub(b"", data)):
            left[path.name] = words
    assert left == {}
    assert any(b"declined" in data for _, data in contents(finished.places.platform))


def test_the_platform_never_sees_who_applied_without_consent(
    finished: SmallSeason, consents: Consents
) -> None:
    """An applicant's identifier that no student gave the platform is in none of its files."""
    given = {line["identifier"] for line in consents.lines}
    people = [person for company in finished.companies for person in applicants_of(finished, company)]
    unknown = {person.identifier for person in people} - given
    assert len(unknown) > 30
    assert search(finished.places.platform, forms_of_texts(unknown)) == []
    live = {s.identifier for s in consents.live("akane", PAST, Purpose.TRAIN)}
    assert search(finished.places.platform, forms_of_texts(live))


def test_a_student_without_consent_is_in_the_logs_only(finished: SmallSeason, consents: Consents) -> None:
    """Beyond the logs, and the record of what she answered, no file of the platform names her."""
    live = {
        student
        for company in finished.companies
        for purpose in Purpose
        for student in students_of(consents, company, purpose)
    }
    withdrawn = {line["identifier"] for line in consents.lines if line["choice"] == "withdraws"}
    accounts = {
        str(name)
        for path in sorted((finished.places.platform / "logs" / "events").glob("*.parquet"))
        for name in pq.read_table(path, columns=["student"])["student"].unique().to_pylist()
    }
    others = accounts - live
    assert len(others) > 50
    assert len(withdrawn) > 30
    needles = forms_of_texts(others | withdrawn)
    found = [
        path
        for path in search(finished.places.platform, needles)
        if path.parts[-2] not in {"logs", "events"} and not path.name.startswith("consents.db")
    ]
    assert found == []
    embedded = search(finished.places.platform / "embeddings", forms_of_texts(live))
    assert len(embedded) == 5  # the search reads NumPy's text


def test_secrets_are_for_their_owner_and_nothing_is_half_written(finished: SmallSeason) -> None:
    """Keys, tables, embeddings and what a company knows of people are 0600; no temporary file is left."""
    private = ("keys", "ca", "tls", "campaigns", "embeddings", "tables")
    files = [path for path in finished.root.rglob("*") if path.is_file()]
    secrets = [path for path in files if set(private) & set(path.relative_to(finished.root).parts)]
    secrets += [path for path in files if path.name in {"applicants.csv", "odometer.jsonl"}]
    secrets += [path for path in files if path.name.startswith(("ledger.db", "platform.db"))]
    readable = [path for path in secrets if path.stat().st_mode & 0o077 and path.name != "ca.pem"]
    assert len(secrets) > 80
    assert readable == []
    assert [path for path in files if path.suffix in {".part", ".new", ".old", ".partial", ".tmp"}] == []


# Helpers


def students_of(consents: Consents, company: str, purpose: Purpose) -> set[str]:
    season = PAST if purpose is Purpose.TRAIN else CURRENT
    return {item.student for item in consents.live(company, season, purpose)}


def training_companies(season: SmallSeason, consents: Consents) -> dict[str, list[str]]:
    """At which companies each consented student has a training row, looked up as the company would."""
    found: dict[str, list[str]] = {}
    for company in season.companies:
        released = released_rows(season, company)
        live = consents.live(company, PAST, Purpose.TRAIN)
        for item, row_key in zip(live, row_keys(season, company, map(key_of, live)), strict=True):
            found.setdefault(item.student, [])
            if row_key in released:
                found[item.student].append(company)
    return found


def row_keys(season: SmallSeason, company: str, identifiers: Iterable[bytes]) -> list[bytes]:
    with season.platform() as platform:
        key = alignment.oprf_key(platform.store, CAMPAIGN, company, TableKind.TRAIN)
    return [alignment.row_key(oprf.evaluate(key, identifier)) for identifier in identifiers]


def score_rows(season: SmallSeason, company: str, identifiers: set[bytes]) -> set[bytes]:
    """Which of these have a row in the company's newest score table."""
    with season.platform() as platform:
        key = alignment.oprf_key(platform.store, CAMPAIGN, company, TableKind.SCORE)
        tables = TablePublisher(platform.store, platform.ledger, platform.directory / "tables")
        table = tables.table(CAMPAIGN, company, TableKind.SCORE)
        assert table is not None
        tags = {
            row_secrets(oprf.evaluate(key, identifier), table.manifest.context)[0]: identifier
            for identifier in identifiers
        }
        return {tags[tag] for tag in tables.tags_in(table, tags)}


def released_rows(season: SmallSeason, company: str) -> dict[bytes, bytes]:
    query = "SELECT row_key, payload FROM released_rows WHERE company = ?"
    with closing(sqlite3.connect(season.places.platform / "platform.db")) as database:
        return dict(database.execute(query, (company,)).fetchall())


def embeddings(season: SmallSeason, company: str) -> tuple[list[str], np.ndarray]:
    path = season.places.platform / "embeddings" / CAMPAIGN / f"{company}-score.npz"
    with np.load(path, allow_pickle=False) as file:
        return [str(name) for name in file["students"]], file["values"]


def records_of(season: SmallSeason, company: str) -> dict[bytes, MirrorRecord]:
    """Every record that a company keeps, by identifier."""
    directory = season.company_dir(company)
    with CustodyStore(directory) as custody:
        found = score_records.iter_records(directory, CAMPAIGN, custody)
        return {person.identifier: score.score.committed.record for person, score in found}


def contents(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file's bytes; of compressed Parquet also the texts in it."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".parquet":
                for column in ("student", "event_type", "context"):
                    words = pq.read_table(path, columns=[column])[column].unique().to_pylist()
                    data += b"\n" + "\n".join(map(str, words)).encode()
            yield path, data


def search(directory: Path, needles: Sequence[bytes]) -> list[Path]:
    """The files in which one of the needles is, in either case of letters."""
    lower = {needle.lower() for needle in needles}
    found = ((path, data.lower()) for path, data in contents(directory))
    return [path for path, data in found if any(needle in data for needle in lower)]


def forms_of_head(head: Sequence[int]) -> Iterator[bytes]:
    for weight in head:
        if abs(weight) < 10**6:
            continue  # so few digits may be anywhere
        yield str(weight).encode()
        yield from (struct.pack(form, weight) for form in ("<q", ">q"))
        yield from (struct.pack(form, weight / 2**32) for form in ("<d", ">d"))
    yield np.array([weight / 2**32 for weight in head], dtype="<f4").tobytes()


def forms_of_sequence(values: Sequence[int]) -> list[bytes]:
    forms = [np.array(values, dtype=kind).tobytes() for kind in ("<i4", "<i8", ">i8", "<f4", "<f8")]
    return [*forms, *(separator.join(map(str, values)).encode() for separator in (",", ", "))]


def forms_of_texts(texts: Iterable[str]) -> list[bytes]:
    """ASCII, and what NumPy and Windows make of it."""
    return [text.encode(form) for text in texts for form in ("utf-8", "utf-16-le", "utf-32-le")]

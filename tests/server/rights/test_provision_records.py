"""Provision records: on disk before a row leaves, never changed, agreeing with permits and consents."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from consenting_students import ALL_CLAUSES, NOW, SCREEN, ConsentingStudents, PermissiveFacts

from noren_core.crypto.sealed_table import TableContext, row_secrets
from noren_core.errors import ConfigurationError, LocalProtocolError, VerificationError
from noren_core.ids import TableKind, normalise_identifier
from noren_core.rights.erasure.provision_record import ProvisionTwin, verify_twin
from noren_core.rights.notices.page_text import normalise_text
from noren_core.rights.purposes import Purpose
from noren_core.season.plan import CampaignPlan
from noren_server import alignment, platform_files
from noren_server.consents.consent_book import ConsentedStudent
from noren_server.consents.consent_service import ConsentService, Provision
from noren_server.consents.opening import consent_service
from noren_server.platform_files import Platform
from noren_server.policies.screen_register import ScreenRegister
from noren_server.rights.provision_records import KEPT_SECONDS, ProvisionRecords
from noren_server.rights.reconciliation import REPORT_FILE, Fault, reconcile
from noren_server.store import EnrolmentRecord
from noren_server.tables import TablePublisher

COMPANY, CAMPAIGN, SEASON = "company-1", "spring-2026", "2025"
TRAIN = Purpose.TRAIN


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = platform_files.initialise(
        tmp_path / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0)
    )
    yield platform
    platform.store.close()
    platform.ledger_store.close()


@pytest.fixture
def service(platform: Platform) -> Iterator[ConsentService]:
    with consent_service(platform, PermissiveFacts().at) as service:
        yield service


@pytest.fixture
def provisions(platform: Platform) -> Iterator[ProvisionRecords]:
    with closing(ProvisionRecords.open(platform.directory)) as provisions:
        yield provisions


@pytest.fixture
def consented(platform: Platform, service: ConsentService) -> tuple[ConsentedStudent, ...]:
    """Five students with a consent for training at the company."""
    students = ConsentingStudents(platform.consent_key)
    for number in range(5):
        events = students.student(f"s{number}").gives(TRAIN, COMPANY, season=SEASON)
        service.book.record_all(events, now=students.now)
    return service.book.live(COMPANY, SEASON, TRAIN, now=students.now)


def provide(
    service: ConsentService, provisions: ProvisionRecords, students: tuple[ConsentedStudent, ...], now: int
) -> None:
    """As publication does before a row is handed on."""
    service.provide(
        students, provisions.write, campaign=CAMPAIGN, company=COMPANY, season=SEASON, purpose=TRAIN, now=now
    )


def identifier(student: ConsentedStudent) -> bytes:
    return normalise_identifier(student.identifier_kind, student.identifier, student.position)


def context() -> TableContext:
    return TableContext.fresh(company=COMPANY, campaign=CAMPAIGN, kind=TableKind.TRAIN)


def tag(number: int) -> bytes:
    return bytes([number]) * 16


def test_a_row_needs_its_provision(
    service: ConsentService, provisions: ProvisionRecords, consented: tuple[ConsentedStudent, ...]
) -> None:
    """Who was provided gets a tag written down; one row more and the table may not come out, whole."""
    provide(service, provisions, consented[:4], NOW + 100)
    first = context()
    provisions.seal(first, [identifier(s) for s in consented[:4]], [tag(n) for n in range(4)])
    for students in (consented, consented[4:]):
        with pytest.raises(LocalProtocolError) as refused:
            provisions.seal(
                context(), [identifier(s) for s in students], [tag(n) for n in range(len(students))]
            )
        assert refused.value.code == "PROVISION_RECORD_REQUIRED"
    with pytest.raises(LocalProtocolError):
        provisions.seal(first, [identifier(consented[0])], [])
    with sqlite3.connect(provisions_path(provisions)) as database:
        assert database.execute("SELECT COUNT(*) FROM sealed_rows").fetchone() == (4,)


def provisions_path(provisions: ProvisionRecords) -> str:
    with provisions._file.reading() as database:
        return str(database.execute("PRAGMA database_list").fetchone()[2])


def test_a_provision_for_another_purpose_is_none(
    service: ConsentService, provisions: ProvisionRecords, consented: tuple[ConsentedStudent, ...]
) -> None:
    """A row of the score table is not covered by what was provided for training."""
    provide(service, provisions, consented, NOW + 100)
    score = TableContext.fresh(company=COMPANY, campaign=CAMPAIGN, kind=TableKind.SCORE)
    other = TableContext.fresh(company="company-2", campaign=CAMPAIGN, kind=TableKind.TRAIN)
    for wrong in (score, other, replace(context(), campaign="autumn")):
        with pytest.raises(LocalProtocolError):
            provisions.seal(wrong, [identifier(consented[0])], [tag(0)])


def test_killed_between_record_and_bytes_there_is_a_record_and_no_table(
    platform: Platform,
    service: ConsentService,
    provisions: ProvisionRecords,
    consented: tuple[ConsentedStudent, ...],
    plan_body: dict[str, Any],
) -> None:
    """SIGKILL the moment the record is on disk: it is there, no table is served, none is in the ledger."""
    plan = CampaignPlan.from_body(plan_body)
    with platform.store.transaction() as transaction:
        for number, company in enumerate(plan.companies):
            key = bytes([number]) * 32
            transaction.add_company(EnrolmentRecord(company, key, key, 40, b"r", b"n", b"{}", b"{}"))
        transaction.add_campaign(plan)
    alignment.publish_oprf_keys(platform.store, platform.ledger, plan)
    provide(service, provisions, consented, NOW + 100)
    entries = platform.ledger_store.size
    child = os.fork()
    if child == 0:  # everything is opened anew: connections do not survive a fork
        with closing(ProvisionRecords.open(platform.directory)) as records:

            def killed(*arguments: Any) -> None:
                records.seal(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)

            publish(platform_files.Platform(platform.directory), plan, consented, killed)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with sqlite3.connect(provisions_path(provisions)) as database:
        assert database.execute("SELECT COUNT(*) FROM sealed_rows").fetchone() == (len(consented),)
    assert platform.ledger_store.size == entries
    tables = TablePublisher(platform.store, platform.ledger, platform.directory / "tables")
    assert tables.table(CAMPAIGN, COMPANY, TableKind.TRAIN) is None
    assert not list((platform.directory / "tables").rglob("*.bin"))
    with pytest.raises(LocalProtocolError):  # a provision is of one row of one table
        publish(platform, plan, consented, provisions.seal)
    provide(service, provisions, consented, NOW + 200)
    publish(platform, plan, consented, provisions.seal)
    table = tables.table(CAMPAIGN, COMPANY, TableKind.TRAIN)
    assert table is not None
    with sqlite3.connect(provisions_path(provisions)) as database:
        query = "SELECT tag FROM sealed_rows WHERE table_id = ?"
        written = {row[0] for row in database.execute(query, (table.manifest.context.table_id,))}
    key = alignment.oprf_key(platform.store, CAMPAIGN, COMPANY, TableKind.TRAIN)
    outputs = alignment.evaluate_identifiers(key, [identifier(s) for s in consented])
    assert written == {row_secrets(output, table.manifest.context)[0] for output in outputs}


def publish(
    platform: Platform, plan: CampaignPlan, students: tuple[ConsentedStudent, ...], provided: Any
) -> None:
    publisher = TablePublisher(
        platform.store, platform.ledger, platform.directory / "tables", provided=provided
    )
    rows = [(identifier(student), bytes(8)) for student in students]
    publisher.publish_training_tables(plan, {COMPANY: rows})


def test_a_table_whose_rows_are_not_provided_does_not_come_out(
    platform: Platform,
    consented: tuple[ConsentedStudent, ...],
    provisions: ProvisionRecords,
    service: ConsentService,
    plan_body: dict[str, Any],
) -> None:
    """The never of the write-ahead rule: no record, no bytes, nothing in the ledger."""
    plan = CampaignPlan.from_body(plan_body)
    with platform.store.transaction() as transaction:
        for number, company in enumerate(plan.companies):
            key = bytes([number]) * 32
            transaction.add_company(EnrolmentRecord(company, key, key, 40, b"r", b"n", b"{}", b"{}"))
        transaction.add_campaign(plan)
    alignment.publish_oprf_keys(platform.store, platform.ledger, plan)
    provide(service, provisions, consented[:-1], NOW + 100)
    entries = platform.ledger_store.size
    with pytest.raises(LocalProtocolError, match="record of every row"):
        publish(platform, plan, consented, provisions.seal)
    assert platform.ledger_store.size == entries
    assert not list((platform.directory / "tables").rglob("*.bin"))


def test_records_are_never_changed_and_go_after_three_years(
    service: ConsentService, provisions: ProvisionRecords, consented: tuple[ConsentedStudent, ...]
) -> None:
    """No statement changes or removes one before its time; then `expire` removes it with its rows."""
    provide(service, provisions, consented, NOW + 100)
    provisions.seal(context(), [identifier(s) for s in consented], [tag(n) for n in range(5)])
    with closing(sqlite3.connect(provisions_path(provisions))) as database:
        for statement in (
            "UPDATE provisions SET company = 'x'",
            "UPDATE sealed_rows SET tag = x'00'",
            "DELETE FROM provisions",
            "DELETE FROM sealed_rows",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(statement)
    assert not provisions.expire(now=NOW + 100 + KEPT_SECONDS)
    assert len(provisions.of_student("s0")) == 1
    assert provisions.expire(now=NOW + 101 + KEPT_SECONDS)
    assert provisions.of_student("s0") == ()
    with sqlite3.connect(provisions_path(provisions)) as database:
        assert database.execute("SELECT COUNT(*) FROM sealed_rows").fetchone() == (0,)


def test_a_student_sees_what_was_provided_to_whom_when_and_why(
    service: ConsentService, provisions: ProvisionRecords, consented: tuple[ConsentedStudent, ...]
) -> None:
    """Her export has each provision with its consent record, and nobody else's."""
    provide(service, provisions, consented, NOW + 100)
    provide(service, provisions, consented[:1], NOW + 200)
    lines = provisions.of_student(consented[0].student)
    assert [(line.company, line.campaign, line.at, line.record) for line in lines] == [
        (COMPANY, CAMPAIGN, NOW + seconds, consented[0].record.hex()) for seconds in (100, 200)
    ]


def test_the_companys_twin_is_compared_on_its_premises(
    service: ConsentService, provisions: ProvisionRecords, consented: tuple[ConsentedStudent, ...]
) -> None:
    """Some of the rows are a match; a row that nobody provided is none; and the file names no tag."""
    provide(service, provisions, consented, NOW + 100)
    table = context()
    provisions.seal(table, [identifier(s) for s in consented], [tag(n) for n in range(5)])
    file = provisions.comparison_file(table.table_id, salt=bytes(range(32)))
    assert tag(3).hex().encode() not in file
    twin = ProvisionTwin(
        "job-site", COMPANY, CAMPAIGN, TableKind.TRAIN, table.table_id, "rows", NOW, (tag(1), tag(3))
    )
    verify_twin(twin, file)
    verify_twin(replace(twin, tags=()), file)
    for wrong in (replace(twin, tags=(tag(1), tag(9))), replace(twin, table_id=bytes(16))):
        with pytest.raises(VerificationError) as mismatch:
            verify_twin(wrong, file)
        assert mismatch.value.code == "PROVISION_MISMATCH"


def a_screen(directory: Path, *, verified_from: int, verified_until: int) -> None:
    """The consent screen in the register, as a crawler that looked at it twice leaves it."""
    ScreenRegister.open(directory).close()
    with closing(sqlite3.connect(directory / "screens.db", isolation_level=None)) as database:
        database.execute("INSERT INTO texts VALUES (?, ?)", (SCREEN, normalise_text("the consent screen")))
        clauses = " ".join(ALL_CLAUSES)
        columns = [0, "place", "policy-1", SCREEN, clauses, "", "", "VERIFIED"]
        times = [verified_from, verified_until, verified_from, verified_until]
        marks = ", ".join("?" * 12)
        query = f"INSERT INTO screens VALUES ({marks})"  # noqa: S608 (marks alone)
        database.execute(query, [*columns, *times])


def test_what_agrees_is_reconciled(
    platform: Platform,
    service: ConsentService,
    provisions: ProvisionRecords,
    consented: tuple[ConsentedStudent, ...],
) -> None:
    """Permit, event, screen and provision of every row: no fault; without a file it says which is missing."""
    provide(service, provisions, consented, NOW + 100)
    with pytest.raises(ConfigurationError, match=r"provisions\.db"):
        reconcile(platform.directory / "tables")
    a_screen(platform.directory, verified_from=NOW - 1000, verified_until=NOW + 1000)
    reconcile(platform.directory).verify()


FAULTS = {
    Fault.NO_CONSENT_EVENT: {"consent_seq": 0},
    Fault.OTHER_CONSENT: {"position": "designer"},
    Fault.CONSENT_HAD_ENDED: {},
    Fault.SCREEN_NOT_VERIFIED: {},
    Fault.ROW_WITHOUT_PROVISION: {},
}


@pytest.mark.parametrize("fault", Fault)
def test_each_disagreement_is_found(
    platform: Platform,
    service: ConsentService,
    provisions: ProvisionRecords,
    consented: tuple[ConsentedStudent, ...],
    fault: Fault,
) -> None:
    """One planted at a time: that comparison fails and no other; the error names no number and nobody."""
    until = NOW - 900 if fault is Fault.SCREEN_NOT_VERIFIED else NOW + 1000
    a_screen(platform.directory, verified_from=NOW - 1000, verified_until=until)
    provide(service, provisions, consented, NOW + 100)
    changed = FAULTS[fault]
    if changed:

        def write(items: Any) -> None:
            (item,) = items
            student = item.student
            if "position" in changed:
                student = replace(student, position="designer")
            if "consent_seq" in changed:
                student = replace(student, seq=0)
            provisions.write([replace(item, student=student)])

        service.provide(
            consented[:1],
            write,
            campaign=CAMPAIGN,
            company=COMPANY,
            season=SEASON,
            purpose=TRAIN,
            now=NOW + 150,
        )
    with provisions._file.writing() as database:
        if fault is Fault.ROW_WITHOUT_PROVISION:
            database.execute("INSERT INTO sealed_rows VALUES (?, ?, ?)", (bytes(16), tag(1), tag(2)))
        if fault is Fault.CONSENT_HAD_ENDED:
            with closing(sqlite3.connect(platform.directory / "consents.db")) as consents, consents:
                consents.execute("UPDATE records SET state = 'WITHDRAWN', last_time = ?", (NOW + 50,))
    found = reconcile(platform.directory)
    assert found.faults == (fault,)
    assert (platform.directory / REPORT_FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(VerificationError) as mismatch:
        found.verify()
    assert mismatch.value.code == "PROVISION_MISMATCH"
    assert not any(character.isdigit() for character in mismatch.value.message)


def test_many_rows_are_written_in_two_transactions(
    service: ConsentService, provisions: ProvisionRecords, consented: tuple[ConsentedStudent, ...]
) -> None:
    """Twenty thousand provisions and their tags go in at once, each set whole or not at all."""
    provide(service, provisions, consented[:1], NOW + 100)
    made: list[Provision] = []
    service.provide(
        consented[:1],
        made.extend,
        campaign=CAMPAIGN,
        company=COMPANY,
        season=SEASON,
        purpose=TRAIN,
        now=NOW + 1,
    )
    many = [
        replace(
            made[0],
            permit=replace(made[0].permit, jti=number.to_bytes(16, "big")),
            student=replace(made[0].student, identifier=f"code-{number}"),
        )
        for number in range(20_000)
    ]
    provisions.write(many)
    identifiers = [identifier(item.student) for item in many]
    provisions.seal(context(), identifiers, [number.to_bytes(16, "big") for number in range(20_000)])

"""Enrolment and companies through the pages, and the first page."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from console_companies import enrol
from operators_console import Console, Visit

from noren_core.crypto.identity import fingerprint
from noren_core.ledger.entries import EntryKind
from noren_server.console.accounts import ConsoleRole
from noren_server.console.proposals import VALID_SECONDS
from noren_server.store import CompanyState

OFFICER, OPERATOR = ConsoleRole.PRIVACY_OFFICER, ConsoleRole.ML_OPERATOR


@pytest.fixture
def officer(console: Console) -> Visit:
    console.add_at_provider("hanako", OFFICER)
    return console.signed_in("hanako")


@pytest.fixture
def operator(console: Console) -> Visit:
    console.add_at_provider("sora", OPERATOR)
    return console.signed_in("sora")


def state(console: Console, company: str) -> CompanyState | None:
    with console.platform.store.snapshot() as stored:
        found = stored.company(company)
    return None if found is None else found.state


def let_in(console: Console, officer: Visit, company: str) -> None:
    last = enrol(console.platform, company)
    assert officer.post("/enrolment/approve", {"company": company, "group": last}).status_code == 303


def revoke_form(company: str, **changes: str) -> dict[str, str]:
    return {"company": company, "reason": "LEFT", "confirmation": company} | changes


def test_a_company_is_let_in_by_the_group_that_it_reads_out(console: Console, officer: Visit) -> None:
    """Which the page does not show; spaces and case do not matter; it is in the ledger then."""
    last = enrol(console.platform, "akane")
    page = officer.get("/enrolment").text
    with console.platform.store.snapshot() as stored:
        company = stored.company("akane")
    assert company is not None
    *others, kept_back = fingerprint(company.signing_key).split(" ")
    assert kept_back == last
    assert all(f"<code>{group}</code>" in page for group in others)
    assert f"<code>{last}</code>" not in page
    form = {"company": "akane", "group": f" {last.upper()} "}
    assert officer.post("/enrolment/approve", form).status_code == 303
    assert state(console, "akane") is CompanyState.APPROVED
    assert len(console.platform.ledger_store.entries(kind=EntryKind.ENROLMENT)) == 1


@pytest.mark.parametrize("group", ["0000", "", "x", "0" * 16])
def test_another_group_lets_nobody_in(console: Console, officer: Visit, group: str) -> None:
    """Nor none; the company still waits, and the trail says so."""
    enrol(console.platform, "akane")
    assert officer.post("/enrolment/approve", {"company": "akane", "group": group}).status_code == 422
    assert state(console, "akane") is CompanyState.PENDING
    assert console.desk.trail.newest()[0].about == "company:akane"
    assert console.desk.trail.newest()[0].outcome in {"FINGERPRINT_MISMATCH", "FIELD_MISSING"}


def test_a_whole_fingerprint_in_place_of_the_group_lets_nobody_in(console: Console, officer: Visit) -> None:
    """What somebody read from the screen back to us is no comparison."""
    enrol(console.platform, "akane")
    with console.platform.store.snapshot() as stored:
        company = stored.company("akane")
    assert company is not None
    whole = fingerprint(company.signing_key)
    assert officer.post("/enrolment/approve", {"company": "akane", "group": whole}).status_code == 422


def test_a_request_is_rejected_by_its_typed_name(console: Console, officer: Visit) -> None:
    """And the company can be invited again."""
    enrol(console.platform, "akane")
    wrong = officer.post("/enrolment/reject", {"company": "akane", "confirmation": "yes"})
    assert (wrong.status_code, state(console, "akane")) == (422, CompanyState.PENDING)
    assert officer.post("/enrolment/reject", {"company": "akane", "confirmation": "akane"}).status_code == 303
    assert state(console, "akane") is None
    enrol(console.platform, "akane")


def test_an_invitation_is_a_file(console: Console, operator: Visit) -> None:
    """With a code that is shown nowhere else; the page then says that the company was invited."""
    answer = operator.post("/enrolment/invite", {"company": "akane", "days": "7"})
    assert answer.headers["content-disposition"] == 'attachment; filename="invitation-akane.json"'
    assert answer.headers["cache-control"] == "no-store"
    invitation = json.loads(answer.content)
    page = operator.get("/enrolment").text
    assert "akane" in page
    assert invitation["code"] not in page
    for days in ("0", "61", "x", "１"):
        assert operator.post("/enrolment/invite", {"company": "benten", "days": days}).status_code == 422
    assert operator.post("/enrolment/invite", {"company": "../x", "days": "7"}).status_code == 422


def test_two_people_end_a_participation(console: Console, officer: Visit, operator: Visit) -> None:
    """Who proposed does not confirm; each types the name; nothing happens in between."""
    let_in(console, officer, "akane")
    assert officer.post("/companies/revoke", revoke_form("akane", confirmation="x")).status_code == 422
    assert officer.post("/companies/revoke", revoke_form("akane", reason="BORING")).status_code == 422
    assert officer.post("/companies/revoke", revoke_form("akane")).status_code == 303
    assert state(console, "akane") is CompanyState.APPROVED
    (proposal,) = console.desk.proposals.waiting()
    form = {"company": "akane", "proposal": proposal.proposal, "confirmation": "akane"}
    assert "SECOND_PERSON_REQUIRED" in officer.post("/companies/revoke/confirm", form).text
    assert operator.post("/companies/revoke/confirm", form | {"confirmation": "x"}).status_code == 422
    assert state(console, "akane") is CompanyState.APPROVED
    assert operator.post("/companies/revoke/confirm", form).status_code == 303
    assert state(console, "akane") is CompanyState.REVOKED
    (entry,) = console.platform.ledger_store.entries(kind=EntryKind.REVOCATION)
    assert entry.entry.body == {"company": "akane", "reason": "LEFT"}


def test_a_confirmation_is_for_the_company_of_its_page(
    console: Console, officer: Visit, operator: Visit
) -> None:
    """Whoever typed one company's name does not end another's participation."""
    for company in ("akane", "benten"):
        let_in(console, officer, company)
    officer.post("/companies/revoke", revoke_form("akane"))
    (proposal,) = console.desk.proposals.waiting()
    form = {"company": "benten", "proposal": proposal.proposal, "confirmation": "benten"}
    assert operator.post("/companies/revoke/confirm", form).status_code == 422
    assert {state(console, "akane"), state(console, "benten")} == {CompanyState.APPROVED}
    assert len(console.desk.proposals.waiting()) == 1


def test_a_proposal_that_lapsed_ends_nothing(console: Console, officer: Visit, operator: Visit) -> None:
    """After seven days it has to be proposed anew."""
    let_in(console, officer, "akane")
    officer.post("/companies/revoke", revoke_form("akane"))
    (proposal,) = console.desk.proposals.waiting()
    console.clock.now += VALID_SECONDS
    operator = console.signed_in("sora")
    form = {"company": "akane", "proposal": proposal.proposal, "confirmation": "akane"}
    assert "PROPOSAL_GONE" in operator.post("/companies/revoke/confirm", form).text
    assert state(console, "akane") is CompanyState.APPROVED


def test_pages_of_companies(console: Console, officer: Visit) -> None:
    """State, certificate and reach are shown; a company that never asked has no page."""
    let_in(console, officer, "akane")
    enrol(console.platform, "benten")
    page = officer.get("/companies").text
    assert "akane" in page
    assert "benten" in page
    assert officer.get("/companies/akane").status_code == 200
    assert officer.get("/companies/benten").status_code == 200
    assert officer.get("/companies/chidori").status_code == 404
    assert officer.get("/companies/..%2Fx").status_code == 404


def test_a_protected_platform_keeps_people_sealed(console: Console) -> None:
    """The register is one of the secrets that `keys protect` seals."""
    from noren_server.platform_secrets import PlatformFiles

    assert "console/people.json" in PlatformFiles(console.platform.directory).names()


# The first page


def test_what_waits(console: Console, officer: Visit, operator: Visit) -> None:
    """Enrolments, and proposals of others than oneself."""
    empty = officer.get("/").text
    let_in(console, officer, "akane")
    enrol(console.platform, "benten")
    officer.post("/companies/revoke", revoke_form("akane"))
    mine, others = officer.get("/").text, operator.get("/").text
    assert 'href="/enrolment">' in mine
    assert mine.count('href="/enrolment">') == empty.count('href="/enrolment">') + 1
    assert "hanako" in others.split("<main")[1]
    assert "A proposal of" not in mine


def test_what_cannot_be_read_is_an_alarm(console: Console, officer: Visit) -> None:
    """The page is there all the same, with the error's code."""
    console.platform.progress_path("spring")
    (console.platform.directory / "tls" / "server.pem").write_bytes(b"damaged")
    answer = officer.get("/")
    assert answer.status_code == 200
    assert "BAD_CONFIGURATION" in answer.text


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, console: Console) -> Iterator[list[str]]:
    """Every statement that is run on any database of the platform."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(console.platform.store._engine, "before_cursor_execute", note)
    connect = sqlite3.connect

    def connected(*given: Any, **options: Any) -> sqlite3.Connection:
        made = connect(*given, **options)
        made.set_trace_callback(seen.append)
        return made

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", connected)
        for file in (console.desk.trail._file, console.desk.proposals._file):
            file._db.set_trace_callback(seen.append)
        console.platform.ledger_store._db.set_trace_callback(seen.append)
        yield seen
    sa.event.remove(console.platform.store._engine, "before_cursor_execute", note)


def test_the_first_page_asks_as_often_with_many_companies(
    console: Console, officer: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither companies nor applications make it ask more often."""
    officer.get("/")
    with counted(monkeypatch, console) as few:
        officer.get("/")
    before = len(few)
    assert before > 5
    for number in range(12):
        enrol(console.platform, f"company-{number}", declared_size=30_000)
    officer.get("/")  # the ledger's tree takes in what is new once
    with counted(monkeypatch, console) as many:
        officer.get("/")
    assert len(many) <= before

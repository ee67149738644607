"""The students' API: each for herself, signed, and working when nothing else does."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

import pytest
from self_signed_certificate import self_signed
from student_http import COMPANY, LINK, POSITION, SCORE, SEASON, TRAIN, StudentHttp, StudentsPlatform

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import VerificationError
from noren_core.ids import IdentifierKind, TableKind
from noren_core.ledger.entries import IncidentState
from noren_core.rights.consent.link_offer import LinkOffer
from noren_core.rights.consent.permit import Permit
from noren_core.rights.consent.receipt import verify_receipt
from noren_core.rights.disclosure.student_report import ProvisionLine, StudentReport
from noren_core.rights.purposes import Purpose
from noren_core.rights.service.incident import IncidentClass
from noren_core.rights.student_device import StudentDevice
from noren_server.consents.consent_book import ConsentedStudent
from noren_server.consents.consent_service import Provision
from noren_server.rights.incidents import AffectedScope, incident_desk
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.student_api import StudentApi, openapi, run_student_api
from noren_server.rights.student_auth import RATE_REQUESTS


@pytest.fixture
def aiko(students: StudentsPlatform) -> StudentHttp:
    return students.registered("aiko")


def scored(student: StudentHttp) -> dict[str, bytes]:
    """Consents to link and score, given through the API; the records by purpose."""
    return {purpose.value: student.gives(purpose, "consent-score") for purpose in (LINK, SCORE)}


def test_a_consent_is_shown_given_and_proven(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """Two requests; the event names the text that was really sent; the receipt verifies offline."""
    shown = aiko.shown("consent-score")
    assert shown["screen"] in students.facts.screens
    assert {item["state"] for item in shown["records"]} == {"SHOWN"}
    record = aiko.gives(SCORE, "consent-score")
    listed = aiko.get("/v1/consents")
    assert listed["key"] == aiko.device.signing_key.public_key.hex()
    [found] = [item for item in listed["records"] if item["record"] == record.hex()]
    assert (found["state"], found["live"], found["purpose"]) == ("GIVEN", True, SCORE.value)
    service_key = students.platform.consent_key.public_key
    receipts = [verify_receipt(text.encode(), service_key=service_key) for text in listed["receipts"]]
    assert [receipt.record.record.hex() for receipt in receipts] == [
        item["record"] for item in listed["records"]
    ]


def test_a_repeated_notice_goes_on_with_the_same_record(aiko: StudentHttp) -> None:
    """Until it is over; a page of another language has another hash."""
    first, again = aiko.shown("consent-score"), aiko.shown("consent-score")
    assert first["records"] == again["records"]
    english = aiko.get(f"/v1/notices/{COMPANY}/{POSITION}/{SEASON}?lang=en&route=consent-score")
    assert english["screen"] != first["screen"]


def test_nothing_is_shown_that_does_not_exist(aiko: StudentHttp) -> None:
    """Another route, season, company or language."""
    base = f"/v1/notices/{COMPANY}/{POSITION}"
    for target, status in (
        (f"{base}/{SEASON}?route=nothing", 404),
        (f"{base}/2031?route=consent-score", 404),
        (f"/v1/notices/beni/{POSITION}/{SEASON}?route=consent-score", 409),
        (f"{base}/{SEASON}?route=consent-score&lang=fr", 422),
        (f"{base}/{SEASON}?route=consent-score&more=1", 422),
        (f"{base}/{SEASON}?route=..", 422),
    ):
        assert aiko.refused("GET", target)[0] == status


@pytest.mark.parametrize("what", ["one", "all"])
def test_withdrawing_takes_no_more_requests_than_giving(
    students: StudentsPlatform, aiko: StudentHttp, what: str
) -> None:
    """One request, for one purpose or for all of them, whatever was given by how many."""
    records = scored(aiko)
    listed = aiko.get("/v1/consents")["records"]
    chosen = listed if what == "all" else [item for item in listed if item["purpose"] == SCORE.value]
    aiko.post("/v1/withdrawals", {"withdrawals": [aiko.withdrawal(item) for item in chosen]})
    states = {item["purpose"]: item["state"] for item in aiko.get("/v1/consents")["records"]}
    assert states[SCORE.value] == "WITHDRAWN"
    assert states[LINK.value] == ("WITHDRAWN" if what == "all" else "GIVEN")
    assert len(records) == 2


def test_withdrawals_are_the_student_s_own_or_nothing(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """Another's withdrawal, another event, names, hashes or nothing: BULK_LINK_FORBIDDEN, nothing changed."""
    scored(aiko)
    beni = students.registered("beni")
    scored(beni)
    hers = aiko.withdrawal(aiko.get("/v1/consents")["records"][0])
    other = beni.withdrawal(beni.get("/v1/consents")["records"][0])
    given = aiko.consent(SCORE, "consent-score")[1].decode()
    for items in ([hers, other], [other], [given], []):
        assert aiko.refused("POST", "/v1/withdrawals", {"withdrawals": items}) == (
            422,
            "BULK_LINK_FORBIDDEN",
        )
    for items in (["aiko@example.org"], ["ab" * 32]):
        assert aiko.refused("POST", "/v1/withdrawals", {"withdrawals": items})[0] == 422
    assert {item["state"] for item in aiko.get("/v1/consents")["records"]} == {"GIVEN"}


def test_nobody_acts_for_another(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """Events about somebody else: LINK_NOT_BY_SUBJECT, with whoever's signature."""
    beni = students.registered("beni")
    _, event = beni.consent(SCORE, "consent-score")
    assert aiko.refused("POST", "/v1/events", event) == (409, "LINK_NOT_BY_SUBJECT")
    offer = beni.device.acknowledges_offer(
        company=COMPANY, position=POSITION, season=SEASON, time=students.clock()
    )
    assert aiko.refused("POST", "/v1/offers", offer.to_bytes()) == (409, "LINK_NOT_BY_SUBJECT")
    assert beni.send("POST", "/v1/offers", offer.to_bytes()).status_code == 200
    assert students.consents.book.acknowledged(COMPANY, SEASON) == {("beni", POSITION)}


def test_an_offer_is_acknowledged_and_nothing_else_there(aiko: StudentHttp) -> None:
    """A consent is no acknowledgement."""
    _, event = aiko.consent(SCORE, "consent-score")
    assert aiko.refused("POST", "/v1/offers", event)[0] == 422


# Authentication ---------------------------------------------------------------------------------------------


def test_every_bad_signature_is_answered_with_the_same_bytes(
    students: StudentsPlatform, aiko: StudentHttp
) -> None:
    """Unknown account, unregistered key, another platform, stale, replayed, no headers: one answer."""
    other = SigningKey.generate()
    stranger = students.student("nobody-of-that-name")
    nonce = b"n" * 16
    assert aiko.send("GET", "/v1/consents", nonce=nonce).status_code == 200
    answers = [
        aiko.send("GET", "/v1/consents", nonce=nonce),
        aiko.send("GET", "/v1/consents", key=other),
        aiko.send("GET", "/v1/consents", platform="other/ledger"),
        aiko.send("GET", "/v1/consents", time=students.clock() - 301),
        aiko.send("GET", "/v1/consents", time=students.clock() + 301),
        aiko.send("GET", "/v1/consents", headers={"noren-signature": "00" * 64}),
        aiko.send("GET", "/v1/consents", headers={"noren-nonce": "x"}),
        stranger.send("GET", "/v1/consents"),
        aiko._client.request("GET", "/v1/consents"),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert {frozenset(answer.headers.items()) for answer in answers} == {
        frozenset(answers[0].headers.items())
    }


def test_a_nonce_stays_used_after_a_restart(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """It is in the file, not in memory."""
    nonce = b"m" * 16
    assert aiko.send("GET", "/v1/consents", nonce=nonce).status_code == 200
    again = students.student("aiko", aiko.device)
    assert again.send("GET", "/v1/consents", nonce=nonce).status_code == 401


def test_an_account_code_registers_one_key_once(students: StudentsPlatform) -> None:
    """For its account only, for fifteen minutes, and it is no way to anything else."""
    codes = students.services.codes
    aiko, beni = students.student("aiko"), students.student("beni")
    event = beni.device.registers(time=students.clock()).to_bytes()
    header = {"noren-account-code": codes.issue("aiko")}
    assert beni.send("POST", "/v1/events", event, headers=header).status_code == 401
    assert aiko.send("GET", "/v1/consents", headers=header).status_code == 401
    students.clock.now += 901
    own = aiko.device.registers(time=students.clock()).to_bytes()
    assert aiko.send("POST", "/v1/events", own, headers=header).status_code == 401
    fresh = {"noren-account-code": codes.issue("aiko")}
    assert aiko.send("POST", "/v1/events", own, headers=fresh).status_code == 200
    assert aiko.send("POST", "/v1/events", own, headers=fresh).status_code == 401
    assert aiko.get("/v1/consents")["records"] == []


def test_an_account_code_reads_nothing(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """Whoever has one can register a key, which the log shows, and not look around without doing so."""
    scored(aiko)
    other = students.student("aiko", StudentDevice.create("aiko"))
    event = other.device.replaces_lost(aiko.device.signing_key.public_key, time=students.clock()).to_bytes()
    header = {"noren-account-code": students.services.codes.issue("aiko")}
    for target in ("/v1/consents", "/v1/report", "/v1/mailboxes", "/v1/events?more"):
        method = "POST" if target.startswith("/v1/events") else "GET"
        assert other.send(method, target, event, headers=header).status_code == 401
    assert students.consents.book.student_key("aiko") == aiko.device.signing_key.public_key
    assert other.send("POST", "/v1/events", event, headers=header).status_code == 200


def test_a_lost_key_is_replaced_with_a_code_and_the_old_one_ends(
    students: StudentsPlatform, aiko: StudentHttp
) -> None:
    """The service endorses what the login found out; the lost device is nobody any more."""
    scored(aiko)
    new = students.student("aiko", StudentDevice.create("aiko"))
    event = new.device.replaces_lost(aiko.device.signing_key.public_key, time=students.clock()).to_bytes()
    assert new.send("POST", "/v1/events", event).status_code == 401
    header = {"noren-account-code": students.services.codes.issue("aiko")}
    assert new.send("POST", "/v1/events", event, headers=header).status_code == 200
    assert len(new.get("/v1/consents")["records"]) == 2
    assert aiko.refused("GET", "/v1/consents") == (401, "NOT_AUTHENTICATED")


def test_too_many_requests_are_refused_for_a_while(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """One account's limit is its own."""
    answers = [aiko.send("GET", "/v1/mailboxes").status_code for _ in range(RATE_REQUESTS + 1)]
    assert answers[-1] == 429
    assert set(answers[:-2]) == {200}
    assert students.registered("beni").get("/v1/mailboxes") == {"mailboxes": []}
    students.clock.now += 61
    assert aiko.send("GET", "/v1/mailboxes").status_code == 200


def test_long_and_broken_bodies_are_refused(aiko: StudentHttp) -> None:
    """Before anything is parsed, and with a code."""
    assert aiko.refused("POST", "/v1/inquiries", b"x" * (300 << 10))[0] == 422
    for body in (b"", b"{}", b"[]", b'{"a": 1}', b"\xff", b"null"):
        assert aiko.refused("POST", "/v1/inquiries", body)[0] == 422


# Copies -----------------------------------------------------------------------------------------------------


def test_copies_are_read_by_whose_mailbox_it_is(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """In pages, oldest first; another's mailbox is as unknown as one that nobody has."""
    scored(aiko)
    beni = students.registered("beni")
    [own] = aiko.get("/v1/mailboxes")["mailboxes"]
    copies = [bytes([number]) * 4096 for number in range(70)]
    for copy in copies:
        students.side.mailboxes.deposit(
            company=COMPANY, mailbox=bytes.fromhex(own["mailbox"]), sealed_copy=copy
        )
    first = aiko.get(f"/v1/copies?mailbox={own['mailbox']}")["copies"]
    rest = aiko.get(f"/v1/copies?mailbox={own['mailbox']}&after={first[-1]['seq']}")["copies"]
    assert [bytes.fromhex(item["copy"]) for item in first + rest] == copies
    refused = [beni.send("GET", f"/v1/copies?mailbox={mailbox}") for mailbox in (own["mailbox"], "00" * 16)]
    assert {answer.status_code for answer in refused} == {404}
    assert refused[0].content == refused[1].content


def test_what_another_company_puts_in_a_mailbox_is_not_read(
    students: StudentsPlatform, aiko: StudentHttp
) -> None:
    """A handle that leaked to it is no way to her."""
    scored(aiko)
    [own] = aiko.get("/v1/mailboxes")["mailboxes"]
    students.side.mailboxes.deposit(
        company="beni", mailbox=bytes.fromhex(own["mailbox"]), sealed_copy=bytes(4096)
    )
    assert aiko.get(f"/v1/copies?mailbox={own['mailbox']}")["copies"] == []


# Suspension -------------------------------------------------------------------------------------------------


def test_only_giving_stops_while_the_service_is_suspended(
    students: StudentsPlatform, aiko: StudentHttp, plan_body: dict[str, Any]
) -> None:
    """Withdrawal, disclosure, copies, report, erasure and inquiries go on."""
    from noren_core.ledger.entries import ServiceScope, ServiceStatus
    from noren_core.rights.service.service_state import sign_request
    from noren_server.rights.service_states import service_desk

    students.publish(plan_body)
    scored(aiko)
    _, pending = aiko.consent(TRAIN, "consent-train")
    desk = service_desk(students.platform, students.clock)
    desk.suspend(
        sign_request(
            scope=ServiceScope.GLOBAL,
            name="",
            state=ServiceStatus.SUSPENDED,
            reason="DRILL",
            at=students.clock(),
            key=students.platform.signing_key,
        )
    )
    assert aiko.refused("POST", "/v1/events", pending) == (423, "SERVICE_SUSPENDED")
    listed = aiko.get("/v1/consents")["records"]
    [own] = aiko.get("/v1/mailboxes")["mailboxes"]
    assert aiko.get(f"/v1/copies?mailbox={own['mailbox']}")["copies"] == []
    aiko.post("/v1/disclosures", {"scope": scope(company=COMPANY), "disclosure_key": ""})
    live = [item for item in listed if item["live"]]
    aiko.post("/v1/withdrawals", {"withdrawals": [aiko.withdrawal(item) for item in live]})
    aiko.post("/v1/erasures", {"company": COMPANY, "now": False})
    aiko.post("/v1/inquiries", {"topic": "question", "company": "", "text": "?", "evidence": ""})
    assert aiko.get("/v1/report?format=json")["behaviour_logged"] is True


# Report, erasure, inquiries ---------------------------------------------------------------------------------


def scope(**changes: object) -> dict[str, object]:
    made: dict[str, object] = {
        "platform_data": False,
        "consent_history": False,
        "provision_records": False,
        "company": "",
    }
    return {**made, **changes}


def test_the_report_is_told_in_her_language(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """What was provided, under which consent; JSON for her device, Markdown and HTML to read."""
    record = aiko.gives(SCORE, "consent-score")
    students.provisions.append(
        ProvisionLine(
            company=COMPANY,
            campaign="spring-2026",
            position=POSITION,
            kind=TableKind.SCORE,
            at=students.clock(),
            record=record.hex(),
        )
    )
    report = StudentReport.from_bytes(aiko.send("GET", "/v1/report").content)
    assert report.provisions == tuple(students.provisions)
    assert {line.purpose for line in report.consents} == {LINK, SCORE}
    assert report.budget.campaigns == ()
    page = aiko.send("GET", "/v1/report?lang=ja&format=html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert record.hex() in page.text
    assert "never" not in aiko.send("GET", "/v1/report?lang=ja&format=markdown").text
    assert aiko.refused("GET", "/v1/report?format=pdf")[0] == 422


def test_erasure_waits_for_disclosure_unless_she_says_otherwise(
    students: StudentsPlatform, aiko: StudentHttp, plan_body: dict[str, Any]
) -> None:
    """First withdrawn, then disclosed, then erased; or now."""
    students.publish(plan_body)
    scored(aiko)
    assert aiko.refused("POST", "/v1/erasures", {"company": COMPANY, "now": True}) == (
        409,
        "CONSENT_STILL_GIVEN",
    )
    assert students.erased == []
    live = [aiko.withdrawal(item) for item in aiko.get("/v1/consents")["records"]]
    aiko.post("/v1/withdrawals", {"withdrawals": live})
    aiko.post("/v1/erasures", {"company": COMPANY, "now": False})
    assert students.services.disclosure.is_held("aiko", COMPANY)
    aiko.post("/v1/erasures", {"company": "", "now": True})
    assert [(item.company, item.disclose_first) for item in students.erased] == [
        (COMPANY, True),
        ("", False),
    ]


def test_an_inquiry_is_answered_by_a_person_or_overdue(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """Opened, overdue, answered, closed; another's is unknown."""
    body = {"topic": "contest-score", "company": COMPANY, "text": "Why this band?", "evidence": ""}
    inquiry = aiko.post("/v1/inquiries", body)["inquiry"]
    desk = students.services.inquiries
    assert not desk.is_any_overdue()
    students.clock.now += 14 * 86_400 + 1
    assert desk.is_any_overdue()
    assert aiko.get("/v1/inquiries")["inquiries"][0]["overdue"] is True
    beni = students.registered("beni")
    for target in ("closed", "escalated"):
        assert beni.refused("POST", f"/v1/inquiries/{target}", {"inquiry": inquiry}) == (
            404,
            "NOT_AVAILABLE",
        )
    assert aiko.refused("POST", "/v1/inquiries/closed", {"inquiry": inquiry}) == (409, "INQUIRY_STATE")
    desk.answer(bytes.fromhex(inquiry), answer="Because …", reviewer="hanako")
    [found] = aiko.get("/v1/inquiries")["inquiries"]
    assert (found["state"], found["answer"], found["overdue"]) == ("answered", "Because …", True)
    aiko.post("/v1/inquiries/closed", {"inquiry": inquiry})
    assert desk.open_inquiries() == ()


# Link offers ------------------------------------------------------------------------------------------------


def test_a_link_offer_opens_the_notice_until_it_expires(
    students: StudentsPlatform, aiko: StudentHttp
) -> None:
    """It leads to what it is about and changes nothing; late, it is LINK_OFFER_EXPIRED."""
    offer = LinkOffer(
        company=COMPANY,
        position=POSITION,
        season=SEASON,
        nonce=bytes(16),
        expires_at=students.clock() + 60,
    )
    target = f"/v1/link-offers/{offer.to_token(students.company_signing)}"
    assert aiko.get(target) == {"company": COMPANY, "position": POSITION, "season": SEASON}
    assert aiko.get("/v1/consents")["records"] == []
    forged = f"/v1/link-offers/{offer.to_token(SigningKey.generate())}"
    assert aiko.refused("GET", forged) == (403, "NOT_VERIFIED")
    assert students.student("stranger").refused("GET", target)[0] == 401
    students.clock.now += 60
    assert aiko.refused("GET", target) == (410, "LINK_OFFER_EXPIRED")


def test_an_incident_is_told_to_whom_it_affects(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """R-INC-1: in her language, once it is notified; others hear nothing of it."""
    beni = students.registered("beni")
    row = {"company": COMPANY, "purpose": SCORE, "at": students.clock()}
    with incident_desk(students.platform, clock=students.clock) as desk:
        with closing(ProvisionRecords.open(students.platform.directory)) as provisions:
            provisions.write([provided("aiko", **row)])
        desk.detect("i-1", IncidentClass.LEAK, AffectedScope(company=COMPANY))
        desk.advance("i-1", IncidentState.CONTAINED)
        desk.advance("i-1", IncidentState.ASSESSED)
        assert aiko.get("/v1/incident-notices") == {"notices": []}
        desk.advance("i-1", IncidentState.NOTIFIED)
    told = [aiko.get(f"/v1/incident-notices?lang={lang}")["notices"] for lang in ("ja", "en")]
    assert [(notice["incident"], notice["at"]) for (notice,) in told] == [("i-1", students.clock())] * 2
    assert len({notice["text"] for (notice,) in told}) == 2
    assert all(COMPANY in notice["text"] for (notice,) in told)
    assert beni.get("/v1/incident-notices") == {"notices": []}
    assert aiko.refused("GET", "/v1/incident-notices?lang=fr")[0] == 422


def provided(student: str, *, company: str, purpose: Purpose, at: int) -> Provision:
    """One message about her that left."""
    permit = Permit(
        jti=secrets.token_bytes(16),
        audience=company,
        mailbox=bytes(16),
        purpose=purpose,
        position=POSITION,
        consent_seq=1,
        epoch=0,
        issued_at=at,
        expires_at=at + 60,
    )
    consented = ConsentedStudent(
        student, POSITION, IdentifierKind.CONSENT_CODE, "code", bytes(32), bytes(16), bytes(16), 1
    )
    return Provision(permit, consented, "spring", SEASON, at)


def test_of_two_keys_with_one_code_one_is_registered(students: StudentsPlatform) -> None:
    """Also if both were found to have a good code before either was registered."""
    code = students.services.codes.issue("aiko")
    students.services.codes.verify("aiko", code)
    students.student("aiko").registers(code)
    with pytest.raises(VerificationError):
        students.services.codes.use_up(code)


def test_requests_that_are_answered_at_once_are_bounded_too(
    students: StudentsPlatform, aiko: StudentHttp
) -> None:
    """Each is kept, so there are 32 a day."""
    scope = {"platform_data": True, "consent_history": False, "provision_records": False, "company": ""}
    body = {"scope": scope, "disclosure_key": ""}
    for _ in range(32):
        aiko.post("/v1/disclosures", body)
    assert aiko.refused("POST", "/v1/disclosures", body) == (429, "TOO_MANY_REQUESTS")
    students.clock.now += 86_401
    aiko.post("/v1/disclosures", body)


# The description --------------------------------------------------------------------------------------------


def test_routes_and_description_agree(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """Every operation is described, nothing else is, and the description is served."""
    described = {
        (method.upper(), path)
        for path, operations in json.loads(openapi())["paths"].items()
        for method in operations
    }
    assert described == {(method, path) for method, path, _ in StudentApi(students.services).routes()}
    assert aiko._client.request("GET", "/v1/openapi.json").content == openapi()
    for path, operations in json.loads(openapi())["paths"].items():
        for operation in operations.values():
            named = {item.get("name") for item in operation["parameters"] if item.get("in") == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def _arrays(schema: object, path: str) -> Iterator[str]:
    """Where a request's schema accepts a list."""
    if isinstance(schema, dict):
        if schema.get("type") == "array" or "items" in schema:
            yield path
        for name, inner in schema.items():
            yield from _arrays(inner, f"{path}.{name}")
    elif isinstance(schema, list):
        for inner in schema:
            yield from _arrays(inner, path)


def test_no_operation_takes_a_list_of_people() -> None:
    """The one list in any request holds the caller's own signed withdrawals."""
    document = json.loads(openapi())
    found = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for part in (operation.get("requestBody", {}), operation["parameters"])
        for _ in _arrays(part, path)
    }
    assert found == {"/v1/withdrawals"}
    assert not list(_arrays(document["components"]["schemas"], "schemas"))


def test_described_bodies_are_the_accepted_ones(students: StudentsPlatform, aiko: StudentHttp) -> None:
    """A body with one more field, or one less, than described is refused."""
    for path, operations in json.loads(openapi())["paths"].items():
        schema = (
            operations.get("post", {})
            .get("requestBody", {})
            .get("content", {})
            .get("application/json", {})
            .get("schema", {})
        )
        if "properties" in schema:
            names = dict.fromkeys(schema["properties"], "")
            assert aiko.refused("POST", path, {**names, "students": ["aiko"]})[0] == 422
            assert schema["additionalProperties"] is False


def test_logs_and_refusals_name_nobody(
    students: StudentsPlatform, aiko: StudentHttp, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither account, identifier, mailbox nor text of an inquiry."""
    with caplog.at_level(logging.DEBUG):
        scored(aiko)
        body = {"topic": "question", "company": "", "text": "canary-text", "evidence": "zz"}
        answer = aiko.send("POST", "/v1/inquiries", canonical_json.encode(body))
        aiko.refused("GET", "/v1/copies?mailbox=canary-box")
    logged = [record.getMessage() for record in caplog.records if record.name != "httpx"]  # the test's own
    assert any("refused" in message for message in logged)
    for text in (*logged, answer.text):
        for secret in ("aiko", "canary-text", "canary-box", "example.org"):
            assert secret not in text


def test_an_unexpected_failure_says_nothing(
    students: StudentsPlatform, aiko: StudentHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text stays inside, and out of the log."""
    from noren_server.rights.student_report import StudentReports

    def fail(*_: object) -> None:
        raise RuntimeError("aiko failed")

    monkeypatch.setattr(StudentReports, "report", fail)
    answer = aiko.send("GET", "/v1/report")
    assert (answer.status_code, answer.json()) == (500, {"code": "INTERNAL"})


def test_serving_leaves_the_log_of_the_process_alone(students: StudentsPlatform, tmp_path: Path) -> None:
    """uvicorn's own configuration of logging would close every handler there is, and what it writes to."""
    certificate, key = self_signed(tmp_path)
    with (tmp_path / "log").open("w") as stream:
        handler = ClosingHandler(stream)
        with run_student_api(
            students.services,
            host="127.0.0.1",
            port=0,
            private_key=key.read_bytes(),
            certificate=certificate,
        ):
            pass
        assert not stream.closed
        handler.close()


class ClosingHandler(logging.StreamHandler[TextIO]):
    """One that closes its stream with itself, as absl's does."""

    def close(self) -> None:
        self.stream.close()
        super().close()

"""The commands for people: codes, denials, inquiries, what is overdue, and the daily sweep."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from student_http import COMPANY, SCORE, StudentsPlatform

from noren_core.errors import DataError, LocalProtocolError
from noren_server.consents import opening
from noren_server.rights import commands


@pytest.fixture
def context(students: StudentsPlatform, monkeypatch: pytest.MonkeyPatch) -> typer.Context:
    monkeypatch.setattr(opening, "unix_now", students.clock)
    return cast("typer.Context", SimpleNamespace(obj=students.platform.directory))


def test_a_code_of_the_operator_registers_a_device(
    students: StudentsPlatform, context: typer.Context
) -> None:
    """The one that was made last, for this account."""
    code = commands.account_code(context, "aiko")["code"]
    aiko = students.student("aiko")
    aiko.registers(code)
    assert aiko.get("/v1/mailboxes") == {"mailboxes": []}
    with pytest.raises(DataError):
        commands.account_code(context, "")


def test_an_officer_denies_answers_and_sees_what_is_overdue(
    students: StudentsPlatform, context: typer.Context, plan_body: dict[str, Any], tmp_path: Path
) -> None:
    """With a reason, as a person, and without whose it is."""
    students.publish(plan_body)
    aiko = students.registered("aiko")
    aiko.gives(SCORE, "consent-score")
    scope = {"platform_data": True, "consent_history": False, "provision_records": False, "company": COMPANY}
    request = aiko.post("/v1/disclosures", {"scope": scope, "disclosure_key": ""})["request"]
    with pytest.raises(LocalProtocolError) as caught:
        commands.deny(context, request, ["trade-secret"])
    assert caught.value.code == "DENIAL_REASON_NOT_ALLOWED"
    with pytest.raises(DataError):
        commands.deny(context, request, ["inconvenient"])
    body = {"topic": "question", "company": "", "text": "When?", "evidence": ""}
    inquiry = aiko.post("/v1/inquiries", body)["inquiry"]
    assert commands.overdue(context) == {"companies": [], "inquiries": ""}
    students.clock.now += 31 * 86_400
    assert commands.overdue(context) == {"companies": [COMPANY], "inquiries": "INQUIRY_OVERDUE"}
    [waiting] = commands.open_inquiries(context)["inquiries"]
    assert (waiting["inquiry"], waiting["text"]) == (inquiry, "When?")
    answer = tmp_path / "answer.txt"
    answer.write_text("Today.", encoding="utf-8")
    commands.answer_inquiry(context, inquiry, answer, "hanako")
    assert aiko.get("/v1/inquiries")["inquiries"][0]["answer"] == "Today."
    assert commands.overdue(context)["inquiries"] == "INQUIRY_OVERDUE"  # it came too late
    fresh = aiko.post("/v1/disclosures", {"scope": scope, "disclosure_key": ""})["request"]
    commands.deny(context, fresh, ["other-law"])
    assert aiko.get("/v1/disclosures")["requests"][-1]["state"] == "DENIED"


def test_the_sweep_keeps_what_belongs_to_somebody(students: StudentsPlatform, context: typer.Context) -> None:
    """And removes the rest."""
    aiko = students.registered("aiko")
    aiko.gives(SCORE, "consent-score")
    own = bytes.fromhex(aiko.get("/v1/mailboxes")["mailboxes"][0]["mailbox"])
    boxes = students.side.mailboxes
    for handle in (own, bytes(16)):
        boxes.deposit(company=COMPANY, mailbox=handle, sealed_copy=bytes(4096))
    commands.sweep(context)
    assert [len(boxes.copies(company=COMPANY, mailbox=handle)) for handle in (own, bytes(16))] == [1, 0]

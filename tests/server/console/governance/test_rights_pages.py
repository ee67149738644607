"""The rights queue: what waits by deadline, answers, letters, orders, disputes and holds."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from governed_console import CAMPAIGN, COMPANY, Governed
from operators_console import NOW

from noren_server.console.governance import words
from noren_server.rights.opening import officer_desks, opened_erasure_desk

DAY = 86_400


def test_what_waits_is_sorted_by_its_deadline_in_words(governed: Governed) -> None:
    """An inquiry is due in 14 days, a disclosure in 30; each has its handle and no name."""
    request, question = governed.season.disclosure(), governed.season.inquiry()
    page = governed.console.signed_in("officer").get("/rights").text
    assert page.index(question[:12]) < page.index(request[:12])
    assert "14 days left" in page
    assert "30 days left" in page
    governed.console.clock.now += 15 * DAY
    late = governed.console.signed_in("officer").get("/rights").text
    assert 'class="badge bad">overdue by 1 day<' in late
    assert "An inquiry is overdue" in late


@pytest.mark.parametrize(
    ("seconds", "text", "tone"),
    [
        (14 * DAY, "14 days left", "plain"),
        (3 * DAY, "3 days left", "warn"),
        (DAY, "1 day left", "warn"),
        (DAY - 1, "due within a day", "warn"),
        (-1, "overdue since today", "bad"),
        (-DAY, "overdue by 1 day", "bad"),
        (-9 * DAY, "overdue by 9 days", "bad"),
    ],
)
def test_the_time_that_is_left_is_a_word_and_a_tone(seconds: int, text: str, tone: str) -> None:
    """Never a tone alone."""
    left = words.remaining(NOW + seconds, now=NOW)
    assert (str(left), left.tone) == (text, tone)


def test_an_inquiry_is_answered_by_who_is_signed_in_and_the_letter_says_it(governed: Governed) -> None:
    """In both languages; the auditor sees the queue and not the words."""
    handle = governed.season.inquiry("Why was my data used?")
    auditor, admin = governed.console.signed_in("auditor"), governed.console.signed_in("admin")
    assert handle[:12] in auditor.get("/rights").text
    assert auditor.get(f"/rights/inquiries/{handle}").status_code == 403
    assert "Why was my data used?" in admin.get(f"/rights/inquiries/{handle}").text
    assert admin.get(f"/rights/letters/inquiry/{handle}/ja").status_code == 409  # nobody answered yet
    assert auditor.post(f"/rights/inquiries/{handle}/answer", {"answer": "No."}).status_code == 403
    answer = admin.post(f"/rights/inquiries/{handle}/answer", {"answer": "You consented.\nYou can end it."})
    assert answer.status_code == 303, answer.text
    with officer_desks(governed.platform, clock=governed.console.clock) as (_disclosure, inquiries):
        stored = inquiries.inquiry(bytes.fromhex(handle))
    assert (stored.reviewer, stored.inquiry.state.value) == ("admin", "answered")
    english = admin.get(f"/rights/letters/inquiry/{handle}/en").text
    assert "Answer to your inquiry" in english
    assert "You consented." in english
    japanese = admin.get(f"/rights/letters/inquiry/{handle}/ja").text
    assert '<article class="card" lang="ja">' in japanese
    assert "お問い合わせへの回答" in japanese
    assert "You consented." in japanese


def test_a_disclosure_is_denied_for_a_reason_of_the_law_only(governed: Governed) -> None:
    """By the privacy officer; trade secrets alone are none; then there is a letter."""
    handle = governed.season.disclosure()
    admin, officer = governed.console.signed_in("admin"), governed.console.signed_in("officer")
    path = f"/rights/disclosures/{handle}"
    assert "companies are asked" in admin.get(path).text
    assert admin.post(f"{path}/deny", {"reason": "other-law"}).status_code == 403
    alone = officer.post(f"{path}/deny", {"reason": "trade-secret"})
    assert (alone.status_code, "DENIAL_REASON_NOT_ALLOWED" in alone.text) == (409, True)
    assert officer.get(f"/rights/letters/disclosure/{handle}/en").status_code == 409
    assert officer.post(f"{path}/deny", {"reason": "other-law"}).status_code == 303
    letter = officer.get(f"/rights/letters/disclosure/{handle}/en").text
    assert "it would violate another law (art. 33(2)(iii))" in letter
    assert "他の法令に違反する" in officer.get(f"/rights/letters/disclosure/{handle}/ja").text


def test_a_handle_that_is_none_is_not_found(governed: Governed) -> None:
    """And says nothing more."""
    officer = governed.console.signed_in("officer")
    assert officer.get(f"/rights/inquiries/{'00' * 16}").status_code == 404
    assert officer.get(f"/rights/disclosures/{'00' * 16}").status_code == 404
    assert officer.get("/rights/inquiries/nothing").status_code == 422


def test_orders_go_to_every_company_and_are_followed(governed: Governed) -> None:
    """Five companies accepted the plan; each has its order, and no student is named."""
    officer = governed.console.signed_in("officer")
    modeller = governed.console.signed_in("modeller")
    fields = {"campaign": CAMPAIGN, "ground": "rights", "due_days": "14", "confirmation": "erase"}
    assert officer.post("/rights/erasure/issue", {**fields, "confirmation": "yes"}).status_code == 422
    assert modeller.post("/rights/erasure/issue", fields).status_code == 403
    assert officer.post("/rights/erasure/issue", fields).status_code == 303
    page = officer.get("/rights/erasure").text
    for company in governed.plan.companies:
        assert company in page
    with opened_erasure_desk(governed.platform) as desk:
        assert len(desk.orders()) == len(governed.plan.companies)
    assert page.count("issued") >= len(governed.plan.companies)
    refused = officer.post("/rights/erasure/issue", {**fields, "ground": "abolition"})
    assert refused.status_code == 422
    assert officer.post("/rights/erasure/issue", {**fields, "due_days": "0"}).status_code == 422


def test_an_overdue_order_suspends_its_company_when_somebody_looks(governed: Governed) -> None:
    """The page does what `erasure sweep` does."""
    governed.season.orders()
    governed.console.clock.now += 15 * DAY
    admin = governed.console.signed_in("admin")
    assert governed.console.signed_in("auditor").post("/rights/erasure/sweep").status_code == 403
    assert admin.post("/rights/erasure/sweep").status_code == 303
    page = admin.get("/rights/erasure").text
    assert page.count("overdue, company suspended") == len(governed.plan.companies)
    assert "ORDER_OVERDUE" not in admin.get("/service").text
    assert "an erasure order is overdue" in admin.get("/service").text


def test_a_hold_moves_the_deadline_and_stands_in_the_queue(governed: Governed) -> None:
    """Recorded by the privacy officer, until the end of a day."""
    governed.season.orders()
    officer = governed.console.signed_in("officer")
    fields = {"company": COMPANY, "campaign": CAMPAIGN, "reason": "COURT_ORDER", "until": "2030-01-31"}
    assert governed.console.signed_in("admin").post("/rights/erasure/hold", fields).status_code == 403
    assert officer.post("/rights/erasure/hold", {**fields, "until": "soon"}).status_code == 422
    assert officer.post("/rights/erasure/hold", fields).status_code == 303
    page = officer.get("/rights/erasure").text
    assert "court order" in page
    assert len(re.findall("2030-02-01", page)) >= 2  # the hold's end, and the order's deadline
    assert "Legal hold" in officer.get("/rights").text


def test_a_certificate_that_is_none_is_not_disputed(governed: Governed) -> None:
    """The auditor's signed report is there for who may have it."""
    officer = governed.console.signed_in("officer")
    answer = officer.post("/rights/erasure/dispute", {"certificate": "00" * 16})
    assert answer.status_code == 409
    assert officer.post("/rights/erasure/settle", {"certificate": "00" * 16}).status_code == 403
    assert officer.get("/rights/erasure/report").content.startswith(b'{"body"')
    assert governed.console.signed_in("admin").get("/rights/erasure/report").status_code == 403


def test_a_disputed_certificate_is_settled_by_the_auditor_alone(governed: Governed) -> None:
    """Until then it counts no more; if it does not hold, its order is open again."""
    governed.season.orders()
    certificate = b"c" * 16
    with closing(sqlite3.connect(governed.platform.directory / "erasure.db")) as database:
        [[order]] = database.execute("SELECT order_id FROM orders WHERE company = ?", (COMPANY,)).fetchall()
        database.execute("UPDATE orders SET state = 'certified' WHERE order_id = ?", (order,))
        row = (certificate, order, 1 << 20, NOW, "issued", b"")
        database.execute("INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?)", row)
        database.commit()
    officer, auditor = governed.console.signed_in("officer"), governed.console.signed_in("auditor")
    assert (
        governed.console.signed_in("admin")
        .post("/rights/erasure/dispute", {"certificate": certificate.hex()})
        .status_code
        == 403
    )
    assert officer.post("/rights/erasure/dispute", {"certificate": certificate.hex()}).status_code == 303
    assert "Disputed certificate" in officer.get("/rights").text
    found = {"certificate": certificate.hex(), "found": "fails"}
    assert officer.post("/rights/erasure/settle", found).status_code == 403
    assert auditor.post("/rights/erasure/settle", {**found, "found": "maybe"}).status_code == 422
    assert auditor.post("/rights/erasure/settle", found).status_code == 303
    with opened_erasure_desk(governed.platform) as desk:
        [followed] = desk.orders(CAMPAIGN, COMPANY)
        [received] = desk.certificates()
    assert (followed.state.value, received.state.value) == ("executing", "rejected")

"""Consent quality, incidents and retention in the console."""

from __future__ import annotations

from governed_console import COMPANY, Governed
from operators_console import NOW, Console

from noren_server.rights.opening import retention_of

DAY = 86_400


def test_the_quality_of_consents_is_in_numbers_that_are_not_small(governed: Governed) -> None:
    """Twelve consents a purpose are shown; the refusal of one student is not."""
    page = governed.console.signed_in("officer").get("/consents").text
    assert "12 (100 %)" in page
    assert "train the model" in page
    assert COMPANY in page
    assert "Answers over time" in page
    assert "Consents by the time that the screen stood before the answer" in page


def test_an_incident_goes_its_way_with_two_clocks(governed: Governed) -> None:
    """Each step by the privacy officer, none left out; the draft of the report is a file."""
    officer, admin = governed.console.signed_in("officer"), governed.console.signed_in("admin")
    fields = {"incident": "leak-1", "kind": "LEAK", "purpose": "", "since": "2026-01-01T00:00"}
    assert admin.post("/incidents/detect", fields).status_code == 403
    assert officer.post("/incidents/detect", {**fields, "since": "yesterday"}).status_code == 422
    assert officer.post("/incidents/detect", fields).status_code == 303
    page = admin.get("/incidents/leak-1").text
    assert "5 days left" in page
    assert "30 days left" in page
    skipped = officer.post("/incidents/leak-1/advance", {"state": "notified"})
    assert skipped.status_code == 409
    for state in ("contained", "assessed", "notified", "closed"):
        assert officer.post("/incidents/leak-1/advance", {"state": state}).status_code == 303
    assert "closed" in officer.get("/incidents").text
    assert officer.get("/incidents/leak-1/report.json").json()["class"] == "LEAK"
    assert admin.get("/incidents/leak-1/report.json").status_code == 403
    governed.console.clock.now += 6 * DAY


def test_a_clock_that_ran_out_says_so(governed: Governed) -> None:
    """By a word, not by a colour alone."""
    officer = governed.console.signed_in("officer")
    officer.post("/incidents/detect", {"incident": "late", "kind": "LATE_DELETION"})
    governed.console.clock.now += 6 * DAY
    page = governed.console.signed_in("officer").get("/incidents/late").text
    assert "overdue by 1 day" in page
    assert "24 days left" in page


def test_retention_runs_as_a_job_and_the_page_says_when(empty: Console) -> None:
    """By who may; the others read the terms."""
    officer, auditor = empty.signed_in("officer"), empty.signed_in("auditor")
    assert "The job has not run yet." in auditor.get("/retention").text
    assert auditor.post("/retention/run").status_code == 403
    assert officer.post("/retention/run").status_code == 303
    empty.app.state.jobs.newest("retention").wait()
    with retention_of(empty.platform) as job:
        last = job.last_run()
    assert last is not None
    assert (last.at, last.deleted) == (NOW, ())
    assert "nothing had come to its end" in auditor.get("/retention").text

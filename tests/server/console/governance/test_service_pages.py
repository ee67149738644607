"""The service's state in the console: stopping at once, what resuming needs, ending it, drills."""

from __future__ import annotations

import pytest
from governed_console import CAMPAIGN, COMPANY, Governed
from operators_console import NOW, Console

from noren_core.ledger.entries import EntryKind, ErasureGround, ServiceScope, ServiceStatus
from noren_core.rights.service.service_state import sign_request
from noren_server.rights.opening import opened_erasure_desk
from noren_server.rights.service_changes import blast_radius, drills
from noren_server.rights.service_states import service_desk


def running(console: Console, **scope: str) -> bool:
    return service_desk(console.platform).is_running(**scope)


def test_the_page_before_says_whom_it_reaches(governed: Governed) -> None:
    """Companies and campaigns by name; consents exactly, since they are not few."""
    page = governed.console.signed_in("officer").get(f"/service/suspend?scope=company&name={COMPANY}").text
    assert f"Companies: 1 ({COMPANY})." in page
    assert f"Open campaigns: 1 ({CAMPAIGN})." in page
    assert "24 consents count as none" in page
    reach = blast_radius(governed.platform, ServiceScope.GLOBAL)
    assert reach.companies == governed.plan.companies
    assert reach.live_consents == 24


def test_few_consents_are_not_counted_out(governed: Governed) -> None:
    """A company without any has none; of one with fewer than ten nobody hears how many."""
    assert blast_radius(governed.platform, ServiceScope.COMPANY, "company-2").live_consents == 0


def test_suspending_works_at_once_for_who_may(governed: Governed) -> None:
    """With a reason of the list; the form needs no fresh sign-in, since stopping must not wait."""
    fields = {"scope": "company", "name": COMPANY, "reason": "COMPANY_REQUEST"}
    for name in ("admin", "modeller", "boss"):
        assert governed.console.signed_in(name).post("/service/suspend", fields).status_code == 403
    officer = governed.console.signed_in("officer")
    assert officer.post("/service/suspend", {**fields, "reason": "SOMEBODY"}).status_code == 503
    assert running(governed.console, company=COMPANY)
    governed.console.clock.now += 600  # her sign-in is not fresh any more
    assert officer.post("/service/suspend", fields).status_code == 303
    assert not running(governed.console, company=COMPANY)
    page = officer.get("/service").text
    assert "the company asked for it" in page
    assert "To run again it needs:" in page
    assert page.count('class="badge bad">missing<') >= 2


def test_an_auditors_signed_word_lets_it_run_again_under_the_same_conditions(governed: Governed) -> None:
    """Without coverage it is refused, by the code of the command."""
    officer = governed.console.signed_in("officer")
    officer.post("/service/suspend", {"scope": "campaign", "name": CAMPAIGN, "reason": "OPERATOR"})
    request = sign_request(
        scope=ServiceScope.CAMPAIGN,
        name=CAMPAIGN,
        state=ServiceStatus.RUNNING,
        reason="FIXED",
        at=NOW + 1,
        key=governed.auditor,
    )
    files = {"request": ("request.json", request)}
    answer = officer.post("/service/signed", {"wanted": "resume"}, files=files)
    assert (answer.status_code, "RESUME_CONDITIONS_UNMET" in answer.text) == (409, True)
    admin = governed.console.signed_in("admin")
    assert admin.post("/service/signed", {"wanted": "resume"}, files=files).status_code == 403


def test_a_request_of_a_stranger_stops_nothing(governed: Governed) -> None:
    """Whose signature it is, the desk checks."""
    officer = governed.console.signed_in("officer")
    request = sign_request(
        scope=ServiceScope.GLOBAL,
        name="",
        state=ServiceStatus.SUSPENDED,
        reason="X",
        at=NOW,
        key=type(governed.auditor).generate(),
    )
    answer = officer.post("/service/signed", {"wanted": "suspend"}, files={"request": ("r.json", request)})
    assert answer.status_code == 422
    assert running(governed.console)


def test_the_end_asks_for_a_word_and_a_fresh_sign_in(governed: Governed) -> None:
    """Then companies are ordered, and abolishing is refused while anything is owed."""
    auditor, officer = governed.console.signed_in("auditor"), governed.console.signed_in("officer")
    assert auditor.post("/service/wind-down", {"confirmation": "wind-down"}).status_code == 403
    assert officer.post("/service/wind-down", {"confirmation": "yes"}).status_code == 422
    governed.console.clock.now += 600
    assert officer.post("/service/wind-down", {"confirmation": "wind-down"}).status_code in (303, 401)
    assert running(governed.console)
    officer = governed.console.signed_in("officer")
    assert officer.post("/service/wind-down", {"confirmation": "wind-down"}).status_code == 303
    assert not running(governed.console)
    with opened_erasure_desk(governed.platform) as desk:
        assert {item.order.ground for item in desk.orders()} == {ErasureGround.ABOLITION}
    page = officer.get("/service/end").text
    assert "every erasure order is certified" in page
    assert COMPANY in page
    answer = officer.post("/service/abolish", {"confirmation": "abolish"})
    assert (answer.status_code, "WINDDOWN_INCOMPLETE" in answer.text) == (409, True)


def test_a_drill_is_a_real_suspension_and_its_time_is_kept(governed: Governed) -> None:
    """Another reader refuses within the minute; the record stays, newest first."""
    officer = governed.console.signed_in("officer")
    fields = {"what": f"campaign:{CAMPAIGN}", "confirmation": "drill"}
    assert governed.console.signed_in("auditor").post("/service/drill", fields).status_code == 403
    assert officer.post("/service/drill", {**fields, "confirmation": ""}).status_code == 422
    assert officer.post("/service/drill", fields).status_code == 303
    job = governed.console.app.state.jobs.newest("drill")
    job.wait()
    assert job.code == ""
    [done] = drills(governed.platform.directory)
    assert (done.name, done.is_in_time) == (CAMPAIGN, True)
    entry = governed.platform.ledger_store.entries(kind=EntryKind.SERVICE_STATE)[-1].entry
    assert entry.body["reason"] == "DRILL"
    assert "in time" in officer.get("/service/drills").text


@pytest.mark.parametrize("scope", ["everything", ""])
def test_a_scope_that_is_none_is_refused(empty: Console, scope: str) -> None:
    """On the page as in the command."""
    officer = empty.signed_in("officer")
    assert officer.get(f"/service/suspend?scope={scope}").status_code == 503

"""Home, season, rights and budget at the pages: from this machine's files, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from company_pages import AtDesk, words_of
from gated_company import CAMPAIGN, HEAD, NOW, GatedCompany
from sample_certificate import write_certificate

from noren_client import campaign_files, scoring, season_progress
from noren_client.calibration import integer_head
from noren_client.odometer import FILE_NAME, Odometer
from noren_client.rights import daily_work, orders, provision_records
from noren_client.web import rights, season
from noren_core.crypto.sealed_table import TableContext
from noren_core.errors import LocalProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import ErasureGround, ServiceStatus
from noren_core.rights.erasure.erasure_order import HoldReason, OrderState
from noren_core.rights.erasure.provision_record import comparison
from noren_core.season.plan import CampaignPlan


def test_what_to_do_next_is_for_whoever_asks(company: GatedCompany, desk: AtDesk) -> None:
    """The decider is sent to seal, then the operator to score, then follow-up to the students."""
    company.apply("hanako,offer", "b,no-offer")
    company.consent("hanako")
    desk.sign_in("dan")
    assert "are not sealed yet" in desk.text("/")
    desk.sign_in("fay")
    assert "Somebody else's turn" in desk.text("/")
    company.seal()
    desk.sign_in("olga")
    assert "is not sent yet" in desk.text("/")
    scoring.submit_head(company.directory, CAMPAIGN, [integer_head(HEAD, company.plan).weights])
    assert "bands can be computed" in desk.text("/")
    company.score()
    assert "Somebody else's turn" in desk.text("/")
    desk.sign_in("fay")
    assert "may need somebody to talk to" in desk.text("/")


def test_home_asks_nobody_and_says_no_number_of_applicants(scored: GatedCompany, desk: AtDesk) -> None:
    """The first page makes no call, and a card whose file is damaged says so while the others stay."""
    calls = len(scored.platform.calls)
    desk.sign_in("ada")
    said = desk.text("/")
    assert "A gate is open" in said
    assert len(scored.platform.calls) == calls
    (scored.directory / FILE_NAME).write_bytes(b"damaged\n")
    said = desk.text("/")
    assert "ACCOUNTANT_RESET" in said
    assert "Takes part" in said


def test_an_order_comes_first(scored: GatedCompany, desk: AtDesk) -> None:
    """The privacy contact is told of an order that was fetched and not carried out."""
    path = campaign_files.directory(scored.directory, CAMPAIGN) / orders.STATE_FILE
    path.write_text('{"7":"received"}')
    desk.sign_in("pia")
    assert "An erasure order waits" in desk.text("/")
    said = desk.text("/rights")
    assert "7 Received" in said
    assert "Carry out the orders" in said


def test_season_progress(company: GatedCompany, desk: AtDesk) -> None:
    """Stage, rounds and the chart follow the files; asking the platform adds what the ledger proves."""
    company.apply("hanako,offer")
    odometer = Odometer.open(company.directory)
    odometer.reserve(company.plan, 1)
    odometer.reserve(company.plan, 2)
    odometer.settle(company.plan, 1)
    desk.sign_in("olga")
    said = desk.text("/season")
    assert "Rounds taken part in 2 of 3" in said
    assert "Known to be in the head 1" in said
    answer = desk.post("/season", "/season/ask", campaign=CAMPAIGN)
    assert answer.headers["location"] == "/season"
    said = desk.text("/season")
    assert "Coverage reports 1" in said
    assert "Service running Accepted by 0 of 5 companies" in said
    assert "Coverage of the consent pages clear" in said
    assert desk.post("/season", "/season/ask", campaign="another").status_code == 404


def test_stages_follow_what_is_there(company: GatedCompany) -> None:
    """Trained with a head; prepared without one; accepted when nothing but the plan is left."""
    place = company.directory

    def stage() -> season_progress.Stage:
        return season_progress.progress(place, CAMPAIGN).stage

    assert stage() is season_progress.Stage.TRAINED
    (campaign_files.directory(place, CAMPAIGN) / "head.json").unlink()
    assert stage() is season_progress.Stage.PREPARED
    campaign_files.forget_training_set(place, CAMPAIGN)
    assert stage() is season_progress.Stage.ACCEPTED


def test_preparing_and_scoring_are_jobs(
    company: GatedCompany, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button starts the command's function; its error is on the job's page with its code."""
    desk.sign_in("olga")
    done: list[str] = []
    monkeypatch.setattr(season.follow_up, "score", lambda _dir, name, others: done.append(name))
    started = desk.post("/season", "/season/score", campaign=CAMPAIGN)
    job = desk.site.state.jobs.newest(f"season {CAMPAIGN}")
    job.wait()
    assert done == [CAMPAIGN]
    assert "Done" in desk.text(started.headers["location"])

    def fails(_dir: Path, _name: str) -> None:
        raise LocalProtocolError("expected orders to be carried out", code="PENDING_ERASURE_ORDERS")

    monkeypatch.setattr(season.alignment, "prepare", fails)
    started = desk.post("/season", "/season/prepare", campaign=CAMPAIGN)
    desk.site.state.jobs.find(started.headers["location"].removeprefix("/jobs/"), owner="olga").wait()
    assert "PENDING_ERASURE_ORDERS" in desk.text(started.headers["location"])


def test_campaigns_that_are_scored_together_stay_together(
    company: GatedCompany, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is scored with whom is chosen once; afterwards the same heads are sent, and the other waits."""
    body = company.plan.to_body()
    two = {**body, "scoring": {**body["scoring"], "heads": 2}}
    for name, head in ((CAMPAIGN, HEAD), ("autumn", (*reversed(HEAD[:4]), 0))):
        campaign_files.save_plan(company.directory, CampaignPlan.from_body({**two, "campaign": name}))
        campaign_files.save_head(company.directory, name, head)
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        season.follow_up, "score", lambda _dir, name, others: asked.append((name, list(others)))
    )
    desk.sign_in("olga")
    assert 'name="also" value="autumn"' in desk.get("/season").text
    desk.post("/season", "/season/score", campaign=CAMPAIGN, also="autumn")
    desk.site.state.jobs.newest(f"season {CAMPAIGN}").wait()
    assert asked == [(CAMPAIGN, ["autumn"])]
    plans = [campaign_files.load_plan(company.directory, name) for name in (CAMPAIGN, "autumn")]
    heads = [
        integer_head(campaign_files.load_head(company.directory, plan.campaign), plan).weights
        for plan in plans
    ]
    company.platform.plan = plans[0]
    scoring.submit_head(company.directory, CAMPAIGN, heads)
    known = {name: season_progress.progress(company.directory, name) for name in (CAMPAIGN, "autumn")}
    assert (known[CAMPAIGN].message, known[CAMPAIGN].partners) == (CAMPAIGN, ("autumn",))
    assert (known["autumn"].message, known["autumn"].partners) == (CAMPAIGN, ())
    page = desk.get("/season").text
    assert '<input type="hidden" name="also" value="autumn">' in page
    assert page.count('action="/season/score"') == 1


def test_a_plan_is_looked_at_before_it_is_signed(
    company: GatedCompany, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows what it costs; only the typed name signs."""
    from noren_client.alignment import AcceptedPlan
    from noren_client.budget import forecast_of

    accepted: list[str] = []
    found = AcceptedPlan(company.plan, 0.91, 7.5, forecast_of(company.directory, CAMPAIGN))

    def accept(_dir: Path, name: str) -> AcceptedPlan:
        accepted.append(name)
        return found

    monkeypatch.setattr(season.alignment, "proposed_plan", lambda _dir, _name: found)
    monkeypatch.setattr(season.alignment, "accept_plan", accept)
    desk.sign_in("olga")
    said = words_of(desk.post("/season", "/season/plan", campaign=CAMPAIGN))
    assert "0.91" in said
    assert not accepted
    no = desk.post("/season", "/season/accept", campaign=CAMPAIGN, confirmation="yes")
    assert (no.status_code, accepted) == (422, [])
    yes = desk.post("/season", "/season/accept", campaign=CAMPAIGN, confirmation=CAMPAIGN)
    assert (yes.status_code, accepted) == (303, [CAMPAIGN])


def test_budget_in_words(company: GatedCompany, desk: AtDesk) -> None:
    """Spent of the limit, how the plan ends, and how many more fit; the chart has its limit and its table."""
    desk.sign_in("ada")
    said = desk.text("/budget")
    assert "Nothing is spent yet." in said
    assert "With the planned 3 rounds it ends at ε" in said
    Odometer.open(company.directory).reserve(company.plan, 1)
    said = desk.text("/budget")
    assert "Records of season 2025" in said
    assert "The company's own limit" in said
    assert "ε is used up" in said or "number of campaigns is used up" in said


def test_a_damaged_odometer_gives_no_number(company: GatedCompany, desk: AtDesk) -> None:
    """The budget page is an error then, with its code."""
    (company.directory / FILE_NAME).write_bytes(b"damaged\n")
    desk.sign_in("ada")
    answer = desk.get("/budget")
    assert answer.status_code == 422
    assert "ACCOUNTANT_RESET" in answer.text


def test_questions_are_answered_by_the_program(
    company: GatedCompany, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button answers every campaign; the page says when, and never how many or who."""
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(
        daily_work, "answer_students", lambda _dir, campaign, now: asked.append((campaign, now))
    )
    desk.sign_in("pia")
    assert "Nobody here sees who asked" in desk.text("/rights")
    desk.post("/rights", "/rights/answer")
    desk.site.state.jobs.newest("rights answers").wait()
    assert asked == [(CAMPAIGN, NOW)]


def test_orders_are_carried_out_after_a_typed_word(
    company: GatedCompany, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another word does nothing; the right one starts the command's function for every campaign."""
    carried: list[Any] = []
    monkeypatch.setattr(daily_work, "carry_out_orders", lambda _dir, names: carried.append(names))
    desk.sign_in("pia")
    assert desk.post("/rights/erasure", "/rights/erasure", confirmation="yes").status_code == 422
    assert not carried
    desk.post("/rights/erasure", "/rights/erasure", confirmation=rights.ERASE_WORD)
    desk.site.state.jobs.newest("rights erasure").wait()
    assert carried == [[CAMPAIGN]]


def test_holds(company: GatedCompany, desk: AtDesk) -> None:
    """A day in the future and a reason from the list are recorded; a past day is refused at its field."""
    desk.sign_in("pia")
    fields = {"campaign": CAMPAIGN, "reason": "COURT_ORDER"}
    for until in ("2020-01-01", "soon", "2027-02-30"):
        assert desk.post("/rights/hold", "/rights/hold", **fields, until=until).status_code == 422, until
    assert orders.kept_hold(company.directory, CAMPAIGN) is None
    desk.post("/rights/hold", "/rights/hold", **fields, until="2027-03-31")
    hold = orders.kept_hold(company.directory, CAMPAIGN)
    assert hold is not None
    assert hold.until == 1_806_537_600  # the end of that day of UTC
    assert "Order of a court" in desk.text("/rights")


def test_comparison_of_provisions(company: GatedCompany, desk: AtDesk) -> None:
    """An auditor's comparison agrees, or says that it does not, on the page."""
    context = TableContext.fresh(company="company-1", campaign=CAMPAIGN, kind=TableKind.SCORE)
    tags = [bytes([number]) * 16 for number in range(3)]
    provision_records.write_twin(company.directory, context, tags, now=NOW)
    desk.sign_in("pia")
    assert "For scoring" in desk.text("/rights")
    page = "/rights/comparison"
    table = context.table_id.hex()
    for rows, words, status in ((tags, "Reconciled", 200), (tags[:1], "Mismatch", 422)):
        file = comparison(context.table_id, rows, salt=b"s" * 32)
        answer = desk.post(page, page, table=table, files={"file": ("comparison.json", file)})
        assert (answer.status_code, words in words_of(answer)) == (status, True)
    other = desk.post(page, page, table="../../etc", files={"file": ("comparison.json", b"{}")})
    assert other.status_code == 422


def test_certificates_are_listed_and_saved(company: GatedCompany, desk: AtDesk) -> None:
    """One that was delivered is offered as a file; another name, or a way out of the folder, is not found."""
    order, data = write_certificate(company.directory, CAMPAIGN, completed_at=NOW)
    desk.sign_in("pia")
    assert order[:8] in desk.text("/rights")
    answer = desk.get(f"/rights/certificates/{order}")
    assert answer.content == data
    assert json.loads(answer.content)["cosignatures"] == []
    assert "attachment" in answer.headers["content-disposition"]
    for other in ("00" * 16, "..%2f..%2fconfig.toml", "config"):
        assert desk.get(f"/rights/certificates/{other}").status_code == 404, other


def test_before_enrolment_every_page_is_there(tmp_path: Path) -> None:
    """An empty directory has empty pages, and no errors."""
    from noren_client.gate import staff
    from noren_core.crypto.secret import SecretBytes
    from noren_core.rights.gate.roles import Assignment, Role

    roles = (Role.COMPANY_ADMIN, Role.COMPANY_ML_OPERATOR, Role.DECIDER, Role.PRIVACY_CONTACT)
    code = SecretBytes(b"correct horse battery")
    staff.register(tmp_path).add("ada", [Assignment(role) for role in roles], code)
    staff.register(tmp_path).add("fay", [Assignment(Role.FOLLOW_UP)], code)
    desk = AtDesk(tmp_path, lambda: NOW)
    desk.sign_in("ada")
    for path in ("/", "/season", "/decisions", "/rights", "/rights/hold", "/budget", "/staff"):
        assert desk.get(path).status_code == 200, path
    desk.sign_in("fay")
    assert desk.get("/follow-up").status_code == 200


def test_every_word_is_there() -> None:
    """Each stage, status, ground, state and reason has words."""
    assert season.STAGE_WORDS.keys() == set(season_progress.Stage)
    assert season.STATUS_WORDS.keys() == set(ServiceStatus)
    assert rights.GROUND_WORDS.keys() == set(ErasureGround)
    assert rights.STATE_WORDS.keys() == set(OrderState)
    assert rights.HOLD_WORDS.keys() == set(HoldReason)

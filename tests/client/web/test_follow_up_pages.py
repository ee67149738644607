"""Follow-up at the pages: one person at a time, and one answer for whoever has nothing to be shown."""

from __future__ import annotations

import re

import pytest
from company_pages import AtDesk, words_of
from gated_company import CAMPAIGN, POSITION, SEASON, GatedCompany, key_of, set_views_per_hour
from httpx import Response

from noren_client.gate import access_log, viewing
from noren_client.web import follow_up
from noren_core.rights.gate.conditions import GateReason
from noren_core.rights.gate.followup import FollowUpKind, FollowUpState
from noren_core.rights.gate.roles import Assignment, Role

PLACE = f"/follow-up/{CAMPAIGN}/{POSITION}"
_PERSON = re.compile(r'name="person" value="(\w{32})" required><label for="[^"]*">([^<]*)<')


def handles(desk: AtDesk) -> dict[str, str]:
    """The handle of everybody on the list."""
    return {name: handle for handle, name in _PERSON.findall(desk.get(PLACE).text)}


def look(desk: AtDesk, name: str) -> Response:
    return desk.post(PLACE, PLACE, person=handles(desk)[name])


def without_tokens(answer: Response) -> str:
    return re.sub(r'value="[0-9a-f]{64}"', "", answer.text)


def test_the_list_is_the_file_and_nothing_else(scored: GatedCompany, desk: AtDesk) -> None:
    """Open offers in the file's order; no band, no word of who has one, nobody without an offer."""
    scored.apply("answered,offer,engineer,accepted")
    desk.sign_in("fay")
    assert POSITION in desk.text("/follow-up")
    page = desk.get(PLACE).text
    assert [name for _, name in _PERSON.findall(page)] == ["hanako", "beth", "jun"]
    entries = re.findall(r'<div class="tick">.*?</div>', page)
    shapes = {re.sub(r"\w{32}|person-\d|>(hanako|beth|jun)<", "", entry) for entry in entries}
    assert len(shapes) == 1
    assert not access_log.read(scored.directory)


def test_one_look_is_one_line_of_the_log(scored: GatedCompany, desk: AtDesk) -> None:
    """Band, reasons, uncertainty, end and what it is not for; recorded once, under her name."""
    desk.sign_in("fay")
    answer = look(desk, "hanako")
    said = words_of(answer)
    view = scored.show("hanako")
    assert f"Band {view.band} of {view.bands}" in said
    assert all(reason in said for reason in view.reasons)
    assert view.expires_at in said
    assert "comparing or ranking people" in said
    assert "jun" not in said
    first, _ = access_log.read(scored.directory)
    assert (first.access.staff, first.access.outcome, first.access.action) == ("fay", "SHOWN", "view-score")


def test_who_has_nothing_to_be_shown_looks_the_same(scored: GatedCompany, desk: AtDesk) -> None:
    """Never asked, withdrawn, or with a record that is over: the same bytes but for the name."""
    desk.sign_in("fay")
    scored.platform.withdraw(key_of("jun"))
    pages = {name: without_tokens(look(desk, name)).replace(name, "NAME") for name in ("beth", "jun")}
    assert pages["beth"] == pages["jun"]
    scored.clock.now += 40 * 86_400
    desk.sign_in("fay")
    over = without_tokens(look(desk, "hanako")).replace("hanako", "NAME")
    assert over == pages["beth"]
    assert "NOT_AVAILABLE" in over
    outcomes = {item.access.outcome for item in access_log.read(scored.directory)}
    assert outcomes == {"NOT_AVAILABLE"}


def test_the_companys_own_reasons_are_said(company: GatedCompany, desk: AtDesk) -> None:
    """Before sealing the page says so, and the refusal is in the log."""
    company.apply("hanako,offer", "b,no-offer")
    desk.sign_in("fay")
    assert "The decision about her is not sealed." in words_of(look(desk, "hanako"))
    assert [item.access.outcome for item in access_log.read(company.directory)] == ["DECISION_NOT_SEALED"]


def test_planning_and_ending_an_action(scored: GatedCompany, desk: AtDesk) -> None:
    """What is on the list of actions is planned and ends once; another word is refused."""
    desk.sign_in("fay")
    person = {"person": handles(desk)["hanako"]}
    act = f"{PLACE}/action"
    forbidden = desk.post(PLACE, act, **person, kind="withdraw_offer", state="planned")
    assert "FOLLOWUP_ACTION_FORBIDDEN" in forbidden.text
    planned = desk.post(PLACE, act, **person, kind="visit", state="planned")
    assert planned.headers["location"] == PLACE
    assert "Noted: Invite her to a visit (Planned)." in desk.text(PLACE)
    said = words_of(look(desk, "hanako"))
    assert "Invite her to a visit Planned" in said
    assert "It was done" in said
    desk.post(PLACE, act, **person, kind="visit", state="done")
    assert "Invite her to a visit Was done" in words_of(look(desk, "hanako"))
    assert desk.post(PLACE, act, **person, kind="visit", state="done").status_code == 409


def test_a_handle_is_of_this_process_and_this_list(scored: GatedCompany, desk: AtDesk) -> None:
    """An invented handle, one of another process, and several persons are refused, and nothing is logged."""
    desk.sign_in("fay")
    other = AtDesk(scored.directory, lambda: scored.clock.now)
    other.sign_in("fay")
    for handle in ("0" * 32, handles(other)["hanako"], "hanako"):
        answer = desk.post(PLACE, PLACE, person=handle)
        assert answer.status_code == 404, handle
    both = desk.post(PLACE, PLACE, person=list(handles(desk).values()))
    assert both.status_code == 422
    assert not access_log.read(scored.directory)


def test_looks_are_limited(scored: GatedCompany, desk: AtDesk) -> None:
    """More looks in an hour than the company allows itself are refused on the page too."""
    set_views_per_hour(scored.directory, 2)
    desk.sign_in("fay")
    assert [look(desk, "hanako").status_code for _ in range(3)] == [200, 200, 409]


def test_for_another_position_she_sees_nothing(scored: GatedCompany, desk: AtDesk) -> None:
    """Somebody who looks after one position finds no other, nor its address."""
    scored.hire("gil", Assignment(Role.FOLLOW_UP, "designer", SEASON))
    desk.sign_in("gil")
    assert "Nobody whom you look after" in desk.text("/follow-up")
    assert desk.get(PLACE).status_code == 403


def test_long_lists_are_read_in_pages(company: GatedCompany, desk: AtDesk) -> None:
    """Fifty at a time, every one once, in the file's order."""
    company.apply(*(f"s{number:03d},offer" for number in range(120)))
    desk.sign_in("fay")
    pages = [desk.get(f"{PLACE}?first={first}").text for first in (0, 50, 100)]
    names = [name for page in pages for _, name in _PERSON.findall(page)]
    assert names == [f"s{number:03d}" for number in range(120)]
    assert "Later in the file" not in pages[-1]
    assert desk.get(f"{PLACE}?first=-9999999999999999").status_code == 200


@pytest.mark.parametrize("method", ["get", "post"])
def test_there_is_no_address_for_a_file_of_bands(scored: GatedCompany, desk: AtDesk, method: str) -> None:
    """No route of follow-up gives anything but a page."""
    desk.sign_in("fay")
    for path in (f"{PLACE}/export", f"{PLACE}.csv", "/follow-up/export", f"{PLACE}/bands"):
        found = desk.get(path) if method == "get" else desk.post(PLACE, path)
        assert found.status_code in {404, 409, 422}, path


def test_no_person_in_an_address_or_a_log_line(
    scored: GatedCompany, desk: AtDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is done about hanako: no link, no place to go on to and no line of a log has her name."""
    caplog.set_level("DEBUG")
    desk.sign_in("fay")
    answers = [desk.get(PLACE), look(desk, "hanako"), look(desk, "beth")]
    act = f"{PLACE}/action"
    answers.append(desk.post(PLACE, act, person=handles(desk)["hanako"], kind="visit", state="planned"))
    for answer in answers:
        assert "hanako" not in answer.headers.get("location", "")
        assert not re.search(r'(href|action|src)="[^"]*(hanako|\w{32})', answer.text)
    assert "hanako" not in caplog.text


def test_every_word_of_the_gate_is_there() -> None:
    """Each reason, action and state has words; what a band is not for is what the gate says."""
    assert follow_up.REASON_WORDS.keys() == set(GateReason)
    assert follow_up.KIND_WORDS.keys() == set(FollowUpKind)
    assert follow_up.STATE_WORDS.keys() == set(FollowUpState)
    assert [str(words) for words in follow_up.NOT_FOR_WORDS] == list(viewing.NOT_FOR)

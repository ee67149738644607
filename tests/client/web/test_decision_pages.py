"""Decisions at the pages: who decides sees numbers, seals with a typed word, and takes an offer back."""

from __future__ import annotations

from company_pages import AtDesk, words_of
from gated_company import CAMPAIGN, POSITION, SEASON, GatedCompany

from noren_client.gate import decisions
from noren_core.rights.gate.roles import Assignment, Role

PLACE = f"/decisions/{CAMPAIGN}/{POSITION}"


def test_what_would_be_sealed_and_sealing_it(company: GatedCompany, desk: AtDesk) -> None:
    """Counts by state; the typed word is asked for; afterwards the batch stands there under its state."""
    company.apply("hanako,offer", "b,offer", "c,no-offer")
    desk.sign_in("dan")
    assert POSITION in desk.text("/decisions")
    said = desk.text(PLACE)
    assert "Offer 2 No offer 1 On hold 0 All 3 Already sealed 0 In the next batch 3" in said
    assert desk.post(PLACE, f"{PLACE}/seal", confirmation="yes").status_code == 422
    assert not decisions.kept_batches(company.directory, CAMPAIGN)
    sealed = desk.post(PLACE, f"{PLACE}/seal", confirmation=POSITION)
    assert sealed.headers["location"] == PLACE
    said = desk.text(PLACE)
    assert "Batch 1 is sealed" in said
    assert "Sealed, cooling is over" in said
    assert "NOTHING_TO_SEAL" in said
    kept = decisions.kept_batches(company.directory, CAMPAIGN)
    assert [batch.statement.deciders for batch in kept] == [("dan",)]
    assert "hanako" not in said


def test_obstacles_are_named_before(company: GatedCompany, desk: AtDesk) -> None:
    """A hold, and a file that contradicts what was sealed, are said on the page, which then has no button."""
    company.apply("hanako,offer", "b,hold")
    desk.sign_in("dan")
    assert "BATCH_HAS_UNRESOLVED" in desk.text(PLACE)
    assert 'name="confirmation"' not in desk.get(PLACE).text
    company.change("b", "hold", "no-offer")
    assert "BATCH_HAS_UNRESOLVED" not in desk.text(PLACE)
    desk.post(PLACE, f"{PLACE}/seal", confirmation=POSITION)
    company.change("hanako", "offer", "no-offer")
    assert "DECISION_IMMUTABLE" in desk.text(PLACE)


def test_a_decider_of_another_position_sees_nothing_of_it(company: GatedCompany, desk: AtDesk) -> None:
    """Neither in the list nor at its address, and her form is refused by the gate."""
    company.apply("hanako,offer", "b,no-offer,designer")
    company.hire("dora", Assignment(Role.DECIDER, "designer", SEASON))
    desk.sign_in("dora")
    said = desk.text("/decisions")
    assert "designer" in said
    assert POSITION not in said
    assert desk.get(PLACE).status_code == 403
    assert desk.post("/decisions", f"{PLACE}/seal", confirmation=POSITION).status_code == 403


def test_who_looked_at_a_band_does_not_seal(scored: GatedCompany, desk: AtDesk) -> None:
    """The gate refuses it on the page as in the command."""
    scored.show("hanako")
    scored.hire("fay", Assignment(Role.DECIDER))  # her duties changed
    scored.apply("late,offer")
    desk.sign_in("fay")
    answer = desk.post(PLACE, f"{PLACE}/seal", confirmation=POSITION)
    assert answer.status_code == 409
    assert "SEPARATION_OF_DUTIES" in answer.text


def test_taking_an_offer_back(scored: GatedCompany, desk: AtDesk) -> None:
    """With a reason from the list and a typed word; the identifier stands in no address and on no page."""
    desk.sign_in("dan")
    form = f"{PLACE}/reversal"
    fields = {"kind": "consent-code", "reason": "false-statement", "identifier": "hanako"}
    wrong = desk.post(form, form, **{**fields, "reason": "low-band"}, confirmation=POSITION)
    assert wrong.status_code == 422
    several = desk.post(form, form, **{**fields, "identifier": "hanako\nb"}, confirmation=POSITION)
    assert "BULK_SCORE_FORBIDDEN" in several.text
    done = desk.post(form, form, **fields, confirmation=POSITION)
    assert done.headers["location"] == PLACE
    said = desk.text(PLACE)
    assert "She stated something false dan" in said
    assert "hanako" not in said + words_of(desk.get(form))
    assert b"hanako" not in b"".join(scored.scored())

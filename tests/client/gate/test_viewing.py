"""Looking at a score: one person at a time, through the whole gate, in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gated_company import (
    CAMPAIGN,
    COMPANY,
    NOW,
    POSITION,
    GatedCompany,
    another_follow_up,
    key_of,
    make_company,
    set_views_per_hour,
    with_gate,
)

from noren_client.gate import access_log, decisions, score_records, viewing
from noren_client.gate.viewing import NOT_FOR, parse_subject
from noren_client.rights.custody import CustodyStore
from noren_core.errors import DataError, LocalProtocolError, NorenError
from noren_core.ids import IdentifierKind
from noren_core.ledger.entries import EntryKind
from noren_core.rights.gate.conditions import GateReason
from noren_core.rights.gate.roles import Action, Assignment, Role


def refused(code: str, call: Callable[[], object]) -> NorenError:
    """The call fails with this code."""
    with pytest.raises(NorenError) as caught:
        call()
    assert caught.value.code == code, caught.value.message
    return caught.value


def gate_reason(call: Callable[[], object]) -> tuple[GateReason, ...]:
    """Why the gate is shut."""
    with pytest.raises(viewing.GateNotOpenError) as caught:
        call()
    return caught.value.reasons


@pytest.fixture
def scored(company: GatedCompany) -> GatedCompany:
    """a and b have a band; c has an offer and did not consent, d was not offered a place and consented."""
    company.apply("a,offer", "b,offer", "c,offer", "d,no-offer")
    company.consent("a", "b", "d")
    company.seal()
    company.score()
    return company


def outcomes(company: GatedCompany) -> list[tuple[str, str]]:
    log = access_log.read(company.directory)
    return [(item.access.staff, item.access.outcome) for item in log]


def test_one_band_is_shown(scored: GatedCompany) -> None:
    """A band, how many there are, when it was computed, in whose words, and what it must not be used for."""
    view = scored.show("a")
    assert (view.band, view.bands) in {(1, 3), (2, 3), (3, 3)}
    assert view.computed_at == "2027-01-15 08:00 UTC"
    assert len(view.reasons) == 4
    assert "about 35 %" in view.reasons[0]  # 4 of 12 with pseudo-observations, in steps of five
    assert view.not_for == NOT_FOR
    assert "band=" not in repr(view)


def test_it_is_the_band_that_the_student_has(scored: GatedCompany) -> None:
    """What is shown is what her own sealed copy opens to."""
    [person] = [
        p for p in score_records.load(scored.directory, CAMPAIGN).people if p.identifier == key_of("a")
    ]
    with CustodyStore(scored.directory) as custody:
        deposited = score_records.read_record(custody, CAMPAIGN, person)
    assert deposited is not None
    assert (person.mailbox, deposited.sealed_copy) in scored.platform.copies
    assert scored.show("a").band == deposited.score.committed.record.band + 1


# Absences


def test_absences_are_one_answer(scored: GatedCompany) -> None:
    """Never asked, withdrawn, past its time, answered: the same code and the same words."""
    scored.platform.withdraw(key_of("b"))
    answers = {refused("NOT_AVAILABLE", lambda name=name: scored.show(name)).message for name in "bc"}
    scored.clock.now = NOW + scored.plan.gate.score_seconds
    answers.add(refused("NOT_AVAILABLE", lambda: scored.show("a")).message)
    assert len(answers) == 1


def test_a_withdrawal_counts_at_once(scored: GatedCompany) -> None:
    """As soon as the platform lists her row, her record is destroyed, whoever is looked at."""
    scored.show("b")
    scored.platform.withdraw(key_of("b"))
    scored.show("a")
    assert scored.scored() == [key_of("a")]
    refused("NOT_AVAILABLE", lambda: scored.show("b"))


def test_who_never_consented_looks_like_who_withdrew_to_the_log(scored: GatedCompany) -> None:
    """The log's lines of both are alike but for time and hashes."""
    scored.platform.withdraw(key_of("b"))
    for name in "bc":
        refused("NOT_AVAILABLE", lambda name=name: scored.show(name))
    first, second = (item.access for item in access_log.read(scored.directory))
    assert first == second


def test_a_destroyed_key_is_an_absence_too(scored: GatedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose key is gone is not told apart from one that never was."""

    def gone(*_: object) -> None:
        raise LocalProtocolError("custody: gone", code="KEY_DESTROYED")

    monkeypatch.setattr(score_records, "read_record", gone)
    assert gate_reason(lambda: scored.show("a")) == (GateReason.NOT_AVAILABLE,)


def test_a_lost_record_is_an_absence_too(scored: GatedCompany) -> None:
    """Without the record there is nothing to show, and nothing is said about why."""
    for path in (scored.directory / "campaigns" / CAMPAIGN / "custody" / "score").glob("*.share"):
        path.unlink()
    refused("NOT_AVAILABLE", lambda: scored.show("a"))


# The gate


def test_before_anything_is_sealed(company: GatedCompany) -> None:
    """A decision that is not sealed comes first, whoever consented."""
    company.apply("a,offer")
    company.consent("a")
    assert gate_reason(lambda: company.show("a"))[0] is GateReason.DECISION_NOT_SEALED
    assert gate_reason(lambda: company.show("nobody"))[0] is GateReason.DECISION_NOT_SEALED


def test_while_it_cools(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed and not evaluated: the cooling time is told, and then that there is nothing."""
    company = make_company(tmp_path / "company", with_gate(plan_body, cooling_seconds=100), monkeypatch)
    company.apply("a,offer")
    company.consent("a")
    company.seal()
    assert gate_reason(lambda: company.show("a")) == (GateReason.COOLING,)
    company.score()
    assert company.platform.evaluations == []
    company.clock.now += 100
    company.score()
    company.show("a")


def test_a_failed_applicant_has_nothing(scored: GatedCompany) -> None:
    """She consented and was not chosen: no evaluation, no record, and the gate says so first."""
    assert gate_reason(lambda: scored.show("d")) == (GateReason.APPLICANT_NOT_OFFERED,)
    assert key_of("d") not in scored.scored()


def test_an_offer_that_the_file_lacks_shows_nothing(scored: GatedCompany) -> None:
    """A decision that was changed in the file, and not taken back openly, shuts the gate for her."""
    scored.change("a", ",offer,", ",no-offer,")
    assert gate_reason(lambda: scored.show("a")) == (GateReason.APPLICANT_NOT_OFFERED,)
    scored.show("b")


def test_an_open_hold_shuts_the_gate(scored: GatedCompany) -> None:
    """Somebody on the waiting list of the position: bands of others must not decide who moves up."""
    scored.apply("e,hold")
    assert gate_reason(lambda: scored.show("a")) == (GateReason.BATCH_HAS_UNRESOLVED,)
    scored.change("e", ",hold,", ",no-offer,")
    scored.show("a")


def test_an_open_evaluation_elsewhere_shuts_the_gate(scored: GatedCompany) -> None:
    """She applied for another position that is not decided: her band could decide it."""
    scored.apply("a,offer,sales")
    assert gate_reason(lambda: scored.show("a")) == (GateReason.OPEN_EVALUATION_EXISTS,)
    scored.show("b")
    scored.seal(position="sales")
    scored.show("a")


def test_who_decided_does_not_look(scored: GatedCompany) -> None:
    """A decider who was given the other role since is known from the sealed batch."""
    scored.hire("dan", Assignment(Role.FOLLOW_UP))
    assert gate_reason(lambda: scored.show("a", name="dan")) == (GateReason.SEPARATION_OF_DUTIES,)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.FOLLOW_UP])
def test_no_other_role_looks(scored: GatedCompany, role: Role) -> None:
    """Every role but one is refused before anything is asked."""
    scored.hire("eve", Assignment(role))
    refused("ROLE_FORBIDDEN", lambda: scored.show("a", name="eve"))
    assert outcomes(scored) == []


def test_a_suspension_shuts_the_gate(scored: GatedCompany) -> None:
    """Of the service, the company or the campaign; from the ledger's next entry on."""
    for number, (scope, name) in enumerate(
        (("global", ""), ("company", COMPANY), ("campaign", CAMPAIGN)), start=1
    ):
        body = {"scope": scope, "name": name, "reason": "TEST", "evidence_sha256": "00" * 32}
        scored.platform.say(EntryKind.SERVICE_STATE, body | {"state": "suspended", "at": number})
        assert gate_reason(lambda: scored.show("a")) == (GateReason.SERVICE_SUSPENDED,)
        scored.platform.say(EntryKind.SERVICE_STATE, body | {"state": "running", "at": number})
        scored.show("a")


def test_a_blocked_coverage_shuts_the_gate(scored: GatedCompany) -> None:
    """The newest report counts."""
    scored.platform.report_coverage("blocked")
    assert gate_reason(lambda: scored.show("a")) == (GateReason.COVERAGE_NOT_CLEAR,)
    scored.platform.report_coverage("clear")
    scored.show("a")


def test_a_company_that_was_ended_sees_nothing(scored: GatedCompany) -> None:
    """Participation that was revoked in the ledger shuts the gate."""
    scored.platform.say(EntryKind.REVOCATION, {"company": COMPANY, "reason": "LEFT"})
    assert gate_reason(lambda: scored.show("a")) == (GateReason.AGREEMENT_NOT_ACTIVE,)


def test_a_newer_table_comes_first(scored: GatedCompany) -> None:
    """Scores of an older table are not shown, to nobody about anybody."""
    scored.platform.seal_scores()
    for name in "abc":
        refused("SCORES_OUTDATED", lambda name=name: scored.show(name))
    scored.score()
    scored.show("a")


def test_without_the_platform_nothing_is_shown(scored: GatedCompany) -> None:
    """Whether she still consents cannot be asked, so nothing is shown."""
    scored.platform.is_down = True
    refused("PLATFORM_UNAVAILABLE", lambda: scored.show("a"))
    assert outcomes(scored) == [("fay", "PLATFORM_UNAVAILABLE")]


# The log


def test_every_look_and_every_refusal_is_in_the_log(scored: GatedCompany) -> None:
    """Who, when, which record; never whom it is about, nor what was seen."""
    scored.show("a")
    refused("NOT_AVAILABLE", lambda: scored.show("c"))
    refused("APPLICANT_NOT_OFFERED", lambda: _raise_first(lambda: scored.show("d")))
    assert outcomes(scored) == [
        ("fay", "SHOWN"),
        ("fay", "NOT_AVAILABLE"),
        ("fay", "APPLICANT_NOT_OFFERED"),
    ]
    [shown, *_] = access_log.read(scored.directory)
    people = {p.identifier: p for p in score_records.load(scored.directory, CAMPAIGN).people}
    assert shown.access.handle == people[key_of("a")].handle
    assert (shown.campaign, shown.season, shown.access.action) == (CAMPAIGN, "2026", "view-score")
    assert [item.staff for item in access_log.of_record(scored.directory, shown.access.handle)] == ["fay"]
    for line in (scored.directory / access_log.FILE_NAME).read_bytes().splitlines():
        fields = json.loads(line)
        assert fields.keys() == {
            *("at", "staff", "action", "position", "handle", "outcome"),
            *("campaign", "season", "sequence", "previous"),
        }


def _raise_first(call: Callable[[], object]) -> None:
    """The gate's first reason as a code."""
    try:
        call()
    except viewing.GateNotOpenError as error:
        raise LocalProtocolError("first", code=error.reasons[0]) from error


def test_the_log_is_written_before_anything_is_shown(
    scored: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not take the line: nothing is shown."""

    def full(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(access_log.os, "write", full)
    refused("STORAGE_FAILED", lambda: scored.show("a"))


@pytest.mark.parametrize("place", [10, -10])
def test_a_changed_log_shows_nothing_more(scored: GatedCompany, place: int) -> None:
    """A line that was changed or taken out is noticed, and then nothing is shown."""
    for _ in range(3):
        scored.show("a")
    path = scored.directory / access_log.FILE_NAME
    data = path.read_bytes()
    changed = bytearray(data)
    changed[place] ^= 1
    without = b"".join(data.splitlines(keepends=True)[1:])
    for damaged in (bytes(changed), without):
        path.write_bytes(damaged)
        refused("ACCESS_LOG_DAMAGED", lambda: scored.show("a"))
    path.write_bytes(data + b'{"torn')
    scored.show("a")
    assert len(access_log.read(scored.directory)) == 4


# One at a time


def test_looks_are_bounded_by_the_hour(scored: GatedCompany) -> None:
    """A member of the staff cannot repeat looks into a list; refusals count, other members do not."""
    set_views_per_hour(scored.directory, 3)
    another_follow_up(scored, "flo")
    scored.show("a")
    refused("NOT_AVAILABLE", lambda: scored.show("c"))
    scored.show("b")
    refused("VIEW_LIMIT", lambda: scored.show("a"))
    scored.show("a", name="flo")
    scored.clock.now += 3599
    refused("VIEW_LIMIT", lambda: scored.show("a"))
    scored.clock.now += 1
    scored.show("a")


def test_who_asks_many_times_at_once_gets_no_more(
    scored: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is asked again in the step in which the look is written down."""
    set_views_per_hour(scored.directory, 1)
    gated, others = viewing._gated, ["b"]

    def meanwhile(*arguments: Any) -> Any:
        while others:
            scored.show(others.pop())
        return gated(*arguments)

    monkeypatch.setattr(viewing, "_gated", meanwhile)
    refused("VIEW_LIMIT", lambda: scored.show("a"))
    assert [outcome for _, outcome in outcomes(scored)] == ["SHOWN"]


@pytest.mark.parametrize("text", [b"a\nb\n", b"a\rb", b"a\n\n\nb", "a\u2028b".encode()])
def test_several_people_at_once_are_refused(text: bytes) -> None:
    """Whatever separates them."""
    refused("BULK_SCORE_FORBIDDEN", lambda: parse_subject(text, IdentifierKind.CONSENT_CODE, POSITION))


@pytest.mark.parametrize("text", [b"", b"\n \n", b"\xff", b"x" * 1025, "\u3000".encode()])
def test_no_person_is_refused(text: bytes) -> None:
    """Nothing, too much and other bytes are bad data, and are not quoted."""
    with pytest.raises(DataError) as caught:
        parse_subject(text, IdentifierKind.CONSENT_CODE, POSITION)
    assert caught.value.code == "BAD_DATA"


def test_a_line_end_is_no_second_person() -> None:
    """What a shell adds is ignored."""
    subject = parse_subject(b" a \r\n", IdentifierKind.CONSENT_CODE, POSITION)
    assert subject.applicant.key == key_of("a")
    assert "'a'" not in repr(subject)


def test_a_request_for_another_action_is_refused(scored: GatedCompany) -> None:
    """Being authorised to plan something does not authorise to look, nor at another position."""
    planning = scored.request("a", action=Action.PLAN_FOLLOW_UP)
    refused("ROLE_FORBIDDEN", lambda: viewing.show(scored.directory, planning, clock=scored.clock))
    elsewhere = viewing.Request(
        CAMPAIGN,
        CAMPAIGN,
        scored.request("a").subject,
        scored.authorised("fay", Action.VIEW_SCORE, "sales"),
    )
    refused("ROLE_FORBIDDEN", lambda: viewing.show(scored.directory, elsewhere, clock=scored.clock))


def test_an_offer_that_was_taken_back_shows_nothing(scored: GatedCompany) -> None:
    """After a reversal she has no offer, and no record."""
    [applicant] = [
        row for row in decisions.alignment.applicants(scored.directory, scored.plan) if row.identifier == "a"
    ]
    decisions.reverse(
        scored.directory,
        CAMPAIGN,
        applicant,
        decisions.ReversalReason.DECIDED_IN_ERROR,
        decider=scored.authorised("dan", Action.SEAL_DECISION),
        now=scored.clock.now,
    )
    assert gate_reason(lambda: scored.show("a")) == (GateReason.APPLICANT_NOT_OFFERED,)

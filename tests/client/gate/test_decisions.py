"""Sealing decisions: everybody in, nothing changed afterwards, and one entry whatever is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gated_company import (
    CAMPAIGN,
    NOW,
    POSITION,
    SEASON,
    GatedCompany,
    key_of,
    make_company,
    with_gate,
)

from noren_client.applicants import read_applicants
from noren_client.gate import decision_report, decisions
from noren_client.gate.staff import Authorised
from noren_core.crypto.oprf import Blinding
from noren_core.errors import NorenError
from noren_core.ids import is_dummy
from noren_core.ledger.entries import EntryKind
from noren_core.rights.gate.decision_batch import (
    Decision,
    evaluation_sha256,
    verify_complete,
    verify_evaluation,
)
from noren_core.rights.gate.gate_file import ReversalReason, parse_gate_file
from noren_core.rights.gate.roles import Action, Assignment, Role


def refused(code: str, call: Callable[[], object]) -> None:
    """The call fails with this code."""
    with pytest.raises(NorenError) as caught:
        call()
    assert caught.value.code == code


def entries(company: GatedCompany) -> list[dict[str, Any]]:
    return [body for _, body in company.platform.of_kind(EntryKind.DECISION_BATCH)]


def reverse(company: GatedCompany, identifier: str, *, name: str = "dan") -> None:
    [applicant] = [
        row for row in read_applicants(company.directory / "applicants.csv") if row.identifier == identifier
    ]
    decider = company.authorised(name, Action.SEAL_DECISION, applicant.position)
    reason = ReversalReason.POSITION_WITHDRAWN
    decisions.reverse(company.directory, CAMPAIGN, applicant, reason, decider=decider, now=company.clock.now)


def test_everybody_of_the_position_is_sealed(company: GatedCompany) -> None:
    """Offers and failures are leaves; other positions and seasons are not."""
    company.apply("a,offer", "b,no-offer", "c,offer", "d,offer,sales")
    company.rows.append("2025,engineer,consent-code,e,offer,accepted")
    company.write()
    sealed = company.seal()
    assert sealed.batch.identifiers == {key_of(name) for name in "abc"}
    assert sealed.batch.passed == {key_of("a"), key_of("c")}
    assert sealed.batch.decision(key_of("b")) is Decision.FAIL
    [body] = entries(company)
    assert body["root"] == sealed.batch.root.hex()
    assert (body["position"], body["sequence"], body["sealed_at"]) == (POSITION, 1, NOW)


def test_what_will_be_evaluated_is_committed_to(company: GatedCompany) -> None:
    """The entry has the hash of a padded batch of offers and dummies; answered offers are not in it."""
    company.apply("a,offer", "b,no-offer", f"c,offer,{POSITION},accepted")
    sealed = company.seal()
    blinding = Blinding.from_bytes(sealed.blinding)
    assert len(blinding.inputs) == company.plan.member("company-1").padded_batch
    assert [value for value in blinding.inputs if not is_dummy(value)] == [key_of("a")]
    evaluation = evaluation_sha256(blinding.blinded_elements)
    assert entries(company)[0]["evaluation_sha256"] == evaluation.hex()
    verify_evaluation(sealed.blinding, sealed.batch, evaluation=evaluation)


def test_who_decided_is_in_the_root(company: GatedCompany) -> None:
    """The statement of who sealed is one of the leaves."""
    company.apply("a,offer")
    sealed = company.seal()
    assert sealed.statement.deciders == ("dan",)
    sealed.statement.verify_sealed(sealed.batch)
    assert decisions.deciders_of(company.directory, position=POSITION, season=SEASON) == {"dan"}
    assert decisions.deciders_of(company.directory, position="sales", season=SEASON) == frozenset()


def test_a_full_batch_has_a_leaf_for_who_decided(company: GatedCompany) -> None:
    """As many applicants as padded leaves: the tree is doubled, and the statement is in it."""
    company.apply(*(f"a{number},no-offer" for number in range(64)))
    sealed = company.seal()
    assert len(sealed.batch.openings) + len(sealed.batch.padding) == 128
    sealed.statement.verify_sealed(sealed.batch)


def test_a_hold_is_refused(company: GatedCompany) -> None:
    """A decision that is not made keeps the whole position unsealed."""
    company.apply("a,offer", "b,hold")
    refused("BATCH_HAS_UNRESOLVED", company.seal)
    assert entries(company) == []
    assert decisions.kept_batches(company.directory, CAMPAIGN) == ()


def test_too_few_are_refused(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer applicants than the plan's minimum are not sealed, and become no batch of their own later."""
    company = make_company(tmp_path / "company", with_gate(plan_body, minimum_batch=3), monkeypatch)
    company.apply("a,offer", "b,offer")
    refused("BATCH_TOO_SMALL", company.seal)
    company.apply("c,no-offer")
    company.seal()
    company.apply("d,offer")
    refused("BATCH_TOO_SMALL", company.seal)


def test_later_applicants_are_a_batch_of_their_own(company: GatedCompany) -> None:
    """The second batch has those who came after the first, and together they are complete."""
    company.apply("a,offer")
    first = company.seal()
    refused("NOTHING_TO_SEAL", company.seal)
    company.apply("b,no-offer")
    second = company.seal()
    assert (first.sequence, second.sequence) == (1, 2)
    verify_complete([first.batch, second.batch], {key_of("a"), key_of("b")})


def test_the_plan_bounds_the_batches(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch beyond the plan's number is refused before anything is made."""
    company = make_company(tmp_path / "company", with_gate(plan_body, batches=1), monkeypatch)
    company.apply("a,offer")
    company.seal()
    company.apply("b,offer")
    refused("BATCH_LIMIT", company.seal)
    assert len(entries(company)) == 1


def test_more_offers_than_declared_are_refused(company: GatedCompany) -> None:
    """A batch that does not fit the padding is not begun."""
    company.apply(*(f"a{number},offer" for number in range(65)))
    refused("MORE_THAN_DECLARED", company.seal)
    assert decisions.kept_batches(company.directory, CAMPAIGN) == ()


@pytest.mark.parametrize(
    ("identifier", "old", "new"),
    [
        ("a", "offer", "no-offer"),
        ("b", "no-offer", "offer"),
        ("a", "offer", "hold"),
        ("b", "no-offer", "hold"),
    ],
)
def test_a_sealed_decision_is_not_changed(company: GatedCompany, identifier: str, old: str, new: str) -> None:
    """As long as the file says another thing than the first batch, the next one is refused."""
    company.apply("a,offer", "b,no-offer")
    company.seal()
    company.change(identifier, f",{old},", f",{new},")
    company.apply("c,offer")
    refused("DECISION_IMMUTABLE", company.seal)
    company.change(identifier, f",{new},", f",{old},")
    company.seal()


def test_an_applicant_does_not_vanish(company: GatedCompany) -> None:
    """A file that lacks somebody who was sealed is not all of the applicants."""
    company.apply("a,offer", "b,no-offer")
    company.seal()
    del company.rows[1]
    company.apply("c,offer")
    refused("BATCH_INCOMPLETE", company.seal)


def test_an_offer_is_taken_back_in_the_open(company: GatedCompany) -> None:
    """After the gate was open a change to no offer is recorded with its reason; before, it is refused."""
    company.apply("a,offer", "b,offer", "c,no-offer")
    company.consent("a", "b")
    refused("DECISION_NOT_SEALED", lambda: reverse(company, "a"))
    company.seal()
    refused("DECISION_IMMUTABLE", lambda: reverse(company, "a"))
    company.score()
    company.clock.now += 60
    company.show("a")
    company.clock.now += 60
    reverse(company, "a")
    refused("APPLICANT_NOT_OFFERED", lambda: reverse(company, "a"))
    refused("APPLICANT_NOT_OFFERED", lambda: reverse(company, "c"))
    [batch] = decisions.kept_batches(company.directory, CAMPAIGN)
    [reversal] = batch.reversals
    assert (reversal.by, reversal.at, reversal.viewed_at) == ("dan", NOW + 120, NOW + 60)
    assert batch.decision(key_of("a")) is Decision.FAIL
    assert company.scored() == [key_of("b")]
    company.change("a", ",offer,", ",no-offer,")
    company.apply("d,offer")
    company.seal()


def test_reversals_are_visible(company: GatedCompany) -> None:
    """The status names reasons and times and nobody; the auditor's file has the application."""
    company.apply("hanako,offer", "b,offer")
    company.consent("hanako")
    company.seal()
    company.score()
    company.show("hanako")
    company.clock.now += 60
    reverse(company, "hanako")
    said = decision_report.status(company.directory, CAMPAIGN, now=company.clock.now)
    assert said["batches"][0]["state"] == "open"
    assert said["batches"][0]["reversals"] == [{"reason": "position-withdrawn", "by": "dan", "at": NOW + 60}]
    assert said["alerts"] == {POSITION: ["REVERSED_SOON_AFTER_A_VIEW"]}
    assert "hanako" not in repr(said)
    shown = parse_gate_file(b"".join(decision_report.export(company.directory, CAMPAIGN)))
    assert shown.batches[0].reversals[0].identifier == key_of("hanako")
    assert shown.applicants == {POSITION: {key_of("hanako"), key_of("b")}}
    assert [access.outcome for access in shown.accesses] == ["SHOWN"]


def test_a_batch_moves_from_sealed_to_open(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status says where each batch stands."""
    company = make_company(tmp_path / "company", with_gate(plan_body, cooling_seconds=100), monkeypatch)
    company.apply("a,offer")
    company.seal()

    def state() -> str:
        said = decision_report.status(company.directory, CAMPAIGN, now=company.clock.now)
        return str(said["batches"][0]["state"])

    assert state() == "cooling"
    company.clock.now += 100
    assert state() == "sealed"
    company.score()
    assert state() == "open"


# Roles


def test_only_a_decider_of_the_position_seals(company: GatedCompany) -> None:
    """Another role, or the same role for another position, may not."""
    company.apply("a,offer", "b,offer,sales")
    refused("ROLE_FORBIDDEN", lambda: company.seal("fay"))
    company.hire("sam", Assignment(Role.DECIDER, "sales"))
    refused("ROLE_FORBIDDEN", lambda: company.seal("sam"))
    company.seal("sam", "sales")
    elsewhere = Authorised("sam", Action.SEAL_DECISION, "sales", SEASON)
    looking = Authorised("fay", Action.VIEW_SCORE, POSITION, SEASON)
    for wrong in (elsewhere, looking):
        refused(
            "ROLE_FORBIDDEN",
            lambda wrong=wrong: decisions.seal(company.directory, CAMPAIGN, POSITION, decider=wrong, now=NOW),
        )


def test_who_saw_a_band_does_not_decide_there(company: GatedCompany) -> None:
    """A member who looked, was given another role and now seals at the same position is refused."""
    company.apply("a,offer")
    company.consent("a")
    company.seal()
    company.score()
    company.show("a")
    company.hire("fay", Assignment(Role.DECIDER))
    company.apply("b,offer", "c,offer,sales")
    refused("SEPARATION_OF_DUTIES", lambda: company.seal("fay"))
    company.seal("fay", "sales")


# Interruptions


@pytest.mark.parametrize("arrived", [False, True])
def test_an_interrupted_seal_is_completed(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    """Killed before the answer: the same decisions and elements get one entry, whether or not it had arrived.

    One that never arrived is sealed now, since the cooling time cannot have begun.
    """
    company.apply("a,offer")
    original = company.platform.append

    def killed(entry: bytes, *, known_tree_size: int) -> object:
        if arrived:
            original(entry, known_tree_size=known_tree_size)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(company.platform, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            company.seal()
    [begun] = decisions.kept_batches(company.directory, CAMPAIGN)
    assert begun.index == decisions.NOT_YET
    company.clock.now += 5_000
    company.apply("b,offer")  # of no importance to the batch that was begun
    completed = company.seal()
    assert (completed.batch.root, completed.blinding) == (begun.batch.root, begun.blinding)
    assert completed.sealed_at == (NOW if arrived else NOW + 5_000)
    assert completed.sealed_at == entries(company)[0]["sealed_at"]
    assert len(entries(company)) == 1
    assert company.seal().batch.identifiers == {key_of("b")}


def test_the_file_of_a_batch_is_a_secret(company: GatedCompany) -> None:
    """Identifiers, salts and blinds are in a file for our account alone, and in no repr."""
    company.apply("hanako,offer")
    sealed = company.seal()
    path = company.directory / "campaigns" / CAMPAIGN / "decisions-001.json"
    assert path.stat().st_mode & 0o077 == 0
    assert "hanako" not in repr(sealed)
    path.write_bytes(path.read_bytes()[:-2])
    refused("ILLEGAL_STATE", lambda: decisions.kept_batches(company.directory, CAMPAIGN))

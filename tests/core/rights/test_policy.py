"""Policy versions: what a policy file must say, and which changes are material."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_validity import PolicyStatus
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy, packaged_policy_text
from noren_core.rights.notices.policy import (
    MaterialChange,
    PolicyVersion,
    material_change,
    material_changes,
    parse_policy,
    verify_transition,
)
from noren_core.rights.purposes import Purpose

POLICY = packaged_policy(policy="policy-2027", season="2027", dpia="DPIA-2027")
Change = Callable[[dict[str, Any]], None]


def changed(change: Change) -> dict[str, Any]:
    body = copy.deepcopy(POLICY.to_body())
    change(body)
    return body


def version(change: Change) -> PolicyVersion:
    return PolicyVersion.from_body(changed(change))


def terms(body: dict[str, Any], purpose: Purpose) -> dict[str, Any]:
    [found] = [item for item in body["terms"] if item["purpose"] == purpose]
    return found


def test_the_packaged_policy_reads_back_as_it_was() -> None:
    """File, body and canonical bytes are three spellings of one version."""
    assert PolicyVersion.from_body(POLICY.to_body()) == POLICY
    assert parse_policy(POLICY.to_bytes()) == POLICY
    file = packaged_policy_text().replace(b'policy = "packaged"', b'policy = "policy-2027"')
    file = file.replace(b'season = "season"', b'season = "2027"').replace(b"DPIA-MISSING", b"DPIA-2027")
    assert parse_policy(file) == POLICY


@pytest.mark.parametrize("locale", Locale)
@pytest.mark.parametrize("clause", Clause)
def test_a_policy_without_a_clause_in_a_language_is_refused(clause: Clause, locale: Locale) -> None:
    """Every clause is written in Japanese and in English."""
    with pytest.raises(DataError, match=f"policy.clauses.{locale}"):
        version(lambda body: body["clauses"][locale].pop(clause))


@pytest.mark.parametrize("locale", Locale)
@pytest.mark.parametrize("clause", Clause)
def test_one_character_makes_another_digest(clause: Clause, locale: Locale) -> None:
    """What is approved is every character of every clause."""

    def add_one(body: dict[str, Any]) -> None:
        body["clauses"][locale][clause] += "x"

    assert version(add_one).digest() != POLICY.digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\u200bb",
        "two  spaces",
        "a\nb",
        " x",
        "{company_nme}",
        "{",
        "{company_name",
        "half \ud800",
        "x" * 2001,
    ],
)
def test_text_that_does_not_show_or_cannot_be_filled_is_refused(text: str) -> None:
    """No invisible character, no other layout, no gap that nobody fills."""
    with pytest.raises(DataError):
        version(lambda body: body["clauses"]["en"].update(C05=text))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: body["terms"][0].update(purpose="selection.pass_fail"), "PURPOSE_FORBIDDEN"),
        (lambda body: body["terms"][0].update(purpose="anything"), "PURPOSE_UNKNOWN"),
        (lambda body: body["routes"][0].update(purposes=["resale"]), "PURPOSE_FORBIDDEN"),
        (lambda body: body.update(season="2027/28"), "BAD_DATA"),
        (lambda body: body.update(schema="noren/policy/2"), "BAD_DATA"),
        (lambda body: body.update(more=1), "BAD_DATA"),
        (lambda body: body.update(dpia=""), "BAD_DATA"),
        (lambda body: body.update(grace_days=91), "BAD_DATA"),
        (lambda body: body.update(grace_days=True), "BAD_DATA"),
        (lambda body: body["terms"].append(body["terms"][0]), "BAD_DATA"),
        (lambda body: body["terms"].pop(), "BAD_DATA"),
        (lambda body: body["terms"].clear(), "BAD_DATA"),
        (lambda body: body["routes"].pop(), "BAD_DATA"),
        (lambda body: body["terms"][0].update(retention_days=0), "BAD_DATA"),
        (lambda body: body["terms"][0].update(identifiable_provision="no"), "BAD_DATA"),
        (lambda body: body["terms"][0].update(recipients=["everybody"]), "BAD_DATA"),
        (lambda body: body["terms"][0].update(data=[]), "BAD_DATA"),
        (lambda body: body["terms"][0].update(withdrawal="none"), "BAD_DATA"),
        (lambda body: body["terms"][0]["text"].pop("ja"), "BAD_DATA"),
    ],
)
def test_a_policy_that_is_none_is_refused_whole(change: Change, code: str) -> None:
    """Every field is there, in its range, and every purpose can be consented to."""
    with pytest.raises(DataError) as refused:
        version(change)
    assert refused.value.code == code


def _provides(value: bool) -> Change:
    return lambda body: terms(body, Purpose.SCORE).update(identifiable_provision=value)


def test_march_2019_is_material() -> None:
    """A policy that said nothing identifying is provided, and one that provides: consents do not carry
    over."""
    before, after = version(_provides(value=False)), version(_provides(value=True))
    assert material_changes(before, after, Purpose.SCORE) == {MaterialChange.IDENTIFIABLE_PROVISION}
    assert material_change(before, after, Purpose.SCORE)
    assert not material_change(before, after, Purpose.TRAIN)
    assert not material_change(after, before, Purpose.SCORE)


def _level(value: str) -> Change:
    def change(body: dict[str, Any]) -> None:
        for item in terms(body, Purpose.SCORE)["data"]:
            item["level"] = value

    return change


def _without_score(body: dict[str, Any]) -> None:
    body["terms"] = [item for item in body["terms"] if item["purpose"] != Purpose.SCORE]
    for route in body["routes"]:
        route["purposes"] = [item for item in route["purposes"] if item != Purpose.SCORE]
    for clauses in body["clauses"].values():
        clauses["C10"] = clauses["C10"].replace("{score_retention_days}", "60")


def _drop_data(body: dict[str, Any]) -> None:
    terms(body, Purpose.SCORE)["data"].pop()


def _set(**fields: Any) -> Change:
    return lambda body: terms(body, Purpose.SCORE).update(fields)


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (_without_score, lambda body: None, MaterialChange.NEW_PURPOSE),
        (
            _set(recipients=["platform"]),
            _set(recipients=["named-company", "platform"]),
            MaterialChange.RECIPIENT,
        ),
        (_set(recipients=["platform"]), _set(recipients=["named-company"]), MaterialChange.RECIPIENT),
        (_drop_data, lambda body: None, MaterialChange.DATA_OR_SOURCE),
        (_level("aggregate"), _level("individual"), MaterialChange.INDIVIDUAL_LEVEL),
        (_provides(value=False), _provides(value=True), MaterialChange.IDENTIFIABLE_PROVISION),
        (_set(retention_days=60), _set(retention_days=61), MaterialChange.LONGER_RETENTION),
        (_set(withdrawal="stop-and-erase"), _set(withdrawal="stop"), MaterialChange.WEAKER_WITHDRAWAL),
    ],
)
def test_whatever_widens_a_purpose_is_material(
    narrow: Change, wide: Change, expected: MaterialChange
) -> None:
    """Each way of widening is named, for that purpose alone; narrowing again is not material."""
    old, new = version(narrow), version(wide)
    assert material_changes(old, new, Purpose.SCORE) == {expected}
    assert not material_changes(old, new, Purpose.LINK)
    back = material_changes(new, old, Purpose.SCORE)
    if expected is MaterialChange.NEW_PURPOSE:
        assert back == {MaterialChange.PURPOSE_ENDED}
    elif expected is not MaterialChange.RECIPIENT:
        assert not back


def test_a_source_that_is_new_for_the_same_data_is_material() -> None:
    """Behaviour from another source is other data."""

    def other_source(body: dict[str, Any]) -> None:
        terms(body, Purpose.SCORE)["data"][0]["source"] = "company-records"

    assert material_changes(POLICY, version(other_source), Purpose.SCORE) == {MaterialChange.DATA_OR_SOURCE}


def test_wording_alone_is_not_material() -> None:
    """The machine twin decides; a clearer sentence takes no consent away."""

    def reword(body: dict[str, Any]) -> None:
        body["clauses"]["en"]["C05"] = "The company sees a band about you."
        terms(body, Purpose.SCORE)["text"]["en"] += " That is all."

    assert not any(material_change(POLICY, version(reword), purpose) for purpose in POLICY.terms)


def test_only_the_listed_steps_lead_from_state_to_state() -> None:
    """No version skips review or approval, and none comes back."""
    allowed = {
        "DRAFT>REVIEWED",
        "REVIEWED>APPROVED",
        "APPROVED>ACTIVE",
        "ACTIVE>GRACE",
        *(f"{state}>RETIRED" for state in PolicyStatus if state is not PolicyStatus.RETIRED),
    }
    for old in PolicyStatus:
        for new in PolicyStatus:
            if f"{old}>{new}" in allowed:
                verify_transition(old, new)
                continue
            with pytest.raises(LocalProtocolError) as refused:
                verify_transition(old, new)
            assert refused.value.code == "POLICY_STATE"

"""Whatever a ledger says, the verifier answers: a hostile entry is a finding and never an exception."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noren_audit.verification.season import parse_plan
from noren_core.errors import DataError
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.season.plan import CampaignPlan

hostile = st.one_of(
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.text(max_size=30),
    st.sampled_from(
        ["0.²", "٣", "1e9", "-0", "NaN", "1/3", "1.", ".5", "0x1", "", " 1", "00", "1.50", "x" * 500]
    ),
    st.lists(st.integers(0, 3) | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=3),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON object."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_hostile_plan_is_refused_or_is_a_plan(data: st.DataObject, plan_body: dict[str, Any]) -> None:
    """A plan with any value exchanged for any other is bad data, or parses to exactly what it says."""
    body = copy.deepcopy(plan_body)
    *path, last = data.draw(st.sampled_from(places(body)))
    inner: Any = body
    for key in path:
        inner = inner[key]
    inner[last] = data.draw(hostile)
    try:
        plan = parse_plan(SignedEntry(EntryKind.PLAN, "platform", body, bytes(64)))
    except DataError:
        return
    assert plan.to_body() == body


def test_a_plan_has_one_spelling(plan_body: dict[str, Any]) -> None:
    """The well-formed plan passes; with 1 written as true it means the same to Python, and is refused."""
    entry = SignedEntry(EntryKind.PLAN, "platform", plan_body, bytes(64))
    assert parse_plan(entry) == CampaignPlan.from_body(plan_body)
    plan_body["training"]["sampling"]["num"] = True
    with pytest.raises(DataError):
        parse_plan(entry)

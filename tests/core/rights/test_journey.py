"""Journeys: the dominator algorithm against its definition, and the ways around a consent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.errors import DataError
from noren_core.rights.coverage.dominators import dominates, immediate_dominators
from noren_core.rights.coverage.journey import DominatorReport, Journey, UndominatedPath, check_journey

SEEN, UNSEEN = "ab" * 32, "cd" * 32


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    size = draw(st.integers(1, 9))
    node = st.integers(0, size - 1)
    return [sorted(draw(st.sets(node, max_size=4))) for _ in range(size)]


def reached(successors: list[list[int]], without: int | None = None) -> set[int]:
    """The nodes that 0 reaches when one node is taken away: the definition, slowly."""
    seen: set[int] = set()
    waiting = [] if without == 0 else [0]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(item for item in successors[node] if item != without)
    return seen


@given(graphs())
@settings(max_examples=400)
def test_a_node_dominates_what_is_not_reached_without_it(successors: list[list[int]]) -> None:
    """For every pair: on every way from the root, or the other is reached without it."""
    dominator = immediate_dominators(successors, 0)
    everything = reached(successors)
    for one in range(len(successors)):
        left = reached(successors, without=one)
        for other in everything:
            assert dominates(dominator, one, other) == (one == other or other not in left)
    assert {node for node, before in enumerate(dominator) if before != -1} == everything


def test_a_long_chain_needs_no_recursion() -> None:
    """A hundred thousand steps in a row."""
    size = 100_000
    dominator = immediate_dominators([[node + 1] for node in range(size - 1)] + [[]], 0)
    assert dominator == [0, *range(size - 1)]


def journey(edges: list[tuple[str, str, int]], **kinds: str) -> Journey:
    """A graph; places are screens unless `kinds` says otherwise; consents show the verified text."""
    names = dict.fromkeys(end for source, target, _ in edges for end in (source, target))
    nodes = []
    for name in names:
        kind = kinds.get(name.replace("-", "_"), "entry" if name.startswith("entry") else "screen")
        is_consent = kind in ("consent", "old", "changed")
        nodes.append(
            {
                "name": name,
                "kind": "consent" if is_consent else kind,
                "policy": ("before" if kind == "old" else "now") if is_consent else "",
                "sha256": (UNSEEN if kind == "changed" else SEEN) if is_consent else "",
            }
        )
    body = {
        "schema": "noren/journey/1",
        "nodes": nodes,
        "edges": [{"from": source, "to": target, "users": users} for source, target, users in edges],
    }
    return Journey.from_bytes(json.dumps(body).encode())


def check(graph: Journey, most_paths: int = 100) -> DominatorReport:
    return check_journey(
        graph, policy="now", is_verified=lambda sha256: sha256 == SEEN, most_paths=most_paths
    )


LAWFUL = [("entry", "register", 9), ("register", "consent", 9), ("consent", "score", 5)]


def test_a_consent_on_every_way_dominates() -> None:
    """One way, with the consent on it."""
    assert check(journey(LAWFUL, consent="consent", score="scoring")) == DominatorReport(
        is_dominated=True, is_dominated_in_use=True, paths=(), is_cut_short=False
    )


@pytest.mark.parametrize("kind", ["old", "changed", "screen"])
def test_a_consent_of_another_policy_or_text_does_not_count(kind: str) -> None:
    """An old version, a text that is not verified, and a screen that asks for nothing."""
    report = check(journey(LAWFUL, consent=kind, score="scoring"))
    assert not report.is_dominated
    assert report.paths == (UndominatedPath(("entry", "register", "consent", "score"), 5),)


def test_a_planted_way_around_is_listed_with_its_users() -> None:
    """The defect of 2019: some come another way; at most as many as its least used step."""
    planted = [*LAWFUL, ("entry-partner", "login", 40), ("login", "score", 7), ("register", "score", 3)]
    report = check(journey(planted, consent="consent", score="scoring", login="partner-login"))
    assert not report.is_dominated
    assert not report.is_dominated_in_use
    assert report.paths == (
        UndominatedPath(("entry", "register", "score"), 3),
        UndominatedPath(("entry-partner", "login", "score"), 7),
    )


def test_a_way_that_nobody_used_yet_is_found_too() -> None:
    """It is not listed, since nobody went it, but consent does not dominate."""
    report = check(journey([*LAWFUL, ("register", "score", 0)], consent="consent", score="scoring"))
    assert (report.is_dominated, report.is_dominated_in_use, report.paths) == (False, True, ())


def test_several_consent_screens_together_lie_on_every_way() -> None:
    """Site and app have one each; neither alone dominates, both do."""
    graph = [*LAWFUL, ("entry", "app", 4), ("app", "app-consent", 4), ("app-consent", "score", 2)]
    assert check(journey(graph, consent="consent", app_consent="consent", score="scoring")).is_dominated
    assert not check(journey(graph, consent="consent", app_consent="old", score="scoring")).is_dominated


def test_ways_in_circles_end_and_the_list_is_bounded() -> None:
    """Shortest first, none twice through one place, and it is said when there are more."""
    rungs = [(f"a{i}", f"{side}{i}", 1) for i in range(12) for side in "bc"]
    rungs += [(f"{side}{i}", f"a{i + 1}", 1) for i in range(12) for side in "bc"]
    rungs += [("a3", "a2", 1), ("entry", "a0", 1), ("a12", "score", 1), ("a5", "score", 1)]
    report = check(journey(rungs, score="scoring"), most_paths=10)
    lengths = [len(path.places) for path in report.paths]
    assert report.is_cut_short
    assert len(lengths) == 10
    assert lengths == sorted(lengths)
    assert all(len(set(path.places)) == len(path.places) for path in report.paths)


names = st.sampled_from(["entry", "a", "b", "c", "score"])
step_lists = st.lists(st.tuples(names, names, st.integers(0, 3)), min_size=1, unique_by=lambda s: s[:2])


@given(step_lists)
@settings(max_examples=300)
def test_the_listed_ways_agree_with_the_dominator(steps: list[tuple[str, str, int]]) -> None:
    """There is a used way around exactly if consent does not dominate in use."""
    steps = [*steps, ("entry", "entry2", 1), ("entry2", "score2", 0)]
    report = check(journey(steps, a="consent", score="scoring", score2="scoring"))
    assert report.is_dominated_in_use == (not report.paths)


def _body() -> dict[str, Any]:
    return {
        "schema": "noren/journey/1",
        "nodes": [
            {"name": "entry", "kind": "entry", "policy": "", "sha256": ""},
            {"name": "score", "kind": "scoring", "policy": "", "sha256": ""},
        ],
        "edges": [{"from": "entry", "to": "score", "users": 1}],
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["edges"].append(body["edges"][0]),
        lambda body: body["nodes"].append(body["nodes"][0]),
        lambda body: body["edges"][0].update(to="nowhere"),
        lambda body: body["edges"][0].update(users=-1),
        lambda body: body["edges"][0].update(users=True),
        lambda body: body["nodes"][0].update(kind="door"),
        lambda body: body["nodes"][0].update(sha256="ab"),
        lambda body: body["nodes"].pop(0),
        lambda body: body.update(more=1),
    ],
)
def test_what_is_no_journey_is_refused(change: Any) -> None:
    """Places and steps once each, steps between places, at least one entry."""
    body = _body()
    Journey.from_bytes(json.dumps(body).encode())
    change(body)
    with pytest.raises(DataError):
        Journey.from_bytes(json.dumps(body).encode())

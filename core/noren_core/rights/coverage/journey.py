"""The ways by which students come to be scored, and whether each of them passes a verified consent screen.

docs/rights/policies-and-screens.md §7. A journey graph has the places that people pass (entries, screens,
link offers, apps, partner logins, scoring) and how many used each step. Promises: if there is a way from an
entry to scoring that passes no consent screen of the right policy whose text is verified, it is found, also
if nobody used it yet; the ways that people did use are listed, shortest first, with how many can have gone
it.

One consent screen rarely lies on every way; all verified ones together must. They are merged into one node,
which then has to dominate scoring.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self

from noren_core.errors import DataError
from noren_core.rights.coverage.dominators import dominates, immediate_dominators
from noren_core.rights.fields import bytes_of, constant, integer_in, list_of, name, read_fields, word_of

SCHEMA = "noren/journey/1"
MAX_JOURNEY_BYTES = 4 << 20
MAX_NODES = 2000
MAX_EDGES = 20_000
MAX_USERS = 1 << 40
MAX_PATHS = 100
MAX_STEPS = 200_000
"""How many beginnings of ways are looked at before the list of ways is cut short."""

_ROOT = 0
_CONSENT = 1


class NodeKind(StrEnum):
    """What a place of the graph is."""

    ENTRY = "entry"
    SCREEN = "screen"
    CONSENT = "consent"
    LINK_OFFER = "link-offer"
    APP = "app"
    PARTNER_LOGIN = "partner-login"
    REGISTRATION = "registration"
    SCORING = "scoring"


@dataclass(frozen=True, slots=True)
class JourneyNode:
    """One place.

    Attributes:
        name: of the place.
        kind: what it is.
        policy: that a consent screen shows; otherwise empty.
        sha256: of the text that it shows, 64 hex digits; empty if it is no screen.
    """

    name: str
    kind: NodeKind
    policy: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Journey:
    """The graph: places by name, and for every step how many users went it."""

    nodes: Mapping[str, JourneyNode]
    steps: Mapping[tuple[str, str], int]

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The graph in `data`, JSON.

        Raises:
            DataError: for a malformed one, a step from or to a place that is not there, a place or step that
                comes twice, or a graph without an entry.
        """
        if len(data) > MAX_JOURNEY_BYTES:
            raise DataError(f"journey: expected at most {MAX_JOURNEY_BYTES} bytes, got more")
        try:
            body: Any = json.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise DataError("journey: expected JSON, got something else") from error
        fields = read_fields(
            body,
            {
                "schema": constant(SCHEMA),
                "nodes": list_of(_node, most=MAX_NODES),
                "edges": list_of(_edge, most=MAX_EDGES),
            },
            "journey",
        )
        nodes = {node.name: node for node in fields["nodes"]}
        steps = {(source, target): users for source, target, users in fields["edges"]}
        if len(nodes) != len(fields["nodes"]) or len(steps) != len(fields["edges"]):
            raise DataError("journey: expected every place and every step once, got one twice")
        if not {end for step in steps for end in step} <= nodes.keys():
            raise DataError("journey: expected steps between places of the graph, got another")
        if not any(node.kind is NodeKind.ENTRY for node in nodes.values()):
            raise DataError("journey: expected at least one entry, got none")
        return cls(nodes, steps)


@dataclass(frozen=True, slots=True)
class UndominatedPath:
    """One way to scoring without a consent; at most `users` people can have gone it."""

    places: tuple[str, ...]
    users: int


@dataclass(frozen=True, slots=True)
class DominatorReport:
    """Whether consent lies on every way to scoring.

    Attributes:
        is_dominated: it lies on every way that exists.
        is_dominated_in_use: it lies on every way of which every step was used.
        paths: the used ways on which it does not lie, shortest first.
        is_cut_short: there are more of them than are listed.
    """

    is_dominated: bool
    is_dominated_in_use: bool
    paths: tuple[UndominatedPath, ...]
    is_cut_short: bool


def check_journey(
    journey: Journey,
    *,
    policy: str,
    is_verified: Callable[[str], bool],
    most_paths: int = MAX_PATHS,
) -> DominatorReport:
    """Whether every way from an entry to scoring passes a verified consent screen of `policy`.

    Args:
        journey: the graph.
        policy: the version that must be shown.
        is_verified: whether the text with this hash, 64 hex digits, is verified for that policy.
        most_paths: how many ways are listed at most.
    """
    consent = {
        node.name
        for node in journey.nodes.values()
        if node.kind is NodeKind.CONSENT and node.policy == policy and is_verified(node.sha256)
    }
    used = {step for step, users in journey.steps.items() if users > 0}
    paths, is_cut_short = _undominated(journey, used, consent, most_paths)
    return DominatorReport(
        is_dominated=_is_dominated(journey, journey.steps.keys(), consent),
        is_dominated_in_use=_is_dominated(journey, used, consent),
        paths=tuple(paths),
        is_cut_short=is_cut_short,
    )


def _is_dominated(journey: Journey, steps: Collection[tuple[str, str]], consent: Collection[str]) -> bool:
    """Whether consent dominates scoring: one root for all entries, one node for all consent screens."""
    others = [place for place in journey.nodes if place not in consent]
    number = {place: _CONSENT + 1 + index for index, place in enumerate(others)}
    number |= dict.fromkeys(consent, _CONSENT)
    successors: list[list[int]] = [[] for _ in range(_CONSENT + 1 + len(others))]
    for source, target in steps:
        if number[source] != number[target]:
            successors[number[source]].append(number[target])
    successors[_ROOT] = sorted({number[place] for place in _of_kind(journey, NodeKind.ENTRY)})
    dominator = immediate_dominators(successors, _ROOT)
    return all(dominates(dominator, _CONSENT, number[place]) for place in _of_kind(journey, NodeKind.SCORING))


def _undominated(
    journey: Journey, steps: Collection[tuple[str, str]], consent: Collection[str], most: int
) -> tuple[list[UndominatedPath], bool]:
    """Ways without a repeated place, breadth first, among places that lead to scoring without a consent."""
    ways: dict[str, list[str]] = {}
    back: dict[str, list[str]] = {}
    for source, target in sorted(steps):
        if source not in consent and target not in consent:
            ways.setdefault(source, []).append(target)
            back.setdefault(target, []).append(source)
    scoring = [place for place in _of_kind(journey, NodeKind.SCORING) if place not in consent]
    leads = _reached(back, scoring)
    waiting: deque[tuple[str, ...]] = deque(
        (place,) for place in sorted(_of_kind(journey, NodeKind.ENTRY)) if place in leads - set(consent)
    )
    found: list[UndominatedPath] = []
    looked_at = 0
    while waiting:
        way = waiting.popleft()
        looked_at += 1
        if len(found) == most or looked_at > MAX_STEPS:
            return found, True
        if journey.nodes[way[-1]].kind is NodeKind.SCORING:
            found.append(UndominatedPath(way, _users(journey, way)))
            continue
        waiting.extend(
            (*way, place) for place in ways.get(way[-1], ()) if place in leads and place not in way
        )
    return found, False


def _users(journey: Journey, way: tuple[str, ...]) -> int:
    """Of its least used step: nobody knows how those who met at one place went on."""
    return min((journey.steps[step] for step in pairwise(way)), default=0)


def _reached(ways: Mapping[str, Collection[str]], begin: Collection[str]) -> set[str]:
    seen, waiting = set(begin), list(begin)
    while waiting:
        for place in ways.get(waiting.pop(), ()):
            if place not in seen:
                seen.add(place)
                waiting.append(place)
    return seen


def _of_kind(journey: Journey, kind: NodeKind) -> Iterator[str]:
    return (node.name for node in journey.nodes.values() if node.kind is kind)


def _node(value: object) -> JourneyNode:
    fields = read_fields(
        value, {"name": name, "kind": word_of(NodeKind), "policy": _name_or_nothing, "sha256": _hash}, "node"
    )
    return JourneyNode(**fields)


def _edge(value: object) -> tuple[str, str, int]:
    fields = read_fields(value, {"from": name, "to": name, "users": integer_in(0, MAX_USERS)}, "edge")
    return fields["from"], fields["to"], fields["users"]


def _name_or_nothing(value: object) -> str:
    return "" if value == "" else name(value)


def _hash(value: object) -> str:
    return bytes_of(32, or_none=True)(value).hex()

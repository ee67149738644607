"""Dominators of a graph: which node every way to another must pass.

The iterative algorithm of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm" (2001): immediate
dominators in reverse postorder, until nothing changes. Nodes are 0 … n-1; only those that the root reaches
have dominators.
"""

from __future__ import annotations

from collections.abc import Sequence

_NONE = -1


def immediate_dominators(successors: Sequence[Sequence[int]], root: int) -> list[int]:
    """By node, its immediate dominator; the root's is itself, and -1 stands for a node that is not reached.

    Args:
        successors: of every node.
        root: where every way begins.
    """
    order = _postorder(successors, root)
    number = {node: place for place, node in enumerate(order)}
    predecessors: list[list[int]] = [[] for _ in successors]
    for node in order:
        for successor in successors[node]:
            predecessors[successor].append(node)
    dominator = [_NONE] * len(successors)
    dominator[root] = root
    changed = True
    while changed:
        changed = False
        for node in reversed(order[:-1]):  # the root is last
            known = [before for before in predecessors[node] if dominator[before] != _NONE]
            new = known[0]
            for before in known[1:]:
                new = _intersection(new, before, dominator, number)
            if dominator[node] != new:
                dominator[node], changed = new, True
    return dominator


def dominates(dominator: Sequence[int], one: int, other: int) -> bool:
    """Whether every way from the root to `other` passes `one`; true if there is no way.

    Args:
        dominator: of `immediate_dominators`.
        one: a node.
        other: another.
    """
    node = other
    if dominator[node] == _NONE:
        return True
    while node != one and dominator[node] != node:
        node = dominator[node]
    return node == one


def _intersection(one: int, other: int, dominator: Sequence[int], number: dict[int, int]) -> int:
    """The nearest common ancestor in the tree of dominators so far."""
    while one != other:
        while number[one] < number[other]:
            one = dominator[one]
        while number[other] < number[one]:
            other = dominator[other]
    return one


def _postorder(successors: Sequence[Sequence[int]], root: int) -> list[int]:
    """The nodes that are reached, each after everything that is reached from it first; without recursion."""
    order: list[int] = []
    seen = {root}
    waiting = [(root, iter(successors[root]))]
    while waiting:
        node, rest = waiting[-1]
        following = next((item for item in rest if item not in seen), None)
        if following is None:
            waiting.pop()
            order.append(node)
        else:
            seen.add(following)
            waiting.append((following, iter(successors[following])))
    return order

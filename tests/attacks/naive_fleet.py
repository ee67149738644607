"""A fleet of nodes as an orchestrator of federated learning keeps it: replies belong to whom they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reply:
    """What a node sends back; the connection is authenticated, this header is what the node wrote."""

    source_node: int
    values: NDArray[np.int64]


class Fleet:
    """Takes the first reply of every node that it asked."""

    def __init__(self, nodes: Mapping[str, int]) -> None:
        self.nodes = dict(nodes)
        self._replies: dict[int, NDArray[np.int64]] = {}

    def receive(self, reply: Reply) -> None:
        """Keep a reply of a node that was asked; a second one is dropped."""
        if reply.source_node in self.nodes.values():
            self._replies.setdefault(reply.source_node, reply.values)

    def total(self) -> NDArray[np.int64]:
        """The sum of all replies."""
        return np.sum(list(self._replies.values()), axis=0)

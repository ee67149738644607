"""Machines that are already some steps into a run, for the tests of this directory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.secagg.client import SecAggClient
from noren_core.secagg.server import SecAggServer


class Cohort:
    """All clients and the server of one run, driven step by step."""

    def __init__(
        self, members: int, *, threshold: int, minimum_cohort: int = 2, rounds: int = 1, length: int = 3
    ) -> None:
        self.names = [f"company-{number:02}" for number in range(members)]
        self.keys = {name: SigningKey.generate() for name in self.names}
        self.parameters: dict[str, Any] = {
            "roster": {name: key.public_key for name, key in self.keys.items()},
            "threshold": threshold,
            "minimum_cohort": minimum_cohort,
            "session": secrets.token_bytes(32),
            "rounds": rounds,
            "vector_length": length,
        }
        self.server = SecAggServer(**self.parameters)
        self.clients = {name: self.client(name) for name in self.names}

    def client(self, name: str, **changes: Any) -> SecAggClient:
        return SecAggClient(our_id=name, signing_key=self.keys[name], **(self.parameters | changes))

    def advertise(self, names: Collection[str]) -> None:
        for name in names:
            self.server.add_advertisement(name, self.clients[name].advertise())

    def share(self, names: Collection[str]) -> None:
        advertisements = self.server.advertisements
        for name in names:
            self.server.add_sealed_shares(name, self.clients[name].share(advertisements))

    def accept(self) -> None:
        """Everybody takes the shares, confirms the cohort, and learns that the others did."""
        for name in self.server.cohort:
            signature = self.clients[name].accept_shares(self.server.inbox(name))
            self.server.add_cohort_signature(name, signature)
        for name in self.server.cohort:
            self.clients[name].confirm(self.server.cohort_signatures)

    def mask(self, round_number: int, vectors: dict[str, Any]) -> None:
        for name, vector in vectors.items():
            masked = self.clients[name].mask(round_number, np.array(vector, np.int64))
            self.server.add_masked(round_number, name, masked)

    def unmask(self, round_number: int, names: Collection[str], survivors: tuple[str, ...]) -> None:
        for name in names:
            answer = self.clients[name].unmask(round_number, survivors)
            self.server.add_unmasking(round_number, name, answer)

    def vectors(self, names: Collection[str]) -> dict[str, list[int]]:
        """Vectors of powers of three: counting one twice, or leaving one out, shows in the sum."""
        length = self.parameters["vector_length"]
        places = dict(zip(self.names, range(len(self.names)), strict=True))
        return {name: [3 ** places[name] * (1 + at) * (-1) ** at for at in range(length)] for name in names}

    def total(self, names: Collection[str]) -> list[int]:
        return [sum(column) for column in zip(*self.vectors(names).values(), strict=True)]


@pytest.fixture(scope="session")
def new_cohort() -> Callable[..., Cohort]:
    """Makes a run in which nothing has happened yet."""
    return Cohort


@pytest.fixture(scope="session")
def ready_cohort() -> Callable[..., Cohort]:
    """Makes a run whose set-up everyone has completed."""

    def make(members: int, **options: Any) -> Cohort:
        cohort = Cohort(members, **options)
        cohort.advertise(cohort.names)
        cohort.share(cohort.names)
        cohort.accept()
        return cohort

    return make

"""The machines of secure aggregation refuse hostile messages with our errors and are as before then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import hostile_input as shapes
import numpy as np
import pytest
from decoders import COMPANIES, SESSION, signing_key
from fuzzing import try_out

from noren_core.errors import NorenError
from noren_core.secagg.client import SecAggClient
from noren_core.secagg.messages import Advertisement, PeerShare, Unmasking
from noren_core.secagg.server import SecAggServer

FIRST = COMPANIES[0]
STRATEGIES = ("arbitrary", "mutated", "structured")
GROUP: dict[str, Any] = {
    "roster": {company: signing_key(company).public_key for company in COMPANIES},
    "threshold": 3,
    "minimum_cohort": 2,
    "session": SESSION,
    "rounds": 1,
    "vector_length": 4,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A machine that waits for one message: how it takes it, and the honest one, of plain values."""

    take: Callable[[Any], object]
    honest: Any


class Run:
    """A server and its companies, as far as they have come."""

    def __init__(self) -> None:
        self.server = SecAggServer(**GROUP)
        self.clients = {
            name: SecAggClient(our_id=name, signing_key=signing_key(name), **GROUP) for name in COMPANIES
        }
        self.first = self.clients[FIRST]
        self.others = {name: client for name, client in self.clients.items() if name != FIRST}

    def advertised(self) -> Run:
        for name, client in self.clients.items():
            self.server.add_advertisement(name, client.advertise())
        return self

    def shared(self) -> Run:
        self.advertised()
        for name, client in self.clients.items():
            self.server.add_sealed_shares(name, client.share(self.server.advertisements))
        return self

    def accepted(self) -> Run:
        self.shared()
        for name, client in self.clients.items():
            self.server.add_cohort_signature(name, client.accept_shares(self.server.inbox(name)))
        return self

    def masked(self) -> Run:
        self.accepted()
        for name, client in self.clients.items():
            self.server.add_masked(1, name, client.mask(1, np.arange(4, dtype=np.int64)))
        self.server.close_inputs(1)
        for client in self.clients.values():
            client.confirm(self.server.cohort_signatures)
        return self


def _advertisement(value: Any) -> Advertisement:
    share_key, round_keys, commitments, *rest = value
    return Advertisement(share_key, tuple(round_keys), tuple(commitments), *rest)


def _plain(value: Advertisement) -> tuple[Any, ...]:
    share_key, round_keys, commitments, *rest = astuple(value)
    return (share_key, [*round_keys], [*commitments], *rest)


def _add_advertisement() -> Step:
    run = Run()
    honest = (FIRST, _plain(run.first.advertise()))
    return Step(lambda value: run.server.add_advertisement(value[0], _advertisement(value[1])), honest)


def _share() -> Step:
    run = Run().advertised()
    honest = {name: _plain(each) for name, each in run.server.advertisements.items()}
    return Step(
        lambda value: run.first.share({name: _advertisement(each) for name, each in value.items()}), honest
    )


def _add_sealed_shares() -> Step:
    run = Run().advertised()
    honest = (FIRST, run.first.share(run.server.advertisements))
    return Step(lambda value: run.server.add_sealed_shares(*value), honest)


def _accept_shares() -> Step:
    run = Run().shared()
    return Step(run.first.accept_shares, run.server.inbox(FIRST))


def _add_cohort_signature() -> Step:
    run = Run().shared()
    signature = run.first.accept_shares(run.server.inbox(FIRST))
    return Step(lambda value: run.server.add_cohort_signature(*value), (FIRST, signature))


def _confirm() -> Step:
    run = Run().accepted()
    return Step(run.first.confirm, run.server.cohort_signatures)


def _add_masked() -> Step:
    run = Run().accepted()
    vector = run.first.mask(1, np.arange(4, dtype=np.int64)).tolist()

    def take(value: Any) -> None:
        number, name, values = value
        run.server.add_masked(number, name, np.array([each % 2**64 for each in values], dtype=np.uint64))

    return Step(take, (1, FIRST, vector))


def _unmask() -> Step:
    run = Run().masked()
    return Step(lambda value: run.first.unmask(*value), (1, [*COMPANIES]))


def _add_unmasking() -> Step:
    run = Run().masked()
    honest = run.first.unmask(1, COMPANIES)
    shares = [(each.company, each.is_self_mask, each.share) for each in honest.shares]

    def take(value: Any) -> None:
        number, name, shares, signature = value
        unmasking = Unmasking(tuple(PeerShare(*share) for share in shares), signature)
        run.server.add_unmasking(number, name, unmasking)

    return Step(take, (1, FIRST, shares, honest.signature))


STEPS = (
    _add_advertisement,
    _share,
    _add_sealed_shares,
    _accept_shares,
    _add_cohort_signature,
    _confirm,
    _add_masked,
    _unmask,
    _add_unmasking,
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("make", STEPS, ids=lambda make: make.__name__.strip("_"))
def test_a_refused_message_changes_nothing(make: Callable[[], Step], strategy: str) -> None:
    """A hostile message is taken or raises a NorenError; after a refusal the honest one is still taken."""
    step = make()

    def send(value: Any) -> None:
        nonlocal step
        try:
            step.take(value)
        except NorenError:
            return
        step = make()

    try_out(send, 60, value=getattr(shapes.Arguments(), strategy)([step.honest]))
    step.take(step.honest)

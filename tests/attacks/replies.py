"""A company that answers in another's name, so that the sum holds what it likes in the victim's place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from attack import Attack, Result, System
from naive_fleet import Fleet, Reply
from numpy.typing import NDArray
from system_cohort import Cohort, correlation, ready_cohort, update

from noren_core.errors import NorenError
from noren_core.ledger.proofs import LedgerProof
from noren_core.season import messages as m
from noren_core.season.round_consents import RoundConsents
from noren_core.wire.v1 import training_pb2 as wire

CAMPAIGN = "spring-2026"
FORGED = np.full(64, 10**12, np.int64) * np.arange(-32, 32)


def forge_naive() -> Result:
    """The attacker's reply carries the victim's node number, and comes first."""
    names = [f"company-{number:02}" for number in range(4)]
    updates = {name: update(number) for number, name in enumerate(names)}
    fleet = Fleet({name: 100 + number for number, name in enumerate(names)})
    victim = names[-1]
    fleet.receive(Reply(fleet.nodes[victim], FORGED))
    for name in names:
        fleet.receive(Reply(fleet.nodes[name], updates[name]))
    rest = sum((updates[name] for name in names if name != victim), np.zeros(64, np.int64))
    return result(fleet.total() - rest, updates[victim])


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to a company and its own signed answer to it."""

    request: bytes
    answer: bytes


def forge_ours() -> Result:
    """Every answer that the attacker can make or has seen, delivered as the victim's before its own."""
    cohort = ready_cohort(4, threshold=3, rounds=2)
    updates = {name: update(number) for number, name in enumerate(cohort.names)}
    attacker, victim = cohort.names[0], cohort.names[-1]
    exchanges = {
        name: exchange(cohort, name, cohort.clients[name].mask(1, updates[name])) for name in cohort.names
    }
    request = exchanges[victim].request
    accepted = 0
    forgeries = forged_answers(cohort, attacker, victim, exchanges)
    for forgery in forgeries:
        accepted += takes(cohort, victim, request, forgery)
    for name, each in exchanges.items():
        takes(cohort, name, each.request, each.answer)
    survivors = cohort.server.close_inputs(1)
    for name in survivors:
        cohort.server.add_unmasking(1, name, cohort.clients[name].unmask(1, survivors))
    rest = sum((updates[name] for name in cohort.names if name != victim), np.zeros(64, np.int64))
    outcome = result(cohort.server.aggregate(1) - rest, updates[victim])
    return Result(
        outcome.succeeded or accepted > 0,
        f"{outcome.measured}; {accepted} of {len(forgeries)} forged replies accepted",
    )


def exchange(cohort: Cohort, name: str, masked: NDArray[np.uint64], round_number: int = 1) -> Exchange:
    """The platform's request for a masked vector, and the company's answer as it signs it."""
    request = m.encode_request(
        m.MaskedInputRequest(
            campaign=CAMPAIGN,
            round_number=round_number,
            proof=LedgerProof(checkpoint=name.encode(), consistency=(), entries=()),
            sealed_shares={},
            finished=(),
            consents=RoundConsents.drawn(),
        )
    )
    return Exchange(request, signed(cohort, name, name, request, masked))


def signed(cohort: Cohort, signer: str, company: str, request: bytes, masked: NDArray[np.uint64]) -> bytes:
    """An answer in `company`'s name with the signature of `signer`."""
    answer = m.Answer(m.MaskedInputReply(masked, (), b""), known_tree_size=1)
    return m.sign_answer(answer, company=company, request=request, key=cohort.keys[signer])


def forged_answers(cohort: Cohort, attacker: str, victim: str, exchanges: dict[str, Exchange]) -> list[bytes]:
    """Answers that the victim did not give to this request."""
    request = exchanges[victim].request
    vector = FORGED.view(np.uint64)
    own_for_victim = signed(cohort, attacker, victim, request, vector)
    earlier = exchange(cohort, victim, vector, round_number=2).answer
    spliced = wire.SignedReply.FromString(own_for_victim)
    spliced.signature = wire.SignedReply.FromString(exchanges[victim].answer).signature
    unsigned = wire.SignedReply(reply=spliced.reply)
    return [
        own_for_victim,
        signed(cohort, attacker, attacker, request, vector),
        exchanges[attacker].answer,
        earlier,  # signed by the victim, for another request
        spliced.SerializeToString(),
        unsigned.SerializeToString(),
    ]


def takes(cohort: Cohort, company: str, request: bytes, data: bytes) -> bool:
    """What the platform does with a reply that Flower says is a company's."""
    try:
        answer = m.open_answer(
            data, company=company, request=request, public_key=cohort.keys[company].public_key
        )
        if isinstance(answer.reply, m.MaskedInputReply):
            cohort.server.add_masked(1, company, answer.reply.masked)
    except NorenError:
        return False
    return True


def result(in_victims_place: NDArray[np.int64], truth: NDArray[np.int64]) -> Result:
    """What the sum holds where the victim's vector should be."""
    forged, own = correlation(in_victims_place, FORGED), correlation(in_victims_place, truth)
    is_exact = bool((in_victims_place == truth).all())
    return Result(
        not is_exact,
        f"in the victim's place in the sum: {forged:.2f} with the forgery, {own:.2f} with its own vector",
    )


ATTACKS = (
    Attack(
        name="forged replies",
        attacker="company",
        aim="put its own vector into the sum in another's name",
        systems=(
            System("replies attributed by node number", False, forge_naive),
            System("Noren", True, forge_ours),
        ),
    ),
)

"""A platform that answers every applicant under a key of its own, to recognise her later.

Companies ask for evaluations under their names and in the order in which people apply; what they do with the
outputs afterwards is meant to be unlinkable to that. With one key for all it is; with a key for each element
of a batch, every output says whose it is. In the naive design later use is fetching rows from public storage;
in ours nothing is fetched by tag, but tags would be shown in revocations and deletions all the same.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from attack import Attack, Result, System
from naive_join import RowsByTag, tag

from noren_core.crypto import dleq, oprf
from noren_core.crypto.oprf import Blinding, Mode, OprfPrivateKey
from noren_core.errors import NorenError

MEMBERS = [f"member{number}@example.org".encode() for number in range(60)]
COMPANIES = 6
EACH = 6
APPLICATIONS = COMPANIES * EACH


class TracingPlatform:
    """Uses the n-th key for the n-th element that it is ever asked to evaluate."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._keys: list[OprfPrivateKey] = []

    def evaluate(self, blinded: Sequence[bytes]) -> list[bytes]:
        answers = []
        for element in blinded:
            self._keys.append(oprf.generate_key_pair())
            answers += oprf.blind_evaluate(self._keys[-1], [element])[0]
        return answers

    def rainbow(self) -> dict[bytes, tuple[int, bytes]]:
        """Tag → (which application, which member), for every key and every member."""
        return {
            tag(oprf.evaluate(key, member, mode=self._mode)): (application, member)
            for application, key in enumerate(self._keys)
            for member in MEMBERS
        }


def applications() -> list[bytes]:
    """Who applied, in the order of time; some people apply twice."""
    return random.SystemRandom().choices(MEMBERS, k=APPLICATIONS)


def trace_naive() -> Result:
    """Keys per element behind the interface that honest companies use."""
    truth, platform = applications(), TracingPlatform(Mode.OPRF)
    storage = RowsByTag(oprf.generate_key_pair())
    storage.evaluate = platform.evaluate  # type: ignore[method-assign]
    later: list[bytes] = []
    for start in range(0, APPLICATIONS, EACH):
        blinding = oprf.blind(truth[start : start + EACH], mode=Mode.OPRF)
        answers = storage.evaluate(list(blinding.blinded_elements))
        later += [tag(output) for output in oprf.finalize(blinding, answers, None, None, mode=Mode.OPRF)]
    random.SystemRandom().shuffle(later)  # the anonymous channel
    for each in later:
        storage.fetch(each)
    return result(storage.fetched, platform.rainbow(), truth)


def trace_ours() -> Result:
    """Keys per element, under every proof that the platform could attach."""
    truth, platform = applications(), TracingPlatform(Mode.VOPRF)
    key = oprf.generate_key_pair()
    later, answered, accepted = [], 0, 0
    for start in range(0, APPLICATIONS, EACH):
        blinding = oprf.blind(truth[start : start + EACH])
        for answers, proof in dishonest_answers(key, platform, blinding):
            answered += 1
            try:
                outputs = oprf.finalize(blinding, answers, proof, key.public_key)
            except NorenError:
                continue
            accepted += 1
            later += [tag(output) for output in outputs]
    traced = result(later, platform.rainbow(), truth)
    return Result(
        traced.succeeded or accepted > 0,
        f"{traced.measured}; {accepted} of {answered} dishonest answers accepted",
    )


def dishonest_answers(
    key: OprfPrivateKey, platform: TracingPlatform, blinding: Blinding
) -> list[tuple[list[bytes], bytes]]:
    """Answers to one batch in which not every element is evaluated under the ledger's key."""
    sent = list(blinding.blinded_elements)
    honest, honest_proof = oprf.blind_evaluate(key, sent)
    traced, other = platform.evaluate(sent), oprf.generate_key_pair()
    return [
        (traced, honest_proof),
        (traced, dleq.generate_proof(key.scalar, key.public_key, sent, traced)),
        ([*honest[:-1], traced[-1]], honest_proof),
        ([*honest[:-1], traced[-1]], dleq.generate_proof(key.scalar, key.public_key, sent, traced)),
        ([honest[1], honest[0], *honest[2:]], honest_proof),
        oprf.blind_evaluate(other, sent),
        (honest, oprf.blind_evaluate(other, sent)[1]),
        (traced, bytes(len(honest_proof))),
    ]


def result(
    seen: Sequence[bytes], rainbow: Mapping[bytes, tuple[int, bytes]], truth: Sequence[bytes]
) -> Result:
    """How many later uses the platform connects with the right application and the right member."""
    pairs = {rainbow[each] for each in seen if each in rainbow}
    right = sum(truth[application] == member for application, member in pairs)
    return Result(right > 0, f"{right} of {len(truth)} applications traced to company, time and member")


ATTACKS = (
    Attack(
        name="a key for each applicant",
        attacker="platform",
        aim="recognise applicants by the key that they were answered under",
        systems=(
            System("RFC 9497 base mode, without proof", False, trace_naive),
            System("Noren", True, trace_ours),
        ),
    ),
)

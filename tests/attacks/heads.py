"""A company that crafts its head to read a student's features instead of a score.

A head is one linear function of the features, so d heads read all of them; and weights that are powers of
256 put several features side by side into one score. Against ours one head remains, with small weights:
one of d features, or whichever other single direction, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from attack import Attack, Result, System
from naive_scoring import BINDING, ScoringWithoutLimit, ScoringWithoutProof
from system_platform import CONSENTING, DIMENSIONS, RunningPlatform, features, plan, running_platform

from noren_core.crypto import bit_proof, head_encryption, secp256k1
from noren_core.crypto.bit_proof import Ciphertext, EncryptedBit, encrypt_bits, prove_bits
from noren_core.crypto.head_encryption import HeadLayout, HeadSecret, encrypt_head
from noren_core.crypto.secp256k1 import POINT_BYTES, Point
from noren_core.errors import NorenError
from noren_core.season.head_message import head_binding
from noren_core.season.plan import CampaignPlan

WEIGHT_BITS = 8
LAYOUT = HeadLayout(dimensions=DIMENSIONS, weight_bits=WEIGHT_BITS, heads=1)
FORGET_HEADS = ("DELETE FROM heads", "DELETE FROM tables WHERE kind = 'score'")
OPENED = list(CONSENTING["alpha"])
PACKED = 4
"""Features side by side in one score: 2^32 values, found with some 10^5 steps."""
PACKED_STUDENTS = 8

# Heads that are basis vectors


@dataclass(slots=True)
class Reading:
    """The linear functions that an attacker has of every student, and what they say of the features."""

    truth: npt.NDArray[np.int8]
    weights: list[npt.NDArray[np.int64]]
    scores: list[list[int]]

    def add(self, weights: npt.NDArray[np.int64], scores: list[int]) -> None:
        self.weights.append(weights)
        self.scores.append(scores)

    def result(self, note: str = "") -> Result:
        """Succeeded if more than one linear function of the features is known."""
        width = self.truth.shape[1]
        matrix = np.array(self.weights, float).reshape(-1, width)
        guess = np.array(self.scores, float).T @ np.linalg.pinv(matrix).T
        exact = int((np.rint(guess) == self.truth).all(axis=0).sum())
        share = 1 - ((self.truth - guess) ** 2).sum() / (self.truth.astype(float) ** 2).sum()
        return Result(
            succeeded=bool(np.linalg.matrix_rank(matrix) > 1),
            measured=f"{exact} of {width} features of {len(self.truth)} students exact, "
            f"{share:.2f} of the variance{note}",
        )


def basis(index: int) -> npt.NDArray[np.int64]:
    """The head whose score is one feature."""
    weights = np.zeros(DIMENSIONS, np.int64)
    weights[index] = 1
    return weights


def read_from_naive() -> Result:
    """One head per feature."""
    truth = features()[OPENED]
    service, reading = ScoringWithoutLimit(truth), Reading(truth, [], [])
    for index in range(DIMENSIONS):
        secret, message = encrypt_head([basis(index).tolist()], weight_bits=WEIGHT_BITS, binding=BINDING)
        reading.add(basis(index), decrypted(secret, service.score(message)))
    return reading.result()


def read_from_ours() -> Result:
    """One basis vector is a head like any other; then the next ones, by every way around the limit."""
    with running_platform() as platform:
        reading = Reading(features()[OPENED], [], [])
        second = plan("summer-2026")
        refused = 0

        def attempt(campaign: CampaignPlan, prepare: Callable[[], None]) -> None:
            nonlocal refused
            weights = basis(len(reading.weights))
            try:
                prepare()
                scores = scored(platform, campaign, weights)
            except NorenError:
                refused += 1
            else:
                reading.add(weights, scores)

        def open_second() -> None:
            platform.publish(second)
            platform.accept(second)

        attempt(plan(), lambda: None)
        attempt(plan(), lambda: None)
        attempt(plan(), platform.restart)
        attempt(plan(), lambda: platform.restart(losing=FORGET_HEADS))
        attempt(second, open_second)
        attempt(second, platform.restart)
        return reading.result(f"; {refused} of 5 further heads refused")


def scored(platform: RunningPlatform, campaign: CampaignPlan, weights: npt.NDArray[np.int64]) -> list[int]:
    """Submit a head past the client's own limit, and open all scores."""
    secret, message = encrypt_head(
        [weights.tolist()], weight_bits=WEIGHT_BITS, binding=head_binding(campaign, "alpha")
    )
    platform.submit_head(campaign, message)
    opened = platform.open_scores(campaign, OPENED)
    return decrypted(secret, [opened[number] for number in OPENED])


def decrypted(secret: HeadSecret, ciphertexts: Sequence[bytes]) -> list[int]:
    return secret.decrypt(ciphertexts, bound=LAYOUT.score_bound)


# Weights that pack features


def pack_into_naive() -> Result:
    """Weights 1, 256, 65536, …: every byte of the score is a feature."""
    truth = features()[:PACKED_STUDENTS]
    secret = HeadSecret.generate()
    values = [256**index if index < PACKED else 0 for index in range(DIMENSIONS)]
    zeros = encrypt_bits([0] * DIMENSIONS, secret.scalar)
    weights = [plus(zero.ciphertext, value) for zero, value in zip(zeros, values, strict=True)]
    answers = ScoringWithoutProof(truth).score(secret.public_key, weights)
    return unpacked_result(truth, secret, answers)


def pack_into_ours() -> Result:
    """The same weights as forged bits, under every kind of proof that a company could send."""
    campaign = plan()
    with running_platform() as platform:
        forgeries = list(forged_heads(head_binding(campaign, "alpha")))
        accepted = [
            (secret, message) for secret, message in forgeries if is_taken(platform, campaign, message)
        ]
        if accepted:
            opened = platform.open_scores(campaign, OPENED)
            answers = [opened[number] for number in range(PACKED_STUDENTS)]
            return unpacked_result(
                features()[:PACKED_STUDENTS], accepted[0][0], answers, forged=len(accepted)
            )
        honest = scored(platform, campaign, basis(0))
        unchanged = honest == features()[OPENED, 0].tolist()
    return Result(
        succeeded=not unchanged,
        measured=f"0 of {len(forgeries)} forged proofs accepted, an honest head still "
        f"{'is' if unchanged else 'is NOT'}; 0 features read",
    )


def is_taken(platform: RunningPlatform, campaign: CampaignPlan, message: bytes) -> bool:
    try:
        platform.submit_head(campaign, message)
    except NorenError:
        return False
    return True


def unpacked_result(
    truth: npt.NDArray[np.int8], secret: HeadSecret, answers: Sequence[bytes], *, forged: int = 0
) -> Result:
    rows = [packed_features(secret, answer) for answer in answers]
    exact = sum(row == student[:PACKED].tolist() for row, student in zip(rows, truth, strict=True))
    return Result(
        succeeded=exact > 0 or forged > 0,
        measured=f"{PACKED} features of {exact} of {len(truth)} students, each from one score",
    )


def plus(ciphertext: Ciphertext, value: int) -> Ciphertext:
    if not value:
        return ciphertext
    total = secp256k1.sum_points((ciphertext.b, multiple(value)))
    assert total is not None
    return Ciphertext(ciphertext.a, total)


def multiple(value: int) -> Point:
    return secp256k1.multiply_base_secret(secp256k1.public_scalar(value))


def forged_heads(binding: bytes) -> list[tuple[HeadSecret, bytes]]:
    """Heads whose weights are powers of 256, and others that should not verify."""
    secret = HeadSecret.generate()
    key = secret.public_key
    honest = encrypt_bits([index % 2 for index in range(LAYOUT.bits)], secret.scalar)
    oversized = list(map(packing_bit, range(LAYOUT.bits), encrypt_bits([0] * LAYOUT.bits, secret.scalar)))
    two = [EncryptedBit(1, honest[0].nonce, plus(honest[0].ciphertext, 2)), *honest[1:]]
    claimed_one = [EncryptedBit(1, bit.nonce, bit.ciphertext) for bit in oversized]

    def message(shown: list[EncryptedBit], proof: Callable[[bytes], bytes]) -> tuple[HeadSecret, bytes]:
        body = LAYOUT.header + key.to_bytes()
        body += b"".join(bit.ciphertext.to_bytes() for bit in shown)
        return secret, body + proof(head_encryption._statement(body, binding))

    def proved(bits: list[EncryptedBit]) -> Callable[[bytes], bytes]:
        return lambda statement: prove_bits(statement, secret.scalar, bits)

    body_of_honest = message(honest, lambda _: b"")[1]
    reused = prove_bits(head_encryption._statement(body_of_honest, binding), secret.scalar, honest)
    return [
        message(oversized, proved(oversized)),
        message(oversized, proved(claimed_one)),
        message(oversized, proved(honest)),  # a true proof, about other ciphertexts
        message(oversized, lambda _: reused),
        message(two, proved(two)),
        message(oversized, lambda statement: simulated(statement, oversized)),
        message(honest, lambda _: prove_bits(b"another statement", secret.scalar, honest)),
        encrypt_head([[1] * DIMENSIONS], weight_bits=WEIGHT_BITS, binding=b"another campaign"),
        (secret, with_identity(message(oversized, proved(oversized))[1])),
    ]


def packing_bit(index: int, zero: EncryptedBit) -> EncryptedBit:
    """In the place of every weight's lowest bit, what makes the weight a power of 256 (or zero)."""
    weight, position = divmod(index, WEIGHT_BITS)
    if position:
        return zero
    value = (256**weight if weight < PACKED else 0) + 2 ** (WEIGHT_BITS - 1)
    return EncryptedBit(0, zero.nonce, plus(zero.ciphertext, value))


def simulated(statement: bytes, bits: Sequence[EncryptedBit]) -> bytes:
    """Both branches simulated, as for one branch of an honest proof, with shares that add up to a challenge.

    The challenge would have to be known before the commitments that it is a hash of.
    """
    guess = secp256k1.hash_to_scalar(statement)
    responses = b"".join(secp256k1.random_scalar().reveal() for _ in range(3 * len(bits)))
    assert len(guess + responses) == bit_proof.proof_bytes(len(bits))
    return guess + responses


def with_identity(message: bytes) -> bytes:
    """The key replaced by zeros, where the point at infinity would be: every mask of a bit would vanish."""
    start = head_encryption._HEADER_BYTES
    return message[:start] + bytes(POINT_BYTES) + message[start + POINT_BYTES :]


def packed_features(secret: HeadSecret, ciphertext: bytes) -> list[int]:
    """The bytes of a score, as features."""
    a, b = (Point.from_bytes(part) for part in (ciphertext[:POINT_BYTES], ciphertext[POINT_BYTES:]))
    shared = -secp256k1.multiply_secret(secret.scalar, a)
    # 128 more in every place makes each feature a digit from 0 to 255.
    shift = multiple(sum(128 * 256**index for index in range(PACKED)))
    value = logarithm((b, shared, shift))
    return [(value >> (8 * index)) % 256 - 128 for index in range(PACKED)]


def logarithm(addends: tuple[Point, ...]) -> int:
    """Baby steps and giant steps over 2^32 values."""
    table, step = baby_steps()
    current = secp256k1.sum_points(addends)
    for giant in range(2**32 // len(table) + 1):
        if current is None:
            return giant * len(table)
        if (baby := table.get(current.to_bytes())) is not None:
            return giant * len(table) + baby
        current = secp256k1.sum_points((current, step))
    return 0


@cache
def baby_steps() -> tuple[dict[bytes, int], Point]:
    """The multiples 1 to 2^17 of the generator, and the giant step back."""
    table, current = {}, secp256k1.GENERATOR
    for value in range(1, 2**17 + 1):
        table[current.to_bytes()] = value
        following = secp256k1.sum_points((current, secp256k1.GENERATOR))
        assert following is not None
        current = following
    return table, multiple(-len(table))


ATTACKS = (
    Attack(
        name="basis-vector heads",
        attacker="company",
        aim="read a student's features, one head for each",
        systems=(
            System("scoring without a limit on heads", False, read_from_naive),
            System("Noren", True, read_from_ours),
        ),
    ),
    Attack(
        name="oversized weights",
        attacker="company",
        aim="pack several features into one score",
        systems=(
            System("ElGamal scoring without a range proof", False, pack_into_naive),
            System("Noren", True, pack_into_ours),
        ),
    ),
)

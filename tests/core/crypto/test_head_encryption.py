"""Encrypted heads: frozen bytes from a slow reference, and proofs that accept nothing but an honest head."""

import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from noren_core.crypto import head_encryption, secp256k1
from noren_core.crypto.bit_proof import RESPONSE_BYTES, Ciphertext, EncryptedBit, prove_bits
from noren_core.crypto.head_encryption import (
    HeadSecret,
    encrypt_head,
    head_commitment,
    message_bytes,
    score_bound,
    verify_head,
)
from noren_core.crypto.secp256k1 import GENERATOR, public_scalar
from noren_core.errors import DataError, RemoteProtocolError, VerificationError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "encrypted_head_v1.json").read_text())
BINDING = b"noren/v1/score|tanaka-denki|decline-2024"
LAYOUT = {"dimensions": 2, "weight_bits": 8, "binding": BINDING}

# ---- the slow reference: secp256k1 (SEC 2) in plain integers; None is the identity

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Affine = tuple[int, int] | None


def plus(p: Affine, q: Affine) -> Affine:
    if p is None or q is None:
        return p or q
    (px, py), (qx, qy) = p, q
    if px == qx and (py + qy) % P == 0:
        return None
    slope = (3 * px * px * pow(2 * py, -1, P) if p == q else (qy - py) * pow(qx - px, -1, P)) % P
    x = (slope * slope - px - qx) % P
    return x, (slope * (px - x) - py) % P


def times(number: int, p: Affine) -> Affine:
    result: Affine = None
    for digit in f"{number % N:b}":
        result = plus(result, result)
        if digit == "1":
            result = plus(result, p)
    return result


def encode(p: Affine) -> bytes:
    assert p is not None
    return bytes([2 + p[1] % 2]) + p[0].to_bytes(32, "big")


def number_from(label: str) -> int:
    return int.from_bytes(hashlib.sha512(label.encode()).digest(), "big") % N


def scalar(number: int) -> bytes:
    return (number % N).to_bytes(32, "big")


def reference_message(x: int, weights: Sequence[int], weight_bits: int) -> tuple[bytes, list[list[int]]]:
    """A message made from the text of `head_encryption` and `bit_proof` alone, and its nonces per weight."""
    key = times(x, G)
    body = bytes([1, weight_bits]) + len(weights).to_bytes(2, "big") + encode(key)
    commitments, positions, nonces = b"", [], []
    for j, weight in enumerate(weights):
        nonces.append([])
        for i in range(weight_bits):
            bit = (weight + 2 ** (weight_bits - 1)) >> i & 1
            a, k, c, s = (number_from(f"{name} {j} {i}") for name in "aKcs")
            nonces[-1].append(a)
            first, second = times(a, G), plus(times(bit, G), times(a, key))
            body += encode(first) + encode(second)
            other = plus(second, times(-(1 - bit), G))
            simulated = (
                plus(times(s, G), times(-c, first)),
                plus(times(s, key), times(-c, other)),
            )
            pair = [simulated, simulated]
            pair[bit] = (times(k, G), times(k, key))
            commitments += b"".join(encode(point) for branch in pair for point in branch)
            positions.append((bit, a, k, c, s))
    statement = b"noren/v1/encrypted-head\0" + len(BINDING).to_bytes(8, "big") + BINDING + body
    hashed = b"noren/v1/bit-proof\0" + len(statement).to_bytes(8, "big") + statement + commitments
    challenge = int.from_bytes(hashlib.sha512(hashed).digest(), "big") % N
    proof = scalar(challenge)
    for bit, a, k, c, s in positions:
        real = (challenge - c) % N
        response = k + real * a
        proof += b"".join(map(scalar, (c, s, response) if bit else (real, response, s)))
    return body + proof, nonces


def reference_vectors() -> dict[str, Any]:
    weights, features, x, rho = (
        [-128, 101],
        [[127, -128], [-128, -128], [0, 1]],
        number_from("x"),
        number_from("rho"),
    )
    message, nonces = reference_message(x, weights, 8)
    totals = [sum(nonce << i for i, nonce in enumerate(row)) for row in nonces]
    scores = []
    for row in features:
        score = sum(w * h for w, h in zip(weights, row, strict=True))
        randomness = sum(a * h for a, h in zip(totals, row, strict=True)) + rho
        u, v = times(randomness, G), plus(times(score, G), times(randomness * x, G))
        scores.append({"features": row, "score": score, "ciphertext": (encode(u) + encode(v)).hex()})
    return {
        "binding": BINDING.decode(),
        "weight_bits": 8,
        "weights": weights,
        "secret": scalar(x).hex(),
        "message": message.hex(),
        "commitment": hashlib.sha256(b"noren/v1/head-commitment\0" + message).hexdigest(),
        "encrypted_weights": [
            (encode(times(a, G)) + encode(plus(times(w, G), times(a * x, G)))).hex()
            for a, w in zip(totals, weights, strict=True)
        ],
        "scores": scores,
    }


class TestVectors:
    def test_the_file_is_what_the_reference_gives(self):
        """The frozen file and the slow reference agree, so neither was bent to fit the code."""
        assert reference_vectors() == VECTORS

    def test_message(self):
        """The reference's message is accepted, committed to, and added up to the reference's ciphertexts."""
        message = bytes.fromhex(VECTORS["message"])
        head = verify_head(message, **LAYOUT)
        assert head_commitment(message).hex() == VECTORS["commitment"]
        assert [weight.to_bytes().hex() for weight in head.weights] == VECTORS["encrypted_weights"]

    def test_scores(self):
        """The frozen ciphertexts decrypt to the frozen scores."""
        secret = HeadSecret.from_bytes(bytes.fromhex(VECTORS["secret"]))
        ciphertexts = [bytes.fromhex(score["ciphertext"]) for score in VECTORS["scores"]]
        assert secret.decrypt(ciphertexts, bound=score_bound(2, 8)) == [
            score["score"] for score in VECTORS["scores"]
        ]


# ---- a dishonest company, with our own prover as its tool


def forge(
    values: Sequence[Sequence[int]],
    *,
    claims: Sequence[Sequence[int]] | None = None,
    nonces: Sequence[Sequence[int]] | None = None,
) -> bytes:
    """A message whose 'bits' encrypt any integers, proved as if they were `claims`."""
    secret, bits = HeadSecret.generate(), []
    for j, row in enumerate(values):
        for i, value in enumerate(row):
            nonce = public_scalar(nonces[j][i]) if nonces else secp256k1.random_scalar()
            b = secp256k1.multiply_secret(nonce, secret.public_key)
            if value:
                b = secp256k1.add_base_multiple_public(b, public_scalar(value))
            ciphertext = Ciphertext(secp256k1.multiply_base_secret(nonce), b)
            bits.append(EncryptedBit(claims[j][i] if claims else value, nonce, ciphertext))
    body = head_encryption._header(len(values), len(values[0])) + secret.public_key.to_bytes()
    body += b"".join(bit.ciphertext.to_bytes() for bit in bits)
    return body + prove_bits(head_encryption._statement(body, BINDING), secret.public_key, bits)


HONEST = encrypt_head([-128, 127], weight_bits=8, binding=BINDING)[1]
BODY_BYTES = 4 + 33 + 2 * 8 * 66
# One position in every field of the message, by what it is.
FIELDS = {
    "version": 0,
    "weight bits": 1,
    "dimensions": 3,
    "key's sign": 4,
    "key": 20,
    "A of the first bit": 37 + 10,
    "B of the first bit": 37 + 33 + 10,
    "sign of A of the last bit": BODY_BYTES - 66,
    "B of the last bit": BODY_BYTES - 1,
    "challenge": BODY_BYTES + 31,
    "c_0 of the first bit": BODY_BYTES + 32 + 10,
    "s_0 of the first bit": BODY_BYTES + 32 + 42,
    "s_1 of the first bit": BODY_BYTES + 32 + 74,
    "c_0 of the last bit": len(HONEST) - RESPONSE_BYTES + 31,
    "s_1 of the last bit": len(HONEST) - 1,
}


class TestHonestHeads:
    @pytest.mark.parametrize(
        ("weight_bits", "extremes"), [(8, [-128, 127, 0, -1]), (12, [-2048, 2047, 0, 1])]
    )
    def test_weights_in_range(self, weight_bits, extremes):
        """Weights at both ends of the range are accepted, and decrypt to themselves."""
        secret, message = encrypt_head(extremes, weight_bits=weight_bits, binding=BINDING)
        assert len(message) == message_bytes(4, weight_bits)
        head = verify_head(message, dimensions=4, weight_bits=weight_bits, binding=BINDING)
        ciphertexts = [weight.to_bytes() for weight in head.weights]
        assert secret.decrypt(ciphertexts, bound=2048) == extremes

    def test_forgery_helper_is_honest_with_honest_values(self):
        """The forging helper makes acceptable messages from real bits, so its refusals mean something."""
        verify_head(forge([[0, 1] * 4, [1, 1, 0, 0] * 2]), **LAYOUT)

    def test_messages_are_fresh(self):
        """Two encryptions of one head share no key and no ciphertext, so a commitment hides the head."""
        other = encrypt_head([-128, 127], weight_bits=8, binding=BINDING)[1]
        points = [{m[i : i + 33] for i in range(4, BODY_BYTES, 33)} for m in (HONEST, other)]
        assert not points[0] & points[1]
        assert head_commitment(HONEST) != head_commitment(other)

    def test_equal_bits_give_distinct_ciphertexts(self):
        """All-zero bits are 16 different ciphertexts."""
        message = encrypt_head([-128, -128], weight_bits=8, binding=BINDING)[1]
        assert len({message[i : i + 33] for i in range(37, BODY_BYTES, 33)}) == 32

    def test_key_store(self):
        """A key read back from its bytes is the same key, and is neither shown nor pickled."""
        secret, _ = encrypt_head([1], weight_bits=8, binding=b"")
        again = HeadSecret.from_bytes(secret.to_bytes())
        assert again.public_key.to_bytes() == secret.public_key.to_bytes()
        assert secret.to_bytes().hex() not in repr(secret)
        with pytest.raises(TypeError):
            pickle.dumps(secret)
        for raw in (bytes(32), bytes(31), b"\xff" * 32):
            with pytest.raises(DataError):
                HeadSecret.from_bytes(raw)

    @pytest.mark.parametrize(
        ("weights", "weight_bits"),
        [([128], 8), ([-129], 8), ([2048], 12), ([-2049], 12), ([1], 9), ([], 8), ([0] * 513, 8)],
    )
    def test_refuses_to_encrypt_what_would_be_refused(self, weights, weight_bits):
        """Weights out of range and impossible layouts fail at the company."""
        with pytest.raises(DataError):
            encrypt_head(weights, weight_bits=weight_bits, binding=b"")


class TestDishonestHeads:
    @pytest.mark.parametrize("field", FIELDS)
    @pytest.mark.parametrize("mask", [1, 128])
    def test_a_flipped_bit(self, field, mask):
        """A message with one bit flipped is refused, whichever field it is in."""
        message = bytearray(HONEST)
        message[FIELDS[field]] ^= mask
        with pytest.raises((RemoteProtocolError, VerificationError)):
            verify_head(bytes(message), **LAYOUT)

    @pytest.mark.parametrize("value", [2, -1, 2**20])
    @pytest.mark.parametrize("claim", [0, 1])
    def test_a_bit_that_is_no_bit(self, value, claim):
        """A 'bit' of 2, -1 or a million is refused, whichever branch the prover plays."""
        values = [[0] * 8, [0] * 7 + [value]]
        claims = [[0] * 8, [0] * 7 + [claim]]
        with pytest.raises(VerificationError):
            verify_head(forge(values, claims=claims), **LAYOUT)

    def test_another_binding(self):
        """A message for one campaign is refused in another, also when binding and message shift bytes."""
        for binding in (BINDING + b"2", b"", BINDING[:-1]):
            with pytest.raises(VerificationError):
                verify_head(HONEST, **(LAYOUT | {"binding": binding}))

    def test_reordered_weights(self):
        """Swapping two weights with their ciphertexts and responses is refused."""
        size = 8 * 66
        first, second = HONEST[37 : 37 + size], HONEST[37 + size : BODY_BYTES]
        responses = HONEST[BODY_BYTES + 32 :]
        half = len(responses) // 2
        swapped = HONEST[:37] + second + first + HONEST[BODY_BYTES : BODY_BYTES + 32]
        with pytest.raises(VerificationError):
            verify_head(swapped + responses[half:] + responses[:half], **LAYOUT)

    def test_another_key(self):
        """The same ciphertexts and proof under another key are refused."""
        key = HeadSecret.generate().public_key.to_bytes()
        with pytest.raises(VerificationError):
            verify_head(HONEST[:4] + key + HONEST[37:], **LAYOUT)

    def test_a_proof_from_another_message(self):
        """A proof of another head is refused."""
        other = encrypt_head([-128, 127], weight_bits=8, binding=BINDING)[1]
        with pytest.raises(VerificationError):
            verify_head(HONEST[:BODY_BYTES] + other[BODY_BYTES:], **LAYOUT)

    def test_a_second_encoding_of_a_number(self):
        """A response beyond the group order is refused: every number has one encoding."""
        responses = bytearray(HONEST)
        responses[-32:] = b"\xff" * 32
        with pytest.raises(VerificationError):
            verify_head(bytes(responses), **LAYOUT)

    def test_lengths_and_layouts(self):
        """A message of another length, or for other dimensions or bits, is refused before any arithmetic."""
        for message in (HONEST[:-1], HONEST + b"\0", b""):
            with pytest.raises(RemoteProtocolError, match="bytes"):
                verify_head(message, **LAYOUT)
        for change in ({"dimensions": 3}, {"weight_bits": 12}):
            with pytest.raises(RemoteProtocolError):
                verify_head(HONEST, **(LAYOUT | change))
        three_by_eight = encrypt_head([0, 0, 0], weight_bits=8, binding=BINDING)[1]
        assert len(three_by_eight) == message_bytes(2, 12)  # same number of bits: the header tells them apart
        with pytest.raises(RemoteProtocolError, match="layout"):
            verify_head(three_by_eight, dimensions=2, weight_bits=12, binding=BINDING)

    @pytest.mark.parametrize("encoding", [bytes(33), b"\x02" + bytes(32), b"\x02" + b"\xff" * 32])
    @pytest.mark.parametrize("start", [4, 37, 70])
    def test_malformed_points(self, encoding, start):
        """The identity has no encoding, and non-points are refused as key, A and B."""
        with pytest.raises(RemoteProtocolError):
            verify_head(HONEST[:start] + encoding + HONEST[start + 33 :], **LAYOUT)

    def test_nonces_that_cancel(self):
        """Valid proofs over nonces chosen so that a weight's points cancel are refused, not a crash."""
        nonces = [[3] * 8, [1] * 7 + [-127 * pow(128, -1, N)]]
        with pytest.raises(RemoteProtocolError, match="cancel"):
            verify_head(forge([[0] * 8, [0] * 8], nonces=nonces), **LAYOUT)

    def test_an_identity_in_the_verification(self):
        """B = G, for which B - G is the identity, is refused like any false proof, not a crash."""
        with pytest.raises(VerificationError):
            verify_head(HONEST[:70] + GENERATOR.to_bytes() + HONEST[103:], **LAYOUT)


class TestDecryption:
    @pytest.mark.parametrize(
        "ciphertext",
        [b"", bytes(66), GENERATOR.to_bytes(), GENERATOR.to_bytes() + bytes(33), GENERATOR.to_bytes() * 3],
    )
    def test_malformed_ciphertexts(self, ciphertext):
        """What is not two points is refused."""
        with pytest.raises(RemoteProtocolError):
            HeadSecret.generate().decrypt([ciphertext], bound=10)

    def test_out_of_range(self):
        """A ciphertext of a number beyond the bound, or under another key, is refused."""
        secret = HeadSecret.generate()
        masked = secp256k1.add_base_multiple_public(secret.public_key, public_scalar(11))
        ciphertext = GENERATOR.to_bytes() + masked.to_bytes()
        assert secret.decrypt([ciphertext], bound=11) == [11]
        with pytest.raises(VerificationError):
            secret.decrypt([ciphertext], bound=10)
        with pytest.raises(VerificationError):
            HeadSecret.generate().decrypt([ciphertext], bound=1000)

    def test_zero(self):
        """A score of zero, where V - xU is the identity, is zero."""
        secret = HeadSecret.generate()
        ciphertext = GENERATOR.to_bytes() + secret.public_key.to_bytes()
        assert secret.decrypt([ciphertext], bound=5) == [0]

    def test_bound(self):
        """The bound is what int8 features and b-bit weights can reach, at both ends of the range."""
        assert score_bound(64, 8) == 64 * 128 * 128
        assert score_bound(3, 12) == 3 * 128 * 2048

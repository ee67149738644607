"""Encrypted heads: frozen bytes from a slow reference, and proofs that accept nothing but an honest head."""

import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forged_head
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import secp256k1
from noren_core.crypto.bit_proof import RESPONSE_BYTES, encrypt_bits, prove_bits, verify_bits
from noren_core.crypto.head_encryption import (
    CIPHERTEXT_BYTES,
    HeadLayout,
    HeadSecret,
    encrypt_head,
    head_commitment,
    verify_head,
)
from noren_core.crypto.secp256k1 import GENERATOR, public_scalar
from noren_core.errors import DataError, NorenError, RemoteProtocolError, VerificationError

FOLDER = Path(__file__).parents[2] / "vectors"
VECTORS = json.loads((FOLDER / "encrypted_head_v2.json").read_text())
BINDING = b"noren/v1/score|tanaka-denki|decline-2024"
LAYOUT = HeadLayout(dimensions=1, weight_bits=8, heads=2)


def layout(dimensions: int, weight_bits: int = 8, heads: int = 1) -> HeadLayout:
    return HeadLayout(dimensions=dimensions, weight_bits=weight_bits, heads=heads)


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


def reference_message(
    x: int, heads: Sequence[Sequence[int]], weight_bits: int
) -> tuple[bytes, list[list[int]]]:
    """A message made from docs/protocol.md §5.1 and §5.2 alone, and its nonces per weight."""
    key = times(x, G)
    body = bytes([2, len(heads), weight_bits]) + len(heads[0]).to_bytes(2, "big") + encode(key)
    commitments, positions, nonces = b"", [], []
    for j, weight in enumerate(weight for head in heads for weight in head):
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
    heads, features, x = [[-128, 101], [0, 127]], [[127, -128], [0, 1]], number_from("x")
    message, nonces = reference_message(x, heads, 8)
    totals = [sum(nonce << i for i, nonce in enumerate(row)) for row in nonces]
    scores = []
    for student, row in enumerate(features):
        payload, values = b"", []
        for k, head in enumerate(heads):
            values.append(sum(w * h for w, h in zip(head, row, strict=True)))
            own = totals[2 * k : 2 * k + 2]
            randomness = sum(a * h for a, h in zip(own, row, strict=True)) + number_from(f"rho {student} {k}")
            u, v = times(randomness, G), plus(times(values[-1], G), times(randomness * x, G))
            payload += encode(u) + encode(v)
        scores.append({"features": row, "scores": values, "payload": payload.hex()})
    return {
        "binding": BINDING.decode(),
        "weight_bits": 8,
        "heads": heads,
        "secret": scalar(x).hex(),
        "message": message.hex(),
        "commitment": hashlib.sha256(b"noren/v1/head-commitment\0" + message).hexdigest(),
        "encrypted_weights": [
            (encode(times(a, G)) + encode(plus(times(w, G), times(a * x, G)))).hex()
            for a, w in zip(totals, [weight for head in heads for weight in head], strict=True)
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
        head = verify_head(message, layout(2, heads=2), binding=BINDING)
        assert head_commitment(message).hex() == VECTORS["commitment"]
        weights = [weight.to_bytes().hex() for weights in head.heads for weight in weights]
        assert weights == VECTORS["encrypted_weights"]

    def test_scores(self):
        """The frozen payloads decrypt to the frozen scores, head by head."""
        secret = HeadSecret.from_bytes(bytes.fromhex(VECTORS["secret"]))
        for student in VECTORS["scores"]:
            payload = bytes.fromhex(student["payload"])
            ciphertexts = [payload[i : i + CIPHERTEXT_BYTES] for i in (0, CIPHERTEXT_BYTES)]
            assert secret.decrypt(ciphertexts, bound=layout(2).score_bound) == student["scores"]

    def test_the_first_format_is_refused(self):
        """A good message of format version 1, which had no number of heads, is refused by its length."""
        old = json.loads((FOLDER / "encrypted_head_v1.json").read_text())
        with pytest.raises(RemoteProtocolError, match="bytes"):
            verify_head(bytes.fromhex(old["message"]), layout(2), binding=old["binding"].encode())


# ---- a dishonest company


def forge(values: Sequence[Sequence[int]], **changes: Any) -> bytes:
    """A message with any 'bits', for two heads of one weight."""
    return forged_head.forge(values, layout=LAYOUT, binding=BINDING, **changes)


SECRET, HONEST = encrypt_head([[-128], [127]], weight_bits=8, binding=BINDING)
POINTS_START, BODY_BYTES = 5 + 33, 5 + 33 + 2 * 8 * 66
# One position in every field of the message, by what it is.
FIELDS = {
    "version": 0,
    "heads": 1,
    "weight bits": 2,
    "dimensions": 4,
    "key's sign": 5,
    "key": 20,
    "A of the first bit": 38 + 10,
    "B of the first bit": 38 + 33 + 10,
    "sign of A of the last bit": BODY_BYTES - 66,
    "B of the last bit": BODY_BYTES - 1,
    "challenge": BODY_BYTES + 31,
    "c_0 of the first bit": BODY_BYTES + 32 + 10,
    "s_0 of the first bit": BODY_BYTES + 32 + 42,
    "s_1 of the first bit": BODY_BYTES + 32 + 74,
    "c_0 of the last bit": len(HONEST) - RESPONSE_BYTES + 31,
    "s_1 of the last bit": len(HONEST) - 1,
}


def verify(message: bytes) -> None:
    verify_head(message, LAYOUT, binding=BINDING)


def reordered(message: bytes, order: Sequence[int]) -> bytes:
    """The message with its 16 bits, ciphertexts and responses, in another order."""
    bits = [message[POINTS_START + 66 * i : POINTS_START + 66 * (i + 1)] for i in range(16)]
    responses = [message[BODY_BYTES + 32 + 96 * i : BODY_BYTES + 32 + 96 * (i + 1)] for i in range(16)]
    return b"".join(
        (
            message[:POINTS_START],
            *(bits[i] for i in order),
            message[BODY_BYTES : BODY_BYTES + 32],
            *(responses[i] for i in order),
        )
    )


class TestHonestHeads:
    @pytest.mark.parametrize(
        ("weight_bits", "extremes"), [(8, [-128, 127, 0, -1]), (12, [-2048, 2047, 0, 1])]
    )
    def test_weights_in_range(self, weight_bits, extremes):
        """Weights at both ends of the range are accepted, and decrypt to themselves, in every head."""
        heads = [extremes, extremes[::-1]]
        secret, message = encrypt_head(heads, weight_bits=weight_bits, binding=BINDING)
        head = verify_head(message, layout(4, weight_bits, heads=2), binding=BINDING)
        for encrypted, weights in zip(head.heads, heads, strict=True):
            assert secret.decrypt([weight.to_bytes() for weight in encrypted], bound=2048) == weights

    def test_forgery_helper_is_honest_with_honest_values(self):
        """The forging helper makes acceptable messages from real bits, so its refusals mean something."""
        verify(forge([[0, 1] * 4, [1, 1, 0, 0] * 2]))

    def test_messages_are_fresh(self):
        """Two encryptions of one head share no key and no ciphertext, so a commitment hides the head."""
        other = encrypt_head([[-128], [127]], weight_bits=8, binding=BINDING)[1]
        points = [{m[i : i + 33] for i in range(5, BODY_BYTES, 33)} for m in (HONEST, other)]
        assert not points[0] & points[1]
        assert head_commitment(HONEST) != head_commitment(other)

    def test_equal_bits_give_distinct_ciphertexts(self):
        """All-zero bits are 16 different ciphertexts."""
        message = encrypt_head([[-128], [-128]], weight_bits=8, binding=BINDING)[1]
        assert len({message[i : i + 33] for i in range(POINTS_START, BODY_BYTES, 33)}) == 32

    def test_the_prover_multiplies_in_constant_time_only(self, monkeypatch):
        """No operation for public values is called while a head is encrypted: one would betray the bits."""

        def public_only(*_: object) -> None:
            raise AssertionError("called with what depends on a secret")

        for name in ("multiply_public", "sum_points"):
            monkeypatch.setattr(secp256k1, name, public_only)
        encrypt_head([[5], [-5]], weight_bits=8, binding=BINDING)

    def test_key_store(self):
        """A key read back from its bytes is the same key, and is neither shown nor pickled."""
        again = HeadSecret.from_bytes(SECRET.to_bytes())
        assert again.public_key.to_bytes() == SECRET.public_key.to_bytes()
        assert SECRET.to_bytes().hex() not in repr(SECRET)
        with pytest.raises(TypeError):
            pickle.dumps(SECRET)
        for raw in (bytes(32), bytes(31), b"\xff" * 32):
            with pytest.raises(DataError):
                HeadSecret.from_bytes(raw)

    @pytest.mark.parametrize(
        ("heads", "weight_bits"),
        [
            ([[128]], 8),
            ([[-129]], 8),
            ([[1], [2048]], 12),
            ([[-2049]], 12),
            ([[1]], 9),
            ([], 8),
            ([[]], 8),
            ([[0] * 129], 8),
            ([[0]] * 9, 8),
            ([[0, 0], [0]], 8),
            ([[0], [0, 0]], 8),
        ],
    )
    def test_refuses_to_encrypt_what_would_be_refused(self, heads, weight_bits):
        """Weights out of range, heads of several lengths and impossible layouts fail at the company."""
        with pytest.raises(DataError):
            encrypt_head(heads, weight_bits=weight_bits, binding=b"")

    @pytest.mark.parametrize(("dimensions", "heads"), [(0, 1), (129, 1), (1, 0), (1, 9)])
    def test_layouts_have_bounds(self, dimensions, heads):
        """Up to 8 heads of up to 128 weights, and one of each at least."""
        assert layout(128, 12, heads=8).bits == 128 * 12 * 8
        with pytest.raises(DataError):
            layout(dimensions, heads=heads)

    def test_layout(self):
        """Bounds and sizes are what int8 features, b-bit weights and k heads of d of them need."""
        assert layout(64).score_bound == 64 * 128 * 128
        assert layout(3, 12).score_bound == 3 * 128 * 2048
        assert layout(1, heads=3).payload_bytes == 198
        assert LAYOUT.message_bytes == len(HONEST) == 5 + 33 + 16 * 66 + 32 + 16 * 96


class TestDishonestHeads:
    @pytest.mark.parametrize("field", FIELDS)
    @pytest.mark.parametrize("mask", [1, 128])
    def test_a_flipped_bit_in_every_field(self, field, mask):
        """A message with one bit flipped is refused, whichever field it is in."""
        message = bytearray(HONEST)
        message[FIELDS[field]] ^= mask
        with pytest.raises((RemoteProtocolError, VerificationError)):
            verify(bytes(message))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(HONEST) - 1), st.integers(1, 255))
    def test_any_changed_byte(self, position, mask):
        """A message with any byte changed in any way is refused: nothing in it is left out of the proof."""
        message = bytearray(HONEST)
        message[position] ^= mask
        with pytest.raises((RemoteProtocolError, VerificationError)):
            verify(bytes(message))

    @pytest.mark.parametrize("value", [2, -1, 2**20])
    @pytest.mark.parametrize("claim", [0, 1])
    def test_a_bit_that_is_no_bit(self, value, claim):
        """A 'bit' of 2, -1 or a million is refused, whichever branch the prover plays."""
        values = [[0] * 8, [0] * 7 + [value]]
        claims = [[0] * 8, [0] * 7 + [claim]]
        with pytest.raises(VerificationError):
            verify(forge(values, claims=claims))

    def test_another_binding(self):
        """A message for one campaign is refused in another, also when binding and message shift bytes."""
        for binding in (BINDING + b"2", b"", BINDING[:-1]):
            with pytest.raises(VerificationError):
                verify_head(HONEST, LAYOUT, binding=binding)

    @pytest.mark.parametrize(
        "order",
        [[*range(8, 16), *range(8)], [1, 0, *range(2, 16)], [*range(15), 15][::-1]],
        ids=["heads swapped", "two bits swapped", "all reversed"],
    )
    def test_reordered_positions(self, order):
        """Bits, weights or heads with their responses in another order are refused."""
        verify(reordered(HONEST, range(16)))
        with pytest.raises(VerificationError):
            verify(reordered(HONEST, order))

    def test_another_key(self):
        """The same ciphertexts and proof under another key are refused."""
        key = HeadSecret.generate().public_key.to_bytes()
        with pytest.raises(VerificationError):
            verify(HONEST[:5] + key + HONEST[38:])

    def test_a_proof_from_another_message(self):
        """A proof of another head is refused."""
        other = encrypt_head([[-128], [127]], weight_bits=8, binding=BINDING)[1]
        with pytest.raises(VerificationError):
            verify(HONEST[:BODY_BYTES] + other[BODY_BYTES:])

    @pytest.mark.parametrize("number", [bytes(32), public_scalar(-1)[:-1] + b"\x41", b"\xff" * 32])
    @pytest.mark.parametrize("start", range(BODY_BYTES, BODY_BYTES + 128, 32))
    def test_a_second_encoding_of_a_number(self, number, start):
        """Zero, the group order and numbers beyond it are refused as challenge, share and responses."""
        with pytest.raises(VerificationError, match="scalars"):
            verify(HONEST[:start] + number + HONEST[start + 32 :])

    def test_a_proof_of_another_length(self):
        """A proof with a response more or fewer than ciphertexts is refused, whoever asks."""
        secret = HeadSecret.generate()
        bits = encrypt_bits([0, 1], secret.scalar)
        ciphertexts = [bit.ciphertext for bit in bits]
        proof = prove_bits(b"statement", secret.scalar, bits)
        verify_bits(b"statement", secret.public_key, ciphertexts, proof)
        for wrong in (b"", proof[:32], proof[:-32], proof[:-1], proof + b"\0", proof + proof[-32:]):
            with pytest.raises(VerificationError, match="bytes"):
                verify_bits(b"statement", secret.public_key, ciphertexts, wrong)

    def test_a_challenge_share_that_leaves_none(self):
        """c_0 = c, which leaves zero for the other branch, is refused and not divided by."""
        challenge = HONEST[BODY_BYTES : BODY_BYTES + 32]
        with pytest.raises(VerificationError):
            verify(HONEST[: BODY_BYTES + 32] + challenge + HONEST[BODY_BYTES + 64 :])

    @settings(max_examples=30, deadline=None)
    @given(st.one_of(st.binary(max_size=200), st.integers(1, len(HONEST)).map(lambda n: HONEST[:-n])))
    def test_other_lengths(self, message):
        """Truncated messages and arbitrary bytes are refused before any arithmetic."""
        for wrong in (message, HONEST + message):
            if wrong != HONEST:
                with pytest.raises(RemoteProtocolError, match=rf"head: expected {len(HONEST)} bytes"):
                    verify(wrong)

    def test_layouts(self):
        """A message for other heads, dimensions or bits is refused, also if it has the right length."""
        for change in (layout(2, heads=1), layout(1, heads=1), layout(1, 12, heads=2)):
            with pytest.raises(RemoteProtocolError):
                verify_head(HONEST, change, binding=BINDING)
        assert layout(2, heads=1).message_bytes == LAYOUT.message_bytes
        three_by_eight = encrypt_head([[0, 0, 0]], weight_bits=8, binding=BINDING)[1]
        with pytest.raises(RemoteProtocolError, match="layout"):
            verify_head(three_by_eight, layout(2, 12), binding=BINDING)

    def test_a_relabelled_layout(self):
        """Two heads of one weight cannot be passed off as one head of two: the header is proved as well."""
        other = layout(2, heads=1)
        with pytest.raises(VerificationError):
            verify_head(other.header + HONEST[5:], other, binding=BINDING)

    @pytest.mark.parametrize("encoding", [bytes(33), b"\x02" + bytes(32), b"\x02" + b"\xff" * 32])
    @pytest.mark.parametrize("start", [5, 38, 71])
    def test_malformed_points(self, encoding, start):
        """The identity has no encoding, and non-points are refused as key, A and B."""
        with pytest.raises(RemoteProtocolError):
            verify(HONEST[:start] + encoding + HONEST[start + 33 :])

    def test_nonces_that_cancel(self):
        """Valid proofs over nonces chosen so that a weight's points cancel are refused, not a crash."""
        nonces = [[3] * 8, [1] * 7 + [-127 * pow(128, -1, N)]]
        with pytest.raises(RemoteProtocolError, match="cancel"):
            verify(forge([[0] * 8, [0] * 8], nonces=nonces))

    def test_an_identity_in_the_verification(self):
        """B = G, for which B - G is the identity, is refused like any false proof, not a crash."""
        with pytest.raises(VerificationError):
            verify(HONEST[:71] + GENERATOR.to_bytes() + HONEST[104:])

    @settings(max_examples=40, deadline=None)
    @given(st.binary(min_size=600, max_size=600), st.booleans())
    def test_arbitrary_bytes(self, data, with_header):
        """Whatever the bytes, the answer is one of our errors."""
        small = layout(1)
        message = (data * 3)[: small.message_bytes]
        if with_header:
            message = small.header + message[5:]
        with pytest.raises(NorenError):
            verify_head(message, small, binding=BINDING)


class TestDecryption:
    @pytest.mark.parametrize(
        "ciphertext",
        [b"", bytes(66), GENERATOR.to_bytes(), GENERATOR.to_bytes() + bytes(33), GENERATOR.to_bytes() * 3],
    )
    def test_malformed_ciphertexts(self, ciphertext):
        """What is not two points is refused."""
        with pytest.raises(RemoteProtocolError):
            SECRET.decrypt([ciphertext], bound=10)

    def test_out_of_range(self):
        """A ciphertext of a number beyond the bound, or under another key, is refused."""
        masked = forged_head.plus(SECRET.public_key, forged_head.times(11, GENERATOR))
        ciphertext = GENERATOR.to_bytes() + masked.to_bytes()
        assert SECRET.decrypt([ciphertext], bound=11) == [11]
        with pytest.raises(VerificationError):
            SECRET.decrypt([ciphertext], bound=10)
        with pytest.raises(VerificationError):
            HeadSecret.generate().decrypt([ciphertext], bound=1000)

    def test_zero(self):
        """A score of zero, where V - xU is the identity, is zero."""
        assert SECRET.decrypt([GENERATOR.to_bytes() + SECRET.public_key.to_bytes()], bound=5) == [0]

"""RFC 9497: published vectors, agreement with an independent implementation, refusal of false answers."""

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voprf import ristretto as other

from noren_core.crypto import oprf, sodium
from noren_core.crypto.oprf import Mode, OprfPrivateKey
from noren_core.errors import DataError, NorenError, RemoteProtocolError, VerificationError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "oprf_rfc9497.json").read_text())
CASES = [
    pytest.param(Mode[mode["mode"]], mode, vector, id=f"{mode['mode']}-{number}")
    for mode in VECTORS["modes"]
    for number, vector in enumerate(mode["vectors"], start=1)
]
ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY = bytes(32)


def unhex(texts: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


@pytest.fixture
def fix_scalars(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[bytes]], None]:
    """Let the vectors choose what production draws: the one place where randomness can be replaced."""

    def fix(scalars: list[bytes]) -> None:
        remaining = iter(scalars)
        monkeypatch.setattr(sodium, "random_scalar", lambda: next(remaining))

    return fix


@pytest.fixture
def key() -> OprfPrivateKey:
    return oprf.derive_key_pair(bytes(range(32)), b"tests")


class TestVectors:
    @pytest.mark.parametrize("mode", VECTORS["modes"], ids=lambda mode: mode["mode"])
    def test_key_derivation(self, mode):
        """DeriveKeyPair gives the RFC's private key, and in VOPRF mode its public key."""
        derived = oprf.derive_key_pair(*unhex([mode["Seed"], mode["KeyInfo"]]), mode=Mode[mode["mode"]])
        assert derived.to_bytes().hex() == mode["skSm"]
        assert derived.public_key.hex() == mode.get("pkSm", derived.public_key.hex())

    @pytest.mark.parametrize(("mode", "keys", "vector"), CASES)
    def test_blind_evaluate_finalize(self, mode, keys, vector, fix_scalars):
        """Every intermediate value of the RFC's runs is reproduced, proofs included."""
        key = OprfPrivateKey.from_bytes(bytes.fromhex(keys["skSm"]))
        fix_scalars(unhex([*vector["Blind"], vector.get("ProofRandomScalar", "")]))
        blinding = oprf.blind(unhex(vector["Input"]), mode=mode)
        assert list(blinding.blinded_elements) == unhex(vector["BlindedElement"])
        if mode is Mode.VOPRF:
            evaluated, proof = oprf.blind_evaluate(key, blinding.blinded_elements)
            assert evaluated == unhex(vector["EvaluationElement"])
            assert proof.hex() == vector["Proof"]
            outputs = oprf.finalize(blinding, evaluated, proof, key.public_key)
        else:  # the base mode has no proof and no place in production; its two steps are the shared ones
            evaluated = oprf._multiply_all(key.to_bytes(), blinding.blinded_elements)
            assert evaluated == unhex(vector["EvaluationElement"])
            outputs = oprf._unblind_all(blinding, evaluated)
        assert outputs == unhex(vector["Output"])

    @pytest.mark.parametrize(("mode", "keys", "vector"), CASES)
    def test_evaluate(self, mode, keys, vector):
        """Evaluating a known input gives the output of the interactive run."""
        key = OprfPrivateKey.from_bytes(bytes.fromhex(keys["skSm"]))
        assert [oprf.evaluate(key, value, mode=mode) for value in unhex(vector["Input"])] == unhex(
            vector["Output"]
        )


class TestAgainstAnIndependentImplementation:
    """The `voprf` wheel (curve25519-dalek in Rust) on one side, we on the other."""

    SEED, INFO = bytes(range(32)), b"tests"

    def test_same_key_and_same_function(self, key):
        """Both derive the same key and evaluate the same function, for inputs of many lengths."""
        evaluator = other.Evaluator.from_seed(self.SEED, self.INFO)
        assert evaluator.public_key.serialize() == key.public_key
        for length in (1, 2, 31, 64, 127, 128, 129, 1000, 65535):
            value = bytes(range(256)) * 256
            assert oprf.evaluate(key, value[:length]) == evaluator.evaluate_known_input(value[:length])

    def test_their_client_accepts_our_platform(self, key):
        """Their client verifies our batched proof and gets our output."""
        inputs = [b"a", b"b", b"c"]
        clients, blinded = zip(*(other.Client.blind(value) for value in inputs), strict=True)
        evaluated, proof = oprf.blind_evaluate(key, [element.serialize() for element in blinded])
        # Their encoding of an answer is the proof, then the elements.
        answer = other.VerifiableBatchOutput.deserialize(proof + b"".join(evaluated))
        outputs = other.Client.finalize_batch(
            list(clients), answer, other.PublicKey.deserialize(key.public_key)
        )
        assert [bytes(output) for output in outputs] == [oprf.evaluate(key, value) for value in inputs]

    def test_our_client_accepts_their_platform(self, key):
        """We verify their batched proof and get their output."""
        inputs = [b"a", b"b", b"c"]
        evaluator = other.Evaluator.from_seed(self.SEED, self.INFO)
        blinding = oprf.blind(inputs)
        answer = evaluator.evaluate_batch(
            [other.BlindedInput.deserialize(element) for element in blinding.blinded_elements]
        ).serialize()
        proof, evaluated = answer[:64], [answer[i : i + 32] for i in range(64, 160, 32)]
        assert oprf.finalize(blinding, evaluated, proof, key.public_key) == [
            evaluator.evaluate_known_input(value) for value in inputs
        ]


class TestProperties:
    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.binary(max_size=80), min_size=1, max_size=5))
    def test_interactive_equals_direct(self, inputs):
        """For any inputs, repeated ones included, the company gets what the platform would compute."""
        key = oprf.generate_key_pair()
        blinding = oprf.blind(inputs)
        outputs = oprf.finalize(
            blinding, *oprf.blind_evaluate(key, blinding.blinded_elements), key.public_key
        )
        assert outputs == [oprf.evaluate(key, value) for value in inputs]
        assert len(set(outputs)) == len(set(inputs))

    def test_blinding_is_fresh(self):
        """One input blinded 100 times gives 100 different elements."""
        assert len(set(oprf.blind([b"same"] * 100).blinded_elements)) == 100

    def test_modes_are_separated(self):
        """The same seed and input give unrelated keys and outputs in the two modes."""
        keys = [oprf.derive_key_pair(bytes(32), b"", mode=mode) for mode in Mode]
        assert keys[0].to_bytes() != keys[1].to_bytes()
        assert oprf.evaluate(keys[0], b"x", mode=Mode.OPRF) != oprf.evaluate(keys[0], b"x")

    def test_key_survives_the_key_store(self, key):
        """A key read back from its bytes is the same key."""
        assert OprfPrivateKey.from_bytes(key.to_bytes()).public_key == key.public_key

    def test_secrets_are_not_shown_or_pickled(self, key):
        """Neither a key nor a blinding shows its content or can be pickled."""
        for secret in (key, oprf.blind([b"alice@example.org"])):
            assert "redacted" in repr(secret)
            assert "alice" not in repr(secret)
            with pytest.raises(TypeError):
                pickle.dumps(secret)


class TestFalseAnswers:
    """What a dishonest platform could send back, each refused before an output exists."""

    INPUTS = (b"a", b"b", b"c")

    @pytest.fixture
    def run(self, key):
        blinding = oprf.blind(self.INPUTS)
        return blinding, *oprf.blind_evaluate(key, blinding.blinded_elements)

    def test_swapped(self, key, run):
        """Answers in another order are refused."""
        blinding, evaluated, proof = run
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, [evaluated[1], evaluated[0], evaluated[2]], proof, key.public_key)

    def test_multiplied(self, key, run):
        """An answer multiplied by two, as under another key, is refused."""
        blinding, evaluated, proof = run
        doubled = sodium.add(evaluated[2], evaluated[2])
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, [*evaluated[:2], doubled], proof, key.public_key)

    def test_one_applicant_under_another_key(self, key, run):
        """A proof over answers of which one was computed under a second key is refused."""
        blinding, evaluated, _ = run
        tagged, _ = oprf.blind_evaluate(oprf.generate_key_pair(), blinding.blinded_elements[2:])
        mixed = [*evaluated[:2], *tagged]
        proof = oprf.generate_proof(key.to_bytes(), key.public_key, blinding.blinded_elements, mixed)
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, mixed, proof, key.public_key)

    def test_whole_batch_under_another_key(self, key, run):
        """An honest run under a key that is not the published one is refused."""
        blinding = run[0]
        impostor = oprf.generate_key_pair()
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, *oprf.blind_evaluate(impostor, blinding.blinded_elements), key.public_key)

    @pytest.mark.parametrize("bit", range(0, 512, 37))
    def test_flipped_bit_in_the_proof(self, key, run, bit):
        """A proof with one bit flipped, anywhere, is refused."""
        blinding, evaluated, proof = run
        flipped = bytearray(proof)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, evaluated, bytes(flipped), key.public_key)

    @pytest.mark.parametrize("bit", range(0, 256, 29))
    def test_flipped_bit_in_an_element(self, key, run, bit):
        """An element with one bit flipped is refused, whether it is still a point or not."""
        blinding, evaluated, proof = run
        flipped = bytearray(evaluated[0])
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NorenError):
            oprf.finalize(blinding, [bytes(flipped), *evaluated[1:]], proof, key.public_key)

    def test_non_canonical_proof_scalar(self, key, run):
        """s + order is the same number in a second encoding, and is refused (no malleable proofs)."""
        blinding, evaluated, proof = run
        second = (int.from_bytes(proof[32:], "little") + ORDER).to_bytes(32, "little")
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, evaluated, proof[:32] + second, key.public_key)

    def test_zeros_are_no_proof(self, key, run):
        """A proof of zeros, for which every product is the identity, is refused."""
        with pytest.raises(VerificationError):
            oprf.finalize(run[0], run[1], bytes(64), key.public_key)

    @pytest.mark.parametrize("length", [0, 32, 63, 65, 96])
    def test_a_proof_of_another_length(self, key, run, length):
        """A cut or extended proof is a protocol violation, noticed before any arithmetic."""
        blinding, evaluated, proof = run
        with pytest.raises(RemoteProtocolError, match="64 bytes"):
            oprf.finalize(blinding, evaluated, (proof + proof)[:length], key.public_key)

    @pytest.mark.parametrize("element", [IDENTITY, b"", bytes(31), bytes(33), b"\xff" * 32])
    def test_malformed_element_or_key(self, key, run, element):
        """The identity, another length or a non-point is refused as answer and as public key."""
        blinding, evaluated, proof = run
        with pytest.raises(RemoteProtocolError):
            oprf.finalize(blinding, [element, *evaluated[1:]], proof, key.public_key)
        with pytest.raises(RemoteProtocolError):
            oprf.finalize(blinding, evaluated, proof, element)

    def test_another_number_of_elements(self, key, run):
        """Fewer or more answers than questions are refused."""
        blinding, evaluated, proof = run
        for answer in (evaluated[:2], [*evaluated, evaluated[0]], []):
            with pytest.raises(RemoteProtocolError):
                oprf.finalize(blinding, answer, proof, key.public_key)


class TestFalseQuestions:
    """What a dishonest company could send, each refused before anything is evaluated."""

    @pytest.mark.parametrize("element", [IDENTITY, b"", bytes(31), b"\xff" * 32])
    def test_malformed_element(self, key, element):
        """The identity, another length or a non-point among good elements refuses the batch."""
        with pytest.raises(RemoteProtocolError):
            oprf.blind_evaluate(key, [*oprf.blind([b"a"]).blinded_elements, element])

    def test_repeated_element(self, key):
        """A repeated element refuses the batch."""
        element = oprf.blind([b"a"]).blinded_elements[0]
        with pytest.raises(RemoteProtocolError):
            oprf.blind_evaluate(key, [element, element])

    @pytest.mark.parametrize("count", [0, 65536])
    def test_batch_size(self, key, count):
        """An empty batch and one beyond 65535 are refused, before any element is looked at."""
        with pytest.raises(RemoteProtocolError, match="65535"):
            oprf.blind_evaluate(key, [b"not even a point"] * count)
        with pytest.raises(DataError):
            oprf.blind([b""] * count)

    def test_input_length(self, key):
        """An input of 65536 bytes has no length prefix and is refused."""
        with pytest.raises(DataError):
            oprf.blind([bytes(65536)])


@pytest.mark.parametrize("raw", [bytes(32), bytes(31), b"\xff" * 32, ORDER.to_bytes(32, "little")])
def test_key_encodings(raw):
    """Zero, numbers beyond the group order and other lengths are not keys."""
    with pytest.raises(DataError):
        OprfPrivateKey.from_bytes(raw)

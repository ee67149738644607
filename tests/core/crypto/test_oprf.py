"""RFC 9497: published vectors, agreement with an independent implementation, refusal of false answers."""

import json
import pickle
from collections.abc import Iterable
from pathlib import Path

import pytest
from explicit_blind import blind_evaluate_with, blind_with
from hypothesis import given, settings
from hypothesis import strategies as st
from voprf import ristretto as other

from noren_core.crypto import dleq, oprf, sodium
from noren_core.crypto.oprf import Blinding, Mode, OprfPrivateKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, NorenError, RemoteProtocolError, VerificationError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "oprf_rfc9497.json").read_text())
CASES = [
    pytest.param(Mode[mode["mode"]], mode, vector, id=f"{mode['mode']}-{number}")
    for mode in VECTORS["modes"]
    for number, vector in enumerate(mode["vectors"], start=1)
]
ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD = 2**255 - 19
IDENTITY = bytes(32)
GENERATOR = sodium.multiply_base((1).to_bytes(32, "little"))
NOT_ELEMENTS = {
    "identity": IDENTITY,
    "empty": b"",
    "short": GENERATOR[:31],
    "long": GENERATOR + b"\0",
    "identity, not reduced": FIELD.to_bytes(32, "little"),
    "beyond the field": b"\xff" * 31 + b"\x7f",
    "top bit": GENERATOR[:31] + bytes([GENERATOR[31] | 0x80]),
    "negative": (FIELD - int.from_bytes(GENERATOR, "little")).to_bytes(32, "little"),
    "negative one": b"\x01" + bytes(31),
    "not a square": bytes.fromhex("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"),
}
not_elements = pytest.mark.parametrize("element", NOT_ELEMENTS.values(), ids=NOT_ELEMENTS)
batches = st.lists(st.binary(max_size=80), min_size=1, max_size=5)
both_modes = pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.name)


def unhex(texts: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def public(key: OprfPrivateKey, mode: Mode) -> bytes | None:
    """The public key as `finalize` takes it in this mode."""
    return key.public_key if mode is Mode.VOPRF else None


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
    def test_blind_evaluate_finalize(self, mode, keys, vector):
        """Every intermediate value of the RFC's runs is reproduced, proofs included."""
        key = OprfPrivateKey.from_bytes(bytes.fromhex(keys["skSm"]))
        blinding = blind_with(unhex(vector["Input"]), unhex(vector["Blind"]), mode=mode)
        assert list(blinding.blinded_elements) == unhex(vector["BlindedElement"])
        if mode is Mode.VOPRF:
            scalar = bytes.fromhex(vector["ProofRandomScalar"])
            evaluated, proof = blind_evaluate_with(key, blinding.blinded_elements, scalar)
            assert proof.hex() == vector["Proof"]
        else:
            evaluated, proof = oprf.blind_evaluate(key, blinding.blinded_elements, mode=mode)
            assert proof is None
        assert evaluated == unhex(vector["EvaluationElement"])
        outputs = oprf.finalize(blinding, evaluated, proof, public(key, mode), mode=mode)
        assert outputs == unhex(vector["Output"])

    @pytest.mark.parametrize(("mode", "keys", "vector"), CASES)
    def test_evaluate(self, mode, keys, vector):
        """Evaluating a known input gives the output of the interactive run."""
        key = OprfPrivateKey.from_bytes(bytes.fromhex(keys["skSm"]))
        inputs, outputs = unhex(vector["Input"]), unhex(vector["Output"])
        assert [oprf.evaluate(key, value, mode=mode) for value in inputs] == outputs
        assert {len(output) for output in outputs} == {oprf.OUTPUT_BYTES}
        assert oprf.evaluate_all(key, inputs, mode=mode) == outputs


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

    @settings(max_examples=10, deadline=None)
    @given(seed=st.binary(min_size=32, max_size=32), info=st.binary(max_size=40), value=st.binary(min_size=1))
    def test_any_seed_and_input(self, seed, info, value):
        """Key derivation and evaluation agree for any seed, info and input."""
        evaluator, key = other.Evaluator.from_seed(seed, info), oprf.derive_key_pair(seed, info)
        assert evaluator.public_key.serialize() == key.public_key
        assert oprf.evaluate(key, value) == evaluator.evaluate_known_input(value)

    @settings(max_examples=10, deadline=None)
    @given(inputs=st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=6))
    def test_their_client_accepts_our_platform(self, inputs):
        """Their client verifies our batched proof and gets our outputs."""
        key = oprf.derive_key_pair(self.SEED, self.INFO)
        clients, blinded = zip(*(other.Client.blind(value) for value in inputs), strict=True)
        evaluated, proof = oprf.blind_evaluate(key, [element.serialize() for element in blinded])
        # Their encoding of an answer is the proof, then the elements.
        answer = other.VerifiableBatchOutput.deserialize(proof + b"".join(evaluated))
        outputs = other.Client.finalize_batch(
            list(clients), answer, other.PublicKey.deserialize(key.public_key)
        )
        assert [bytes(output) for output in outputs] == oprf.evaluate_all(key, inputs)

    @settings(max_examples=10, deadline=None)
    @given(inputs=st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=6))
    def test_our_client_accepts_their_platform(self, inputs):
        """We verify their batched proof and get their outputs."""
        evaluator = other.Evaluator.from_seed(self.SEED, self.INFO)
        blinding = oprf.blind(inputs)
        answer = evaluator.evaluate_batch(
            [other.BlindedInput.deserialize(element) for element in blinding.blinded_elements]
        ).serialize()
        proof, evaluated = answer[:64], [answer[i : i + 32] for i in range(64, len(answer), 32)]
        assert oprf.finalize(blinding, evaluated, proof, evaluator.public_key.serialize()) == [
            evaluator.evaluate_known_input(value) for value in inputs
        ]


class TestProperties:
    @both_modes
    @settings(max_examples=20, deadline=None)
    @given(inputs=batches)
    def test_interactive_equals_direct(self, mode, inputs):
        """For any inputs, repeated ones included, the company gets what the platform would compute."""
        key = oprf.generate_key_pair()
        blinding = oprf.blind(inputs, mode=mode)
        evaluated, proof = oprf.blind_evaluate(key, blinding.blinded_elements, mode=mode)
        outputs = oprf.finalize(blinding, evaluated, proof, public(key, mode), mode=mode)
        assert outputs == [oprf.evaluate(key, value, mode=mode) for value in inputs]
        assert len(set(outputs)) == len(set(inputs))

    def test_blinding_is_fresh(self):
        """One input blinded 100 times gives 100 different elements."""
        assert len(set(oprf.blind([b"same"] * 100).blinded_elements)) == 100

    def test_proofs_are_fresh(self, key):
        """The same batch answered twice gives two proofs, both valid: no randomness is used twice."""
        blinding = oprf.blind([b"a", b"b"])
        answers = [oprf.blind_evaluate(key, blinding.blinded_elements) for _ in range(2)]
        assert answers[0][1] != answers[1][1]
        assert len({tuple(oprf.finalize(blinding, *answer, key.public_key)) for answer in answers}) == 1

    def test_modes_are_separated(self):
        """The same seed and input give unrelated keys and outputs in the two modes."""
        keys = [oprf.derive_key_pair(bytes(32), b"", mode=mode) for mode in Mode]
        assert keys[0].to_bytes() != keys[1].to_bytes()
        assert oprf.evaluate(keys[0], b"x", mode=Mode.OPRF) != oprf.evaluate(keys[0], b"x")

    @both_modes
    def test_any_number_of_threads(self, key, mode):
        """One thread and two give the same elements and outputs, and proofs that hold for each other."""
        inputs = [number.to_bytes(2, "big") for number in range(200)]
        assert oprf.evaluate_all(key, inputs, mode=mode, threads=2) == (
            oprf.evaluate_all(key, inputs, mode=mode, threads=1)
        )
        for here, there in ((1, 2), (2, 1)):
            blinding = oprf.blind(inputs, mode=mode, threads=here)
            evaluated, proof = oprf.blind_evaluate(key, blinding.blinded_elements, mode=mode, threads=there)
            assert oprf.finalize(
                blinding, evaluated, proof, public(key, mode), mode=mode, threads=here
            ) == oprf.evaluate_all(key, inputs, mode=mode, threads=1)


class TestSecrets:
    def test_a_key_survives_the_key_store(self, key):
        """A key read back from its bytes is the same key."""
        assert OprfPrivateKey.from_bytes(key.to_bytes()).public_key == key.public_key

    @both_modes
    @settings(max_examples=10, deadline=None)
    @given(inputs=batches)
    def test_a_blinding_survives_its_file(self, mode, inputs):
        """A blinding read back sends the same elements and opens the answer to them."""
        key, blinding = oprf.generate_key_pair(), oprf.blind(inputs, mode=mode)
        kept = Blinding.from_bytes(blinding.to_bytes())
        assert (kept.mode, kept.inputs) == (mode, tuple(inputs))
        assert kept.blinded_elements == blinding.blinded_elements
        evaluated, proof = oprf.blind_evaluate(key, blinding.blinded_elements, mode=mode)
        assert oprf.finalize(kept, evaluated, proof, public(key, mode), mode=mode) == (
            oprf.evaluate_all(key, inputs, mode=mode)
        )

    def test_a_blinding_has_the_documented_encoding(self):
        """Version, mode, count, then blind and length-prefixed input, as docs/protocol.md §1.5 says."""
        blind = (7).to_bytes(32, "little")
        assert blind_with([b"ab", b""], [blind, blind]).to_bytes() == (
            b"\1\1\0\2" + blind + b"\0\2ab" + blind + b"\0\0"
        )

    def test_a_damaged_blinding_is_refused(self):
        """Cut anywhere, extended, of another version or mode, or with no scalar for a blind: a DataError."""
        raw = oprf.blind([b"a", b"bc"]).to_bytes()
        cut = [raw[:length] for length in range(len(raw))]
        for damaged in (
            *cut,
            raw + b"\0",
            b"\0" + raw[1:],
            b"\2" + raw[1:],
            raw[:1] + b"\2" + raw[2:],
            b"\1\1\0\0",
            raw[:4] + bytes(32) + raw[36:],
            raw[:4] + ORDER.to_bytes(32, "little") + raw[36:],
            raw[:4] + (ORDER + 1).to_bytes(32, "little") + raw[36:],
        ):
            with pytest.raises(DataError):
                Blinding.from_bytes(damaged)

    def test_a_large_blinding_survives_its_file(self):
        """Counts and lengths that need two bytes are read back."""
        blinding = oprf.blind([b"x" * 300, *[bytes([number % 256]) for number in range(256)]])
        kept = Blinding.from_bytes(blinding.to_bytes())
        assert (kept.inputs, kept.blinded_elements) == (blinding.inputs, blinding.blinded_elements)

    def test_secrets_are_not_shown_or_pickled(self, key):
        """Neither a key nor a blinding nor what they hold shows its content or can be pickled."""
        blinding = oprf.blind([b"alice@example.org"])
        for secret in (key, key.scalar, blinding, blinding.blinds[0]):
            assert "redacted" in f"{secret} {secret!r}"
            assert "alice" not in f"{secret} {secret!r}"
            with pytest.raises(TypeError):
                pickle.dumps(secret)

    def test_a_wiped_key_is_of_no_use(self, key):
        """After `wipe` the scalar is zeros, and every evaluation is refused."""
        element = oprf.blind([b"a"]).blinded_elements
        key.wipe()
        assert key.scalar.reveal() == bytes(32)
        for call in (lambda: oprf.evaluate(key, b"a"), lambda: oprf.blind_evaluate(key, element)):
            with pytest.raises(DataError):
                call()

    def test_a_wiped_blinding_is_of_no_use(self, key):
        """Finalizing leaves a blinding usable; after `wipe` its blinds are zeros and it finalizes nothing."""
        blinding = oprf.blind([b"a", b"b"])
        answer = oprf.blind_evaluate(key, blinding.blinded_elements)
        assert oprf.finalize(blinding, *answer, key.public_key) == oprf.finalize(
            blinding, *answer, key.public_key
        )
        blinding.wipe()
        assert [scalar.reveal() for scalar in blinding.blinds] == [bytes(32)] * 2
        with pytest.raises(DataError):
            oprf.finalize(blinding, *answer, key.public_key)

    @pytest.mark.parametrize("name", ["random_scalar", "multiply_scalars", "invert_scalar"])
    def test_scalars_on_the_way_are_wiped(self, key, monkeypatch, name):
        """The proof's randomness and product, and the inverse of a blind, are zeros after use."""
        made: list[SecretBytes] = []
        blinding, honest = oprf.blind([b"a"]), getattr(sodium, name)

        def recorded(*arguments: SecretBytes) -> SecretBytes:
            made.append(honest(*arguments))
            return made[-1]

        monkeypatch.setattr(sodium, name, recorded)
        oprf.finalize(blinding, *oprf.blind_evaluate(key, blinding.blinded_elements), key.public_key)
        assert [scalar.reveal() for scalar in made] == [bytes(32)]


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
        proof = dleq.generate_proof(key.scalar, key.public_key, blinding.blinded_elements, mixed)
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, mixed, proof, key.public_key)

    def test_whole_batch_under_another_key(self, key, run):
        """An honest run under a key that is not the published one is refused."""
        blinding = run[0]
        impostor = oprf.generate_key_pair()
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, *oprf.blind_evaluate(impostor, blinding.blinded_elements), key.public_key)

    @settings(max_examples=20, deadline=None)
    @given(
        inputs=batches, place=st.integers(0, 4), change=st.sampled_from(["element", "order", "key", "proof"])
    )
    def test_any_change_to_any_answer(self, inputs, place, change):
        """Whatever the batch, another element, order, key or proof is refused."""
        key, impostor = oprf.generate_key_pair(), oprf.generate_key_pair()
        blinding = oprf.blind([*inputs, b"last"])
        evaluated, proof = oprf.blind_evaluate(key, blinding.blinded_elements)
        public_key, place = key.public_key, place % len(inputs)
        if change == "element":
            evaluated[place] = sodium.add(evaluated[place], GENERATOR)
        elif change == "order":
            evaluated[place], evaluated[-1] = evaluated[-1], evaluated[place]
        elif change == "key":
            public_key = impostor.public_key
        else:
            proof = oprf.blind_evaluate(key, oprf.blind([*inputs, b"last"]).blinded_elements)[1]
        with pytest.raises(VerificationError):
            oprf.finalize(blinding, evaluated, proof, public_key)

    def test_an_answer_to_another_mode(self, key, run):
        """No answer, and no blinding of the base mode, makes `finalize` skip the proof unasked."""
        blinding, evaluated, proof = run
        base = oprf.blind(self.INPUTS, mode=Mode.OPRF)
        for call in (
            lambda: oprf.finalize(blinding, evaluated, None, None),
            lambda: oprf.finalize(blinding, evaluated, None, key.public_key),
            lambda: oprf.finalize(blinding, evaluated, proof, None),
            lambda: oprf.finalize(blinding, evaluated, None, None, mode=Mode.OPRF),
            lambda: oprf.finalize(base, evaluated, None, None),
            lambda: oprf.finalize(base, evaluated, proof, key.public_key),
            lambda: oprf.finalize(base, evaluated, proof, key.public_key, mode=Mode.OPRF),
            lambda: oprf.finalize(base, evaluated, None, key.public_key, mode=Mode.OPRF),
            lambda: oprf.finalize(base, evaluated, proof, None, mode=Mode.OPRF),
        ):
            with pytest.raises(DataError, match="mode"):
                call()

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

    @not_elements
    def test_malformed_element_or_key(self, key, run, element):
        """Bytes that encode no element other than the identity are refused as answer and as public key."""
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

    @both_modes
    @not_elements
    def test_malformed_element(self, key, mode, element):
        """Bytes that encode no element other than the identity, among good elements, refuse the batch."""
        with pytest.raises(RemoteProtocolError):
            oprf.blind_evaluate(key, [*oprf.blind([b"a"]).blinded_elements, element], mode=mode)

    def test_repeated_element(self, key):
        """A repeated element refuses the batch."""
        element = oprf.blind([b"a"]).blinded_elements[0]
        with pytest.raises(RemoteProtocolError):
            oprf.blind_evaluate(key, [element, element])

    @pytest.mark.parametrize("count", [0, 65536])
    @both_modes
    def test_batch_size(self, key, mode, count):
        """An empty batch and one beyond 65535 are refused, before any element is looked at."""
        with pytest.raises(RemoteProtocolError, match="65535"):
            oprf.blind_evaluate(key, [b"not even a point"] * count, mode=mode)
        with pytest.raises(DataError, match="65535"):
            oprf.blind([b""] * count, mode=mode)

    def test_the_largest_batch(self, key):
        """65535 is not too many for either party: then each element and each input is looked at."""
        with pytest.raises(RemoteProtocolError, match="malformed"):
            oprf.blind_evaluate(key, [b"not even a point"] * 65535)
        with pytest.raises(DataError, match="OPRF input"):
            oprf.blind([bytes(65536)] * 65535)

    def test_input_length(self, key):
        """An input of 65536 bytes has no length prefix and is refused, by both parties."""
        for call in (
            lambda: oprf.blind([bytes(65536)]),
            lambda: oprf.evaluate(oprf.generate_key_pair(), bytes(65536)),
        ):
            with pytest.raises(DataError):
                call()


@pytest.mark.parametrize(("seed", "info"), [(31, 0), (33, 0), (0, 0), (32, 65536)])
def test_seeds_of_other_lengths(seed, info):
    """A key is derived from 32 bytes and at most 65535 more, nothing else."""
    with pytest.raises(DataError, match="seed"):
        oprf.derive_key_pair(bytes(seed), bytes(info))
    assert oprf.derive_key_pair(bytes(32), bytes(65535)).to_bytes() != bytes(32)


@pytest.mark.parametrize("zeros", [1, 255, 256])
def test_a_seed_that_gives_zero(monkeypatch, zeros):
    """A counter is tried for as long as the scalar is zero, 256 times; then the seed is refused."""
    tried = []

    def hash_to_scalar(message: bytes, tag: bytes) -> bytes:
        tried.append(message[-1])
        return bytes(32) if len(tried) <= zeros else (1).to_bytes(32, "little")

    monkeypatch.setattr(oprf, "hash_to_scalar_with_tag", hash_to_scalar)
    if zeros < 256:
        assert oprf.derive_key_pair(bytes(32), b"").public_key == GENERATOR
    else:
        with pytest.raises(DataError, match="seed"):
            oprf.derive_key_pair(bytes(32), b"")
    assert tried == list(range(min(zeros + 1, 256)))


@pytest.mark.parametrize("raw", [bytes(32), bytes(31), b"\xff" * 32, ORDER.to_bytes(32, "little")])
def test_key_encodings(raw):
    """Zero, numbers beyond the group order and other lengths are not keys."""
    with pytest.raises(DataError, match="OPRF key"):
        OprfPrivateKey.from_bytes(raw)

"""The RFC's operations with scalars that production draws at random, as the RFC's test vectors need them.

RFC 9497, appendix A.1, mode VOPRF, in full:

    blinding = blind_with(inputs, blinds)                                        # Input, Blind
    evaluated, proof = blind_evaluate_with(key, blinding.blinded_elements, r)    # ProofRandomScalar
    outputs = oprf.finalize(blinding, evaluated, proof, key.public_key)          # Output

In mode OPRF nothing but the blinds is drawn: `blind_with(inputs, blinds, mode=Mode.OPRF)`, then
`oprf.blind_evaluate` and `oprf.finalize` with that mode. What runs is the production code; only the source of
its scalars is replaced while a call lasts. Not for two threads at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from noren_core.crypto import oprf, sodium
from noren_core.crypto.oprf import Blinding, Mode, OprfPrivateKey
from noren_core.crypto.secret import SecretBytes


def blind_with(inputs: Sequence[bytes], blinds: Sequence[bytes], *, mode: Mode = Mode.VOPRF) -> Blinding:
    """`oprf.blind` under the given blinds, 32 bytes each, one per input."""
    with _drawing(blinds):
        return oprf.blind(inputs, mode=mode)


def blind_evaluate_with(
    key: OprfPrivateKey, blinded_elements: Sequence[bytes], proof_scalar: bytes
) -> tuple[list[bytes], bytes]:
    """`oprf.blind_evaluate` in mode VOPRF with the given 32-byte randomness of the proof."""
    with _drawing([proof_scalar]):
        return oprf.blind_evaluate(key, blinded_elements)


@contextmanager
def _drawing(scalars: Sequence[bytes]) -> Iterator[None]:
    """Draw these scalars, each once; AssertionError if that many were not drawn, StopIteration for more."""
    drawn = [SecretBytes(scalar) for scalar in scalars]
    with mock.patch.object(sodium, "random_scalar", side_effect=drawn) as random_scalar:
        yield
    assert random_scalar.call_count == len(drawn), "expected exactly the given scalars to be drawn"

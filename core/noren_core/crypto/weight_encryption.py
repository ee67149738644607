"""A company's encrypted weights: one ElGamal ciphertext for every position of its sealed table.

docs/protocol.md, "Sealed statistics". The company puts a small weight on its own applicants' positions and 0
on everybody else's; the platform computes weighted sums of features without learning who has which
(`sealed_sums`). Promises: the platform learns the layout and nothing else about the weights, not even how
many are not 0; the company cannot get another value accepted, nor more than M other than 0; a message is
accepted for one binding only. Made and verified part by part (`weight_layout`), in memory for one chunk.

Everything that is drawn for a message comes from the secret's seed together with binding, layout and weights,
so the same secret and weights give the identical message, which need not be kept to be sent again, and other
weights under the same secret share no nonce with it.

Left to the caller: that `binding` names protocol, plan, company and the table's root; one message per company
and campaign.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from noren_core.crypto import secp256k1
from noren_core.crypto.cores import map_blocks
from noren_core.crypto.multi_scalar import Bytes, PointVector, base_products, multiply_add
from noren_core.crypto.secp256k1 import POINT_BYTES, SCALAR_BYTES, Point
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.crypto.weight_layout import WeightLayout
from noren_core.crypto.weight_proof import Prover, SecretStream, Verifier
from noren_core.errors import DataError, LocalProtocolError, RemoteProtocolError

SEED_BYTES = 32

_NONCE_LABEL = b"noren/v1/weight-nonces\0"
_COMMITMENT_LABEL = b"noren/v1/weights-commitment\0"


class WeightSecret(Secret):
    """The company's key x for one message, and the seed of everything else that is drawn for it."""

    def __init__(self, scalar: SecretBytes, seed: SecretBytes) -> None:
        if not secp256k1.is_scalar(scalar) or len(seed) != SEED_BYTES:
            raise DataError(f"weight secret: expected a scalar and {SEED_BYTES} bytes, got others")
        self.scalar = scalar
        self.seed = seed
        self._public_key = secp256k1.multiply_base_secret(scalar)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key and seed from the operating system's generator."""
        return cls(secp256k1.random_scalar(), SecretBytes(secrets.token_bytes(SEED_BYTES)))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The secret with this encoding; DataError for any other bytes."""
        return cls(SecretBytes(raw[:SCALAR_BYTES]), SecretBytes(raw[SCALAR_BYTES:]))

    def to_bytes(self) -> bytes:
        """The 64 private bytes, for the key store only."""
        return self.scalar.reveal() + self.seed.reveal()

    @property
    def public_key(self) -> Point:
        """X = x·G."""
        return self._public_key


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedChunk:
    """The ciphertexts of some positions, whose proof is not complete yet.

    Attributes:
        positions: which.
        first: their A.
        second: their B.
    """

    positions: range
    first: PointVector
    second: PointVector


def encrypt_weights(
    weights: NDArray[np.int8], secret: WeightSecret, layout: WeightLayout, *, binding: bytes
) -> Iterator[bytes]:
    """The parts of the message, in order; the work is done as they are taken.

    1. Check shape, values and how many are not 0.
    2. Encrypt every chunk and commit to it.
    3. Commit to what the proof needs over all chunks.
    4. Respond for every chunk, and conclude.

    Args:
        weights: (n,), each -a, 0 or b, at most M of them other than 0.
        secret: used for this one vector of weights.
        layout: n, M, a and b.
        binding: protocol, plan, company and table; the platform must pass the same bytes to `WeightReader`.

    Raises:
        DataError: if step 1 fails.
    """
    # 1
    if weights.shape != (layout.positions,) or weights.dtype != np.int8:
        raise DataError(f"weights: expected {layout.positions} int8 values, got another array")
    if not np.isin(weights, layout.values).all():
        raise DataError("weights: expected the three values of the layout, got another")
    if np.count_nonzero(weights) > layout.nonzero:
        raise DataError("weights: expected at most the declared number other than 0, got more")
    return _parts(weights, secret, layout, binding)


def _parts(
    weights: NDArray[np.int8], secret: WeightSecret, layout: WeightLayout, binding: bytes
) -> Iterator[bytes]:
    streams = _Streams(weights, secret, layout, binding)
    key = secret.public_key
    kinds = (np.sign(weights) + 1).astype(np.uint8)
    prover = Prover(layout, key, binding=binding, closing=streams.open("closing", 0))
    yield layout.header + key.to_bytes()
    # 2
    for index, chunk in enumerate(layout.chunks):
        own = kinds[chunk.start : chunk.stop]
        nonces = streams.open("nonces", index).scalars(len(own))
        part = _encrypt(own, nonces, secret.scalar, layout) + prover.commit(own, streams.open("masks", index))
        prover.weigh(part, own, streams.open("masks", index), nonces)
        yield part
    # 3
    yield prover.close()
    # 4
    for index, chunk in enumerate(layout.chunks):
        yield prover.respond(kinds[chunk.start : chunk.stop], streams.open("masks", index))
    yield prover.conclude()


class _Streams(Secret):
    """The secret scalars of one message: a keystream for each purpose and chunk."""

    def __init__(
        self, weights: NDArray[np.int8], secret: WeightSecret, layout: WeightLayout, binding: bytes
    ) -> None:
        statement = len(binding).to_bytes(8, "big") + binding + layout.header + secret.public_key.to_bytes()
        drawn_for = _NONCE_LABEL + statement + hashlib.sha256(weights.tobytes()).digest()
        self._key = SecretBytes(hmac.digest(secret.seed.buffer, drawn_for, "sha256"))

    def open(self, purpose: str, index: int) -> SecretStream:
        """The stream from its beginning."""
        place = purpose.encode() + b"\0" + index.to_bytes(4, "big")
        return SecretStream(hmac.digest(self._key.buffer, place, "sha256"))


def _encrypt(kinds: Bytes, nonces: Bytes, scalar: SecretBytes, layout: WeightLayout) -> bytes:
    """(r·G, (r·x + c)·G) for every position, in constant time and by the same steps for all c.

    What depends on c is which of three rows is added, 96 bytes side by side: at most two lines of the cache.
    """
    values = b"".join(secp256k1.public_scalar(value) for value in layout.values)
    addends = np.frombuffer(values, np.uint8).reshape(-1, SCALAR_BYTES)

    def encrypt(block: Sequence[int]) -> list[bytes]:
        part = slice(block[0], block[-1] + 1)
        shifted = multiply_add(nonces[part], scalar, addends, kinds[part].astype(np.intp))
        encodings = np.concatenate([base_products(nonces[part]), base_products(shifted)], axis=1)
        shifted.fill(0)
        return [encodings.tobytes()]

    blocks: list[bytes] = map_blocks(encrypt, range(len(kinds)))
    return b"".join(blocks)


def weights_commitment(parts: Iterable[bytes]) -> bytes:
    """The 32 bytes that stand for a message in the ledger; encryption is fresh, so they tell nothing."""
    digest = MessageDigest()
    for part in parts:
        digest.add(part)
    return digest.commitment


class MessageDigest:
    """The same for a message whose parts pass by one after the other."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(_COMMITMENT_LABEL)

    def add(self, part: bytes) -> None:
        """Take the next part."""
        self._digest.update(part)

    @property
    def commitment(self) -> bytes:
        """The 32 bytes for the parts so far."""
        return self._digest.digest()


class WeightReader:
    """The platform's side of a message: takes its parts in order and verifies them as they come.

    What it hands out is not proved before `is_proved`, and must not be used for an answer before.

    Attributes:
        commitment: of the message, once it is proved.
    """

    def __init__(self, layout: WeightLayout, *, binding: bytes) -> None:
        self._layout = layout
        self._binding = binding
        self._lengths = layout.part_lengths
        self._next = 0
        self._digest = MessageDigest()
        self._verifier: Verifier | None = None
        self._key: Point | None = None

    @property
    def is_proved(self) -> bool:
        """Whether the whole message came and its proof holds."""
        return self._next == len(self._lengths)

    @property
    def public_key(self) -> Point:
        """X; LocalProtocolError before the proof is complete."""
        if self._key is None or not self.is_proved:
            raise LocalProtocolError("weights: expected a complete proof, got none yet")
        return self._key

    @property
    def commitment(self) -> bytes:
        """As `weights_commitment`; LocalProtocolError before the proof is complete."""
        if not self.is_proved:
            raise LocalProtocolError("weights: expected a complete proof, got none yet")
        return self._digest.commitment

    def add(self, part: bytes) -> EncryptedChunk | None:
        """Take the next part; the ciphertexts if it has any. After an error the reader takes no more.

        Raises:
            RemoteProtocolError: if the part has another length, layout or a point that is none.
            VerificationError: if the proof does not hold.
            LocalProtocolError: after the last part, or after an error.
        """
        place = self._next
        if not 0 <= place < len(self._lengths):
            raise LocalProtocolError("weights: expected no further part, got one")
        self._next = -1  # until this part was found good
        if len(part) != self._lengths[place]:
            raise RemoteProtocolError(f"weights: expected {self._lengths[place]} bytes, got {len(part)}")
        self._digest.add(part)
        chunk = self._take(place, part)
        self._next = place + 1
        return chunk

    def _take(self, place: int, part: bytes) -> EncryptedChunk | None:
        chunks = self._layout.chunks
        if self._verifier is None:
            self._open(part)
        elif place <= len(chunks):
            first, second = self._verifier.weigh(part)
            return EncryptedChunk(chunks[place - 1], first, second)
        elif place == len(chunks) + 1:
            self._verifier.close(part)
        elif place < len(self._lengths) - 1:
            self._verifier.check_responses(place - len(chunks) - 2, part)
        else:
            self._verifier.conclude(part)
        return None

    def _open(self, part: bytes) -> None:
        if part[:-POINT_BYTES] != self._layout.header:
            raise RemoteProtocolError("weights: expected this version and the plan's layout, got another")
        try:
            self._key = Point.from_bytes(part[-POINT_BYTES:])
        except DataError as error:
            raise RemoteProtocolError("weights: expected a compressed point, got other bytes") from error
        self._verifier = Verifier(self._layout, self._key, binding=self._binding)

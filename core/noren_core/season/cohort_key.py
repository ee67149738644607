"""Cohort blinding: why the platform aggregates models and never holds one (docs/protocol.md §4.4).

The companies of a cohort share a key that the platform does not have. Each adds the same
pseudo-random vector of the round to its contribution; the platform's sum is therefore off by
(number of survivors) · (that vector), which every company, and only a company, can subtract.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from noren_core.crypto.identity import SealingKey, seal_to
from noren_core.crypto.secret import Secret
from noren_core.errors import RemoteProtocolError

KEY_BYTES = 32
SEALED_BYTES = 32 + KEY_BYTES + 16  # HPKE encapsulated key, ciphertext, tag


class CohortKey(Secret):
    """The 32-byte secret of one campaign's companies, bound to the campaign's session."""

    def __init__(self, key: bytes, *, session: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise RemoteProtocolError(f"cohort key: expected {KEY_BYTES} bytes, got {len(key)}")
        self._key = key
        self._session = session

    @classmethod
    def generate(cls, *, session: bytes) -> CohortKey:
        """A fresh key; the first company of the cohort does this once per campaign."""
        return cls(secrets.token_bytes(KEY_BYTES), session=session)

    @classmethod
    def open(
        cls, sealed: bytes, key: SealingKey, *, session: bytes, sender: str, recipient: str
    ) -> CohortKey:
        """The key that `sender` sealed to us; VerificationError if it was sealed for anything else."""
        return cls(key.open(sealed, info=_info(session, sender, recipient)), session=session)

    def seal_for(self, recipients: Mapping[str, bytes], *, sender: str) -> dict[str, bytes]:
        """The key sealed to each recipient's X25519 public key, by company."""
        return {
            company: seal_to(public_key, self._key, info=_info(self._session, sender, company))
            for company, public_key in recipients.items()
        }

    def blind(self, round_number: int, length: int) -> npt.NDArray[np.uint64]:
        """The round's blinding vector: ChaCha20 under HMAC(key, label ‖ session ‖ round), as uint64."""
        seed = self._derive(b"noren/v1/cohort-blind\0" + self._session + round_number.to_bytes(4, "big"))
        stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()  # seed used once
        return np.frombuffer(stream.update(bytes(8 * length)), dtype="<u8").astype(np.uint64)

    def remove_blinds(
        self, blinded_sum: npt.NDArray[np.int64], *, round_number: int, survivors: int
    ) -> list[int]:
        """The true sum behind a blinded one to which `survivors` companies contributed."""
        blind = self.blind(round_number, len(blinded_sum)) * np.uint64(survivors)
        return [int(v) for v in (blinded_sum.astype(np.int64).view(np.uint64) - blind).view(np.int64)]

    def commitment_key(self) -> bytes:
        """The key under which the cohort commits to heads and updates in the ledger."""
        return self._derive(b"noren/v1/cohort-commitment\0" + self._session)

    def update_commitment(self, company: str, update: bytes) -> bytes:
        """What a settle says of one company's noised contribution; testable by the cohort alone."""
        return hmac.digest(self.commitment_key(), b"update\0" + company.encode() + b"\0" + update, "sha256")

    def _derive(self, label: bytes) -> bytes:
        return hmac.digest(self._key, label, "sha256")


def key_author(cohort: Iterable[str]) -> str:
    """Who makes the cohort key: the first company by name."""
    return min(cohort)


def _info(session: bytes, sender: str, recipient: str) -> bytes:
    return b"\0".join((b"noren/v1/cohort-key", session, sender.encode(), recipient.encode()))

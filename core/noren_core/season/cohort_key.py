"""Cohort blinding: why the platform aggregates models and never holds one (docs/protocol.md §4.4).

The companies of a cohort share a key that the platform does not have: every member of secure aggregation
put a contribution of its own into it (noren_core.secagg). Each adds the same pseudo-random vector of the
round to its contribution; the platform's sum is therefore off by (number of survivors) · (that vector), which
every company, and only a company, can subtract. The sentinel coordinates are left out: their sum is noise
alone, which says nothing about anybody's data, and whoever doubts the noise must be able to see it.
"""

from __future__ import annotations

import hmac

import numpy as np
import numpy.typing as npt

from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.errors import LocalProtocolError
from noren_core.secagg.masking import expand

KEY_BYTES = 32


class CohortKey(Secret):
    """The 32-byte secret of one campaign's companies, bound to the campaign's session.

    Raises:
        LocalProtocolError: for a secret of another length.
    """

    def __init__(self, secret: SecretBytes, *, session: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise LocalProtocolError(f"cohort key: expected {KEY_BYTES} bytes, got {len(secret)}")
        self._secret = secret
        self._session = session

    def blind(self, round_number: int, length: int) -> npt.NDArray[np.uint64]:
        """The round's blinding vector: ChaCha20 under HMAC(key, label ‖ session ‖ round), as uint64."""
        label = b"noren/v1/cohort-blind\0" + self._session + round_number.to_bytes(4, "big")
        return expand(SecretBytes(self._derive(label)), length)

    def remove_blinds(
        self, blinded_sum: npt.NDArray[np.int64], *, round_number: int, survivors: int
    ) -> list[int]:
        """The true sum behind a blinded one to which `survivors` companies contributed."""
        blind = self.blind(round_number, len(blinded_sum)) * np.uint64(survivors)
        return [int(v) for v in (blinded_sum.astype(np.int64).view(np.uint64) - blind).view(np.int64)]

    def commitment_key(self) -> bytes:
        """The key under which the cohort commits to heads and updates in the ledger."""
        return self._derive(b"noren/v1/cohort-commitment\0" + self._session)

    def update_commitment(self, company: str, update: bytes | bytearray) -> bytes:
        """What a settle says of one company's noised contribution; testable by the cohort alone."""
        return hmac.digest(self.commitment_key(), b"update\0" + company.encode() + b"\0" + update, "sha256")

    def _derive(self, label: bytes) -> bytes:
        return hmac.digest(self._secret.buffer, label, "sha256")

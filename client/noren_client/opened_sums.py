"""What a company trains on in the mode of sealed statistics: the opened sums of its students' rows."""

from __future__ import annotations

from dataclasses import dataclass

from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.season.row_commitment import sums_root


@dataclass(frozen=True, slots=True, repr=False)
class OpenedSums(Secret):
    """d noisy sums under the company's weights, as exact integers.

    Zeros, if what came cannot be from an honest platform: nobody else may notice.
    """

    values: tuple[int, ...]

    def root(self, salt: SecretBytes) -> bytes:
        """What the company commits to before it trains."""
        return sums_root(self.values, salt)

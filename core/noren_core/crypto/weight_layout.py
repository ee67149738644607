"""What a plan fixes about a message of encrypted weights, and the lengths of its parts in order.

docs/protocol.md, "Sealed statistics". One weight for every position of a sealed table: -a, 0 or b, of which
at most `nonzero` are not 0. A message is a sequence of parts of known lengths, each small enough for one
message of the transport:

    opening      version(1) ‖ n(4) ‖ M(4) ‖ a(1) ‖ b(1) ‖ X                         11 + 33 bytes
    chunks       for every chunk of positions: A ‖ B of each ‖ two commitments      66·m + 66
    commitments  two commitments to the slack ‖ D_1 D_2 T_2 T_1 T_0 U_1 U_0         66 + 231
    responses    for every chunk: f of each position ‖ z                            32·m + 32
    conclusion   f of each bit of the slack ‖ z ‖ z_D ‖ z_T ‖ z_U                   32·L + 128
"""

from __future__ import annotations

from dataclasses import dataclass

from noren_core.errors import DataError

VERSION = 1
# Those of secp256k1, which is not loaded here: plans are read where there is no library for it.
POINT_BYTES = 33
SCALAR_BYTES = 32
CHUNK_POSITIONS = 16_384
"""Positions in a chunk; the last chunk has what is left. A part has at most 1.1 MB."""
MAX_POSITIONS = 2**22
MAX_NONZERO = 65_535
MAX_WEIGHT = 127
ROW_NORM = 127
"""Largest L2 norm of a row of int8 features."""
MAX_SUM = 2**27
"""Largest magnitude that a sum without noise may have; with noise it must be within what can be opened."""
CIPHERTEXT_BYTES = 2 * POINT_BYTES
COMMITMENTS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayout:
    """Size and bounds of one message.

    Attributes:
        positions: n, rows of the sealed table.
        nonzero: M, how many weights may be other than 0; the message does not tell how many are.
        negative: a; such a weight is -a.
        positive: b.

    Raises:
        DataError: unless 1 ≤ n ≤ 2^22, 1 ≤ M ≤ 65,535, 1 ≤ a, b ≤ 127 and M·max(a, b)·127 ≤ 2^27.
    """

    positions: int
    nonzero: int
    negative: int
    positive: int

    def __post_init__(self) -> None:
        if not 1 <= self.positions <= MAX_POSITIONS:
            raise DataError(f"weights: expected 1 to {MAX_POSITIONS} positions, got {self.positions}")
        if not 1 <= self.nonzero <= MAX_NONZERO:
            raise DataError(f"weights: expected 1 to {MAX_NONZERO} other than 0, got {self.nonzero}")
        for weight in (self.negative, self.positive):
            if not 1 <= weight <= MAX_WEIGHT:
                raise DataError(f"weights: expected magnitudes from 1 to {MAX_WEIGHT}, got {weight}")
        if self.sum_bound > MAX_SUM:
            raise DataError(f"weights: expected sums up to {MAX_SUM}, got a bound of {self.sum_bound}")

    @property
    def largest(self) -> int:
        """max(a, b)."""
        return max(self.negative, self.positive)

    @property
    def sum_bound(self) -> int:
        """Largest magnitude of a coordinate of the sums without noise: M·max(a, b)·127."""
        return self.nonzero * self.largest * ROW_NORM

    @property
    def label_sensitivity(self) -> int:
        """How far (L2) the sums move when one record is added or removed: max(a, b)·127."""
        return self.largest * ROW_NORM

    @property
    def row_sensitivity(self) -> int:
        """How far (L2) the sums move when one student's row is replaced by any other: 2·max(a, b)·127."""
        return 2 * self.largest * ROW_NORM

    @property
    def slack_bits(self) -> int:
        """L: bits of the difference between M and the number of weights other than 0."""
        return self.nonzero.bit_length()

    @property
    def values(self) -> tuple[int, int, int]:
        """The allowed weights."""
        return (-self.negative, 0, self.positive)

    @property
    def chunks(self) -> tuple[range, ...]:
        """The positions of every chunk."""
        starts = range(0, self.positions, CHUNK_POSITIONS)
        return tuple(range(start, min(start + CHUNK_POSITIONS, self.positions)) for start in starts)

    @property
    def header(self) -> bytes:
        """The first bytes of a message."""
        sizes = self.positions.to_bytes(4, "big") + self.nonzero.to_bytes(4, "big")
        return bytes([VERSION]) + sizes + bytes([self.negative, self.positive])

    @property
    def part_lengths(self) -> tuple[int, ...]:
        """The exact length of every part, in order."""
        sizes = [len(chunk) for chunk in self.chunks]
        return (
            len(self.header) + POINT_BYTES,
            *(size * CIPHERTEXT_BYTES + 2 * POINT_BYTES for size in sizes),
            (2 + COMMITMENTS) * POINT_BYTES,
            *((size + 1) * SCALAR_BYTES for size in sizes),
            (self.slack_bits + 4) * SCALAR_BYTES,
        )

    @property
    def message_bytes(self) -> int:
        """Length of the whole message: 98 bytes a position and some hundred."""
        return sum(self.part_lengths)

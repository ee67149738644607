"""What a round releases, as the ledger records it: the event, from which anyone computes epsilon.

The mechanism. Each example's gradient of a linear head is clipped to L2 norm C and rounded toward zero to
integers on a grid of `grid` units per 1, so one record changes the sum by a vector of L2 norm at most
C·grid. To each coordinate discrete Gaussian noise of standard deviation σ·C·grid is added, in all, even if
`tolerated` companies keep theirs back or reveal it. Neighbouring data sets differ by adding or removing
one record at one company; every record takes part in every round (sampling 1/1).

An event that says anything else is refused: what the accountant does not understand has no epsilon.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Self

from noren_core.errors import DataError

MECHANISM = "discrete_gaussian"
ADJACENCY = "add_remove"
FULL_BATCH = {"num": 1, "den": 1}

MAX_COUNT = 10_000
MAX_GRID = 2**32

_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{0,11}[1-9])?\Z", re.ASCII)


class NoisePlacement(StrEnum):
    """Who adds the noise.

    DISTRIBUTED: each company a share, so that only the sum of many is private; needs secure aggregation.
    LOCAL: each company all of it, so that its own contribution is private towards anyone.
    """

    DISTRIBUTED = "distributed"
    LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianEvent:
    """`count` adaptive releases of the mechanism above; invalid ones cannot be made.

    Attributes:
        noise_multiplier: σ, in units of the clipping norm.
        clipping_norm: C.
        grid: integer units per 1.
        count: number of releases with these parameters.
        placement: who adds the noise.
        tolerated: companies whose noise may be missing from the sum or known; 0 if placement is local.
    """

    noise_multiplier: Fraction
    clipping_norm: Fraction
    grid: int
    count: int
    placement: NoisePlacement
    tolerated: int

    def __post_init__(self) -> None:
        _require(self.noise_multiplier > 0, "noise_multiplier", "a positive decimal")
        _require(self.clipping_norm > 0, "clipping_norm", "a positive decimal")
        _require(1 <= self.grid <= MAX_GRID, "grid", f"1 to {MAX_GRID}")
        _require(1 <= self.count <= MAX_COUNT, "count", f"1 to {MAX_COUNT}")
        _require(self.tolerated >= 0, "tolerated", "0 or more")
        local = self.placement is NoisePlacement.LOCAL
        _require(not (local and self.tolerated), "tolerated", "0 when the noise is local")

    @property
    def grid_deviation(self) -> Fraction:
        """The noise's standard deviation σ·C·grid, in grid units."""
        return self.noise_multiplier * self.clipping_norm * self.grid

    def to_body(self) -> dict[str, Any]:
        """The JSON object for the ledger; the inverse of `from_body`."""
        return {
            "mechanism": MECHANISM,
            "noise_multiplier": format_decimal(self.noise_multiplier),
            "clipping_norm": format_decimal(self.clipping_norm),
            "grid": self.grid,
            "sampling": dict(FULL_BATCH),
            "count": self.count,
            "adjacency": ADJACENCY,
            "placement": self.placement.value,
            "tolerated": self.tolerated,
        }

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The event that `body` describes; DataError for anything that `to_body` does not produce."""
        if not isinstance(body, dict):
            raise DataError(f"event: expected an object, got {type(body).__name__}")
        fields = set(_FIELDS)
        if body.keys() != fields:
            raise DataError(f"event: expected exactly the fields {', '.join(sorted(fields))}, got others")
        _require(body["mechanism"] == MECHANISM, "mechanism", MECHANISM)
        _require(body["adjacency"] == ADJACENCY, "adjacency", ADJACENCY)
        _require(_is_full_batch(body["sampling"]), "sampling", "1/1")
        _require(body["placement"] in tuple(NoisePlacement), "placement", "distributed or local")
        return cls(
            noise_multiplier=parse_decimal(body["noise_multiplier"], "noise_multiplier"),
            clipping_norm=parse_decimal(body["clipping_norm"], "clipping_norm"),
            grid=_integer(body["grid"], "grid"),
            count=_integer(body["count"], "count"),
            placement=NoisePlacement(body["placement"]),
            tolerated=_integer(body["tolerated"], "tolerated"),
        )


_FIELDS = (
    "mechanism",
    "noise_multiplier",
    "clipping_norm",
    "grid",
    "sampling",
    "count",
    "adjacency",
    "placement",
    "tolerated",
)


def parse_decimal(text: Any, what: str) -> Fraction:
    """The exact value of a decimal in its only spelling: no sign, exponent or superfluous zeros."""
    if not isinstance(text, str) or not _DECIMAL.match(text):
        raise DataError(f"{what}: expected a plain decimal such as 4.25 or 1, got another spelling")
    return Fraction(text)


def format_decimal(value: Fraction) -> str:
    """The one decimal spelling of `value`; DataError if it needs a sign or more than 12 places."""
    scaled = value * 10**12
    if value < 0 or scaled.denominator != 1:
        raise DataError("decimal: expected a value from 0 with at most 12 places, got another")
    whole, places = divmod(scaled.numerator, 10**12)
    return f"{whole}.{places:012d}".rstrip("0").rstrip(".")


def _is_full_batch(value: Any) -> bool:
    # Compared by type too: True == 1 in Python, and would be another entry in the ledger.
    return value == FULL_BATCH and all(type(part) is int for part in value.values())


def _integer(value: Any, what: str) -> int:
    if type(value) is not int:
        raise DataError(f"event {what}: expected an integer, got {type(value).__name__}")
    return value


def _require(holds: bool, what: str, expected: str) -> None:
    if not holds:
        raise DataError(f"event {what}: expected {expected}, got another value")

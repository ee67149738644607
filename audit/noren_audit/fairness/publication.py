"""A fairness report that may be published: group counts with discrete Gaussian noise, and what that costs.

Adjacency: one person added or removed. She is in one group of each attribute and changes two counts there,
selected and total, by one each: L2 sensitivity √(2·attributes). Noise of variance s² gives ρ-zCDP with
ρ = sensitivity² / (2·s²), and with it (ρ + 2·√(ρ·ln(1/δ)), δ)-DP (Bun and Steinke 2016, proposition 1.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, sqrt

from noren_audit.fairness.statistics import AttributeReport
from noren_core.errors import ConfigurationError
from noren_core.privacy.discrete_gaussian import NoiseStream, sample

COUNTS_PER_ATTRIBUTE = 2
MAX_EPSILON = 8.0


@dataclass(frozen=True, slots=True)
class PublicGroup:
    """A group's noisy counts; a ratio made of them is nobody's secret."""

    attribute: str
    group: str
    selected: int
    total: int


@dataclass(frozen=True, slots=True)
class PublicReport:
    """Noisy counts, and (ε, δ) for one person over all of them."""

    groups: tuple[PublicGroup, ...]
    variance: int
    epsilon: float
    delta: float


def publish(
    reports: Sequence[AttributeReport], *, epsilon: float, delta: float, stream: NoiseStream
) -> PublicReport:
    """The counts of these attributes with the noise that (ε, δ) asks for.

    Raises:
        ConfigurationError: if ε is not in (0, 8], δ not in (0, 0.0001], or there is no attribute.
    """
    if not 0 < epsilon <= MAX_EPSILON or not 0 < delta <= 1e-4 or not reports:
        raise ConfigurationError("publication: expected attributes, epsilon up to 8 and delta up to 0.0001")
    rho = (sqrt(log(1 / delta) + epsilon) - sqrt(log(1 / delta))) ** 2  # solves ρ + 2·√(ρ·ln(1/δ)) = ε
    variance = ceil(COUNTS_PER_ATTRIBUTE * len(reports) / (2 * rho))
    cells = [(item.attribute, group) for item in reports for group in item.groups]
    noise = sample(COUNTS_PER_ATTRIBUTE * len(cells), variance=variance, stream=stream).tolist()
    groups = tuple(
        PublicGroup(
            attribute,
            group.group,
            selected=max(0, group.selected + noise[2 * place]),
            total=max(0, group.total + noise[2 * place + 1]),
        )
        for place, (attribute, group) in enumerate(cells)
    )
    return PublicReport(groups, variance, epsilon, delta)

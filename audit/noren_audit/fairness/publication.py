"""A fairness report that may be published: bands by group with discrete Gaussian noise, and what that costs.

Adjacency: one person added or removed. What is counted is how many people of a group saw each band, since
that changes by one person alone: a count above a median changes for everybody when the median moves. Whoever
wants rates above a median computes them of these.

She is in one cell of each attribute: L2 sensitivity √attributes. Noise of variance s² gives ρ-zCDP with
ρ = attributes / (2·s²), and with it (ρ + 2·√(ρ·ln(2/δ)), δ/2)-DP (Bun and Steinke 2016, proposition 1.3).

That a group exists may be one person's secret too. A group is published only if its noisy total is at least
t = 1 + √(2·bands·s²·ln(2·attributes/δ)): the noise of a total is sub-Gaussian with variance bands·s², so a
group that only she is in passes, for any attribute, with a probability of at most δ/2. Together: (ε, δ).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, sqrt

from noren_audit.fairness.people import UNKNOWN, Person
from noren_core.errors import ConfigurationError, DataError
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.rights.disclosure.mirror import MAX_EDGES

BANDS = MAX_EDGES + 1
"""As many as a plan can have; how many it has is not told by what people saw."""

MAX_EPSILON = 8.0


@dataclass(frozen=True, slots=True)
class PublicGroup:
    """How many people of a group had each band, from 1, with noise; a rate of them is nobody's secret."""

    attribute: str
    group: str
    bands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PublicReport:
    """Noisy counts, and (ε, δ) for one person over all of them; groups below `threshold` are left out."""

    groups: tuple[PublicGroup, ...]
    variance: int
    threshold: int
    epsilon: float
    delta: float


def publish(people: Sequence[Person], *, epsilon: float, delta: float, stream: NoiseStream) -> PublicReport:
    """The bands that people saw, by group, with the noise that (ε, δ) asks for.

    Raises:
        ConfigurationError: if ε is not in (0, 8], δ not in (0, 0.0001], or there is no attribute.
        DataError: for a band that no plan has.
    """
    attributes = sorted(people[0].groups) if people else []
    if not 0 < epsilon <= MAX_EPSILON or not 0 < delta <= 1e-4 or not attributes:
        raise ConfigurationError("publication: expected attributes, epsilon up to 8 and delta up to 0.0001")
    counts = _counts(people)
    rho = (sqrt(log(2 / delta) + epsilon) - sqrt(log(2 / delta))) ** 2  # solves ρ + 2·√(ρ·ln(2/δ)) = ε
    variance = ceil(len(attributes) / (2 * rho))
    threshold = ceil(1 + sqrt(2 * BANDS * variance * log(2 * len(attributes) / delta)))
    cells = sorted({(attribute, group) for attribute, group, _ in counts})
    noise = sample(BANDS * len(cells), variance=variance, stream=stream).tolist()
    groups = []
    for place, (attribute, group) in enumerate(cells):
        drawn = noise[BANDS * place : BANDS * (place + 1)]
        noisy = [counts[attribute, group, band] + drawn[band - 1] for band in range(1, BANDS + 1)]
        if sum(noisy) >= threshold:
            groups.append(PublicGroup(attribute, group, tuple(max(0, count) for count in noisy)))
    return PublicReport(tuple(groups), variance, threshold, epsilon, delta)


def _counts(people: Sequence[Person]) -> Counter[tuple[str, str, int]]:
    """By attribute, group and band, who saw that band and says in which group she is."""
    counts: Counter[tuple[str, str, int]] = Counter()
    for person in people:
        if person.band is None:
            continue
        if person.band > BANDS:
            raise DataError(f"people: expected bands from 1 to {BANDS}, got another")
        for attribute, group in person.groups.items():
            if group != UNKNOWN:
                counts[attribute, group, person.band] += 1
    return counts

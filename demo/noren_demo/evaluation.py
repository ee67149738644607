"""Measuring scores against the truth: within companies, by company size, and how well calibrated.

An AUC over all companies together would mostly compare companies; what a company gets is a ranking of its own
applicants. So every AUC here is computed within a company and averaged with the company's size as weight.
Companies where five of either class are not there to compare are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from noren_core.errors import DataError

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
NameArray: TypeAlias = npt.NDArray[Any]

MINIMUM_OF_EACH_CLASS = 5
SIZE_BUCKETS: Mapping[str, tuple[int, int]] = {
    "≤ 100": (0, 100),
    "101-500": (101, 500),
    "> 500": (501, 1 << 62),
}
_CALIBRATION_BINS = 10


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well scores rank declines within companies.

    Attributes:
        auc: mean over companies, weighted by the number of people; NaN if no company can be compared.
        standard_error: of `auc`, from each company's own (DeLong).
        companies: how many were compared.
        people: how many people they have.
    """

    auc: float
    standard_error: float
    companies: int
    people: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One way of scoring, measured: over all companies and by company size (training rows)."""

    overall: Ranking
    by_size: Mapping[str, Ranking]


def evaluate(
    *, labels: BoolArray, scores: FloatArray, companies: NameArray, training_rows: Mapping[str, int]
) -> Evaluation:
    """Ranking quality of `scores`, one entry per person scored.

    Args:
        labels: whether the person's outcome is the task's positive.
        scores: higher means more likely.
        companies: each person's company.
        training_rows: of each company, for the size buckets; a company that is missing has none.
    """
    _check_aligned(labels, scores, companies)
    sizes = np.array([training_rows.get(str(company), 0) for company in companies], dtype=np.int64)
    by_size = {}
    for name, (least, most) in SIZE_BUCKETS.items():
        chosen = (sizes >= least) & (sizes <= most)
        by_size[name] = ranking(labels=labels[chosen], scores=scores[chosen], companies=companies[chosen])
    return Evaluation(ranking(labels=labels, scores=scores, companies=companies), by_size)


def ranking(*, labels: BoolArray, scores: FloatArray, companies: NameArray) -> Ranking:
    """Within-company AUC with its standard error."""
    _check_aligned(labels, scores, companies)
    found = []
    for company in np.unique(companies):
        own = companies == company
        if min(labels[own].sum(), (~labels[own]).sum()) >= MINIMUM_OF_EACH_CLASS:
            found.append((int(own.sum()), *_auc(labels[own], scores[own])))
    if not found:
        return Ranking(float("nan"), float("nan"), 0, 0)
    people, auc, variance = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    weights = people / people.sum()
    return Ranking(
        auc=float(weights @ auc),
        standard_error=float(np.sqrt(weights**2 @ variance)),
        companies=len(found),
        people=int(people.sum()),
    )


def gain_standard_error(
    *, labels: BoolArray, scores: FloatArray, baseline: FloatArray, companies: NameArray
) -> tuple[float, float]:
    """The gain in within-company AUC of `scores` over `baseline`, and its standard error (paired DeLong)."""
    _check_aligned(labels, scores, companies)
    _check_aligned(labels, baseline, companies)
    gains, variances, people = [], [], []
    for company in np.unique(companies):
        own = companies == company
        if min(labels[own].sum(), (~labels[own]).sum()) < MINIMUM_OF_EACH_CLASS:
            continue
        ours, theirs = (_placements(labels[own], column[own]) for column in (scores, baseline))
        difference = tuple(a - b for a, b in zip(ours, theirs, strict=True))
        gains.append(float(difference[0].mean()))
        variances.append(sum(float(part.var(ddof=1)) / len(part) for part in difference))
        people.append(float(own.sum()))
    if not gains:
        return float("nan"), float("nan")
    weights = np.array(people) / sum(people)
    return float(weights @ gains), float(np.sqrt(weights**2 @ np.array(variances)))


def calibration_gap(*, labels: BoolArray, probabilities: FloatArray) -> float:
    """Mean distance between foreseen and observed share, over ten bins of equally many people."""
    if len(labels) != len(probabilities):
        raise DataError(f"evaluation: expected as many probabilities as labels, got {len(probabilities)}")
    if not len(labels):
        return float("nan")
    order = np.argsort(probabilities, kind="stable")
    bins = [part for part in np.array_split(order, _CALIBRATION_BINS) if len(part)]
    gaps = [abs(float(labels[part].mean() - probabilities[part].mean())) * len(part) for part in bins]
    return sum(gaps) / len(labels)


def favourable_ratio(*, scores: FloatArray, group: BoolArray, share: float = 0.2) -> float:
    """Four-fifths rule for the top `share` by score: the smaller of both groups' rates over the larger."""
    if not group.any() or group.all():
        return float("nan")
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[: round(share * len(scores))]] = True
    rates = sorted((float(chosen[group].mean()), float(chosen[~group].mean())))
    return rates[0] / rates[1] if rates[1] else float("nan")


def _auc(labels: BoolArray, scores: FloatArray) -> tuple[float, float]:
    """AUC with ties counted half, and its variance by DeLong's method."""
    of_positives, of_negatives = _placements(labels, scores)
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (of_positives, of_negatives))
    return float(of_positives.mean()), variance


def _placements(labels: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """For each positive, the share of negatives below it; for each negative, of positives above it."""
    positive, negative = scores[labels], scores[~labels]
    return _share_below(positive, negative), 1 - _share_below(negative, positive)


def _share_below(values: FloatArray, others: FloatArray) -> FloatArray:
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    return np.asarray((below + up_to) / 2 / len(others), dtype=np.float64)


def _check_aligned(labels: BoolArray, scores: FloatArray, companies: Sequence[str] | NameArray) -> None:
    if not len(labels) == len(scores) == len(companies):
        raise DataError("evaluation: expected as many labels and companies as scores, got other numbers")
    if not np.isfinite(scores).all():
        raise DataError("evaluation: expected finite scores, got another")

"""Measuring scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from noren_core.errors import DataError
from noren_demo.evaluation import (
    calibration_gap,
    evaluate,
    favourable_ratio,
    gain_standard_error,
    ranking,
)


def people(seed: int = 1, count: int = 900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    companies = rng.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1])
    labels = rng.random(count) < 0.3
    scores = np.round(rng.normal(size=count) + labels + 5.0 * (companies == "a"), 1)
    return labels, scores, companies


def test_auc_is_within_companies_weighted_by_size() -> None:
    """Companies' own AUCs (scikit-learn's, with ties) are averaged by size; their levels do not count."""
    labels, scores, companies = people()
    expected = np.average(
        [roc_auc_score(labels[companies == c], scores[companies == c]) for c in "abc"],
        weights=[(companies == c).sum() for c in "abc"],
    )
    found = ranking(labels=labels, scores=scores, companies=companies)
    assert found.auc == pytest.approx(expected, abs=1e-12)
    assert (found.companies, found.people) == (3, 900)
    assert roc_auc_score(labels, scores) < found.auc - 0.02


def test_the_standard_error_is_that_of_repetition() -> None:
    """Over 200 repetitions the estimates scatter as much as the standard error says (within 20 %)."""
    found = [
        ranking(labels=y, scores=s, companies=c) for y, s, c in (people(seed, 300) for seed in range(200))
    ]
    scatter = np.std([item.auc for item in found])
    assert np.mean([item.standard_error for item in found]) == pytest.approx(scatter, rel=0.2)


def test_a_gain_has_a_smaller_error_than_two_separate_models() -> None:
    """A gain is measured on the same people, so what both models share cancels."""
    labels, scores, companies = people()
    nearly = scores + np.random.default_rng(2).normal(size=len(scores)) * 0.2
    gain, error = gain_standard_error(labels=labels, scores=scores, baseline=nearly, companies=companies)
    each = [ranking(labels=labels, scores=s, companies=companies) for s in (scores, nearly)]
    assert gain == pytest.approx(each[0].auc - each[1].auc, abs=1e-12)
    assert 0 < error < 0.5 * each[0].standard_error
    assert gain_standard_error(labels=labels, scores=scores, baseline=scores, companies=companies) == (0, 0)


def test_companies_are_bucketed_by_training_rows() -> None:
    """Each bucket holds the companies of its size; a company without training rows is small."""
    labels, scores, companies = people()
    found = evaluate(labels=labels, scores=scores, companies=companies, training_rows={"a": 501, "b": 101})
    own = {name: ranking.companies for name, ranking in found.by_size.items()}
    assert own == {"≤ 100": 1, "101-500": 1, "> 500": 1}
    assert found.by_size["> 500"].people == int((companies == "a").sum())


def test_companies_that_cannot_be_compared_are_left_out() -> None:
    """Fewer than five of either class in a company is no comparison; none at all is NaN."""
    labels = np.array([True] * 4 + [False] * 50)
    found = ranking(labels=labels, scores=np.arange(54.0), companies=np.array(["a"] * 54))
    assert np.isnan(found.auc)
    assert found.companies == 0


def test_calibration_gap() -> None:
    """Right probabilities have a small gap, shifted ones a gap of the shift."""
    rng = np.random.default_rng(3)
    probabilities = rng.random(50_000) * 0.8
    labels = rng.random(50_000) < probabilities
    assert calibration_gap(labels=labels, probabilities=probabilities) < 0.01
    assert calibration_gap(labels=labels, probabilities=probabilities + 0.2) == pytest.approx(0.2, abs=0.01)
    assert np.isnan(calibration_gap(labels=labels[:0], probabilities=probabilities[:0]))


def test_four_fifths_ratio() -> None:
    """A group chosen a third as often as the other has a ratio of one third."""
    group = np.array([True] * 50 + [False] * 50)
    scores = np.zeros(100)
    scores[:5], scores[50:65] = 2.0, 1.0
    assert favourable_ratio(scores=scores, group=group) == pytest.approx(5 / 15)
    assert favourable_ratio(scores=scores, group=group, share=0.05) == 0.0
    assert np.isnan(favourable_ratio(scores=scores, group=np.zeros(100, dtype=bool)))


def test_columns_that_do_not_fit_are_refused() -> None:
    """Lengths must agree and scores be finite."""
    labels, scores, companies = people()
    with pytest.raises(DataError):
        ranking(labels=labels[1:], scores=scores, companies=companies)
    with pytest.raises(DataError):
        ranking(labels=labels, scores=scores * np.nan, companies=companies)
    with pytest.raises(DataError):
        calibration_gap(labels=labels, probabilities=scores[1:])

"""What the federated result is compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from noren_core.errors import DataError
from noren_demo.evaluation import ranking
from noren_demo.reference_models import LabelledRows, oriented_index, reference_scores


def people(seed: int, count: int) -> LabelledRows:
    rng = np.random.default_rng(seed)
    coordinates = rng.normal(size=(count, 6))
    logits = coordinates[:, 0] + 0.8 * coordinates[:, 1] - 1
    return LabelledRows(
        coordinates=coordinates,
        features=np.hstack([coordinates, rng.normal(size=(count, 3))]),
        index=-coordinates[:, 0],
        companies=rng.choice(["a", "b", "c", "d"], count),
        labels=rng.random(count) < 1 / (1 + np.exp(-logits)),
    )


def auc(rows: LabelledRows, scores: np.ndarray) -> float:
    return ranking(labels=rows.labels, scores=scores, companies=rows.companies).auc


def test_models_rank_as_they_should() -> None:
    """More to learn from ranks better: index, then local, then pooled; all above chance."""
    train, score = people(1, 400), people(2, 4_000)
    found = {name: auc(score, values) for name, values in reference_scores(train, score).items()}
    assert 0.6 < found["index"] < found["local"] < found["pooled linear"]
    assert found["pooled boosting"] > found["index"] - 0.02


def test_the_pooled_head_is_penalised_logistic_regression() -> None:
    """Its scores rank exactly as scikit-learn's logistic regression with the same penalty."""
    train, score = people(1, 800), people(2, 500)
    expected = LogisticRegression(C=1 / 20, tol=1e-10).fit(train.coordinates, train.labels)
    found = reference_scores(train, score)["pooled linear"]
    assert np.corrcoef(found, expected.decision_function(score.coordinates))[0, 1] > 0.99999


def test_the_index_gets_the_benefit_of_its_better_direction() -> None:
    """Whichever way engagement points, the index is compared at its best."""
    score = people(3, 2_000)
    for index in (score.index, -score.index):
        assert auc(score, oriented_index(replace(score, index=index))) > 0.6


def test_a_company_with_one_class_has_no_local_head() -> None:
    """Where nothing can be learned alone, local scores are constant and nothing fails."""
    train, score = people(1, 400), people(2, 400)
    one_class = replace(train, labels=train.labels & (train.companies != "a"))
    local = reference_scores(one_class, score)["local"]
    assert (local[score.companies == "a"] == 0).all()
    assert (local[score.companies == "b"] != 0).all()


def test_columns_of_different_lengths_are_refused() -> None:
    """One entry per person in every column."""
    with pytest.raises(DataError):
        replace(people(1, 10), labels=np.ones(9, dtype=bool))

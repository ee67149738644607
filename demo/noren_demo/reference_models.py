"""What the federated result is compared with; none of these could be run by any one party.

All see clean coordinates or features and real outcomes of everybody they train on, without noise.

* index: the platform's label-free engagement index. A broken federation can look as good as this.
* local: one linear head per company, on its own rows alone; the best of a few penalties.
* pooled linear: one linear head on all companies' rows.
* pooled boosting: gradient boosting on all companies' rows and all features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from noren_core.errors import DataError
from noren_demo.evaluation import BoolArray, FloatArray, NameArray, ranking

POOLED_PENALTY = 20.0
LOCAL_PENALTIES = (10.0, 30.0, 100.0)
_NEWTON_STEPS = 25
_BIAS_PENALTY = 1e-2

Scores: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """People with coordinates, all features, engagement index, company and outcome.

    Attributes:
        coordinates: (n, d) clean embedding, d = 32 for the reference.
        features: (n, p) standardised features.
        index: (n,) engagement index.
        companies: (n,) company names.
        labels: (n,) whether the outcome is the task's positive.
    """

    coordinates: FloatArray
    features: FloatArray
    index: FloatArray
    companies: NameArray
    labels: BoolArray

    def __post_init__(self) -> None:
        """Refuse columns of different lengths."""
        lengths = {len(column) for column in (self.coordinates, self.features, self.index, self.companies)}
        if lengths != {len(self.labels)}:
            raise DataError("reference models: expected columns of one length, got several")


def reference_scores(train: LabelledRows, score: LabelledRows) -> Mapping[str, Scores]:
    """Scores of the people in `score` by each reference model, by name; higher means more likely positive."""
    return {
        "index": oriented_index(score),
        "local": local_scores(train, score),
        "pooled linear": pooled_linear_scores(train, score),
        "pooled boosting": pooled_boosting_scores(train, score),
    }


def oriented_index(score: LabelledRows) -> Scores:
    """The index, turned the way that ranks better: in its favour, since it is what is to be beaten."""
    found = ranking(labels=score.labels, scores=score.index, companies=score.companies)
    return score.index if not found.auc < 0.5 else -score.index


def pooled_linear_scores(train: LabelledRows, score: LabelledRows) -> Scores:
    """One logistic head on everybody's clean coordinates."""
    return _predict(_fit_logistic(train.coordinates, train.labels, POOLED_PENALTY), score.coordinates)


def local_scores(train: LabelledRows, score: LabelledRows) -> Scores:
    """Each company by itself; of several penalties, the one that ranks best on the truth (in its favour).

    A company with one class only gets constant scores.
    """
    candidates = [_local_scores(train, score, penalty) for penalty in LOCAL_PENALTIES]
    aucs = [ranking(labels=score.labels, scores=c, companies=score.companies).auc for c in candidates]
    return candidates[int(np.argmax(np.nan_to_num(aucs)))]


def pooled_boosting_scores(train: LabelledRows, score: LabelledRows) -> Scores:
    """Gradient boosting on everybody's features."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model: Any = HistGradientBoostingClassifier(
        max_iter=150,
        learning_rate=0.06,
        max_leaf_nodes=15,
        min_samples_leaf=40,
        l2_regularization=5.0,
        random_state=0,
    )
    model.fit(train.features, train.labels)
    scores: Scores = model.decision_function(score.features)
    return scores


def _local_scores(train: LabelledRows, score: LabelledRows, penalty: float) -> Scores:
    scores = np.zeros(len(score.labels))
    for company in np.unique(score.companies):
        known, asked = train.companies == company, score.companies == company
        labels = train.labels[known]
        if labels.any() and not labels.all():
            head = _fit_logistic(train.coordinates[known], labels, penalty)
            scores[asked] = _predict(head, score.coordinates[asked])
    return scores


def _fit_logistic(rows: FloatArray, labels: BoolArray, penalty: float) -> FloatArray:
    """Weights and bias of an L2-penalised logistic regression, by Newton's method."""
    x = np.hstack([rows, np.ones((len(rows), 1))])
    penalties = np.full(x.shape[1], penalty)
    penalties[-1] = _BIAS_PENALTY
    weights = np.zeros(x.shape[1])
    for _ in range(_NEWTON_STEPS):
        foreseen = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (foreseen - labels) + penalties * weights
        curvature = (x * (foreseen * (1 - foreseen) + 1e-6)[:, np.newaxis]).T @ x + np.diag(penalties)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _predict(head: FloatArray, rows: FloatArray) -> Scores:
    return np.asarray(rows @ head[:-1] + head[-1], dtype=np.float64)

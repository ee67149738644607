"""A company that reads log features from the training rows that it was given.

It knows log features of some people beside their rows (its own employees' accounts, say), fits a regression
of features on row and outcome, and applies it to everybody else's rows. What that explains of a feature's
variance (R², on people who are not in the fit, median over all features) is compared with what the outcome
alone says, which the company knows without any row.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from math import ceil

import numpy as np
import numpy.typing as npt
from attack import Attack, Result, System
from system_logs import RELEASED_DIMENSIONS, Applicants, FloatArray, generated, oulad

from noren_core.privacy import accounting
from noren_server.embeddings import TRAINING_ROW_SCALE, noised_training_rows
from noren_server.encoder import clip_norm

ALLOWED = 0.06
"""How much of the variance a released row may say beyond what the company knows."""

EPSILON, DELTA = "8", "0.000001"
_RIDGE = 1.0
_DRAWS = 5

Rows = Callable[[Applicants], FloatArray]
Data = Callable[[], tuple[Applicants, ...]]


def clean_rows(company: Applicants) -> FloatArray:
    """What a naive split gives to the company: the embedding that a model is trained on."""
    return company.clean


def few_clean_rows(company: Applicants) -> FloatArray:
    """The same, cut to as many coordinates as ours."""
    return company.few


def released_rows(company: Applicants) -> FloatArray:
    """What our platform seals for the company, under the default plan."""
    clip = round(clip_norm(RELEASED_DIMENSIONS), 2)
    deviation = accounting.gaussian_row_sigma(
        epsilon=EPSILON,
        delta=DELTA,
        sensitivity=2 * clip * TRAINING_ROW_SCALE,
        coordinates=RELEASED_DIMENSIONS,
    )
    rows: npt.NDArray[np.int16] = noised_training_rows(
        company.few, clip=clip, variance=ceil(deviation**2), random_bytes=secrets.token_bytes
    )
    return rows.astype(np.float64)


def invert(rows: Rows, data: Data) -> Result:
    """Fit on every other person, predict the rest; the other way round too."""
    companies = data()
    known = np.concatenate([company.labels for company in companies])[:, None].astype(float)
    features = np.vstack([company.features for company in companies])
    features = features[:, features.std(axis=0) > 0]
    own = median_r2(known, features)
    draws = [np.hstack([np.vstack([rows(c) for c in companies]), known]) for _ in range(_DRAWS)]
    with_rows = float(np.mean([median_r2(each, features) for each in draws]))
    return Result(
        succeeded=with_rows > own + ALLOWED,
        measured=f"median R² {with_rows:.3f} over {features.shape[1]} log features "
        f"of {len(features)} people; {own:.3f} from outcomes alone",
    )


def median_r2(regressors: FloatArray, targets: FloatArray) -> float:
    """The median share of a target's variance that a ridge regression explains in people not in its fit."""
    half = np.arange(len(targets)) % 2 == 0
    predicted = np.empty_like(targets)
    for fit in (half, ~half):
        mean, scale = regressors[fit].mean(axis=0), np.maximum(regressors[fit].std(axis=0), 1e-9)
        x = (regressors - mean) / scale
        centre = targets[fit].mean(axis=0)
        gram = x[fit].T @ x[fit] + _RIDGE * np.eye(x.shape[1])
        predicted[~fit] = x[~fit] @ np.linalg.solve(gram, x[fit].T @ (targets[fit] - centre)) + centre
    left = ((targets - predicted) ** 2).sum(axis=0)
    return float(np.median(1 - left / ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)))


def _systems(data: Data, name: str) -> tuple[System, ...]:
    return (
        System(f"clean embeddings, {name}", False, lambda: invert(clean_rows, data)),
        System(f"clean embeddings of 4 dimensions, {name}", False, lambda: invert(few_clean_rows, data)),
        System(f"Noren, {name}", True, lambda: invert(released_rows, data)),
    )


ATTACKS = (
    Attack(
        name="inversion of training rows",
        attacker="company",
        aim=f"explain more than {ALLOWED:.0%} of the variance of log features beyond its own knowledge",
        systems=(*_systems(generated, "made-up logs"), *_systems(oulad, "OULAD")),
    ),
)

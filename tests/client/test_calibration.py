import numpy as np
import pytest

from noren_client import calibration
from noren_core.errors import DataError
from noren_core.season.head import WEIGHT_SCALE
from noren_core.season.plan import CampaignPlan


@pytest.fixture
def plan(plan_body):
    return CampaignPlan.from_body(plan_body)


def test_integer_weights_keep_the_direction_and_use_the_width(plan):
    """The largest weight becomes ±127 and the others keep their proportion to within half a unit."""
    real = np.array([0.5, -0.25, 0.1, 0.0])
    released = [int(w * WEIGHT_SCALE) for w in [*real, 3.0]]
    head = calibration.integer_head(released, plan)
    assert head.weights == (127, -64, 25, 0)


def fitted(rows, labels):
    """The weights and bias of a logistic regression, by Newton's method."""
    x, w = np.column_stack([rows, np.ones(len(rows))]), np.zeros(rows.shape[1] + 1)
    for _ in range(12):
        p = 1 / (1 + np.exp(-x @ w))
        w += np.linalg.solve((x * (p * (1 - p))[:, np.newaxis]).T @ x, x.T @ (labels - p))
    return w


@pytest.mark.parametrize("slope", [0.3, 1.0, 1.4])
def test_a_score_in_units_is_the_clean_log_odds(plan, slope):
    """A head learned on noised rows, in integers: one unit of its score is what it is worth on clean rows.

    Both effects of the noise are large here: without the second correction a slope of 1.4 would come out at
    about 1.
    """
    rng = np.random.default_rng(2)
    clean = rng.standard_normal((400_000, 4))
    true = slope * np.array([-0.8, 0.5, 0.1, 0.3])
    labels = rng.random(len(clean)) < 1 / (1 + np.exp(-(clean @ true - 0.4)))
    noise = rng.standard_normal(clean.shape) * np.sqrt(plan.rows.variance) / plan.rows.scale
    weights = fitted((clean + noise) / np.hypot(1, np.sqrt(plan.rows.variance) / plan.rows.scale), labels)
    head = calibration.integer_head([int(w * WEIGHT_SCALE) for w in weights], plan)
    learned = head.unit * 127 / float(plan.rows.clip) * np.array(head.weights)
    assert learned @ true / (true @ true) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("apart", [0.5, 1.2])
def test_a_score_of_sums_is_the_log_odds_of_a_logistic_regression(statistics_plan_body, apart):
    """Coordinates have variance 1 over both classes, not within one: the difference of the means is too flat.

    Without the correction the larger of the two slopes would come out a quarter too small.
    """
    plan = CampaignPlan.from_body(statistics_plan_body)
    a, b = plan.statistics.negative, plan.statistics.positive
    rng, share = np.random.default_rng(4), a / (a + b)
    labels = rng.random(400_000) < share
    direction = np.full(plan.release.dimensions, plan.release.dimensions**-0.5)
    along = rng.standard_normal(len(labels)) + apart * labels
    along = (along - along.mean()) / along.std()
    rows = rng.standard_normal((len(labels), plan.release.dimensions))
    rows += np.outer(along - rows @ direction, direction)
    means = rows[labels].mean(axis=0) - rows[~labels].mean(axis=0)
    head = calibration.integer_head([int(w * WEIGHT_SCALE) for w in [*means, 0]], plan)
    learned = head.unit * 127 / float(plan.release.clip) * np.array(head.weights)
    true = fitted(rows, labels)[:-1]
    assert learned @ true / (true @ true) == pytest.approx(1, abs=0.03)


def test_a_large_head_is_not_blown_up(plan):
    """Beyond three quarters of noise in the log-odds the correction stays at a factor of 2."""
    one, ten = (calibration.integer_head([w << 32, 0, 0, 0, 0], plan).unit for w in (1, 10))
    assert ten == pytest.approx(10 * one)


def test_a_head_of_zeros_cannot_score(plan):
    """Nothing is divided by a largest weight of zero."""
    with pytest.raises(DataError):
        calibration.integer_head([0] * 5, plan)


def test_the_mean_probability_is_the_companys_own_rate():
    """The intercept is local: it fits this company's past rate and keeps the order of the scores."""
    scores = [-900, -100, 0, 250, 4000]
    values = calibration.probabilities(scores, unit=0.003, rate=0.3)
    assert values.mean() == pytest.approx(0.3, abs=1e-9)
    assert list(np.argsort(values)) == [0, 1, 2, 3, 4]


def test_a_rate_is_never_zero_or_one():
    """A company whose past has one outcome only still gets probabilities, not certainties."""
    assert 0 < calibration.base_rate(np.zeros(10)) < calibration.base_rate(np.ones(10)) < 1


def test_bands_start_at_their_edges():
    """A probability on an edge belongs to the band above it."""
    assert calibration.bands(np.array([0.0, 0.199, 0.2, 0.39, 0.4, 1.0]), ["0.2", "0.4"]) == [
        1,
        1,
        2,
        2,
        3,
        3,
    ]

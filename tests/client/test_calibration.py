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


def test_a_score_in_units_is_the_clean_log_odds(plan):
    """unit · (w_int · h_int) equals attenuation · w · h up to quantisation."""
    real = np.array([0.5, -0.25, 0.1, 0.2])
    head = calibration.integer_head([int(w * WEIGHT_SCALE) for w in [*real, 0]], plan)
    h = np.array([1.2, -0.4, 0.3, 2.0])
    h_int = np.rint(h * 127 / 2.5)
    factor = np.hypot(plan.rows.scale, np.sqrt(plan.rows.variance)) / plan.rows.scale
    assert head.unit * float(np.dot(head.weights, h_int)) == pytest.approx(factor * real @ h, rel=0.02)


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

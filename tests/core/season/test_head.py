from fractions import Fraction

import numpy as np
import pytest

from noren_core.errors import LocalProtocolError, RemoteProtocolError
from noren_core.season.head import WEIGHT_SCALE, HeadState, attenuation
from noren_core.season.plan import CampaignPlan


@pytest.fixture
def plan(plan_body):
    return CampaignPlan.from_body(plan_body)


def test_a_round_is_gradient_descent(plan):
    """The integer update equals w - lr·(G/(grid·n) + decay·(w - prior)) to within one unit of 2^-32."""
    training = plan.training
    gradient = [123456, -7, 65536 * 300, 0, -99999]
    state = HeadState.initial(plan.training).advance(gradient, training).advance(gradient, training)
    prior = [Fraction(value, 2**16) for value in training.prior]
    w = list(prior)
    for _ in range(2):
        for j, total in enumerate(gradient):
            decay = training.weight_decay if j < 4 else 0
            w[j] -= training.learning_rate * (
                Fraction(total, training.grid * training.normaliser) + decay * (w[j] - prior[j])
            )
    assert np.allclose(state.as_floats(), [float(x) for x in w], atol=4 / WEIGHT_SCALE)


def test_the_released_head_is_the_mean_of_the_late_rounds(plan):
    """Rounds before `average_from` do not count, the others count alike."""
    states = [HeadState.initial(plan.training)]
    for step in range(3):
        states.append(states[-1].advance([1000 * (step + 1)] * 5, plan.training))
    assert states[-1].released() == tuple(
        (a + b) // 2 for a, b in zip(states[2].weights, states[3].weights, strict=True)
    )
    with pytest.raises(LocalProtocolError):
        states[1].released()


def test_a_bad_aggregate_changes_nothing(plan):
    """A sum of another length, or one that diverges, is refused."""
    state = HeadState.initial(plan.training)
    with pytest.raises(RemoteProtocolError, match="5 values"):
        state.advance([0] * 4, plan.training)
    with pytest.raises(RemoteProtocolError, match="diverges"):
        state.advance([2**62] * 5, plan.training)


def test_commitments_tell_heads_apart_only_with_the_key(plan):
    """Two heads differ under one key, one head differs under two keys."""
    one = HeadState.initial(plan.training)
    two = one.advance([1] * 5, plan.training)
    assert one.commitment(b"k" * 32) == HeadState.initial(plan.training).commitment(b"k" * 32)
    assert len({one.commitment(b"k" * 32), two.commitment(b"k" * 32), one.commitment(b"l" * 32)}) == 3


def test_attenuation_is_undone(plan):
    """A coefficient learned on noised, rescaled rows times the factor is that of the clean rows."""
    rng = np.random.default_rng(5)
    clean = rng.normal(size=200_000)
    target = 0.7 * clean + rng.normal(size=clean.size)
    rows = plan.rows
    received = clean * rows.scale + rng.normal(size=clean.size) * np.sqrt(rows.variance)
    rescaled = received / np.hypot(rows.scale, np.sqrt(rows.variance))
    learned = (rescaled @ target) / (rescaled @ rescaled)
    assert learned * attenuation(rows) == pytest.approx(0.7, abs=0.05)

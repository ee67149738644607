"""What is noticed at a gate, and how seldom it is noticed of the innocent."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from noren_core.rights.gate.gate_detectors import (
    REVERSAL_SIGNIFICANCE,
    SOON_SECONDS,
    BatchFacts,
    GateAlert,
    GateHistory,
    ReversalTimes,
    gate_alerts,
    late_batches,
    reversal_p_value,
    seconds_to_reversal,
    tiny_batches,
)

QUIET = GateHistory(
    offers=100,
    viewed=40,
    reversals=(),
    batches=(BatchFacts(sealed_at=1_000, decisions=200),),
    first_view_at=2_000,
)
LONG_AGO = 10 * SOON_SECONDS


def reversals(*, after_view: int, without_view: int) -> tuple[ReversalTimes, ...]:
    seen = [ReversalTimes(reversed_at=LONG_AGO, viewed_at=1)] * after_view
    return (*seen, *[ReversalTimes(reversed_at=LONG_AGO, viewed_at=0)] * without_view)


def test_nothing_is_noticed_where_nothing_happened() -> None:
    """No reversal and one batch before any look: no alert."""
    assert gate_alerts(QUIET) == ()


def test_reversals_that_follow_looks_are_noticed() -> None:
    """Seven offers taken back, all of them looked at, of forty looked at in a hundred."""
    history = replace(QUIET, reversals=reversals(after_view=7, without_view=0))
    assert gate_alerts(history) == (GateAlert.REVERSED_MORE_OFTEN_AFTER_A_VIEW,)
    even = replace(QUIET, reversals=reversals(after_view=3, without_view=4))
    assert gate_alerts(even) == ()


@given(st.data())
def test_the_p_value_is_fishers(data: st.DataObject) -> None:
    """For any counts it is the one-sided p of Fisher's exact test."""
    offers = data.draw(st.integers(1, 60))
    viewed = data.draw(st.integers(0, offers))
    after = data.draw(st.integers(0, viewed))
    without = data.draw(st.integers(0, offers - viewed))
    history = replace(
        QUIET, offers=offers, viewed=viewed, reversals=reversals(after_view=after, without_view=without)
    )
    table = [[after, viewed - after], [without, offers - viewed - without]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert float(reversal_p_value(history)) == pytest.approx(expected, rel=1e-9)


def test_an_honest_company_is_rarely_alerted() -> None:
    """Reversals that do not depend on looks: at most 1 in 100 alerted, by the test's own guarantee.

    2,000 seasons; the chance that more than 40 of them are alerted at a rate of 1 in 100 is below 1e-5.
    """
    draws = np.random.default_rng(1).hypergeometric(40, 60, 12, size=2_000)
    alerted = sum(
        reversal_p_value(replace(QUIET, reversals=reversals(after_view=int(k), without_view=12 - int(k))))
        < REVERSAL_SIGNIFICANCE
        for k in draws
    )
    assert alerted <= 40


def test_a_log_that_lacks_the_looks_is_noticed() -> None:
    """Offers taken back after a look of which the log knows nothing are alerted, not passed over."""
    history = replace(QUIET, viewed=1, reversals=reversals(after_view=2, without_view=0))
    assert reversal_p_value(history) == Fraction(0)


def test_more_names_in_the_log_than_offers_is_no_error() -> None:
    """A record that was made anew counts for its one person."""
    history = replace(QUIET, offers=3, viewed=5, reversals=reversals(after_view=1, without_view=0))
    assert reversal_p_value(history) == Fraction(1)


def test_a_reversal_soon_after_a_look_is_noticed() -> None:
    """Within two weeks of a look; not later, and not without one."""
    soon = ReversalTimes(reversed_at=5_000 + SOON_SECONDS, viewed_at=5_000)
    late = ReversalTimes(reversed_at=5_001 + SOON_SECONDS, viewed_at=5_000)
    unseen = ReversalTimes(reversed_at=5_000, viewed_at=0)
    assert seconds_to_reversal([late, soon, unseen]) == (SOON_SECONDS, SOON_SECONDS + 1)
    assert gate_alerts(replace(QUIET, reversals=(soon,))) == (GateAlert.REVERSED_SOON_AFTER_A_VIEW,)
    assert gate_alerts(replace(QUIET, reversals=(late, unseen))) == ()


def test_a_batch_of_one_is_noticed() -> None:
    """A batch with less than a tenth of all decisions singles people out."""
    batches = [BatchFacts(sealed_at=1, decisions=number) for number in (50, 5, 6, 1)]
    assert tiny_batches(batches) == (1, 2, 3)
    assert GateAlert.TINY_BATCH in gate_alerts(replace(QUIET, batches=tuple(batches)))
    assert tiny_batches(batches[:1]) == ()


def test_a_batch_after_the_first_look_is_noticed() -> None:
    """Who decides after a band of the position was seen could have been told."""
    batches = tuple(BatchFacts(sealed_at=at, decisions=50) for at in (1_999, 2_000, 2_001))
    history = replace(QUIET, batches=batches)
    assert late_batches(history) == (2,)
    assert gate_alerts(history) == (GateAlert.LATE_BATCH,)
    assert late_batches(replace(history, first_view_at=0)) == ()

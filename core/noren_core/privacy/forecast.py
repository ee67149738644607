"""What a plan will have cost, before anything is spent (docs/privacy.md §3).

Pure: what was spent, what is planned and what is allowed come in, and the answer is computed from these
events by the function that verifies them. The same rule serves a company, whose records of one season are
trained on in several campaigns, and the platform, where a person is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import inf
from typing import Any

from noren_core.privacy import accounting
from noren_core.privacy.events import GaussianEvent


@dataclass(frozen=True, slots=True)
class LifetimeLimits:
    """The most that may be spent on one record, or person: campaigns, and epsilon of all at delta."""

    campaigns: int
    epsilon: Fraction
    delta: Fraction


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a campaign, and further ones of the same kind, come to on top of what was spent.

    Attributes:
        spent_campaigns: campaigns before this one.
        spent_epsilon: of all of them together.
        by_round: epsilon after each round of this campaign, with what was spent.
        by_campaign: epsilon after this campaign, after a second one like it, and so on: those that fit, and
            the first that does not.
        fits: how many campaigns like this one fit.
        limits: what they have to fit.
    """

    spent_campaigns: int
    spent_epsilon: float
    by_round: tuple[float, ...]
    by_campaign: tuple[float, ...]
    fits: int
    limits: LifetimeLimits

    @property
    def exhausted_in_round(self) -> int | None:
        """The first round of this campaign that would pass the limit of epsilon, if one would."""
        beyond = (number for number, value in enumerate(self.by_round, 1) if value > self.limits.epsilon)
        return next(beyond, None)

    @property
    def is_stopped_by_epsilon(self) -> bool:
        """Whether epsilon, rather than the number of campaigns, stops the first one that does not fit."""
        return self.by_campaign[self.fits] > self.limits.epsilon

    @property
    def sentence(self) -> str:
        """For people: how far the budget goes."""
        if self.fits:
            fitting = f"fits {self.fits} campaign{'' if self.fits == 1 else 's'} like this"
            stop = "epsilon" if self.is_stopped_by_epsilon else "the number of campaigns"
            return f"{fitting}, exhausted on campaign {self.fits + 1} by {stop}"
        if self.exhausted_in_round is not None:
            return f"does not fit: exhausted in round {self.exhausted_in_round} of {len(self.by_round)}"
        return f"does not fit: {self.spent_campaigns} of {self.limits.campaigns} campaigns are used"

    def to_fields(self) -> dict[str, Any]:
        """As commands print it."""
        return {
            "epsilon_before": f"{self.spent_epsilon:.4f}",
            "epsilon_by_round": [f"{value:.4f}" for value in self.by_round],
            "epsilon_by_campaign": [f"{value:.4f}" for value in self.by_campaign],
            "summary": self.sentence,
        }


def composed_epsilon(campaigns: Iterable[GaussianEvent], delta: Fraction) -> float:
    """`accounting.epsilon_pld` of whole campaigns; what was asked before is remembered."""
    return _composed(tuple(sorted(campaigns, key=_order)), delta)


def forecast(spent: Sequence[GaussianEvent], planned: GaussianEvent, limits: LifetimeLimits) -> Forecast:
    """What `planned` would come to after `spent`.

    Args:
        spent: one event for each earlier campaign, its count the number of rounds planned.
        planned: the campaign's, likewise.
        limits: what all of them have to fit.

    Raises:
        ConfigurationError: if an event or the limits' delta has no epsilon.
    """
    by_round: list[float] = []
    for rounds in range(1, planned.count + 1):
        grown = inf if inf in by_round else _with(spent, [replace(planned, count=rounds)], limits)
        by_round.append(grown)
    by_campaign = [by_round[-1]]
    while by_campaign[-1] <= limits.epsilon and len(spent) + len(by_campaign) <= limits.campaigns:
        by_campaign.append(_with(spent, [planned] * (len(by_campaign) + 1), limits))
    return Forecast(
        spent_campaigns=len(spent),
        spent_epsilon=composed_epsilon(spent, limits.delta),
        by_round=tuple(by_round),
        by_campaign=tuple(by_campaign),
        fits=len(by_campaign) - 1,
        limits=limits,
    )


def _with(spent: Sequence[GaussianEvent], planned: Sequence[GaussianEvent], limits: LifetimeLimits) -> float:
    return composed_epsilon([*spent, *planned], limits.delta)


def _order(event: GaussianEvent) -> tuple[object, ...]:
    return (
        event.noise_multiplier,
        event.clipping_norm,
        event.grid,
        event.count,
        event.placement,
        event.tolerated,
    )


@lru_cache(maxsize=4096)
def _composed(campaigns: tuple[GaussianEvent, ...], delta: Fraction) -> float:
    return accounting.epsilon_pld(campaigns, delta)

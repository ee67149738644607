"""Whether a person may be released in one more campaign (docs/privacy.md §3).

A person is in a campaign as one record at one company, so what she loses there is the whole plan's event.
Across campaigns her losses compose. Students have few distinct histories however many students there are:
each history is judged once.
"""

from __future__ import annotations

from collections.abc import Mapping

from noren_core.privacy.events import GaussianEvent
from noren_core.privacy.forecast import LifetimeLimits, composed_epsilon


class PersonBudget:
    """The rule of one plan, for people with any history; judges each history once."""

    def __init__(
        self, planned: GaussianEvent, limits: LifetimeLimits, *, earlier: Mapping[str, GaussianEvent]
    ) -> None:
        """The rule.

        Args:
            planned: the plan's event, its count the number of rounds.
            limits: the plan's, for a person's whole life.
            earlier: the event of every campaign that a person can have been released in, by name.
        """
        self._planned = planned
        self._limits = limits
        self._earlier = earlier
        self._judged: dict[frozenset[str], bool] = {}

    def has_room(self, released: frozenset[str]) -> bool:
        """Whether who was released in these campaigns can be released in the plan's as well.

        Raises:
            KeyError: for a campaign that is not one of the earlier ones: what it cost is not known.
        """
        if released not in self._judged:
            self._judged[released] = self._fits([self._earlier[campaign] for campaign in released])
        return self._judged[released]

    def _fits(self, spent: list[GaussianEvent]) -> bool:
        if len(spent) + 1 > self._limits.campaigns:
            return False
        return composed_epsilon([*spent, self._planned], self._limits.delta) <= self._limits.epsilon

"""What the utility benchmark says of one task in one season, and which goals that meets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from noren_bench.measurement import Goal

# Of the tasks that are not named: as for WF.
_BELOW_POOLED = {"DP": 0.02}
_SHARE_OF_GAIN = {"W": None}
_ABOVE_LOCAL = {"DP": 0.04}
BELOW_POOLED, SHARE_OF_GAIN, ABOVE_LOCAL = 0.010, 0.9, 0.015
BELOW_INDEX = 0.01
INTEGERS, CALIBRATION_GAP, FOUR_FIFTHS = 1e-4, 0.03, 0.80
CONTROL_ERRORS = 3.0
"""A permuted outcome must stay within this many standard errors of no gain, a planted one be beyond."""


@dataclass(frozen=True, slots=True)
class Federated:
    """One way of training and scoring under its plan.

    Attributes:
        mode: how labels meet rows.
        season: within-company AUC of the season that was run whole.
        draws: of the same season with all noise drawn again.
        small: mean over season and draws for companies with at most 100 training rows; NaN if there are none.
        gain: over the label-free index, mean over season and draws.
        gain_error: its standard error by which people there are (paired DeLong), those of one draw.
        integers: mean |ΔAUC| by rounding weights and coordinates to integers, over season and draws.
        integer_loss: the same with its sign: what integers cost.
        calibration_gap: mean over season and draws.
        four_fifths: by group, for the best fifth of each company; mean over season and draws.
        epsilon: of the head, as the auditor recomputed it; with `delta`.
        row_epsilon: of each student's training row, or of the sums it is in; a release of its own, with
            `row_delta`.
        person_epsilon: lifetime stop of a student, with `person_delta`; in at most `person_campaigns`.
    """

    mode: str
    season: float
    draws: tuple[float, ...]
    small: float
    gain: float
    gain_error: float
    integers: float
    integer_loss: float
    calibration_gap: float
    four_fifths: Mapping[str, float]
    epsilon: float
    delta: float
    row_epsilon: float
    row_delta: float
    person_epsilon: str
    person_delta: str
    person_campaigns: int

    @property
    def auc(self) -> float:
        """Mean over the season and all draws."""
        everything = (self.season, *self.draws)
        return sum(everything) / len(everything)

    @property
    def scatter(self) -> float:
        """Standard deviation of one season around the mean, from noise alone; NaN for a single one."""
        everything = (self.season, *self.draws)
        if len(everything) < 2:
            return math.nan
        return math.sqrt(sum((a - self.auc) ** 2 for a in everything) / (len(everything) - 1))


@dataclass(frozen=True, slots=True)
class Measured:
    """One task of one setting, with what it is compared with.

    Attributes:
        index, pooled, local: within-company AUC of the label-free index, one linear head on everybody's clean
            rows, and the best head per company alone.
        small_index: the index for companies with at most 100 training rows.
        rate_shift: by how much the outcome's rate differs at a company from its past one, weighted by people.
        people_error: standard error of `federated.season` by which people there are (DeLong).
    """

    setting: str
    task: str
    control: str
    is_small: bool
    companies: int
    training_rows: int
    scored: int
    base_rate: float
    index: float
    pooled: float
    local: float
    small_index: float
    rate_shift: float
    people_error: float
    federated: tuple[Federated, ...]

    def share_of_gain(self, federated: Federated) -> float:
        """Of what labels add to the index in the pooled head."""
        return federated.gain / (self.pooled - self.index)

    def goals(self, federated: Federated) -> tuple[Goal, ...]:
        """What this task is held to."""
        if self.control:
            return (self._control_goal(federated),)
        goals = [
            Goal(
                "below the pooled linear head",
                self.pooled - federated.auc,
                _BELOW_POOLED.get(self.task, BELOW_POOLED),
            )
        ]
        share = _SHARE_OF_GAIN.get(self.task, SHARE_OF_GAIN)
        if share is not None:
            goals.append(
                Goal(
                    "share of the gain over the index", self.share_of_gain(federated), share, is_maximum=False
                )
            )
        if self.is_small:
            above = _ABOVE_LOCAL.get(self.task, ABOVE_LOCAL)
            goals.append(
                Goal("above the best local head", federated.auc - self.local, above, is_maximum=False)
            )
        goals.append(Goal("below the index", self.index - federated.auc, BELOW_INDEX))
        if not math.isnan(federated.small) and not self.is_small:
            goals.append(Goal("below the index, n ≤ 100", self.small_index - federated.small, BELOW_INDEX))
        goals.append(Goal("|ΔAUC| of integers", federated.integers, INTEGERS))
        goals.append(Goal("calibration gap", federated.calibration_gap, CALIBRATION_GAP))
        goals += [
            Goal(f"four-fifths ratio, {group}", ratio, FOUR_FIFTHS, is_maximum=False)
            for group, ratio in federated.four_fifths.items()
        ]
        return tuple(goals)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null."""
        body = asdict(self)
        for item, federated in zip(body["federated"], self.federated, strict=True):
            item |= {
                "auc": federated.auc,
                "scatter": federated.scatter,
                "share_of_gain": self.share_of_gain(federated),
                "goals": [{**asdict(goal), "is_met": goal.is_met} for goal in self.goals(federated)],
            }
        plain: dict[str, Any] = _plain(body)
        return plain

    def _control_goal(self, federated: Federated) -> Goal:
        errors = federated.gain / federated.gain_error
        if self.control == "permuted":
            return Goal("gain from permuted outcomes, standard errors", errors, CONTROL_ERRORS)
        return Goal(
            "gain from the planted outcome, standard errors", errors, CONTROL_ERRORS, is_maximum=False
        )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

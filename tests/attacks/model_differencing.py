"""Somebody who compares a model with the one that replaces it, to see who withdrew in between.

The attacker knows all applicants' rows and outcomes, the plan, and two released heads. It trains every model
that leaves out one applicant itself, without noise, and asks whose absence explains the difference best.
Measured is how often somebody who withdrew is ranked above somebody who did not (AUC).

In the naive design a model without the person's data is published whenever somebody withdraws. Ours is
trained anew by the companies' own mechanism when the rule says that a replacement is due.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from attack import Attack, Result, System

from noren_client.mechanism import noised_update
from noren_core.privacy.discrete_gaussian import NoiseStream
from noren_core.rights.erasure.withdrawal import LEAST_BATCH, ReplacementRule
from noren_core.season.head import WEIGHT_SCALE, HeadState
from noren_core.season.plan import CampaignPlan
from noren_server.campaigns import PlanChoices, write_plan

COMPANIES, APPLICANTS = 8, 50
WITHDRAWALS = 10 * LEAST_BATCH
KNOWN = 0.75
"""From this AUC on the attacker is said to know who left; guessing is 0.5, with a deviation of about 0.03."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Everybody's rows, as a company divides them before training, and outcomes; company by company."""

    rows: FloatArray
    labels: npt.NDArray[np.int64]

    @property
    def companies(self) -> list[npt.NDArray[np.int64]]:
        return list(np.arange(COMPANIES * APPLICANTS).reshape(COMPANIES, APPLICANTS))


@cache
def plan() -> CampaignPlan:
    """The default plan for the companies."""
    choices = PlanChoices(
        campaign="spring",
        task={"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": []},
        train_seasons=("2025",),
        score_season="2026",
    )
    return write_plan(choices, {f"company-{number}": APPLICANTS for number in range(COMPANIES)}, "ab" * 32)


@cache
def people() -> People:
    """Rows of variance 1, and outcomes that depend on the first coordinate."""
    generator = np.random.default_rng(11)
    rows = generator.normal(size=(COMPANIES * APPLICANTS, plan().rows.dimensions))
    declines = generator.random(len(rows)) < 1 / (1 + np.exp(1.0 + 1.2 * rows[:, 0]))
    return People(rows, declines.astype(np.int64))


# The attacker


def trained(left: Collection[int] = ()) -> FloatArray:
    """The head that the plan makes of everybody but these, without noise."""
    training, inputs = plan().training, np.hstack([people().rows, np.ones((len(people().rows), 1))])
    counts = np.ones(len(inputs))
    counts[list(left)] = 0
    head = HeadState.initial(training).as_floats()
    prior, kept = head.copy(), []
    decay = np.append(np.full(len(head) - 1, float(training.weight_decay)), 0.0)
    limit = float(training.clipping_norm)
    for _ in range(training.rounds):
        residuals = 1 / (1 + np.exp(-inputs @ head)) - people().labels
        gradients = inputs * residuals[:, np.newaxis]
        norms = np.linalg.norm(gradients, axis=1)
        clipped = gradients * (counts * limit / np.maximum(norms, limit))[:, np.newaxis]
        head = head - float(training.learning_rate) * (
            clipped.sum(axis=0) / training.normaliser + decay * (head - prior)
        )
        kept.append(head)
    averaged: FloatArray = np.mean(kept[training.average_from - 1 :], axis=0)
    return averaged


@cache
def shifts() -> FloatArray:
    """By applicant, how the head moves when that one is missing."""
    return np.array([trained({number}) for number in range(len(people().rows))]) - trained()


def ranked(before: FloatArray, after: FloatArray, *, left: int) -> FloatArray:
    """How well each applicant's absence explains the difference, when so many are missing.

    One missing: the nearest shift. Several: the part of the difference that goes the applicant's way, with
    directions in which all shifts are large counting less.
    """
    difference = after - before
    if left == 1:
        return -np.linalg.norm(shifts() - difference, axis=1)
    centred = shifts() - shifts().mean(axis=0)
    explained: FloatArray = centred @ np.linalg.solve(centred.T @ centred, difference)
    return explained


def auc(scores: FloatArray, left: Collection[int]) -> float:
    """How often one of those who left is ranked above one who did not."""
    gone = np.zeros(len(scores), dtype=bool)
    gone[list(left)] = True
    above = scores[gone][:, np.newaxis] - scores[~gone]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


# The systems


def replace_at_once() -> Result:
    """Every withdrawal gives a new model, trained on the rest without noise."""
    order = list(np.random.default_rng(5).permutation(len(people().rows))[:LEAST_BATCH])
    before, found = trained(), []
    for number, person in enumerate(order):
        after = trained(order[: number + 1])
        found.append(auc(ranked(before, after, left=1), {person}))
        before = after
    return _result(found)


def replace_by_rule() -> Result:
    """Noren: a replacement when the rule says so, trained by every company's own mechanism."""
    rule, order = ReplacementRule(LEAST_BATCH, (1 << 40,)), secrets.SystemRandom()
    withdrawn = order.sample(range(len(people().rows)), WITHDRAWALS)
    before, published, found = _trained_by_companies(()), 0, []
    for count in range(1, WITHDRAWALS + 1):
        if rule.is_due(withdrawals=count - published, published_at=0, now=0):
            left = withdrawn[published:count]
            after = _trained_by_companies(withdrawn[:count])
            found.append(auc(ranked(before, after, left=len(left)), left))
            before, published = after, count
    return _result(found)


def _trained_by_companies(left: Collection[int]) -> FloatArray:
    """A whole campaign, with fresh noise; what is released at its end."""
    training, gone = plan().training, set(left)
    head = HeadState.initial(training)
    kept = [[person for person in each if person not in gone] for each in people().companies]
    for _ in range(training.rounds):
        total = sum(
            noised_update(
                people().rows[of_company],
                people().labels[of_company],
                head.as_floats(),
                plan_training=training,
                companies=COMPANIES,
                stream=NoiseStream(secrets.token_bytes(32)),
            )
            for of_company in kept
        )
        head = head.advance(np.asarray(total)[: plan().head_length].tolist(), training)
    return np.array(head.released()) / WEIGHT_SCALE


def _result(found: list[float]) -> Result:
    mean = float(np.mean(found))
    return Result(mean >= KNOWN, f"AUC {mean:.2f} over {len(found)} replacements")


ATTACKS = (
    Attack(
        name="model differencing",
        attacker="anybody who sees two models",
        aim="tell who withdrew between them",
        systems=(
            System("retrained at each withdrawal, no noise", False, replace_at_once),
            System("Noren, batched and noised", True, replace_by_rule),
        ),
    ),
)

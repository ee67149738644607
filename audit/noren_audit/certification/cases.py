"""What a client is asked to compute when it is certified, and what it must answer.

Two kinds of question in the form of docs/protocol.md §4.8, over made-up rows:

* `ExactCase`: a few releases whose seeds we keep, for comparison with the reference, number by number.
* `CanaryClaim`: many runs of a two-round campaign that claims some ε, with and without one record, the
  canary. Its gradient is clipped in round 1 and nine tenths of the clipping norm in round 2, so that both
  rounds carry it and their difference does, too. Seeds are drawn and forgotten.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log, sqrt

import numpy as np
import numpy.typing as npt

from noren_audit.replay.reference_gradient import reference_sum
from noren_core import canonical_json
from noren_core.privacy.accounting import noise_multiplier_for
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.privacy.noise import company_variance
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season.head import WEIGHT_SCALE, row_scale
from noren_core.season.plan import (
    NO_WITNESSES,
    CampaignPlan,
    Gate,
    Member,
    PersonLimit,
    RowRelease,
    Scoring,
    Task,
    Training,
)
from noren_core.season.round_event import round_event

FORMAT = "noren/v1/mechanism"
CLAIM_ROUNDS = 2
CLAIM_DELTA = "0.000001"
MAX_RUNS_PER_REQUEST = 1_000

_COMPANIES = 3
_EXACT_ROWS = (0, 1, 23)
_EXACT_ROUNDS = 3
_CLIPPING_NORM = Fraction(1)
_BACKGROUND_ROWS = 3
_ROW_UNIT = 16  # about: integer row units per 1
_CANARY_LENGTH = 20 * _ROW_UNIT  # ten times the clipping norm before clipping, at the initial head
_SECOND_NORM = 0.9  # of the clipping norm: the canary's gradient in round 2

Vectors = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """Rows in integer units and their labels."""

    rows: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Release:
    """One release to ask for: round, seed and beacon (32 bytes each), and the head as integers."""

    round_number: int
    seed: bytes
    beacon: bytes
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExactCase:
    """Releases of the same records under one plan; `expected` computes each from its seed."""

    plan: CampaignPlan
    records: Records
    releases: tuple[Release, ...]

    def request(self) -> bytes:
        """The line to send."""
        return encode_request(self.plan, self.records, self.releases)

    def expected(self) -> Vectors:
        """(releases, d + 1 + k) what an honest client answers, but for rounding."""
        variance = company_variance(round_event(self.plan), companies=_COMPANIES)
        answers = []
        for release in self.releases:
            total = exact_sum(self.plan, self.records, release.weights)
            stream = NoiseSeed(release.seed).round_stream(
                beacon=release.beacon, campaign=self.plan.campaign, round_number=release.round_number
            )
            answers.append(total + sample(len(total), variance=variance, stream=stream))
        return np.array(answers)


class CanaryClaim:
    """A campaign of two rounds that claims to cost one record `epsilon`, and a canary to try it with.

    Attributes:
        epsilon: the claim.
        plan: calibrated to it.
        mean: μ of the Gaussian that the claimed curve δ(ε) belongs to: √rounds / noise multiplier.
    """

    def __init__(self, epsilon: int) -> None:
        multiplier = noise_multiplier_for(epsilon=epsilon, delta=CLAIM_DELTA, rounds=CLAIM_ROUNDS)
        training = _training(
            multiplier, placement="local", epsilon=epsilon, rounds=CLAIM_ROUNDS, dimensions=2, sentinels=1
        )
        self.epsilon = epsilon
        self.plan = _plan(training)
        self.mean = sqrt(CLAIM_ROUNDS) / float(Fraction(multiplier))
        background = Records(((_ROW_UNIT, 0),) * _BACKGROUND_ROWS, (0, 1, 0))
        canary = Records((*background.rows, (0, _CANARY_LENGTH)), (*background.labels, 1))
        self._records = {False: background, True: canary}
        self._weights = ((0, 0, 0), (0, self._second_weight(), 0))
        sums = {
            present: np.array([exact_sum(self.plan, records, head) for head in self._weights])
            for present, records in self._records.items()
        }
        self._background = sums[False]
        self._canary = (sums[True] - sums[False]).astype(np.float64)

    def request(self, runs: int, *, is_present: bool) -> bytes:
        """The line that asks for `runs` runs; nobody keeps their seeds."""
        beacon = secrets.token_bytes(32)
        seeds = (secrets.token_bytes(32) for _ in range(runs))
        releases = (
            Release(number + 1, seed, beacon, weights)
            for seed in seeds
            for number, weights in enumerate(self._weights)
        )
        return encode_request(self.plan, self._records[is_present], tuple(releases))

    def scores(self, updates: Vectors) -> npt.NDArray[np.float64]:
        """(runs, 2) how much of the canary is in each run: along it in both rounds, and in their difference.

        The first is the log-likelihood ratio of an honest mechanism, up to a factor; the second is what
        noise that is used twice lays open.
        """
        runs = updates.reshape(-1, CLAIM_ROUNDS, updates.shape[1]) - self._background
        along = np.einsum("irj,rj->i", runs.astype(np.float64), self._canary)
        apart = (runs[:, 0] - runs[:, 1]).astype(np.float64) @ self._canary[0]
        return np.stack([along, apart], axis=1)

    def _second_weight(self) -> int:
        """The head's weight at which the canary's gradient has the norm wanted in round 2."""
        length = _CANARY_LENGTH / row_scale(self.plan.rows)
        residual = _SECOND_NORM * float(_CLIPPING_NORM) / sqrt(length**2 + 1)
        return round(log(1 / residual - 1) / length * WEIGHT_SCALE)


def exact_cases() -> Iterator[ExactCase]:
    """Releases of no, one and some records, with shared and with local noise, from random heads."""
    for placement in ("distributed", "local"):
        training = _training(
            "4", placement=placement, epsilon=8, rounds=_EXACT_ROUNDS, dimensions=4, sentinels=3
        )
        plan = _plan(training)
        for count in _EXACT_ROWS:
            values = _drawn(count * 4, deviation=3 * _ROW_UNIT)
            rows = tuple(tuple(values[at : at + 4]) for at in range(0, len(values), 4))
            records = Records(rows, tuple(value & 1 for value in _drawn(count, deviation=100)))
            seed, beacon = secrets.token_bytes(32), secrets.token_bytes(32)
            releases = (
                Release(number, seed, beacon, tuple(_drawn(5, deviation=WEIGHT_SCALE // 2)))
                for number in range(1, _EXACT_ROUNDS + 1)
            )
            yield ExactCase(plan, records, tuple(releases))


def exact_sum(plan: CampaignPlan, records: Records, weights: Sequence[int]) -> Vectors:
    """(d + 1 + k,) the sum without noise, zero at the sentinels."""
    rows = np.array(records.rows, np.float64).reshape(-1, plan.rows.dimensions) / row_scale(plan.rows)
    total = reference_sum(
        rows,
        np.array(records.labels, np.int64),
        np.array([weight / WEIGHT_SCALE for weight in weights]),
        clipping_norm=plan.training.clipping_norm,
        grid=plan.training.grid,
    )
    return np.concatenate([total, np.zeros(plan.training.sentinels, np.int64)])


def encode_request(plan: CampaignPlan, records: Records, releases: Sequence[Release]) -> bytes:
    """A request of docs/protocol.md §4.8, without the newline."""
    return canonical_json.encode(
        {
            "format": FORMAT,
            "plan": plan.to_body(),
            "companies": _COMPANIES,
            "rows": [list(row) for row in records.rows],
            "labels": list(records.labels),
            "releases": [
                {
                    "round": release.round_number,
                    "seed": release.seed.hex(),
                    "beacon": release.beacon.hex(),
                    "weights": list(release.weights),
                }
                for release in releases
            ],
        }
    )


def _drawn(count: int, *, deviation: int) -> list[int]:
    values: list[int] = sample(count, variance=deviation**2, stream=NoiseStream.generate()).tolist()
    return values


def _training(
    multiplier: str, *, placement: str, epsilon: int, rounds: int, dimensions: int, sentinels: int
) -> Training:
    return Training(
        rounds=rounds,
        learning_rate=Fraction(1),
        weight_decay=Fraction(0),
        prior=(0,) * (dimensions + 1),
        average_from=1,
        clipping_norm=_CLIPPING_NORM,
        grid=2**16,
        noise_multiplier=multiplier,
        placement=placement,
        tolerated=1 if placement == "distributed" else 0,
        sentinels=sentinels,
        normaliser=64,
        epsilon=str(epsilon),
        delta=CLAIM_DELTA,
        deadline_seconds=60,
    )


def _plan(training: Training) -> CampaignPlan:
    """The plan of a campaign that never takes place."""
    members = tuple(Member(f"company-{number + 1}", 64, 64) for number in range(_COMPANIES))
    return CampaignPlan(
        campaign="certification",
        task=Task("certification", ("yes",), ("no",), ()),
        train_seasons=("past",),
        score_season="present",
        cohort=members,
        minimum_cohort=_COMPANIES,
        threshold=_COMPANIES,
        training=training,
        release=RowRelease(len(training.prior) - 1, "2.5", _ROW_UNIT, 1, "8", CLAIM_DELTA),
        person=PersonLimit(1, 1, "8", CLAIM_DELTA),
        witnesses=NO_WITNESSES,
        scoring=Scoring(1, 8, ("0.5",)),
        gate=Gate(cooling_seconds=0, batches=1, minimum_batch=1, score_seconds=3_600),
        bundle_sha256="0" * 64,
    )

"""Writing a campaign plan: from an operator's few choices to the complete, public, checked plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from fractions import Fraction
from math import ceil, log, log2
from pathlib import Path
from typing import Any, Self

from noren_core import toml_text
from noren_core.crypto.weight_layout import MAX_SUM, MAX_WEIGHT, ROW_NORM
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.ledger.entries import EntryKind
from noren_core.privacy import accounting
from noren_core.privacy.events import GaussianEvent, NoisePlacement, format_decimal, parse_decimal
from noren_core.privacy.noise import company_variance
from noren_core.privacy.small_samples import MEANINGLESS_DELTA, publishes_a_record, strongest_placement
from noren_core.season.head import attenuation
from noren_core.season.plan import (
    MAX_DIMENSIONS,
    MAX_ROUNDS,
    NO_WITNESSES,
    PRIOR_SCALE,
    UNIT,
    CampaignPlan,
    RowRelease,
    StatisticsRelease,
    TrainingMode,
    Witnesses,
)
from noren_core.wire.refusal import Refusal
from noren_server.campaign_rounds import FINISH_ATTEMPTS, SETUP_DEADLINE_SECONDS, verify_not_begun
from noren_server.embeddings import TRAINING_ROW_SCALE
from noren_server.features import Season
from noren_server.head_limit import season_heads
from noren_server.platform_files import Platform
from noren_server.round_control import RoundControl
from noren_server.store import DATABASE_NAME, CompanyState
from noren_server.superlink import Fleet, RunOutcome, compact_database

GRID = 1 << 16
STATISTICS_GRID = 1 << 10  # so that a clipping norm in its units is a decimal; sums are integers anyhow
EXPECTED_WEIGHT = Fraction(1, 4)
MINIMUM_COHORT = 5
EVALUATION_ROUNDS = 2  # for the training table: a second batch after the applicant file was corrected


_CHOICES_OF_MODE = {
    TrainingMode.NOISED_ROWS: (
        *("rounds", "learning_rate", "weight_decay", "clipping_norm"),
        *("row_dimensions", "row_epsilon", "row_delta"),
    ),
    TrainingMode.SEALED_STATISTICS: ("statistics_dimensions", "statistics_epsilon", "statistics_delta"),
}

_OUTCOME_KINDS = ("positive", "negative", "excluded")


@dataclass(frozen=True, slots=True)
class PlanChoices:
    """What the operator decides; everything else of a plan follows from public constants.

    Two public expectations, which no company's data enter, begin the head: `index_direction`, whether
    foreseen activity makes the outcome rarer (-1) or more frequent (1) or nobody knows (0), and
    `expected_rate`, how frequent it is.

    The defaults come from public and synthetic data (docs/privacy.md §4); none was tuned on outcomes.
    """

    campaign: str
    task: Mapping[str, Any]  # name, positive, negative, excluded
    train_seasons: tuple[str, ...]
    score_season: str
    mode: str = TrainingMode.NOISED_ROWS.value
    rounds: int = 6
    epsilon: str = "1"
    delta: str = "0.000001"
    learning_rate: str = "7"
    weight_decay: str = "0.02"
    index_direction: int = 0
    expected_rate: str = "0.5"
    clipping_norm: str = "2"
    sentinels: int = 8
    row_dimensions: int = 4
    row_epsilon: str = "8"
    row_delta: str = "0.000001"
    statistics_dimensions: int = 5
    statistics_epsilon: str = "1"
    statistics_delta: str = "0.000001"
    person_campaigns: int = 3
    person_epsilon: str = "4"
    person_delta: str = "0.000001"
    heads: int = 1
    weight_bits: int = 8
    band_edges: tuple[str, ...] = ("0.2", "0.4")
    minimum_cohort: int = MINIMUM_COHORT
    deadline_seconds: int = 60
    cooling_seconds: int = 86_400
    decision_batches: int = 4
    minimum_batch: int = 5
    score_days: int = 30

    @classmethod
    def from_toml(cls, path: Path) -> PlanChoices:
        """Read a campaign file; ConfigurationError names what is missing or unknown."""
        try:
            return cls.from_fields(toml_text.parse(path.read_bytes()))
        except OSError as error:
            raise ConfigurationError(f"{path.name}: expected a readable campaign file, got none") from error
        except DataError as error:
            raise ConfigurationError(
                f"campaign file: expected the fields of docs/deploying.md: {error.message}"
            ) from error

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> PlanChoices:
        """The choices in these fields; DataError names what is missing, unknown or not used in this mode."""
        fields_given = dict(given)
        for name in ("train_seasons", "band_edges"):
            if isinstance(fields_given.get(name), list):
                fields_given[name] = tuple(fields_given[name])
        try:
            choices = _verified(cls(**fields_given))
        except TypeError as error:
            raise DataError(f"campaign: {error}") from error
        _verify_used(choices, given)
        return choices


def _verified(choices: PlanChoices) -> PlanChoices:
    """`choices`, or TypeError naming the first field of another type than its default's."""
    for field in fields(choices):
        value = getattr(choices, field.name)
        if field.name == "task":
            fits = isinstance(value, dict) and all(_is_words(value.get(kind, [])) for kind in _OUTCOME_KINDS)
        elif field.name in ("train_seasons", "band_edges"):
            fits = _is_words(value)
        else:
            fits = type(value) is (type(field.default) if field.default is not MISSING else str)
        if not fits:
            raise TypeError(f"{field.name} is of another type than in the example")
    return choices


def _verify_used(choices: PlanChoices, given: Mapping[str, Any]) -> None:
    """DataError for a choice that the mode makes no use of: whoever made it expects something of it."""
    for mode, names in _CHOICES_OF_MODE.items():
        if mode != choices.mode and not given.keys().isdisjoint(names):
            raise DataError(f"expected none of {', '.join(names)} in mode {choices.mode}, got one")


def _verify_ranges(choices: PlanChoices) -> None:
    """DataError for what the calibration of the noise could not work with; the plan checks all the rest."""
    if choices.mode not in set(TrainingMode):
        raise DataError("plan.mode: expected noised-rows or sealed-statistics, got another")
    for name in (
        *("epsilon", "delta", "row_epsilon", "row_delta", "statistics_epsilon", "statistics_delta"),
        "clipping_norm",
    ):
        if parse_decimal(getattr(choices, name), f"plan.{name}") <= 0:
            raise DataError(f"plan.{name}: expected a positive decimal, got 0")
    rate = parse_decimal(choices.expected_rate, "plan.expected_rate")
    if not Fraction(1, 100) <= rate <= Fraction(99, 100):
        raise DataError("plan.expected_rate: expected a decimal from 0.01 to 0.99, got another")
    if choices.index_direction not in (-1, 0, 1):
        raise DataError("plan.index_direction: expected -1, 0 or 1, got another")
    for name, most in (
        ("rounds", MAX_ROUNDS),
        ("row_dimensions", MAX_DIMENSIONS),
        ("statistics_dimensions", MAX_DIMENSIONS),
    ):
        if not 1 <= getattr(choices, name) <= most:
            raise DataError(f"plan.{name}: expected an integer from 1 to {most}, got another")


def _verify_deltas(choices: PlanChoices, declared_sizes: Mapping[str, int]) -> None:
    """DataError for a delta with which epsilon means nothing among so many records."""
    declared = sum(declared_sizes.values())
    for name in ("delta", "row_delta", "statistics_delta"):
        delta = parse_decimal(getattr(choices, name), f"plan.{name}")
        if publishes_a_record(delta, records=declared):
            raise DataError(
                f"plan.{name}: expected at most {MEANINGLESS_DELTA} over the sum of the declared sizes, got "
                "one that lets a whole record be published"
            )


def _is_words(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)


def write_plan(
    choices: PlanChoices,
    declared_sizes: Mapping[str, int],
    bundle_sha256: str,
    witnesses: Witnesses = NO_WITNESSES,
) -> CampaignPlan:
    """The complete plan for the companies of `declared_sizes` (name → declared applicants, public).

    Raises:
        ConfigurationError: if there are too few companies for secure aggregation.
        DataError: if a choice is out of its bounds (see CampaignPlan.from_body).
    """
    _verify_ranges(choices)
    companies = sorted(declared_sizes)
    if len(companies) < 3:
        raise ConfigurationError(f"a cohort needs at least 3 companies, got {len(companies)}")
    _verify_deltas(choices, declared_sizes)
    sizes = _cohort_sizes(len(companies), choices.minimum_cohort)
    make = _noised_rows if choices.mode == TrainingMode.NOISED_ROWS else _sealed_statistics
    noise = _Noise.of(companies=len(companies), minimum_cohort=sizes["minimum_cohort"])
    return CampaignPlan.from_body(
        {
            "campaign": choices.campaign,
            "task": {name: _listed(value) for name, value in choices.task.items()},
            "mode": choices.mode,
            "train_seasons": list(choices.train_seasons),
            "score_season": choices.score_season,
            "cohort": [_member(company, declared_sizes[company]) for company in companies],
            "unit": UNIT,
            "adjacency": "add_remove",
            **sizes,
            **make(choices, declared_sizes, noise),
            "person": {
                "companies": 1,
                "campaigns": choices.person_campaigns,
                "epsilon": choices.person_epsilon,
                "delta": choices.person_delta,
            },
            "witnesses": {"keys": list(witnesses.keys), "quorum": witnesses.quorum},
            "scoring": {
                "heads": choices.heads,
                "weight_bits": choices.weight_bits,
                "band_edges": list(choices.band_edges),
            },
            "gate": {
                "cooling_seconds": choices.cooling_seconds,
                "batches": choices.decision_batches,
                "minimum_batch": choices.minimum_batch,
                "score_seconds": choices.score_days * 86_400,
            },
            "bundle_sha256": bundle_sha256,
        }
    )


def verify_seasons(choices: PlanChoices, known: Sequence[Season]) -> None:
    """Refuse seasons that tables cannot be made of, before a plan that names them is in the ledger for ever.

    Raises:
        ConfigurationError: if the platform has no logs of one.
        DataError: if one to train on is not past, or the one to score is.
    """
    is_past = {season.name: season.is_past for season in known}
    if not {*choices.train_seasons, choices.score_season} <= is_past.keys():
        raise ConfigurationError("campaign: expected seasons that the platform has logs of, got another")
    if is_past[choices.score_season] or not all(is_past[name] for name in choices.train_seasons):
        raise DataError("campaign: expected past seasons to train on and a current season to score")


def publish_plan(platform: Platform, choices: PlanChoices, companies: Sequence[str]) -> CampaignPlan:
    """Write the plan for these companies, put it in the ledger and open it.

    Raises:
        ConfigurationError: as `draft_plan`.
        LocalProtocolError: if the campaign exists.
    """
    plan = draft_plan(platform, choices, companies)
    with platform.store.transaction() as transaction:
        transaction.add_campaign(plan)
        platform.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())
    return plan


def draft_plan(platform: Platform, choices: PlanChoices, companies: Sequence[str]) -> CampaignPlan:
    """The plan for these companies (all approved ones if empty), which nobody else sees yet.

    Raises:
        ConfigurationError: if a company is not approved or has sent its head for the season to be scored
            (`head_limit`), or there are too few.
    """
    with platform.store.transaction() as transaction:
        approved = {c.name: c for c in transaction.companies() if c.state is CompanyState.APPROVED}
    missing = sorted(set(companies) - set(approved))
    if missing:
        raise ConfigurationError(f"campaign: expected approved companies, got {', '.join(missing)}")
    sizes = {name: approved[name].declared_size for name in companies or approved}
    spent = sorted(c for c in sizes if season_heads(platform.ledger_store, c, choices.score_season))
    if spent:
        raise ConfigurationError(
            f"campaign: expected companies without a head for this season, got {', '.join(spent)}",
            code=Refusal.HEAD_LIMIT,
        )
    return write_plan(choices, sizes, platform.facts.bundle_sha256, platform.ledger.witnesses)


def train(platform: Platform, campaign: str) -> dict[str, Any]:
    """Run the rounds through Flower and wait for their end; the final progress record.

    Raises:
        LocalProtocolError: if the run failed, or the campaign was begun before; the code says why.
    """
    plan = platform.plan(campaign)
    verify_not_begun(platform.ledger, campaign)
    control = RoundControl(platform.store, plan)
    with Fleet(platform.directory) as fleet:
        outcome = fleet.run_campaign(
            campaign, deadline_seconds=_run_deadline_seconds(plan), is_held=control.is_held
        )
    record = progress(platform, campaign)
    if outcome is not RunOutcome.COMPLETED or record["state"] != "finished":
        raise LocalProtocolError(
            f"training: expected the run to finish, it is {outcome.value} in state {record['state']}",
            code=record["reason"] or "RUN_FAILED",
        )
    return record


def close(platform: Platform, campaign: str) -> None:
    """End a campaign for good: companies are answered no more, and its OPRF keys are gone from the disk.

    Without a key nobody, the platform included, can find out whose row is whose in a table that was kept.
    Call it after the run has ended. After a crash the same call completes it.

    Raises:
        LocalProtocolError: if there is no such campaign; with code STATE_BUSY, if the database could not be
            rewritten because it is in use: call again.
    """
    plan = platform.plan(campaign)
    with platform.store.transaction() as transaction:
        transaction.close_campaign(plan.campaign)
        platform.ledger.append_platform_entry(EntryKind.CAMPAIGN_CLOSED, {"campaign": plan.campaign})
    compact_database(platform.directory / DATABASE_NAME)


def progress(platform: Platform, campaign: str) -> dict[str, Any]:
    """What the last run of a campaign said of itself."""
    path = platform.progress_path(platform.plan(campaign).campaign)
    if not path.exists():
        return {"state": "not begun", "reason": ""}
    return _parse_progress(path.read_bytes())


def _parse_progress(data: bytes) -> dict[str, Any]:
    """The record that `campaign_rounds.Progress` wrote; DataError if the file is damaged."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError("progress: expected what a run says of itself, got something else") from error
    if not isinstance(record, dict) or not {"state", "reason"} <= record.keys():
        raise DataError("progress: expected the fields of a run's record, got others")
    return record


def _run_deadline_seconds(plan: CampaignPlan) -> float:
    """Every exchange may take its deadline; set-up waits for companies to connect first."""
    exchanges = 2 * plan.training.rounds + 2 + 2 * FINISH_ATTEMPTS
    return SETUP_DEADLINE_SECONDS + exchanges * plan.training.deadline_seconds + 60


def padded_batch(declared_size: int) -> int:
    """The public size of a company's evaluation batches: the next power of two, at least 64."""
    return max(64, 1 << ceil(log2(max(declared_size, 1))))


def _member(company: str, declared_size: int) -> dict[str, Any]:
    batch = padded_batch(declared_size)
    return {"company": company, "padded_batch": batch, "evaluations": EVALUATION_ROUNDS * batch}


def _cohort_sizes(n: int, minimum: int) -> dict[str, int]:
    """Threshold three quarters of n; the minimum cohort is at least that and at most n.

    More than two thirds would do against recovering one company's vector; three quarters also keeps a
    platform that names different survivors to different companies from opening a smaller sum.
    """
    threshold = max(2 * n // 3 + 1, -(-3 * n // 4))
    return {"threshold": threshold, "minimum_cohort": min(n, max(threshold, minimum))}


@dataclass(frozen=True, slots=True)
class _Noise:
    """Who adds the labels' noise, and how many that know each other's shares are allowed for."""

    placement: NoisePlacement
    tolerated: int

    @classmethod
    def of(cls, *, companies: int, minimum_cohort: int) -> Self:
        tolerated = companies // 3
        placement = strongest_placement(
            companies=companies, minimum_cohort=minimum_cohort, tolerated=tolerated
        )
        return cls(placement, tolerated if placement is NoisePlacement.DISTRIBUTED else 0)


def _noised_rows(
    choices: PlanChoices, declared_sizes: Mapping[str, int], noise: _Noise
) -> dict[str, dict[str, Any]]:
    """Training by rounds of gradients on rows that have noise."""
    rows = _rows(choices)
    training = {
        **_shared_training(choices, declared_sizes, noise),
        "rounds": choices.rounds,
        "learning_rate": choices.learning_rate,
        "weight_decay": choices.weight_decay,
        "average_from": choices.rounds // 2 + 1,
        "clipping_norm": choices.clipping_norm,
        "grid": GRID,
        "noise_multiplier": accounting.noise_multiplier_for(
            epsilon=choices.epsilon,
            delta=choices.delta,
            rounds=choices.rounds,
            clipping_norm=choices.clipping_norm,
            grid=GRID,
        ),
        # A head sees coordinates under noise, where a coefficient counts for less by `attenuation`.
        "prior": _prior(choices, choices.row_dimensions, worth=1 / attenuation(RowRelease(**rows))),
    }
    return {"training": training, "rows": rows}


def _sealed_statistics(
    choices: PlanChoices, declared_sizes: Mapping[str, int], noise: _Noise
) -> dict[str, dict[str, Any]]:
    """One step from the prior by the cohort's sums V: κ·prior + (1 − κ)·V·(R/127)·(a + b)/(a·b·normaliser).

    That is the difference of the outcomes' means in clean units, shrunk by what the plan makes public: with
    s² the variance of all noise in a weight, and weights of the size τ expected, κ = s²/(s² + τ²).
    """
    largest = max(padded_batch(size) for size in declared_sizes.values())
    negative, positive = _outcome_weights(choices, largest_batch=largest)
    release = _statistics(choices, negative=negative, positive=positive)
    clipping_norm = Fraction(release.label_sensitivity, STATISTICS_GRID)
    multiplier = accounting.noise_multiplier_for(
        epsilon=choices.epsilon,
        delta=choices.delta,
        rounds=1,
        clipping_norm=clipping_norm,
        grid=STATISTICS_GRID,
    )
    labels = GaussianEvent(
        noise_multiplier=Fraction(multiplier),
        clipping_norm=clipping_norm,
        grid=STATISTICS_GRID,
        count=1,
        placement=noise.placement,
        tolerated=noise.tolerated,
    )
    unit = Fraction(release.clip) * (negative + positive) / (ROW_NORM * negative * positive)
    companies = len(declared_sizes)
    added = companies * (company_variance(labels, companies=companies) + release.variance)
    variance = (unit / sum(declared_sizes.values())) ** 2 * added
    shrinkage = variance / (variance + EXPECTED_WEIGHT**2)
    training = {
        **_shared_training(choices, declared_sizes, noise),
        "rounds": 1,
        "learning_rate": format_decimal(round(STATISTICS_GRID * unit * (1 - shrinkage), 6)),
        "weight_decay": "0",
        "average_from": 1,
        "clipping_norm": format_decimal(clipping_norm),
        "grid": STATISTICS_GRID,
        "noise_multiplier": multiplier,
        "prior": _prior(choices, choices.statistics_dimensions, worth=float(shrinkage)),
    }
    return {"training": training, "statistics": asdict(release)}


def _shared_training(
    choices: PlanChoices, declared_sizes: Mapping[str, int], noise: _Noise
) -> dict[str, Any]:
    return {
        "placement": noise.placement.value,
        "tolerated": noise.tolerated,
        "sentinels": choices.sentinels,
        "sampling": {"num": 1, "den": 1},
        "normaliser": sum(declared_sizes.values()),
        "epsilon": choices.epsilon,
        "delta": choices.delta,
        "deadline_seconds": choices.deadline_seconds,
    }


def _prior(choices: PlanChoices, dimensions: int, *, worth: float) -> list[int]:
    """One log-odds for each standard deviation of the engagement index, coordinate 1, and the expected rate.

    Args:
        choices: which direction and rate.
        dimensions: how many weights.
        worth: what of the first weight is taken.
    """
    rate = float(parse_decimal(choices.expected_rate, "plan.expected_rate"))
    slope = round(choices.index_direction * PRIOR_SCALE * worth)
    return [slope, *[0] * (dimensions - 1), round(log(rate / (1 - rate)) * PRIOR_SCALE)]


def _rows(choices: PlanChoices) -> dict[str, Any]:
    """Noise for replacing a row by any other within the clip."""
    clip = _clip(choices.row_dimensions)
    sigma = accounting.gaussian_row_sigma(
        epsilon=choices.row_epsilon,
        delta=choices.row_delta,
        sensitivity=2 * clip * TRAINING_ROW_SCALE,
        coordinates=choices.row_dimensions,
    )
    return {
        "dimensions": choices.row_dimensions,
        "clip": format_decimal(clip),
        "scale": TRAINING_ROW_SCALE,
        "variance": ceil(sigma**2),
        "epsilon": choices.row_epsilon,
        "delta": choices.row_delta,
    }


def _statistics(choices: PlanChoices, *, negative: int, positive: int) -> StatisticsRelease:
    """The platform's noise for replacing a row of norm 127 by any other, under the largest weight."""
    sigma = accounting.gaussian_row_sigma(
        epsilon=choices.statistics_epsilon,
        delta=choices.statistics_delta,
        sensitivity=2 * max(negative, positive) * ROW_NORM,
        coordinates=choices.statistics_dimensions,
    )
    return StatisticsRelease(
        dimensions=choices.statistics_dimensions,
        clip=format_decimal(_clip(choices.statistics_dimensions)),
        negative=negative,
        positive=positive,
        variance=ceil(sigma**2),
        epsilon=choices.statistics_epsilon,
        delta=choices.statistics_delta,
    )


def _outcome_weights(choices: PlanChoices, *, largest_batch: int) -> tuple[int, int]:
    """A : b as r : (1 − r) for the expected rate r, in integers whose sums can be opened.

    Both outcomes then weigh the same together, so that what all applicants have in common cancels out.
    """
    most = min(MAX_WEIGHT, MAX_SUM // (ROW_NORM * largest_batch))
    rate = parse_decimal(choices.expected_rate, "plan.expected_rate").limit_denominator(most + 1)
    rate = min(max(rate, Fraction(1, most + 1)), Fraction(most, most + 1))
    return rate.numerator, rate.denominator - rate.numerator


def _clip(dimensions: int) -> Fraction:
    """R = 1.25·√d, rounded to a hundredth."""
    return Fraction(round(125 * dimensions**0.5), 100)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value

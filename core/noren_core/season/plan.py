"""The campaign plan: everything that is fixed before anybody computes (docs/protocol.md §4).

A plan is one ledger entry, written by the platform and accepted by each company's signature over its
hash. What a plan does not say cannot vary: a client takes its differential-privacy parameters from the
plan it accepted and from its own limits, never from a message. Decimal quantities are strings, so that
the hash of a plan is the hash of exactly these numbers.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Self

from noren_core import canonical_json, ids
from noren_core.crypto.weight_layout import MAX_WEIGHT as MAX_STATISTICS_WEIGHT
from noren_core.crypto.weight_layout import ROW_NORM, WeightLayout
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ledger.entries import MAX_DECISION_BATCHES
from noren_core.privacy.events import format_decimal, parse_decimal

MAX_COMPANIES = 200
MAX_ROUNDS = 100
MAX_MESSAGE_BYTES = 1 << 20
"""Of one training message. Set-up exchanges keys and shares of all rounds at once, and who missed every round
gets all aggregates with them (docs/protocol.md §4.1)."""

_SET_UP_BYTES_PER_ROUND = 132  # of one company to one other: the larger of its shares and its keys
_SET_UP_BYTES_PER_COMPANY = 512  # names, signatures, contribution, encoding
_PROOF_BYTES = 128 << 10  # a ledger proof that travels beside them
_SURVIVOR_BYTES = 42  # a name in an aggregate
_AGGREGATE_BYTES = 32  # its round, encoding
MAX_DIMENSIONS = 128
MAX_HEADS = 8
MAX_SENTINELS = 64
PRIOR_SCALE = 1 << 16
MAX_PRIOR = 16 * PRIOR_SCALE
MAX_WITNESSES = 16
_DAY_SECONDS = 86_400
_COSIGNER_KEY = re.compile(r"[!-*,-~]{1,200}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}\Z", re.ASCII)
UNIT = "one person's deduplicated record at one company in one campaign"


class TrainingMode(StrEnum):
    """What a company gets of the platform's rows: each with noise, or sums of them with noise."""

    NOISED_ROWS = "noised-rows"
    SEALED_STATISTICS = "sealed-statistics"


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned: which outcome words count as 1 (declined), as 0, and which are left out."""

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    excluded: tuple[str, ...]

    def label(self, outcome: str) -> int | None:
        """1, 0, or None for an outcome that is left out; DataError for a word outside the vocabulary."""
        if outcome in self.positive:
            return 1
        if outcome in self.negative:
            return 0
        if outcome in self.excluded:
            return None
        raise DataError("outcome: expected a word of the plan's vocabulary, got another")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every outcome word that may appear in a company's file, sorted."""
        return tuple(sorted((*self.positive, *self.negative, *self.excluded)))


@dataclass(frozen=True, slots=True)
class Training:
    """The rounds: full-batch gradient descent on a linear head with clipped, noised, integer sums.

    The head after round r is w ← w - learning_rate · (G / (grid · normaliser) + weight_decay · (w - prior)),
    on integers; the released head is the mean of the iterates from round `average_from` on. `prior`, d
    weights and a bias scaled by 2^16, is a public expectation and no estimate from data: the head begins
    there, and is pulled back to it where the cohort's rows say little. `normaliser`
    is public and never the true number of rows (adding or removing one person would change it). To each
    row belong `sentinels` coordinates that are always 0: what is released there is noise alone, so that
    anybody can test whether it was added.
    """

    rounds: int
    learning_rate: Fraction
    weight_decay: Fraction
    prior: tuple[int, ...]
    average_from: int
    clipping_norm: Fraction
    grid: int
    noise_multiplier: str
    placement: str
    tolerated: int
    sentinels: int
    normaliser: int
    epsilon: str
    delta: str
    deadline_seconds: int


@dataclass(frozen=True, slots=True)
class RowRelease:
    """The sealed training rows: dimensions, clip, integer scale and the noise of each coordinate.

    A coordinate v of a row clipped to L2 norm `clip` is released as v · scale truncated toward zero (so
    that the integer row is no longer than clip · scale) plus a discrete Gaussian of variance `variance`,
    in squared integer units. That gives every student (`epsilon`, `delta`) against replacing her row by
    any other.
    """

    dimensions: int
    clip: str
    scale: int
    variance: int
    epsilon: str
    delta: str

    @property
    def sensitivity(self) -> Fraction:
        """How far (L2, integer units) the release moves when one row is replaced by any other."""
        return 2 * Fraction(self.clip) * self.scale


@dataclass(frozen=True, slots=True)
class StatisticsRelease:
    """The sealed sums: no row is released, only noisy sums of a company's weighted rows, once.

    A row clipped to L2 norm `clip` is an int8 vector of norm at most 127. An applicant with the outcome has
    the weight `positive`, one without it -`negative`, everybody else 0; to every coordinate of the sum the
    platform adds a discrete Gaussian of variance `variance`, in squared integer units. That gives every
    student (`epsilon`, `delta`) against replacing her row by any other.
    """

    dimensions: int
    clip: str
    negative: int
    positive: int
    variance: int
    epsilon: str
    delta: str

    @property
    def sensitivity(self) -> Fraction:
        """How far (L2, integer units) the sums move when one row is replaced by any other."""
        return Fraction(2 * self.label_sensitivity)

    @property
    def label_sensitivity(self) -> int:
        """How far (L2, integer units) the sums move when one record is added or removed."""
        return max(self.negative, self.positive) * ROW_NORM


Release = RowRelease | StatisticsRelease


@dataclass(frozen=True, slots=True)
class PersonLimit:
    """What one person may lose over all campaigns; whose row would pass it is left out of the tables.

    Attributes:
        companies: at how many a person trains per campaign: one, so that her loss is one record's.
        campaigns: in how many campaigns her records may be used.
        epsilon: her lifetime total at `delta`.
    """

    companies: int
    campaigns: int
    epsilon: str
    delta: str


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Who must have seen the ledger before noise is drawn: cosigners' verifier keys, and how many of them."""

    keys: tuple[str, ...]
    quorum: int


NO_WITNESSES = Witnesses((), 0)


@dataclass(frozen=True, slots=True)
class Scoring:
    """The sealed scores: encrypted heads in a message, width of their weights, public edges between bands."""

    heads: int
    weight_bits: int
    band_edges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands between a decision and a score.

    Attributes:
        cooling_seconds: how long after a decision batch is in the ledger nothing is evaluated for it.
        batches: how many decision batches a company may seal in the campaign.
        minimum_batch: how many applicants a batch must decide about at least.
        score_seconds: how long a company may keep a score.
    """

    cooling_seconds: int
    batches: int
    minimum_batch: int
    score_seconds: int


@dataclass(frozen=True, slots=True)
class Member:
    """One company of the cohort: how its batches are padded, and how many evaluations it may ask for.

    The evaluations are those for training; for scoring there is one batch for each decision batch.
    """

    company: str
    padded_batch: int
    evaluations: int


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """A campaign, complete. Construct with `from_body`, which checks every field against its bounds."""

    campaign: str
    task: Task
    train_seasons: tuple[str, ...]
    score_season: str
    cohort: tuple[Member, ...]
    minimum_cohort: int
    threshold: int
    training: Training
    release: Release
    person: PersonLimit
    witnesses: Witnesses
    scoring: Scoring
    gate: Gate
    bundle_sha256: str

    @property
    def mode(self) -> TrainingMode:
        """How it is trained."""
        is_sums = isinstance(self.release, StatisticsRelease)
        return TrainingMode.SEALED_STATISTICS if is_sums else TrainingMode.NOISED_ROWS

    @property
    def rows(self) -> RowRelease:
        """The release of noised rows; LocalProtocolError in the other mode."""
        if not isinstance(self.release, RowRelease):
            raise LocalProtocolError("plan: expected one that releases noised rows, got sealed statistics")
        return self.release

    @property
    def statistics(self) -> StatisticsRelease:
        """The release of sealed sums; LocalProtocolError in the other mode."""
        if not isinstance(self.release, StatisticsRelease):
            raise LocalProtocolError("plan: expected one with sealed statistics, got noised rows")
        return self.release

    @property
    def training_payload_bytes(self) -> int:
        """Length of a payload of the training table: 16 bits a coordinate, or nothing but one zero byte."""
        return 2 * self.release.dimensions if self.mode is TrainingMode.NOISED_ROWS else 1

    @property
    def companies(self) -> tuple[str, ...]:
        """The cohort's names, sorted."""
        return tuple(member.company for member in self.cohort)

    @property
    def head_length(self) -> int:
        """Coordinates of a head: the weights, then the bias. What is released beyond them is sentinels."""
        return self.release.dimensions + 1

    @property
    def vector_length(self) -> int:
        """Coordinates of what a company contributes to a round: head, then sentinels."""
        return self.head_length + self.training.sentinels

    def member(self, company: str) -> Member:
        """The cohort entry of `company`; DataError if it is not in the cohort."""
        for member in self.cohort:
            if member.company == company:
                return member
        raise DataError("plan: expected a company of the cohort, got another")

    def to_body(self) -> dict[str, Any]:
        """The JSON object that goes in the ledger; the inverse of `from_body`."""
        return {
            "campaign": self.campaign,
            "task": {
                "name": self.task.name,
                "positive": list(self.task.positive),
                "negative": list(self.task.negative),
                "excluded": list(self.task.excluded),
            },
            "mode": self.mode.value,
            "train_seasons": list(self.train_seasons),
            "score_season": self.score_season,
            "cohort": [
                {"company": m.company, "padded_batch": m.padded_batch, "evaluations": m.evaluations}
                for m in self.cohort
            ],
            "minimum_cohort": self.minimum_cohort,
            "threshold": self.threshold,
            "unit": UNIT,
            "adjacency": "add_remove",
            "training": {
                "rounds": self.training.rounds,
                "learning_rate": format_decimal(self.training.learning_rate),
                "weight_decay": format_decimal(self.training.weight_decay),
                "prior": list(self.training.prior),
                "average_from": self.training.average_from,
                "clipping_norm": format_decimal(self.training.clipping_norm),
                "grid": self.training.grid,
                "noise_multiplier": self.training.noise_multiplier,
                "placement": self.training.placement,
                "tolerated": self.training.tolerated,
                "sentinels": self.training.sentinels,
                "sampling": {"num": 1, "den": 1},
                "normaliser": self.training.normaliser,
                "epsilon": self.training.epsilon,
                "delta": self.training.delta,
                "deadline_seconds": self.training.deadline_seconds,
            },
            _RELEASE_FIELD[self.mode]: asdict(self.release),
            "person": {
                "companies": self.person.companies,
                "campaigns": self.person.campaigns,
                "epsilon": self.person.epsilon,
                "delta": self.person.delta,
            },
            "witnesses": {"keys": list(self.witnesses.keys), "quorum": self.witnesses.quorum},
            "scoring": {
                "heads": self.scoring.heads,
                "weight_bits": self.scoring.weight_bits,
                "band_edges": list(self.scoring.band_edges),
            },
            "gate": asdict(self.gate),
            "bundle_sha256": self.bundle_sha256,
        }

    def digest(self) -> bytes:
        """What companies sign and every key is bound to: SHA-256 over label ‖ canonical body."""
        return hashlib.sha256(b"noren/v1/plan\0" + canonical_json.encode(self.to_body())).digest()

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Self:
        """The plan that `body` describes; DataError naming the first field that is out of bounds."""
        top = _Fields(body, "plan")
        mode = top.text("mode")
        if mode not in set(TrainingMode):
            raise DataError("plan.mode: expected noised-rows or sealed-statistics, got another")
        release = top.inner(_RELEASE_FIELD[TrainingMode(mode)])
        plan = cls(
            campaign=ids.parse_name(top.text("campaign"), "plan.campaign"),
            task=_task(top.inner("task")),
            train_seasons=tuple(ids.parse_name(s, "plan.train_seasons") for s in top.texts("train_seasons")),
            score_season=ids.parse_name(top.text("score_season"), "plan.score_season"),
            cohort=tuple(_member(_Fields(m, "plan.cohort")) for m in top.list("cohort", 1, MAX_COMPANIES)),
            minimum_cohort=top.integer("minimum_cohort", 2, MAX_COMPANIES),
            threshold=top.integer("threshold", 2, MAX_COMPANIES),
            training=_training(top.inner("training")),
            release=_rows(release) if mode == TrainingMode.NOISED_ROWS else _statistics(release),
            person=_person(top.inner("person")),
            witnesses=_witnesses(top.inner("witnesses")),
            scoring=_scoring(top.inner("scoring")),
            gate=_gate(top.inner("gate")),
            bundle_sha256=top.text("bundle_sha256"),
        )
        top.expect("unit", UNIT)
        top.expect("adjacency", "add_remove")
        top.finish()
        plan._verify_consistency()
        return plan

    def _verify_consistency(self) -> None:
        names, n = self.companies, len(self.cohort)
        if list(names) != sorted(set(names)):
            raise DataError("plan.cohort: expected distinct companies in sorted order, got another order")
        if not 2 * n < 3 * self.threshold <= 3 * n:
            raise DataError(f"plan.threshold: expected more than 2/3 of {n} and at most {n}")
        if not self.threshold <= self.minimum_cohort <= n:
            raise DataError("plan.minimum_cohort: expected threshold <= minimum_cohort <= companies")
        if len(self.training.prior) != self.head_length:
            raise DataError("plan.training.prior: expected a number for each weight and the bias")
        if self.training.average_from > self.training.rounds:
            raise DataError("plan.training.average_from: expected a round of the plan, got a later one")
        if (
            self.training.placement == "distributed"
            and self.training.tolerated > n - self.minimum_cohort + n // 3
        ):
            raise DataError("plan.training.tolerated: expected at most dropped plus a third of the cohort")
        if self.training.placement == "distributed" and self.training.tolerated < n - self.minimum_cohort:
            raise DataError("plan.training.tolerated: expected at least the companies that may drop out")
        if self.training.placement == "local" and self.training.tolerated:
            raise DataError("plan.training.tolerated: expected 0 with local placement")
        self._verify_message_size()
        if isinstance(self.release, StatisticsRelease):
            self._verify_statistics(self.release)
        if 1 < self.scoring.heads >= self.release.dimensions:
            raise DataError("plan.scoring.heads: expected fewer heads than dimensions, or one")
        if len(self.bundle_sha256) != 64 or set(self.bundle_sha256) - set("0123456789abcdef"):
            raise DataError("plan.bundle_sha256: expected 64 lower-case hex digits")

    def _verify_message_size(self) -> None:
        """The largest messages: set-up with a ledger proof, and with the aggregates of all rounds."""
        n, rounds = len(self.cohort), self.training.rounds
        set_up = n * (_SET_UP_BYTES_PER_ROUND * rounds + _SET_UP_BYTES_PER_COMPANY)
        aggregates = rounds * (n * _SURVIVOR_BYTES + 8 * self.vector_length + _AGGREGATE_BYTES)
        if set_up + max(_PROOF_BYTES, aggregates) > MAX_MESSAGE_BYTES:
            raise DataError(
                f"plan: expected fewer companies or rounds, messages of {n} companies and {rounds} rounds "
                "would be too long"
            )

    def _verify_statistics(self, release: StatisticsRelease) -> None:
        """One round of one step from the prior; noise for labels is on the sums' own grid.

        With the bounds of `WeightLayout` and of the variance, every sum can be opened.
        """
        training = self.training
        if (training.rounds, training.average_from) != (1, 1) or training.weight_decay:
            raise DataError("plan.training: expected one round without weight decay for sealed statistics")
        if training.clipping_norm * training.grid != release.label_sensitivity:
            raise DataError(
                "plan.training: expected clipping_norm · grid to be what one record can move the sums"
            )
        for member in self.cohort:
            WeightLayout(
                positions=1,
                nonzero=member.padded_batch,
                negative=release.negative,
                positive=release.positive,
            )


_RELEASE_FIELD = {TrainingMode.NOISED_ROWS: "rows", TrainingMode.SEALED_STATISTICS: "statistics"}


class _Fields:
    """Takes fields out of a JSON object one by one and refuses what is left over."""

    def __init__(self, body: Any, what: str) -> None:
        if not isinstance(body, dict):
            raise DataError(f"{what}: expected an object, got {type(body).__name__}")
        self._left = dict(body)
        self._what = what

    def _take(self, name: str) -> Any:
        if name not in self._left:
            raise DataError(f"{self._what}.{name}: expected this field, got none")
        return self._left.pop(name)

    def text(self, name: str) -> str:
        value = self._take(name)
        if not isinstance(value, str) or not 0 < len(value) <= 200:
            raise DataError(f"{self._what}.{name}: expected a text of 1 to 200 characters")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise DataError(f"{self._what}.{name}: expected an integer from {low} to {high}")
        return value

    def decimal(self, name: str, low: Fraction | int, high: Fraction | int) -> Fraction:
        return _decimal(self.text(name), f"{self._what}.{name}", low, high)

    def decimal_string(self, name: str, low: Fraction | int, high: Fraction | int) -> str:
        return format_decimal(self.decimal(name, low, high))

    def list(self, name: str, low: int, high: int) -> list[Any]:
        value = self._take(name)
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise DataError(f"{self._what}.{name}: expected a list of {low} to {high} items")
        return value

    def texts(self, name: str, low: int = 1) -> tuple[str, ...]:
        items = self.list(name, low, 50)
        if not all(isinstance(item, str) and 0 < len(item) <= 60 for item in items) or len(set(items)) != len(
            items
        ):
            raise DataError(f"{self._what}.{name}: expected distinct texts of 1 to 60 characters")
        return tuple(items)

    def integers(self, name: str, low: int, high: int, *, limit: int) -> tuple[int, ...]:
        items = self.list(name, low, high)
        if not all(type(item) is int and abs(item) <= limit for item in items):
            raise DataError(f"{self._what}.{name}: expected integers from {-limit} to {limit}")
        return tuple(items)

    def inner(self, name: str) -> _Fields:
        return _Fields(self._take(name), f"{self._what}.{name}")

    def expect(self, name: str, value: object) -> None:
        # Compared as encoded: True equals 1 in Python, and would be a second spelling of the same plan.
        if canonical_json.encode(self._take(name)) != canonical_json.encode(value):
            raise DataError(f"{self._what}.{name}: expected {value!r}, got another value")

    def finish(self) -> None:
        if self._left:
            raise DataError(f"{self._what}: expected no further fields, got {len(self._left)} more")


def _decimal(text: str, what: str, low: Fraction | int, high: Fraction | int) -> Fraction:
    value = parse_decimal(text, what)
    if not low <= value <= high:
        raise DataError(f"{what}: expected a decimal from {low} to {high}, got another")
    return value


def _task(fields: _Fields) -> Task:
    task = Task(
        name=fields.text("name"),
        positive=fields.texts("positive"),
        negative=fields.texts("negative"),
        excluded=fields.texts("excluded", 0),
    )
    fields.finish()
    if len(set(task.vocabulary)) != len(task.vocabulary):
        raise DataError("plan.task: expected each outcome word once, got one twice")
    return task


def _member(fields: _Fields) -> Member:
    member = Member(
        company=ids.parse_name(fields.text("company"), "plan.cohort.company"),
        padded_batch=fields.integer("padded_batch", 1, 65535),
        evaluations=fields.integer("evaluations", 1, 1_000_000),
    )
    fields.finish()
    return member


def _training(fields: _Fields) -> Training:
    fields.expect("sampling", {"num": 1, "den": 1})
    training = Training(
        rounds=fields.integer("rounds", 1, MAX_ROUNDS),
        learning_rate=fields.decimal("learning_rate", Fraction(1, 1000), 100),
        weight_decay=fields.decimal("weight_decay", 0, 1),
        prior=fields.integers("prior", 2, MAX_DIMENSIONS + 1, limit=MAX_PRIOR),
        average_from=fields.integer("average_from", 1, MAX_ROUNDS),
        clipping_norm=fields.decimal("clipping_norm", Fraction(1, 100), 100),
        grid=fields.integer("grid", 2**10, 2**20),
        noise_multiplier=fields.decimal_string("noise_multiplier", Fraction(1, 2), 10_000),
        placement=fields.text("placement"),
        tolerated=fields.integer("tolerated", 0, MAX_COMPANIES),
        sentinels=fields.integer("sentinels", 0, MAX_SENTINELS),
        normaliser=fields.integer("normaliser", 1, 10**9),
        epsilon=fields.decimal_string("epsilon", Fraction(1, 100), 16),
        delta=fields.decimal_string("delta", Fraction(1, 10**8), Fraction(1, 10**4)),
        deadline_seconds=fields.integer("deadline_seconds", 5, 3600),
    )
    fields.finish()
    if training.placement not in ("distributed", "local"):
        raise DataError("plan.training.placement: expected distributed or local")
    return training


def _rows(fields: _Fields) -> RowRelease:
    rows = RowRelease(
        dimensions=fields.integer("dimensions", 1, MAX_DIMENSIONS),
        clip=fields.decimal_string("clip", Fraction(1, 10), 100),
        scale=fields.integer("scale", 16, 2**14),
        variance=fields.integer("variance", 1, 2**40),
        epsilon=fields.decimal_string("epsilon", Fraction(1, 10), 16),
        delta=fields.decimal_string("delta", Fraction(1, 10**8), Fraction(1, 10**4)),
    )
    fields.finish()
    return rows


def _statistics(fields: _Fields) -> StatisticsRelease:
    statistics = StatisticsRelease(
        dimensions=fields.integer("dimensions", 1, MAX_DIMENSIONS),
        clip=fields.decimal_string("clip", Fraction(1, 10), 100),
        negative=fields.integer("negative", 1, MAX_STATISTICS_WEIGHT),
        positive=fields.integer("positive", 1, MAX_STATISTICS_WEIGHT),
        variance=fields.integer("variance", 1, 2**40),
        epsilon=fields.decimal_string("epsilon", Fraction(1, 10), 16),
        delta=fields.decimal_string("delta", Fraction(1, 10**8), Fraction(1, 10**4)),
    )
    fields.finish()
    return statistics


def _person(fields: _Fields) -> PersonLimit:
    person = PersonLimit(
        companies=fields.integer("companies", 1, 1),
        campaigns=fields.integer("campaigns", 1, 9),
        epsilon=fields.decimal_string("epsilon", Fraction(1, 100), 16),
        delta=fields.decimal_string("delta", Fraction(1, 10**8), Fraction(1, 10**4)),
    )
    fields.finish()
    return person


def _witnesses(fields: _Fields) -> Witnesses:
    keys = fields.list("keys", 0, MAX_WITNESSES)
    for key in keys:
        if not isinstance(key, str) or not _COSIGNER_KEY.match(key):
            raise DataError("plan.witnesses.keys: expected verifier keys of cosigners")
    if keys != sorted(set(keys)):
        raise DataError("plan.witnesses.keys: expected distinct keys in sorted order")
    witnesses = Witnesses(tuple(keys), fields.integer("quorum", min(1, len(keys)), len(keys)))
    fields.finish()
    return witnesses


def _scoring(fields: _Fields) -> Scoring:
    edges = fields.texts("band_edges")
    values = [_decimal(edge, "plan.scoring.band_edges", 0, 1) for edge in edges]
    if values != sorted(values) or len(values) > 4:
        raise DataError("plan.scoring.band_edges: expected at most 4 ascending probabilities")
    scoring = Scoring(
        heads=fields.integer("heads", 1, MAX_HEADS),
        weight_bits=fields.integer("weight_bits", 8, 12),
        band_edges=edges,
    )
    fields.finish()
    if scoring.weight_bits not in (8, 12):
        raise DataError("plan.scoring.weight_bits: expected 8 or 12")
    return scoring


def _gate(fields: _Fields) -> Gate:
    gate = Gate(
        cooling_seconds=fields.integer("cooling_seconds", 0, 30 * _DAY_SECONDS),
        batches=fields.integer("batches", 1, MAX_DECISION_BATCHES),
        minimum_batch=fields.integer("minimum_batch", 1, 1_000),
        score_seconds=fields.integer("score_seconds", 3_600, 400 * _DAY_SECONDS),
    )
    fields.finish()
    return gate

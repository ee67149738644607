"""What a finished season reports: plain values, filled in by the demo and shown by `report`.

Everything here is known to the evaluator alone, who holds the truth of the score season; no party of
the protocol could compute it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from noren_core.season.plan import TrainingMode


@dataclass(frozen=True, slots=True)
class ModelResult:
    """Within-company AUC of one way of scoring, overall and by size of company (training rows)."""

    model: str
    auc: float
    by_size: dict[str, float]  # size bucket such as "≤ 100", "101-500", "> 500" → AUC


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One task: how many people, how often the outcome, and every way of scoring it."""

    task: str
    companies: int
    trained_companies: int
    training_rows: int
    scored: int
    base_rate: float
    models: tuple[ModelResult, ...]
    calibration_gap: float
    bands: dict[str, int]  # band → people, over all companies
    observed_by_band: dict[str, float]  # band → share with the outcome
    epsilon: float  # head, recomputed by the auditor
    delta: float
    row_epsilon: float  # noised training rows, or sums of rows: a separate release
    row_delta: float
    rounds: int
    round_seconds: tuple[float, ...]
    training_mode: str = TrainingMode.NOISED_ROWS.value


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the season: wall seconds and CPU seconds of all processes together."""

    name: str
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """One operating-system process of one party."""

    party: str
    process: str
    peak_rss_mb: float
    peak_pss_mb: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class PartyUse:
    """All processes of one party that ran at the same time, at their peak."""

    party: str
    peak_pss_mb: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Application bytes between one company and the platform, without TLS framing."""

    company: str
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a party knows after the season that it did not know before, and what it still does not."""

    party: str
    learnt: str
    not_learnt: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What `noren-audit` said of the exported ledger, and of a copy with one byte changed."""

    verdict: str
    entries: int
    tampered_verdict: str
    tampered_reason: str


@dataclass(frozen=True, slots=True)
class RightsStep:
    """One thing that happened to somebody's rights, and what was seen of it."""

    step: str
    seen: str


@dataclass(frozen=True, slots=True)
class SeasonSummary:
    """The whole season."""

    data: str  # e.g. "generated (seed 7)" or "OULAD, 6 module companies"
    mode: str  # "separate processes" or "in process"
    tasks: tuple[TaskResult, ...]
    phases: tuple[Phase, ...]
    processes: tuple[ProcessUse, ...]
    parties: tuple[PartyUse, ...]
    traffic: tuple[Traffic, ...]
    learnt: tuple[Learnt, ...]
    verification: Verification
    rights: tuple[RightsStep, ...]
    notes: tuple[str, ...]  # e.g. "company c07 did not take part: TRAINING_SET_ONE_CLASS"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

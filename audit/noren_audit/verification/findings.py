"""What the auditor can find wrong, and the list in which findings are collected.

Codes are stable: a report of today can be compared with one of next year. A finding carries its
evidence (indices in the ledger, what was expected, what stands there), so that it can be checked by
hand in the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Evidence = str | int | list[str]


class Code(StrEnum):
    """Every defect the verifier names."""

    # The bundle and its seal.
    BUNDLE_FILES = "BUNDLE_FILES"
    BUNDLE_FRAMING = "BUNDLE_FRAMING"
    BUNDLE_TILES = "BUNDLE_TILES"
    CHECKPOINT_INVALID = "CHECKPOINT_INVALID"
    CHECKPOINT_RETIRED_KEY = "CHECKPOINT_RETIRED_KEY"
    CHECKPOINT_SIZE = "CHECKPOINT_SIZE"
    CHECKPOINT_ROOT = "CHECKPOINT_ROOT"
    # What others saw.
    WITNESS_QUORUM = "WITNESS_QUORUM"
    SPLIT_VIEW = "SPLIT_VIEW"
    SEEN_UNUSABLE = "SEEN_UNUSABLE"
    # Single entries.
    ENTRY_MALFORMED = "ENTRY_MALFORMED"
    ENTRY_REPLAYED = "ENTRY_REPLAYED"
    AUTHOR_SIGNATURE = "AUTHOR_SIGNATURE"
    COUNTERSIGNATURE = "COUNTERSIGNATURE"
    LOG_START = "LOG_START"
    # Parties.
    NOT_ENROLLED = "NOT_ENROLLED"
    ENROLMENT_REPEATED = "ENROLMENT_REPEATED"
    KEY_SHARED = "KEY_SHARED"
    AGREEMENT_MISSING = "AGREEMENT_MISSING"
    # Changes of keys, and their end.
    RETIRED_KEY = "RETIRED_KEY"
    ROTATION_CHAIN = "ROTATION_CHAIN"
    ROTATION_NOT_AGREED = "ROTATION_NOT_AGREED"
    ROTATION_IN_CAMPAIGN = "ROTATION_IN_CAMPAIGN"
    ROTATIONS_TOO_MANY = "ROTATIONS_TOO_MANY"
    TRUSTED_KEY_MISSING = "TRUSTED_KEY_MISSING"
    COMPANY_REVOKED = "COMPANY_REVOKED"
    # Campaigns before the first round.
    PLAN_MALFORMED = "PLAN_MALFORMED"
    PLAN_REPEATED = "PLAN_REPEATED"
    PLAN_MISSING = "PLAN_MISSING"
    PLAN_ABOVE_TRUST = "PLAN_ABOVE_TRUST"
    NOT_IN_COHORT = "NOT_IN_COHORT"
    ACCEPTANCE_OTHER_PLAN = "ACCEPTANCE_OTHER_PLAN"
    ACCEPTANCE_MISSING = "ACCEPTANCE_MISSING"
    ACCEPTANCES_TOO_FEW = "ACCEPTANCES_TOO_FEW"
    OPRF_KEY_REPEATED = "OPRF_KEY_REPEATED"
    OPRF_KEY_REUSED = "OPRF_KEY_REUSED"
    OPRF_KEY_MISSING = "OPRF_KEY_MISSING"
    CONSENT_EPOCH_MISSING = "CONSENT_EPOCH_MISSING"
    CONSENT_EPOCH_REUSED = "CONSENT_EPOCH_REUSED"
    TABLE_ID_REUSED = "TABLE_ID_REUSED"
    TRAIN_TABLE_MISSING = "TRAIN_TABLE_MISSING"
    TRAIN_TABLE_LATE = "TRAIN_TABLE_LATE"
    # Sums instead of rows.
    STATISTICS_NOT_PLANNED = "STATISTICS_NOT_PLANNED"
    STATISTICS_REPEATED = "STATISTICS_REPEATED"
    STATISTICS_ORDER = "STATISTICS_ORDER"
    STATISTICS_LATE = "STATISTICS_LATE"
    STATISTICS_OTHER_TABLE = "STATISTICS_OTHER_TABLE"
    STATISTICS_OTHER_WEIGHTS = "STATISTICS_OTHER_WEIGHTS"
    STATISTICS_MISSING = "STATISTICS_MISSING"
    # What noise is drawn from.
    COMMITMENT_OTHER_PLAN = "COMMITMENT_OTHER_PLAN"
    COMMITMENT_REPEATED = "COMMITMENT_REPEATED"
    COMMITMENT_LATE = "COMMITMENT_LATE"
    COMMITMENT_MISSING = "COMMITMENT_MISSING"
    SEED_REPEATED = "SEED_REPEATED"
    BEACON_REPEATED = "BEACON_REPEATED"
    BEACON_MISSING = "BEACON_MISSING"
    BEACON_NOT_THE_LOGS = "BEACON_NOT_THE_LOGS"
    BEACON_SIZE = "BEACON_SIZE"
    BEACON_ROOT = "BEACON_ROOT"
    BEACON_WITNESSES = "BEACON_WITNESSES"
    # Rounds.
    INTENT_OTHER_PLAN = "INTENT_OTHER_PLAN"
    INTENT_ROUND_ORDER = "INTENT_ROUND_ORDER"
    INTENT_BEYOND_PLAN = "INTENT_BEYOND_PLAN"
    EVENT_NOT_THE_PLANS = "EVENT_NOT_THE_PLANS"
    ODOMETER_REPEATED = "ODOMETER_REPEATED"
    ODOMETER_ROLLED_BACK = "ODOMETER_ROLLED_BACK"
    SETTLE_BEYOND_PLAN = "SETTLE_BEYOND_PLAN"
    SETTLE_WITHOUT_INTENT = "SETTLE_WITHOUT_INTENT"
    SETTLE_ORDER = "SETTLE_ORDER"
    SURVIVORS_NOT_IN_COHORT = "SURVIVORS_NOT_IN_COHORT"
    SURVIVORS_TOO_FEW = "SURVIVORS_TOO_FEW"
    SURVIVORS_DIFFER = "SURVIVORS_DIFFER"
    UPDATE_REPEATED = "UPDATE_REPEATED"
    MODELS_DIFFER = "MODELS_DIFFER"
    MODEL_CHAIN_BROKEN = "MODEL_CHAIN_BROKEN"
    SENTINELS_NOT_THE_PLANS = "SENTINELS_NOT_THE_PLANS"
    SENTINELS_DIFFER = "SENTINELS_DIFFER"
    SENTINELS_TOO_SMALL = "SENTINELS_TOO_SMALL"
    SENTINELS_TOO_LARGE = "SENTINELS_TOO_LARGE"
    SENTINELS_REPEATED = "SENTINELS_REPEATED"
    ROUND_FAILED_CONFLICT = "ROUND_FAILED_CONFLICT"
    REPLAY_FAILED = "REPLAY_FAILED"
    VERDICT_UNUSABLE = "VERDICT_UNUSABLE"
    # After the last round.
    HEAD_REPEATED = "HEAD_REPEATED"
    HEAD_EARLY = "HEAD_EARLY"
    HEAD_NOT_THE_PLANS = "HEAD_NOT_THE_PLANS"
    SCORE_TABLE_EARLY = "SCORE_TABLE_EARLY"
    CAMPAIGN_CLOSED = "CAMPAIGN_CLOSED"
    # Coverage, gate, copies for students, erasure, service.
    COVERAGE_MISSING = "COVERAGE_MISSING"
    POLICY_UNKNOWN = "POLICY_UNKNOWN"
    BATCH_SEQUENCE = "BATCH_SEQUENCE"
    BATCHES_TOO_MANY = "BATCHES_TOO_MANY"
    BATCH_REUSED = "BATCH_REUSED"
    GATE_WITHOUT_BATCH = "GATE_WITHOUT_BATCH"
    GATE_REPEATED = "GATE_REPEATED"
    GATE_TOO_EARLY = "GATE_TOO_EARLY"
    MIRROR_WITHOUT_GATE = "MIRROR_WITHOUT_GATE"
    CERTIFICATE_WITHOUT_ORDER = "CERTIFICATE_WITHOUT_ORDER"
    CERTIFICATE_MISSING = "CERTIFICATE_MISSING"
    SERVICE_STATE_CHAIN = "SERVICE_STATE_CHAIN"
    PROCESSED_WHILE_STOPPED = "PROCESSED_WHILE_STOPPED"
    INCIDENT_CHAIN = "INCIDENT_CHAIN"
    # Privacy budget.
    EPSILON_EXCEEDED = "EPSILON_EXCEEDED"
    ROW_EPSILON_EXCEEDED = "ROW_EPSILON_EXCEEDED"
    PERSON_EPSILON_EXCEEDED = "PERSON_EPSILON_EXCEEDED"
    EPSILON_NOT_COMPUTABLE = "EPSILON_NOT_COMPUTABLE"
    ACCOUNTANTS_DISAGREE = "ACCOUNTANTS_DISAGREE"


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect.

    Attributes:
        code: what kind of defect.
        message: one sentence: what was expected and what stands in the bundle.
        index: the entry (counted from 0) that shows it; None if it belongs to no single entry.
        evidence: what to compare, by name.
    """

    code: Code
    message: str
    index: int | None
    evidence: dict[str, Evidence]


class Findings:
    """Collects every defect; nothing that is found ends the search."""

    def __init__(self) -> None:
        self._items: list[Finding] = []

    def add(self, code: Code, message: str, *, index: int | None = None, **evidence: Evidence) -> None:
        """Record one defect."""
        self._items.append(Finding(code, message, index, evidence))

    @property
    def count(self) -> int:
        """How many there are so far."""
        return len(self._items)

    def in_order(self) -> tuple[Finding, ...]:
        """The findings by entry; those about the whole bundle first."""
        return tuple(sorted(self._items, key=lambda item: -1 if item.index is None else item.index))

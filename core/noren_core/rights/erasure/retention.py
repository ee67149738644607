"""How long everything is kept: one table, the same for whoever deletes and whoever checks.

docs/rights/erasure.md §7. Promises: nothing is deleted because of its age but by a job that reads this table,
and whatever is still there a day after its time blocks what would release more (RETENTION_OVERDUE).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from noren_core.errors import LocalProtocolError

DAY_SECONDS = 86_400
GRACE_SECONDS = DAY_SECONDS
"""The job runs daily; what is older than its time by more than that, nobody has deleted."""


class Kept(StrEnum):
    """What is kept for a time."""

    TRAINING_ROWS = "training-rows"
    REPLAY_DATA = "replay-data"
    SCORES = "scores"
    FOLLOW_UP_NOTES = "follow-up-notes"
    PROVISION_TWINS = "provision-twins"
    CERTIFICATES = "certificates"
    PROVISION_RECORDS = "provision-records"
    ERASURE_ORDERS = "erasure-orders"
    EMBEDDINGS = "embeddings"
    SEALED_TABLES = "sealed-tables"


class Since(StrEnum):
    """From when on its time runs."""

    WRITTEN = "written"
    LAST_ROUND = "last-round"
    GATE_OPENED = "gate-opened"
    CAMPAIGN_CLOSED = "campaign-closed"


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """How long something is kept, in seconds, and since when; 0 if the plan or the configuration says."""

    since: Since
    seconds: int


_THREE_YEARS = 3 * 366 * DAY_SECONDS

RETENTION: Mapping[Kept, RetentionRule] = {
    Kept.TRAINING_ROWS: RetentionRule(Since.LAST_ROUND, 30 * DAY_SECONDS),
    Kept.REPLAY_DATA: RetentionRule(Since.LAST_ROUND, 0),  # limits.dispute_days of the company
    Kept.SCORES: RetentionRule(Since.GATE_OPENED, 0),  # gate.score_seconds of the plan
    Kept.FOLLOW_UP_NOTES: RetentionRule(Since.WRITTEN, 60 * DAY_SECONDS),
    Kept.PROVISION_TWINS: RetentionRule(Since.WRITTEN, _THREE_YEARS),
    Kept.CERTIFICATES: RetentionRule(Since.WRITTEN, _THREE_YEARS),
    Kept.PROVISION_RECORDS: RetentionRule(Since.WRITTEN, _THREE_YEARS),
    Kept.ERASURE_ORDERS: RetentionRule(Since.WRITTEN, _THREE_YEARS),
    Kept.EMBEDDINGS: RetentionRule(Since.CAMPAIGN_CLOSED, 30 * DAY_SECONDS),
    Kept.SEALED_TABLES: RetentionRule(Since.CAMPAIGN_CLOSED, 30 * DAY_SECONDS),
}
"""Models go with an erasure order at the season's end, not by age; a student's mailbox is her own."""


def is_over(kept: Kept, *, since: int, now: int, seconds: int = 0) -> bool:
    """Whether the time of something is over.

    Args:
        kept: what it is.
        since: from when on its time runs, Unix seconds.
        now: Unix seconds.
        seconds: how long, where the table leaves that to the plan or the configuration.
    """
    return now - since > (RETENTION[kept].seconds or seconds)


def verify_nothing_overdue(overdue: Collection[Kept]) -> None:
    """Raise LocalProtocolError (RETENTION_OVERDUE) if something was not deleted in time; names what it is."""
    if overdue:
        raise LocalProtocolError(
            f"retention: expected everything to be deleted in time, got old {', '.join(sorted(overdue))}: "
            "run the daily retention job",
            code="RETENTION_OVERDUE",
        )

"""What a company holds about persons, by class, and the stores in which it holds it.

This list is what a deletion certificate is checked against: a certificate that leaves out a store is no
certificate. A program that keeps anything about a person in another place adds the place here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ArtefactClass(StrEnum):
    """Kinds of things about one person at a company."""

    LINK = "link"  # evaluated identifiers
    TRAIN_ROW = "train-row"
    REPLAY_ROW = "replay-row"
    SCORE = "score"
    FOLLOW_UP = "follow-up"
    DOWNLOAD_CACHE = "download-cache"
    BACKUP = "backup"  # copies that the program did not make; their custody records have lost their key


class ErasureMethod(StrEnum):
    """How something was erased."""

    DELETE = "delete"  # files unlinked or written again without it; a disk may keep what was in them
    KEY_DESTRUCTION = "key-destruction"  # a share of the record's key is gone
    BOTH = "delete+key-destruction"


REGISTERED_STORES: Mapping[ArtefactClass, tuple[str, ...]] = {
    ArtefactClass.LINK: ("blinding.json", "oprf-score.json", "oprf-train.json"),
    ArtefactClass.TRAIN_ROW: ("custody/train-row", "weights.bin"),
    ArtefactClass.REPLAY_ROW: ("custody/replay-row",),
    ArtefactClass.SCORE: ("custody/score", "mirror-pending.json", "scored.json"),
    ArtefactClass.FOLLOW_UP: ("custody/follow-up",),
    ArtefactClass.DOWNLOAD_CACHE: ("half-written", "table-score.download", "table-train.download"),
    ArtefactClass.BACKUP: ("custody-records",),
}
"""By class, every place in a campaign's directory where something of it can be, in the order of the texts."""

IN_CUSTODY = frozenset(
    {ArtefactClass.TRAIN_ROW, ArtefactClass.REPLAY_ROW, ArtefactClass.SCORE, ArtefactClass.FOLLOW_UP}
)
"""Kept as custody records."""

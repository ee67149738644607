"""A company that deposits copies for students in memory: records, keys and the ledger entry."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.rights.disclosure.mirror import MirrorRecord, Reason, commit
from noren_core.rights.disclosure.mirror_copy import (
    AnswerCopy,
    Copy,
    Holding,
    OpenedCopy,
    ScoreCopy,
    open_copy,
    seal_copy,
)

NOW = 1_800_000_000
COMPANY, CAMPAIGN, POSITION = "akane", "spring-2026", "engineer"
MAILBOX = bytes(range(16))


def record(**changes: object) -> MirrorRecord:
    """A record like any other, with these fields changed."""
    made = MirrorRecord(
        campaign=CAMPAIGN,
        company=COMPANY,
        position=POSITION,
        mailbox=MAILBOX,
        band=1,
        band_edges=("0.2", "0.4"),
        base_rate_percent=30,
        reasons=tuple(Reason),
        data_categories=("behaviour-log",),
        computed_at=NOW,
        expires_at=NOW + 30 * 86_400,
        model_sha256=bytes(32),
        gate_index=17,
        contest="https://site.example/contest",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def answer(score: ScoreCopy | None = None, **changes: object) -> AnswerCopy:
    """An answer to a disclosure request, with these fields changed."""
    made = AnswerCopy(
        company=COMPANY,
        campaign=CAMPAIGN,
        position=POSITION,
        mailbox=MAILBOX,
        request=bytes(16),
        part=1,
        parts=1,
        holdings=() if score is None else (Holding.SCORE,),
        score=score,
        at=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass
class MirroringCompany:
    """One company, one student, and the ledger entries that prove deposits."""

    signing: SigningKey = field(default_factory=SigningKey.generate)
    student: SealingKey = field(default_factory=SealingKey.generate)
    entries: dict[int, SignedEntry] = field(default_factory=dict)

    def deposit(self, *records: MirrorRecord, size: int = 64) -> list[ScoreCopy]:
        """The score copies of these records, under an entry at the next index."""
        root, committed = commit(records, size=size, random_bytes=secrets.token_bytes)
        body = {"campaign": CAMPAIGN, "company": COMPANY, "root": root.hex(), "deposited_at": NOW}
        index = len(self.entries)
        self.entries[index] = parse_entry(sign_entry(EntryKind.MIRROR_DEPOSIT, COMPANY, body, self.signing))
        return [ScoreCopy(deposit_index=index, committed=item) for item in committed]

    def seal(self, copy: Copy) -> bytes:
        """A copy for the student."""
        return seal_copy(copy, signing=self.signing, disclosure_key=self.student.public_key)

    def open(self, sealed: bytes) -> OpenedCopy:
        """What the student's device opens."""
        return open_copy(
            sealed,
            self.student,
            company=COMPANY,
            mailbox=MAILBOX,
            company_keys=[self.signing.public_key],
            deposit_at=self.entries.__getitem__,
        )

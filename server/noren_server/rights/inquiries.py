"""Questions and contests of students, and the people who must answer them in time.

docs/rights/student-api.md §5. Promises: nothing is closed that nobody answered; what is overdue is told to
auditors by kind, without whose it is. A contradiction between a company's answer and the records comes with
the company's signed words, verified here, so that an auditor can use them.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from noren_core import ids
from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.disclosure.inquiry import MAX_TEXT_CHARACTERS, Inquiry, InquiryState, InquiryTopic
from noren_core.rights.disclosure.mirror_copy import parse_evidence
from noren_server.policies.evidence_file import EvidenceFile

ID_BYTES = 16
MAX_OPEN = 16
MAX_EVIDENCE_BYTES = 4096

CompanyKeys = Callable[[str], frozenset[bytes]]
"""Every signing key that the ledger has for a company."""

_COLUMNS = "inquiry, company, topic, state, text, opened_at, due_at, answered_at, answer, reviewer"


@dataclass(frozen=True, slots=True)
class StoredInquiry:
    """One inquiry with its words."""

    inquiry_id: bytes
    company: str
    inquiry: Inquiry
    text: str = field(repr=False)
    answer: str = field(repr=False)
    reviewer: str

    def to_body(self, *, now: int) -> dict[str, Any]:
        """What her device is told."""
        return {
            "inquiry": self.inquiry_id.hex(),
            "company": self.company,
            "topic": self.inquiry.topic.value,
            "state": self.inquiry.state.value,
            "text": self.text,
            "opened_at": self.inquiry.opened_at,
            "due_at": self.inquiry.due_at,
            "answered_at": self.inquiry.answered_at,
            "answer": self.answer,
            "overdue": self.inquiry.is_overdue(now=now),
        }


class InquiryDesk:
    """The inquiries of one platform."""

    def __init__(self, file: EvidenceFile, company_keys: CompanyKeys, *, clock: Callable[[], int]) -> None:
        self._file = file
        self._company_keys = company_keys
        self._clock = clock

    def open(
        self, student: str, topic: InquiryTopic, *, company: str, text: str, evidence: bytes = b""
    ) -> bytes:
        """A new inquiry; its id.

        Args:
            student: who asks.
            topic: what about.
            company: the name of one, or nothing.
            text: 1 to 4000 characters.
            evidence: for a contradiction, the company's signed answer as her device opened it.

        Raises:
            DataError, VerificationError: for another text or evidence than the topic asks for.
            LocalProtocolError: with code TOO_MANY_REQUESTS, if 16 are open.
        """
        if company:
            ids.parse_name(company, "inquiry: company")
        if not 0 < len(text) <= MAX_TEXT_CHARACTERS:
            raise DataError(f"inquiry: expected 1 to {MAX_TEXT_CHARACTERS} characters, got another number")
        self._verify_evidence(topic, company, evidence)
        inquiry, inquiry_id = Inquiry.open(topic, now=self._clock()), secrets.token_bytes(ID_BYTES)
        with self._file.writing() as database:
            (count,) = database.execute(
                "SELECT COUNT(*) FROM inquiries WHERE student = ? AND state <> ?",
                (student, InquiryState.CLOSED.value),
            ).fetchone()
            if count >= MAX_OPEN:
                raise LocalProtocolError(
                    "inquiry: expected at most 16 open ones, got another", code="TOO_MANY_REQUESTS"
                )
            database.execute(
                "INSERT INTO inquiries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', '')",
                (
                    *(inquiry_id, student, company, topic.value, inquiry.state.value, text, evidence),
                    *(inquiry.opened_at, inquiry.due_at),
                ),
            )
        return inquiry_id

    def of_student(self, student: str) -> tuple[StoredInquiry, ...]:
        """Hers, oldest first."""
        with self._file.reading() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM inquiries WHERE student = ? ORDER BY opened_at, inquiry",  # noqa: S608
                (student,),
            ).fetchall()
        return tuple(map(_stored, rows))

    def open_inquiries(self) -> tuple[StoredInquiry, ...]:
        """Those that nobody answered yet, the most urgent first: for the privacy officer."""
        waiting = (InquiryState.OPEN.value, InquiryState.ESCALATED.value)
        with self._file.reading() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM inquiries WHERE state IN (?, ?) ORDER BY due_at",  # noqa: S608
                waiting,
            ).fetchall()
        return tuple(map(_stored, rows))

    def inquiry(self, inquiry_id: bytes) -> StoredInquiry:
        """One of them, for the privacy officer; LocalProtocolError (NOT_AVAILABLE) if there is none."""
        with self._file.reading() as database:
            return _find(database, inquiry_id, None)

    def answer(self, inquiry_id: bytes, *, answer: str, reviewer: str) -> None:
        """A person's answer; `reviewer` is the name under which the staff register has that person."""
        ids.parse_name(reviewer, "inquiry: reviewer")
        if not 0 < len(answer) <= MAX_TEXT_CHARACTERS:
            raise DataError(f"inquiry: expected 1 to {MAX_TEXT_CHARACTERS} characters, got another number")
        self._move(inquiry_id, InquiryState.ANSWERED, answer=answer, reviewer=reviewer)

    def close(self, student: str, inquiry_id: bytes) -> None:
        """She is content with the answer."""
        self._move(inquiry_id, InquiryState.CLOSED, student=student)

    def escalate(self, student: str, inquiry_id: bytes) -> None:
        """She is not, or none came: on to the auditor."""
        self._move(inquiry_id, InquiryState.ESCALATED, student=student)

    def is_any_overdue(self) -> bool:
        """Whether an answer is overdue, or came too late (INQUIRY_OVERDUE)."""
        query = "SELECT EXISTS (SELECT 1 FROM inquiries WHERE due_at < IIF(answered_at = 0, ?, answered_at))"
        with self._file.reading() as database:
            return bool(database.execute(query, (self._clock(),)).fetchone()[0])

    def _verify_evidence(self, topic: InquiryTopic, company: str, evidence: bytes) -> None:
        if (topic is InquiryTopic.RECONCILE) != bool(evidence):
            raise DataError("inquiry: expected evidence with a contradiction, and only there")
        if evidence:
            parse_evidence(evidence, company=company, company_keys=self._company_keys(company))

    def _move(
        self,
        inquiry_id: bytes,
        state: InquiryState,
        *,
        student: str | None = None,
        answer: str | None = None,
        reviewer: str = "",
    ) -> None:
        now = self._clock()
        with self._file.writing() as database:
            found = _find(database, inquiry_id, student)
            moved = found.inquiry.moved(state, now=now)
            database.execute(
                "UPDATE inquiries SET state = ?, due_at = ?, answered_at = ?, answer = ?, reviewer = ? "
                "WHERE inquiry = ?",
                (
                    *(moved.state.value, moved.due_at, moved.answered_at),
                    *(found.answer if answer is None else answer, reviewer or found.reviewer, inquiry_id),
                ),
            )


def _find(database: sqlite3.Connection, inquiry_id: bytes, student: str | None) -> StoredInquiry:
    row = database.execute(
        f"SELECT {_COLUMNS}, student FROM inquiries WHERE inquiry = ?",  # noqa: S608
        (inquiry_id,),
    ).fetchone()
    if row is None or student not in (None, row[-1]):
        raise LocalProtocolError(
            "inquiry: expected the id of an own inquiry, got another", code="NOT_AVAILABLE"
        )
    return _stored(row[:-1])


def _stored(row: tuple[Any, ...]) -> StoredInquiry:
    inquiry_id, company, topic, state, text, opened_at, due_at, answered_at, answer, reviewer = row
    inquiry = Inquiry(InquiryTopic(topic), InquiryState(state), opened_at, due_at, answered_at)
    return StoredInquiry(inquiry_id, company, inquiry, text, answer, reviewer)

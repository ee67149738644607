"""What a company puts in a student's mailbox: one size, whatever it says, sealed to her.

docs/rights/mirror-and-disclosure.md §2. Promises: every sealed copy has `COPY_BYTES`, so that a band,
"nothing here" and a list of accesses are alike to everybody but her; what opens was said by the company and
is about this mailbox; a score that opens is the one that the ledger commits to.

Left to the caller: that the ledger entry and the company's keys are proven, and that the key which is sealed
to is the student's (`verify_disclosure_key`).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Self

from noren_core import canonical_json, ids
from noren_core.crypto.identity import SealingKey, SigningKey, seal_to, verify_signature
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.rights import fields
from noren_core.rights.disclosure.mirror import MAILBOX_BYTES, CommittedRecord, MirrorRecord
from noren_core.rights.fields import check_bytes, check_integer, check_seconds, read_fields

COPY_BYTES = 4096
"""The size of every sealed copy."""

REQUEST_BYTES = 16
MAX_ACCESSES = 16
MAX_PARTS = 64

_COPY_LABEL = b"noren/v1/mirror-copy\0"
_STATEMENT_LABEL = b"noren/v1/mirror-statement"
_LENGTH_BYTES = 4
_SIGNATURE_BYTES = 64
_HPKE_BYTES = 48  # encapsulated key and authentication tag
PLAINTEXT_BYTES = COPY_BYTES - _HPKE_BYTES


class CopyKind(StrEnum):
    """What a copy can be."""

    SCORE = "score"
    ACCESSES = "accesses"
    ANSWER = "answer"


class Holding(StrEnum):
    """What a company answers that it holds about one person.

    Not whether she applied, nor whether a training row is hers: the platform, which hands out the keys that
    are sealed to, could otherwise ask about anybody and read the answer.
    """

    SCORE = "score"
    FOLLOW_UP_NOTE = "follow-up-note"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCopy:
    """A committed record, and where the ledger has the deposit whose root it is under."""

    kind: ClassVar[CopyKind] = CopyKind.SCORE
    deposit_index: int
    committed: CommittedRecord

    def __post_init__(self) -> None:
        check_integer(self.deposit_index, 0, canonical_json.MAX_INTEGER, "score copy: deposit index")

    @property
    def company(self) -> str:
        """Whose record it is."""
        return self.committed.record.company

    @property
    def mailbox(self) -> bytes:
        """Whom it is about."""
        return self.committed.record.mailbox

    def to_body(self) -> dict[str, Any]:
        """As it lies in a copy."""
        return {"deposit_index": self.deposit_index, "committed": self.committed.to_body()}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _SCORE_FIELDS, "score copy"))


_SCORE_FIELDS = {"deposit_index": fields.integer, "committed": CommittedRecord.from_body}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Something that happened with a score.

    Attributes:
        role: of the member of staff; never who it was.
        action: `view`, or the kind of a follow-up action.
        at: Unix seconds.
    """

    role: str
    action: str
    at: int

    def __post_init__(self) -> None:
        for name in (self.role, self.action):  # of our own lists, in which `_` joins words
            ids.parse_name(name.replace("_", "-"), "access: role or action")
        check_seconds(self.at, "access: time")

    def to_body(self) -> dict[str, Any]:
        """As it lies in a copy."""
        return {"role": self.role, "action": self.action, "at": self.at}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _ACCESS_FIELDS, "access"))


_ACCESS_FIELDS = {"role": fields.text, "action": fields.text, "at": fields.integer}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCopy:
    """What happened with her score since the copy before.

    Attributes:
        company, campaign, position: which score.
        mailbox: hers, 16 bytes.
        accesses: at most 16, oldest first; also none.
        at: Unix seconds of this statement.
    """

    kind: ClassVar[CopyKind] = CopyKind.ACCESSES
    company: str
    campaign: str
    position: str
    mailbox: bytes = field(repr=False)
    accesses: tuple[Access, ...] = field(repr=False)
    at: int

    def __post_init__(self) -> None:
        for name in ("company", "campaign", "position"):
            ids.parse_name(getattr(self, name), f"access copy: {name}")
        check_bytes(self.mailbox, MAILBOX_BYTES, "access copy: mailbox")
        if len(self.accesses) > MAX_ACCESSES:
            raise DataError(f"access copy: expected at most {MAX_ACCESSES} accesses; send another copy")
        check_seconds(self.at, "access copy: time")

    def to_body(self) -> dict[str, Any]:
        """As it lies in a copy."""
        return {
            "company": self.company,
            "campaign": self.campaign,
            "position": self.position,
            "mailbox": self.mailbox.hex(),
            "accesses": [access.to_body() for access in self.accesses],
            "at": self.at,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _ACCESS_COPY_FIELDS, "access copy"))


_ACCESS_COPY_FIELDS = {
    "company": fields.text,
    "campaign": fields.text,
    "position": fields.text,
    "mailbox": fields.hex_bytes,
    "accesses": fields.list_of(Access.from_body),
    "at": fields.integer,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCopy:
    """A company's answer to a disclosure request about one campaign and position.

    Attributes:
        company, campaign, position: what was asked about.
        mailbox: hers, 16 bytes.
        request: of the inbox item, 16 bytes.
        part, parts: which of how many copies of this answer, from 1; as many as the plan has heads.
        holdings: what the company holds about her, in the order of `Holding`; none is an answer too.
        score: what it holds as her score, as it was deposited; one for each head.
        at: Unix seconds.
    """

    kind: ClassVar[CopyKind] = CopyKind.ANSWER
    company: str
    campaign: str
    position: str
    mailbox: bytes = field(repr=False)
    request: bytes
    part: int
    parts: int
    holdings: tuple[Holding, ...] = field(repr=False)
    score: ScoreCopy | None = field(repr=False)
    at: int

    def __post_init__(self) -> None:
        for name in ("company", "campaign", "position"):
            ids.parse_name(getattr(self, name), f"answer: {name}")
        check_bytes(self.mailbox, MAILBOX_BYTES, "answer: mailbox")
        check_bytes(self.request, REQUEST_BYTES, "answer: request")
        check_integer(self.parts, 1, MAX_PARTS, "answer: parts")
        check_integer(self.part, 1, self.parts, "answer: part")
        if self.holdings != tuple(holding for holding in Holding if holding in self.holdings):
            raise DataError("answer: expected each holding once and in order, got another list")
        if (self.score is not None) != (Holding.SCORE in self.holdings):
            raise DataError("answer: expected a score exactly if one is held, got a contradiction")
        check_seconds(self.at, "answer: time")

    def to_body(self) -> dict[str, Any]:
        """As it lies in a copy."""
        return {
            "company": self.company,
            "campaign": self.campaign,
            "position": self.position,
            "mailbox": self.mailbox.hex(),
            "request": self.request.hex(),
            "part": self.part,
            "parts": self.parts,
            "holdings": [holding.value for holding in self.holdings],
            "score": {} if self.score is None else self.score.to_body(),
            "at": self.at,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _ANSWER_FIELDS, "answer"))


def _score_or_nothing(value: object) -> ScoreCopy | None:
    return None if value == {} else ScoreCopy.from_body(value)


_ANSWER_FIELDS = {
    "company": fields.text,
    "campaign": fields.text,
    "position": fields.text,
    "mailbox": fields.hex_bytes,
    "request": fields.hex_bytes,
    "part": fields.integer,
    "parts": fields.integer,
    "holdings": fields.list_of(fields.word_of(Holding)),
    "score": _score_or_nothing,
    "at": fields.integer,
}

Copy = ScoreCopy | AccessCopy | AnswerCopy
_KINDS: dict[CopyKind, type[Copy]] = {kind.kind: kind for kind in (ScoreCopy, AccessCopy, AnswerCopy)}


@dataclass(frozen=True, slots=True)
class OpenedCopy:
    """A copy as its student opened it: what it says, and signature(64) ‖ the company's words as evidence."""

    copy: Copy = field(repr=False)
    evidence: bytes = field(repr=False)


def seal_copy(copy: Copy, *, signing: SigningKey, disclosure_key: bytes) -> bytes:
    """The copy, signed by the company and sealed to the student: exactly `COPY_BYTES`.

    Raises:
        VerificationError: if the disclosure key is not a usable one.
        DataError: if the copy is too long, which no copy of our own programs is.
    """
    statement = canonical_json.encode({"kind": copy.kind.value, "body": copy.to_body()})
    signature = signing.sign(_STATEMENT_LABEL, statement)
    content = signature + statement
    plaintext = len(content).to_bytes(_LENGTH_BYTES, "big") + content
    if len(plaintext) > PLAINTEXT_BYTES:
        raise DataError(f"mirror copy: expected at most {PLAINTEXT_BYTES} bytes to seal, got more")
    padded = plaintext.ljust(PLAINTEXT_BYTES, b"\0")
    return seal_to(disclosure_key, padded, info=_info(copy.company, copy.mailbox))


def open_copy(
    sealed: bytes,
    key: SealingKey,
    *,
    company: str,
    mailbox: bytes,
    company_keys: Collection[bytes],
    deposit_at: Callable[[int], SignedEntry],
) -> OpenedCopy:
    """What a company put in this mailbox.

    1. It has the one size, opens under the student's key for this company and mailbox, and is padded with
       zeros.
    2. The company signed it, with a key that the ledger has for it.
    3. It is about this company and mailbox; so is a score in an answer, and about what was asked.
    4. If it holds a score: the ledger has the company's deposit at the index that it names, and the record is
       committed to under its root.

    Args:
        sealed: as it lay in the mailbox.
        key: the student's disclosure key for this company.
        company: whose mailbox it is.
        mailbox: its handle.
        company_keys: every signing key of the company, by the ledger.
        deposit_at: the proven ledger entry at an index; raises VerificationError if there is none.

    Raises:
        DataError: if it is not a copy's encoding.
        VerificationError: if step 1 to 3 fails; with code COMMITMENT_MISMATCH if step 4 does.
    """
    if len(sealed) != COPY_BYTES:  # 1
        raise DataError(f"mirror copy: expected {COPY_BYTES} bytes, got {len(sealed)}")
    content = _unpadded(key.open(sealed, info=_info(company, mailbox)))
    signature, statement = content[:_SIGNATURE_BYTES], content[_SIGNATURE_BYTES:]
    _verify_statement(company_keys, statement, signature)  # 2
    copy = _parse_statement(statement)
    if (copy.company, copy.mailbox) != (company, mailbox):  # 3
        raise VerificationError("mirror copy: expected one for this mailbox, got another's")
    if isinstance(copy, AnswerCopy) and copy.score is not None:
        _verify_about(copy, copy.score.committed.record)
    score = copy if isinstance(copy, ScoreCopy) else getattr(copy, "score", None)
    if score is not None:  # 4
        _verify_score(score, company, deposit_at)
    return OpenedCopy(copy, content)


def parse_evidence(evidence: bytes, *, company: str, company_keys: Collection[bytes]) -> AnswerCopy:
    """What a company signed as its answer that it holds no score, for an auditor.

    A copy with a score is no evidence and is refused: who gets it would learn the band.

    Raises:
        DataError: if it is no such answer.
        VerificationError: if none of the company's keys signed it.
    """
    if len(evidence) > PLAINTEXT_BYTES:
        raise DataError("evidence: expected a company's statement, got a longer text")
    signature, statement = evidence[:_SIGNATURE_BYTES], evidence[_SIGNATURE_BYTES:]
    _verify_statement(company_keys, statement, signature)
    copy = _parse_statement(statement)
    if not isinstance(copy, AnswerCopy) or copy.company != company or copy.score is not None:
        raise DataError("evidence: expected the company's answer that it holds no score, got another")
    return copy


def verify_disclosure_key(expected: bytes, found: bytes) -> None:
    """Raise VerificationError (DISCLOSURE_KEY_MISMATCH) unless both are the same key.

    Asked by the student's device of what the platform shows for her, and by the company of an inbox item
    about somebody whose key it has from her score row: a platform that put in a key of its own would read
    copies.
    """
    if not hmac.compare_digest(expected, found):
        raise VerificationError(
            "disclosure key: expected the student's own, got another", code="DISCLOSURE_KEY_MISMATCH"
        )


_STATEMENT_FIELDS = {"kind": fields.word_of(CopyKind), "body": lambda value: value}


def _parse_statement(statement: bytes) -> Copy:
    said = read_fields(canonical_json.parse(statement), _STATEMENT_FIELDS, "mirror copy")
    return _KINDS[said["kind"]].from_body(said["body"])


def _verify_statement(company_keys: Collection[bytes], statement: bytes, signature: bytes) -> None:
    for company_key in company_keys:
        try:
            verify_signature(company_key, _STATEMENT_LABEL, statement, signature)
        except VerificationError:
            continue
        return
    raise VerificationError("mirror copy: expected the company's signature, got another's")


def _verify_about(answer: AnswerCopy, record: MirrorRecord) -> None:
    """Another student's record is committed to as well, under the same root: it is not this one's answer."""
    about = (record.company, record.campaign, record.position, record.mailbox)
    if about != (answer.company, answer.campaign, answer.position, answer.mailbox):
        raise VerificationError(
            "mirror copy: expected the score that was asked about, got another", code="COMMITMENT_MISMATCH"
        )


def _verify_score(score: ScoreCopy, company: str, deposit_at: Callable[[int], SignedEntry]) -> None:
    entry, record = deposit_at(score.deposit_index), score.committed.record
    expected = (EntryKind.MIRROR_DEPOSIT, company, record.campaign)
    if (entry.kind, entry.author, entry.campaign) != expected or record.company != company:
        raise VerificationError(
            "mirror copy: expected the index of this company's deposit, got another entry's",
            code="COMMITMENT_MISMATCH",
        )
    score.committed.verify(bytes.fromhex(entry.body["root"]))


def _unpadded(plaintext: bytes) -> bytes:
    end = _LENGTH_BYTES + int.from_bytes(plaintext[:_LENGTH_BYTES], "big")
    if end > len(plaintext) or plaintext[end:].strip(b"\0"):
        raise DataError("mirror copy: expected a length, so much content and zeros, got another plaintext")
    return plaintext[_LENGTH_BYTES:end]


def _info(company: str, mailbox: bytes) -> bytes:
    check_bytes(mailbox, MAILBOX_BYTES, "mirror copy: mailbox")
    return _COPY_LABEL + company.encode() + b"\0" + mailbox

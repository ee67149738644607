"""A request for disclosure: what it may ask for, how it goes on, how it may be denied; and the inbox item.

docs/rights/mirror-and-disclosure.md §4. States are named as in the Data Rights Protocol. Promises: a request
that ended stays ended; nothing is denied because of trade secrets alone (CJEU C-203/22); an inbox item has
one size, real or not; a company that says "nothing" although a row of hers was provided to it, or although it
deposited a score, is told apart from one that agrees with the records (DISCLOSURE_RECONCILE_FAIL).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from noren_core import canonical_json, ids
from noren_core.crypto.identity import SealingKey, SigningKey, seal_to, verify_signature
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.rights import fields
from noren_core.rights.disclosure.mirror import MAILBOX_BYTES
from noren_core.rights.disclosure.mirror_copy import (
    REQUEST_BYTES,
    AnswerCopy,
    ScoreCopy,
    verify_disclosure_key,
)
from noren_core.rights.fields import check_bytes, check_seconds, read_fields

ANSWER_SECONDS = 30 * 86_400
"""How long a request may take as a whole; a company that is online answers within a day."""

ITEM_BYTES = 1024
INBOX_ITEMS = 16
KEY_BYTES = 32

_ITEM_INFO = b"noren/v1/inbox-item\0"
_CHANGE_LABEL = b"noren/v1/disclosure-key-change"
_SIGNATURE_BYTES = 64
_LENGTH_BYTES = 2
_HPKE_BYTES = 48
_ITEM_PLAINTEXT = ITEM_BYTES - _HPKE_BYTES


class DisclosureState(StrEnum):
    """How far a request is."""

    OPEN = "OPEN"
    IDENTITY_CHECK = "IDENTITY_CHECK"
    IN_PROGRESS = "IN_PROGRESS"
    FULFILLED = "FULFILLED"
    PARTIAL = "PARTIAL"
    DENIED = "DENIED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


_S = DisclosureState
_STOPS = frozenset({_S.REVOKED, _S.EXPIRED})
FOLLOWS: Mapping[DisclosureState, frozenset[DisclosureState]] = {
    _S.OPEN: _STOPS | {_S.IDENTITY_CHECK},
    _S.IDENTITY_CHECK: _STOPS | {_S.IN_PROGRESS},
    _S.IN_PROGRESS: _STOPS | {_S.FULFILLED, _S.PARTIAL, _S.DENIED},
    _S.FULFILLED: frozenset(),
    _S.PARTIAL: frozenset(),
    _S.DENIED: frozenset(),
    _S.REVOKED: frozenset(),
    _S.EXPIRED: frozenset(),
}
"""By state, those that may come next."""


class DenialReason(StrEnum):
    """Why a disclosure may be denied (APPI art. 33(2)); the last only beside another one."""

    HARM_TO_RIGHTS = "harm-to-rights"
    SERIOUS_HINDRANCE = "serious-hindrance"
    OTHER_LAW = "other-law"
    TRADE_SECRET = "trade-secret"  # noqa: S105 (a reason, no password)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is asked for; `company` is the name of one, or nothing."""

    platform_data: bool
    consent_history: bool
    provision_records: bool
    company: str

    def __post_init__(self) -> None:
        if self.company:
            ids.parse_name(self.company, "disclosure: company")
        if not (self.platform_data or self.consent_history or self.provision_records or self.company):
            raise DataError("disclosure: expected a scope, got nothing")

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The scope with these fields; DataError for anything else."""
        return cls(**read_fields(body, _SCOPE_FIELDS, "disclosure"))

    def to_body(self) -> dict[str, Any]:
        """The fields."""
        return {
            "platform_data": self.platform_data,
            "consent_history": self.consent_history,
            "provision_records": self.provision_records,
            "company": self.company,
        }


_SCOPE_FIELDS = {
    "platform_data": fields.boolean,
    "consent_history": fields.boolean,
    "provision_records": fields.boolean,
    "company": fields.text,
}


def verify_next(state: DisclosureState, following: DisclosureState) -> None:
    """Raise LocalProtocolError (DISCLOSURE_STATE) unless a request may go from one state to the other."""
    if following not in FOLLOWS[state]:
        raise LocalProtocolError(
            f"disclosure: expected a state that may follow {state}, got another", code="DISCLOSURE_STATE"
        )


def verify_denial(reasons: Collection[DenialReason]) -> None:
    """Raise LocalProtocolError (DENIAL_REASON_NOT_ALLOWED) without a reason that the law knows."""
    if not set(reasons) - {DenialReason.TRADE_SECRET}:
        raise LocalProtocolError(
            "denial: expected a reason besides trade secrets, got none; ask the authority",
            code="DENIAL_REASON_NOT_ALLOWED",
        )


def settled(answered: Iterable[bool], *, is_due: bool) -> DisclosureState:
    """Where a request in progress is, by which of a company's answers the student received.

    Args:
        answered: for each answer that is owed; nothing is owed where no company is asked.
        is_due: whether its time is over.
    """
    several = list(answered)
    if all(several):
        return _S.FULFILLED
    if not is_due:
        return _S.IN_PROGRESS
    return _S.PARTIAL if any(several) else _S.EXPIRED


# The inbox --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyChange:
    """The platform's signed word that a student lost her disclosure key and has another one now.

    The company keeps it. A platform that puts in a key of its own, to read an answer, has signed that.

    Attributes:
        replaced: the key that the company knows, 32 bytes.
        at: when she was found to be herself, Unix seconds.
        signature: the platform's, 64 bytes.
    """

    replaced: bytes
    at: int
    signature: bytes

    def __post_init__(self) -> None:
        check_bytes(self.replaced, KEY_BYTES, "key change: replaced key")
        check_bytes(self.signature, _SIGNATURE_BYTES, "key change: signature")
        check_seconds(self.at, "key change: time")

    @classmethod
    def sign(
        cls, key: SigningKey, *, mailbox: bytes, replaced: bytes, disclosure_key: bytes, at: int
    ) -> Self:
        """The platform's statement."""
        said = _change_statement(mailbox, replaced, disclosure_key, at)
        return cls(replaced, at, key.sign(_CHANGE_LABEL, said))

    def verify(self, platform_key: bytes, *, mailbox: bytes, disclosure_key: bytes) -> None:
        """Raise VerificationError unless the platform said this about this mailbox and new key."""
        said = _change_statement(mailbox, self.replaced, disclosure_key, self.at)
        verify_signature(platform_key, _CHANGE_LABEL, said, self.signature)

    def to_body(self) -> dict[str, Any]:
        """The fields."""
        return {"replaced": self.replaced.hex(), "at": self.at, "signature": self.signature.hex()}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The change with these fields; DataError for anything else."""
        return cls(**read_fields(body, _CHANGE_FIELDS, "key change"))


_CHANGE_FIELDS = {"replaced": fields.hex_bytes, "at": fields.integer, "signature": fields.hex_bytes}


def _change_statement(mailbox: bytes, replaced: bytes, disclosure_key: bytes, at: int) -> bytes:
    said = {"mailbox": mailbox.hex(), "replaced": replaced.hex(), "new": disclosure_key.hex(), "at": at}
    return canonical_json.encode(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """What a company is asked, about one campaign and position.

    Attributes:
        request: 16 bytes, drawn for this item.
        campaign, position: about which score.
        mailbox: hers for this company, 16 bytes; the answer goes there.
        disclosure_key: hers for this company now, 32 bytes; the answer is sealed to it.
        change: set if she lost the key that the company has from her score row.
        due_at: Unix seconds.
    """

    request: bytes
    campaign: str
    position: str
    mailbox: bytes = field(repr=False)
    disclosure_key: bytes
    change: KeyChange | None
    due_at: int

    def __post_init__(self) -> None:
        for name in ("campaign", "position"):
            ids.parse_name(getattr(self, name), f"inbox item: {name}")
        check_bytes(self.request, REQUEST_BYTES, "inbox item: request")
        check_bytes(self.mailbox, MAILBOX_BYTES, "inbox item: mailbox")
        check_bytes(self.disclosure_key, KEY_BYTES, "inbox item: disclosure key")
        check_seconds(self.due_at, "inbox item: time")

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json.encode(
            {
                "request": self.request.hex(),
                "campaign": self.campaign,
                "position": self.position,
                "mailbox": self.mailbox.hex(),
                "disclosure_key": self.disclosure_key.hex(),
                "change": {} if self.change is None else self.change.to_body(),
                "due_at": self.due_at,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The item that `to_bytes` wrote; DataError for anything else."""
        return cls(**read_fields(canonical_json.parse(data), _ITEM_FIELDS, "inbox item"))


_ITEM_FIELDS = {
    "request": fields.hex_bytes,
    "campaign": fields.text,
    "position": fields.text,
    "mailbox": fields.hex_bytes,
    "disclosure_key": fields.hex_bytes,
    "change": lambda value: None if value == {} else KeyChange.from_body(value),
    "due_at": fields.integer,
}


def seal_item(item: InboxItem | None, *, company: str, sealing_key: bytes) -> bytes:
    """An item for this company, or a dummy: exactly `ITEM_BYTES` either way."""
    content = b"" if item is None else item.to_bytes()
    plaintext = len(content).to_bytes(_LENGTH_BYTES, "big") + content
    if len(plaintext) > _ITEM_PLAINTEXT:
        raise DataError("inbox item: expected a shorter one")
    return seal_to(sealing_key, plaintext.ljust(_ITEM_PLAINTEXT, b"\0"), info=_ITEM_INFO + company.encode())


def key_to_seal_to(item: InboxItem, *, known_key: bytes, platform_key: bytes) -> bytes:
    """The student's key for an answer about somebody whose key the company knows.

    Raises:
        VerificationError: with code DISCLOSURE_KEY_MISMATCH, if the item names another key and the platform
            did not sign for the change.
    """
    if item.change is None:
        verify_disclosure_key(known_key, item.disclosure_key)
    else:
        verify_disclosure_key(known_key, item.change.replaced)
        item.change.verify(platform_key, mailbox=item.mailbox, disclosure_key=item.disclosure_key)
    return item.disclosure_key


def open_item(sealed: bytes, key: SealingKey, *, company: str) -> InboxItem | None:
    """The item, or nothing if it is a dummy.

    Raises:
        DataError: if it is not an item's encoding.
        VerificationError: if it is not sealed to this company's key.
    """
    if len(sealed) != ITEM_BYTES:
        raise DataError(f"inbox item: expected {ITEM_BYTES} bytes, got {len(sealed)}")
    plaintext = key.open(sealed, info=_ITEM_INFO + company.encode())
    end = _LENGTH_BYTES + int.from_bytes(plaintext[:_LENGTH_BYTES], "big")
    if end > len(plaintext) or plaintext[end:].strip(b"\0"):
        raise DataError("inbox item: expected a length, so much content and zeros, got another plaintext")
    return None if end == _LENGTH_BYTES else InboxItem.from_bytes(plaintext[_LENGTH_BYTES:end])


# Reconciliation ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Provided:
    """A row of hers that the platform provided to a company for scoring.

    Attributes:
        company, campaign, position: to whom and for what.
        at: when, Unix seconds.
    """

    company: str
    campaign: str
    position: str
    at: int


def reconcile(
    answers: Sequence[AnswerCopy], *, deposited: Iterable[ScoreCopy], provided: Iterable[Provided]
) -> None:
    """Hold a company's "no score" against the student's copies and the platform's provision records.

    Only she can: nobody else opens the answer. What contradicts goes to the auditor, with the company's
    signed words (`OpenedCopy.evidence`). Where the company never opened the row that was provided (it had
    the student under another mail address), there is an explanation, and the auditor hears it.

    Args:
        answers: every copy of the answer to one inbox item.
        deposited: every score that she opened.
        provided: every row that was provided for scoring.

    Raises:
        DataError: if copies of the answer are missing, or of another answer are among them.
        VerificationError: with code DISCLOSURE_RECONCILE_FAIL, if the company says that it holds no score,
            and deposited one that has not expired, or was provided with a row.
    """
    said = {(copy.company, copy.campaign, copy.position, copy.mailbox, copy.request) for copy in answers}
    if len(said) != 1 or {copy.part for copy in answers} != set(range(1, answers[0].parts + 1)):
        raise DataError("disclosure: expected every copy of the answer, got others")
    if any(answer.score is not None for answer in answers):
        return
    answer = answers[0]
    about = (answer.company, answer.campaign, answer.position)
    records = (copy.committed.record for copy in deposited)
    is_deposited = any(
        (record.company, record.campaign, record.position) == about and answer.at < record.expires_at
        for record in records
    )
    is_provided = any(
        (item.company, item.campaign, item.position) == about and item.at <= answer.at for item in provided
    )
    if is_deposited or is_provided:
        raise VerificationError(
            "disclosure: expected what was provided and deposited, got an answer that there is nothing",
            code="DISCLOSURE_RECONCILE_FAIL",
        )

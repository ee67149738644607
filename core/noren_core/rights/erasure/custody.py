"""Custody: records whose key exists only as two shares, and what company and custodian say to each other.

    record key = HKDF-SHA256(company's share(32) ‖ custodian's share(32), no salt,
                             info = "noren/v1/custody-record" ‖ 0 ‖ company ‖ 0 ‖ handle(16))
    record     = nonce(12, random) ‖ ChaCha20-Poly1305(key, nonce, data; associated data = name of the record)

docs/rights/erasure.md §2. Promises: without both shares a record is noise; a destroyed share never comes back
under its handle; what a custodian says is signed and bound to the request that it answers; a share travels
sealed to a key that was made for one request. Without a custodian the second share is empty, and the record
is as safe as the company's own files and no safer.

Left to the caller: nonces that were seen before, clocks, and storage.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from noren_core import ids
from noren_core.crypto.identity import SealingKey, SigningKey, seal_to
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, VerificationError
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_core.rights.signed_statement import (
    SignedStatement,
    parse_statement,
    sign_statement,
    statement_from_body,
)

HANDLE_BYTES = 16
SHARE_BYTES = 32
NONCE_BYTES = 16
KEY_BYTES = 32
DIGEST_BYTES = 32
MAX_REQUEST_BYTES = 4096
MAX_HANDLES = 1 << 17
MAX_ANSWER_BYTES = 8192 + MAX_HANDLES * (2 * HANDLE_BYTES + 3)
PATH = "/custody"
WINDOW_SECONDS = 300
"""How far the clock in a request may be from the custodian's."""

REQUEST_FORMAT = "noren/v1/custody-request"
ANSWER_FORMAT = "noren/v1/custody-answer"
DESTRUCTION_FORMAT = "noren/v1/destruction"
COSIGNATURE_FORMAT = "noren/v1/custody-cosignature"

_REQUEST_LABEL = REQUEST_FORMAT.encode()
_ANSWER_LABEL = ANSWER_FORMAT.encode()
_DESTRUCTION_LABEL = DESTRUCTION_FORMAT.encode()
_COSIGNATURE_LABEL = COSIGNATURE_FORMAT.encode()
_SHARE_INFO = b"noren/v1/custody-share\0"
_RECORD_LABEL = b"noren/v1/custody-record\0"
_AEAD_NONCE_BYTES = 12
_SEALED_SHARE_BYTES = 32 + SHARE_BYTES + 16  # encapsulated key, share, authenticator


class CustodyOperation(StrEnum):
    """What a company can ask."""

    PUT = "put"  # draw a share under a new handle
    GET = "get"
    DESTROY = "destroy"
    LIST = "list"  # the handles whose shares exist
    COSIGN = "cosign"  # a deletion certificate


_ABOUT_ONE_HANDLE = frozenset({CustodyOperation.PUT, CustodyOperation.GET, CustodyOperation.DESTROY})


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodyRequest:
    """One question of a company.

    Attributes:
        campaign: what the shares are kept for.
        handle: of the share; empty for `list` and `cosign`.
        nonce: 16 random bytes; good for one request.
        issued_at: Unix seconds.
        reply_key: X25519, made for this request; a share comes back sealed to it. Empty where none comes.
        certificate_sha256: for `cosign`, of the certificate; empty otherwise.
        since: for `cosign`, Unix seconds: no share of the campaign may be older; 0 otherwise.
    """

    operation: CustodyOperation
    company: str
    campaign: str
    handle: bytes
    nonce: bytes
    issued_at: int
    reply_key: bytes = b""
    certificate_sha256: bytes = b""
    since: int = 0

    def sign(self, key: SigningKey) -> SignedStatement:
        """As it is sent."""
        return sign_statement(_REQUEST_LABEL, self._body(), key)

    @classmethod
    def parse(cls, data: bytes) -> tuple[Self, SignedStatement]:
        """The request in `data` and as it was signed; whose signature, `verify_request` says.

        Raises:
            DataError: for anything else, or fields that the operation does not have.
        """
        statement = parse_statement(data, "custody request", limit=MAX_REQUEST_BYTES)
        found = read_fields(statement.body, _REQUEST_FIELDS, "custody request")
        del found["format"]
        request = cls(**found)
        request.verify_shape()
        return request, statement

    def verify_shape(self) -> None:
        """Raise DataError unless the fields are those of the operation."""
        wants_share = self.operation in (CustodyOperation.PUT, CustodyOperation.GET)
        is_cosign = self.operation is CustodyOperation.COSIGN
        given = bool(self.handle), bool(self.reply_key), bool(self.certificate_sha256), bool(self.since)
        if given != (self.operation in _ABOUT_ONE_HANDLE, wants_share, is_cosign, is_cosign):
            raise DataError("custody request: expected the fields of its operation, got others")

    def _body(self) -> dict[str, Any]:
        return {
            "format": REQUEST_FORMAT,
            "operation": self.operation.value,
            "company": self.company,
            "campaign": self.campaign,
            "handle": self.handle.hex(),
            "nonce": self.nonce.hex(),
            "issued_at": self.issued_at,
            "reply_key": self.reply_key.hex(),
            "certificate_sha256": self.certificate_sha256.hex(),
            "since": self.since,
        }


def verify_request(
    request: CustodyRequest, statement: SignedStatement, *, company_key: bytes, now: int
) -> None:
    """Raise VerificationError unless the company signed the request, and did so about now.

    That its nonce is new is left to the caller.
    """
    statement.verify(_REQUEST_LABEL, company_key)
    if abs(now - request.issued_at) > WINDOW_SECONDS:
        raise VerificationError("custody request: expected one of these minutes, got another time")


@dataclass(frozen=True, slots=True)
class DestructionStatement:
    """A custodian's word that a share is gone."""

    company: str
    handle: bytes
    destroyed_at: int
    statement: SignedStatement = field(repr=False)

    @classmethod
    def sign(cls, *, company: str, handle: bytes, destroyed_at: int, key: SigningKey) -> Self:
        """The custodian's statement; made after the share is gone."""
        body = {
            "format": DESTRUCTION_FORMAT,
            "company": company,
            "handle": handle.hex(),
            "destroyed_at": destroyed_at,
        }
        return cls(company, handle, destroyed_at, sign_statement(_DESTRUCTION_LABEL, body, key))

    @classmethod
    def open(cls, statement: SignedStatement, *, custodian_key: bytes) -> Self:
        """What the statement says; VerificationError or DataError if it is not the custodian's."""
        statement.verify(_DESTRUCTION_LABEL, custodian_key)
        found = read_fields(statement.body, _DESTRUCTION_FIELDS, "destruction")
        return cls(found["company"], found["handle"], found["destroyed_at"], statement)


@dataclass(frozen=True, slots=True)
class CustodyCosignature:
    """A custodian's word that it holds no share of a campaign that is older than an erasure order.

    It says so by the custodian's own clock; how many shares there are, it does not say.
    """

    company: str
    campaign: str
    certificate_sha256: bytes
    since: int
    signed_at: int
    statement: SignedStatement = field(repr=False)

    @classmethod
    def sign(cls, request: CustodyRequest, *, signed_at: int, key: SigningKey) -> Self:
        """The cosignature that `request` asks for; that it is true is left to the caller."""
        body = {
            "format": COSIGNATURE_FORMAT,
            "company": request.company,
            "campaign": request.campaign,
            "certificate_sha256": request.certificate_sha256.hex(),
            "since": request.since,
            "signed_at": signed_at,
        }
        statement = sign_statement(_COSIGNATURE_LABEL, body, key)
        return cls._of(body, statement)

    @classmethod
    def open(cls, statement: SignedStatement, *, custodian_key: bytes) -> Self:
        """What the statement says; VerificationError or DataError if it is not the custodian's."""
        statement.verify(_COSIGNATURE_LABEL, custodian_key)
        return cls._of(statement.body, statement)

    @classmethod
    def _of(cls, body: dict[str, Any], statement: SignedStatement) -> Self:
        found = read_fields(body, _COSIGNATURE_FIELDS, "cosignature")
        del found["format"]
        return cls(**found, statement=statement)


@dataclass(frozen=True, slots=True)
class CustodyAnswer:
    """What a custodian answers; which fields there are depends on the operation.

    Attributes:
        sealed_share: to the request's reply key, for `put` and `get`.
        drawn_at: when that share was drawn, by the custodian's clock; 0 otherwise.
        handles: of the shares that exist, ascending, for `list`.
        statement: the destruction or the cosignature, for `destroy` and `cosign`.
    """

    sealed_share: bytes = b""
    drawn_at: int = 0
    handles: tuple[bytes, ...] = ()
    statement: SignedStatement | None = None

    def sign(self, request: SignedStatement, key: SigningKey) -> bytes:
        """As it is sent, bound to the request."""
        body = {
            "format": ANSWER_FORMAT,
            "request": request.digest(_REQUEST_LABEL).hex(),
            "sealed_share": self.sealed_share.hex(),
            "drawn_at": self.drawn_at,
            "handles": [handle.hex() for handle in self.handles],
            "statements": [] if self.statement is None else [self.statement.to_body()],
        }
        return sign_statement(_ANSWER_LABEL, body, key).to_bytes()

    @classmethod
    def open(cls, data: bytes, request: SignedStatement, *, custodian_key: bytes) -> Self:
        """The custodian's answer to exactly this request.

        Raises:
            VerificationError: if it is not the custodian's, or answers another request.
            DataError: if it is malformed.
        """
        answer = parse_statement(data, "custody answer", limit=MAX_ANSWER_BYTES)
        answer.verify(_ANSWER_LABEL, custodian_key)
        found = read_fields(answer.body, _ANSWER_FIELDS, "custody answer")
        if found["request"] != request.digest(_REQUEST_LABEL):
            raise VerificationError("custody answer: expected the one to our request, got another's")
        statements = found["statements"]
        return cls(
            found["sealed_share"], found["drawn_at"], found["handles"], statements[0] if statements else None
        )


def seal_share(share: SecretBytes, request: CustodyRequest, statement: SignedStatement) -> bytes:
    """The share, sealed to the request's reply key and bound to the request."""
    return seal_to(request.reply_key, share.reveal(), info=_share_info(statement))


def open_share(sealed: bytes, reply_key: SealingKey, statement: SignedStatement) -> SecretBytes:
    """The share that was sealed for this request; VerificationError if it was not."""
    return SecretBytes(reply_key.open(sealed, info=_share_info(statement)))


def record_key(
    local: SecretBytes, custodian: SecretBytes | None, *, company: str, handle: bytes
) -> SecretBytes:
    """The key of one record.

    Args:
        local: the company's share, 32 bytes.
        custodian: the custodian's share, 32 bytes; None if there is no custodian.
        company: whose record it is.
        handle: under which the shares are kept.
    """
    shares = bytearray(local.buffer)
    if custodian is not None:
        shares += custodian.buffer
    info = _RECORD_LABEL + ids.parse_name(company, "company").encode() + b"\0" + handle
    try:
        return SecretBytes(HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(bytes(shares)))
    finally:
        shares[:] = bytes(len(shares))


def seal_record(key: SecretBytes, data: bytes, *, name: str) -> bytes:
    """The record of this name."""
    nonce = secrets.token_bytes(_AEAD_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key.buffer).encrypt(nonce, data, name.encode())


def open_record(key: SecretBytes, record: bytes, *, name: str) -> bytes:
    """What was sealed under this key and name; VerificationError if it was not."""
    nonce, sealed = record[:_AEAD_NONCE_BYTES], record[_AEAD_NONCE_BYTES:]
    try:
        return ChaCha20Poly1305(key.buffer).decrypt(nonce, sealed, name.encode())
    except (InvalidTag, ValueError) as error:
        raise VerificationError("custody: expected a record of this key and name, got another") from error


def _share_info(statement: SignedStatement) -> bytes:
    return _SHARE_INFO + statement.digest(_REQUEST_LABEL)


def _statements(value: object) -> tuple[SignedStatement, ...]:
    if not isinstance(value, list) or len(value) > 1:
        raise DataError("expected at most one statement, got another value")
    return tuple(statement_from_body(item, "statement") for item in value)


def _handles(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MAX_HANDLES:
        raise DataError(f"expected a list of at most {MAX_HANDLES} handles, got another value")
    found = tuple(map(fields.bytes_of(HANDLE_BYTES), value))
    if list(found) != sorted(set(found)):
        raise DataError("expected each handle once, in ascending order, got another order")
    return found


_REQUEST_FIELDS = {
    "format": fields.constant(REQUEST_FORMAT),
    "operation": fields.word_of(CustodyOperation),
    "company": fields.name,
    "campaign": fields.name,
    "handle": fields.bytes_of(HANDLE_BYTES, or_none=True),
    "nonce": fields.bytes_of(NONCE_BYTES),
    "issued_at": fields.seconds,
    "reply_key": fields.bytes_of(KEY_BYTES, or_none=True),
    "certificate_sha256": fields.bytes_of(DIGEST_BYTES, or_none=True),
    "since": fields.seconds,
}
_DESTRUCTION_FIELDS = {
    "format": fields.constant(DESTRUCTION_FORMAT),
    "company": fields.name,
    "handle": fields.bytes_of(HANDLE_BYTES),
    "destroyed_at": fields.seconds,
}
_COSIGNATURE_FIELDS = {
    "format": fields.constant(COSIGNATURE_FORMAT),
    "company": fields.name,
    "campaign": fields.name,
    "certificate_sha256": fields.bytes_of(DIGEST_BYTES),
    "since": fields.seconds,
    "signed_at": fields.seconds,
}
_ANSWER_FIELDS = {
    "format": fields.constant(ANSWER_FORMAT),
    "request": fields.bytes_of(DIGEST_BYTES),
    "sealed_share": fields.bytes_of(_SEALED_SHARE_BYTES, or_none=True),
    "drawn_at": fields.seconds,
    "handles": _handles,
    "statements": _statements,
}

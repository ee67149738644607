"""How a student's device signs what it sends to the platform, and how the platform knows that it is she.

docs/rights/student-api.md §1. Promises: a signature is over method, path with query, the body's hash, time
and a nonce, and over whose platform it is, so that none can be used for another request, platform or time.
That a nonce is used once is left to the caller, who keeps them for as long as `WINDOW_SECONDS` says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, VerificationError
from noren_core.rights.consent.consent_event import parse_student
from noren_core.rights.fields import check_bytes, check_seconds

WINDOW_SECONDS = 300
"""How far the device's clock may be off, both ways."""

NONCE_BYTES = 16
STUDENT_HEADER, TIME_HEADER = "noren-student", "noren-time"
NONCE_HEADER, SIGNATURE_HEADER = "noren-nonce", "noren-signature"

_LABEL = b"noren/v1/student-request"
_MAX_HEADER = 1024
_TIME = re.compile(r"(0|[1-9][0-9]{0,12})\Z", re.ASCII)
_NONCE = re.compile(r"[0-9a-f]{32}\Z")
_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentRequest:
    """One request and its signature.

    Attributes:
        student: the platform's account id.
        method: `GET` or `POST`.
        target: path and query, as they are sent.
        body: what is sent; empty for `GET`.
        time: Unix seconds by the device's clock.
        nonce: 16 random bytes.
        signature: 64 bytes.
    """

    student: str = field(repr=False)
    method: str
    target: str = field(repr=False)
    body: bytes = field(repr=False)
    time: int
    nonce: bytes
    signature: bytes

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], *, method: str, target: str, body: bytes) -> Self:
        """The request that came with these headers; DataError for others than `headers` writes."""
        names = (STUDENT_HEADER, TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER)
        student, time, nonce, signature = (headers.get(name, "") for name in names)
        if len(student) > _MAX_HEADER or not student.isascii() or quote(unquote(student), safe="") != student:
            raise DataError("request: expected an account id in percent-encoding, got another text")
        if not _TIME.match(time) or not _NONCE.match(nonce) or not _SIGNATURE.match(signature):
            raise DataError("request: expected time, nonce and signature in their headers, got others")
        return cls(
            student=parse_student(unquote(student)),
            method=method,
            target=target,
            body=body,
            time=int(time),
            nonce=bytes.fromhex(nonce),
            signature=bytes.fromhex(signature),
        )

    def headers(self) -> dict[str, str]:
        """What is sent besides method, target and body."""
        return {
            STUDENT_HEADER: quote(self.student, safe=""),
            TIME_HEADER: str(self.time),
            NONCE_HEADER: self.nonce.hex(),
            SIGNATURE_HEADER: self.signature.hex(),
        }

    def verify(self, key: bytes, *, platform: str, now: int) -> None:
        """Raise VerificationError unless `key` signed this request for this platform, about now."""
        if abs(now - self.time) > WINDOW_SECONDS:
            raise VerificationError("request: expected one of these minutes, got another time")
        said = _said(self.method, self.target, self.body, self.time, self.nonce, platform, self.student)
        verify_signature(key, _LABEL, said, self.signature)


def sign_request(
    key: SigningKey,
    *,
    student: str,
    platform: str,
    method: str,
    target: str,
    body: bytes,
    time: int,
    nonce: bytes,
) -> StudentRequest:
    """The request, signed by the student's device for the platform whose ledger has the origin `platform`."""
    check_bytes(nonce, NONCE_BYTES, "request: nonce")
    check_seconds(time, "request: time")
    signature = key.sign(_LABEL, _said(method, target, body, time, nonce, platform, student))
    return StudentRequest(
        student=student, method=method, target=target, body=body, time=time, nonce=nonce, signature=signature
    )


def _said(
    method: str, target: str, body: bytes, time: int, nonce: bytes, platform: str, student: str
) -> bytes:
    return canonical_json.encode(
        {
            "method": method,
            "target": target,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "time": time,
            "nonce": nonce.hex(),
            "platform": platform,
            "student": student,
        }
    )

"""What a student's device does: keys from one secret, and her events, signed.

docs/rights/consent.md §6. Promises: everything follows from one 32-byte secret, so that one backup restores
all of it; the keys that companies see are another for every company, and nobody without the secret can tell
that two of them are one person's.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.errors import DataError
from noren_core.ids import IdentifierKind
from noren_core.rights.consent.consent_event import (
    Address,
    Answer,
    ConsentEvent,
    ConsentKey,
    EventKind,
    KeyRegistered,
    OfferAcknowledged,
    SignedEvent,
    endorse,
    sign_event,
)
from noren_core.rights.consent.consent_record import ConsentRecord

SECRET_BYTES = 32

_SIGNING_LABEL = b"noren/v1/student/signing\0"
_DISCLOSURE_LABEL = b"noren/v1/student/disclosure\0"


class StudentDevice(Secret):
    """One student's account on one device."""

    __slots__ = ("_secret", "student")

    def __init__(self, student: str, secret: SecretBytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise DataError(f"device secret: expected {SECRET_BYTES} bytes, got {len(secret)}")
        self.student = student
        self._secret = secret

    @classmethod
    def create(cls, student: str) -> StudentDevice:
        """With a fresh secret."""
        return cls(student, SecretBytes(secrets.token_bytes(SECRET_BYTES)))

    @property
    def signing_key(self) -> SigningKey:
        """Signs her events and her requests to the platform; no company sees it."""
        return SigningKey.from_bytes(self._derived(_SIGNING_LABEL))

    def disclosure_key(self, company: str) -> SealingKey:
        """What this company seals to: another key for every company."""
        return SealingKey.from_bytes(self._derived(_DISCLOSURE_LABEL + company.encode()))

    def registers(self, *, time: int) -> SignedEvent:
        """Her first key."""
        key = self.signing_key.public_key
        event = KeyRegistered(self.student, key, b"", reauthenticated=False, time=time)
        return sign_event(event, self.signing_key)

    def replaces(self, old: StudentDevice, *, time: int) -> SignedEvent:
        """The key of this device in place of the old one's, which endorses it."""
        event = KeyRegistered(
            self.student,
            self.signing_key.public_key,
            old.signing_key.public_key,
            reauthenticated=False,
            time=time,
        )
        return endorse(sign_event(event, self.signing_key), old.signing_key)

    def replaces_lost(self, old_key: bytes, *, time: int) -> SignedEvent:
        """The key of this device in place of a lost one; the service has yet to `endorse` it."""
        event = KeyRegistered(
            self.student, self.signing_key.public_key, old_key, reauthenticated=True, time=time
        )
        return sign_event(event, self.signing_key)

    def gives(
        self,
        record: ConsentRecord,
        answer: Answer,
        *,
        time: int,
        found_by: tuple[IdentifierKind, str] | None = None,
    ) -> SignedEvent:
        """Consent on a record that was shown.

        Args:
            record: as the platform shows it.
            answer: what she did; its screen is what was really on the display.
            time: Unix seconds.
            found_by: for training and scoring, what the company looks her up by.
        """
        event = self._event(EventKind.GIVEN, record.key, record.record, time)
        event = replace(event, answer=answer)
        if found_by is not None:
            kind, identifier = found_by
            key = self.disclosure_key(record.key.company).public_key
            event = replace(event, address=Address(kind, identifier, key))
        return sign_event(event, self.signing_key)

    def renews(self, record: ConsentRecord, answer: Answer, *, time: int) -> SignedEvent:
        """Consent for longer."""
        event = self._event(EventKind.RENEWED, record.key, record.record, time)
        return sign_event(replace(event, answer=answer), self.signing_key)

    def refuses(self, key: ConsentKey, record: bytes, *, time: int) -> SignedEvent:
        """No."""
        return sign_event(self._event(EventKind.REFUSED, key, record, time), self.signing_key)

    def defers(self, key: ConsentKey, record: bytes, *, time: int) -> SignedEvent:
        """Not now."""
        return sign_event(self._event(EventKind.DEFERRED, key, record, time), self.signing_key)

    def withdraws(self, key: ConsentKey, record: bytes, *, time: int) -> SignedEvent:
        """Not any more."""
        return sign_event(self._event(EventKind.WITHDRAWN, key, record, time), self.signing_key)

    def acknowledges_offer(self, *, company: str, position: str, season: str, time: int) -> SignedEvent:
        """The company told her of its offer; without this there is no score of hers."""
        event = OfferAcknowledged(self.student, company, position, season, time)
        return sign_event(event, self.signing_key)

    def _event(self, kind: EventKind, key: ConsentKey, record: bytes, time: int) -> ConsentEvent:
        if key.student != self.student:
            raise DataError("consent event: expected a record of this student, got another's")
        return ConsentEvent(kind, key, record, time)

    def _derived(self, info: bytes) -> bytes:
        """32 bytes of HKDF-SHA256 (RFC 5869) of the secret, without a salt."""
        return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(self._secret.buffer)

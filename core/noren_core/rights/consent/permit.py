"""Permits: what must be shown, once, before one message about one person leaves the platform.

    HMAC-SHA256(32) of the consent service ‖ canonical JSON

docs/rights/consent.md §7. Promises: a permit is for one company, mailbox, purpose and position; it lives at
most 15 minutes; it is void when any consent of the student to this company has ended since. That it is used
once is for whoever redeems it: it remembers `jti` until the permit has expired.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.rights import fields
from noren_core.rights.purposes import Purpose, parse_purpose

MAX_LIFETIME_SECONDS = 15 * 60
JTI_BYTES = 16
MAILBOX_BYTES = 16
KEY_BYTES = MAC_BYTES = 32
MAX_PERMIT_BYTES = 1024

_LABEL = b"noren/v1/permit\0"
_KEY_LABEL = b"noren/v1/permit-key"
_SCHEMA: dict[str, fields.Parse] = {
    "jti": fields.bytes_of(JTI_BYTES),
    "audience": fields.name,
    "mailbox": fields.bytes_of(MAILBOX_BYTES),
    "purpose": lambda value: parse_purpose(value, "purpose"),
    "position": fields.name,
    "consent_seq": fields.integer_in(0, canonical_json.MAX_INTEGER),
    "epoch": fields.integer_in(0, canonical_json.MAX_INTEGER),
    "issued_at": fields.seconds,
    "expires_at": fields.seconds,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Permission for one message.

    Attributes:
        jti: 16 random bytes; no two permits have the same.
        audience: the company that the message is for.
        mailbox: the student's handle for this company, 16 bytes.
        purpose: of the message.
        position: that it is about.
        consent_seq: the number, in the consent log, of the event that gave the consent.
        epoch: how often consents of this student to this company had ended when the permit was issued.
        issued_at: Unix seconds.
        expires_at: it counts before that.
    """

    jti: bytes = field(repr=False)
    audience: str
    mailbox: bytes = field(repr=False)
    purpose: Purpose
    position: str
    consent_seq: int = field(repr=False)
    epoch: int = field(repr=False)
    issued_at: int
    expires_at: int

    def to_bytes(self, key: SecretBytes) -> bytes:
        """The permit with its MAC under the consent service's key."""
        body = canonical_json.encode(self._body())
        return _mac(key, body) + body

    @classmethod
    def from_bytes(cls, data: bytes, key: SecretBytes) -> Permit:
        """The permit in `data`, which the consent service issued.

        Raises:
            VerificationError: with code PERMIT_FORGED, if the MAC is not under `key`.
            DataError: if what it is over is no permit.
        """
        if len(data) > MAX_PERMIT_BYTES:
            raise DataError(f"permit: expected at most {MAX_PERMIT_BYTES} bytes, got more")
        mac, body = data[:MAC_BYTES], data[MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(key, body)):
            raise VerificationError(
                "permit: expected one that the consent service issued, got another", code="PERMIT_FORGED"
            )
        permit = cls(**fields.read_fields(canonical_json.parse_object(body), _SCHEMA, "permit"))
        if not 0 < permit.expires_at - permit.issued_at <= MAX_LIFETIME_SECONDS:
            raise DataError(f"permit: expected a lifetime of 1 to {MAX_LIFETIME_SECONDS} s, got another")
        return permit

    def _body(self) -> dict[str, str | int]:
        return {
            "jti": self.jti.hex(),
            "audience": self.audience,
            "mailbox": self.mailbox.hex(),
            "purpose": self.purpose.value,
            "position": self.position,
            "consent_seq": self.consent_seq,
            "epoch": self.epoch,
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
        }


def permit_key(service_key: SigningKey) -> SecretBytes:
    """The key of permits' MACs: HKDF-SHA256 (RFC 5869) of the service's signing key, without a salt."""
    hkdf = HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=_KEY_LABEL)
    return SecretBytes(hkdf.derive(service_key.to_bytes()))


def verify_permit(permit: Permit, *, audience: str, now: int) -> None:
    """Raise unless the permit is for this company, now.

    Left to the caller: `verify_epoch`, that the consent counts, and that the permit was not used before.

    Raises:
        LocalProtocolError: PERMIT_AUDIENCE or PERMIT_EXPIRED.
    """
    if permit.audience != audience:
        raise _refused("one for this company, got another company's", "PERMIT_AUDIENCE")
    if not permit.issued_at <= now < permit.expires_at:
        raise _refused("one of the last minutes, got an older one", "PERMIT_EXPIRED")


def verify_epoch(permit: Permit, epoch: int) -> None:
    """Raise `epoch_stale` unless `epoch`, of the student at the company now, is that of the permit."""
    if permit.epoch != epoch:
        raise epoch_stale()


def epoch_stale() -> LocalProtocolError:
    """The error about a permit whose consent is not what it was."""
    return _refused("one from after the last change, got an older one", "CONSENT_EPOCH_STALE")


def replayed() -> LocalProtocolError:
    """The error about a permit that was redeemed before."""
    return _refused("one that was not redeemed yet, got one that was", "PERMIT_REPLAYED")


def _mac(key: SecretBytes, body: bytes) -> bytes:
    return hmac.digest(key.buffer, _LABEL + body, "sha256")


def _refused(expected: str, code: str) -> LocalProtocolError:
    return LocalProtocolError(f"permit: expected {expected}", code=code)

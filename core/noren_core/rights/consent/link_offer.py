"""A company's invitation to be asked for consent: one signed token for a position, about nobody.

docs/rights/student-api.md §4. Promises: a token holds company, position, season, a nonce and an expiry, and
no personal data; the company signed it. It opens the consent screen for whoever is logged in and nothing
else: who does not come has no link, and the company cannot tell why.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Self

from noren_core import canonical_json, ids
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, VerificationError
from noren_core.rights import fields
from noren_core.rights.fields import check_bytes, check_seconds, read_fields

NONCE_BYTES = 16
MAX_TOKEN_CHARACTERS = 1024
OFFER_PATH = "/v1/link-offers/"

_LABEL = b"noren/v1/link-offer"
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOffer:
    """What a token says.

    Attributes:
        company, position, season: what consent is asked for.
        nonce: 16 random bytes; tells one printed token from another.
        expires_at: Unix seconds.
    """

    company: str
    position: str
    season: str
    nonce: bytes
    expires_at: int

    def __post_init__(self) -> None:
        for name in ("company", "position", "season"):
            ids.parse_name(getattr(self, name), f"link offer: {name}")
        check_bytes(self.nonce, NONCE_BYTES, "link offer: nonce")
        check_seconds(self.expires_at, "link offer: expiry")

    def to_token(self, key: SigningKey) -> str:
        """The signed token, for a URL: unpadded base64url of signature(64) ‖ canonical JSON."""
        said = canonical_json.encode(self._body())
        return base64.urlsafe_b64encode(key.sign(_LABEL, said) + said).decode().rstrip("=")

    def _body(self) -> dict[str, Any]:
        return {
            "company": self.company,
            "position": self.position,
            "season": self.season,
            "nonce": self.nonce.hex(),
            "expires_at": self.expires_at,
        }


@dataclass(frozen=True, slots=True)
class SignedLinkOffer:
    """A token that was parsed; whether it is the company's, `verify` says."""

    offer: LinkOffer
    said: bytes
    signature: bytes

    @classmethod
    def from_token(cls, token: str) -> Self:
        """The offer in `token`; DataError for anything but what `to_token` writes."""
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            raise DataError("link offer: expected a token of ours, got another text")
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise DataError("link offer: expected base64url, got another text") from error
        if base64.urlsafe_b64encode(data).decode().rstrip("=") != token:
            raise DataError("link offer: expected the one encoding of a token, got another")
        signature, said = data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:]
        offer = LinkOffer(**read_fields(canonical_json.parse(said), _FIELDS, "link offer"))
        return cls(offer, said, signature)

    def verify(self, company_key: bytes, *, now: int) -> None:
        """Raise unless the company's current key signed it and it is not over.

        Raises:
            VerificationError: if the signature is another's; with code LINK_OFFER_EXPIRED if it is over.
        """
        verify_signature(company_key, _LABEL, self.said, self.signature)
        if now >= self.offer.expires_at:
            raise VerificationError(
                "link offer: expected one that is still open, got an expired one", code="LINK_OFFER_EXPIRED"
            )


_FIELDS = {
    "company": fields.text,
    "position": fields.text,
    "season": fields.text,
    "nonce": fields.hex_bytes,
    "expires_at": fields.integer,
}

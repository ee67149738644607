"""Opening a company's link offer: is it the company's, and is it still open.

docs/rights/student-api.md §4. Promises: an offer opens a notice for whoever is logged in, and does nothing by
itself; opening one is not counted, and the company hears nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable

from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ledger.entries import CompanyKey
from noren_core.ledger.key_history import KeyHistory
from noren_core.rights.consent.link_offer import LinkOffer, SignedLinkOffer

Keys = Callable[[], tuple[KeyHistory, int]]
"""Every key in the ledger, and the ledger's size."""


class LinkOffers:
    """Verifies link offers against the keys in the ledger."""

    def __init__(self, keys: Keys, *, clock: Callable[[], int]) -> None:
        self._keys = keys
        self._clock = clock

    def open(self, token: str) -> LinkOffer:
        """What an offer is about.

        Raises:
            DataError: if it is no token.
            VerificationError: if it is not signed with the company's current key; with code
                LINK_OFFER_EXPIRED, if its time is over.
        """
        signed = SignedLinkOffer.from_token(token)
        keys, size = self._keys()
        company = signed.offer.company
        if keys.is_revoked(company, size):
            raise VerificationError("link offer: expected one of an enrolled company, got another")
        signed.verify(bytes.fromhex(keys.key_at(company, CompanyKey.SIGNING, size)), now=self._clock())
        return signed.offer


def verify_subject(student: str, about: str) -> None:
    """Raise LocalProtocolError (LINK_NOT_BY_SUBJECT) unless a student acts for herself."""
    if student != about:
        raise LocalProtocolError(
            "link: expected the student herself, got somebody for another", code="LINK_NOT_BY_SUBJECT"
        )

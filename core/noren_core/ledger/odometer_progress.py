"""That a company's odometer only moves forward, as far as its intents in the ledger show it.

Every intent states the head of the company's own chain before the reservation and how many lines it had.
Two that state the same head, or a number of lines that does not grow, come from a chain that was rolled back
(docs/protocol.md §4.9). Whoever appends or reads intents asks this, over all campaigns of the company.
"""

from __future__ import annotations

from collections.abc import Iterable

from noren_core.errors import VerificationError
from noren_core.ledger.entries import SignedEntry


def verify_odometer_progress(earlier: Iterable[SignedEntry], entry: SignedEntry) -> None:
    """Raise VerificationError (ACCOUNTANT_RESET) unless `entry` goes on from the company's intents before it.

    Args:
        earlier: every intent of the company that stands before it in the ledger, of any campaign.
        entry: a well-formed intent.
    """
    for known in earlier:
        if (
            known.body["previous"] == entry.body["previous"]
            or known.body["sequence"] >= entry.body["sequence"]
        ):
            raise VerificationError(
                "intent: expected an odometer that moved on, got one that was rolled back",
                code="ACCOUNTANT_RESET",
            )

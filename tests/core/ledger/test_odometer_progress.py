"""A company's intents come from one chain that only grows."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.errors import VerificationError
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.ledger.odometer_progress import verify_odometer_progress


def intent(sequence: int, previous: int | None = None, campaign: str = "spring") -> SignedEntry:
    previous = sequence if previous is None else previous
    body = {
        "campaign": campaign,
        "company": "alpha",
        "previous": hashlib.sha256(str(previous).encode()).hexdigest(),
        "sequence": sequence,
    }
    return SignedEntry(EntryKind.INTENT, "alpha", body, bytes(64))


@given(st.lists(st.integers(0, 50), unique=True, min_size=1))
def test_a_chain_that_grows_is_accepted(places: list[int]) -> None:
    """Any ascending places, with gaps for settles and reservations that were never published."""
    *earlier, last = map(intent, sorted(places))
    verify_odometer_progress(earlier, last)


@pytest.mark.parametrize(
    "entry",
    [
        intent(5),  # the same place again
        intent(5, previous=9),
        intent(4, previous=9),
        intent(0, previous=9),
        intent(9, previous=5),  # a hash that was used, further on
        intent(9, previous=0),
        intent(9, previous=0, campaign="autumn"),  # in whatever campaign
        intent(2, previous=9, campaign="autumn"),
    ],
)
def test_a_chain_that_was_rolled_back_is_refused(entry: SignedEntry) -> None:
    """A place or hash that an earlier intent stands at or beyond, wherever that is in the list."""
    for earlier in ([intent(0), intent(5)], [intent(5), intent(0)]):
        with pytest.raises(VerificationError) as refusal:
            verify_odometer_progress(earlier, entry)
        assert refusal.value.code == "ACCOUNTANT_RESET"

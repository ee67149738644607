import numpy as np
import pytest

from noren_core.crypto.identity import SealingKey
from noren_core.errors import VerificationError
from noren_core.season.cohort_key import CohortKey, key_author

SESSION = b"s" * 32


def test_companies_remove_what_they_added():
    """The sum of blinded contributions, unblinded for the number of survivors, is the true sum."""
    key = CohortKey.generate(session=SESSION)
    contributions = [np.array([5, -(2**40), i], dtype=np.int64) for i in range(4)]
    total = np.zeros(3, dtype=np.uint64)
    for values in contributions:
        total += values.view(np.uint64) + key.blind(2, 3)
    assert key.remove_blinds(total.view(np.int64), round_number=2, survivors=4) == [20, -4 * 2**40, 6]
    assert key.remove_blinds(total.view(np.int64), round_number=2, survivors=3) != [20, -4 * 2**40, 6]


def test_blinds_differ_by_round_campaign_and_key():
    """A blind is never used twice: over rounds, campaigns and keys all are different."""
    one = CohortKey(b"a" * 32, session=SESSION)
    others = [CohortKey(b"b" * 32, session=SESSION), CohortKey(b"a" * 32, session=b"t" * 32)]
    blinds = [one.blind(1, 4), one.blind(2, 4), *(key.blind(1, 4) for key in others)]
    assert len({blind.tobytes() for blind in blinds}) == 4


def test_the_key_opens_for_its_recipient_only():
    """A sealed cohort key is bound to campaign, author and recipient."""
    alice, bob = SealingKey.generate(), SealingKey.generate()
    key = CohortKey.generate(session=SESSION)
    sealed = key.seal_for({"alice": alice.public_key}, sender="carol")["alice"]
    opened = CohortKey.open(sealed, alice, session=SESSION, sender="carol", recipient="alice")
    assert opened.commitment_key() == key.commitment_key()
    for wrong in (
        {"key": bob, "sender": "carol", "recipient": "alice", "session": SESSION},
        {"key": alice, "sender": "dave", "recipient": "alice", "session": SESSION},
        {"key": alice, "sender": "carol", "recipient": "bob", "session": SESSION},
        {"key": alice, "sender": "carol", "recipient": "alice", "session": b"t" * 32},
    ):
        with pytest.raises(VerificationError):
            CohortKey.open(sealed, wrong.pop("key"), **wrong)


def test_the_first_company_makes_the_key_and_nobody_shows_it():
    """The author is the first by name; the repr tells nothing."""
    assert key_author(["b", "a", "c"]) == "a"
    assert repr(CohortKey(b"a" * 32, session=SESSION)) == "<CohortKey redacted>"

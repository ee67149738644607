import hmac

import numpy as np
import pytest

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError
from noren_core.season.cohort_key import CohortKey
from noren_core.secagg.masking import expand

SESSION = b"s" * 32


def key_of(byte: bytes, session: bytes = SESSION) -> CohortKey:
    return CohortKey(SecretBytes(byte * 32), session=session)


def test_companies_remove_what_they_added():
    """The sum of blinded contributions, unblinded for the number of survivors, is the true sum."""
    key = key_of(b"a")
    contributions = [np.array([5, -(2**40), i], dtype=np.int64) for i in range(4)]
    total = np.zeros(3, dtype=np.uint64)
    for values in contributions:
        total += values.view(np.uint64) + key.blind(2, 3)
    assert key.remove_blinds(total.view(np.int64), round_number=2, survivors=4) == [20, -4 * 2**40, 6]
    assert key.remove_blinds(total.view(np.int64), round_number=2, survivors=3) != [20, -4 * 2**40, 6]
    assert key_of(b"b").remove_blinds(total.view(np.int64), round_number=2, survivors=4)[0] != 20


def test_blinds_differ_by_round_campaign_and_key():
    """A blind is never used twice: over rounds, campaigns and keys all are different."""
    one = key_of(b"a")
    others = [key_of(b"b"), key_of(b"a", session=b"t" * 32)]
    blinds = [one.blind(1, 4), one.blind(2, 4), *(key.blind(1, 4) for key in others)]
    assert len({blind.tobytes() for blind in blinds}) == 4


def test_the_derivations_are_those_of_the_specification():
    """docs/protocol.md §4.4: HMAC-SHA256 under the cohort key of label, session and, in 4 bytes, round."""
    key = key_of(b"k")
    seed = hmac.digest(b"k" * 32, b"noren/v1/cohort-blind\0" + SESSION + b"\0\0\0\x07", "sha256")
    assert key.blind(7, 5).tolist() == expand(SecretBytes(seed), 5).tolist()
    commitment = hmac.digest(b"k" * 32, b"noren/v1/cohort-commitment\0" + SESSION, "sha256")
    assert key.commitment_key() == commitment
    said = hmac.digest(commitment, b"update\0acme\0\x01\x02", "sha256")
    assert key.update_commitment("acme", b"\x01\x02") == said


def test_a_key_of_another_length_is_refused_and_nobody_shows_it():
    """32 bytes and no others; the repr tells nothing."""
    assert repr(key_of(b"a")) == "<CohortKey redacted>"
    with pytest.raises(LocalProtocolError, match="32 bytes, got 31"):
        CohortKey(SecretBytes(bytes(31)), session=SESSION)

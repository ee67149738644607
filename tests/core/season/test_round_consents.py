"""What a settle says of the revocation list of its round."""

import hashlib

import pytest

from noren_core.errors import DataError
from noren_core.season.round_consents import RoundConsents

LIST, SIGNATURE, SALT = b"table id, sequence, tags", b"g" * 64, bytes(range(32))


def test_the_commitment_is_the_documents():
    """docs/protocol.md §4.5, computed from its text; for no list, too."""
    for revocations, signature in ((LIST, SIGNATURE), (b"", b"")):
        expected = hashlib.sha256(b"noren/v1/round-consents\x00" + SALT + revocations).digest()
        assert RoundConsents(revocations, signature, SALT).commitment() == expected


def test_every_salt_is_drawn():
    """Two rounds under one list say different things, so nobody sees that no one withdrew between them."""
    one, other = RoundConsents.drawn(LIST, SIGNATURE), RoundConsents.drawn(LIST, SIGNATURE)
    assert (one.revocations, len(one.salt)) == (other.revocations, 32)
    assert one.commitment() != other.commitment()


@pytest.mark.parametrize(
    ("revocations", "signature", "salt"),
    [
        (LIST, SIGNATURE, SALT[:-1]),
        (LIST, SIGNATURE[:-1], SALT),
        (LIST, b"", SALT),
        (b"", SIGNATURE, SALT),
    ],
)
def test_a_list_has_a_signature_and_a_salt(revocations, signature, salt):
    with pytest.raises(DataError, match="round consents"):
        RoundConsents(revocations, signature, salt)

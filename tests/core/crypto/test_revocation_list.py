"""Revocation lists: one encoding, one signer, one table, one direction."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import (
    MAX_TAGS,
    SIGNATURE_BYTES,
    RevocationList,
    open_revocations,
)
from noren_core.errors import DataError, NorenError, VerificationError

KEY = SigningKey.from_bytes(bytes(range(32)))
TABLE = b"t" * 16


def tag(number: int) -> bytes:
    return hashlib.sha256(b"tag %d" % number).digest()[:16]


DUMMIES = [tag(-1 - number) for number in range(64)]


def listed(count: int, *, sequence: int = 1, table_id: bytes = TABLE) -> RevocationList:
    return RevocationList.padded(
        [tag(number) for number in range(count)],
        table_id=table_id,
        sequence=sequence,
        dummy_tags=DUMMIES,
    )


def open_signed(revocations: RevocationList, **changes: bytes) -> RevocationList:
    known = {"platform_key": KEY.public_key, "table_id": TABLE}
    return open_revocations(revocations.to_bytes(), revocations.sign(KEY), **(known | changes))


@pytest.mark.parametrize(
    ("count", "length"), [(0, 64), (1, 64), (63, 64), (64, 64), (65, 128), (128, 128), (129, 192)]
)
def test_its_length_says_little(count, length):
    """Filled up to a multiple of 64, never empty, and everything revoked is on it, in the order of tags."""
    tags = listed(count).tags
    assert len(tags) == length
    assert set(tags) - set(DUMMIES) == {tag(number) for number in range(count)}
    assert all(earlier < later for earlier, later in pairwise(tags))


def test_the_same_list_again_is_the_same_bytes():
    """Dummy rows stand in always in the same order, so asking again tells nothing."""
    assert listed(5).to_bytes() == listed(5).to_bytes()
    reversed_tags = [tag(number) for number in reversed(range(5))]
    assert RevocationList.padded(
        reversed_tags, table_id=TABLE, sequence=1, dummy_tags=DUMMIES
    ).to_bytes() == (listed(5).to_bytes())


def test_too_few_random_rows_are_refused():
    """A list that could not be filled up would show how many withdrew."""
    with pytest.raises(DataError):
        RevocationList.padded([tag(1)], table_id=TABLE, sequence=1, dummy_tags=DUMMIES[:62])


def test_bytes_are_frozen():
    """Table id, sequence number, tags; signed by Ed25519 with the label, version 1."""
    revocations = listed(1, sequence=258)
    expected = TABLE + bytes([0, 0, 0, 0, 0, 0, 1, 2]) + b"".join(sorted([tag(0), *DUMMIES[:63]]))
    assert revocations.to_bytes() == expected
    assert revocations.sign(KEY) == KEY.sign_raw(b"noren/v1/revocations\0" + expected)
    assert len(revocations.sign(KEY)) == SIGNATURE_BYTES


def test_round_trip():
    """What the platform signs is what a company reads."""
    assert open_signed(listed(70, sequence=9)) == listed(70, sequence=9)


def test_the_largest_list():
    """2^17 tags under the number 2^63 - 1 are a list; one step or one number more is none."""
    tags = tuple(number.to_bytes(16, "big") for number in range(2**17 + 64))
    largest = RevocationList(table_id=TABLE, sequence=2**63 - 1, tags=tags[:-64])
    assert len(largest.tags) == MAX_TAGS
    assert RevocationList.from_bytes(largest.to_bytes()) == largest
    with pytest.raises(DataError):
        RevocationList(table_id=TABLE, sequence=1, tags=tags)
    with pytest.raises(DataError, match="length"):
        RevocationList.from_bytes(largest.to_bytes() + b"".join(tags[-64:]))
    with pytest.raises(DataError, match="number"):
        RevocationList(table_id=TABLE, sequence=2**63, tags=tags[:64])


def test_a_forged_list():
    """Another key, another label, one changed bit of list or signature: refused."""
    revocations = listed(3)
    data, signature = revocations.to_bytes(), revocations.sign(KEY)
    other = SigningKey.generate()
    forged = [(data, revocations.sign(other)), (data, KEY.sign(b"noren/v1/entry", data)), (data, b"")]
    forged += [
        (data[:-1] + bytes([data[-1] ^ 1]), signature),
        (data, signature[:-1] + bytes([signature[-1] ^ 1])),
    ]
    for changed, signed in forged:
        with pytest.raises(VerificationError):
            open_revocations(changed, signed, platform_key=KEY.public_key, table_id=TABLE)


def test_another_tables_list():
    """A list that the platform did sign, for another table, is refused."""
    for other in (b"s" * 16, b"u" * 16):
        with pytest.raises(VerificationError, match="this table"):
            open_signed(listed(3, table_id=other))


def test_an_older_list_or_two_under_one_number():
    """The sequence does not go back, and one number stands for one list."""
    known = listed(3, sequence=4)
    for newer in (known, listed(3, sequence=5), listed(9, sequence=7)):
        newer.verify_not_older(known)
    for wrong in (
        listed(2, sequence=3),
        listed(2, sequence=4),
        listed(4, sequence=4),
        listed(9, sequence=5, table_id=b"s" * 16),
        listed(9, sequence=5, table_id=b"u" * 16),
    ):
        with pytest.raises(VerificationError):
            wrong.verify_not_older(known)
    with pytest.raises(VerificationError):
        known.verify_not_older(listed(4, sequence=4))


@pytest.mark.parametrize(
    "change",
    [
        {"table_id": b"t" * 15},
        {"table_id": b"t" * 17},
        {"sequence": 0},
        {"sequence": True},
        {"tags": ()},
        {"tags": listed(0).tags[:63]},
        {"tags": (listed(0).tags[0], *listed(0).tags[:63])},
        {"tags": listed(0).tags[::-1]},
        {"tags": (b"\0" * 15, *listed(0).tags[1:])},
        {"tags": (b"\0" * 17, *listed(0).tags[1:])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_values_out_of_range(change):
    """Wrong lengths, numbers, orders and repetitions are refused, from the wire and here."""
    good = {"table_id": TABLE, "sequence": 1, "tags": listed(0).tags}
    with pytest.raises(DataError):
        RevocationList(**(good | change))


@settings(max_examples=60)
@given(data=st.one_of(st.binary(max_size=120), st.binary(min_size=1048, max_size=1048)))
def test_other_bytes(data):
    """Whatever bytes come: our own error, or a list with exactly these bytes."""
    try:
        parsed = RevocationList.from_bytes(data)
    except NorenError:
        return
    assert parsed.to_bytes() == data


@pytest.mark.parametrize("change", [lambda d: d + b"\0", lambda d: d[:-1], lambda d: d[:24], lambda d: b""])
def test_another_length(change):
    """Half a tag, no tags or nothing is no list, and nothing of it is looked at."""
    with pytest.raises(DataError, match="length"):
        RevocationList.from_bytes(change(listed(0).to_bytes()))

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import shamir
from noren_core.errors import DataError, VerificationError

SECRET = bytes(range(32))


def test_every_threshold_set_recovers_and_no_smaller_set_does():
    """Any t of n shares give the secret back; t − 1 of them give nothing, whatever the last share is."""
    shares = shamir.split(SECRET, threshold=3, points=range(1, 6))
    for chosen in combinations(shares, 3):
        assert shamir.recover({point: shares[point] for point in chosen}, threshold=3) == SECRET
    for chosen in combinations(shares, 2):
        with pytest.raises(VerificationError, match="at least 3, got 2"):
            shamir.recover({point: shares[point] for point in chosen}, threshold=3)
        # Nor do they lie on a polynomial of lower degree: taken for a 2-of-5 splitting they give no secret.
        with pytest.raises(VerificationError, match="one 32-byte secret"):
            shamir.recover({point: shares[point] for point in chosen}, threshold=2)


def test_two_shares_of_a_threshold_three_splitting_fit_every_secret():
    """For any other secret there is a third share that explains the same two: they say nothing."""
    shares = shamir.split(SECRET, threshold=3, points=(1, 2, 3))
    other = int.from_bytes(bytes(32)[:-1] + b"\x07", "big")
    # Lagrange at 0 over the points 1, 2, 3 is 3·y1 − 3·y2 + y3.
    y1, y2 = (int.from_bytes(shares[point], "big") for point in (1, 2))
    third = (other - 3 * y1 + 3 * y2) % shamir.PRIME
    forged = {1: shares[1], 2: shares[2], 3: third.to_bytes(66, "big")}
    assert shamir.recover(forged, threshold=3) == other.to_bytes(32, "big")


@settings(max_examples=30, deadline=None)
@given(secret=st.binary(min_size=32, max_size=32), data=st.data())
def test_recovery_returns_what_was_split(secret: bytes, data: st.DataObject):
    """For every secret, size and threshold, a random threshold set recovers the same 32 bytes."""
    members = data.draw(st.integers(1, 12))
    threshold = data.draw(st.integers(1, members))
    shares = shamir.split(secret, threshold=threshold, points=range(1, members + 1))
    chosen = data.draw(st.permutations(sorted(shares)))[:threshold]
    assert shamir.recover({point: shares[point] for point in chosen}, threshold=threshold) == secret


def test_a_wrong_share_never_recovers_the_secret():
    """A share off by little gives another secret, unnoticed here; one off by much gives no secret at all."""
    shares = shamir.split(SECRET, threshold=3, points=range(1, 4))

    def recovered_with(offset):
        value = (int.from_bytes(shares[2], "big") + offset) % shamir.PRIME
        return shamir.recover(shares | {2: value.to_bytes(66, "big")}, threshold=3)

    # Lagrange's weight of point 2 at 0, among the points 1, 2, 3, is -3.
    assert int.from_bytes(recovered_with(1), "big") == int.from_bytes(SECRET, "big") - 3
    with pytest.raises(VerificationError, match="one 32-byte secret"):
        recovered_with(1 << 300)


def off_by(share: bytes, offset: int) -> bytes:
    return ((int.from_bytes(share, "big") + offset) % shamir.PRIME).to_bytes(66, "big")


def recover_checked(shares, *, first=(1, 2, 3)):
    return shamir.recover_checked(shares, threshold=3, is_right=SECRET.__eq__, first=first)


def test_the_right_shares_are_found_among_wrong_ones():
    """Whichever two of six are wrong, the secret comes out, from shares that all are right."""
    good = shamir.split(SECRET, threshold=3, points=range(1, 7))
    for wrong in combinations(good, 2):
        secret, base = recover_checked(good | {point: off_by(good[point], 1 + point) for point in wrong})
        assert secret == SECRET
        assert not set(base) & set(wrong)
        assert shamir.outliers(
            good | {point: off_by(good[point], 1 + point) for point in wrong}, base=base
        ) == set(wrong)


def test_the_first_set_is_taken_if_it_is_right():
    """Normally nothing is searched: the shares that are named first are used."""
    good = shamir.split(SECRET, threshold=3, points=range(1, 7))
    assert recover_checked(good | {1: off_by(good[1], 1)}, first=(2, 4, 6)) == (SECRET, (2, 4, 6))


def test_a_secret_is_given_though_nobody_can_be_accused():
    """Two wrong of five: one set of three gives the secret, and says too little about the others."""
    good = shamir.split(SECRET, threshold=3, points=range(1, 6))
    spoiled = good | {point: off_by(good[point], point**3) for point in (1, 2)}
    assert recover_checked(spoiled) == (SECRET, (3, 4, 5))
    assert shamir.outliers(spoiled, base=(3, 4, 5)) is None


def test_there_is_nothing_to_search_among_as_few_shares_as_the_threshold():
    """Three of three are tried once; if they are wrong, that is all."""
    good = shamir.split(SECRET, threshold=3, points=(1, 2, 3))
    assert recover_checked(good) == (SECRET, (1, 2, 3))
    tried = []
    with pytest.raises(VerificationError, match="enough of one secret"):
        shamir.recover_checked(good, threshold=3, is_right=tried.append, first=(1, 2, 3))
    assert tried == [SECRET]


def test_too_few_right_shares_are_refused():
    """Two right ones of a threshold of three, or too few at all: no secret, and the search ends."""
    good = shamir.split(SECRET, threshold=3, points=range(1, 7))
    spoiled = good | {point: off_by(good[point], point**3) for point in (1, 2, 3, 4)}
    with pytest.raises(VerificationError, match="enough of one secret"):
        recover_checked(spoiled)
    with pytest.raises(VerificationError, match="at least 3, got 2"):
        recover_checked({1: good[1], 2: good[2]}, first=(1, 2))


def test_errors_that_cancel_accuse_nobody():
    """Wrong shares can give the right secret; whether others then are wrong is left open."""
    good = shamir.split(SECRET, threshold=3, points=range(1, 6))
    # Lagrange's weights at 0 of the points 1, 2, 3 are 3, −3, 1.
    framed = good | {1: off_by(good[1], 1), 2: off_by(good[2], 1)}
    assert recover_checked(framed) == (SECRET, (1, 2, 3))
    assert shamir.outliers(framed, base=(1, 2, 3)) is None
    assert shamir.outliers(framed, base=(3, 4, 5)) is None  # three against two could as well be the liars
    assert shamir.outliers(framed | {2: good[2]}, base=(3, 4, 5)) == {1}


@pytest.mark.parametrize(
    "share",
    [b"", bytes(65), bytes(67), shamir.PRIME.to_bytes(66, "big"), b"\xff" * 66],
    ids=["empty", "short", "long", "the-prime", "all-ones"],
)
def test_a_share_outside_the_field_is_refused(share: bytes):
    """A share is 66 bytes below the prime, so that each value has one encoding."""
    with pytest.raises(VerificationError, match="share: expected"):
        shamir.parse_share(share)
    shares = shamir.split(SECRET, threshold=2, points=(1, 2)) | {1: share}
    with pytest.raises(VerificationError, match="share: expected"):
        shamir.recover(shares, threshold=2)


@pytest.mark.parametrize("points", [(0, 1, 2), (1, 1, 2), (-1, 1, 2)])
def test_points_that_would_give_the_secret_away_are_refused(points: tuple[int, ...]):
    """The polynomial at 0 is the secret, and a point used twice is one share fewer."""
    with pytest.raises(DataError, match="distinct integers from 1"):
        shamir.split(SECRET, threshold=2, points=points)


@pytest.mark.parametrize("threshold", [0, 4])
def test_an_impossible_threshold_is_refused(threshold: int):
    """The threshold lies between 1 and the number of points."""
    with pytest.raises(DataError, match="threshold"):
        shamir.split(SECRET, threshold=threshold, points=(1, 2, 3))


@pytest.mark.parametrize("secret", [b"", SECRET[:-1], SECRET + b"\0"])
def test_a_secret_of_another_length_is_refused(secret: bytes):
    """Only 32-byte secrets are shared, so that recovery has one possible result."""
    with pytest.raises(DataError, match="32 bytes"):
        shamir.split(secret, threshold=2, points=(1, 2, 3))


@pytest.mark.parametrize("bits", [256, 264, 500])
def test_a_result_of_more_than_32_bytes_is_refused(bits: int):
    """The field is larger than the secrets: shares of anything else give themselves away."""
    with pytest.raises(VerificationError, match="one 32-byte secret"):
        shamir.recover({1: (1 << bits).to_bytes(66, "big")}, threshold=1)

"""The derivations against values computed independently, and what each of them is bound to."""

import hashlib
import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import VerificationError
from noren_core.secagg.masking import (
    add_pair_mask,
    add_self_mask,
    context,
    derive,
    exchange,
    expand,
    pair_seed,
)
from noren_core.secagg.messages import (
    Advertisement,
    Group,
    advertisement_statement,
    cohort_statement,
    contribution_commitment,
    seed_commitment,
    survivor_statement,
    transcript,
)

ZEROS = bytes(32)
SECRET = SecretBytes(ZEROS)
KEYS = {name: X25519PrivateKey.from_private_bytes(bytes([place]) * 32) for place, name in enumerate("abc", 1)}
PUBLIC = {name: key.public_key().public_bytes_raw() for name, key in KEYS.items()}


def by_hand(*fields):
    return b"".join(len(field).to_bytes(4, "big") + field for field in (b"noren/v1/secagg", *fields))


def hkdf_by_hand(secret, info):
    """RFC 5869 for one block, without a salt."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), info + b"\x01", "sha256")


def seed_of_pair(ours="a", theirs="b", session=ZEROS, round_number=3):
    return pair_seed(
        KEYS[ours],
        session=session,
        round_number=round_number,
        ours=(ours, PUBLIC[ours]),
        theirs=(theirs, PUBLIC[theirs]),
    ).reveal()


def mask(length, add, *arguments, **named):
    """What `add` adds to a zero vector."""
    total = np.zeros(length, np.uint64)
    add(total, *arguments, **named)
    return total.tolist()


def test_masks_are_the_chacha20_keystream():
    """RFC 8439, appendix A.1, test vector 1: key, nonce and counter zero."""
    stream = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert expand(SECRET, 4).astype("<u8").tobytes() == stream
    assert expand(SECRET, 4).dtype == np.uint64


@pytest.mark.parametrize("length", [1, 8191, 8192, 8193, 3 * 8192 + 5])
def test_masks_do_not_depend_on_the_blocks_they_are_made_in(length):
    """A stream of any length is the beginning of the one keystream, computed at once."""
    cipher = Cipher(algorithms.ChaCha20(ZEROS, bytes(16)), mode=None).encryptor()
    assert expand(SECRET, length).astype("<u8").tobytes() == cipher.update(bytes(8 * length))


def test_the_pair_seed_is_hkdf_of_the_exchange():
    """The info names protocol, purpose, session, round, both names and both keys, each with its length."""
    info = by_hand(b"pair-mask", ZEROS, b"3", b"a", b"b", PUBLIC["a"], PUBLIC["b"])
    shared = KEYS["b"].exchange(KEYS["a"].public_key())
    assert seed_of_pair() == hkdf_by_hand(shared, info)
    assert seed_of_pair().hex() == "e7f7eb4e8844f2adc3b8cfa6e64d894d1b9d88932cc4de06d78de73a89a0c8cb"


def test_both_ends_have_the_same_seed_and_opposite_masks():
    """What one adds the other takes away, whichever of them computes it."""
    assert seed_of_pair("a", "b") == seed_of_pair("b", "a")
    seed = SecretBytes(seed_of_pair())
    ours = mask(5, add_pair_mask, seed, adder="a", other="b")
    theirs = mask(5, add_pair_mask, seed, adder="b", other="a")
    assert ours == expand(seed, 5).tolist()  # the smaller name adds
    assert [(one + other) % 2**64 for one, other in zip(ours, theirs, strict=True)] == [0] * 5
    assert ours != theirs


def test_everything_in_the_context_changes_the_seed():
    """Another session, round or peer gives another mask."""
    seeds = {
        seed_of_pair(),
        seed_of_pair(session=bytes([1]) * 32),
        seed_of_pair(round_number=4),
        seed_of_pair(theirs="c"),
    }
    assert len(seeds) == 4


def test_the_self_mask_and_the_commitment_are_bound_to_session_round_and_company():
    """Known values for a zero seed, and others for any other context."""
    facts = {"session": ZEROS, "round_number": 3, "company": "acme"}
    committed = hashlib.sha256(by_hand(b"seed-commitment", ZEROS, b"3", b"acme", ZEROS)).digest()
    assert seed_commitment(SECRET, **facts) == committed
    key = SecretBytes(hkdf_by_hand(ZEROS, by_hand(b"self-mask", ZEROS, b"3", b"acme")))
    assert mask(3, add_self_mask, SECRET, **facts) == expand(key, 3).tolist()
    for change in ({"session": bytes([1]) * 32}, {"round_number": 4}, {"company": "acm"}):
        assert seed_commitment(SECRET, **(facts | change)) != committed
        assert mask(3, add_self_mask, SECRET, **(facts | change)) != expand(key, 3).tolist()


def test_the_contributions_commitment_is_bound_to_session_and_company():
    """A known value, and another for any other context; it is no seed commitment."""
    facts = {"session": ZEROS, "company": "acme"}
    committed = hashlib.sha256(by_hand(b"contribution-commitment", ZEROS, b"acme", ZEROS)).digest()
    assert contribution_commitment(SECRET, **facts) == committed
    for change in ({"session": bytes([1]) * 32}, {"company": "acm"}):
        assert contribution_commitment(SECRET, **(facts | change)) != committed


def test_a_group_does_not_depend_on_the_order_or_the_later_life_of_its_roster():
    """Points go by the order of names, from 1, and what the caller does to its mapping changes nothing."""
    roster = {"b": b"2" * 32, "c": b"3" * 32, "a": b"1" * 32}
    group = Group(roster=roster, threshold=3, minimum_cohort=2, session=ZEROS, rounds=2, vector_length=1)
    roster["d"] = b"4" * 32
    assert dict(group.roster) == {"a": b"1" * 32, "b": b"2" * 32, "c": b"3" * 32}
    assert group.points(["c", "a", "b"]) == {"a": 1, "b": 2, "c": 3}
    assert group.sealed_bytes == 32 + 2 * 132 + 16


def test_derivation_is_hkdf_sha256():
    """RFC 5869 with one block and no salt, for a secret of any length."""
    assert derive(b"x" * 77, b"info").reveal() == hkdf_by_hand(b"x" * 77, b"info")


def test_the_statements_are_those_of_the_specification():
    """What advertisement and cohort signatures are over, and the transcript, laid out by hand."""
    group = Group(
        roster={"a": b"1" * 32, "b": b"2" * 32},
        threshold=2,
        minimum_cohort=2,
        session=ZEROS,
        rounds=2,
        vector_length=1,
    )
    made = Advertisement(b"s" * 32, (b"k" * 32, b"K" * 32), (b"c" * 32, b"C" * 32), b"x" * 32, b"")
    fields = (b"s" * 32, b"x" * 32, b"k" * 32, b"K" * 32, b"c" * 32, b"C" * 32)
    ours = by_hand(b"advertisement", ZEROS, b"a", b"2", *fields)
    theirs = by_hand(b"advertisement", ZEROS, b"b", b"2", *fields)
    assert advertisement_statement(group, "a", made) == ours
    seen = hashlib.sha256(by_hand(b"transcript", ZEROS, b"2", ours, theirs)).digest()
    assert transcript(group, {"b": made, "a": made}) == seen
    assert cohort_statement(group, seen, ("b", "a")) == by_hand(b"cohort", ZEROS, seen, b"a", b"b")
    said = b'{"round":1,"session":"%s","survivors":["a","b"]}' % ZEROS.hex().encode()
    assert survivor_statement(ZEROS, 1, ("b", "a")) == said


def test_contexts_do_not_collide():
    """Moving a byte from one field to the next gives another context."""
    assert context("purpose", "ab", "c") != context("purpose", "a", "bc")
    assert context("purpose", "", "a") != context("purpose", "a", "")
    assert context("purpose", "1") != context("purpose", b"1", b"")


@pytest.mark.parametrize("public_key", [bytes(32), b"\x01" + bytes(31), b"", bytes(31), bytes(33)], ids=len)
def test_unusable_keys_are_refused(public_key):
    """A key of small order makes a secret that everyone knows."""
    with pytest.raises(VerificationError, match="usable X25519"):
        exchange(KEYS["a"], public_key)

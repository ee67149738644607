"""The derivations against values computed independently, and what each of them is bound to."""

import hashlib
import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from noren_core.errors import VerificationError
from noren_core.secagg.masking import agree, context, expand, pair_mask, pair_seed, self_mask
from noren_core.secagg.messages import seed_commitment

ZEROS = bytes(32)
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
    )


def test_masks_are_the_chacha20_keystream():
    """RFC 8439, appendix A.1, test vector 1: key, nonce and counter zero."""
    stream = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert expand(ZEROS, 4).astype("<u8").tobytes() == stream
    assert expand(ZEROS, 4).dtype == np.uint64


def test_the_pair_seed_is_hkdf_of_the_exchange():
    """The info names protocol, purpose, session, round, both names and both keys, each with its length."""
    info = by_hand(b"pair-mask", ZEROS, b"3", b"a", b"b", PUBLIC["a"], PUBLIC["b"])
    shared = KEYS["b"].exchange(KEYS["a"].public_key())
    assert seed_of_pair() == hkdf_by_hand(shared, info)
    assert seed_of_pair().hex() == "e7f7eb4e8844f2adc3b8cfa6e64d894d1b9d88932cc4de06d78de73a89a0c8cb"


def test_both_ends_have_the_same_seed_and_opposite_masks():
    """What one adds the other takes away, whichever of them computes it."""
    assert seed_of_pair("a", "b") == seed_of_pair("b", "a")
    ours = pair_mask(seed_of_pair(), adder="a", other="b", length=5)
    theirs = pair_mask(seed_of_pair(), adder="b", other="a", length=5)
    assert (ours + theirs).tolist() == [0] * 5
    assert ours.tolist() != theirs.tolist()


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
    assert seed_commitment(ZEROS, **facts) == committed
    key = hkdf_by_hand(ZEROS, by_hand(b"self-mask", ZEROS, b"3", b"acme"))
    assert self_mask(ZEROS, **facts, length=3).tolist() == expand(key, 3).tolist()
    for change in ({"session": bytes([1]) * 32}, {"round_number": 4}, {"company": "acm"}):
        assert seed_commitment(ZEROS, **(facts | change)) != committed
        assert self_mask(ZEROS, **(facts | change), length=3).tolist() != expand(key, 3).tolist()


def test_contexts_do_not_collide():
    """Moving a byte from one field to the next gives another context."""
    assert context("purpose", "ab", "c") != context("purpose", "a", "bc")
    assert context("purpose", "", "a") != context("purpose", "a", "")
    assert context("purpose", "1") != context("purpose", b"1", b"")


@pytest.mark.parametrize("public_key", [bytes(32), b"\x01" + bytes(31), b"", bytes(31), bytes(33)], ids=len)
def test_unusable_keys_are_refused(public_key):
    """A key of small order makes a secret that everyone knows."""
    with pytest.raises(VerificationError, match="usable X25519"):
        agree(KEYS["a"], public_key, b"")

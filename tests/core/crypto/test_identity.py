"""Signing and sealing keys: one purpose for each signature, one reader for each sealed message."""

import pytest

from noren_core.crypto.identity import (
    SealingKey,
    SigningKey,
    fingerprint,
    seal_to,
    verify_raw_signature,
    verify_signature,
)
from noren_core.errors import DataError, VerificationError

LOW_ORDER = [bytes(32), b"\1" + bytes(31)]


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.from_bytes(bytes(range(32)))


@pytest.fixture
def reader() -> SealingKey:
    return SealingKey.from_bytes(bytes(range(32)))


def test_the_published_signature():
    """The empty message is signed as in RFC 8032 §7.1, test 1, by the key of that test."""
    key = SigningKey.from_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert key.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = key.sign_raw(b"")
    assert signature.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25b"
        "f5f0595bbe24655141438e7a100b"
    )
    verify_raw_signature(key.public_key, b"", signature)


def test_a_signature_is_for_one_label_message_and_key(key):
    """A signature verifies under its own label, message and key, and under no other one of the three."""
    signature, other = key.sign(b"label", b"message"), SigningKey.generate().public_key
    assert signature == key.sign_raw(b"label\0message")
    verify_signature(key.public_key, b"label", b"message", signature)
    for public_key, label, message in (
        (key.public_key, b"labe", b"lmessage"),
        (key.public_key, b"other", b"message"),
        (key.public_key, b"label", b"messag"),
        (other, b"label", b"message"),
    ):
        with pytest.raises(VerificationError):
            verify_signature(public_key, label, message, signature)


def test_malformed_keys_and_signatures_do_not_verify(key):
    """A key or a signature of another length, or changed in any byte, is a VerificationError too."""
    public_key, signature = key.public_key, key.sign_raw(b"m")
    for wrong in (b"", public_key[:-1], public_key + b"\0", b"\xff" * 32):
        with pytest.raises(VerificationError):
            verify_raw_signature(wrong, b"m", signature)
    changed = [signature[:i] + bytes([signature[i] ^ 1]) + signature[i + 1 :] for i in range(64)]
    for wrong in (b"", signature[:-1], signature + b"\0", *changed):
        with pytest.raises(VerificationError):
            verify_raw_signature(public_key, b"m", wrong)


@pytest.mark.parametrize("kind", [SigningKey, SealingKey])
def test_a_private_key_is_32_bytes(kind):
    """A key read back is the same key, two fresh ones differ, and no other length is a key."""
    key = kind.generate()
    assert kind.from_bytes(key.to_bytes()).public_key == key.public_key
    assert kind.from_bytes(bytearray(key.to_bytes())).public_key == key.public_key
    assert len(key.to_bytes()) == len(key.public_key) == 32
    assert kind.generate().public_key != key.public_key
    for length in (0, 31, 33):
        with pytest.raises(DataError, match=f"expected 32 bytes, got {length}"):
            kind.from_bytes(bytes(length))


def test_one_reader_and_one_purpose(reader):
    """What is sealed to a key opens with it under the same `info`, and with no other key or `info`."""
    sealed = seal_to(reader.public_key, b"secret", info=b"purpose")
    assert reader.open(sealed, info=b"purpose") == b"secret"
    for opened_by, info in ((reader, b"other"), (reader, b""), (SealingKey.generate(), b"purpose")):
        with pytest.raises(VerificationError):
            opened_by.open(sealed, info=info)


def test_a_changed_sealed_message_does_not_open(reader):
    """Cut anywhere, extended or changed in any byte, it is a VerificationError."""
    sealed = seal_to(reader.public_key, b"secret", info=b"")
    cut = [sealed[:length] for length in range(len(sealed))]
    changed = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for wrong in (*cut, *changed, sealed + b"\0"):
        with pytest.raises(VerificationError):
            reader.open(wrong, info=b"")


def test_sealing_is_fresh(reader):
    """One message sealed twice gives two texts: nobody sees that they say the same."""
    assert seal_to(reader.public_key, b"m", info=b"") != seal_to(reader.public_key, b"m", info=b"")


@pytest.mark.parametrize("public_key", [b"", bytes(range(31)), bytes(range(33)), *LOW_ORDER])
def test_nothing_is_sealed_to_an_unusable_key(public_key):
    """Other lengths, and points of low order under which everybody could open, are refused."""
    with pytest.raises(VerificationError):
        seal_to(public_key, b"m", info=b"")


def test_a_fingerprint_is_read_out_in_groups_of_four():
    """Ten groups of four hex digits, of a hash with a label of its own."""
    assert fingerprint(bytes(32)) == "7e2a 534b 8203 a657 c79a e219 bdc3 68cf 5d9b c79a"

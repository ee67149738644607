"""Signed notes: a published one verifies, ours round-trip, and nothing malformed or altered passes."""

from __future__ import annotations

import base64
import hashlib

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ledger.note import VerifierKey, parse_note, sign_note

# The example of the Go implementation (golang.org/x/mod/sumdb/note).
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def test_a_note_made_elsewhere_verifies() -> None:
    """The published note of the Go implementation verifies under its published key."""
    note = parse_note(PUBLISHED_NOTE)
    note.verify(VerifierKey.from_text(PUBLISHED_KEY))
    assert note.text.startswith("If you think")
    assert note.text.endswith("problem is.\n")


def test_no_byte_of_a_note_can_change() -> None:
    """With any one byte changed, the published note is malformed or does not verify."""
    key = VerifierKey.from_text(PUBLISHED_KEY)
    for place in range(len(PUBLISHED_NOTE)):
        for bit in (1, 32, 128):
            changed = bytearray(PUBLISHED_NOTE)
            changed[place] ^= bit
            with pytest.raises(NorenError):
                parse_note(bytes(changed)).verify(key)


def test_our_note_verifies_under_our_key_and_no_other() -> None:
    """Signing round-trips; the same key under another name, and another key, are refused."""
    signing = SigningKey.generate()
    note = parse_note(sign_note("one\n\ntwo\n", "log.example/a", signing))
    note.verify(VerifierKey("log.example/a", signing.public_key))
    assert note.text == "one\n\ntwo\n"
    for name, public in (
        ("log.example/b", signing.public_key),
        ("log.example/a", SigningKey.generate().public_key),
    ):
        with pytest.raises(VerificationError):
            note.verify(VerifierKey(name, public))


def test_signatures_of_others_are_ignored_but_a_false_one_of_ours_is_not() -> None:
    """A witness's line may stand beside ours; a second line in our name must verify too."""
    ours, witness = SigningKey.generate(), SigningKey.generate()
    key = VerifierKey("log.example", ours.public_key)
    data = sign_note("text\n", "log.example", ours)
    witness_line = sign_note("text\n", "witness.example", witness).partition(b"\n\n")[2]
    parse_note(data + witness_line).verify(key)
    false_line = sign_note("other text\n", "log.example", ours).partition(b"\n\n")[2]
    with pytest.raises(VerificationError):
        parse_note(data + false_line).verify(key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 a AAAAAAA=",
        b"text\n\n- a AAAAAAA=\n",
        b"text\n\na AAAAAAA=\n",
        "text\n\n— a\u00a0b AAAAAAA=\n".encode(),
        b"text\n\n\xe2\x80\x94 a  AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 a+b AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 a AAAAAAB=\n",
        b"text\n\n\xe2\x80\x94 a AAAA\n",
        b"te\txt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"te\xfft\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"text\r\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"text\n\n" + 33 * "— a AAAAAAA=\n".encode(),
        b"t" * 70_000 + b"\n\n\xe2\x80\x94 a AAAAAAA=\n",
    ],
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    """Whatever is not exactly a note is bad data."""
    with pytest.raises(DataError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        PUBLISHED_KEY.replace("Peter", "Pieter"),
        PUBLISHED_KEY.replace("c74f20a3", "c74f20a4"),
        PUBLISHED_KEY.replace("c74f20a3", "C74F20A3"),
        PUBLISHED_KEY.replace("+ARpc", "+BBpc"),
        PUBLISHED_KEY[:-4],
        PUBLISHED_KEY + "\n",
        PUBLISHED_KEY.replace("PeterNeumann", "Peter Neumann"),
    ],
)
def test_malformed_verifier_keys_are_refused(text: str) -> None:
    """A key text with another name, key id, algorithm, length or spelling is bad data."""
    with pytest.raises(DataError):
        VerifierKey.from_text(text)


def test_impossible_verifier_keys_are_not_made() -> None:
    """Names that no note can carry and keys of another length are bad data."""
    for name, public_key in (("", bytes(32)), ("a b", bytes(32)), ("a+b", bytes(32)), ("a", bytes(31))):
        with pytest.raises(DataError):
            VerifierKey(name, public_key)


def test_a_verifier_key_has_one_spelling() -> None:
    """The published key parses and spells itself again."""
    assert VerifierKey.from_text(PUBLISHED_KEY).to_text() == PUBLISHED_KEY


@pytest.mark.parametrize(
    ("text", "name"), [("no newline", "a"), ("text\n", "a b"), ("te\0xt\n", "a"), ("", "a")]
)
def test_what_cannot_be_a_note_is_not_signed(text: str, name: str) -> None:
    """Signing refuses text and names that the format cannot hold."""
    with pytest.raises(DataError):
        sign_note(text, name, SigningKey.generate())


def test_limits_are_exact() -> None:
    """64 KiB, 32 signatures, names of 200 bytes, signatures of one byte: one more, or less, is refused."""
    line = "— a AAAAAAA=\n".encode()
    for count, size in ((1, 65_536), (32, 1_000)):
        text = b"t" * (size - 2 - count * len(line)) + b"\n\n" + count * line
        assert len(parse_note(text).signatures) == count
        assert len(text) == size
        with pytest.raises(DataError):
            parse_note(b"t" * (65_537 - size if count == 1 else 0) + text + (line if count == 32 else b""))
    with pytest.raises(DataError):
        parse_note("text\n\n— a AAAAAA==\n".encode())
    assert VerifierKey("a" * 200, bytes(32)).name == "a" * 200
    for name, key in (("a" * 201, bytes(32)), ("a", bytes(33)), ("a", bytes(31))):
        with pytest.raises(DataError):
            VerifierKey(name, key)


def test_a_verifier_key_has_one_algorithm_and_one_spelling() -> None:
    """A log's key is of algorithm 1; others, longer texts and other base64 are refused for what they are."""
    good = VerifierKey("a", bytes(32))
    for algorithm in (0, 2, 255):
        raw = bytes([algorithm]) + bytes(32)
        key_id = hashlib.sha256(b"a\n" + raw).hexdigest()[:8]
        with pytest.raises(DataError, match="algorithm 01"):
            VerifierKey.from_text(f"a+{key_id}+{base64.b64encode(raw).decode()}")
    name, key_id, encoded = good.to_text().split("+", 2)
    for text in (
        f"{name}+{key_id}",
        f"{name}+{key_id}+{encoded[:5]} {encoded[5:]}",
        f"{name}+{key_id}+{encoded}+",
        f"{name}+{key_id}+{encoded}\n",
        f"{name}+{key_id}+{encoded[:-1]}B",
        "a" * 401,
    ):
        with pytest.raises(DataError):
            VerifierKey.from_text(text)

"""Checkpoints: they round-trip, and only the trusted log's exact three lines open."""

from __future__ import annotations

import hashlib

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from noren_core.ledger.note import VerifierKey, sign_note

ORIGIN = "noren.example/2027"
ROOT = hashlib.sha256(b"root").digest()
ROOT_TEXT = Checkpoint(ORIGIN, 0, ROOT).to_text().split("\n")[2]


def test_a_checkpoint_has_the_layout_of_the_specification() -> None:
    """Origin, decimal size and base64 root, each on its line, signed under the origin's name."""
    key = SigningKey.from_bytes(bytes(range(32)))
    data = sign_checkpoint(ORIGIN, 12, ROOT, key)
    lines = data.decode().split("\n")
    assert lines[:4] == [ORIGIN, "12", ROOT_TEXT, ""]
    assert lines[4].startswith(f"— {ORIGIN} ")
    assert lines[5:] == [""]
    assert open_checkpoint(data, VerifierKey(ORIGIN, key.public_key)) == Checkpoint(ORIGIN, 12, ROOT)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n",
        f"{ORIGIN}\n12\n",
        f"{ORIGIN}\n012\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n-1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1e3\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n１\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n9223372036854775808\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n12\n{ROOT_TEXT[:-4]}\n",
        f"{ORIGIN}\n12\n{ROOT_TEXT}=\n",
        f"{ORIGIN}\n12\n{ROOT_TEXT}\nextension\n",
        f"\n{ORIGIN}\n12\n{ROOT_TEXT}\n",
        f"other.example\n12\n{ROOT_TEXT}\n",
    ],
)
def test_a_signature_does_not_make_a_checkpoint(text: str) -> None:
    """A text in another layout, or of another origin, is refused though the trusted key signed it."""
    key = SigningKey.generate()
    with pytest.raises(VerificationError):
        open_checkpoint(sign_note(text, ORIGIN, key), VerifierKey(ORIGIN, key.public_key))


def test_another_log_key_is_not_believed() -> None:
    """A checkpoint that another key signed in the same name is refused."""
    data = sign_checkpoint(ORIGIN, 12, ROOT, SigningKey.generate())
    with pytest.raises(VerificationError):
        open_checkpoint(data, VerifierKey(ORIGIN, SigningKey.generate().public_key))
    with pytest.raises(VerificationError):
        open_checkpoint(b"not a note", VerifierKey(ORIGIN, SigningKey.generate().public_key))


def test_an_impossible_checkpoint_is_not_signed() -> None:
    """Negative sizes and roots of another length are bad data before anything is signed."""
    for size, root in ((-1, ROOT), (2**63, ROOT), (1, ROOT[:31])):
        with pytest.raises(DataError):
            sign_checkpoint(ORIGIN, size, root, SigningKey.generate())

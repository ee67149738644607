"""C2SP cosignatures: a witness says that it saw this ledger, at this time, and never another one.

A cosignature (https://c2sp.org/tlog-cosignature, version 1, Ed25519) is a signature line of a checkpoint by
somebody who keeps the newest checkpoint that it has seen and verified that this one extends it. Who wants to
show two ledgers must find enough witnesses that sign for both. Other key types than Ed25519 are not read;
their lines are ignored like those of any key that nobody named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noren_core.crypto.identity import SigningKey, verify_raw_signature
from noren_core.errors import VerificationError
from noren_core.ledger.note import Note, NoteKey, NoteSignature

MAX_TIMESTAMP = (1 << 63) - 1
_TIMESTAMP_BYTES = 8


@dataclass(frozen=True, slots=True)
class CosignerKey(NoteKey):
    """Whose cosignature a checkpoint may carry: a key that signs time and text."""

    ALGORITHM = b"\x04"


def cosign(text: str, name: str, key: SigningKey, *, timestamp: int) -> NoteSignature:
    """The signature line by which `name` states to have seen the checkpoint `text`.

    Args:
        text: the checkpoint, verified against everything that this witness has cosigned before.
        name: the cosigner's.
        key: the cosigner's, used for nothing else: the message does not say the name.
        timestamp: now, in seconds since 1970.
    """
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        raise ValueError(f"cosignature: expected a time of 63 bits, got {timestamp}")
    signature = key.sign_raw(_message(text, timestamp))
    stated = timestamp.to_bytes(_TIMESTAMP_BYTES, "big") + signature
    return NoteSignature(name, CosignerKey(name, key.public_key).key_id, stated)


def verify_cosignature(note: Note, key: CosignerKey) -> int:
    """When `key` cosigned the note, in seconds since 1970; of several times the newest.

    Raises:
        VerificationError: if it did not, or one of the lines in its name does not verify.
    """
    times = [_verify(note.text, stated, key) for stated in note.signatures_of(key)]
    if not times:
        raise VerificationError("note: expected a cosignature of the trusted witness, got none")
    return max(times)


def verify_quorum(note: Note, keys: Sequence[CosignerKey], quorum: int) -> None:
    """Raise VerificationError unless at least `quorum` of these witnesses cosigned the note.

    1. Whoever has a line here is counted once, by public key: a second name makes no second witness.
    2. Every line of a witness verifies.
    3. There are enough. That the log signed the note too is left to the caller.
    """
    # 1
    present = [key for key in keys if note.signatures_of(key)]
    # 2
    for key in present:
        verify_cosignature(note, key)
    # 3
    count = len({key.public_key for key in present})
    if count < quorum:
        raise VerificationError(
            f"checkpoint: expected cosignatures of {quorum} witnesses, got {count}", code="WITNESS_QUORUM"
        )


def _verify(text: str, stated: bytes, key: CosignerKey) -> int:
    timestamp = int.from_bytes(stated[:_TIMESTAMP_BYTES], "big")
    if timestamp > MAX_TIMESTAMP:
        raise VerificationError("cosignature: expected a time of 63 bits, got a larger one")
    verify_raw_signature(key.public_key, _message(text, timestamp), stated[_TIMESTAMP_BYTES:])
    return timestamp


def _message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()

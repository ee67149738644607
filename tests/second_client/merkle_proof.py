"""Signed checkpoints (C2SP signed note, tlog-checkpoint) and the log's proofs (RFC 6962 §2.1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from . import RefusedError, expect


@dataclass(frozen=True, slots=True)
class LogKey:
    """A C2SP verifier key, `name+hash+key`."""

    name: str
    key_id: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree's size and root."""

    size: int
    root: bytes


def log_key(text: str) -> LogKey:
    """Parses a verifier key of type Ed25519."""
    try:
        name, key_id, encoded = text.split("+", 2)
        material = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise RefusedError("a verifier key expected") from None
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    expect(len(material) == 33 and material[0] == 1 and key_id == expected.hex(), "a verifier key")
    return LogKey(name, expected, material[1:])


def unsigned_checkpoint(note: bytes) -> Checkpoint:
    """Size and root of a note that nobody has verified yet; it says which key must have signed it."""
    lines = note.rpartition(b"\n\n")[0].split(b"\n")
    expect(len(lines) == 3 and lines[1].isdigit() and str(int(lines[1])).encode() == lines[1], "a checkpoint")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except binascii.Error:
        raise RefusedError("a checkpoint's root expected") from None
    expect(len(root) == 32, "a checkpoint's root")
    return Checkpoint(int(lines[1]), root)


def read_checkpoint(note: bytes, key: LogKey) -> Checkpoint:
    """The checkpoint, if `key` is among its signers; other signatures are ignored."""
    text, _, signatures = note.rpartition(b"\n\n")
    text += b"\n"
    expect(text.split(b"\n")[0] == key.name.encode(), "the origin of our log")
    prefix = "\u2014 ".encode() + key.name.encode() + b" "
    for line in signatures.split(b"\n"):
        if not line.startswith(prefix):
            continue
        blob = base64.b64decode(line[len(prefix) :])
        if blob[:4] != key.key_id:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(blob[4:], text)
        except InvalidSignature:
            break
        return unsigned_checkpoint(note)
    raise RefusedError("a checkpoint signed by the current log key expected")


def witnesses_of(note: bytes, keys: Sequence[str]) -> set[bytes]:
    """The public keys of those cosigners, of these verifier keys, who have a line in the note (§4.2.1)."""
    text, _, signatures = note.rpartition(b"\n\n")
    text += b"\n"
    seen = set()
    for name, key_id, material in (key.split("+", 2) for key in keys):
        public = base64.b64decode(material)
        expect(public[0] == 4 and len(public) == 33, "the key of a cosigner")
        prefix = f"\u2014 {name} ".encode()
        for line in signatures.split(b"\n"):
            blob = base64.b64decode(line[len(prefix) :]) if line.startswith(prefix) else b""
            if blob[:4].hex() != key_id:
                continue
            said = f"cosignature/v1\ntime {int.from_bytes(blob[4:12])}\n".encode() + text
            try:
                Ed25519PublicKey.from_public_bytes(public[1:]).verify(blob[12:], said)
            except InvalidSignature:
                raise RefusedError("cosignatures that verify expected") from None
            seen.add(public[1:])
    return seen


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def verify_inclusion(entry: bytes, index: int, proof: Sequence[bytes], checkpoint: Checkpoint) -> None:
    """That the entry is at `index` of the checkpoint's tree (RFC 9162 §2.1.3.2)."""
    expect(0 <= index < checkpoint.size, "an index below the size")
    place, last, root = index, checkpoint.size - 1, hashlib.sha256(b"\0" + entry).digest()
    for sibling in proof:
        expect(last, "a proof that is not too long")
        if place & 1 or place == last:
            root = _node(sibling, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = _node(root, sibling)
        place, last = place >> 1, last >> 1
    expect(last == 0 and root == checkpoint.root, "an inclusion proof that holds")


def verify_consistency(old: Checkpoint | None, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """That the new tree extends the old one (RFC 9162 §2.1.4.2)."""
    if old is None or old.size == new.size:
        expect(not proof and (old is None or old.root == new.root), "a log that only grows")
        return
    expect(old.size < new.size, "a log that only grows")
    path = list(proof)
    if old.size & (old.size - 1) == 0:
        path.insert(0, old.root)
    expect(path, "a consistency proof")
    place, last = old.size - 1, new.size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_root = new_root = path[0]
    for sibling in path[1:]:
        expect(last, "a proof that is not too long")
        if place & 1 or place == last:
            old_root, new_root = _node(sibling, old_root), _node(sibling, new_root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new_root = _node(new_root, sibling)
        place, last = place >> 1, last >> 1
    expect(last == 0 and old_root == old.root and new_root == new.root, "a log that only grows")

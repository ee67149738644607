"""Reading an exported ledger: two files, framed so that every byte of them is checked.

`checkpoint` is a signed checkpoint and nothing else. `entries.jsonl` is one canonical entry per line,
each line ended by one newline. Other files are a finding too: a bundle is complete in itself.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from noren_audit.findings import Code, Findings
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.ledger.entries import PLATFORM, PlatformKey, SignedEntry, parse_entry
from noren_core.ledger.key_history import KeyHistory, KeyHistoryError
from noren_core.ledger.note import Note, VerifierKey, parse_note

CHECKPOINT_FILE = "checkpoint"
ENTRIES_FILE = "entries.jsonl"


@dataclass(frozen=True, slots=True)
class Bundle:
    """The bytes of a bundle: the checkpoint note and one entry per line, as they lie there."""

    checkpoint: bytes
    lines: tuple[bytes, ...]


def read_bundle(directory: Path, findings: Findings) -> Bundle:
    """The bundle in `directory`; what is missing, superfluous or badly framed becomes a finding."""
    found = {item.name: item for item in directory.iterdir()}
    expected = {CHECKPOINT_FILE, ENTRIES_FILE}
    if found.keys() != expected:
        findings.add(
            Code.BUNDLE_FILES,
            f"expected exactly the files {CHECKPOINT_FILE} and {ENTRIES_FILE}",
            missing=sorted(expected - found.keys()),
            unexpected=sorted(ascii(name) for name in found.keys() - expected),
        )
    checkpoint = _read_regular(found.get(CHECKPOINT_FILE), findings)
    return Bundle(checkpoint, _lines(_read_regular(found.get(ENTRIES_FILE), findings), findings))


def verify_checkpoint(bundle: Bundle, keys: KeyHistory, findings: Findings) -> Checkpoint | None:
    """The checkpoint, if the log signed it; and whether it is over exactly these entries.

    1. The log key that is current at its size signed it. Beside that stands at most the signature of the key
       before, which signs along after a change: one that this tool cannot check would leave bytes in the
       bundle that anybody can change.
    2. It counts as many entries as there are.
    3. Its root is the Merkle root over them.

    Args:
        bundle: the bytes.
        keys: all keys of the ledger, its entries read.
        findings: what is wrong is added here.
    """
    # 1
    try:
        checkpoint = keys.open_checkpoint(bundle.checkpoint)
        _verify_signers(parse_note(bundle.checkpoint), _signers(keys, checkpoint.size))
    except KeyHistoryError as error:
        findings.add(Code.CHECKPOINT_RETIRED_KEY, error.message)
        return None
    except VerificationError as error:
        findings.add(Code.CHECKPOINT_INVALID, error.message)
        return None
    # 2
    if checkpoint.size != len(bundle.lines):
        findings.add(
            Code.CHECKPOINT_SIZE,
            "expected as many entries as the checkpoint counts",
            checkpoint=checkpoint.size,
            entries=len(bundle.lines),
        )
    # 3
    root = MerkleTree([leaf_hash(line) for line in bundle.lines]).root()
    if root != checkpoint.root:
        findings.add(
            Code.CHECKPOINT_ROOT,
            "expected the entries whose Merkle root was signed, got others",
            signed=checkpoint.root.hex(),
            computed=root.hex(),
        )
    return checkpoint


def parse_entries(bundle: Bundle, findings: Findings) -> list[tuple[int, SignedEntry]]:
    """Every well-formed entry with its index; the others become findings."""
    parsed = []
    for index, line in enumerate(bundle.lines):
        try:
            parsed.append((index, parse_entry(line)))
        except DataError as error:
            findings.add(Code.ENTRY_MALFORMED, error.message, index=index)
    return parsed


def _signers(keys: KeyHistory, size: int) -> tuple[VerifierKey, ...]:
    """The log key that is current at this size and, if there was one, the key before it."""
    every = keys.keys_of(PLATFORM, PlatformKey.LOG)
    place = every.index(keys.log_key(size).to_text())
    return tuple(VerifierKey.from_text(text) for text in every[max(place - 1, 0) : place + 1])


def _verify_signers(note: Note, allowed: tuple[VerifierKey, ...]) -> None:
    """Every line is one of these keys' signature, and no key signs twice."""
    known = {(key.name, key.key_id): key for key in allowed}
    lines = [(item.name, item.key_id) for item in note.signatures]
    if len(set(lines)) != len(lines) or not set(lines) <= known.keys():
        raise VerificationError("checkpoint: expected signatures of the log alone, got others")
    for line in lines:
        note.verify(known[line])


def _read_regular(path: Path | None, findings: Findings) -> bytes:
    if path is None:
        return b""
    if not stat.S_ISREG(path.lstat().st_mode):
        findings.add(Code.BUNDLE_FILES, f"{path.name}: expected a regular file, got something else")
        return b""
    return path.read_bytes()


def _lines(data: bytes, findings: Findings) -> tuple[bytes, ...]:
    lines = data.split(b"\n")
    last = lines.pop()
    if last or not lines:
        findings.add(Code.BUNDLE_FRAMING, f"{ENTRIES_FILE}: expected entries that each end in a newline")
        return (*lines, last) if last else ()
    return tuple(lines)

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
from noren_core.ledger.checkpoint import Checkpoint, open_checkpoint
from noren_core.ledger.entries import SignedEntry, parse_entry
from noren_core.ledger.note import VerifierKey, parse_note

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


def verify_checkpoint(bundle: Bundle, key: VerifierKey, findings: Findings) -> Checkpoint | None:
    """The checkpoint, if the trusted log signed it; and whether it is over exactly these entries.

    1. It is the log's, and carries no second signature: one that this tool cannot check would leave
       bytes in the bundle that anybody can change.
    2. It counts as many entries as there are.
    3. Its root is the Merkle root over them.
    """
    # 1
    try:
        checkpoint = open_checkpoint(bundle.checkpoint, key)
        signatures = len(parse_note(bundle.checkpoint).signatures)
    except VerificationError as error:
        findings.add(Code.CHECKPOINT_INVALID, error.message)
        return None
    if signatures != 1:
        findings.add(
            Code.CHECKPOINT_INVALID,
            f"checkpoint: expected the log's signature alone, got {signatures} signatures",
        )
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

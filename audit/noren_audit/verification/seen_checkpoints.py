"""Checkpoints that others hold, compared with the bundle: did everybody see one ledger?

A platform that keeps two ledgers shows each to somebody. Whoever kept a checkpoint (a company's client keeps
the newest that it verified; reports print theirs) can find out. The pair is evidence: the log signed both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from noren_audit.verification.bundle import Bundle
from noren_audit.verification.findings import Code, Finding, Findings
from noren_audit.witness.durable_file import replace_file
from noren_core import canonical_json
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.key_history import KeyHistory
from noren_core.ledger.note import MAX_NOTE_BYTES


def verify_seen(bundle: Bundle, seen: Sequence[bytes], keys: KeyHistory, findings: Findings) -> None:
    """Compare each checkpoint in `seen` with the entries of the bundle, whose checkpoint is the log's.

    1. The log key that is current at its size signed it. What it did not sign shows nothing.
    2. The bundle reaches that far.
    3. The first entries of the bundle have the root that it states. If not, there are two ledgers; the
       finding carries both notes as evidence.

    Args:
        bundle: its entries have been read.
        seen: signed checkpoints, from anywhere.
        keys: all keys of the ledger, its entries read.
        findings: what is wrong is added here; `seen` counts from 1 there.
    """
    for number, data in enumerate(seen, start=1):
        # 1
        try:
            checkpoint = keys.open_checkpoint(data)
        except VerificationError as error:
            findings.add(Code.SEEN_UNUSABLE, error.message, seen=number)
            continue
        # 2
        if checkpoint.size > bundle.tree.size:
            findings.add(
                Code.SEEN_UNUSABLE,
                "expected a bundle of at least as many entries as the checkpoint that was seen",
                seen=number,
                size=checkpoint.size,
                entries=bundle.tree.size,
            )
            continue
        # 3
        root = bundle.tree.root(checkpoint.size)
        if root != checkpoint.root:
            findings.add(
                Code.SPLIT_VIEW,
                f"the log signed two ledgers: another one of {checkpoint.size} entries was seen",
                seen=number,
                seen_root=checkpoint.root.hex(),
                root_here=root.hex(),
                seen_checkpoint=data.decode(),
                bundle_checkpoint=bundle.checkpoint.decode(),
            )


def read_seen(paths: Iterable[Path]) -> list[bytes]:
    """The bytes of each file, at most what a note can have; DataError if one cannot be read."""
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                found.append(file.read(MAX_NOTE_BYTES + 1))
        except OSError as error:
            raise DataError(f"{path.name}: expected a readable file, got {error.strerror}") from error
    return found


def write_evidence(findings: Iterable[Finding], directory: Path) -> None:
    """For each split view a file with both signed notes, in the form that companies' clients keep."""
    for finding in findings:
        if finding.code is Code.SPLIT_VIEW:
            notes = {
                "known": finding.evidence["seen_checkpoint"],
                "presented": finding.evidence["bundle_checkpoint"],
            }
            data = canonical_json.encode(notes)
            directory.mkdir(parents=True, exist_ok=True)
            replace_file(directory / f"split-view-{hashlib.sha256(data).hexdigest()[:16]}.json", data)

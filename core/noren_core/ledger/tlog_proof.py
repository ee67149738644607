"""C2SP tlog-proofs: one entry is in the ledger, to be verified offline from one small file.

A proof (https://c2sp.org/tlog-proof) holds the entry's index, its Merkle path and a signed checkpoint,
with the cosignatures of witnesses if there are any. It says nothing about what else is in the ledger.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from noren_core.crypto.merkle import leaf_hash, verify_inclusion
from noren_core.errors import DataError
from noren_core.ledger.checkpoint import Checkpoint, open_checkpoint
from noren_core.ledger.cosignature import CosignerKey, verify_quorum
from noren_core.ledger.note import MAX_NOTE_BYTES, VerifierKey, parse_note
from noren_core.ledger.proof_lines import parse_hashes, parse_number, to_lines

MAX_PROOF_BYTES = MAX_NOTE_BYTES + (8 << 10)
_HEADER = "c2sp.org/tlog-proof@v1"
_WHAT = "tlog-proof"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Where an entry stands, its path to the root, and the signed checkpoint with that root.

    Attributes:
        extra: bytes of another application beside the proof; nothing vouches for them. Ours has none.
    """

    index: int
    inclusion: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def to_bytes(self) -> bytes:
        """The proof as it is written to a file."""
        extra = "" if self.extra is None else f"extra {base64.b64encode(self.extra).decode()}\n"
        head = f"{_HEADER}\n{extra}index {self.index}\n{to_lines(self.inclusion)}\n"
        return head.encode() + self.checkpoint


def parse_tlog_proof(data: bytes) -> TlogProof:
    """The proof in `data`, not yet verified; DataError for anything malformed.

    1. Bounded UTF-8; the first empty line separates the proof from the checkpoint.
    2. The header, an optional line of extra bytes, the index, at most 63 hashes.
    3. The checkpoint is a signed note.
    """
    # 1
    if len(data) > MAX_PROOF_BYTES:
        raise DataError(f"{_WHAT}: expected at most {MAX_PROOF_BYTES} bytes, got {len(data)}")
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{_WHAT}: expected UTF-8, got other bytes") from error
    # 2
    if not separator or lines.pop(0) != _HEADER:
        raise DataError(f"{_WHAT}: expected {_HEADER}, lines, an empty line and a checkpoint")
    extra = _parse_extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else None
    if not lines:
        raise DataError(f"{_WHAT}: expected a line with the index, got none")
    index = parse_number(lines.pop(0), "index", _WHAT)
    hashes = parse_hashes(lines, _WHAT)
    # 3
    parse_note(checkpoint)
    return TlogProof(index, hashes, checkpoint, extra)


def verify_tlog_proof(
    proof: TlogProof, entry: bytes, *, log_key: VerifierKey, witnesses: Sequence[CosignerKey], quorum: int
) -> Checkpoint:
    """The checkpoint of the ledger in which `entry` stands at the proof's index.

    1. `log_key` signed the checkpoint.
    2. At least `quorum` of the witnesses cosigned it.
    3. The path leads from the entry at its index to the checkpoint's root.
    Who signed the entry is left to the caller.

    Raises:
        VerificationError: saying which of these does not hold.
    """
    # 1
    checkpoint = open_checkpoint(proof.checkpoint, log_key)
    # 2
    verify_quorum(parse_note(proof.checkpoint), witnesses, quorum)
    # 3
    verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.inclusion, checkpoint.root)
    return checkpoint


def _parse_extra(line: str) -> bytes:
    encoded = line.removeprefix("extra ")
    try:
        extra = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise DataError(f"{_WHAT}: expected extra bytes in base64, got another text") from error
    if base64.b64encode(extra).decode() != encoded:
        raise DataError(f"{_WHAT}: expected extra bytes in canonical base64")
    return extra

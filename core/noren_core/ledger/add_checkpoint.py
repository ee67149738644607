"""The one request of a witness: a checkpoint, and the proof that it extends the last one (C2SP tlog-witness).

`old <size>`, one line of base64 per hash of the consistency proof, an empty line, the signed checkpoint
(https://c2sp.org/tlog-witness). The witness answers with a cosignature, or with the size that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from noren_core.errors import DataError
from noren_core.ledger.note import MAX_NOTE_BYTES, parse_note
from noren_core.ledger.proof_lines import parse_hashes, parse_number, to_lines

PATH = "/add-checkpoint"
SIZE_CONTENT_TYPE = "text/x.tlog.size"
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + (4 << 10)
_WHAT = "add-checkpoint"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """What a log asks a witness to cosign.

    Attributes:
        old_size: size of the checkpoint that the witness cosigned last, as far as the log knows.
        consistency: the RFC 6962 proof from there to the new checkpoint.
        checkpoint: the signed note.
    """

    old_size: int
    consistency: tuple[bytes, ...]
    checkpoint: bytes

    def to_bytes(self) -> bytes:
        """The body of the request."""
        return f"old {self.old_size}\n{to_lines(self.consistency)}\n".encode() + self.checkpoint


def parse_add_checkpoint(data: bytes) -> AddCheckpoint:
    """The request in `data`, nothing of it verified; DataError for anything malformed."""
    if len(data) > MAX_REQUEST_BYTES:
        raise DataError(f"{_WHAT}: expected at most {MAX_REQUEST_BYTES} bytes, got {len(data)}")
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{_WHAT}: expected UTF-8, got other bytes") from error
    if not separator:
        raise DataError(f"{_WHAT}: expected an empty line before the checkpoint, got none")
    old_size = parse_number(lines[0], "old", _WHAT)
    hashes = parse_hashes(lines[1:], _WHAT)
    parse_note(checkpoint)
    return AddCheckpoint(old_size, hashes, checkpoint)


def parse_known_size(data: bytes) -> int:
    """The size in a witness's answer 409: a decimal number and a newline; DataError for other bytes."""
    if len(data) > 20 or not data.endswith(b"\n") or not data.isascii():
        raise DataError(f"{_WHAT}: expected a tree size and a newline, got another answer")
    return parse_number(f"old {data[:-1].decode()}", "old", _WHAT)

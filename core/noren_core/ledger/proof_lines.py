"""Merkle proofs as C2SP spells them in text: one hash a line, in base64, before an empty line.

Shared by `tlog_proof` (inclusion) and `add_checkpoint` (consistency). Numbers are decimal without leading
zeroes, and every hash has one spelling, so that what is parsed is exactly what would be written.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from noren_core.canonical_json import MAX_INTEGER
from noren_core.crypto.merkle import HASH_BYTES
from noren_core.errors import DataError

MAX_LINES = 63
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})\Z", re.ASCII)


def to_lines(hashes: Iterable[bytes]) -> str:
    """One line of base64 for each hash."""
    return "".join(base64.b64encode(item).decode() + "\n" for item in hashes)


def parse_hashes(lines: list[str], what: str) -> tuple[bytes, ...]:
    """The hashes in these lines (without newlines); DataError if one is no hash, or for more than 63."""
    if len(lines) > MAX_LINES:
        raise DataError(f"{what}: expected at most {MAX_LINES} hashes, got {len(lines)}")
    return tuple(_parse_hash(line, what) for line in lines)


def parse_number(line: str, word: str, what: str) -> int:
    """The number in a line `word number`; DataError for another word or spelling."""
    found, _, digits = line.partition(" ")
    if found != word or not _NUMBER.match(digits) or int(digits) > MAX_INTEGER:
        raise DataError(f"{what}: expected a line with {word} and a decimal number, got another line")
    return int(digits)


def _parse_hash(line: str, what: str) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except ValueError as error:
        raise DataError(f"{what}: expected a hash in base64, got another line") from error
    if len(found) != HASH_BYTES or base64.b64encode(found).decode() != line:
        raise DataError(f"{what}: expected a hash of {HASH_BYTES} bytes in canonical base64")
    return found

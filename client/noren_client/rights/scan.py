"""Searching this machine for what was erased: exact byte patterns in every file that we can read.

docs/rights/erasure.md §5. Promises: a pattern is found wherever it stands, across any block boundary, in a
file's bytes or its name, and in what our own sealed files hold once they are opened. What is found is told by
place and never by content.

It cannot see: swap, memory of processes, freed blocks of a disk, other machines, backups, logs that a service
manager keeps, what was written in another form than the patterns, and what a person remembers. A certificate
says so.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 8 << 20
MIN_PATTERN_BYTES = 16
_WORD_BYTES = 8
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Canaries:
    """Byte patterns that may be nowhere any more: each as it is, and in hexadecimal digits of both cases."""

    patterns: frozenset[bytes] = field(repr=False)

    @classmethod
    def of(cls, erased: Iterable[bytes]) -> Canaries:
        """The patterns of what was erased; whatever is shorter than 16 bytes would be found by chance."""
        raw = {value for value in erased if len(value) >= MIN_PATTERN_BYTES}
        spelt = {value.hex().encode() for value in raw}
        return cls(frozenset(raw | spelt | {value.upper() for value in spelt}))


class Search:
    """Looks for all patterns at once; memory is one block and the patterns."""

    def __init__(self, canaries: Canaries) -> None:
        self._by_word: dict[bytes, list[bytes]] = {}
        for pattern in canaries.patterns:
            self._by_word.setdefault(pattern[:_WORD_BYTES], []).append(pattern)
        words = b"".join(sorted(self._by_word))
        self._words: npt.NDArray[np.uint64] = np.sort(np.frombuffer(words, dtype="<u8"))
        self._overlap = max(map(len, canaries.patterns), default=1) - 1

    def is_in(self, data: bytes) -> bool:
        """Whether any pattern stands somewhere in `data`.

        Every pattern begins with one of few words of eight bytes; the places where one of these stands are
        found at once, and only there the whole pattern is compared.
        """
        if not self._words.size:
            return False
        for offset in range(min(_WORD_BYTES, max(0, len(data) - MIN_PATTERN_BYTES + 1))):
            count = (len(data) - offset) // _WORD_BYTES
            view = np.frombuffer(data, dtype="<u8", offset=offset, count=count)
            for place in np.flatnonzero(np.isin(view, self._words)):
                start = offset + int(place) * _WORD_BYTES
                word = data[start : start + _WORD_BYTES]
                if any(data.startswith(pattern, start) for pattern in self._by_word.get(word, ())):
                    return True
        return False

    def is_in_file(self, path: Path) -> bool:
        """The same for a file, in blocks that overlap; False for one that is gone meanwhile."""
        try:
            with path.open("rb") as file:
                tail = b""
                while block := file.read(BLOCK_BYTES):
                    data = tail + block
                    if self.is_in(data):
                        return True
                    tail = data[len(data) - self._overlap :] if self._overlap else b""
        except FileNotFoundError:
            return False
        return False


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Where something was found, and what could not be read; a search is clean if both are empty."""

    found: tuple[str, ...]
    unreadable: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every file could be read and nothing was found."""
        return not self.found and not self.unreadable


def scan(
    places: Sequence[Path],
    opened: Iterable[tuple[str, bytes]],
    canaries: Canaries,
    *,
    kept: Collection[str],
    changed_since: float,
) -> ScanResult:
    """Search files and opened secrets.

    Args:
        places: directories, each searched whole; links are not followed. What others own is not ours to read.
        opened: what sealed files hold, with their names.
        canaries: what may be nowhere.
        kept: patterns, as `Path.match` takes them, of files that hold some of it on purpose.
        changed_since: files outside the first place that were last changed before then are passed over: they
            cannot hold it. In seconds since 1970.
    """
    search = Search(canaries)
    found: list[str] = []
    unreadable: list[str] = []
    for place in places:
        since = 0.0 if place == places[0] else changed_since
        for path in _files(place, since):
            if any(path.match(pattern) for pattern in kept):
                continue
            try:
                if search.is_in(os.fsencode(path.name)) or search.is_in_file(path):
                    found.append(str(path))
            except OSError as error:
                _LOG.warning("a file could not be searched: %s", type(error).__name__)
                unreadable.append(str(path))
    found += [name for name, data in opened if search.is_in(data)]
    return ScanResult(tuple(found), tuple(unreadable))


def _files(place: Path, since: float) -> Iterator[Path]:
    """Regular files of ours below a directory, or the file itself."""
    candidates = [place] if place.is_file() else sorted(place.rglob("*"))
    for path in candidates:
        try:
            status = path.lstat()
        except OSError:  # gone meanwhile, or in a directory of somebody else's
            continue
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if is_ours and max(status.st_mtime, status.st_ctime) >= since:
            yield path

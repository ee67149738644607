"""Reading an exported ledger: a static tree of tiles, of which every byte is checked.

    checkpoint                  a signed checkpoint and nothing else
    tile/entries/<N>[.p/<W>]    the entries, up to 256 in a file
    tile/<L>/<N>[.p/<W>]        hashes of subtrees, which follow from the entries

The layout is that of C2SP tlog-tiles (`noren_core.ledger.tiles`). Which files belong to it follows from the
number of entries; any other is a finding, too: a bundle is complete in itself. Entries are read file after
file and are not kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from noren_audit.verification.findings import Code, Findings
from noren_audit.verification.trust import Trust
from noren_core.crypto.merkle import HASH_BYTES, MerkleTree, leaf_hash
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.ledger.cosignature import CosignerKey, verify_quorum
from noren_core.ledger.entries import PLATFORM, PlatformKey, SignedEntry, parse_entry
from noren_core.ledger.key_history import KeyHistory, KeyHistoryError
from noren_core.ledger.note import MAX_NOTE_BYTES, Note, VerifierKey, parse_note
from noren_core.ledger.tiles import (
    CHECKPOINT_PATH,
    MAX_BUNDLE_BYTES,
    TILE_WIDTH,
    EntryBundle,
    entry_bundles,
    hash_tiles,
    parse_bundle,
)

_SHOWN_NAMES = 20
_ROTATION = b'"kind":"platform-key-rotation"'


class Bundle:
    """An exported ledger on disk.

    Attributes:
        checkpoint: the bytes of the checkpoint note.
        size: how many entries the names of the entry bundles promise.
        tree: the Merkle tree over the entries that `entries` has read so far.
    """

    def __init__(self, directory: Path, findings: Findings) -> None:
        """Compare the files with those that belong to a ledger of their size, and read the checkpoint."""
        self._directory = directory
        self._findings = findings
        self._is_damaged = False
        self.size = _verify_files(directory, findings)
        self.checkpoint = self._read(CHECKPOINT_PATH, MAX_NOTE_BYTES)
        self.tree = MerkleTree()

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Every entry with its index, in order; to be read once, and to the end.

        The entries of a bundle that is missing or badly framed are left out, with a finding.
        """
        if not self.size:
            self._findings.add(Code.BUNDLE_FRAMING, "expected entries, got none")
        for bundle in entry_bundles(self.size):
            try:
                entries = self._parse(bundle)
            except DataError as error:
                self._is_damaged = True
                self._findings.add(Code.BUNDLE_FRAMING, error.message, file=bundle.path)
                continue
            for place, data in enumerate(entries):
                self.tree.append(leaf_hash(data))
                yield bundle.first + place, data

    def platform_rotations(self) -> dict[int, SignedEntry]:
        """The changes of the platform's own keys, which must be known before any entry is judged.

        What is malformed is left out without a word: `entries` comes to it.
        """
        found: dict[int, SignedEntry] = {}
        for bundle in entry_bundles(self.size):
            entries: list[bytes] = []
            with suppress(DataError):
                entries = self._parse(bundle)
            for index, data in enumerate(entries, start=bundle.first):
                if _ROTATION in data:  # canonical JSON spells it in one way; all else need not be parsed
                    with suppress(DataError):
                        found[index] = parse_entry(data)
        return found

    def verify_tiles(self) -> None:
        """Compare every hash tile with the entries that were read; each that differs becomes a finding."""
        if self._is_damaged:  # a finding says so; hashes of what could not be read are not known
            return
        for tile in hash_tiles(self.size):
            if self._read(tile.path, TILE_WIDTH * HASH_BYTES) != tile.cut_from(self.tree):
                self._findings.add(
                    Code.BUNDLE_TILES, "expected the hashes of the entries, got others", file=tile.path
                )

    def _parse(self, bundle: EntryBundle) -> list[bytes]:
        return parse_bundle(self._read(bundle.path, MAX_BUNDLE_BYTES), bundle.width)

    def _read(self, name: str, limit: int) -> bytes:
        """The bytes of a regular file; none, with a finding, of anything else."""
        try:
            descriptor = os.open(self._directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return b""  # missing or no regular file: `_verify_files` has said so
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return b""
            data = file.read(limit + 1)
        if len(data) > limit:
            self._findings.add(Code.BUNDLE_FRAMING, f"expected at most {limit} bytes", file=name)
            return b""
        return data


def read_bundle(directory: Path, findings: Findings) -> Bundle:
    """The bundle in `directory`; what is missing, superfluous or badly framed becomes a finding."""
    return Bundle(directory, findings)


def parse_entries(bundle: Bundle, findings: Findings) -> Iterator[tuple[int, SignedEntry]]:
    """Every well-formed entry with its index; the others become findings."""
    for index, data in bundle.entries():
        try:
            yield index, parse_entry(data)
        except DataError as error:
            findings.add(Code.ENTRY_MALFORMED, error.message, index=index)


def verify_checkpoint(bundle: Bundle, keys: KeyHistory, findings: Findings) -> Checkpoint | None:
    """The checkpoint, if the log signed it; and whether it is over exactly these entries.

    1. The log key that is current at its size signed it. In the log's name stands beside that at most the
       signature of the key before, which signs along after a change.
    2. It counts as many entries as there are.
    3. Its root is the Merkle root over them.
    4. The hash tiles, from which other tools read, are those of the entries.
    Lines in other names are left to `verify_witnesses`.

    Args:
        bundle: its entries have been read.
        keys: all keys of the ledger, its entries read.
        findings: what is wrong is added here.
    """
    bundle.verify_tiles()  # 4: also under a checkpoint that is not the log's
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
    if checkpoint.size != bundle.tree.size:
        findings.add(
            Code.CHECKPOINT_SIZE,
            "expected as many entries as the checkpoint counts",
            checkpoint=checkpoint.size,
            entries=bundle.tree.size,
        )
    # 3
    root = bundle.tree.root()
    if root != checkpoint.root:
        findings.add(
            Code.CHECKPOINT_ROOT,
            "expected the entries whose Merkle root was signed, got others",
            signed=checkpoint.root.hex(),
            computed=root.hex(),
        )
    return checkpoint


def verify_witnesses(bundle: Bundle, trust: Trust, findings: Findings) -> tuple[CosignerKey, ...]:
    """The trust file's witnesses that cosigned the checkpoint, which is the log's; none if they are too few.

    Every line in the name of one of them verifies. Lines of witnesses that the trust file does not name are
    ignored: nothing is concluded from them.
    """
    note = parse_note(bundle.checkpoint)
    try:
        verify_quorum(note, trust.witnesses, trust.witness_quorum)
    except VerificationError as error:
        findings.add(Code.WITNESS_QUORUM, error.message)
        return ()
    return tuple(key for key in trust.witnesses if note.signatures_of(key))


def _verify_files(directory: Path, findings: Findings) -> int:
    """How many entries the files promise; each that is missing, superfluous or not regular is a finding."""
    files, places, irregular = _walk(directory)
    size = _promised_size(files)
    expected = {CHECKPOINT_PATH}
    expected.update(bundle.path for bundle in entry_bundles(size))
    expected.update(tile.path for tile in hash_tiles(size))
    missing = expected - files
    unexpected = files - expected | {f"{place}/" for place in places - _parents(expected)}
    if missing or unexpected:
        findings.add(
            Code.BUNDLE_FILES,
            f"expected exactly the files of a ledger of {size} entries",
            missing=_shown(missing),
            unexpected=_shown(unexpected),
        )
    if irregular & expected:
        findings.add(Code.BUNDLE_FILES, "expected regular files", irregular=_shown(irregular & expected))
    return size


def _walk(directory: Path) -> tuple[set[str], set[str], set[str]]:
    """Everything in the directory, by relative path: what is no directory, directories, what is no file.

    A directory that cannot be read is taken for an empty one: files are missing from it, or it is unexpected.
    """
    files: set[str] = set()
    places: set[str] = set()
    irregular: set[str] = set()
    waiting = [""]
    while waiting:
        place = waiting.pop()
        items: list[os.DirEntry[str]] = []
        with suppress(OSError):
            items = list(os.scandir(directory / place))
        for item in items:
            name = f"{place}{item.name}"
            if item.is_dir(follow_symlinks=False):
                places.add(name)
                waiting.append(f"{name}/")
                continue
            files.add(name)
            if not item.is_file(follow_symlinks=False):
                irregular.add(name)
    return files, places, irregular


def _promised_size(files: set[str]) -> int:
    """The entries in the full bundles from the first on, and in the widest partial one after them."""
    index = 0
    while EntryBundle(index, TILE_WIDTH).path in files:
        index += 1
    width = TILE_WIDTH - 1
    while width and EntryBundle(index, width).path not in files:
        width -= 1
    return index * TILE_WIDTH + width


def _parents(names: set[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        parts = name.split("/")
        found.update("/".join(parts[:count]) for count in range(1, len(parts)))
    return found


def _shown(names: set[str]) -> list[str]:
    shown = [ascii(name) for name in sorted(names)[:_SHOWN_NAMES]]
    return shown if len(names) <= _SHOWN_NAMES else [*shown, f"and {len(names) - _SHOWN_NAMES} more"]


def _signers(keys: KeyHistory, size: int) -> tuple[VerifierKey, ...]:
    """The log key that is current at this size and, if there was one, the key before it."""
    every = keys.keys_of(PLATFORM, PlatformKey.LOG)
    place = every.index(keys.log_key(size).to_text())
    return tuple(VerifierKey.from_text(text) for text in every[max(place - 1, 0) : place + 1])


def _verify_signers(note: Note, allowed: tuple[VerifierKey, ...]) -> None:
    """Every line in the log's name is one of these keys' signature, and no key signs twice."""
    known = {key.key_id: key for key in allowed}
    lines = [item.key_id for item in note.signatures if item.name == allowed[0].name]
    if len(set(lines)) != len(lines) or not set(lines) <= known.keys():
        raise VerificationError("checkpoint: expected signatures of the log's keys alone, got others")
    for line in lines:
        note.verify(known[line])

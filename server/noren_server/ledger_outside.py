"""What of the ledger is outside the platform: cosigned checkpoints, and copies that were handed out.

    ledger-outside.json    the newest cosigned checkpoint, when it was asked for, and the newest copy

Promises: nothing counts as cosigned whose cosignature does not verify here; an entry is unpublished until a
checkpoint over it was cosigned, or carried in the ledger by a beacon.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from noren_core import canonical_json
from noren_core.errors import ConfigurationError, DataError, NorenError, VerificationError
from noren_core.ledger.checkpoint import claimed_checkpoint, claimed_size
from noren_core.ledger.cosignature import verify_cosignature
from noren_core.ledger.entries import EntryKind
from noren_core.ledger.note import parse_note
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_local.private_file import write_private
from noren_server.platform_files import Platform

FILE = "ledger-outside.json"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was given out last: a checkpoint (empty: none) and when; when a copy, of how many entries."""

    checkpoint: bytes = b""
    at: int = 0
    copied_at: int = 0
    copied_size: int = 0


@dataclass(frozen=True, slots=True)
class WitnessStanding:
    """A configured witness, and when (Unix seconds) it cosigned the newest checkpoint; None if it did not."""

    name: str
    cosigned_at: int | None


@dataclass(frozen=True, slots=True)
class LedgerStanding:
    """The ledger and what is known of it outside.

    Attributes:
        origin: its name.
        size, root: now.
        published_size: entries under the newest checkpoint that went out.
        published_at: when, Unix seconds; 0 if the ledger itself shows it and nobody asked here.
        witnesses: those that are configured.
        quorum: how many of them are enough.
        copied_at, copied_size: the newest copy that was handed out; 0 if none.
    """

    origin: str
    size: int
    root: bytes
    published_size: int
    published_at: int
    witnesses: tuple[WitnessStanding, ...]
    quorum: int
    copied_at: int
    copied_size: int

    @property
    def unpublished(self) -> int:
        """Entries that nobody outside can hold us to yet."""
        return self.size - self.published_size

    @property
    def cosigned(self) -> int:
        """How many witnesses cosigned the newest checkpoint."""
        return sum(witness.cosigned_at is not None for witness in self.witnesses)


def standing(platform: Platform) -> LedgerStanding:
    """How it stands; ConfigurationError if our own file is damaged."""
    seen = _read(platform.directory)
    now = claimed_checkpoint(platform.ledger_store.checkpoint())
    newest = max((seen.checkpoint, _last_beacon(platform)), key=_size)
    return LedgerStanding(
        origin=platform.config.origin,
        size=now.size,
        root=now.root,
        published_size=_size(newest),
        published_at=seen.at if newest == seen.checkpoint else 0,
        witnesses=tuple(
            WitnessStanding(address.key.name, _cosigned_at(newest, platform, index))
            for index, address in enumerate(platform.config.witnesses)
        ),
        quorum=platform.config.witness_quorum,
        copied_at=seen.copied_at,
        copied_size=seen.copied_size,
    )


def publish_checkpoint(platform: Platform, *, now: int) -> None:
    """Have a fresh checkpoint cosigned; LocalProtocolError (WITNESS_QUORUM) if too few witnesses do."""
    checkpoint = platform.ledger.cosigned_checkpoint()
    _write(platform.directory, replace(_read(platform.directory), checkpoint=checkpoint, at=now))


def export_archive(platform: Platform, *, now: int) -> bytes:
    """The bundle that an auditor verifies, under a cosigned checkpoint, as a ZIP file of its directory."""
    with tempfile.TemporaryDirectory(prefix=".ledger-", dir=platform.directory) as place:
        bundle = Path(place) / "ledger"
        platform.ledger.export(bundle)
        checkpoint = (bundle / "checkpoint").read_bytes()
        archive = _zipped(bundle)
    seen = Seen(checkpoint=checkpoint, at=now, copied_at=now, copied_size=claimed_size(checkpoint))
    _write(platform.directory, seen)
    return archive


def _zipped(bundle: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(item for item in bundle.rglob("*") if item.is_file()):
            entry = zipfile.ZipInfo(f"{bundle.name}/{path.relative_to(bundle).as_posix()}", _ZIP_DATE)
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _cosigned_at(checkpoint: bytes, platform: Platform, index: int) -> int | None:
    if not checkpoint:
        return None
    try:
        return verify_cosignature(parse_note(checkpoint), platform.config.witnesses[index].key)
    except (DataError, VerificationError):
        return None


def _last_beacon(platform: Platform) -> bytes:
    """The checkpoint in the newest beacon; empty if there is none."""
    stored = platform.ledger_store.entries(kind=EntryKind.BEACON)
    return str(stored[-1].entry.body["checkpoint"]).encode() if stored else b""


def _size(checkpoint: bytes) -> int:
    return claimed_size(checkpoint) if checkpoint else 0


def _read(directory: Path) -> Seen:
    path = directory / FILE
    if not path.exists():
        return Seen()
    try:
        found = read_fields(canonical_json.parse_object(path.read_bytes()), _FIELDS, FILE)
    except NorenError as error:
        raise ConfigurationError(f"{FILE}: expected what was written here, got another file") from error
    return Seen(**{**found, "checkpoint": found["checkpoint"].encode()})


def _write(directory: Path, seen: Seen) -> None:
    body = {
        "checkpoint": seen.checkpoint.decode(),
        "at": seen.at,
        "copied_at": seen.copied_at,
        "copied_size": seen.copied_size,
    }
    write_private(directory / FILE, canonical_json.encode(body))


_NUMBER = fields.integer_in(0, 1 << 50)
_FIELDS = {"checkpoint": fields.text, "at": _NUMBER, "copied_at": _NUMBER, "copied_size": _NUMBER}

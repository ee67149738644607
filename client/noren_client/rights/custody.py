"""What a company keeps about one person, encrypted under a key of which a custodian holds one share.

    campaigns/<campaign>/custody/<class>/<label>.share            secret: handle and our share of the key
    campaigns/<campaign>/custody/<class>/<label>.<handle>.sealed  the record (0600)

docs/rights/erasure.md §2. Promises: data is on disk only under its record's key; a record is old or new after
a crash, and never half; `replace` writes under a new share before the old one is destroyed; when `destroy`
returns, the share is gone and the custodian said so. Without `[custodian]` in config.toml the key is our own
share alone; then nothing stops whoever has a backup, and `is_custodian_held` says so.

Left to the caller: which records are to go. What a crash left at the custodian alone, `settle` finds.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from noren_client import config, keystore
from noren_client.leaving import sent_bytes
from noren_client.rights.custodian_client import CustodianClient
from noren_core import canonical_json, ids
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, NorenError
from noren_core.rights import fields
from noren_core.rights.erasure.artefacts import IN_CUSTODY, ArtefactClass
from noren_core.rights.erasure.custody import (
    HANDLE_BYTES,
    SHARE_BYTES,
    CustodyOperation,
    DestructionStatement,
    open_record,
    record_key,
    seal_record,
)
from noren_core.rights.fields import read_fields
from noren_local.private_file import sync_directory, write_private

_NAME = re.compile(r"([^/]+)/([^/]+)/([a-z0-9][a-z0-9-]{0,63})\Z")
_SHARE_FIELDS = {
    "handle": fields.bytes_of(HANDLE_BYTES),
    "share": fields.bytes_of(SHARE_BYTES),
    "held": fields.boolean,
    "born_at": fields.seconds,
    "written_at": fields.seconds,
}


def record_name(campaign: str, artefact: ArtefactClass, label: str) -> str:
    """What a record is called: campaign/class/label; DataError for a label that is no plain word."""
    name = f"{campaign}/{artefact.value}/{label}"
    _parsed(name)
    return name


@dataclass(frozen=True, slots=True)
class _Share:
    """What is in a .share file; `held` says whether a custodian has the other share.

    Attributes:
        born_at, written_at: Unix seconds; when the record was first written, and when under this share.
    """

    handle: bytes
    share: SecretBytes = field(repr=False)
    held: bool
    born_at: int
    written_at: int

    def to_bytes(self) -> bytes:
        return canonical_json.encode(
            {
                "handle": self.handle.hex(),
                "share": self.share.reveal().hex(),
                "held": self.held,
                "born_at": self.born_at,
                "written_at": self.written_at,
            }
        )


class CustodyStore:
    """The custody records of one company; use as a context manager, so that connections are closed."""

    def __init__(self, company_dir: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open the company's records; ConfigurationError for a custodian that is not configured properly."""
        settings = config.load(company_dir)
        self._company_dir = company_dir
        self._company = settings.company
        self._clock = clock
        self._custodian: CustodianClient | None = None
        if settings.custodian is not None:
            self._custodian = CustodianClient(
                settings.custodian,
                keystore.load(company_dir),
                clock=clock,
                network=settings.network,
                note_sent=self._note_sent,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._custodian is not None:
            self._custodian.close()

    def _note_sent(self, operation: CustodyOperation, size_bytes: int) -> None:
        sent_bytes.note_sent(self._company_dir, f"Custody.{operation.value}", size_bytes)

    @property
    def is_custodian_held(self) -> bool:
        """Whether what is written from now on needs the custodian to be read."""
        return self._custodian is not None

    @property
    def custodian(self) -> CustodianClient | None:
        """The custodian, for certificates; None without one."""
        return self._custodian

    def names(self, campaign: str, artefact: ArtefactClass | None = None) -> list[str]:
        """Every record of the campaign, or of one class of it."""
        kinds = sorted(IN_CUSTODY) if artefact is None else [artefact]
        return [
            f"{campaign}/{kind.value}/{path.stem}"
            for kind in kinds
            for path in sorted(self._place(campaign, kind).glob("*.share"))
        ]

    def born_at(self, name: str) -> int:
        """When the record was first written, Unix seconds; LocalProtocolError if there is none."""
        return self._known(name).born_at

    def write(self, name: str, data: bytes) -> None:
        """Keep data under a name; what was there goes, and the share of the key stays.

        Raises:
            LocalProtocolError: with code KEY_DESTROYED, if the custodian destroyed the share of a known name.
            CustodianUnavailableError: if the custodian does not answer; nothing is changed.
        """
        with self._alone(name):
            share = self._share(name)
            if share is None:
                self._write_new(name, data, born_at=int(self._clock()))
            else:
                write_private(
                    self._record_path(name, share.handle),
                    seal_record(self._key(name, share), data, name=name),
                )

    def read(self, name: str) -> bytes | None:
        """What is kept under a name, None if nothing is.

        Raises:
            LocalProtocolError: with code KEY_DESTROYED, if its key is gone: the directory is an old copy.
            VerificationError: if the record was changed or another's.
            CustodianUnavailableError: if the custodian does not answer.
        """
        with self._alone(name):
            share = self._share(name)
            if share is None:
                return None
            return self._opened(name, share)

    def replace(self, name: str, data: bytes) -> None:
        """Keep data under a name with new shares, then destroy the old one.

        Raises as `write`, but not for a share that is gone already.
        """
        with self._alone(name):
            old = self._share(name)
            born_at = int(self._clock()) if old is None else old.born_at
            self._write_new(name, data, born_at=born_at)
            if old is not None:
                self._destroy_share(name, old)

    def destroy(self, name: str) -> DestructionStatement | None:
        """Destroy the custodian's share, then our own and the record; the custodian's word for it.

        None without a custodian, or if nothing is kept under the name. Safe to repeat.
        """
        with self._alone(name):
            share = self._share(name)
            if share is None:
                return None
            statement = self._destroy_share(name, share)
            keystore.remove_secret(self._company_dir, self._share_name(name))
            return statement

    def settle(self, campaign: str) -> None:
        """Remove what crashes left behind: shares and records to which no name leads any more."""
        place = self._company_dir / "campaigns" / ids.parse_name(campaign, "campaign") / "custody"
        with self._locked(campaign):
            known = {self._known(name).handle for name in self.names(campaign)}
            for path in place.glob("*/*.sealed"):
                if path.suffixes[-2:-1] and path.suffixes[-2][1:] not in {handle.hex() for handle in known}:
                    _remove(path)
            if self._custodian is not None:
                for handle in sorted(self._custodian.handles(campaign) - known):
                    self._custodian.destroy(campaign, handle)

    def _write_new(self, name: str, data: bytes, *, born_at: int) -> None:
        """Under a new handle: custodian first, then the record, then the share that makes it count."""
        handle = secrets.token_bytes(HANDLE_BYTES)
        share = _Share(
            handle,
            SecretBytes(secrets.token_bytes(SHARE_BYTES)),
            self._custodian is not None,
            born_at,
            int(self._clock()),
        )
        theirs = None if self._custodian is None else self._custodian.put(_parsed(name)[0], handle).share
        key = record_key(share.share, theirs, company=self._company, handle=handle)
        write_private(self._record_path(name, handle), seal_record(key, data, name=name))
        keystore.write_secret(self._company_dir, self._share_name(name), share.to_bytes())

    def _opened(self, name: str, share: _Share) -> bytes:
        try:
            record = self._record_path(name, share.handle).read_bytes()
        except OSError as error:
            raise LocalProtocolError("custody: expected the record of a known name, got none") from error
        return open_record(self._key(name, share), record, name=name)

    def _key(self, name: str, share: _Share) -> SecretBytes:
        theirs = None
        if share.held:
            if self._custodian is None:
                raise LocalProtocolError(
                    "custody: expected [custodian] in config.toml, got a file without it"
                )
            theirs = self._custodian.get(_parsed(name)[0], share.handle).share
        return record_key(share.share, theirs, company=self._company, handle=share.handle)

    def _destroy_share(self, name: str, share: _Share) -> DestructionStatement | None:
        statement = None
        if share.held:
            if self._custodian is None:
                raise LocalProtocolError(
                    "custody: expected [custodian] in config.toml, got a file without it"
                )
            statement = self._custodian.destroy(_parsed(name)[0], share.handle)
        _remove(self._record_path(name, share.handle))
        return statement

    def _holder(self) -> CustodianClient:
        if self._custodian is None:
            raise ConfigurationError(
                "custody: expected the [custodian] of this record in config.toml, got none"
            )
        return self._custodian

    def _known(self, name: str) -> _Share:
        share = self._share(name)
        if share is None:
            raise LocalProtocolError("custody: expected the name of a record, got another")
        return share

    def _share(self, name: str) -> _Share | None:
        data = keystore.read_secret(self._company_dir, self._share_name(name))
        if data is None:
            return None
        try:
            found: dict[str, Any] = read_fields(canonical_json.parse_object(data), _SHARE_FIELDS, "share")
        except NorenError as error:
            raise LocalProtocolError("custody: expected the share of a record, got another file") from error
        return _Share(**{**found, "share": SecretBytes(found["share"])})

    def _share_name(self, name: str) -> str:
        campaign, artefact, label = _parsed(name)
        return f"campaigns/{campaign}/custody/{artefact.value}/{label}.share"

    def _record_path(self, name: str, handle: bytes) -> Path:
        campaign, artefact, label = _parsed(name)
        return self._place(campaign, artefact) / f"{label}.{handle.hex()}.sealed"

    def _place(self, campaign: str, artefact: ArtefactClass) -> Path:
        name = ids.parse_name(campaign, "campaign")
        return self._company_dir / "campaigns" / name / "custody" / artefact.value

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with self._locked(_parsed(name)[0]):
            yield

    @contextmanager
    def _locked(self, campaign: str) -> Iterator[None]:
        """One process at a time changes a campaign's records: of two, one would destroy the other's share."""
        place = self._company_dir / "campaigns" / ids.parse_name(campaign, "campaign") / "custody"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _parsed(name: str) -> tuple[str, ArtefactClass, str]:
    found = _NAME.match(name)
    if found is None or found[2] not in {kind.value for kind in IN_CUSTODY}:
        raise DataError("custody: expected campaign/class/label as a name, got another text")
    return ids.parse_name(found[1], "campaign"), ArtefactClass(found[2]), found[3]


def _remove(path: Path) -> None:
    """Overwrite and unlink; a disk may keep what was in it."""
    try:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    path.unlink(missing_ok=True)
    sync_directory(path.parent)

"""A custodian: draws shares, gives them back to the company that they are for, and destroys them for good.

    custodian.toml                       its name
    custodian.key                        its Ed25519 key (0600)
    companies.json                       whose requests are answered: Ed25519 keys by company
    shares/<company>/<campaign>/<handle> one share and when it was drawn (0600)
    destroyed/<company>/<handle>         the signed statement that it was destroyed: remembered for good

docs/rights/erasure.md §2. Promises: a share is on disk before it is given out; that a share is to go is on
disk before it goes, so that whatever kills this process, a destroyed share is never given out again and its
handle never drawn again; a statement leaves after the share is overwritten and unlinked; a deletion
certificate is cosigned only if no share of the campaign is older than the order. Shares are in no log and no
repr.

What it cannot promise: that a disk keeps no copy of an overwritten file, or that nobody copied the directory.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from noren_audit.bounded_server import Answer
from noren_audit.directory_lock import lock_directory
from noren_audit.witness.durable_file import replace_file
from noren_core import canonical_json, ids, toml_text
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError, NorenError, VerificationError
from noren_core.rights import fields
from noren_core.rights.erasure.custody import (
    HANDLE_BYTES,
    SHARE_BYTES,
    WINDOW_SECONDS,
    CustodyAnswer,
    CustodyCosignature,
    CustodyOperation,
    CustodyRequest,
    DestructionStatement,
    seal_share,
    verify_request,
)
from noren_core.rights.fields import read_fields
from noren_core.rights.signed_statement import SignedStatement, parse_statement

MAX_NONCES = 1 << 16
"""Remembered at once of one company; beyond it its requests, and no other's, are refused for some minutes."""

_MAX_STATEMENT_BYTES = 4096
_CONTENT_TYPE = "application/json"
_SHARE_FIELDS = {"drawn_at": fields.seconds, "share": fields.bytes_of(SHARE_BYTES)}
_LOG = logging.getLogger(__name__)


class CustodyRefusedError(NorenError):
    """A request that is not answered; `status` is HTTP's."""

    code = "CUSTODY_REFUSED"

    def __init__(self, message: str, *, code: str, status: int) -> None:
        super().__init__(message, code=code)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Share:
    """What is kept under a handle."""

    drawn_at: int
    secret: SecretBytes = field(repr=False)


class Custodian:
    """The one place where shares are drawn and destroyed; safe for many threads."""

    def __init__(self, directory: Path, *, clock: Callable[[], int]) -> None:
        """Open a directory that `initialise` made, and finish what a crash left half destroyed.

        Args:
            directory: the custodian's files.
            clock: seconds since 1970.

        Raises:
            ConfigurationError: if a file is missing or damaged, or another process serves this directory.
        """
        self._directory = directory
        self._key = _load_key(directory / "custodian.key")
        self._release = weakref.finalize(self, os.close, lock_directory(directory, "custodian"))
        self._clock = clock
        self._lock = threading.Lock()
        self._nonces: dict[str, dict[bytes, int]] = {}
        for path in (directory / "destroyed").glob("*/*"):
            self._remove_share(path.parent.name, path.name)

    @property
    def public_key(self) -> bytes:
        """What companies and whoever verifies certificates are given."""
        return self._key.public_key

    def close(self) -> None:
        """Let another process serve this directory; what is still asked here is refused."""
        with self._lock:
            self._release()

    def answer(self, body: bytes) -> Answer:
        """Answer one request: 200 with a signed answer, or a status and a code and nothing else."""
        try:
            answered = self._answered(body)
        except CustodyRefusedError as error:
            return Answer(error.status, f"{error.code}\n".encode())
        except DataError:
            return Answer(400, b"BAD_DATA\n")
        except VerificationError:
            return Answer(403, b"NOT_VERIFIED\n")
        return Answer(200, answered, _CONTENT_TYPE)

    def _answered(self, body: bytes) -> bytes:
        """The signed answer.

        1. A well-formed request, signed by the company that it names, about now.
        2. One at a time, and each nonce once.
        3. Do what it asks.
        """
        request, statement = CustodyRequest.parse(body)  # 1
        company_key = load_companies(self._directory).get(request.company)
        if company_key is None:
            raise VerificationError("custody request: expected a company that was admitted, got another")
        now = self._clock()
        verify_request(request, statement, company_key=company_key, now=now)
        with self._lock:  # 2
            if not self._release.alive:
                raise CustodyRefusedError("this custodian is being stopped", code="STOPPING", status=503)
            self._use_nonce(request, now)
            answer = self._performed(request, statement, now)  # 3
        return answer.sign(statement, self._key)

    def _use_nonce(self, request: CustodyRequest, now: int) -> None:
        """Remember it as long as its request could be sent again.

        They are forgotten with the process. What an earlier request says again after that changes nothing and
        tells nobody a share: each operation can be repeated, and a share is sealed to the request's own key.
        """
        nonces = self._nonces.setdefault(request.company, {})
        while nonces and nonces[oldest := next(iter(nonces))] < now:
            del nonces[oldest]
        if request.nonce in nonces:
            raise CustodyRefusedError("expected a new nonce, got a used one", code="NONCE_USED", status=409)
        if len(nonces) >= MAX_NONCES:
            raise CustodyRefusedError("too many requests", code="BUSY", status=503)
        nonces[request.nonce] = now + 2 * WINDOW_SECONDS

    def _performed(self, request: CustodyRequest, statement: SignedStatement, now: int) -> CustodyAnswer:
        match request.operation:
            case CustodyOperation.PUT:
                share = self._put(request, now)
                return CustodyAnswer(seal_share(share.secret, request, statement), share.drawn_at)
            case CustodyOperation.GET:
                share = self._share(request)
                return CustodyAnswer(seal_share(share.secret, request, statement), share.drawn_at)
            case CustodyOperation.DESTROY:
                return CustodyAnswer(statement=self._destroy(request, now))
            case CustodyOperation.LIST:
                return CustodyAnswer(handles=tuple(sorted(self._shares(request))))
            case CustodyOperation.COSIGN:
                return CustodyAnswer(statement=self._cosign(request, now))

    def _put(self, request: CustodyRequest, now: int) -> _Share:
        """The share under a new handle, on disk; the same one again if the answer was lost."""
        self._verify_not_destroyed(request)
        path = self._share_path(request)
        if not path.exists():
            share = _Share(now, SecretBytes(secrets.token_bytes(SHARE_BYTES)))
            _make_durably(path.parent)
            body = {"drawn_at": share.drawn_at, "share": share.secret.reveal().hex()}
            replace_file(path, canonical_json.encode(body))
            return share
        return _load_share(path)

    def _share(self, request: CustodyRequest) -> _Share:
        self._verify_not_destroyed(request)
        path = self._share_path(request)
        if not path.exists():
            raise CustodyRefusedError(
                "expected a known handle, got another", code="UNKNOWN_HANDLE", status=404
            )
        return _load_share(path)

    def _destroy(self, request: CustodyRequest, now: int) -> SignedStatement:
        """The statement that the share is gone.

        1. A handle that was destroyed before has its statement already; one that never was drawn can be
           destroyed too, and then is never drawn.
        2. That it is to go is on disk first.
        3. It goes, also if a crash kept it the last time; only then anybody hears of it.
        """
        path = self._directory / "destroyed" / request.company / request.handle.hex()
        if not path.exists():  # 1
            made = DestructionStatement.sign(
                company=request.company, handle=request.handle, destroyed_at=now, key=self._key
            )
            _make_durably(path.parent)
            replace_file(path, made.statement.to_bytes())  # 2
        self._remove_share(request.company, request.handle.hex())  # 3
        return parse_statement(path.read_bytes(), "destruction", limit=_MAX_STATEMENT_BYTES)

    def _cosign(self, request: CustodyRequest, now: int) -> SignedStatement:
        """The cosignature, if no share of the campaign is older than the order; which one is not said."""
        if any(share.drawn_at < request.since for share in self._shares(request).values()):
            raise CustodyRefusedError(
                "expected no share older than the order, got one", code="SHARE_OLDER_THAN_ORDER", status=409
            )
        return CustodyCosignature.sign(request, signed_at=now, key=self._key).statement

    def _shares(self, request: CustodyRequest) -> Mapping[bytes, _Share]:
        """Every share of the company and campaign that exists."""
        place = self._directory / "shares" / request.company / request.campaign
        found = (path for path in place.glob("*") if len(path.name) == 2 * HANDLE_BYTES)
        return {bytes.fromhex(path.name): _load_share(path) for path in found}

    def _verify_not_destroyed(self, request: CustodyRequest) -> None:
        if (self._directory / "destroyed" / request.company / request.handle.hex()).exists():
            raise CustodyRefusedError("the share was destroyed", code="KEY_DESTROYED", status=410)

    def _share_path(self, request: CustodyRequest) -> Path:
        return self._directory / "shares" / request.company / request.campaign / request.handle.hex()

    def _remove_share(self, company: str, handle: str) -> None:
        """Overwrite and unlink the share, whichever campaign it was for."""
        for path in (self._directory / "shares" / company).glob(f"*/{handle}"):
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            _sync(path.parent)


def initialise(directory: Path, *, name: str) -> bytes:
    """Make a new custodian with a key of its own; its public key, 32 bytes.

    Raises:
        ConfigurationError: if the directory is not empty, or the name is no name.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ConfigurationError("custodian: expected an empty directory: keys are never overwritten")
    try:
        ids.parse_name(name, "custodian")
    except DataError as error:
        raise ConfigurationError(error.message) from error
    key = SigningKey.generate()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in ("shares", "destroyed"):
        (directory / place).mkdir(mode=0o700)
    replace_file(directory / "custodian.toml", f'name = "{name}"\n'.encode())
    replace_file(directory / "companies.json", canonical_json.encode({}))
    replace_file(directory / "custodian.key", key.to_bytes())
    return key.public_key


def admit(directory: Path, company: str, key: bytes) -> None:
    """Answer this company's requests from now on; a key that it had before counts no more.

    Args:
        directory: made by `initialise`.
        company: its name.
        key: the Ed25519 key with which it enrolled, 32 bytes.

    Raises:
        ConfigurationError: if the directory is no custodian's, or name or key is malformed.
    """
    load_name(directory)
    try:
        name = ids.parse_name(company, "company")
    except DataError as error:
        raise ConfigurationError(error.message) from error
    if len(key) != 32:
        raise ConfigurationError("company key: expected 32 bytes, got another length")
    admitted = {**load_companies(directory), name: key}
    body = {known: known_key.hex() for known, known_key in admitted.items()}
    replace_file(directory / "companies.json", canonical_json.encode(body))


def load_name(directory: Path) -> str:
    """What the custodian calls itself; ConfigurationError says what is wrong with custodian.toml."""
    try:
        body = toml_text.parse((directory / "custodian.toml").read_bytes())
        return str(read_fields(body, {"name": fields.name}, "custodian")["name"])
    except OSError as error:
        raise ConfigurationError("custodian.toml: expected a directory made by custodian init") from error
    except DataError as error:
        raise ConfigurationError(f"custodian.toml: {error.message}") from error


def load_companies(directory: Path) -> dict[str, bytes]:
    """Whose requests are answered; ConfigurationError if the file is damaged."""
    try:
        body = canonical_json.parse_object((directory / "companies.json").read_bytes())
        return {ids.parse_name(name, "company"): fields.bytes_of(32)(key) for name, key in body.items()}
    except (OSError, DataError) as error:
        raise ConfigurationError("companies.json: expected what custodian admit wrote") from error


def _load_key(path: Path) -> SigningKey:
    try:
        return SigningKey.from_bytes(path.read_bytes())
    except (OSError, DataError) as error:
        raise ConfigurationError("custodian.key: expected a key made by custodian init") from error


def _load_share(path: Path) -> _Share:
    try:
        found = read_fields(canonical_json.parse_object(path.read_bytes()), _SHARE_FIELDS, "share")
    except (OSError, DataError) as error:
        _LOG.error("a share is damaged: %s", type(error).__name__)
        raise CustodyRefusedError("the share is damaged", code="INTERNAL", status=500) from error
    return _Share(found["drawn_at"], SecretBytes(found["share"]))


def _make_durably(directory: Path) -> None:
    """Make a directory and what it stands in, each known to the disk before anything is put there."""
    if not directory.exists():
        _make_durably(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        _sync(directory.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A witness: somebody who remembers the newest checkpoint of a ledger, and signs for no other one.

    witness.toml      its name, and the verifier keys of the logs that it serves
    witness.key       its Ed25519 key (0600)
    state.json        for each log the newest checkpoint that it cosigned, as the log signed it
    evidence/…        two checkpoints of one size with different roots, if a log ever asks for that

Promises: of one log it never cosigns two checkpoints that no consistency proof connects, whatever it is sent,
whoever asks at once, and whenever it is killed: what it will sign for is on disk before the signature leaves.
It does so as long as it has its files; without them it refuses to start. Two processes on one directory are
refused. What stands in the ledger, it neither sees nor judges.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from noren_audit.bounded_server import Answer
from noren_audit.directory_lock import lock_directory
from noren_audit.witness.durable_file import replace_file
from noren_core import canonical_json, toml_text
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import EMPTY_ROOT, verify_consistency
from noren_core.errors import ConfigurationError, DataError, NorenError, VerificationError
from noren_core.ledger.add_checkpoint import SIZE_CONTENT_TYPE, parse_add_checkpoint
from noren_core.ledger.checkpoint import Checkpoint, claimed_checkpoint, open_checkpoint
from noren_core.ledger.cosignature import CosignerKey, cosign
from noren_core.ledger.note import VerifierKey, parse_note

MAX_LOGS = 64
MAX_EVIDENCE = 8


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """witness.toml: the name in every cosignature, and whose checkpoints are cosigned.

    Attributes:
        logs: verifier keys; several with one name are keys of one log that follow each other.
    """

    name: str
    logs: tuple[VerifierKey, ...]


class Witness:
    """The one place where checkpoints are compared and cosigned; safe for many threads."""

    def __init__(self, directory: Path, *, clock: Callable[[], int]) -> None:
        """Open a directory that `initialise` made.

        Args:
            directory: the witness's files.
            clock: seconds since 1970.

        Raises:
            ConfigurationError: if a file is missing or damaged, or another process serves this directory.
        """
        self._directory = directory
        self._config = load_config(directory)
        self._key = _load_key(directory / "witness.key")
        self._release = weakref.finalize(self, os.close, lock_directory(directory, "witness"))
        self._newest = _load_state(directory / "state.json")
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def key(self) -> CosignerKey:
        """What logs and auditors are given."""
        return CosignerKey(self._config.name, self._key.public_key)

    def close(self) -> None:
        """Let another process serve this directory; what is still asked here gets no signature."""
        with self._lock:
            self._release()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request.

        1. It is well formed (else 400), about a log that we serve (404) and signed by it (403); the size that
           it starts from is no larger than its own (400).
        2. One at a time: a checkpoint of the size that we cosigned last, with another root, is kept as
           evidence and refused (409).
        3. The size that it starts from is that of the last checkpoint cosigned; if not, we say which (409).
        4. The proof leads from that one to this (422).
        5. It is on disk before we sign for it.
        After `close` all that is left is refused (503): another process may sign by now.
        """
        # 1
        try:
            request = parse_add_checkpoint(body)
            claimed = claimed_checkpoint(request.checkpoint)
        except (DataError, VerificationError) as error:
            return _refusal(400, error)
        keys = [key for key in self._config.logs if key.name == claimed.origin]
        if not keys:
            return Answer(404, b"this witness serves other logs\n")
        if not any(_is_signed_by(key, request.checkpoint) for key in keys):
            return Answer(403, b"expected a signature of a key that is known here\n")
        if request.old_size > claimed.size:
            return Answer(400, b"expected an old size of at most the new one\n")
        with self._lock:
            if not self._release.alive:
                return Answer(503, b"this witness is being stopped\n")
            kept = self._newest.get(claimed.origin)
            known = Checkpoint(claimed.origin, 0, EMPTY_ROOT) if kept is None else claimed_checkpoint(kept)
            # 2
            if claimed.size == known.size and claimed.root != known.root:
                self._keep_evidence(kept or b"", request.checkpoint)
                return _known_size(known)
            # 3
            if request.old_size != known.size:
                return _known_size(known)
            # 4
            try:
                verify_consistency(known.size, known.root, claimed.size, claimed.root, request.consistency)
            except VerificationError as error:
                return _refusal(422, error)
            # 5
            if kept is None or claimed.size > known.size:
                self._keep(claimed.origin, request.checkpoint)
            text = parse_note(request.checkpoint).text
            line = cosign(text, self._config.name, self._key, timestamp=self._clock())
        return Answer(200, line.to_line().encode())

    def _keep(self, origin: str, checkpoint: bytes) -> None:
        newest = {**self._newest, origin: checkpoint}
        body = {name: note.decode() for name, note in newest.items()}
        replace_file(self._directory / "state.json", canonical_json.encode(body))
        self._newest = newest

    def _keep_evidence(self, known: bytes, presented: bytes) -> None:
        """Keep both notes, of each log the first few pairs; nothing if we have cosigned none yet."""
        if not known:
            return
        log = hashlib.sha256(claimed_checkpoint(known).origin.encode()).hexdigest()[:16]
        name = f"{log}-{hashlib.sha256(known + presented).hexdigest()[:16]}"
        directory = self._directory / "evidence"
        directory.mkdir(mode=0o700, exist_ok=True)
        if len(list(directory.glob(f"split-view-{log}-*"))) < MAX_EVIDENCE:
            body = {"known": known.decode(), "presented": presented.decode()}
            replace_file(directory / f"split-view-{name}.json", canonical_json.encode(body))


def initialise(directory: Path, *, name: str, logs: Sequence[str]) -> CosignerKey:
    """Make a new witness with a key of its own; its verifier key.

    Args:
        directory: is made; holds no witness yet.
        name: identifies the witness, best a URL without scheme, for example `audit.example/witness`.
        logs: verifier keys of the logs.

    Raises:
        ConfigurationError: if the directory holds a witness, or a name or key is malformed.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ConfigurationError("witness: expected an empty directory: keys are never overwritten")
    key = SigningKey.generate()
    try:
        public = CosignerKey(name, key.public_key)
        keys = tuple(VerifierKey.from_text(text) for text in logs)
    except DataError as error:
        raise ConfigurationError(f"witness: {error.message}") from error
    if not 0 < len(keys) <= MAX_LOGS or any(character in '"\\' for character in "".join((name, *logs))):
        raise ConfigurationError(f"witness: expected a plain name and 1 to {MAX_LOGS} logs of plain names")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f'name = "{name}"', "logs = [", *(f'  "{log.to_text()}",' for log in keys), "]"]
    replace_file(directory / "witness.toml", ("\n".join(lines) + "\n").encode())
    replace_file(directory / "state.json", canonical_json.encode({}))
    replace_file(directory / "witness.key", key.to_bytes())
    return public


def load_config(directory: Path) -> WitnessConfig:
    """Read witness.toml; ConfigurationError says what is wrong with it."""
    try:
        fields = toml_text.parse((directory / "witness.toml").read_bytes())
    except OSError as error:
        raise ConfigurationError("witness.toml: expected a directory made by witness init") from error
    except DataError as error:
        raise ConfigurationError(f"witness.toml: {error.message}") from error
    name, logs = fields.get("name"), fields.get("logs")
    if fields.keys() != {"name", "logs"} or not isinstance(name, str) or not isinstance(logs, list):
        raise ConfigurationError("witness.toml: expected exactly name and logs")
    if not 0 < len(logs) <= MAX_LOGS or not all(isinstance(log, str) for log in logs):
        raise ConfigurationError(f"witness.toml: logs: expected 1 to {MAX_LOGS} verifier keys")
    try:
        return WitnessConfig(name, tuple(VerifierKey.from_text(log) for log in logs))
    except DataError as error:
        raise ConfigurationError(f"witness.toml: {error.message}") from error


def _load_key(path: Path) -> SigningKey:
    try:
        return SigningKey.from_bytes(path.read_bytes())
    except (OSError, DataError) as error:
        raise ConfigurationError("witness.key: expected a key made by witness init") from error


def _load_state(path: Path) -> dict[str, bytes]:
    """What was cosigned last, by origin. Without it we could cosign a second ledger: nothing is assumed."""
    try:
        newest = {
            name: note.encode() for name, note in canonical_json.parse_object(path.read_bytes()).items()
        }
        if any(claimed_checkpoint(note).origin != name for name, note in newest.items()):
            raise DataError("expected every checkpoint under its origin")
    except (OSError, AttributeError, NorenError) as error:
        raise ConfigurationError("state.json: expected what this witness has cosigned; restore it") from error
    return newest


def _is_signed_by(key: VerifierKey, checkpoint: bytes) -> bool:
    try:
        open_checkpoint(checkpoint, key)
    except VerificationError:
        return False
    return True


def _known_size(known: Checkpoint) -> Answer:
    return Answer(409, f"{known.size}\n".encode(), SIZE_CONTENT_TYPE)


def _refusal(status: int, error: NorenError) -> Answer:
    return Answer(status, f"{error.message}\n".encode())

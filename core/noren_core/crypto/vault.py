"""Secrets at rest under a passphrase (docs/protocol.md §0.2).

Promises: what is sealed opens only with the passphrase, under the name it was sealed for and in the directory
whose header made the key, so files can be neither read, changed nor swapped; a wrong passphrase is told apart
from a damaged file; a header can neither ask for less work than ours nor for memory without bound.
Refuses: other formats, other derivations, parameters out of their bounds, passphrases that are too short.

Not promised: protection from who reads this process's memory, sees the passphrase, or puts an older sealed
file of the same name back. Changing the passphrase wraps the same master key anew: an old header still opens
with the old passphrase.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from noren_core import canonical_json
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.errors import ConfigurationError, DataError, VerificationError

FORMAT = "noren-vault-v1"
KDF_NAME = "argon2id"
# RFC 9106 §4, second recommended option, with one lane: 0.15 s of one core. Nobody may go below it.
MEMORY_KIB, MAX_MEMORY_KIB = 64 << 10, 256 << 10
ITERATIONS, MAX_ITERATIONS = 3, 16
LANES = 1

MIN_PASSPHRASE_BYTES, MAX_PASSPHRASE_BYTES = 12, 1024
MAX_HEADER_BYTES = 1024
MAX_SECRET_BYTES = 256 << 20
MAX_NAME_BYTES = 512

SEALED_MAGIC = b"noren-sealed-v1\n"
_KEY_BYTES, _SALT_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 16, 12, 16
_OVERHEAD = len(SEALED_MAGIC) + _NONCE_BYTES + _TAG_BYTES

_HEADER_LABEL = b"noren/v1/vault-header\0"
_WRAP_LABEL = b"noren/v1/vault-key\0"
_FILE_KEY_LABEL = b"noren/v1/vault-file-key\0"
_FILE_LABEL = b"noren/v1/vault-file\0"


class VaultState(StrEnum):
    """Whether every secret of the directory is sealed, or some still are not (or no longer)."""

    CONVERTING = "converting"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class VaultHeader:
    """`keys/vault.json`: how the passphrase becomes a key, and the master key wrapped by that key."""

    iterations: int
    lanes: int
    memory_kib: int
    nonce: bytes
    salt: bytes
    state: VaultState
    wrapped_key: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The header with these bytes (docs/protocol.md §0.2.1).

        Raises:
            DataError: if they are not a header of this version, are damaged, or ask for a derivation out of
                our bounds.
        """
        if len(data) > MAX_HEADER_BYTES:
            raise DataError(f"vault header: expected at most {MAX_HEADER_BYTES} bytes, got {len(data)}")
        try:
            body = canonical_json.parse_object(data)
        except DataError as error:
            raise DataError("vault header: expected canonical JSON, got other bytes") from error
        if (body.get("format"), body.get("kdf")) != (FORMAT, KDF_NAME):
            raise DataError(f"vault header: expected format {FORMAT} with {KDF_NAME}, got another")
        if body.keys() != {"checksum", "format", "kdf", *(field.name for field in fields(cls))}:
            raise DataError("vault header: expected the fields of its format, got others")
        if body.pop("checksum") != _checksum(body):
            raise DataError("vault header: expected an undamaged file, its checksum differs")
        return cls(
            iterations=_bounded(body["iterations"], "iterations", ITERATIONS, MAX_ITERATIONS),
            lanes=_bounded(body["lanes"], "lanes", LANES, LANES),
            memory_kib=_bounded(body["memory_kib"], "memory_kib", MEMORY_KIB, MAX_MEMORY_KIB),
            nonce=_hex(body["nonce"], "nonce", _NONCE_BYTES),
            salt=_hex(body["salt"], "salt", _SALT_BYTES),
            state=_state(body["state"]),
            wrapped_key=_hex(body["wrapped_key"], "wrapped_key", _KEY_BYTES + _TAG_BYTES),
        )

    def encode(self) -> bytes:
        """The file's content."""
        body = self._body()
        return canonical_json.encode({**body, "checksum": _checksum(body)})

    def associated_data(self) -> bytes:
        """What the wrapped key is bound to: every other field, the state among them."""
        body = self._body()
        del body["nonce"], body["wrapped_key"]
        return _WRAP_LABEL + canonical_json.encode(body)

    def _body(self) -> dict[str, int | str]:
        return {
            "format": FORMAT,
            "iterations": self.iterations,
            "kdf": KDF_NAME,
            "lanes": self.lanes,
            "memory_kib": self.memory_kib,
            "nonce": self.nonce.hex(),
            "salt": self.salt.hex(),
            "state": self.state.value,
            "wrapped_key": self.wrapped_key.hex(),
        }


class Vault(Secret):
    """The master key of one protected directory."""

    __slots__ = ("_master",)

    def __init__(self, master: SecretBytes) -> None:
        if len(master) != _KEY_BYTES:
            raise DataError(f"vault: expected a master key of {_KEY_BYTES} bytes, got {len(master)}")
        self._master = master

    @classmethod
    def create(cls) -> Self:
        """A vault with a fresh master key, which exists nowhere until `header` wraps it."""
        return cls(SecretBytes(secrets.token_bytes(_KEY_BYTES)))

    @classmethod
    def open(cls, passphrase: SecretBytes, header: bytes) -> Self:
        """The vault of a header.

        1. The header is undamaged and its parameters are within our bounds, before any of them is used.
        2. The key that wraps the master key is derived from the passphrase.
        3. The master key is unwrapped; its authenticity is what tells the right passphrase from a wrong one.

        Raises:
            DataError: if the header is damaged or not of this version.
            ConfigurationError: with code WRONG_PASSPHRASE, or if Argon2id is missing.
        """
        parsed = VaultHeader.parse(header)  # 1
        wrapping = _derive(passphrase, parsed)  # 2
        master = SecretBytes(bytes(_KEY_BYTES))
        try:
            ChaCha20Poly1305(wrapping.buffer).decrypt_into(  # 3
                parsed.nonce, parsed.wrapped_key, parsed.associated_data(), master.buffer
            )
        except InvalidTag as error:
            raise ConfigurationError(
                "passphrase: expected the one that protects this directory, got another",
                code="WRONG_PASSPHRASE",
            ) from error
        finally:
            wrapping.wipe()
        return cls(master)

    def header(self, passphrase: SecretBytes, state: VaultState) -> bytes:
        """This vault's header under a passphrase, with fresh salt and nonce.

        Raises:
            ConfigurationError: if the passphrase is too short or too long, or Argon2id is missing.
        """
        blank = VaultHeader(
            iterations=ITERATIONS,
            lanes=LANES,
            memory_kib=MEMORY_KIB,
            nonce=secrets.token_bytes(_NONCE_BYTES),
            salt=secrets.token_bytes(_SALT_BYTES),
            state=state,
            wrapped_key=b"",
        )
        return self._wrapped(passphrase, blank).encode()

    def seal(self, name: str, secret: bytes | bytearray) -> bytes:
        """The sealed file for a secret under this name (docs/protocol.md §0.2.2)."""
        if len(secret) > MAX_SECRET_BYTES:
            raise DataError(f"{name}: expected at most {MAX_SECRET_BYTES} bytes to seal, got more")
        nonce, key = secrets.token_bytes(_NONCE_BYTES), self._file_key(name)
        sealed = ChaCha20Poly1305(key.buffer).encrypt(nonce, secret, _FILE_LABEL + name.encode())
        key.wipe()
        return SEALED_MAGIC + nonce + sealed

    def open_secret(self, name: str, sealed: bytes) -> SecretBytes:
        """The secret of a sealed file.

        Raises:
            VerificationError: if the file is not sealed, is damaged, or was sealed under another name or in
                another directory.
        """
        if not is_sealed(sealed) or not _OVERHEAD <= len(sealed) <= _OVERHEAD + MAX_SECRET_BYTES:
            raise VerificationError(f"{name}: expected a sealed file, got other bytes")
        start = len(SEALED_MAGIC) + _NONCE_BYTES
        nonce, ciphertext = sealed[len(SEALED_MAGIC) : start], memoryview(sealed)[start:]
        secret, key = SecretBytes(bytes(len(ciphertext) - _TAG_BYTES)), self._file_key(name)
        try:
            cipher = ChaCha20Poly1305(key.buffer)
            cipher.decrypt_into(nonce, ciphertext, _FILE_LABEL + name.encode(), secret.buffer)
        except InvalidTag as error:
            raise VerificationError(
                f"{name}: expected the file that was sealed here under this name, got another or damaged"
            ) from error
        finally:
            key.wipe()
        return secret

    def wipe(self) -> None:
        """Overwrite the master key."""
        self._master.wipe()

    def _file_key(self, name: str) -> SecretBytes:
        """HKDF-SHA256 (RFC 5869) of the master key, no salt, with the name: one key per name."""
        if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
            raise DataError(f"sealed file: expected a name of 1 to {MAX_NAME_BYTES} bytes, got another")
        key = SecretBytes(bytes(_KEY_BYTES))
        kdf = HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=_FILE_KEY_LABEL + name.encode())
        kdf.derive_into(self._master.buffer, key.buffer)
        return key

    def _wrapped(self, passphrase: SecretBytes, blank: VaultHeader) -> VaultHeader:
        if len(passphrase) < MIN_PASSPHRASE_BYTES:
            raise ConfigurationError(
                f"passphrase: expected at least {MIN_PASSPHRASE_BYTES} bytes, got fewer",
                code="PASSPHRASE_TOO_SHORT",
            )
        wrapping = _derive(passphrase, blank)
        cipher = ChaCha20Poly1305(wrapping.buffer)
        wrapped = cipher.encrypt(blank.nonce, self._master.buffer, blank.associated_data())
        wrapping.wipe()
        return replace(blank, wrapped_key=wrapped)


def parse_passphrase(text: bytes | bytearray) -> SecretBytes:
    """The passphrase in a file or on a terminal's line: everything but one line end at its end.

    Raises:
        ConfigurationError: if it is empty, too long or more than one line.
    """
    line = text.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(line) <= MAX_PASSPHRASE_BYTES or b"\n" in line or b"\0" in line:
        raise ConfigurationError(
            f"passphrase: expected one line of 1 to {MAX_PASSPHRASE_BYTES} bytes, got another text"
        )
    return SecretBytes(line)


def is_sealed(data: bytes) -> bool:
    """Whether these bytes begin as a sealed file does; no secret of ours begins so."""
    return data.startswith(SEALED_MAGIC)


def _derive(passphrase: SecretBytes, header: VaultHeader) -> SecretBytes:
    """Argon2id (RFC 9106), version 1.3, without secret and associated data."""
    key = SecretBytes(bytes(_KEY_BYTES))
    try:
        kdf = Argon2id(
            salt=header.salt,
            length=_KEY_BYTES,
            iterations=header.iterations,
            lanes=header.lanes,
            memory_cost=header.memory_kib,
        )
        kdf.derive_into(passphrase.buffer, key.buffer)  # type: ignore[arg-type]  # takes any buffer
    except UnsupportedAlgorithm as error:
        raise ConfigurationError("expected a cryptography library with Argon2id, got one without") from error
    return key


def _checksum(body: dict[str, Any]) -> str:
    """Tells a damaged header from a wrong passphrase; anybody can compute it."""
    return hashlib.sha256(_HEADER_LABEL + canonical_json.encode(body)).hexdigest()


def _bounded(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"vault header: expected {name} from {low} to {high}, got another value")
    return value


def _hex(value: Any, name: str, size: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or set(value) - set("0123456789abcdef"):
        raise DataError(f"vault header: expected {name} of {size} bytes in lower-case hex, got another value")
    return bytes.fromhex(value)


def _state(value: Any) -> VaultState:
    if value not in tuple(VaultState):
        raise DataError("vault header: expected a known state, got another value")
    return VaultState(value)

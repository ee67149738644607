"""The rule for every secret file of a party's directory, protected or not (docs/protocol.md §0.2.3).

A directory is protected if it has `keys/vault.json`. Then every secret in it is sealed, and a plain one is
refused: whoever can write files but does not know the passphrase cannot plant a key. Removing the header
does not help them where a passphrase is configured: a directory without one is refused then. Only while a
conversion is under way, which the header says and the passphrase authenticates, are both forms read; what is
written then is sealed. Storage is handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import Vault, VaultHeader, VaultState, is_sealed
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, VerificationError

_log = logging.getLogger(__name__)

HEADER_NAME = "keys/vault.json"


class Files(Protocol):
    """A party's secrets by name, as they are stored; names are paths below the party's directory."""

    def names(self) -> Sequence[str]:
        """Every secret that is stored, without the header."""

    def read(self, name: str) -> bytes | None:
        """What is stored, None if there is none; ConfigurationError if others can read it."""

    def write(self, name: str, data: bytes) -> None:
        """Replace what is stored, durably, all or nothing."""

    def remove(self, name: str) -> None:
        """Remove what is stored, durably."""

    def forget_replaced(self) -> None:
        """Remove what replaced and half-written secrets left behind, where storage keeps such things."""

    def held(self, *, exclusively: bool) -> AbstractContextManager[None]:
        """Keep conversions away; exclusively, keep all away, or LocalProtocolError if others hold them."""


class SealedFiles:
    """The secrets of one directory."""

    def __init__(
        self, files: Files, unlock: Callable[[bytes], Vault], *, must_be_protected: Callable[[], bool]
    ) -> None:
        """How secrets are stored and opened.

        Args:
            files: the party's storage.
            unlock: opens the vault of a header; it is asked once per call at most, and may remember.
            must_be_protected: whether a directory without protection is to be refused.
        """
        self._files = files
        self._unlock = unlock
        self._must_be_protected = must_be_protected

    @property
    def state(self) -> VaultState | None:
        """None without protection; ConfigurationError if the header is damaged."""
        header = self._files.read(HEADER_NAME)
        return None if header is None else _state(header)

    def held(self) -> AbstractContextManager[None]:
        """Keep conversions away while several steps belong together; not to be nested."""
        return self._files.held(exclusively=False)

    def read(self, name: str) -> SecretBytes | None:
        """The secret, None if there is none.

        Raises:
            ConfigurationError: if others can read it or it does not open (see `reveal`).
        """
        with self.held():
            stored = self._files.read(name)
            return None if stored is None else self.reveal(name, stored)

    def write(self, name: str, secret: bytes | bytearray) -> None:
        """Replace a secret, sealed if the directory is protected."""
        with self.held():
            self._files.write(name, self.conceal(name, secret))

    def remove(self, name: str) -> None:
        """Remove a secret; a disk may keep what was in it."""
        with self.held():
            self._files.remove(name)

    def conceal(self, name: str, secret: bytes | bytearray) -> bytes:
        """What is stored for a secret; for callers that store it themselves, while `held`."""
        header = self._header()
        return bytes(secret) if header is None else self._vault(header).seal(name, secret)

    def reveal(self, name: str, stored: bytes) -> SecretBytes:
        """The secret of what is stored.

        Raises:
            ConfigurationError: if it is damaged, plain in a protected directory or sealed in another; with
                code NOT_PROTECTED, if the directory should be protected; or what opening the vault raises.
        """
        header = self._header()
        if header is None:
            if is_sealed(stored):
                raise ConfigurationError(f"{name}: expected {HEADER_NAME} beside a sealed file, got none")
            return SecretBytes(stored)
        if not is_sealed(stored) and _state(header) is VaultState.CONVERTING:
            return SecretBytes(stored)
        return _opened(name, stored, self._vault(header))

    def protect_new(self, passphrase: SecretBytes | None) -> None:
        """Decide for a directory that has no secret yet: with a passphrase, what is written will be sealed.

        Raises:
            ConfigurationError: as `protect`.
        """
        if self.state is not None or self._files.names():
            return
        if passphrase is None:
            _log.warning("secrets in this directory are not encrypted at rest: run `keys protect`")
        else:
            with self._files.held(exclusively=True):
                self._files.write(HEADER_NAME, Vault.create().header(passphrase, VaultState.SEALED))

    def protect(self, passphrase: SecretBytes) -> int:
        """Seal every secret; how many there are.

        1. A header that says that a conversion is under way; from here on nothing is written plainly.
        2. Every secret: sealed, replaced, read back and opened; what they left behind is removed.
        3. The same header saying that all are sealed.

        After a crash in between everything still opens, with the passphrase; another call completes it.

        Raises:
            LocalProtocolError: if the directory is protected already, or in use.
            ConfigurationError: with PASSPHRASE_TOO_SHORT; with WRONG_PASSPHRASE, if a conversion was begun
                with another one; if a secret does not open.
        """
        with self._files.held(exclusively=True):
            header = self._files.read(HEADER_NAME)
            if header is None:
                vault = Vault.create()
                self._files.write(HEADER_NAME, vault.header(passphrase, VaultState.CONVERTING))  # 1
            elif _state(header) is VaultState.CONVERTING:
                vault = Vault.open(passphrase, header)
            else:
                raise LocalProtocolError("expected a directory without protection, got a protected one")
            names = self._files.names()
            for name in names:
                self._seal(name, vault)  # 2
            self._files.forget_replaced()
            self._files.write(HEADER_NAME, vault.header(passphrase, VaultState.SEALED))  # 3
            return len(names)

    def unprotect(self, passphrase: SecretBytes) -> int:
        """Store every secret plainly again; how many there are. Steps and crashes as in `protect`.

        Raises:
            LocalProtocolError: if the directory is not protected, or in use.
            ConfigurationError: with code WRONG_PASSPHRASE, or if a secret does not open; it stays protected.
        """
        with self._files.held(exclusively=True):
            vault, _ = self._open_header(passphrase)
            names = self._files.names()
            opened = {name: self._stored_secret(name, vault) for name in names}
            self._files.write(HEADER_NAME, vault.header(passphrase, VaultState.CONVERTING))
            for name, secret in opened.items():
                self._files.write(name, secret.reveal())
            self._files.remove(HEADER_NAME)
            return len(names)

    def change_passphrase(self, old: SecretBytes, new: SecretBytes) -> None:
        """Wrap the same master key under another passphrase: one file is replaced.

        Raises:
            LocalProtocolError: if the directory is not protected, or in use.
            ConfigurationError: with code WRONG_PASSPHRASE, or if the new one is too short.
        """
        with self._files.held(exclusively=True):
            vault, state = self._open_header(old)
            self._files.write(HEADER_NAME, vault.header(new, state))

    def _header(self) -> bytes | None:
        header = self._files.read(HEADER_NAME)
        if header is None and self._must_be_protected():
            raise ConfigurationError(
                f"expected {HEADER_NAME} since a passphrase is configured, got a plain directory",
                code="NOT_PROTECTED",
            )
        return header

    def _open_header(self, passphrase: SecretBytes) -> tuple[Vault, VaultState]:
        header = self._files.read(HEADER_NAME)
        if header is None:
            raise LocalProtocolError("expected a protected directory, got one without protection")
        state = _state(header)
        return Vault.open(passphrase, header), state

    def _vault(self, header: bytes) -> Vault:
        _state(header)  # a damaged header is told before anybody types a passphrase
        return self._unlock(header)

    def _seal(self, name: str, vault: Vault) -> None:
        stored = self._stored(name)
        if not is_sealed(stored):
            self._files.write(name, vault.seal(name, stored))
        _opened(name, self._stored(name), vault)

    def _stored_secret(self, name: str, vault: Vault) -> SecretBytes:
        """Of a directory that is sealed or under conversion."""
        stored = self._stored(name)
        return _opened(name, stored, vault) if is_sealed(stored) else SecretBytes(stored)

    def _stored(self, name: str) -> bytes:
        stored = self._files.read(name)
        if stored is None:
            raise LocalProtocolError("expected files that nobody changes meanwhile, got one that went away")
        return stored


def _opened(name: str, stored: bytes, vault: Vault) -> SecretBytes:
    try:
        return vault.open_secret(name, stored)
    except VerificationError as error:
        raise ConfigurationError(error.message) from error


def _state(header: bytes) -> VaultState:
    try:
        return VaultHeader.parse(header).state
    except DataError as error:
        raise ConfigurationError(error.message) from error

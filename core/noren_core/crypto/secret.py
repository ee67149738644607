"""Values that must not be shown, logged or pickled, and bytes that can be overwritten after use.

Promises: no repr, copy by pickle or f-string shows a secret; a `SecretBytes` is compared in constant time and
overwritten by `wipe`, or when it is collected. Not promised: that no copy exists. Python and the libraries
below it copy byte strings where they like; wiping shortens how long ours lie in memory.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Base of everything that must not be shown, logged or pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} redacted>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is a secret and is never pickled")


class SecretBytes(Secret):
    """A secret byte string in memory of its own."""

    __slots__ = ("_buffer",)

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self._buffer = bytearray(value)

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a way to test guesses

    def __del__(self) -> None:
        self.wipe()

    @property
    def buffer(self) -> bytearray:
        """The memory itself, for libraries that read a buffer without copying it."""
        return self._buffer

    def reveal(self) -> bytes:
        """A copy as bytes, which nothing can overwrite: for calls that take nothing else."""
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrite with zeros; its length stays, its content is gone."""
        self._buffer[:] = bytes(len(self._buffer))

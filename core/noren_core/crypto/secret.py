"""Values that must not be shown, logged or pickled, and bytes that can be overwritten after use.

Promises: no repr, f-string, pickle or copy shows a secret; a `SecretBytes` is compared in constant time and
overwritten by `wipe`, or when nothing refers to its memory any more.

Not promised: that no copy exists. What Python cannot overwrite: `bytes` (what a file was read into, a PEM,
the result of `reveal`), text that was typed, pages that were swapped out, and whatever a library copies. Keys
inside OpenSSL are cleared by it when their object is collected. Wiping shortens how long our own copies lie
in memory, no more; who reads this process's memory has its keys.
"""

from __future__ import annotations

import hmac
from typing import NoReturn, SupportsIndex


class Secret:
    """Base of everything that must not be shown, logged or pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} redacted>"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, _specification: str) -> str:
        return repr(self)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is a secret and is never pickled or copied")


class _Memory(Secret, bytearray):
    """Memory that is overwritten when nothing refers to it any more.

    Not when its owner goes: in `f(make_secret().buffer)` the owner is gone before `f` begins.
    """

    __slots__ = ()

    def __del__(self) -> None:
        self[:] = bytes(len(self))


class SecretBytes(Secret):
    """A secret byte string in memory of its own."""

    __slots__ = ("_buffer",)

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self._buffer = _Memory(value)

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a way to test guesses

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

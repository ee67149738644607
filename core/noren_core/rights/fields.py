"""Reading the fields of a canonical JSON object that came from outside, and checking their ranges.

Promises: an object has exactly the fields that are asked for, each of its type; messages name the field and
never its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from noren_core import ids
from noren_core.errors import DataError

T = TypeVar("T")
_Word = TypeVar("_Word", bound=StrEnum)
Parse = Callable[[object], Any]

MAX_SECONDS = 1 << 40
"""Unix seconds beyond this are refused; the year is then about 36,800."""

_MAX_ITEMS = 256
_HEX = re.compile(r"(?:[0-9a-f]{2})*\Z")


def read_fields(body: object, fields: Mapping[str, Parse], what: str) -> dict[str, Any]:
    """The fields of `body`, parsed; DataError unless it is an object with exactly these."""
    if not isinstance(body, dict) or body.keys() != fields.keys():
        raise DataError(f"{what}: expected exactly the fields {', '.join(fields)}; got others")
    try:
        return {name: parse(body[name]) for name, parse in fields.items()}
    except DataError as error:
        raise DataError(f"{what}: {error.message}", code=error.code) from error


def text(value: object) -> str:
    """A text; whoever uses it bounds it."""
    if not isinstance(value, str):
        raise DataError("expected a text, got another value")
    return value


def integer(value: object) -> int:
    """An integer, and not a truth value."""
    if type(value) is not int:
        raise DataError("expected an integer, got another value")
    return value


def boolean(value: object) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise DataError("expected true or false, got another value")
    return value


def hex_bytes(value: object) -> bytes:
    """Bytes from lower-case hexadecimal digits."""
    if not isinstance(value, str) or not _HEX.match(value):
        raise DataError("expected lower-case hexadecimal digits, got another value")
    return bytes.fromhex(value)


def list_of(parse: Callable[[object], T], *, most: int = _MAX_ITEMS) -> Callable[[object], tuple[T, ...]]:
    """A list of at most `most` of these."""

    def items(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise DataError(f"expected a list of at most {most} items, got another value")
        return tuple(parse(item) for item in value)

    return items


def word_of(kind: type[_Word]) -> Callable[[object], _Word]:
    """One word of a closed list."""

    def word(value: object) -> _Word:
        if value not in tuple(kind):
            raise DataError(f"expected one of {', '.join(kind)}; got another value")
        return kind(str(value))

    return word


def check_bytes(value: bytes, length: int, what: str) -> None:
    """Raise DataError unless there are exactly `length` bytes."""
    if len(value) != length:
        raise DataError(f"{what}: expected {length} bytes, got another number")


def check_integer(value: int, low: int, high: int, what: str) -> None:
    """Raise DataError unless `value` is an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"{what}: expected an integer from {low} to {high}, got another value")


def check_seconds(value: int, what: str) -> None:
    """Raise DataError unless `value` is a time in Unix seconds."""
    check_integer(value, 0, MAX_SECONDS, what)


def check_distinct(values: Sequence[object], most: int, what: str) -> None:
    """Raise DataError unless there are 1 to `most`, each once."""
    if not 1 <= len(values) <= most or len(set(values)) != len(values):
        raise DataError(f"{what}: expected 1 to {most}, each once, got another list")


def name(value: object) -> str:
    """A name of `noren_core.ids`."""
    return ids.parse_name(value, "name")


def seconds(value: object) -> int:
    """A time in Unix seconds."""
    return integer_in(0, MAX_SECONDS)(value)


def integer_in(low: int, high: int) -> Callable[[object], int]:
    """An integer within bounds."""

    def bounded(value: object) -> int:
        check_integer(integer(value), low, high, "integer")
        return integer(value)

    return bounded


def bytes_of(length: int, *, or_none: bool = False) -> Callable[[object], bytes]:
    """So many bytes from hexadecimal digits, or also no bytes from an empty text."""

    def sized(value: object) -> bytes:
        found = hex_bytes(value)
        if len(found) != length and (found or not or_none):
            raise DataError(f"expected {2 * length} hexadecimal digits, got another number")
        return found

    return sized


def constant(expected: str) -> Callable[[object], str]:
    """A field that has one value only."""

    def same(value: object) -> str:
        if value != expected:
            raise DataError(f"expected {expected}, got another value")
        return expected

    return same

"""Canonical JSON for everything that is hashed or signed (docs/protocol.md §6).

One value has exactly one encoding: UTF-8, keys sorted by code point, no spaces, integers and strings
only (decimals are strings; no floats, no null), no duplicate keys. `parse` refuses bytes that are not
the canonical encoding of what they say, so hash and meaning cannot drift apart.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NoReturn

from noren_core.errors import DataError

MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 8


def encode(value: Any) -> bytes:
    """The canonical bytes of `value`; raises DataError for floats, None and foreign types."""
    _check(value, 0)
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise DataError("expected text of whole characters, got half of a surrogate pair") from error


def parse(data: bytes) -> Any:
    """The value that `data` canonically encodes; raises DataError for any other bytes."""
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as error:
        raise DataError("expected canonical JSON, got bytes that do not parse") from error
    if encode(value) != data:
        raise DataError("expected canonical JSON (sorted keys, no spaces), got another encoding")
    return value


def parse_object(data: bytes) -> dict[str, Any]:
    """Like `parse`, for bytes that must encode an object."""
    value = parse(data)
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DataError(f"expected at most {MAX_DEPTH} levels of nesting, got more")
    match value:
        case bool() | str():
            pass
        case int():
            if abs(value) > MAX_INTEGER:
                raise DataError("expected an integer of at most 63 bits, got a larger one")
        case list():
            _check_items(value, depth + 1)
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise DataError(f"expected string keys, got {type(key).__name__}")
            _check_items(value.values(), depth + 1)
        case _:
            raise DataError(f"expected integers, strings, lists or objects, got {type(value).__name__}")


def _check_items(items: Collection[Any], depth: int) -> None:
    """`_check` of each; texts, which most are, are passed over in the loop: ledgers are read by this."""
    if items and depth > MAX_DEPTH:
        raise DataError(f"expected at most {MAX_DEPTH} levels of nesting, got more")
    for item in items:
        if type(item) is not str:
            _check(item, depth)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")

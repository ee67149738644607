"""TOML that a person wrote, as a whole or not at all.

Python's parser ends in ValueError for numbers of thousands of digits, in RecursionError for deep nesting, and
returns integers of any size; who parses here gets a table or one DataError. What the fields mean, and
their types, are for the caller to check.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

from noren_core.canonical_json import MAX_INTEGER
from noren_core.errors import DataError

MAX_BYTES = 1 << 20


def parse(data: bytes, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """The table that `data` spells in UTF-8.

    Args:
        data: at most 2^20 bytes.
        parse_float: how a number with a fraction or exponent becomes a value.

    Raises:
        DataError: if it is longer, is not TOML, or has an integer of more than 63 bits, which TOML forbids.
    """
    if len(data) > MAX_BYTES:
        raise DataError(f"expected at most {MAX_BYTES} bytes of TOML, got {len(data)}")
    try:
        table = tomllib.loads(data.decode(), parse_float=parse_float)
    except (ValueError, RecursionError) as error:  # every error of decoding and parsing is a ValueError
        raise DataError("expected TOML, got something else") from error
    _check_integers(table)
    return table


def _check_integers(value: Any) -> None:
    match value:
        case int():
            if abs(value) > MAX_INTEGER:
                raise DataError("expected integers of at most 63 bits, got a larger one")
        case list() | dict():
            for item in value.values() if isinstance(value, dict) else value:
                _check_integers(item)

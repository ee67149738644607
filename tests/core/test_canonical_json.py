"""One value, one encoding: what is hashed or signed cannot be read in two ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core import canonical_json
from noren_core.canonical_json import MAX_DEPTH, MAX_INTEGER
from noren_core.errors import DataError

SCALARS = st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: depth(value) <= MAX_DEPTH)


def depth(value: Any) -> int:
    """How many lists and objects lead to the deepest value."""
    inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    return 1 + max((depth(item) for item in inner), default=-1)


def nested(levels: int, innermost: Any = 1) -> Any:
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


@settings(max_examples=150)
@given(VALUES)
def test_what_is_encoded_is_parsed_back(value: Any) -> None:
    """Every allowed value comes back from its bytes, of the same types, and encodes to them again."""
    data = canonical_json.encode(value)
    assert repr(canonical_json.parse(data)) == repr(json.loads(data))
    assert canonical_json.parse(data) == value
    assert canonical_json.encode(canonical_json.parse(data)) == data


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=6), SCALARS, min_size=2, max_size=5))
def test_the_order_of_insertion_does_not_show(value: dict[str, Any]) -> None:
    """Two objects with the same members have the same bytes."""
    assert canonical_json.encode(dict(reversed(value.items()))) == canonical_json.encode(value)


@settings(max_examples=150)
@given(VALUES, st.data())
def test_no_other_bytes_say_the_same(value: Any, data: st.DataObject) -> None:
    """A space more, escaped characters or indentation: the same value in other bytes is refused."""
    encoded = canonical_json.encode(value)
    place = data.draw(st.integers(0, len(encoded)))
    respelt = [
        encoded[:place] + b" " + encoded[place:],
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps(value, ensure_ascii=False, indent=1).encode(),
        b"\xef\xbb\xbf" + encoded,
    ]
    for other in respelt:
        if other != encoded:
            try:
                assert canonical_json.parse(other) != value  # a space within a text is another text
            except DataError:
                continue


def test_the_known_encoding() -> None:
    """Sorted by code point, without spaces, characters as themselves; what is signed must never change."""
    value = {"ü": [True, -1, "a\n"], "b": {}, "Z": "日本", "": [], "a\U00010000": 0, "a\uffff": 1}
    expected = '{"":[],"Z":"日本","a\uffff":1,"a\U00010000":0,"b":{},"ü":[true,-1,"a\\n"]}'
    assert canonical_json.encode(value) == expected.encode()


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), None, b"x", (1,), {"a": None}, [1.5], {1: "a"}, {None: 1}, {"a": {True: 1}}, {1}],
)
def test_foreign_types_are_not_encoded(value: object) -> None:
    """Floats, null, bytes, tuples and keys that are no text have no encoding, at any depth."""
    with pytest.raises(DataError):
        canonical_json.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"1.0",
        b"1e3",
        b"-0",
        b"NaN",
        b"Infinity",
        b"null",
        b'{"a":1.5}',
        b"01",
        b"",
        b"{",
        b'"\xff"',
        b'{"a":1} ',
        b'{"b":1,"a":1}',
        b'"\\u0041"',
        b'"\\/"',
        b'"\x01"',
        b"9" * 5000,
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    """Floats, null, minus zero, escapes nobody needs, disorder and broken UTF-8 are data errors."""
    with pytest.raises(DataError):
        canonical_json.parse(data)


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'{"a":1,"a":2}', b'[{"b":{"x":"","x":""}}]'])
def test_a_key_twice_is_refused(data: bytes) -> None:
    """A duplicate key, at any depth and even with the same value, does not parse."""
    with pytest.raises(DataError, match="do not parse"):
        canonical_json.parse(data)


def test_half_a_surrogate_pair_has_no_encoding() -> None:
    """A lone surrogate, as a text, as a key or escaped, is refused; a character beyond 16 bits is not."""
    for value in ("\ud800", {"\udfff": 1}, ["a\udc00b"]):
        with pytest.raises(DataError, match="surrogate"):
            canonical_json.encode(value)
    with pytest.raises(DataError, match="surrogate"):
        canonical_json.parse(b'"\\ud800"')
    assert canonical_json.parse('"😀"'.encode()) == "😀"


def test_depth_and_integers_are_bounded() -> None:
    """Eight levels and 63 bits are allowed, one more is refused, in both directions; so is any depth."""
    assert MAX_DEPTH == 8
    for innermost in (1, "x", []):
        deep = nested(MAX_DEPTH, innermost)
        assert canonical_json.parse(canonical_json.encode(deep)) == deep
    assert canonical_json.parse(str(-MAX_INTEGER).encode()) == -MAX_INTEGER
    for value in (
        nested(MAX_DEPTH + 1),
        nested(MAX_DEPTH + 1, "x"),
        nested(MAX_DEPTH + 1, []),
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
    ):
        with pytest.raises(DataError, match="at most"):
            canonical_json.encode(value)
        with pytest.raises(DataError, match="at most"):
            canonical_json.parse(json.dumps(value, separators=(",", ":")).encode())
    with pytest.raises(DataError):
        canonical_json.parse(b"[" * 200_000)
    with pytest.raises(DataError):
        canonical_json.parse(b"[" * 100_000 + b"]" * 100_000)


def test_an_object_is_asked_for() -> None:
    """`parse_object` takes an object and refuses any other value, naming its type."""
    assert canonical_json.parse_object(b'{"a":1}') == {"a": 1}
    for data in (b"[]", b'"a"', b"1", b"true"):
        with pytest.raises(DataError, match="expected a JSON object"):
            canonical_json.parse_object(data)


def test_the_refused_text_is_not_shown() -> None:
    """An error says what was expected and never what was in the bytes."""
    for data in (b'{"a":"taro@example.org"', b'{"b":1,"a":"taro@example.org"}'):
        with pytest.raises(DataError) as caught:
            canonical_json.parse(data)
        assert "taro" not in str(caught.value)

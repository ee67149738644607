"""Hostile input for decoders, in three strategies for every shape of input.

`arbitrary` has nothing to do with the format. `mutated` is a valid encoding with bits flipped, parts cut,
spliced, repeated or overwritten, so that it gets past the first checks. `structured` is well formed and has
wrong, missing, exchanged or extreme values in its fields.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

EDGES = tuple(
    sorted(
        {
            sign * (2**bits + step)
            for bits in (0, 7, 8, 15, 16, 31, 32, 62, 63, 64)
            for step in (-1, 0, 1)
            for sign in (1, -1)
        }
    )
)
BYTE_EDGES = (
    b"",
    b"\0",
    b"\xff" * 4,
    b"\x80" * 9 + b"\x01",
    b"\xff" * 8,
    bytes(32),
    b"\xff" * 32,
    b'"',
    b"\n",
    b"\r\n",
    b"[" * 3000,
)
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\n",
        "é",
        "０",
        "²",
        "٣",
        "\ud800",
        "\U0001f600",
        "\ufffd",
        "platform",
        "../x",
        "-",
        "+",
    ),
    *("nan", "inf", "1/0", "1/3", "1e9", "1e999999999", "-0", "0x1", "00", "1.50", "true", "9" * 5000),
    *("x" * 3000, "00" * 32, "AB" * 32, "gg" * 32, "00 " * 21 + "0"),
)
json_values: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((*EDGES, 10**30)),
    st.floats(),
    st.sampled_from(TEXTS),
    st.text(max_size=20),
    st.recursive(
        st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=8,
    ),
)


class Shape(Protocol):
    """One form of input; each strategy is made from the valid encodings of one decoder."""

    def arbitrary(self, valid: Sequence[Any]) -> SearchStrategy[Any]: ...

    def mutated(self, valid: Sequence[Any]) -> SearchStrategy[Any]: ...

    def structured(self, valid: Sequence[Any]) -> SearchStrategy[Any]: ...


class Swept(Shape, Protocol):
    """A shape of named fields, each of which is also tried with every hostile value, one after the other."""

    def swept(self, valid: Sequence[Any]) -> Iterator[Any]: ...


# Bytes ------------------------------------------------------------------------------------------------------


def _change_bytes(data: bytes, name: str, at: int, span: int, other: bytes) -> bytes:
    """`at` and `span` are fractions of 2^16, so that every place of a long encoding is reached."""
    at = at * (len(data) + 1) >> 16
    length = max(1, span * (len(data) - at) >> 16)
    head, part, tail = data[:at], data[at : at + length], data[at + length :]
    match name:
        case "flip":
            return head + bytes(byte ^ (1 << span % 8) for byte in data[at : at + 1]) + data[at + 1 :]
        case "cut":
            return head
        case "delete":
            return head + tail
        case "repeat":
            return head + part * 2 + tail
        case "many":
            return head + part[:64] * 300 + tail
        case "splice":
            return head + other[span * (len(other) + 1) >> 16 :]
        case "insert":
            return head + BYTE_EDGES[span % len(BYTE_EDGES)] + data[at:]
        case "edge":
            edge = BYTE_EDGES[span % len(BYTE_EDGES)]
            return head + edge + data[at + len(edge) :]
        case _:  # swap two parts of equal length
            return head + tail[: len(part)] + part + tail[len(part) :]


_CHANGES = ("flip", "flip", "cut", "delete", "repeat", "many", "splice", "insert", "edge", "swap")
_places = st.integers(0, 2**16 - 1)
_changes = st.lists(st.tuples(st.sampled_from(_CHANGES), _places, _places), min_size=1, max_size=4)


@st.composite
def changed_bytes(draw: DrawFn, valid: Sequence[bytes]) -> bytes:
    """A valid encoding, changed up to four times."""
    data = draw(st.sampled_from(valid))
    for name, at, span in draw(_changes):
        data = _change_bytes(data, name, at, span, valid[span % len(valid)])
    return data


def special_bytes(like: bytes) -> SearchStrategy[bytes]:
    """Byte strings in place of one that was valid: other lengths, constants, noise of the same length."""
    size = len(like)
    constants = [
        bytes(size),
        b"\xff" * size,
        b"",
        like[:-1],
        like + b"\0",
        like[::-1],
        b"\x01" + bytes(max(0, size - 1)),
    ]
    return st.sampled_from(constants) | st.binary(min_size=size, max_size=size) | st.sampled_from(BYTE_EDGES)


@dataclass(frozen=True, slots=True)
class Bytes:
    """A byte string; `fields` cuts a valid one into the fields that `structured` exchanges."""

    fields: Callable[[bytes], Sequence[bytes]] = lambda data: (data,)

    def arbitrary(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return st.binary(max_size=200)

    def mutated(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_bytes(valid)

    def structured(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        cut = [list(self.fields(data)) for data in valid]
        return st.sampled_from(cut).flatmap(_one_field_changed).map(b"".join)


def _one_field_changed(fields: list[bytes]) -> SearchStrategy[list[bytes]]:
    return st.integers(0, len(fields) - 1).flatmap(
        lambda at: (special_bytes(fields[at]) | st.sampled_from(fields)).map(
            lambda value: [*fields[:at], value, *fields[at + 1 :]]
        )
    )


def pieces(size: int) -> Callable[[bytes], list[bytes]]:
    """Cuts an encoding into fields of one size."""
    return lambda data: [data[at : at + size] for at in range(0, len(data), size)]


@dataclass(frozen=True, slots=True)
class Text:
    """A text."""

    def arbitrary(self, valid: Sequence[str]) -> SearchStrategy[str]:
        return st.text(st.characters(), max_size=60)

    def mutated(self, valid: Sequence[str]) -> SearchStrategy[str]:
        return changed_bytes([text.encode() for text in valid]).map(
            lambda data: data.decode(errors="surrogateescape")
        )

    def structured(self, valid: Sequence[str]) -> SearchStrategy[str]:
        return st.tuples(st.sampled_from(valid), st.sampled_from(TEXTS), st.integers(0, 2)).map(
            lambda drawn: (drawn[1], drawn[0] + drawn[1], drawn[1] + drawn[0])[drawn[2]]
        )


# JSON and TOML ----------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a value made of lists, tuples and dictionaries, its own first."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    return [path, *(found for key, inner in items for found in places(inner, (*path, key)))]


def at_place(value: Any, path: Sequence[Any]) -> Any:
    """What stands at `path`."""
    for key in path:
        value = value[key]
    return value


def _replace(value: Any, path: Sequence[Any], new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        return {**value, first: _replace(value[first], rest, new)}
    changed = [*value[:first], _replace(value[first], rest, new), *value[first + 1 :]]
    return type(value)(changed)


@st.composite
def changed_json(draw: DrawFn, valid: Sequence[Any], hostile: SearchStrategy[Any] = json_values) -> Any:
    """A valid JSON value with values replaced, removed, repeated, exchanged, added or nested deeply."""
    value = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        old = at_place(value, path)
        match draw(st.sampled_from(("replace", "replace", "inside", "exchange", "nest"))):
            case "inside" if isinstance(old, dict) and old:
                key = draw(st.sampled_from(sorted(old)))
                new = {**old, key + draw(st.sampled_from(("", "x"))): draw(hostile)}
                if draw(st.booleans()):
                    del new[key]
            case "inside" if isinstance(old, list) and old:
                new = draw(st.sampled_from((old[1:], old * 2, old * 300, old[::-1])))
            case "exchange":
                new = copy.deepcopy(at_place(value, draw(st.sampled_from(places(value)))))
            case "nest":
                new = old
                for _ in range(draw(st.sampled_from((1, 9, 60)))):
                    new = [new]
            case _:
                new = draw(hostile)
        value = _replace(value, path, new)
    return value


_SWEPT: tuple[Any, ...] = (
    None,
    True,
    False,
    1.5,
    float("nan"),
    float("inf"),
    *EDGES,
    *TEXTS,
    [],
    {},
    [[]],
    [1],
    ["x"],
    {"x": 1},
)


def swept_json(valid: Sequence[Any], more: Sequence[Any] = ()) -> Iterator[Any]:
    """Every field with every hostile value, and without the field."""
    for value in valid:
        for path in places(value):
            for hostile in (*_SWEPT, *more):
                yield _replace(value, path, hostile)
            if path and isinstance(at_place(value, path[:-1]), dict):
                left = {key: inner for key, inner in at_place(value, path[:-1]).items() if key != path[-1]}
                yield _replace(value, path[:-1], left)


def _compact(value: Any) -> bytes:
    return _encoded(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")))


def _spellings(value: Any) -> SearchStrategy[bytes]:
    """The canonical spelling and some others."""
    compact: dict[str, Any] = {"ensure_ascii": False, "sort_keys": True, "separators": (",", ":")}
    options = st.sampled_from((compact, compact, compact, {}, {"sort_keys": True}))
    return options.map(lambda chosen: json.dumps(value, **chosen).encode(errors="surrogatepass"))


@dataclass(frozen=True, slots=True)
class JsonBytes:
    """JSON text in bytes."""

    def arbitrary(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return st.binary(max_size=200) | json_values.flatmap(_spellings)

    def mutated(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_bytes(valid)

    def structured(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_json([json.loads(data) for data in valid]).flatmap(_spellings)

    def swept(self, valid: Sequence[bytes]) -> Iterator[bytes]:
        return map(_compact, swept_json([json.loads(data) for data in valid]))


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One JSON text a line."""

    def arbitrary(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return st.binary(max_size=200)

    def mutated(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_bytes(valid)

    def structured(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        parsed = [[json.loads(line) for line in data.splitlines()] for data in valid]
        compact: dict[str, Any] = {"ensure_ascii": False, "sort_keys": True, "separators": (",", ":")}
        return changed_json(parsed).map(
            lambda lines: b"".join(
                json.dumps(line, **compact).encode(errors="surrogatepass") + b"\n"
                for line in (lines if isinstance(lines, list) else [lines])
            )
        )


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value that strict JSON parsing has produced: objects, lists, integers, strings and booleans."""

    def arbitrary(self, valid: Sequence[Any]) -> SearchStrategy[Any]:
        return json_values

    def mutated(self, valid: Sequence[Any]) -> SearchStrategy[Any]:
        return changed_json(valid, st.sampled_from([at_place(valid[0], path) for path in places(valid[0])]))

    def structured(self, valid: Sequence[Any]) -> SearchStrategy[Any]:
        return changed_json(valid)

    def swept(self, valid: Sequence[Any]) -> Iterator[Any]:
        return swept_json(valid)


class _Raw(str):
    """TOML that is written as it is."""

    __slots__ = ()


_TOML_TOKENS = tuple(
    map(
        _Raw,
        (
            "1979-05-27T07:32:00Z",
            "07:32:00",
            "nan",
            "-inf",
            "1e400",
            "0x" + "f" * 5000,
            "1" * 5000,
            "1_000",
            "[" * 3000,
            "'" * 3,
            "{}",
        ),
    )
)


def to_toml(value: Any) -> str:
    """A table as TOML, inner ones inline."""
    if not isinstance(value, dict):
        return f"value = {_toml(value)}\n"
    return "".join(f"{json.dumps(key)} = {_toml(inner)}\n" for key, inner in value.items())


def _toml(value: Any) -> str:
    match value:
        case _Raw():
            return str(value)
        case dict():
            return (
                "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
            )
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return json.dumps(value, default=str)


@dataclass(frozen=True, slots=True)
class Toml:
    """A TOML file."""

    def arbitrary(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return st.binary(max_size=200) | json_values.map(to_toml).map(_encoded)

    def mutated(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_bytes(valid)

    def structured(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        hostile = st.one_of(json_values, st.sampled_from(_TOML_TOKENS))
        return (
            changed_json([tomllib.loads(data.decode()) for data in valid], hostile).map(to_toml).map(_encoded)
        )

    def swept(self, valid: Sequence[bytes]) -> Iterator[bytes]:
        tables = swept_json([tomllib.loads(data.decode()) for data in valid], _TOML_TOKENS)
        return (_encoded(to_toml(table)) for table in tables)


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


# CSV --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Csv:
    """A CSV file with a header."""

    def arbitrary(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return st.binary(max_size=200)

    def mutated(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_bytes(valid)

    def structured(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        tables = [list(csv.reader(io.StringIO(data.decode()))) for data in valid]
        return changed_json(tables, st.sampled_from(TEXTS) | st.text(max_size=10)).map(_to_csv)

    def swept(self, valid: Sequence[bytes]) -> Iterator[bytes]:
        table = list(csv.reader(io.StringIO(valid[0].decode())))
        return (
            _to_csv(_replace(table, path, text)) for path in places(table) if len(path) == 2 for text in TEXTS
        )


def _to_csv(table: Any) -> bytes:
    output = io.StringIO()
    writer = csv.writer(output)
    for row in table if isinstance(table, list) else [[table]]:
        writer.writerow(row if isinstance(row, list) else [row])
    return _encoded(output.getvalue())


# Parquet ----------------------------------------------------------------------------------------------------

_ARROW_TYPES = (pa.string(), pa.binary(), pa.large_string(), pa.int64(), pa.int32(), pa.float64(), pa.null())
_ARROW_VALUES = {
    pa.string(): ("", None, "x" * 5000, b"\xff\xfe", b"\xed\xa0\x80", "\0"),
    pa.int64(): (None, -1, 0, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    pa.float64(): (None, float("nan"), float("inf"), -1e6, 1e6 + 1, 1e308, 5e-324),
}


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """An array; texts also of bytes that are none."""
    if kind == pa.string():
        raw = [value.encode() if isinstance(value, str) else value for value in values]
        return pa.array(raw, pa.binary()).view(pa.string())
    return pa.array(values, kind)


@st.composite
def changed_table(draw: DrawFn, valid: Sequence[bytes]) -> bytes:
    """A readable file with other values, types, names or numbers of columns."""
    table = pq.read_table(io.BytesIO(draw(st.sampled_from(valid))))
    columns = [(name, table.schema.field(name).type, table[name].to_pylist()) for name in table.schema.names]
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(columns) - 1))
        name, kind, values = columns[at]
        match draw(st.sampled_from(("value", "value", "value", "type", "name", "drop", "twice"))):
            case "value" if kind in _ARROW_VALUES:
                columns[at] = (name, kind, [draw(st.sampled_from(_ARROW_VALUES[kind])), *values[1:]])
            case "type":
                columns[at] = (name, draw(st.sampled_from(_ARROW_TYPES)), [None] * len(values))
            case "name":
                columns[at] = (draw(st.text(max_size=5)), kind, values)
            case "drop" if len(columns) > 1:
                del columns[at]
            case "twice":
                columns.append(columns[at])
    output = io.BytesIO()
    arrays = [_column(values, kind) for _, kind, values in columns]
    pq.write_table(pa.Table.from_arrays(arrays, [name for name, _, _ in columns]), output)
    name = draw(st.sampled_from((b"context", b"context", b"\xf3ontext")))  # the last is no text
    return output.getvalue().replace(b"context", name)


@dataclass(frozen=True, slots=True)
class Parquet:
    """A Parquet file."""

    def arbitrary(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return st.binary(max_size=200)

    def mutated(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_bytes(valid)

    def structured(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_table(valid)


# Protocol buffers -------------------------------------------------------------------------------------------

_NUMBERS = {
    FieldDescriptor.TYPE_UINT32: (0, 1, 2, 100, 101, 2**31, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 1, 2, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1),
    FieldDescriptor.TYPE_BOOL: (False, True),
}


def _message_fields(message: Message) -> list[tuple[Message, FieldDescriptor]]:
    found = [(message, field) for field in message.DESCRIPTOR.fields]
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                found += _message_fields(inner)
    return found


def _value_of(field: FieldDescriptor, like: Any) -> SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return special_bytes(like or bytes(32)) | st.binary(max_size=70)
    if field.type == FieldDescriptor.TYPE_STRING:
        texts = [text for text in TEXTS if "\ud800" not in text]
        return st.sampled_from(texts) | st.text(max_size=20)
    return st.sampled_from(_NUMBERS[field.type])


def _change_repeated(draw: DrawFn, message: Message, field: FieldDescriptor) -> None:
    values = getattr(message, field.name)
    kept = list(values)
    how = draw(st.sampled_from(("clear", "first", "last", "twice", "reverse", "many", "value")))
    del values[:]
    # Many of what has many itself would be gigabytes, at which the protobuf runtime crashes.
    is_large = field.type == FieldDescriptor.TYPE_MESSAGE and bool(kept) and kept[0].ByteSize() > 10_000
    chosen = {
        "clear": [],
        "first": kept[:1],
        "last": kept[-1:],
        "twice": kept + kept[:1],
        "reverse": kept[::-1],
        "many": kept[:1] * (2 if is_large else 2100),
    }
    if how != "value":
        values.extend(chosen[how])
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        values.extend(kept)
        values.add()
    else:
        values.extend([draw(_value_of(field, kept[0] if kept else None)), *kept[1:]])


@st.composite
def changed_message(draw: DrawFn, valid: Sequence[Message]) -> Message:
    """A message with fields set to other values of their types."""
    message = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        owner, field = draw(st.sampled_from(_message_fields(message)))
        if field.is_repeated:
            _change_repeated(draw, owner, field)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            owner.ClearField(field.name)
            if draw(st.booleans()):
                getattr(owner, field.name).SetInParent()
        else:
            setattr(owner, field.name, draw(_value_of(field, getattr(owner, field.name))))
    return message


@dataclass(frozen=True, slots=True)
class ProtobufBytes:
    """Serialised messages of one type."""

    message: type[Message]

    def arbitrary(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return st.binary(max_size=200)

    def mutated(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        return changed_bytes(valid)

    def structured(self, valid: Sequence[bytes]) -> SearchStrategy[bytes]:
        messages = [self.message.FromString(data) for data in valid]
        changed = changed_message(messages).map(lambda message: message.SerializeToString())
        # Two messages in a row are one in which the second's fields win.
        return st.tuples(st.sampled_from((b"", b"", *valid)), changed).map(b"".join)


@dataclass(frozen=True, slots=True)
class ProtobufMessage:
    """Messages of one type, as gRPC hands them on."""

    message: type[Message]

    def arbitrary(self, valid: Sequence[Message]) -> SearchStrategy[Message]:
        return changed_message([self.message()])

    def mutated(self, valid: Sequence[Message]) -> SearchStrategy[Message]:
        return (
            changed_bytes([message.SerializeToString() for message in valid])
            .filter(self._parses)
            .map(self.message.FromString)
        )

    def structured(self, valid: Sequence[Message]) -> SearchStrategy[Message]:
        return changed_message(valid)

    def _parses(self, data: bytes) -> bool:
        try:
            self.message.FromString(data)
        except DecodeError:
            return False
        return True


# Arguments --------------------------------------------------------------------------------------------------


def _of_type(value: Any) -> SearchStrategy[Any]:
    """Other values of the same type: types are the caller's promise, values are the sender's."""
    match value:
        case bool():
            return st.booleans()
        case int():
            return st.sampled_from(EDGES) | st.integers(value - 2, value + 2)
        case bytes():
            return special_bytes(value)
        case str():
            return st.sampled_from(TEXTS) | st.text(max_size=20)
        case list():
            return st.sampled_from((value[:0], value[1:], value[:-1], value * 2, value[::-1], value * 200))
        case dict():
            return st.sampled_from(
                [{key: inner for key, inner in value.items() if key != left} for left in value] or [value]
            )
        case _:
            return st.just(value)


@st.composite
def _changed_arguments(
    draw: DrawFn, valid: Sequence[tuple[Any, ...]], change: Callable[[Any], SearchStrategy[Any]]
) -> Any:
    value = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(value)[1:] or [()]))
        value = _replace(value, path, draw(change(at_place(value, path))))
    return value


@dataclass(frozen=True, slots=True)
class Arguments:
    """Bytes, integers and texts in lists, of any length, and in tuples, whose length is fixed."""

    def arbitrary(self, valid: Sequence[Any]) -> SearchStrategy[Any]:
        return _changed_arguments(
            valid, lambda value: st.binary(max_size=100) if isinstance(value, bytes) else _of_type(value)
        )

    def mutated(self, valid: Sequence[Any]) -> SearchStrategy[Any]:
        return _changed_arguments(
            valid, lambda value: changed_bytes([value]) if isinstance(value, bytes) else st.just(value)
        )

    def structured(self, valid: Sequence[Any]) -> SearchStrategy[Any]:
        return _changed_arguments(valid, _of_type)

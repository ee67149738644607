"""Every message that this program sends: what its fields hold, where it goes and why; and what never goes.

The words are in `messages.toml`, in both languages. Promises: the list is closed. tests/client/leaving holds
it against the wire contract, the ledger's entries and the custodian's requests, field by field, so that a
field that is sent and not declared fails them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from noren_core import toml_text
from noren_core.ledger.entries import EntryKind
from noren_core.rights.locales import Locale

_FILE = Path(__file__).parent / "messages.toml"
_TRAINING = "Training."

Words = Mapping[Locale, str]


class Destination(StrEnum):
    """Whom something is sent to; the address is in config.toml."""

    ENROLMENT = "enrolment"
    SERVICE = "service"
    FLEET = "fleet"
    CUSTODIAN = "custodian"


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One kind of message.

    Attributes:
        kind: `Service.Method` of the wire contract, `Training.step`, `Custody.operation`, or another way out.
        destination: whom it goes to.
        what, purpose: in a few words.
        fields: what every field of it holds, by its name; parts of a part have a dotted name.
        is_counted: whether its bytes are counted here; otherwise nobody here sees them.
    """

    kind: str
    destination: Destination
    what: Words
    purpose: Words
    fields: Mapping[str, Words]
    is_counted: bool


@dataclass(frozen=True, slots=True)
class Declarations:
    """Everything that leaves, and what does not.

    Attributes:
        messages: by kind.
        entries: by kind of ledger entry that this company signs, what its fields hold.
        never: what leaves in no message.
    """

    messages: Mapping[str, SentMessage]
    entries: Mapping[EntryKind, Mapping[str, Words]]
    never: tuple[Words, ...]


@cache
def declarations() -> Declarations:
    """The list as it is installed."""
    table = toml_text.parse(_FILE.read_bytes())
    shared = {name: _fields(fields) for name, fields in table["fields_of"].items()}
    return Declarations(
        messages={item["kind"]: _message(item, shared) for item in table["message"]},
        entries={EntryKind(kind): _fields(fields) for kind, fields in table["entries"].items()},
        never=tuple(_words(pair) for pair in table["never"].values()),
    )


def _message(item: dict[str, Any], shared: Mapping[str, Mapping[str, Words]]) -> SentMessage:
    fields = shared[item["fields_of"]] if "fields_of" in item else _fields(item["fields"])
    if item["kind"].startswith(_TRAINING):
        fields = {**fields, **shared["every_training_reply"]}
    return SentMessage(
        kind=item["kind"],
        destination=Destination(item["destination"]),
        what=_words(item["what"]),
        purpose=_words(item["purpose"]),
        fields=fields,
        is_counted=item.get("is_counted", True),
    )


def _fields(table: Mapping[str, list[str]]) -> dict[str, Words]:
    return {name: _words(pair) for name, pair in table.items()}


def _words(pair: list[str]) -> Words:
    english, japanese = pair
    return {Locale.EN: english, Locale.JA: japanese}

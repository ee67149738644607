"""The list of what leaves, held against what the program can send."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor

from noren_client.leaving.declarations import Destination, declarations
from noren_core.ledger import entries
from noren_core.ledger.entries import COMPANY_KINDS, CompanyKey
from noren_core.rights.erasure.custody import CustodyOperation, CustodyRequest
from noren_core.rights.locales import Locale
from noren_core.wire.v1 import platform_pb2, training_pb2

OTHER_WAYS = {"Flower.connection", "Doctor.connection"}
"""What is no message of ours: the SuperNode's polling, and trial connections."""


def leaves(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """The name of every field, with a dotted name for parts of parts."""
    for field in message.fields:
        if field.message_type is None:
            yield prefix + field.name
        else:
            yield from leaves(field.message_type, f"{prefix}{field.name}.")


def requests() -> dict[str, set[str]]:
    """Every request that the company's stubs can send, with its fields."""
    return {
        f"{service.name}.{method.name}": set(leaves(method.input_type))
        for service in platform_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def training_replies() -> dict[str, set[str]]:
    """Every answer to a training message, with the fields of its envelope."""
    reply, signed = training_pb2.TrainingReply.DESCRIPTOR, training_pb2.SignedReply.DESCRIPTOR
    steps = reply.oneofs_by_name["kind"].fields
    envelope = {field.name for field in reply.fields if field not in steps}
    envelope |= {field.name for field in signed.fields} - {"reply"}
    return {f"Training.{step.name}": envelope | set(leaves(step.message_type)) for step in steps}


def custody_requests() -> dict[str, set[str]]:
    """What the custodian is asked."""
    fields = {field.name for field in dataclasses.fields(CustodyRequest)}
    return {f"Custody.{operation.value}": fields for operation in CustodyOperation}


def test_every_field_that_is_sent_is_declared_and_no_other() -> None:
    """A new call, or a new field of one, fails here until somebody says in words what it holds."""
    sent = requests() | training_replies() | custody_requests()
    declared = {
        kind: set(message.fields)
        for kind, message in declarations().messages.items()
        if kind not in OTHER_WAYS
    }
    assert declared == sent


def test_every_ledger_entry_of_a_company_is_declared_field_by_field() -> None:
    """Entries travel as one field of a message; what is in them is told as well."""
    sent = {kind: set(entries._SCHEMAS[kind]) for kind in COMPANY_KINDS}
    sent[entries.EntryKind.KEY_ROTATION] |= set(
        entries._schema(entries.EntryKind.KEY_ROTATION, {"key": CompanyKey.SIGNING})
    )
    assert {kind: set(fields) for kind, fields in declarations().entries.items()} == sent


def test_no_list_of_identifiers_is_in_any_declared_field() -> None:
    """What is repeated is blinded, sealed, masked or public."""
    repeated = {
        f"{service.name}.{method.name}:{field.name}"
        for service in platform_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        for field in method.input_type.fields
        if field.is_repeated
    }
    assert repeated == {"Platform.Evaluate:blinded"}


@pytest.mark.parametrize("locale", Locale)
def test_everything_is_told_in_both_languages(locale: Locale) -> None:
    """No empty words, and Japanese that is Japanese."""
    known = declarations()
    words = [text for m in known.messages.values() for text in (m.what, m.purpose, *m.fields.values())]
    words += [text for fields in known.entries.values() for text in fields.values()]
    words += known.never
    for text in words:
        assert text[locale].strip()
        assert text[locale].isascii() == (locale is Locale.EN)


def test_what_goes_where_follows_from_the_kind() -> None:
    """Enrolment, company service, training port and custodian each have an address of their own."""
    by_prefix = {
        "Enrolment": Destination.ENROLMENT,
        "Platform": Destination.SERVICE,
        "Rights": Destination.SERVICE,
        "Training": Destination.FLEET,
        "Flower": Destination.FLEET,
        "Custody": Destination.CUSTODIAN,
        "Doctor": Destination.SERVICE,
    }
    for kind, message in declarations().messages.items():
        assert message.destination is by_prefix[kind.partition(".")[0]]
        assert message.is_counted == (kind not in OTHER_WAYS)

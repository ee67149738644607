"""Every flow of data between the parties of Noren, declared; and what of it a policy does not say.

docs/rights/policies-and-screens.md §5. The manifest is packaged beside this file (flow_manifest.json) and a
test holds it against the messages themselves. Promises: a message or field that nobody declared is found
(FLOW_UNDECLARED); what is about one person goes from platform to company or back only with her consent; a
contract that makes one party the other's processor is no legal mode (FLOW_MODE_FORBIDDEN); a policy that says
less than the flows do is refused (POLICY_FLOW_CONTRADICTION).

A per-person value is personal data whatever its encoding: ciphertexts and tags count like names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Any

from noren_core.errors import DataError
from noren_core.rights.fields import constant, list_of, name, read_fields, text, word_of
from noren_core.rights.notices.data_categories import PER_PERSON, DataCategory, DataLevel, RecipientClass
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.purposes import Purpose, parse_purpose

SCHEMA = "noren/flow-manifest/1"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FLOWS = 256
MAX_FIELDS = 64


class FlowMode(StrEnum):
    """On which legal ground data crosses. There is no mode for matching on behalf of another party."""

    THIRD_PARTY_CONSENTED = "third_party_consented"
    STATISTICAL_POOL = "statistical_pool"
    OWN_USE = "own_use"


class FlowParty(StrEnum):
    """Who sends or receives."""

    PLATFORM = "platform"
    COMPANY = "company"
    STUDENT = "student"
    AUDITOR = "auditor"
    WITNESS = "witness"
    CUSTODIAN = "custodian"


_RECIPIENTS = {
    FlowParty.PLATFORM: RecipientClass.PLATFORM,
    FlowParty.COMPANY: RecipientClass.NAMED_COMPANY,
}


@dataclass(frozen=True, slots=True)
class Flow:
    """One kind of data that crosses from one party to another.

    Attributes:
        flow: its name.
        call: the request in which it crosses, `Service.Method` for those of protos/.
        message: the message that carries it.
        sender, receiver: the parties.
        mode: on which ground.
        purposes: those that a student must have consented to; empty if no consent is needed.
        data: what crosses.
    """

    flow: str
    call: str
    message: str
    sender: FlowParty
    receiver: FlowParty
    mode: FlowMode
    purposes: tuple[Purpose, ...]
    data: frozenset[DataCategory]

    @property
    def per_person(self) -> frozenset[DataCategory]:
        """What of it is about one person."""
        return self.data & PER_PERSON


@dataclass(frozen=True, slots=True)
class FlowManifest:
    """The declared flows, and for every field of every message what is in it."""

    flows: tuple[Flow, ...]
    messages: Mapping[str, Mapping[str, frozenset[DataCategory]]]

    def carried(self, message: str) -> frozenset[DataCategory]:
        """Everything that the fields of a message can hold."""
        return frozenset().union(*self.messages[message].values())


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One thing that a flow does and a policy does not say."""

    flow: str
    what: str


@lru_cache(maxsize=1)
def packaged_manifest() -> FlowManifest:
    """The flows of this release."""
    return parse_manifest(
        resources.files("noren_core.rights.notices").joinpath("flow_manifest.json").read_bytes()
    )


def parse_manifest(data: bytes) -> FlowManifest:
    """The manifest in `data`, JSON.

    Raises:
        DataError: for a malformed one; with code FLOW_MODE_FORBIDDEN for a mode that is none, or that does
            not
            carry what the flow holds; FLOW_UNDECLARED, if a flow's message or a field's content is not
            declared.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise DataError(f"flow manifest: expected at most {MAX_MANIFEST_BYTES} bytes, got more")
    try:
        body = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DataError("flow manifest: expected JSON without repeated names, got something else") from error
    fields = read_fields(
        body,
        {"schema": constant(SCHEMA), "messages": _messages, "flows": list_of(_flow, most=MAX_FLOWS)},
        "flows",
    )
    manifest = FlowManifest(fields["flows"], fields["messages"])
    if len({flow.flow for flow in manifest.flows}) != len(manifest.flows):
        raise DataError("flow manifest: expected every flow once, got one twice")
    _verify_carried(manifest)
    return manifest


def verify_declared(
    manifest: FlowManifest,
    *,
    messages: Mapping[str, Mapping[str, str]],
    calls: Mapping[str, tuple[str, str]],
) -> None:
    """Raise unless the manifest declares exactly these messages, and a flow for either way of every call.

    Args:
        manifest: the declared flows.
        messages: of the wire: message → field → the message that the field holds, or an empty text.
        calls: of the wire: `Service.Method` → request message and reply message, sent by the company and the
            platform.

    Raises:
        DataError: with code FLOW_UNDECLARED, naming message, field or call.
    """
    for message, fields in messages.items():
        declared = manifest.messages.get(message)
        if declared is None or declared.keys() != fields.keys():
            raise _undeclared(f"every field of {message}, and no other")
        for field, inner in fields.items():
            if inner and not manifest.carried(inner) - {DataCategory.NONE} <= declared[field]:
                raise _undeclared(f"what {inner} carries, in {message}.{field}")
    ways = {(flow.call, flow.message, flow.sender) for flow in manifest.flows}
    for call, (request, reply) in calls.items():
        if (call, request, FlowParty.COMPANY) not in ways or (call, reply, FlowParty.PLATFORM) not in ways:
            raise _undeclared(f"a flow for either way of {call}")


def contradictions(policy: PolicyVersion, manifest: FlowManifest) -> tuple[Contradiction, ...]:
    """Everything that a declared flow does beyond what the policy says; empty if the policy is true.

    For every flow that needs consents, and each purpose of it: the policy has the purpose, says that what is
    about a person is provided, and names the receiver. What crosses is in the data of one of the flow's
    purposes, person by person if it is about one.
    """
    return tuple(Contradiction(flow.flow, what) for flow in manifest.flows for what in _unsaid(policy, flow))


def verify_consistent(policy: PolicyVersion, manifest: FlowManifest) -> None:
    """Raise DataError, code POLICY_FLOW_CONTRADICTION, with the first contradiction."""
    for found in contradictions(policy, manifest):
        raise DataError(f"policy, flow {found.flow}: {found.what}", code="POLICY_FLOW_CONTRADICTION")


def _unsaid(policy: PolicyVersion, flow: Flow) -> Iterator[str]:
    terms = [policy.terms[purpose] for purpose in flow.purposes if purpose in policy.terms]
    for purpose in flow.purposes:
        if purpose not in policy.terms:
            yield f"expected the policy to have the purpose {purpose}, got none"
    for item in terms:
        if flow.per_person and not item.identifiable_provision:
            yield f"expected {item.purpose} to say that personal data is provided, got the contrary"
        if flow.receiver in _RECIPIENTS and _RECIPIENTS[flow.receiver] not in item.recipients:
            yield f"expected {item.purpose} to name {_RECIPIENTS[flow.receiver]} as recipient, got others"
    said = {(data.category, data.level) for item in terms for data in item.data}
    for category in sorted(flow.data - _NEEDS_NO_WORDS if flow.purposes else ()):
        levels = (DataLevel.INDIVIDUAL,) if category in PER_PERSON else tuple(DataLevel)
        if not any((category, level) in said for level in levels):
            yield f"expected the policy to name the data {category}, got none"


_NEEDS_NO_WORDS = frozenset({DataCategory.NONE, DataCategory.COMPANY, DataCategory.UNIFORM})


def _flow(body: object) -> Flow:
    fields = read_fields(
        body,
        {
            "flow": name,
            "call": text,
            "message": text,
            "sender": word_of(FlowParty),
            "receiver": word_of(FlowParty),
            "mode": _mode,
            "purposes": list_of(_purpose),
            "data": list_of(word_of(DataCategory)),
        },
        "flow",
    )
    flow = Flow(**{**fields, "data": frozenset(fields["data"])})
    _verify_ground(flow)
    return flow


def _verify_ground(flow: Flow) -> None:
    """The mode must carry what the flow holds.

    1. With consent: the purposes that she consents to are named.
    2. A pool: nothing in it is about one person.
    3. Own use: what is about one person goes to or from herself only.
    """
    if flow.mode is FlowMode.THIRD_PARTY_CONSENTED:  # 1
        is_carried = bool(flow.purposes)
    elif flow.mode is FlowMode.STATISTICAL_POOL:  # 2
        is_carried = not flow.per_person
    else:  # 3
        is_carried = not flow.per_person or FlowParty.STUDENT in (flow.sender, flow.receiver)
    if not is_carried:
        raise _forbidden("a mode that carries what the flow holds")


def _mode(value: object) -> FlowMode:
    if value not in tuple(FlowMode):
        raise _forbidden(f"one of {', '.join(FlowMode)}")
    return FlowMode(str(value))


def _purpose(value: object) -> Purpose:
    return parse_purpose(value, "flow.purposes")


def _messages(value: object) -> dict[str, dict[str, frozenset[DataCategory]]]:
    if not isinstance(value, dict) or len(value) > MAX_FLOWS:
        raise DataError(f"expected at most {MAX_FLOWS} messages by name, got another value")
    return {text(message): _message(fields) for message, fields in value.items()}


def _message(value: object) -> dict[str, frozenset[DataCategory]]:
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_FIELDS:
        raise DataError(f"expected 1 to {MAX_FIELDS} fields by name, got another value")
    content = list_of(word_of(DataCategory))
    return {text(field): frozenset(content(held)) for field, held in value.items()}


def _verify_carried(manifest: FlowManifest) -> None:
    """A flow holds what its message can, and what a message can hold is in a flow of it, if it has one."""
    held: dict[str, frozenset[DataCategory]] = {}
    for flow in manifest.flows:
        if flow.message not in manifest.messages or not flow.data <= manifest.carried(flow.message):
            raise _undeclared(f"fields for everything that the flow {flow.flow} holds")
        held[flow.message] = held.get(flow.message, frozenset()) | flow.data
    for message, data in held.items():
        if not manifest.carried(message) <= data:
            raise _undeclared(f"a flow for everything that {message} can hold")


def _undeclared(what: str) -> DataError:
    return DataError(f"flow manifest: expected {what}, got none", code="FLOW_UNDECLARED")


def _forbidden(what: str) -> DataError:
    return DataError(f"flow manifest: expected {what}, got another", code="FLOW_MODE_FORBIDDEN")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("repeated name")
    return dict(pairs)

"""The manifest of flows: every message is declared, on a ground that carries it; policies are held to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest

from noren_core.errors import DataError
from noren_core.ids import IdentifierKind
from noren_core.rights.consent.consent_event import (
    Action,
    Address,
    Answer,
    ConsentEvent,
    ConsentKey,
    EventKind,
    KeyRegistered,
    OfferAcknowledged,
    Screen,
    to_body,
)
from noren_core.rights.notices.flow_manifest import (
    FlowManifest,
    FlowMode,
    FlowParty,
    contradictions,
    packaged_manifest,
    parse_manifest,
    verify_consistent,
    verify_declared,
)
from noren_core.rights.notices.notice_texts import packaged_policy
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.purposes import Purpose
from noren_core.wire.v1 import platform_pb2, training_pb2

POLICY = packaged_policy(policy="policy-2027", season="2027", dpia="DPIA-2027")
MESSAGES = {
    name: {field.name: field.message_type.name if field.message_type else "" for field in message.fields}
    for module in (training_pb2, platform_pb2)
    for name, message in module.DESCRIPTOR.message_types_by_name.items()
}
CALLS = {
    f"{service}.{method.name}": (method.input_type.name, method.output_type.name)
    for service, description in platform_pb2.DESCRIPTOR.services_by_name.items()
    for method in description.methods
}
BODY = json.loads(resources.files("noren_core.rights.notices").joinpath("flow_manifest.json").read_bytes())


def manifest(change: Callable[[dict[str, Any]], object]) -> FlowManifest:
    body = copy.deepcopy(BODY)
    change(body)
    return parse_manifest(json.dumps(body).encode())


def flow(body: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [item for item in body["flows"] if item["flow"] == name]
    return found


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(DataError) as refused:
        action()
    return refused.value.code


def test_every_message_field_and_call_of_the_protos_is_declared() -> None:
    """What crosses the wire is in the manifest: every field with its content, both ways of every call."""
    verify_declared(packaged_manifest(), messages=MESSAGES, calls=CALLS)


@pytest.mark.parametrize("call", sorted(CALLS))
def test_a_call_without_a_flow_is_found(call: str) -> None:
    """Taking the flows of one call away is FLOW_UNDECLARED, for each call."""

    def forget(body: dict[str, Any]) -> None:
        body["flows"] = [item for item in body["flows"] if item["call"] != call]

    lacking = manifest(forget)
    assert code_of(lambda: verify_declared(lacking, messages=MESSAGES, calls=CALLS)) == "FLOW_UNDECLARED"


@pytest.mark.parametrize("message", sorted(MESSAGES))
def test_a_new_field_is_found(message: str) -> None:
    """A field that somebody adds to a message, and to nothing else, is FLOW_UNDECLARED."""
    grown = {**MESSAGES, message: {**MESSAGES[message], "remark": ""}}
    found = code_of(lambda: verify_declared(packaged_manifest(), messages=grown, calls=CALLS))
    assert found == "FLOW_UNDECLARED"


def test_a_new_message_and_a_message_inside_another_are_found() -> None:
    """A message that is not declared, and a field that hides one with more in it than it says."""
    grown = {**MESSAGES, "Gossip": {"about": ""}}
    inside = {**MESSAGES, "FetchTableRequest": {**MESSAGES["FetchTableRequest"], "campaign": "TablePart"}}
    for messages in (grown, inside):
        found = code_of(lambda: verify_declared(packaged_manifest(), messages=messages, calls=CALLS))  # noqa: B023
        assert found == "FLOW_UNDECLARED"


def test_what_a_student_says_is_declared_too() -> None:
    """The fields of the events that students sign, or say in a session, are those of the manifest."""
    key = ConsentKey("s1", Purpose.SCORE, "acme", "engineer", "2027", "policy-2027")
    screen = Screen("00" * 32, ())
    answer = Answer(
        screen, Action.PRESS_DEDICATED_BUTTON, prechecked=False, bundled=False, dwell_ms=1, expires_at=2
    )
    address = Address(IdentifierKind.CONSENT_CODE, "code", bytes(32))
    given = ConsentEvent(EventKind.GIVEN, key, bytes(16), 1, answer=answer, address=address)
    refused = ConsentEvent(EventKind.REFUSED, key, bytes(16), 1, via_session=True)
    events = {
        "ConsentEvent": (given, refused),
        "OfferAcknowledged": (OfferAcknowledged("s1", "acme", "engineer", "2027", 1),),
        "KeyRegistered": (KeyRegistered("s1", bytes(32), b"", False, 1),),
    }
    declared = packaged_manifest().messages
    assert {name: set(declared[name]) for name in events} == {
        name: set().union(*(to_body(event) for event in said)) for name, said in events.items()
    }


def test_outsourcing_is_no_legal_mode() -> None:
    """A flow that calls itself a processor's matching does not load."""
    mode = "outsourced_match"
    assert code_of(lambda: manifest(lambda body: flow(body, "training-row").update(mode=mode))) == (
        "FLOW_MODE_FORBIDDEN"
    )
    assert mode not in tuple(FlowMode)


@pytest.mark.parametrize("mode", ["statistical_pool", "own_use", "", None])
@pytest.mark.parametrize("name", ["training-row", "sealed-score", "revocation-list", "mirror-copy", "inbox"])
def test_what_is_about_one_person_needs_her_consent(name: str, mode: object) -> None:
    """Per-person data between platform and company has one ground only."""
    assert code_of(lambda: manifest(lambda body: flow(body, name).update(mode=mode))) == "FLOW_MODE_FORBIDDEN"


def test_a_consented_flow_names_its_purposes() -> None:
    """A consent to nothing is none."""
    assert code_of(lambda: manifest(lambda body: flow(body, "inbox").update(purposes=[]))) == (
        "FLOW_MODE_FORBIDDEN"
    )


def test_a_flow_holds_what_its_message_can_and_no_content_is_left_out() -> None:
    """Both directions: more than the fields say, and fields that no flow accounts for."""
    more = lambda body: flow(body, "inbox")["data"].append("behaviour-log")  # noqa: E731
    less = lambda body: flow(body, "sealed-score")["data"].remove("sealed-score")  # noqa: E731
    assert code_of(lambda: manifest(more)) == "FLOW_UNDECLARED"
    assert code_of(lambda: manifest(less)) == "FLOW_UNDECLARED"


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"a":1,"a":2}', b"\xff", b"[" * 100_000, b'{"schema":"noren/flow-manifest/2"}'],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    """Bad bytes are bad data, and nothing else happens."""
    assert code_of(lambda: parse_manifest(data)) == "BAD_DATA"


def test_nothing_about_a_person_reaches_auditor_witness_or_custodian() -> None:
    """The parties that need no personal data get none."""
    others = (FlowParty.AUDITOR, FlowParty.WITNESS, FlowParty.CUSTODIAN)
    assert not [
        item.flow for item in packaged_manifest().flows if item.receiver in others and item.per_person
    ]


def test_the_packaged_policy_says_what_the_flows_do() -> None:
    """Policy and software do not contradict each other."""
    assert contradictions(POLICY, packaged_manifest()) == ()
    verify_consistent(POLICY, packaged_manifest())


def _policy(change: Callable[[dict[str, Any]], object]) -> PolicyVersion:
    body = copy.deepcopy(POLICY.to_body())
    change(body)
    return PolicyVersion.from_body(body)


def _terms(body: dict[str, Any], purpose: Purpose) -> dict[str, Any]:
    [found] = [item for item in body["terms"] if item["purpose"] == purpose]
    return found


def test_a_policy_that_denies_the_provision_contradicts_the_flows() -> None:
    """The sentence of 2019: not provided identifiably, while per-person data is released."""
    for purpose in POLICY.terms:
        denied = _policy(lambda body: _terms(body, purpose).update(identifiable_provision=False))  # noqa: B023
        assert code_of(lambda: verify_consistent(denied, packaged_manifest())) == "POLICY_FLOW_CONTRADICTION"  # noqa: B023


@pytest.mark.parametrize("purpose", [Purpose.TRAIN, Purpose.SCORE])
@pytest.mark.parametrize("recipient", ["named-company", "platform"])
def test_every_recipient_must_be_named(purpose: Purpose, recipient: str) -> None:
    """A policy that leaves out one of those who receive contradicts the flows."""
    lacking = _policy(lambda body: _terms(body, purpose)["recipients"].remove(recipient))
    assert contradictions(lacking, packaged_manifest())


@pytest.mark.parametrize(
    "category", sorted(set().union(*(item.per_person for item in packaged_manifest().flows if item.purposes)))
)
def test_every_kind_of_data_about_a_person_must_be_named(category: str) -> None:
    """A policy that leaves out a kind of data that crosses contradicts the flows."""

    def forget(body: dict[str, Any]) -> None:
        for terms in body["terms"]:
            terms["data"] = [item for item in terms["data"] if item["category"] != category]

    assert contradictions(_policy(forget), packaged_manifest())


def test_a_purpose_that_the_policy_lacks_contradicts_the_flows() -> None:
    """Software that trains, under a policy that does not mention training."""

    def without_training(body: dict[str, Any]) -> None:
        body["terms"] = [item for item in body["terms"] if item["purpose"] != Purpose.TRAIN]
        body["routes"] = [item for item in body["routes"] if Purpose.TRAIN not in item["purposes"]]
        for clauses in body["clauses"].values():
            clauses["C10"] = clauses["C10"].replace("{train_retention_days}", "180")

    assert code_of(lambda: verify_consistent(_policy(without_training), packaged_manifest())) == (
        "POLICY_FLOW_CONTRADICTION"
    )


def test_data_that_is_said_in_sums_only_may_not_cross_person_by_person() -> None:
    """Aggregate in the policy, individual on the wire: a contradiction."""

    def sums_only(body: dict[str, Any]) -> None:
        for item in _terms(body, Purpose.SCORE)["data"]:
            item["level"] = "aggregate"

    found = contradictions(_policy(sums_only), packaged_manifest())
    assert {item.flow for item in found} >= {"sealed-score", "mirror-copy"}

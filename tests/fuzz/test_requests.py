"""Whatever a company sends to the platform's services ends in an answer or a known refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import hostile_input as shapes
import pytest
import system_platform
from fuzzing import try_out
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from system_platform import ATTACKER, CAMPAIGN, RunningPlatform, running_platform

from noren_client import keystore
from noren_client.enrolment import INVITATION_FORMAT
from noren_core import canonical_json
from noren_core.crypto import oprf
from noren_core.crypto.head_encryption import encrypt_head
from noren_core.crypto.identity import SealingKey
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.rights.gate.decision_batch import evaluation_sha256
from noren_core.season.head_message import commitment_body, head_binding
from noren_core.season.participation import COLLECT_LABEL
from noren_core.wire.refusal import METADATA_KEY, Refusal
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services

STRATEGIES = ("arbitrary", "mutated", "structured")
METHODS = [method for service in wire.DESCRIPTOR.services_by_name.values() for method in service.methods]
EXAMPLES = {"SubmitHead": 15, "Evaluate": 30}
DEFAULT_EXAMPLES = 40
CALL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Service:
    """The running platform and a company's connections to it."""

    platform: RunningPlatform
    channels: dict[str, grpc.Channel]

    def call(self, method: MethodDescriptor, request: Message) -> Refusal | None:
        """None for an answer, or the code of the refusal."""
        self.platform.platform.enrolment._wrong_codes._times.clear()  # ten wrong codes would close the door
        channel = self.channels[method.containing_service.name]
        stub = getattr(services, f"{method.containing_service.name}Stub")(channel)
        try:
            given = iter([request]) if method.client_streaming else request
            answer = getattr(stub, method.name)(given, timeout=CALL_SECONDS)
            list(answer) if method.server_streaming else None
        except grpc.RpcError as error:
            return Refusal(dict(error.trailing_metadata())[METADATA_KEY])
        return None


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_platform() as platform:
        addresses = platform.platform.config.addresses
        authority = platform.platform.authority.certificate_pem
        keys = platform.company(ATTACKER) / "keys"
        known = grpc.ssl_channel_credentials(
            authority, (keys / "tls.key").read_bytes(), (keys / "tls.pem").read_bytes()
        )
        channels = {
            "Enrolment": grpc.secure_channel(addresses.enrolment, grpc.ssl_channel_credentials(authority)),
            "Platform": grpc.secure_channel(addresses.service, known),
            "Rights": grpc.secure_channel(addresses.service, known),
        }
        yield Service(platform, channels)
        for channel in channels.values():
            channel.close()


def valid_request(method: str, platform: RunningPlatform) -> Message:
    """A request that an honest company would send."""
    keys, plan = keystore.load(platform.company(ATTACKER)), system_platform.plan()
    match method:
        case "Request":
            return _enrolment_request(platform)
        case "Collect":
            signature = keys.signing.sign(COLLECT_LABEL, keys.signing.public_key)
            return wire.CollectRequest(signing_key=keys.signing.public_key, signature=signature)
        case "GetProof":
            return wire.GetProofRequest(campaign=CAMPAIGN, known_tree_size=3)
        case "Append":
            body = {"campaign": CAMPAIGN, "company": ATTACKER, "plan_sha256": plan.digest().hex()}
            entry = sign_entry(EntryKind.PLAN_ACCEPTANCE, ATTACKER, body, keys.signing)
            return wire.AppendRequest(entry=entry, known_tree_size=3)
        case "Evaluate":
            blinding = oprf.blind([bytes([number]) for number in range(system_platform.BATCH)])
            batch = platform.seal(plan, evaluation_sha256(blinding.blinded_elements))
            return wire.EvaluateRequest(
                campaign=CAMPAIGN,
                blinded=blinding.blinded_elements,
                kind="score",
                decision_batch=batch,
                known_tree_size=3,
            )
        case "FetchTable":
            return wire.FetchTableRequest(campaign=CAMPAIGN, kind="train", first_chunk=0)
        case "FetchRevocations":
            return wire.FetchRevocationsRequest(campaign=CAMPAIGN, kind="train")
        case "SubmitHead":
            heads = [[1] * system_platform.DIMENSIONS]
            binding = head_binding(plan, ATTACKER)
            _, message = encrypt_head(heads, weight_bits=plan.scoring.weight_bits, binding=binding)
            body = commitment_body(plan, ATTACKER, message)
            entry = sign_entry(EntryKind.HEAD_COMMITMENT, ATTACKER, body, keys.signing)
            return wire.SubmitHeadRequest(
                campaign=CAMPAIGN, head=message, commitment_entry=entry, known_tree_size=3
            )
        case "CommitRows":
            return wire.CommitRowsRequest(campaign=CAMPAIGN, known_tree_size=3)
        case "SubmitWeights":
            return wire.WeightsPart(campaign=CAMPAIGN, known_tree_size=3)
        case "RotateKey":
            old, new = keys.sealing.public_key.hex(), SealingKey.generate().public_key.hex()
            body = {"company": ATTACKER, "key": "sealing", "old": old, "new": new}
            entry = sign_entry(EntryKind.KEY_ROTATION, ATTACKER, body, keys.signing)
            return wire.RotateKeyRequest(entry=entry, known_tree_size=3)
        case "DepositCopy":
            return wire.DepositCopyRequest(campaign=CAMPAIGN, mailbox=bytes(16), sealed_copy=bytes(4096))
        case "FetchInbox":
            return wire.FetchInboxRequest(campaign=CAMPAIGN)
        case "FetchOrders":
            return wire.FetchOrdersRequest(campaign=CAMPAIGN, known_tree_size=3)
        case "DeliverCertificate":
            certificate = canonical_json.encode({"format": "noren/v1/deletion-certificate"})
            said = hashlib.sha256(certificate).hexdigest()
            body = {"campaign": CAMPAIGN, "company": ATTACKER, "order": 3, "certificate_sha256": said}
            entry = sign_entry(EntryKind.DELETION_CERTIFICATE, ATTACKER, body, keys.signing)
            return wire.DeliverCertificateRequest(
                campaign=CAMPAIGN, certificate=certificate, entry=entry, known_tree_size=3
            )
    raise LookupError(f"no valid request for {method}")


def _enrolment_request(platform: RunningPlatform) -> Message:
    """Another company's, with a fresh invitation's code."""
    invitation = canonical_json.parse_object(platform.platform.enrolment.invite("delta").content)
    assert invitation["format"] == INVITATION_FORMAT
    with platform.platform.store.transaction() as transaction:
        known = transaction.company(ATTACKER)
    assert known is not None
    return wire.EnrolmentRequest(
        code=invitation["code"],
        enrolment_entry=known.enrolment_entry,
        agreement_entry=known.agreement_entry,
        tls_request=known.tls_request,
        node_key=known.node_key,
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_hostile_request_is_answered_or_refused(
    method: MethodDescriptor, strategy: str, service: Service
) -> None:
    """Every request gets an answer or a refusal with a code; none makes the platform fail inside."""
    valid = valid_request(method.name, service.platform)
    hostile = getattr(shapes.ProtobufMessage(type(valid)), strategy)([valid])

    def send(request: Any) -> None:
        assert service.call(method, request) is not Refusal.INTERNAL

    try_out(send, EXAMPLES.get(method.name, DEFAULT_EXAMPLES), request=hostile)


def test_bytes_that_are_no_message_are_refused(service: Service) -> None:
    """gRPC itself refuses them, and the service goes on."""
    raw = service.channels["Platform"].unary_unary("/noren_core.wire.v1.Platform/GetProof")
    with pytest.raises(grpc.RpcError) as caught:
        raw(b"\xff\xff\xff", timeout=CALL_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    [get_proof] = [method for method in METHODS if method.name == "GetProof"]
    assert service.call(get_proof, valid_request("GetProof", service.platform)) is None

"""The company's calls to the platform: gRPC over mutual TLS, pinned to the invitation's authority.

Promises: every call has a deadline; only what is safe to repeat is repeated; what comes back as an error is a
stable code with our own sentence for it, since text from the wire is shown to nobody. What a reply claims is
not believed here: proofs, tables and evaluations are verified by those who ask for them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar, cast

import grpc

from noren_client import config, keystore, outbound
from noren_client.leaving.counted_channel import counted
from noren_client.outbound import NetworkSettings
from noren_core.errors import BudgetExceededError, NorenError, RemoteProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.proofs import LedgerProof
from noren_core.season import messages
from noren_core.wire.refusal import METADATA_KEY, VERSION_KEY, Refusal
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services
from noren_core.wire.v1 import training_pb2

CALL_SECONDS = 30.0
EVALUATE_SECONDS = 300.0
TABLE_SECONDS = 1800.0
WEIGHTS_SECONDS = 1800.0
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.25
MAX_MESSAGE_BYTES = 4 << 20

R = TypeVar("R")

_NO_CAMPAIGN = "version"  # asked about by who wants to know no campaign
_VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}\Z", re.ASCII)


class PlatformUnavailableError(NorenError):
    """The platform did not answer: not reachable, not in time, or not a party that we trust."""

    code = "PLATFORM_UNAVAILABLE"
    exit_code = RemoteProtocolError.exit_code


@dataclass(frozen=True, slots=True)
class TablePart:
    """A chunk of a sealed table as it came, and the hashes of all chunks in a stream's first part."""

    index: int
    chunk: bytes
    chunk_hashes: tuple[bytes, ...]


class PlatformClient:
    """The company service, as this company; use as a context manager."""

    def __init__(self, company_dir: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Prepare a connection; ConfigurationError if keys or certificate are missing or out of date."""
        self._sleep = sleep
        self._channel = company_channel(company_dir)
        self._stub = services.PlatformStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def get_proof(self, campaign: str, *, known_tree_size: int) -> LedgerProof:
        """The campaign's entries that concern us, proven from `known_tree_size` on.

        A platform that says it has fewer entries than that is asked for what it has: the smaller
        checkpoint, signed, is the evidence.
        """
        request = wire.GetProofRequest(campaign=campaign, known_tree_size=known_tree_size)
        try:
            return self._proof(lambda: self._stub.GetProof(request, timeout=CALL_SECONDS))
        except RemoteProtocolError as error:
            if error.code != Refusal.UNKNOWN_TREE_SIZE:
                raise
        smaller = wire.GetProofRequest(campaign=campaign, known_tree_size=0)
        return self._proof(lambda: self._stub.GetProof(smaller, timeout=CALL_SECONDS))

    def append(self, entry: bytes, *, known_tree_size: int) -> LedgerProof:
        """Append our own entry; repeating it adds nothing."""
        request = wire.AppendRequest(entry=entry, known_tree_size=known_tree_size)
        return self._proof(lambda: self._stub.Append(request, timeout=CALL_SECONDS))

    def evaluate(self, campaign: str, blinded: Sequence[bytes]) -> tuple[tuple[bytes, ...], bytes]:
        """Evaluate one batch for training; repeating the same one is answered again and counts once."""
        request = wire.EvaluateRequest(campaign=campaign, blinded=blinded, kind=TableKind.TRAIN.value)
        reply = self._evaluated(request)
        return tuple(reply.evaluated), reply.proof

    def evaluate_decisions(
        self, campaign: str, blinded: Sequence[bytes], *, decision_batch: int, known_tree_size: int
    ) -> tuple[tuple[bytes, ...], bytes, LedgerProof]:
        """Evaluate for scoring what a decision batch in the ledger commits to; repeating it changes nothing.

        Args:
            campaign: an accepted campaign.
            blinded: the very elements that the entry commits to.
            decision_batch: index of the entry.
            known_tree_size: what the proof begins at.

        Returns:
            The evaluated elements, their proof, and the proof that the ledger has the opening of the gate.
        """
        request = wire.EvaluateRequest(
            campaign=campaign,
            blinded=blinded,
            kind=TableKind.SCORE.value,
            decision_batch=decision_batch,
            known_tree_size=known_tree_size,
        )
        reply = self._evaluated(request)
        return tuple(reply.evaluated), reply.proof, messages.proof_from_wire(reply.gate)

    def fetch_table(self, campaign: str, kind: TableKind, *, first_chunk: int) -> Iterator[TablePart]:
        """The parts of our table from a chunk on; an error ends the stream, the caller resumes it."""
        request = wire.FetchTableRequest(campaign=campaign, kind=kind.value, first_chunk=first_chunk)
        stream = self._stub.FetchTable(request, timeout=TABLE_SECONDS)
        try:
            while (part := called(lambda: next(stream, None))) is not None:
                yield TablePart(part.index, part.chunk, tuple(part.chunk_hashes))
        finally:
            stream.cancel()

    def fetch_revocations(self, campaign: str, kind: TableKind) -> tuple[bytes, bytes]:
        """The revocation list of our newest table of this kind, and the signature over it."""
        request = wire.FetchRevocationsRequest(campaign=campaign, kind=kind.value)
        call = self._stub.FetchRevocations
        reply = repeated(lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep)
        return reply.revocations, reply.signature

    def submit_head(
        self, campaign: str, head: bytes, commitment_entry: bytes, *, known_tree_size: int
    ) -> LedgerProof:
        """Submit our encrypted head; repeating the same one adds nothing."""
        request = wire.SubmitHeadRequest(
            campaign=campaign,
            head=head,
            commitment_entry=commitment_entry,
            known_tree_size=known_tree_size,
        )
        return self._proof(lambda: self._stub.SubmitHead(request, timeout=CALL_SECONDS))

    def commit_rows(self, campaign: str, *, known_tree_size: int) -> LedgerProof:
        """Have the platform commit to the rows that our sums will be made of; repeating it adds nothing."""
        request = wire.CommitRowsRequest(campaign=campaign, known_tree_size=known_tree_size)
        return self._proof(lambda: self._stub.CommitRows(request, timeout=EVALUATE_SECONDS))

    def submit_weights(
        self, campaign: str, message: Callable[[], Iterator[tuple[bytes, bytes]]], *, known_tree_size: int
    ) -> tuple[bytes, LedgerProof]:
        """Submit our encrypted weights; repeating the same ones is answered again.

        Args:
            campaign: an accepted campaign.
            message: called for every attempt: (part, nothing) for each part, then (nothing, entry).
            known_tree_size: what the proof begins at.

        Returns:
            The encrypted sums and the proof of the entries about them.
        """

        def stream() -> Iterator[wire.WeightsPart]:
            yield wire.WeightsPart(campaign=campaign, known_tree_size=known_tree_size)
            for part, entry in message():
                yield wire.WeightsPart(part=part, commitment_entry=entry)

        call = self._stub.SubmitWeights
        reply = repeated(lambda: called(lambda: call(stream(), timeout=WEIGHTS_SECONDS)), sleep=self._sleep)
        return reply.answer, messages.proof_from_wire(reply.proof)

    def rotate_key(
        self, entry: bytes, *, tls_request: bytes, node_key: bytes, known_tree_size: int
    ) -> tuple[LedgerProof, bytes]:
        """Replace one of our keys: proof, and chain for a TLS key; repeating it adds nothing."""
        request = wire.RotateKeyRequest(
            entry=entry, tls_request=tls_request, node_key=node_key, known_tree_size=known_tree_size
        )
        call = self._stub.RotateKey
        reply = repeated(lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep)
        return messages.proof_from_wire(reply.proof), reply.certificate

    def _evaluated(self, request: wire.EvaluateRequest) -> wire.EvaluateReply:
        call = self._stub.Evaluate
        return repeated(lambda: called(lambda: call(request, timeout=EVALUATE_SECONDS)), sleep=self._sleep)

    def _proof(self, call: Callable[[], training_pb2.LedgerProof]) -> LedgerProof:
        return messages.proof_from_wire(repeated(lambda: called(call), sleep=self._sleep))


class EnrolmentClient:
    """The enrolment service, before there is a certificate; use as a context manager."""

    def __init__(self, company_dir: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        authority = keystore.authority_path(company_dir).read_bytes()
        self._sleep = sleep
        settings = config.load(company_dir)
        plain = _channel(
            settings.addresses.enrolment, grpc.ssl_channel_credentials(authority), settings.network
        )
        self._channel = counted(plain, company_dir)
        self._stub = services.EnrolmentStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def request(
        self,
        *,
        code: str,
        enrolment_entry: bytes,
        agreement_entry: bytes,
        tls_request: bytes,
        node_key: bytes,
    ) -> str:
        """Ask to enrol; the fingerprint that the platform saw."""
        request = wire.EnrolmentRequest(
            code=code,
            enrolment_entry=enrolment_entry,
            agreement_entry=agreement_entry,
            tls_request=tls_request,
            node_key=node_key,
        )
        call = self._stub.Request
        return repeated(
            lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep
        ).fingerprint

    def collect(self, signing_key: bytes, signature: bytes) -> tuple[bytes, LedgerProof] | None:
        """The certificate chain and the first proof, or None as long as nobody approved."""
        request = wire.CollectRequest(signing_key=signing_key, signature=signature)
        call = self._stub.Collect
        reply = repeated(lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep)
        if not reply.approved:
            return None
        return reply.certificate, messages.proof_from_wire(reply.proof)


def repeated(call: Callable[[], R], *, sleep: Callable[[float], None]) -> R:
    """The result of a call that is safe to repeat, tried again while the platform is not available."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except PlatformUnavailableError:
            sleep(FIRST_PAUSE_SECONDS * 2**attempt)
    return call()


def called(call: Callable[[], R]) -> R:
    """The result of one call; a NorenError with a stable code for whatever went wrong."""
    try:
        return call()
    except grpc.RpcError as error:
        raise _error(error) from None  # gRPC's own text may quote what the other side sent


def platform_version(company_dir: Path) -> str:
    """The release that the platform says it is of, such as 0.1.0; empty if it does not say.

    Raises:
        PlatformUnavailableError: if it does not answer.
        ConfigurationError: as `company_channel`.
    """
    request = wire.GetProofRequest(campaign=_NO_CAMPAIGN, known_tree_size=0)
    with company_channel(company_dir) as channel:
        try:
            _, answered = services.PlatformStub(channel).GetProof.with_call(request, timeout=CALL_SECONDS)
            trailing = answered.trailing_metadata()
        except grpc.RpcError as error:
            failure = _error(error)
            if isinstance(failure, PlatformUnavailableError):
                raise failure from None
            trailing = cast("grpc.Call", error).trailing_metadata()
    said = {key: value for key, value in trailing or () if key == VERSION_KEY}
    version = str(said.get(VERSION_KEY, ""))
    return version if _VERSION.match(version) else ""


def _error(error: grpc.RpcError) -> NorenError:
    call = cast("grpc.Call", error)  # every error that the synchronous API raises is also its call
    refusal, status = _refusal(call), call.code()
    if refusal is Refusal.EVALUATION_LIMIT:
        return BudgetExceededError(refusal.sentence, code=refusal)
    if refusal is not None:
        return RemoteProtocolError(refusal.sentence, code=refusal)
    if status in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}:
        return PlatformUnavailableError(
            "expected an answer of the platform, got none (address, network or certificate)"
        )
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return PlatformUnavailableError("expected a place in the platform's queue, got none", code="BUSY")
    return RemoteProtocolError("expected an answer of the protocol, got another failure")


def _refusal(call: grpc.Call) -> Refusal | None:
    """The code in the trailing metadata, if it is one that we know."""
    for key, value in call.trailing_metadata() or ():
        if key == METADATA_KEY and value in set(Refusal):
            return Refusal(value)
    return None


def company_channel(company_dir: Path) -> grpc.Channel:
    """A channel to the company service, as this company.

    Raises:
        ConfigurationError: if keys or certificate are missing or out of date.
    """
    identity = keystore.load_tls(company_dir, now=datetime.now(UTC))
    credentials = grpc.ssl_channel_credentials(
        identity.authority, private_key=identity.key, certificate_chain=identity.certificate
    )
    settings = config.load(company_dir)
    channel = _channel(settings.addresses.service, credentials, settings.network)
    return counted(channel, company_dir)


def _channel(address: str, credentials: grpc.ChannelCredentials, network: NetworkSettings) -> grpc.Channel:
    return grpc.secure_channel(
        address,
        credentials,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.enable_retries", 0),  # what may be repeated is decided here
            *outbound.channel_options(network, address),
        ],
    )

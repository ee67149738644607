"""The two gRPC services that companies reach: enrolment over TLS, everything else over mutual TLS.

The caller of the second is the company whose certificate the connection presents, and no field of a request
can say otherwise. Every refusal is a stable code and a constant sentence (noren_core.wire.refusal); what a
company may not tell apart has one code. Requests are bounded in size, calls in number. gRPC's vocabulary
stays in this file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc

from noren_core.errors import RemoteProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import CompanyKey, EntryKind, ServiceScope, SignedEntry, parse_entry
from noren_core.season import messages
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services
from noren_core.wire.v1 import training_pb2
from noren_server.alignment import evaluate_batch
from noren_server.certificates import ServerTls
from noren_server.company_keys import KeyChange, KeyDesk
from noren_server.enrolment import CompanyRequest, EnrolmentDesk
from noren_server.gate import Gate
from noren_server.grpc_calls import Callers, answered, refused
from noren_server.grpc_rights import RightsParts, RightsServicer
from noren_server.ledger_service import LedgerService
from noren_server.revocation import Revocations
from noren_server.sealed_scoring import SealedScoring
from noren_server.sealed_statistics import SealedStatistics
from noren_server.store import CampaignState, Company, Store, StoredTable
from noren_server.tables import TablePublisher
from noren_server.traffic_meter import TrafficMeter

MAX_ENROLMENT_BYTES = 64 << 10
MAX_REQUEST_BYTES = 4 << 20
MAX_ANSWER_BYTES = 4 << 20
WORKERS = 8
MAX_CALLS = 64
MAX_CODE_LENGTH = 200
WEIGHTS_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class PlatformParts:
    """What the company service works with."""

    store: Store
    gate: Gate
    ledger: LedgerService
    publisher: TablePublisher
    scoring: SealedScoring
    statistics: SealedStatistics
    revocations: Revocations
    keys: KeyDesk


class RunningService:
    """Both servers, started; `stop` ends them and the score table that is being built."""

    def __init__(
        self,
        servers: Sequence[grpc.Server],
        scoring: SealedScoring,
        *,
        enrolment_port: int,
        service_port: int,
    ) -> None:
        self._servers = servers
        self._scoring = scoring
        self.enrolment_port = enrolment_port
        self.service_port = service_port

    def wait(self) -> None:
        """Return when the servers were stopped."""
        for server in self._servers:
            server.wait_for_termination()

    def stop(self, *, grace_seconds: float = 2.0) -> None:
        """Refuse new calls, give running ones some time, then end."""
        for stopping in [server.stop(grace_seconds) for server in self._servers]:
            stopping.wait()
        self._scoring.close()


def serve(
    desk: EnrolmentDesk,
    parts: PlatformParts,
    tls: ServerTls,
    *,
    rights: RightsParts,
    enrolment_address: str,
    service_address: str,
    clock: Callable[[], datetime],
    meter: TrafficMeter | None = None,
) -> RunningService:
    """Start both services; port 0 takes a free one. Score tables that are missing are begun.

    Raises:
        RuntimeError: if an address is taken.
    """
    enrolment_server = _new_server("enrolment", MAX_ENROLMENT_BYTES)
    services.add_EnrolmentServicer_to_server(EnrolmentServicer(desk), enrolment_server)
    metering: list[grpc.ServerInterceptor] = [] if meter is None else [MeteringInterceptor(meter)]
    company_server = _new_server("company", MAX_REQUEST_BYTES, metering)
    services.add_PlatformServicer_to_server(PlatformServicer(parts, clock), company_server)
    services.add_RightsServicer_to_server(RightsServicer(rights, clock), company_server)
    pair = [(tls.key, tls.certificate)]
    open_credentials = grpc.ssl_server_credentials(pair)
    mutual_credentials = grpc.ssl_server_credentials(
        pair, root_certificates=tls.authority, require_client_auth=True
    )
    enrolment_port = enrolment_server.add_secure_port(enrolment_address, open_credentials)
    service_port = company_server.add_secure_port(service_address, mutual_credentials)
    parts.scoring.resume()
    enrolment_server.start()
    company_server.start()
    return RunningService(
        [enrolment_server, company_server],
        parts.scoring,
        enrolment_port=enrolment_port,
        service_port=service_port,
    )


class EnrolmentServicer(services.EnrolmentServicer):
    """Enrolment: the one-time code, later the applicant's own key, is the credential."""

    def __init__(self, desk: EnrolmentDesk) -> None:
        self._desk = desk

    def Request(  # noqa: N802 (the name in the .proto)
        self, request: wire.EnrolmentRequest, context: grpc.ServicerContext
    ) -> wire.EnrolmentReply:
        """Take a request to enrol."""
        return answered(context, lambda: self._request(request, context.peer()))

    def Collect(  # noqa: N802
        self, request: wire.CollectRequest, context: grpc.ServicerContext
    ) -> wire.CollectReply:
        """Hand out the certificate once the operator approved."""
        return answered(context, lambda: self._collect(request))

    def _request(self, request: wire.EnrolmentRequest, peer: str) -> wire.EnrolmentReply:
        if len(request.code) > MAX_CODE_LENGTH:
            raise RemoteProtocolError(Refusal.INVITATION_UNKNOWN.sentence, code=Refusal.INVITATION_UNKNOWN)
        said = self._desk.request(
            request.code,
            CompanyRequest(
                enrolment_entry=request.enrolment_entry,
                agreement_entry=request.agreement_entry,
                tls_request=request.tls_request,
                node_key=request.node_key,
            ),
            address=peer.rpartition(":")[0],
        )
        return wire.EnrolmentReply(fingerprint=said)

    def _collect(self, request: wire.CollectRequest) -> wire.CollectReply:
        certified = self._desk.collect(request.signing_key, request.signature)
        if certified is None:
            return wire.CollectReply(approved=False)
        return wire.CollectReply(
            approved=True,
            certificate=certified.certificate,
            proof=messages.proof_to_wire(certified.proof),
        )


class PlatformServicer(services.PlatformServicer):
    """What an enrolled company asks, once for each method of the .proto."""

    def __init__(self, parts: PlatformParts, clock: Callable[[], datetime]) -> None:
        self._store = parts.store
        self._gate = parts.gate
        self._ledger = parts.ledger
        self._publisher = parts.publisher
        self._scoring = parts.scoring
        self._statistics = parts.statistics
        self._revocations = parts.revocations
        self._keys = parts.keys
        self._callers = Callers(parts.store, clock)

    def GetProof(  # noqa: N802
        self, request: wire.GetProofRequest, context: grpc.ServicerContext
    ) -> training_pb2.LedgerProof:
        """Prove the entries of a campaign that concern the caller."""
        return answered(context, lambda: self._get_proof(request, self._callers.of(context)))

    def Append(  # noqa: N802
        self, request: wire.AppendRequest, context: grpc.ServicerContext
    ) -> training_pb2.LedgerProof:
        """Append the caller's own entry."""
        return answered(context, lambda: self._append(request, self._callers.of(context)))

    def Evaluate(  # noqa: N802
        self, request: wire.EvaluateRequest, context: grpc.ServicerContext
    ) -> wire.EvaluateReply:
        """Evaluate one batch of blinded elements."""
        return answered(context, lambda: self._evaluate(request, self._callers.of(context)))

    def FetchTable(  # noqa: N802
        self, request: wire.FetchTableRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.TablePart]:
        """Stream a sealed table from any chunk on."""
        parts = answered(context, lambda: self._table_parts(request, self._callers.of(context)))
        while (part := answered(context, lambda: next(parts, None))) is not None:
            yield part

    def FetchRevocations(  # noqa: N802
        self, request: wire.FetchRevocationsRequest, context: grpc.ServicerContext
    ) -> wire.FetchRevocationsReply:
        """The rows of a sealed table that may not be used any more."""
        return answered(context, lambda: self._fetch_revocations(request, self._callers.of(context)))

    def SubmitHead(  # noqa: N802
        self, request: wire.SubmitHeadRequest, context: grpc.ServicerContext
    ) -> training_pb2.LedgerProof:
        """Take the caller's encrypted head."""
        return answered(context, lambda: self._submit_head(request, self._callers.of(context)))

    def CommitRows(  # noqa: N802
        self, request: wire.CommitRowsRequest, context: grpc.ServicerContext
    ) -> training_pb2.LedgerProof:
        """Commit to the rows that the caller's sums will be made of."""
        return answered(context, lambda: self._commit_rows(request, self._callers.of(context)))

    def SubmitWeights(  # noqa: N802
        self, request_iterator: Iterator[wire.WeightsPart], context: grpc.ServicerContext
    ) -> wire.SealedSums:
        """Take the caller's encrypted weights and answer with the sums under them."""
        overdue = threading.Timer(WEIGHTS_SECONDS, context.cancel)
        overdue.daemon = True
        overdue.start()
        try:
            return answered(
                context, lambda: self._submit_weights(request_iterator, self._callers.of(context))
            )
        finally:
            overdue.cancel()

    def RotateKey(  # noqa: N802
        self, request: wire.RotateKeyRequest, context: grpc.ServicerContext
    ) -> wire.RotateKeyReply:
        """Replace one of the caller's keys."""
        return answered(context, lambda: self._rotate_key(request, self._callers.of(context)))

    def _plan(self, campaign: str, caller: Company) -> CampaignPlan:
        """The open campaign's plan, if the caller is of its cohort; otherwise as if there were none."""
        with self._store.transaction() as transaction:
            known = transaction.campaign(campaign)
        if known is None or known.state is not CampaignState.OPEN or caller.name not in known.plan.companies:
            raise refused(Refusal.NOT_AVAILABLE)
        return known.plan

    def _accepted_plan(self, campaign: str, caller: Company) -> CampaignPlan:
        plan = self._plan(campaign, caller)
        if not self._entries(EntryKind.PLAN_ACCEPTANCE, campaign, caller.name):
            raise refused(Refusal.NOT_ACCEPTED)
        return plan

    def _get_proof(self, request: wire.GetProofRequest, caller: Company) -> training_pb2.LedgerProof:
        plan = self._plan(request.campaign, caller)
        of_cohort = [
            *self._entries(EntryKind.PLAN, plan.campaign),
            *self._entries(EntryKind.PLAN_ACCEPTANCE, plan.campaign),
            *(i for member in plan.companies for i in self._key_entries(member)),
        ]
        own_kinds = (
            EntryKind.OPRF_KEY,
            EntryKind.CONSENT_EPOCH,
            EntryKind.TABLE,
            EntryKind.STATISTICS_ROWS,
            EntryKind.WEIGHTS_COMMITMENT,
            EntryKind.STATISTICS_ANSWER,
            EntryKind.HEAD_COMMITMENT,
            EntryKind.DECISION_BATCH,
            EntryKind.GATE_OPENED,
            EntryKind.MIRROR_DEPOSIT,
            EntryKind.ERASURE_ORDER,
            EntryKind.DELETION_CERTIFICATE,
        )
        own = [i for kind in own_kinds for i in self._entries(kind, plan.campaign, caller.name)]
        own += self._entries(EntryKind.INTENT, company=caller.name)[-1:]  # its newest of any campaign
        of_service = [
            *self._entries(EntryKind.COVERAGE, plan.campaign),
            *self._entries(EntryKind.POLICY),
            *self._service_states(plan.campaign, caller.name),
        ]
        return self._prove(request.known_tree_size, sorted({*of_cohort, *own, *of_service}))

    def _service_states(self, campaign: str, company: str) -> list[int]:
        """What was said of the whole service, of this campaign and of this company."""
        concerned = {
            (ServiceScope.GLOBAL, ""),
            (ServiceScope.CAMPAIGN, campaign),
            (ServiceScope.COMPANY, company),
        }
        said = self._ledger.store.entries(kind=EntryKind.SERVICE_STATE)
        return [
            item.index for item in said if (item.entry.body["scope"], item.entry.body["name"]) in concerned
        ]

    def _key_entries(self, company: str) -> list[int]:
        """What tells a peer which of the company's keys count: enrolment, changes that concern peers, end."""
        rotations = self._ledger.store.entries(kind=EntryKind.KEY_ROTATION, company=company)
        for_peers = (CompanyKey.SIGNING, CompanyKey.SEALING)
        return [
            *self._entries(EntryKind.ENROLMENT, company=company),
            *(stored.index for stored in rotations if stored.entry.body["key"] in for_peers),
            *self._entries(EntryKind.REVOCATION, company=company),
        ]

    def _append(self, request: wire.AppendRequest, caller: Company) -> training_pb2.LedgerProof:
        """Append a plan acceptance (once per company and campaign), a decision batch or a mirror deposit."""
        entry = self._own_entry(request.entry, caller)
        append = {
            EntryKind.PLAN_ACCEPTANCE: self._append_acceptance,
            EntryKind.DECISION_BATCH: self._append_decision_batch,
            EntryKind.MIRROR_DEPOSIT: self._append_mirror_deposit,
        }.get(entry.kind)
        if append is None:
            raise refused(Refusal.PROTOCOL_VIOLATION)
        self._check_tree_size(request.known_tree_size)
        return self._prove(request.known_tree_size, append(entry, caller))

    def _append_acceptance(self, entry: SignedEntry, caller: Company) -> list[int]:
        plan = self._plan(entry.body["campaign"], caller)
        if entry.body["plan_sha256"] != plan.digest().hex():
            raise refused(Refusal.PLAN_MISMATCH)
        with self._store.transaction():  # no two acceptances at once
            known = self._entries(EntryKind.PLAN_ACCEPTANCE, plan.campaign, caller.name)
            if known:
                return known
            self._gate.require_running(plan, caller.name)  # nobody joins what is coming to its end
            return [self._ledger.append_company_entry(entry)]

    def _append_decision_batch(self, entry: SignedEntry, caller: Company) -> list[int]:
        plan = self._accepted_plan(entry.body["campaign"], caller)
        return [self._gate.accept_batch(plan, entry)]

    def _append_mirror_deposit(self, entry: SignedEntry, caller: Company) -> list[int]:
        plan = self._accepted_plan(entry.body["campaign"], caller)
        return [self._gate.accept_mirror_deposit(plan, entry)]

    def _evaluate(self, request: wire.EvaluateRequest, caller: Company) -> wire.EvaluateReply:
        if request.kind not in set(TableKind):
            raise refused(Refusal.NOT_AVAILABLE)
        plan = self._accepted_plan(request.campaign, caller)
        if request.kind == TableKind.SCORE:
            return self._evaluate_for_scoring(plan, request, caller)
        if request.decision_batch or request.known_tree_size:
            raise refused(Refusal.PROTOCOL_VIOLATION)
        self._gate.require_running(plan, caller.name)
        evaluated, proof = evaluate_batch(self._store, plan, caller.name, TableKind.TRAIN, request.blinded)
        return wire.EvaluateReply(evaluated=evaluated, proof=proof)

    def _evaluate_for_scoring(
        self, plan: CampaignPlan, request: wire.EvaluateRequest, caller: Company
    ) -> wire.EvaluateReply:
        self._check_tree_size(request.known_tree_size)
        answer = self._gate.evaluate(
            plan, caller.name, decision_batch=request.decision_batch, blinded=request.blinded
        )
        self._scoring.gate_opened(plan, caller.name)
        allowed_by = [answer.decision_batch, answer.gate_opened]
        return wire.EvaluateReply(
            evaluated=answer.evaluated,
            proof=answer.proof,
            gate=self._prove(request.known_tree_size, allowed_by),
        )

    def _table_parts(self, request: wire.FetchTableRequest, caller: Company) -> Iterator[wire.TablePart]:
        plan, table = self._plan_and_table(request.campaign, request.kind, caller)
        self._gate.require_running(plan, caller.name)
        if request.first_chunk >= table.manifest.chunk_count:
            raise refused(Refusal.PROTOCOL_VIOLATION)
        return self._running_parts(plan, table, request.first_chunk, caller)

    def _running_parts(
        self, plan: CampaignPlan, table: StoredTable, first: int, caller: Company
    ) -> Iterator[wire.TablePart]:
        """The chunks, as long as the service runs: a table may take many minutes."""
        for index, chunk in self._publisher.chunks(table, first):
            self._gate.require_running(plan, caller.name)
            hashes = table.chunk_hashes if index == first else ()
            yield wire.TablePart(chunk_hashes=hashes, index=index, chunk=chunk)

    def _fetch_revocations(
        self, request: wire.FetchRevocationsRequest, caller: Company
    ) -> wire.FetchRevocationsReply:
        plan, table = self._plan_and_table(request.campaign, request.kind, caller)
        revocations, signature = self._revocations.newest(plan, table)
        return wire.FetchRevocationsReply(revocations=revocations, signature=signature)

    def _plan_and_table(self, campaign: str, kind: str, caller: Company) -> tuple[CampaignPlan, StoredTable]:
        """The caller's table of that kind in a campaign that it accepted."""
        if kind not in set(TableKind):
            raise refused(Refusal.NOT_AVAILABLE)
        plan = self._accepted_plan(campaign, caller)
        if kind == TableKind.SCORE:
            self._gate.require_open(plan, caller.name)
            table = self._scoring.table(plan.campaign, caller.name)
        else:
            table = self._publisher.table(plan.campaign, caller.name, TableKind(kind))
        if table is None:
            if kind == TableKind.SCORE:
                self._scoring.gate_opened(plan, caller.name)  # a suspension may have ended what was begun
            raise refused(self._why_no_table(plan, caller, TableKind(kind)))
        return plan, table

    def _why_no_table(self, plan: CampaignPlan, caller: Company, kind: TableKind) -> Refusal:
        """A score table is on its way once there is a head; any other is not available."""
        with self._store.transaction() as transaction:
            head = transaction.head(plan.campaign, caller.name)
        return Refusal.NOT_READY if kind is TableKind.SCORE and head else Refusal.NOT_AVAILABLE

    def _submit_head(self, request: wire.SubmitHeadRequest, caller: Company) -> training_pb2.LedgerProof:
        plan = self._accepted_plan(request.campaign, caller)
        self._gate.require_running(plan, caller.name)
        commitment = self._own_entry(request.commitment_entry, caller)
        self._check_tree_size(request.known_tree_size)
        index = self._scoring.accept_head(plan, caller.name, request.head, commitment)
        return self._prove(request.known_tree_size, [index])

    def _commit_rows(self, request: wire.CommitRowsRequest, caller: Company) -> training_pb2.LedgerProof:
        plan = self._accepted_plan(request.campaign, caller)
        self._gate.require_running(plan, caller.name)
        self._check_tree_size(request.known_tree_size)
        index = self._statistics.commit_rows(plan, caller.name)
        return self._prove(request.known_tree_size, [index])

    def _submit_weights(self, stream: Iterator[wire.WeightsPart], caller: Company) -> wire.SealedSums:
        """The first message says what for, the last one brings the commitment, the others one part each."""
        first = next(stream, wire.WeightsPart())
        plan = self._accepted_plan(first.campaign, caller)
        self._gate.require_running(plan, caller.name)
        self._check_tree_size(first.known_tree_size)
        with self._statistics.receiving(plan, caller.name) as message:
            for item in stream:
                if item.commitment_entry:
                    self._gate.require_running(plan, caller.name)  # minutes have passed
                    answer = message.answer(self._own_entry(item.commitment_entry, caller))
                    proof = self._prove(first.known_tree_size, answer.indices)
                    return wire.SealedSums(answer=answer.sums, proof=proof)
                message.add(item.part)
        raise refused(Refusal.PROTOCOL_VIOLATION)

    def _rotate_key(self, request: wire.RotateKeyRequest, caller: Company) -> wire.RotateKeyReply:
        self._check_tree_size(request.known_tree_size)
        change = KeyChange(parse_entry(request.entry), request.tls_request, request.node_key)
        changed = self._keys.rotate(caller.name, change)
        proof = self._prove(request.known_tree_size, [changed.index])
        return wire.RotateKeyReply(proof=proof, certificate=changed.certificate)

    def _own_entry(self, data: bytes, caller: Company) -> SignedEntry:
        """An entry that the caller wrote and signed about itself, not countersigned yet."""
        entry = parse_entry(data)
        if entry.author != caller.name or entry.company != caller.name or entry.countersignature is not None:
            raise refused(Refusal.PROTOCOL_VIOLATION)
        self._ledger.verify_author(entry)
        return entry

    def _entries(self, kind: EntryKind, campaign: str | None = None, company: str | None = None) -> list[int]:
        found = self._ledger.store.entries(kind=kind, campaign=campaign, company=company)
        return [stored.index for stored in found]

    def _check_tree_size(self, known: int) -> None:
        """Refuse a size beyond the ledger before anything is appended."""
        if known > self._ledger.store.size:
            raise refused(Refusal.UNKNOWN_TREE_SIZE)

    def _prove(self, known: int, indices: Sequence[int]) -> training_pb2.LedgerProof:
        proof = self._ledger.prove(known_tree_size=known, indices=indices)
        return messages.proof_to_wire(proof)


class MeteringInterceptor(grpc.ServerInterceptor):
    """Counts the messages of every call under the common name of the caller's certificate."""

    def __init__(self, meter: TrafficMeter) -> None:
        self._meter = meter

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """The same handler, counted."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                self._counted_requests(handler.stream_unary),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._counted_unary(handler.unary_unary),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_stream_rpc_method_handler(
            self._counted_stream(handler.unary_stream),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _counted_unary(self, answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(request: Any, context: grpc.ServicerContext) -> Any:
            response = answer(request, context)
            self._count(context, sent=request.ByteSize(), received=response.ByteSize())
            return response

        return counted

    def _counted_requests(self, answer: Callable[[Iterator[Any], Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            def each() -> Iterator[Any]:
                for request in requests:
                    self._count(context, sent=request.ByteSize(), received=0)
                    yield request

            response = answer(each(), context)
            self._count(context, sent=0, received=response.ByteSize())
            return response

        return counted

    def _counted_stream(
        self, answer: Callable[[Any, Any], Iterator[Any]]
    ) -> Callable[[Any, Any], Iterator[Any]]:
        def counted(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._count(context, sent=request.ByteSize(), received=0)
            for response in answer(request, context):
                self._count(context, sent=0, received=response.ByteSize())
                yield response

        return counted

    def _count(self, context: grpc.ServicerContext, *, sent: int, received: int) -> None:
        names: Sequence[Any] = context.auth_context().get("x509_common_name", [])
        if names:
            self._meter.add(names[0].decode(), sent=sent, received=received)


def _new_server(
    name: str, max_request_bytes: int, interceptors: list[grpc.ServerInterceptor] | None = None
) -> grpc.Server:
    return grpc.server(
        ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix=name),
        interceptors=interceptors,
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", max_request_bytes),
            ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
            ("grpc.so_reuseport", 0),  # a second platform on the same port must fail, not share
        ],
    )

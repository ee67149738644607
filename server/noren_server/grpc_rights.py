"""The gRPC service `Rights`, on the company port: what students' rights need, in every service state.

It asks for a company's certificate as the company service does, and for nothing else: no acceptance of a
plan, no running service, no open campaign. Whoever was in a campaign's cohort can be told to erase and can
answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from noren_core.errors import RemoteProtocolError
from noren_core.ledger.entries import EntryKind, parse_entry
from noren_core.season import messages
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services
from noren_core.wire.v1 import training_pb2
from noren_server.grpc_calls import Callers, answered, refused
from noren_server.ledger_service import LedgerService
from noren_server.rights.erasure_orders import ErasureDesk
from noren_server.rights.inbox import Inbox
from noren_server.rights.mailbox import Mailboxes
from noren_server.store import Company, Store


@dataclass(frozen=True, slots=True)
class RightsParts:
    """What the service works with."""

    store: Store
    ledger: LedgerService
    mailboxes: Mailboxes
    inbox: Inbox
    erasure: ErasureDesk


class RightsServicer(services.RightsServicer):
    """What a company is asked for students, once for each method of the .proto."""

    def __init__(self, parts: RightsParts, clock: Callable[[], datetime]) -> None:
        self._parts = parts
        self._callers = Callers(parts.store, clock)

    def DepositCopy(  # noqa: N802 (the name in the .proto)
        self, request: wire.DepositCopyRequest, context: grpc.ServicerContext
    ) -> wire.DepositCopyReply:
        """Put a sealed copy in a student's mailbox."""
        return answered(context, lambda: self._deposit_copy(request, self._callers.of(context)))

    def FetchInbox(  # noqa: N802
        self, request: wire.FetchInboxRequest, context: grpc.ServicerContext
    ) -> wire.FetchInboxReply:
        """What students ask the caller."""
        return answered(context, lambda: self._fetch_inbox(request, self._callers.of(context)))

    def FetchOrders(  # noqa: N802
        self, request: wire.FetchOrdersRequest, context: grpc.ServicerContext
    ) -> wire.FetchOrdersReply:
        """The caller's erasure orders."""
        return answered(context, lambda: self._fetch_orders(request, self._callers.of(context)))

    def DeliverCertificate(  # noqa: N802
        self, request: wire.DeliverCertificateRequest, context: grpc.ServicerContext
    ) -> training_pb2.LedgerProof:
        """Take the caller's deletion certificate."""
        return answered(context, lambda: self._deliver_certificate(request, self._callers.of(context)))

    def _plan(self, campaign: str, caller: Company) -> CampaignPlan:
        """The campaign's plan, open or closed, if the caller is of its cohort; else as if there were none."""
        with self._parts.store.transaction() as transaction:
            known = transaction.campaign(campaign)
        if known is None or caller.name not in known.plan.companies:
            raise refused(Refusal.NOT_AVAILABLE)
        return known.plan

    def _deposit_copy(self, request: wire.DepositCopyRequest, caller: Company) -> wire.DepositCopyReply:
        self._plan(request.campaign, caller)
        receipt = self._parts.mailboxes.deposit(
            company=caller.name, mailbox=request.mailbox, sealed_copy=request.sealed_copy
        )
        return wire.DepositCopyReply(receipt=receipt)

    def _fetch_inbox(self, request: wire.FetchInboxRequest, caller: Company) -> wire.FetchInboxReply:
        plan = self._plan(request.campaign, caller)
        items = self._parts.inbox.items(company=caller.name, campaign=plan.campaign)
        return wire.FetchInboxReply(items=items)

    def _fetch_orders(self, request: wire.FetchOrdersRequest, caller: Company) -> wire.FetchOrdersReply:
        """The orders, and the proof of their entries and of the caller's certificates for them."""
        plan = self._plan(request.campaign, caller)
        self._check_tree_size(request.known_tree_size)
        orders = self._parts.erasure.fetch(plan.campaign, caller.name)
        certificates = self._parts.ledger.store.entries(
            kind=EntryKind.DELETION_CERTIFICATE, campaign=plan.campaign, company=caller.name
        )
        indices = [followed.entry for followed in orders] + [stored.index for stored in certificates]
        proof = self._parts.ledger.prove(known_tree_size=request.known_tree_size, indices=sorted(indices))
        return wire.FetchOrdersReply(
            orders=[followed.signed for followed in orders], proof=messages.proof_to_wire(proof)
        )

    def _deliver_certificate(
        self, request: wire.DeliverCertificateRequest, caller: Company
    ) -> training_pb2.LedgerProof:
        """The entry is the caller's own and signed by it; what it says is checked by the desk."""
        self._plan(request.campaign, caller)
        self._check_tree_size(request.known_tree_size)
        entry = parse_entry(request.entry)
        about = (entry.author, entry.company, entry.campaign, entry.countersignature)
        if about != (caller.name, caller.name, request.campaign, None):
            raise RemoteProtocolError(Refusal.PROTOCOL_VIOLATION.sentence, code=Refusal.PROTOCOL_VIOLATION)
        self._parts.ledger.verify_author(entry)
        index = self._parts.erasure.accept(caller.name, request.certificate, entry)
        proof = self._parts.ledger.prove(known_tree_size=request.known_tree_size, indices=[index])
        return messages.proof_to_wire(proof)

    def _check_tree_size(self, known: int) -> None:
        """Refuse a size beyond the ledger before anything is appended."""
        if known > self._parts.ledger.store.size:
            raise refused(Refusal.UNKNOWN_TREE_SIZE)

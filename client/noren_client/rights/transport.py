"""The company's calls about students' rights: the service `Rights`, on the platform's company port.

The same promises as `noren_client.transport`. These calls work while the service is suspended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from noren_client.transport import CALL_SECONDS, called, company_channel, repeated
from noren_core.ledger.proofs import LedgerProof
from noren_core.season import messages
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services


class RightsClient:
    """The service `Rights`, as this company; use as a context manager."""

    def __init__(self, company_dir: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Prepare a connection; ConfigurationError if keys or certificate are missing or out of date."""
        self._sleep = sleep
        self._channel = company_channel(company_dir)
        self._stub = services.RightsStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def deposit_copy(self, campaign: str, mailbox: bytes, sealed_copy: bytes) -> bytes:
        """Put a student's copy in her mailbox; the platform's receipt. Repeating it adds nothing."""
        request = wire.DepositCopyRequest(campaign=campaign, mailbox=mailbox, sealed_copy=sealed_copy)
        call = self._stub.DepositCopy
        reply = repeated(lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep)
        return reply.receipt

    def fetch_inbox(self, campaign: str) -> Sequence[bytes]:
        """What students ask us through the platform: always as many items, sealed to us, mostly dummies."""
        request = wire.FetchInboxRequest(campaign=campaign)
        call = self._stub.FetchInbox
        reply = repeated(lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep)
        return tuple(reply.items)

    def fetch_orders(self, campaign: str, *, known_tree_size: int) -> tuple[Sequence[bytes], LedgerProof]:
        """Our signed erasure orders, oldest first, with the proof of their entries and our certificates'."""
        request = wire.FetchOrdersRequest(campaign=campaign, known_tree_size=known_tree_size)
        call = self._stub.FetchOrders
        reply = repeated(lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep)
        return tuple(reply.orders), messages.proof_from_wire(reply.proof)

    def deliver_certificate(
        self, campaign: str, certificate: bytes, entry: bytes, *, known_tree_size: int
    ) -> LedgerProof:
        """Deliver a deletion certificate and the entry that names it; repeating it adds nothing."""
        request = wire.DeliverCertificateRequest(
            campaign=campaign, certificate=certificate, entry=entry, known_tree_size=known_tree_size
        )
        call = self._stub.DeliverCertificate
        reply = repeated(lambda: called(lambda: call(request, timeout=CALL_SECONDS)), sleep=self._sleep)
        return messages.proof_from_wire(reply)

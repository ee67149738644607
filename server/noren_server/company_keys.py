"""Replacing a company's keys (docs/protocol.md §0.4).

Promises: a key changes only by an entry that the company signed with its current signing key and that the
ledger's own history of keys bears out; it never changes under a campaign that relies on it; the same request
again, after a lost answer or a crash of ours, is answered again and completes what is missing. Private keys
never come here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from noren_core.errors import DataError, RemoteProtocolError
from noren_core.ledger.entries import CompanyKey, EntryKind, SignedEntry
from noren_core.ledger.key_history import KeyFault, KeyHistoryError
from noren_core.wire.refusal import Refusal
from noren_server.certificates import (
    CertificateAuthority,
    certificate_sha256,
    certified_key_sha256,
    key_sha256,
    node_key,
    request_key,
)
from noren_server.ledger_service import LedgerService
from noren_server.store import Company, Store, Transaction

_REFUSALS = {
    KeyFault.KEY_TAKEN: Refusal.KEY_TAKEN,
    KeyFault.NOT_THE_CURRENT_KEY: Refusal.KEY_NOT_CURRENT,
    KeyFault.TOO_MANY_ROTATIONS: Refusal.PROTOCOL_VIOLATION,
}  # NOT_VERIFIED for the rest

_PINNED = frozenset({CompanyKey.SIGNING, CompanyKey.SEALING})
"""What companies keep of each other for a whole campaign, from its plan on."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What a company sends: the entry, and for TLS a PKCS #10 request (DER), for the node its key (PEM)."""

    entry: SignedEntry
    tls_request: bytes
    node_key: bytes


@dataclass(frozen=True, slots=True)
class ChangedKey:
    """Where the change stands in the ledger, and for TLS the certificate chain (PEM) for the new key."""

    index: int
    certificate: bytes


class KeyDesk:
    """Changes of companies' keys at one platform."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerService,
        authority: CertificateAuthority,
        *,
        clock: Callable[[], datetime],
        register_node: Callable[[str, bytes], None],
    ) -> None:
        """`register_node` tells Flower a company's new node key; it may be told the same twice."""
        self._store = store
        self._ledger = ledger
        self._authority = authority
        self._clock = clock
        self._register_node = register_node

    def rotate(self, company: str, change: KeyChange) -> ChangedKey:
        """Replace a key of an approved company that the caller has identified.

        1. The entry is the company's own `key-rotation`, and what comes with it is the key that it names.
        2. In one transaction: an entry that the ledger has is only found again; any other is appended if no
           campaign relies on the old key, and if the ledger's keys bear it out (KeyHistory).
        3. In the same transaction: what we use from now on is what the ledger says is current.
        4. Flower lets the new node in, and the old one no more.

        Raises:
            RemoteProtocolError: with code KEY_IN_USE, KEY_TAKEN or KEY_NOT_CURRENT; nothing is changed.
            DataError, VerificationError: if the request is malformed or not signed; nothing is changed.
        """
        role = _verified_role(company, change)  # 1
        with self._store.transaction() as transaction:
            index = self._appended(transaction, company, role, change.entry)  # 2
            certificate = self._apply(transaction, company, role, change)  # 3
        if role is CompanyKey.NODE:  # 4
            self._register_node(company, change.node_key)
        return ChangedKey(index, certificate)

    def _appended(self, transaction: Transaction, company: str, role: CompanyKey, entry: SignedEntry) -> int:
        known = self._ledger.store.entries(kind=EntryKind.KEY_ROTATION, company=company)
        for stored in known:
            if stored.entry.body == entry.body:  # whoever signed it now: the change is the one we have
                return stored.index
        if role in _PINNED and self._is_relied_on(transaction, company):
            raise _refused(Refusal.KEY_IN_USE)
        try:
            return self._ledger.append_company_entry(entry)
        except KeyHistoryError as error:
            if error.fault in _REFUSALS:
                raise _refused(_REFUSALS[error.fault]) from error
            raise

    def _is_relied_on(self, transaction: Transaction, company: str) -> bool:
        """Whether an open campaign names the company and it has not settled the last round."""
        for plan in transaction.open_campaigns():
            if company not in plan.companies:
                continue
            settles = self._ledger.store.entries(
                kind=EntryKind.SETTLE, campaign=plan.campaign, company=company
            )
            if all(stored.entry.body["round"] != plan.training.rounds for stored in settles):
                return True
        return False

    def _apply(self, transaction: Transaction, company: str, role: CompanyKey, change: KeyChange) -> bytes:
        """Take over what the ledger has, however often; not an entry that a later one replaced."""
        new = change.entry.body["new"]
        if self._ledger.keys().key_at(company, role, self._ledger.store.size) != new:
            raise _refused(Refusal.KEY_NOT_CURRENT)
        match role:
            case CompanyKey.SIGNING:
                transaction.replace_signing_key(company, bytes.fromhex(new))
            case CompanyKey.SEALING:
                transaction.replace_sealing_key(company, bytes.fromhex(new))
            case CompanyKey.NODE:
                transaction.replace_node_key(company, change.node_key)
            case CompanyKey.TLS:
                return self._certificate(transaction, company, change)
        return b""

    def _certificate(self, transaction: Transaction, company: str, change: KeyChange) -> bytes:
        """The one certificate for the new key, issued with the first request."""
        known: Company | None = transaction.company(company)
        for issued in (known.next_certificate, known.certificate) if known else ():
            if issued is not None and certified_key_sha256(issued) == change.entry.body["new"]:
                return issued
        certificate = self._authority.issue_client(change.tls_request, company, now=self._clock())
        transaction.add_next_certificate(
            company,
            tls_request=change.tls_request,
            certificate=certificate,
            sha256=certificate_sha256(certificate),
        )
        return certificate


def _verified_role(company: str, change: KeyChange) -> CompanyKey:
    entry = change.entry
    if (entry.kind, entry.author) != (EntryKind.KEY_ROTATION, company) or entry.countersignature is not None:
        raise _refused(Refusal.PROTOCOL_VIOLATION)
    role = CompanyKey(entry.body["key"])
    came = {CompanyKey.TLS: change.tls_request, CompanyKey.NODE: change.node_key}
    if any(data for other, data in came.items() if other is not role):
        raise DataError("rotation: expected what belongs to the key in the entry alone, got more")
    if role is CompanyKey.TLS and key_sha256(request_key(change.tls_request)) != entry.body["new"]:
        raise DataError("rotation: expected the certificate request of the key in the entry, got another")
    if role is CompanyKey.NODE and key_sha256(node_key(change.node_key)) != entry.body["new"]:
        raise DataError("rotation: expected the node key in the entry, got another")
    return role


def _refused(refusal: Refusal) -> RemoteProtocolError:
    return RemoteProtocolError(refusal.sentence, code=refusal)

"""Erasure orders as the platform issues and follows them, and the certificates that come back.

    erasure.db    orders, certificates, legal holds, and whose custodian is whose (SQLite, 0600)

docs/rights/erasure.md. Promises: orders of one issue go to every company of the campaign, and are on disk
before the ledger has them; a company gets its own alone; a certificate that does not hold changes nothing; an
order whose due date passes without a certificate suspends its company; nothing here says who left or how
many. Works in every service state.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import RevocationList
from noren_core.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from noren_core.ids import TableKind, parse_name
from noren_core.ledger.entries import EntryKind, ErasureGround, SignedEntry
from noren_core.rights.erasure.deletion_certificate import (
    CertificateEvent,
    CertificateState,
    certificate_sha256,
    next_certificate_state,
    parse_certificate,
    verify_certificate,
)
from noren_core.rights.erasure.erasure_order import (
    OPEN_STATES,
    ORDER_ID_BYTES,
    ErasureOrder,
    HoldReason,
    LegalHold,
    OrderedTable,
    OrderEvent,
    OrderState,
    entry_body,
    next_order_state,
    parse_order,
)
from noren_core.rights.signed_statement import sign_statement
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_server.ledger_service import LedgerService
from noren_server.policies.evidence_file import EvidenceFile
from noren_server.revocation import Revocations
from noren_server.store import Store, StoredTable

Database = sqlite3.Connection

DATABASE_NAME = "erasure.db"
DUE_SECONDS = 14 * 86_400
ESCALATION_SECONDS = 7 * 86_400
REPORT_FORMAT = "noren/v1/erasure-report"
_REPORT_LABEL = REPORT_FORMAT.encode()

_SCHEMA = """
CREATE TABLE orders (
    order_id BLOB PRIMARY KEY,
    entry INTEGER UNIQUE,
    company TEXT NOT NULL,
    campaign TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    signed BLOB NOT NULL
) STRICT;
CREATE TABLE certificates (
    certificate_id BLOB PRIMARY KEY,
    order_id BLOB NOT NULL REFERENCES orders (order_id),
    entry INTEGER NOT NULL UNIQUE,
    received_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    signed BLOB NOT NULL
) STRICT;
CREATE TABLE holds (
    company TEXT NOT NULL,
    campaign TEXT NOT NULL,
    reason TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (company, campaign)
) STRICT;
CREATE TABLE custodians (company TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class FollowedOrder:
    """An order, where it stands in the ledger, and how far it is.

    Attributes:
        signed: as the company gets it.
        certificate: the state of its newest certificate, if it has one.
    """

    entry: int
    order: ErasureOrder
    state: OrderState
    signed: bytes
    certificate: CertificateState | None


@dataclass(frozen=True, slots=True)
class ReceivedCertificate:
    """A certificate that was accepted: its id, 16 bytes, what it is worth now, and whose it is."""

    certificate_id: bytes
    state: CertificateState
    received_at: int
    company: str
    campaign: str


@dataclass(frozen=True, slots=True)
class OverdueOrders:
    """What a sweep found: whose orders fell due just now, and whose were left to escalate."""

    overdue: tuple[FollowedOrder, ...]
    escalated: tuple[FollowedOrder, ...]


class ErasureDesk:
    """The erasure orders of one platform; safe for many threads and processes."""

    def __init__(
        self,
        path: Path,
        *,
        store: Store,
        ledger: LedgerService,
        key: SigningKey,
        revocations: Revocations,
        clock: Callable[[], int],
    ) -> None:
        """Open `path`, made (0600) if there is none.

        Args:
            path: the database.
            store: companies, campaigns and tables.
            ledger: the platform's.
            key: signs orders.
            revocations: the newest lists of the tables.
            clock: Unix seconds.
        """
        self._store = store
        self._ledger = ledger
        self._key = key
        self._revocations = revocations
        self._clock = clock
        self._file = EvidenceFile(path, schema=_SCHEMA, version=1)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def issue(
        self,
        plan: CampaignPlan,
        ground: ErasureGround,
        *,
        due_seconds: int = DUE_SECONDS,
        disclose_first: bool = True,
    ) -> tuple[FollowedOrder, ...]:
        """Order every company that accepted the campaign's plan to erase; the others never got anything.

        1. Complete an issue that a crash interrupted.
        2. One order for each company, on disk.
        3. All of them into the ledger at once; only with that they count.

        Args:
            plan: of the campaign, open or closed.
            ground: why.
            due_seconds: until when the certificates have to be here.
            disclose_first: False if a student chose that her data goes before her questions are answered.
        """
        if due_seconds <= 0:
            raise ConfigurationError("erasure: expected some time until the due date, got none")
        companies = self._accepted(plan)
        tables = {company: self._tables(plan, company, ground) for company in companies}
        with self._file.writing() as database:
            self._complete(database)  # 1
        with self._file.writing() as database:
            issued_at = self._clock()
            for company in companies:  # 2
                order = ErasureOrder(
                    order_id=secrets.token_bytes(ORDER_ID_BYTES),
                    company=company,
                    campaign=plan.campaign,
                    ground=ground,
                    tables=tables[company],
                    issued_at=issued_at,
                    due_at=issued_at + due_seconds,
                    disclose_first=disclose_first,
                )
                self._insert(database, order)
        with self._file.writing() as database:
            indices = self._complete(database)  # 3
        return tuple(order for order in self.orders(plan.campaign) if order.entry in indices)

    def ensure(self, plan: CampaignPlan, *, disclose_first: bool) -> None:
        """See that what students withdrew from a campaign is ordered to go; a new order only if none says so.

        While the campaign is open, an order names it if it is about the newest tables with the revocation
        lists as they are now. A closed one has no keys to look anybody up with, and its companies get nothing
        of it any more: there everything goes, by one order for the season's end.

        Args:
            plan: of the campaign.
            disclose_first: False if an open order that waits for answers is not soon enough.
        """
        store = self._ledger.store
        closed = store.entries(kind=EntryKind.CAMPAIGN_CLOSED, campaign=plan.campaign)
        ground = ErasureGround.SEASON_END if closed else ErasureGround.RIGHTS
        known = self.orders(plan.campaign)

        def is_ordered(company: str) -> bool:
            tables = self._tables(plan, company, ground)
            return any(
                item.order.company == company
                and (item.entry > closed[0].index if closed else not item.order.is_whole)
                and item.order.tables == tables
                and (item.state not in OPEN_STATES or disclose_first or not item.order.disclose_first)
                for item in known
            )

        if not all(is_ordered(company) for company in self._accepted(plan)):
            self.issue(plan, ground, disclose_first=disclose_first)

    def orders(self, campaign: str | None = None, company: str | None = None) -> list[FollowedOrder]:
        """Every order that the ledger has, oldest first."""
        query = """
            SELECT o.entry, o.signed, o.state, (
                SELECT c.state FROM certificates c WHERE c.order_id = o.order_id ORDER BY c.entry DESC LIMIT 1
            ) FROM orders o
            WHERE o.entry IS NOT NULL AND (? IS NULL OR o.campaign = ?) AND (? IS NULL OR o.company = ?)
            ORDER BY o.entry
        """
        with self._file.reading() as database:
            rows = database.execute(query, (campaign, campaign, company, company)).fetchall()
        return [_followed(*row) for row in rows]

    def fetch(self, campaign: str, company: str) -> list[FollowedOrder]:
        """A company's orders in a campaign, for the company itself: from now on they count as received."""
        with self._file.writing() as database:
            known = self.orders(campaign, company)
            for followed in known:
                if followed.state is OrderState.ISSUED:
                    self._advance(database, followed.order.order_id, followed.state, OrderEvent.RECEIVE)
        return known

    def accept(self, company: str, data: bytes, entry: SignedEntry) -> int:
        """Take a deletion certificate; the ledger index of its entry.

        1. The entry, whose signature the caller verified, names this very certificate and an order of ours.
        2. The certificate holds (`verify_certificate`).
        3. The ledger gets the entry, then we keep the certificate; asked again, nothing is added.
        4. An earlier certificate of the order is superseded: it was carried out again, on a restored copy.

        Raises:
            RemoteProtocolError, DataError, VerificationError: if step 1 or 2 fails; nothing is changed.
        """
        certificate, statement, _ = parse_certificate(data)  # 1
        followed = self._ordered(company, entry)
        digest = certificate_sha256(statement).hex()
        if entry.kind is not EntryKind.DELETION_CERTIFICATE or entry.body["certificate_sha256"] != digest:
            raise RemoteProtocolError("certificate: expected the entry that names it, got another")
        order, ordered = parse_order(followed.signed)
        keys, size = self._ledger.keys(), self._ledger.store.size
        state = verify_certificate(  # 2
            data,
            order=order,
            ordered=ordered,
            company_key=keys.signing_key(company, size),
            custodian_key=self.custodian_key(company),
        )
        index = self._ledger.append_company_entry(entry)  # 3
        with self._file.writing() as database:
            if self._is_kept(database, certificate.certificate_id):
                return index
            self._supersede(database, order.order_id)  # 4
            self._keep_certificate(database, certificate.certificate_id, order.order_id, index, state, data)
            self._certify(database, followed, state)
        return index

    def certificates(self) -> list[ReceivedCertificate]:
        """Every certificate that was accepted and is kept, oldest first."""
        query = """
            SELECT c.certificate_id, c.state, c.received_at, o.company, o.campaign
            FROM certificates c JOIN orders o ON o.order_id = c.order_id ORDER BY c.entry
        """
        with self._file.reading() as database:
            rows = database.execute(query).fetchall()
        return [
            ReceivedCertificate(certificate_id, CertificateState(state), received_at, company, campaign)
            for certificate_id, state, received_at, company, campaign in rows
        ]

    def dispute(self, certificate_id: bytes) -> None:
        """Somebody says that a certificate is not true; it counts no more until that is settled."""
        with self._file.writing() as database:
            self._change_certificate(database, certificate_id, CertificateEvent.DISPUTE)

    def settle_dispute(self, certificate_id: bytes, *, holds: bool) -> None:
        """What the auditor found on site: the certificate holds, or its order is open again."""
        with self._file.writing() as database:
            order_id = self._change_certificate(
                database, certificate_id, CertificateEvent.VERIFY if holds else CertificateEvent.REJECT
            )
            if not holds:
                self._advance(database, order_id, self._state(database, order_id), OrderEvent.REJECT)

    def sweep(self, suspend: Callable[[str], None]) -> OverdueOrders:
        """Mark what fell due without a certificate, and suspend those companies; run it daily.

        1. An order under a legal hold is not due before the hold is over.
        2. The company is suspended before the order is marked, so that a crash in between suspends it again.
        3. What has been overdue for a week is escalated: to the auditor, and to the authority.

        Args:
            suspend: suspends a company; does nothing if it is suspended already.
        """
        now = self._clock()
        overdue, escalated = [], []
        for followed in self.orders():
            if followed.state not in OPEN_STATES or self.due_at(followed.order) > now:  # 1
                continue
            if followed.state is OrderState.OVERDUE:
                is_long = self.due_at(followed.order) + ESCALATION_SECONDS <= now  # 3
                if is_long and self._mark(followed, OrderEvent.ESCALATE):
                    escalated.append(followed)
            elif followed.state is not OrderState.ESCALATED:
                suspend(followed.order.company)  # 2
                if self._mark(followed, OrderEvent.FALL_DUE):
                    overdue.append(followed)
        return OverdueOrders(tuple(overdue), tuple(escalated))

    def has_open(self) -> bool:
        """Whether any order waits for a certificate that counts: the service cannot be abolished before."""
        return any(
            followed.state in OPEN_STATES or followed.certificate is CertificateState.DISPUTED
            for followed in self.orders()
        )

    def set_hold(self, hold: LegalHold) -> None:
        """Record a duty to keep; another one for the same company and campaign replaces it."""
        with self._file.writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?)",
                (hold.company, hold.campaign, hold.reason.value, hold.until),
            )

    def holds(self) -> list[LegalHold]:
        """Every duty to keep that was recorded, also those that are over."""
        with self._file.reading() as database:
            rows = database.execute("SELECT * FROM holds ORDER BY company, campaign").fetchall()
        return [
            LegalHold(company, campaign, HoldReason(reason), until)
            for company, campaign, reason, until in rows
        ]

    def set_custodian(self, company: str, key: bytes) -> None:
        """Whose cosignature a company's certificates need from now on; Ed25519, 32 bytes."""
        if len(key) != 32:
            raise ConfigurationError("custodian: expected a key of 32 bytes, got another length")
        with self._file.writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO custodians VALUES (?, ?)", (parse_name(company, "company"), key)
            )

    def custodian_key(self, company: str) -> bytes | None:
        """Of the company's custodian, if it has one."""
        with self._file.reading() as database:
            row = database.execute("SELECT key FROM custodians WHERE company = ?", (company,)).fetchone()
        return None if row is None else bytes(row[0])

    def report(self) -> bytes:
        """Every order, its state, its certificate's and every legal hold, signed: for the auditor."""
        body = {
            "format": REPORT_FORMAT,
            "at": self._clock(),
            "orders": [_reported(followed) for followed in self.orders()],
            "holds": [hold.to_body() for hold in self.holds()],
        }
        return sign_statement(_REPORT_LABEL, body, self._key).to_bytes()

    def has_older(self, *, before: int) -> bool:
        """Whether a certificate was received before then."""
        with self._file.reading() as database:
            query = "SELECT EXISTS (SELECT 1 FROM certificates WHERE received_at < ?)"
            return bool(database.execute(query, (before,)).fetchone()[0])

    def expire(self, *, before: int) -> bool:
        """Remove certificates that were received before then, and orders without any left; whether some were.

        An order that waits for its certificate stays, however old it is.
        """
        with self._file.writing() as database:
            gone = database.execute("DELETE FROM certificates WHERE received_at < ?", (before,)).rowcount
            open_states = sorted(state.value for state in OPEN_STATES)
            marks = ", ".join("?" * len(open_states))
            query = f"""DELETE FROM orders WHERE state NOT IN ({marks})
                AND order_id NOT IN (SELECT order_id FROM certificates)"""  # noqa: S608 (marks alone)
            database.execute(query, open_states)
        return gone > 0

    def _accepted(self, plan: CampaignPlan) -> list[str]:
        known = self._ledger.store.entries(kind=EntryKind.PLAN_ACCEPTANCE, campaign=plan.campaign)
        return sorted({stored.entry.author for stored in known})

    def _tables(self, plan: CampaignPlan, company: str, ground: ErasureGround) -> tuple[OrderedTable, ...]:
        """The company's newest tables, and how old their revocation lists are now.

        None where everything goes: a closed campaign has no keys to look anybody up with any more.
        """
        if ground is not ErasureGround.RIGHTS:
            return ()
        with self._store.transaction() as transaction:
            found = [transaction.table(plan.campaign, company, kind) for kind in sorted(TableKind)]
        return tuple(self._ordered_table(plan, table) for table in found if table is not None)

    def _ordered_table(self, plan: CampaignPlan, table: StoredTable) -> OrderedTable:
        data, _ = self._revocations.newest(plan, table)
        context = table.manifest.context
        return OrderedTable(context.kind, context.table_id, RevocationList.from_bytes(data).sequence)

    def _insert(self, database: Database, order: ErasureOrder) -> None:
        database.execute(
            "INSERT INTO orders VALUES (?, NULL, ?, ?, ?, ?, ?)",
            (
                order.order_id,
                order.company,
                order.campaign,
                order.due_at,
                OrderState.ISSUED.value,
                order.sign(self._key).to_bytes(),
            ),
        )

    def _complete(self, database: Database) -> set[int]:
        """Put orders that are only on our disk into the ledger, all or none; where they stand."""
        rows = database.execute("SELECT order_id, signed FROM orders WHERE entry IS NULL").fetchall()
        if not rows:
            return set()
        bodies = [entry_body(*parse_order(signed)) for _, signed in rows]
        indices = self._ledger.append_platform_entries(EntryKind.ERASURE_ORDER, bodies)
        for index, (order_id, _) in zip(indices, rows, strict=True):
            database.execute("UPDATE orders SET entry = ? WHERE order_id = ?", (index, order_id))
        return set(indices)

    def _ordered(self, company: str, entry: SignedEntry) -> FollowedOrder:
        """The order that an entry of this company is about."""
        if entry.company != company:
            raise RemoteProtocolError("certificate: expected one of the caller's own, got another's")
        found = [
            followed
            for followed in self.orders(entry.campaign, company)
            if followed.entry == entry.body.get("order")
        ]
        if not found:
            raise RemoteProtocolError(Refusal.NOT_AVAILABLE.sentence, code=Refusal.NOT_AVAILABLE)
        return found[0]

    def _certify(self, database: Database, followed: FollowedOrder, state: CertificateState) -> None:
        """Whoever certifies an order has received and carried it out."""
        order_id = followed.order.order_id
        reached = self._state(database, order_id)
        if reached in (OrderState.CERTIFIED, OrderState.VERIFIED):
            reached = OrderState.EXECUTING  # carried out again
        if reached is OrderState.ISSUED:
            reached = next_order_state(reached, OrderEvent.RECEIVE)
        if reached is not OrderState.EXECUTING:
            reached = next_order_state(reached, OrderEvent.EXECUTE)
        reached = next_order_state(reached, OrderEvent.CERTIFY)
        if state is CertificateState.VERIFIED:
            reached = next_order_state(reached, OrderEvent.VERIFY)
        self._set_state(database, order_id, reached)

    def _is_kept(self, database: Database, certificate_id: bytes) -> bool:
        query = "SELECT 1 FROM certificates WHERE certificate_id = ?"
        return database.execute(query, (certificate_id,)).fetchone() is not None

    def _keep_certificate(
        self,
        database: Database,
        certificate_id: bytes,
        order_id: bytes,
        index: int,
        state: CertificateState,
        data: bytes,
    ) -> None:
        database.execute(
            "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?)",
            (certificate_id, order_id, index, self._clock(), state.value, data),
        )

    def _supersede(self, database: Database, order_id: bytes) -> None:
        rows = database.execute(
            "SELECT certificate_id, state FROM certificates WHERE order_id = ?", (order_id,)
        ).fetchall()
        for certificate_id, state in rows:
            if CertificateState(state) is not CertificateState.SUPERSEDED:
                self._change_certificate(database, certificate_id, CertificateEvent.SUPERSEDE)

    def _change_certificate(
        self, database: Database, certificate_id: bytes, event: CertificateEvent
    ) -> bytes:
        """Let an event happen to a certificate; the order that it is for."""
        row = database.execute(
            "SELECT order_id, state FROM certificates WHERE certificate_id = ?", (certificate_id,)
        ).fetchone()
        if row is None:
            raise LocalProtocolError("certificate: expected the id of one that was accepted, got another")
        following = next_certificate_state(CertificateState(row[1]), event)
        database.execute(
            "UPDATE certificates SET state = ? WHERE certificate_id = ?", (following.value, certificate_id)
        )
        return bytes(row[0])

    def _mark(self, followed: FollowedOrder, event: OrderEvent) -> bool:
        """Let an event happen to an order, unless something else happened to it since it was looked at."""
        with self._file.writing() as database:
            order_id = followed.order.order_id
            is_unchanged = self._state(database, order_id) is followed.state
            if is_unchanged:
                self._advance(database, order_id, followed.state, event)
        return is_unchanged

    def _advance(self, database: Database, order_id: bytes, state: OrderState, event: OrderEvent) -> None:
        self._set_state(database, order_id, next_order_state(state, event))

    def _set_state(self, database: Database, order_id: bytes, state: OrderState) -> None:
        database.execute("UPDATE orders SET state = ? WHERE order_id = ?", (state.value, order_id))

    def _state(self, database: Database, order_id: bytes) -> OrderState:
        row = database.execute("SELECT state FROM orders WHERE order_id = ?", (order_id,)).fetchone()
        return OrderState(row[0])

    def due_at(self, order: ErasureOrder) -> int:
        """When it is due, with a hold that is in force or was."""
        until = [
            hold.until
            for hold in self.holds()
            if (hold.company, hold.campaign) == (order.company, order.campaign)
        ]
        return max([order.due_at, *until])


def _followed(entry: int, signed: bytes, state: str, certificate: str | None) -> FollowedOrder:
    order, _ = parse_order(signed)
    found = None if certificate is None else CertificateState(certificate)
    return FollowedOrder(entry, order, OrderState(state), signed, found)


def _reported(followed: FollowedOrder) -> dict[str, Any]:
    order = followed.order
    return {
        "entry": followed.entry,
        "order_id": order.order_id.hex(),
        "company": order.company,
        "campaign": order.campaign,
        "ground": order.ground.value,
        "issued_at": order.issued_at,
        "due_at": order.due_at,
        "state": followed.state.value,
        "certificate": "none" if followed.certificate is None else followed.certificate.value,
    }

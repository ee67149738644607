"""The platform's operational data: companies, campaigns, keys, counters, tables and heads, in SQLite.

Promises: every change is one transaction that takes the write lock first, so two processes never act on the
same old value; a counter is on disk before the caller goes on; what may exist once (a company, a head, a
table, a released row) is unique in the database and not only in the code. The file has mode 0600; OPRF keys
and the like are sealed besides if the platform's directory is protected. No student's name, identifier or
feature is stored: released rows and records are kept under keyed hashes, an encrypted head says nothing about
anybody.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from noren_core import canonical_json
from noren_core.crypto.oprf import OprfPrivateKey
from noren_core.crypto.sealed_files import SealedFiles
from noren_core.crypto.sealed_sums import AnswerSeed
from noren_core.crypto.sealed_table import TAG_BYTES, TableManifest
from noren_core.errors import BudgetExceededError, DataError, LocalProtocolError
from noren_core.ids import TableKind
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_server import round_rows
from noren_server.round_rows import RoundRows

DATABASE_NAME = "platform.db"

_BUSY_SECONDS = 30
_HASH_BYTES = 32
_READS = "noren_reads"  # execution option of a connection that only reads

_METADATA = sa.MetaData()
_INVITATIONS = sa.Table(
    "invitations",
    _METADATA,
    sa.Column("company", sa.String, primary_key=True),
    sa.Column("code_sha256", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", sa.Integer, nullable=False),
    sa.Column("used", sa.Boolean, nullable=False, default=False),
)
_COMPANIES = sa.Table(
    "companies",
    _METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("signing_key", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("sealing_key", sa.LargeBinary, nullable=False),
    sa.Column("declared_size", sa.Integer, nullable=False),
    sa.Column("tls_request", sa.LargeBinary, nullable=False),
    sa.Column("node_key", sa.LargeBinary, nullable=False),
    sa.Column("enrolment_entry", sa.LargeBinary, nullable=False),
    sa.Column("agreement_entry", sa.LargeBinary, nullable=False),
    sa.Column("certificate", sa.LargeBinary),
    sa.Column("certificate_sha256", sa.LargeBinary, unique=True),
    sa.Column("next_certificate", sa.LargeBinary),
    sa.Column("next_certificate_sha256", sa.LargeBinary, unique=True),
)
_CAMPAIGNS = sa.Table(
    "campaigns",
    _METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("plan", sa.LargeBinary, nullable=False),
)
_OPRF_KEYS = sa.Table(
    "oprf_keys",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("evaluations", sa.Integer, sa.CheckConstraint("evaluations >= 0"), nullable=False, default=0),
)
_EVALUATED_BATCHES = sa.Table(
    "evaluated_batches",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("batch_sha256", sa.LargeBinary, primary_key=True),
)
_DECISION_BATCHES = sa.Table(
    "decision_batches",
    _METADATA,
    sa.Column("entry", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("accepted_at", sa.Integer, nullable=False),
)
_RELEASED_ROWS = sa.Table(
    "released_rows",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), primary_key=True),
    sa.Column("row_key", sa.LargeBinary, primary_key=True),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)
_RELEASED_RECORDS = sa.Table(
    "released_records",
    _METADATA,
    sa.Column("person", sa.LargeBinary, primary_key=True),
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), nullable=False),
    sqlite_with_rowid=False,
)
_PERSON_KEYS = sa.Table(
    "person_keys",
    _METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("key", sa.LargeBinary, nullable=False),
)
_TABLES = sa.Table(
    "tables",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("manifest", sa.LargeBinary, nullable=False),
    sa.Column("chunk_hashes", sa.LargeBinary, nullable=False),
    sa.Column("epoch_salt", sa.LargeBinary, nullable=False),
    sa.Column("dummy_seed", sa.LargeBinary, nullable=False),
)
_REVOCATIONS = sa.Table(
    "revocations",
    _METADATA,
    sa.Column("table_id", sa.LargeBinary, primary_key=True),
    sa.Column("sequence", sa.Integer, sa.CheckConstraint("sequence >= 1"), nullable=False),
    sa.Column("tags", sa.LargeBinary, nullable=False),
)
_ANSWER_SEEDS = sa.Table(
    "answer_seeds",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), primary_key=True),
    sa.Column("seed", sa.LargeBinary, nullable=False),
)
_SEALED_SUMS = sa.Table(
    "sealed_sums",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), primary_key=True),
    sa.Column("answer", sa.LargeBinary, nullable=False),
)
_HEADS = sa.Table(
    "heads",
    _METADATA,
    sa.Column("campaign", sa.ForeignKey("campaigns.name"), primary_key=True),
    sa.Column("company", sa.ForeignKey("companies.name"), primary_key=True),
    sa.Column("head", sa.LargeBinary, nullable=False),
)

# What is sealed in a protected directory; with its table and primary key, a column's value has a name.
_SECRET_COLUMNS = (
    *(_OPRF_KEYS.c.key, _PERSON_KEYS.c.key, _TABLES.c.epoch_salt, _TABLES.c.dummy_seed),
    _ANSWER_SEEDS.c.seed,
)

_RELEASED_RECORDS_KEY = "released-records"
# There may be millions of these rows; the driver takes and gives them as tuples.
_FIRST_PERSON, _LAST_PERSON = bytes(_HASH_BYTES), b"\xff" * _HASH_BYTES
_SELECT_RECORDS = "SELECT person, campaign, company FROM released_records WHERE person BETWEEN ? AND ?"
_COUNT_RECORDS = "SELECT COUNT(*) FROM released_records WHERE person BETWEEN ? AND ?"
_INSERT_RECORD = "INSERT INTO released_records (person, campaign, company) VALUES (?, ?, ?)"


class CompanyState(StrEnum):
    """Where a company is between its request and the end of its participation."""

    PENDING = "pending"
    APPROVED = "approved"
    REVOKED = "revoked"


class CampaignState(StrEnum):
    """Whether a campaign answers its companies."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StoredInvitation:
    """An invitation as the platform remembers it: the code itself is only in the company's hands."""

    company: str
    code_sha256: bytes
    expires_at: int
    used: bool


@dataclass(frozen=True, slots=True)
class EnrolmentRecord:
    """What a company sent to enrol, verified: its public keys and its two signed entries."""

    name: str
    signing_key: bytes
    sealing_key: bytes
    declared_size: int
    tls_request: bytes
    node_key: bytes
    enrolment_entry: bytes
    agreement_entry: bytes


@dataclass(frozen=True, slots=True)
class Company:
    """A company and where it stands.

    Attributes:
        certificate: exists once the company is approved.
        next_certificate: issued for a new TLS key and not used yet; from its first use on, it is the one.
    """

    name: str
    state: CompanyState
    signing_key: bytes
    sealing_key: bytes
    declared_size: int
    tls_request: bytes
    node_key: bytes
    enrolment_entry: bytes
    agreement_entry: bytes
    certificate: bytes | None
    certificate_sha256: bytes | None
    next_certificate: bytes | None = None
    next_certificate_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Campaign:
    """A published plan and whether it is still answered."""

    plan: CampaignPlan
    state: CampaignState


@dataclass(frozen=True, slots=True)
class StoredOprfKey:
    """One company's key for one kind of table in one campaign, and how much of it was used."""

    key: OprfPrivateKey
    evaluations: int


class ReleasedRecord(NamedTuple):
    """That a person, under her keyed hash, is a record of a campaign at a company.

    A tuple, as there are many of them.
    """

    person: bytes
    campaign: str
    company: str


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A published table: what the ledger says of it, and what only the platform knows of it.

    Attributes:
        manifest: as in the ledger.
        chunk_hashes: the leaves under the manifest's root.
        epoch_salt: of its consent epoch's root.
        dummy_seed: what its dummy rows were drawn from.
    """

    manifest: TableManifest
    chunk_hashes: tuple[bytes, ...]
    epoch_salt: bytes = field(repr=False)
    dummy_seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredRevocations:
    """The students' rows of one table that are revoked, and how often their number grew, counted from 1."""

    sequence: int
    tags: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class StoredHead:
    """The one encrypted head that a company may have in a campaign."""

    campaign: str
    company: str
    head: bytes


class Store:
    """`platform.db`. Every method is one transaction unless it is called within `transaction()`."""

    def __init__(self, engine: sa.Engine, secrets: SealedFiles | None) -> None:
        self._engine = engine
        self._secrets = secrets

    @classmethod
    def open(cls, path: Path, secrets: SealedFiles | None = None) -> Self:
        """Open the database, making it on first use; without `secrets` nothing is sealed or opened."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Only a new file is touched: closing any descriptor of an open database drops this process's locks on
        # it, and another process would then delete the log that our connections still write to.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_SECONDS})
        sa.event.listen(engine, "connect", _prepare_connection)
        sa.event.listen(engine, "begin", _begin_immediate)
        _METADATA.create_all(engine)
        round_rows.METADATA.create_all(engine)
        return cls(engine, secrets)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the write lock from the first look to the last change; an exception undoes all of it."""
        held = nullcontext() if self._secrets is None else self._secrets.held()
        with held, self._engine.begin() as connection:
            yield Transaction(connection, self._secrets)

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Read one state of the database while others go on writing; nothing can be changed, or revealed."""
        with self._engine.connect().execution_options(**{_READS: True}) as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            try:
                yield Transaction(connection, None)
            finally:
                connection.rollback()
                connection.exec_driver_sql("PRAGMA query_only = OFF")


class Transaction:
    """What can be read and changed while the write lock is held."""

    def __init__(self, connection: sa.Connection, secrets: SealedFiles | None) -> None:
        self._connection = connection
        self._secrets = secrets

    # Invitations and companies

    def put_invitation(self, company: str, *, code_sha256: bytes, expires_at: int) -> None:
        """Replace the company's invitation by a new, unused one."""
        self._connection.execute(sa.delete(_INVITATIONS).where(_INVITATIONS.c.company == company))
        self._insert(
            _INVITATIONS, company=company, code_sha256=code_sha256, expires_at=expires_at, used=False
        )

    def invitations(self) -> list[StoredInvitation]:
        """Every invitation, used and unused."""
        return [StoredInvitation(**row) for row in self._rows(sa.select(_INVITATIONS))]

    def use_invitation(self, company: str) -> None:
        """Mark the company's invitation as used."""
        self._connection.execute(
            sa.update(_INVITATIONS).where(_INVITATIONS.c.company == company).values(used=True)
        )

    def add_company(self, record: EnrolmentRecord) -> None:
        """Keep a request, pending.

        Raises:
            LocalProtocolError: if the company, or its signing key, is known already.
        """
        try:
            self._insert(
                _COMPANIES,
                state=CompanyState.PENDING.value,
                **{name: getattr(record, name) for name in record.__slots__},
            )
        except sa.exc.IntegrityError as error:
            refusal = Refusal.ALREADY_ENROLLED
            raise LocalProtocolError(refusal.sentence, code=refusal) from error

    def remove_pending(self, company: str) -> bool:
        """Forget a request that was not approved; whether there was one."""
        pending = sa.and_(_COMPANIES.c.name == company, _COMPANIES.c.state == CompanyState.PENDING.value)
        return self._connection.execute(sa.delete(_COMPANIES).where(pending)).rowcount == 1

    def approve_company(self, company: str, *, certificate: bytes, sha256: bytes) -> None:
        """Turn a pending company into an approved one with a certificate."""
        self._update_company(
            company,
            CompanyState.PENDING,
            state=CompanyState.APPROVED.value,
            certificate=certificate,
            certificate_sha256=sha256,
        )

    def revoke_company(self, company: str) -> None:
        """End an approved company's access, for good."""
        self._update_company(company, CompanyState.APPROVED, state=CompanyState.REVOKED.value)

    def company(self, name: str) -> Company | None:
        """The company of that name."""
        return self._company(_COMPANIES.c.name == name)

    def company_with_key(self, signing_key: bytes) -> Company | None:
        """The company with that signing key."""
        return self._company(_COMPANIES.c.signing_key == signing_key)

    def company_with_certificate(self, sha256: bytes) -> Company | None:
        """The approved company whose certificate this is.

        A certificate for a new TLS key takes the place of the one before with its first use: until then the
        company may not have received it.
        """
        is_next = _COMPANIES.c.next_certificate_sha256 == sha256
        promoted = {
            "certificate": _COMPANIES.c.next_certificate,
            "certificate_sha256": _COMPANIES.c.next_certificate_sha256,
            "next_certificate": None,
            "next_certificate_sha256": None,
        }
        self._connection.execute(sa.update(_COMPANIES).where(is_next).values(promoted))
        approved = _COMPANIES.c.state == CompanyState.APPROVED.value
        return self._company(sa.and_(_COMPANIES.c.certificate_sha256 == sha256, approved))

    def replace_signing_key(self, company: str, key: bytes) -> None:
        """Keep an approved company's new signing key."""
        self._update_company(company, CompanyState.APPROVED, signing_key=key)

    def replace_sealing_key(self, company: str, key: bytes) -> None:
        """Keep an approved company's new sealing key."""
        self._update_company(company, CompanyState.APPROVED, sealing_key=key)

    def replace_node_key(self, company: str, key: bytes) -> None:
        """Keep an approved company's new node key (PEM)."""
        self._update_company(company, CompanyState.APPROVED, node_key=key)

    def add_next_certificate(
        self, company: str, *, tls_request: bytes, certificate: bytes, sha256: bytes
    ) -> None:
        """Keep the certificate for an approved company's new TLS key beside the one in use."""
        self._update_company(
            company,
            CompanyState.APPROVED,
            tls_request=tls_request,
            next_certificate=certificate,
            next_certificate_sha256=sha256,
        )

    def companies(self) -> list[Company]:
        """Every company, by name."""
        return [_company(row) for row in self._rows(sa.select(_COMPANIES).order_by(_COMPANIES.c.name))]

    def count_companies(self) -> dict[CompanyState, int]:
        """How many companies there are in each state."""
        counted = sa.select(_COMPANIES.c.state, sa.func.count()).group_by(_COMPANIES.c.state)
        found = {CompanyState(state): int(count) for state, count in self._connection.execute(counted)}
        return {state: found.get(state, 0) for state in CompanyState}

    def pending_companies(self) -> list[Company]:
        """Those that wait for approval, by name."""
        pending = _COMPANIES.c.state == CompanyState.PENDING.value
        query = sa.select(_COMPANIES).where(pending).order_by(_COMPANIES.c.name)
        return [_company(row) for row in self._rows(query)]

    # Campaigns

    def add_campaign(self, plan: CampaignPlan) -> None:
        """Keep a published plan; LocalProtocolError if the campaign exists."""
        try:
            self._insert(
                _CAMPAIGNS,
                name=plan.campaign,
                state=CampaignState.OPEN.value,
                plan=canonical_json.encode(plan.to_body()),
            )
        except sa.exc.IntegrityError as error:
            raise LocalProtocolError("campaign: expected a new name, got one that was published") from error

    def campaign(self, name: str) -> Campaign | None:
        """The campaign of that name."""
        row = self._one(sa.select(_CAMPAIGNS).where(_CAMPAIGNS.c.name == name))
        return None if row is None else _campaign(row)

    def open_campaigns(self) -> list[CampaignPlan]:
        """The plans of the campaigns that are still answered."""
        is_open = _CAMPAIGNS.c.state == CampaignState.OPEN.value
        return [_campaign(row).plan for row in self._rows(sa.select(_CAMPAIGNS).where(is_open))]

    def close_campaign(self, name: str) -> None:
        """Stop answering for a campaign, and forget its OPRF keys: nobody can look up an identifier again."""
        self._connection.execute(
            sa.update(_CAMPAIGNS).where(_CAMPAIGNS.c.name == name).values(state=CampaignState.CLOSED.value)
        )
        self._connection.execute(sa.delete(_OPRF_KEYS).where(_OPRF_KEYS.c.campaign == name))

    # OPRF keys, counters and released rows

    def add_oprf_key(self, campaign: str, company: str, kind: TableKind, key: OprfPrivateKey) -> None:
        """Keep a fresh key, with nothing evaluated; LocalProtocolError (NOT_AVAILABLE) after the close."""
        known = self.campaign(campaign)
        if known is not None and known.state is CampaignState.CLOSED:
            raise LocalProtocolError(Refusal.NOT_AVAILABLE.sentence, code=Refusal.NOT_AVAILABLE)
        values = {
            "campaign": campaign,
            "company": company,
            "kind": kind.value,
            "key": key.to_bytes(),
            "evaluations": 0,
        }
        self._insert(_OPRF_KEYS, **self._concealed(_OPRF_KEYS, values))

    def oprf_key(self, campaign: str, company: str, kind: TableKind) -> StoredOprfKey | None:
        """The company's key for that kind of table in the campaign."""
        row = self._one(sa.select(_OPRF_KEYS).where(_of_kind(_OPRF_KEYS, campaign, company, kind)))
        if row is None:
            return None
        row = self._revealed(_OPRF_KEYS, row)
        return StoredOprfKey(OprfPrivateKey.from_bytes(row["key"]), row["evaluations"])

    def is_counted(self, campaign: str, company: str, kind: TableKind, batch_sha256: bytes) -> bool:
        """Whether this very batch of this company was counted in the campaign, under the key of this kind."""
        ours = _of_kind(_EVALUATED_BATCHES, campaign, company, kind)
        batch = _EVALUATED_BATCHES.c.batch_sha256 == batch_sha256
        return self._one(sa.select(_EVALUATED_BATCHES).where(ours, batch)) is not None

    def count_batch(
        self, campaign: str, company: str, kind: TableKind, batch_sha256: bytes, count: int, *, limit: int
    ) -> None:
        """Add `count` to what was evaluated and remember the batch, or change nothing.

        A batch that is remembered is not counted again, so that a company whose answer was lost can ask for
        it again. There are at most `limit / count` of them.

        Raises:
            BudgetExceededError: with code EVALUATION_LIMIT, if more than `limit` would have been evaluated.
        """
        if self.is_counted(campaign, company, kind, batch_sha256):
            return
        used = _OPRF_KEYS.c.evaluations
        fits = sa.and_(_of_kind(_OPRF_KEYS, campaign, company, kind), used + count <= limit)
        update = sa.update(_OPRF_KEYS).where(fits).values(evaluations=used + count)
        if self._connection.execute(update).rowcount != 1:
            raise BudgetExceededError(Refusal.EVALUATION_LIMIT.sentence, code=Refusal.EVALUATION_LIMIT)
        self._insert(
            _EVALUATED_BATCHES,
            campaign=campaign,
            company=company,
            kind=kind.value,
            batch_sha256=batch_sha256,
        )

    def use_up_training(self, plan: CampaignPlan) -> None:
        """Count every evaluation for training of a campaign as used, since some may have been forgotten.

        A batch that is remembered can still be asked for again: it was counted.
        """
        for member in plan.cohort:
            ours = _of_kind(_OPRF_KEYS, plan.campaign, member.company, TableKind.TRAIN)
            update = sa.update(_OPRF_KEYS).where(ours, _OPRF_KEYS.c.evaluations < member.evaluations)
            self._connection.execute(update.values(evaluations=member.evaluations))

    def decision_batch_accepted_at(self, entry: int, *, now: int) -> int:
        """When the decision batch at this index of the ledger was accepted: the first `now` it is asked with.

        It is asked right after the entry was appended. If a crash came between, the cooling time begins with
        the next question, so it is never shorter than the plan's.
        """
        found = self._one(sa.select(_DECISION_BATCHES).where(_DECISION_BATCHES.c.entry == entry))
        if found is not None:
            accepted_at: int = found["accepted_at"]
            return accepted_at
        self._insert(_DECISION_BATCHES, entry=entry, accepted_at=now)
        return now

    def keep_released_rows(
        self, campaign: str, company: str, rows: Mapping[bytes, bytes]
    ) -> dict[bytes, bytes]:
        """The payloads that stand for these rows: the first ever given for each, kept for good."""
        kept = self.released_rows(campaign, company)
        fresh = [
            {"campaign": campaign, "company": company, "row_key": row_key, "payload": payload}
            for row_key, payload in rows.items()
            if row_key not in kept
        ]
        if fresh:
            self._connection.execute(sa.insert(_RELEASED_ROWS), fresh)
        return {row_key: kept.get(row_key, payload) for row_key, payload in rows.items()}

    def released_rows(self, campaign: str, company: str) -> dict[bytes, bytes]:
        """Every payload that was ever released to a company in a campaign, by row key."""
        rows = self._rows(sa.select(_RELEASED_ROWS).where(_of(_RELEASED_ROWS, campaign, company)))
        return {row["row_key"]: row["payload"] for row in rows}

    # Records released in campaigns

    def person_key(self) -> bytes:
        """What persons are hashed under in the records released: made on first use, and never changed.

        Changing it would forget whom every campaign so far has released.
        """
        row = self._one(sa.select(_PERSON_KEYS).where(_PERSON_KEYS.c.name == _RELEASED_RECORDS_KEY))
        if row is None:
            made = {"name": _RELEASED_RECORDS_KEY, "key": secrets.token_bytes(_HASH_BYTES)}
            row = self._concealed(_PERSON_KEYS, made)
            self._insert(_PERSON_KEYS, **row)
        key: bytes = self._revealed(_PERSON_KEYS, row)["key"]
        return key

    def released_records(
        self, first: bytes = _FIRST_PERSON, last: bytes = _LAST_PERSON
    ) -> Iterator[ReleasedRecord]:
        """Every record released in any campaign, of the persons from `first` to `last`, in no order."""
        rows = self._connection.exec_driver_sql(_SELECT_RECORDS, (first, last))
        return map(ReleasedRecord._make, rows)

    def count_released_records(self, first: bytes, last: bytes) -> int:
        """How many records `released_records` would give."""
        count: int = self._connection.exec_driver_sql(_COUNT_RECORDS, (first, last)).scalar_one()
        return count

    def add_released_records(self, records: Collection[ReleasedRecord]) -> None:
        """Keep records for good; a person has one in a campaign."""
        if records:  # in the table's own order: ten times as fast for a million of them
            self._connection.exec_driver_sql(_INSERT_RECORD, sorted(records))

    def plans(self) -> list[CampaignPlan]:
        """The plan of every campaign, open or closed."""
        return [_campaign(row).plan for row in self._rows(sa.select(_CAMPAIGNS))]

    # Tables and heads

    def add_table(self, table: StoredTable) -> None:
        """Keep a published table; LocalProtocolError if the campaign has one of that kind for the company."""
        context = table.manifest.context
        values = {
            "campaign": context.campaign,
            "company": context.company,
            "kind": context.kind.value,
            "manifest": canonical_json.encode(table.manifest.to_body()),
            "chunk_hashes": b"".join(table.chunk_hashes),
            "epoch_salt": table.epoch_salt,
            "dummy_seed": table.dummy_seed,
        }
        try:
            self._insert(_TABLES, **self._concealed(_TABLES, values))
        except sa.exc.IntegrityError as error:
            raise LocalProtocolError("table: expected none of this kind yet, got one") from error

    def replace_score_table(self, table: StoredTable) -> None:
        """Keep a score table in place of the company's last one, which goes with its revocations.

        Raises:
            DataError: for a training table, of which there is one.
        """
        context = table.manifest.context
        if context.kind is not TableKind.SCORE:
            raise DataError("table: expected a score table to replace another, got one of another kind")
        replaced = self.table(context.campaign, context.company, context.kind)
        if replaced is not None:
            gone = _REVOCATIONS.c.table_id == replaced.manifest.context.table_id
            self._connection.execute(sa.delete(_REVOCATIONS).where(gone))
            old = _of_kind(_TABLES, context.campaign, context.company, context.kind)
            self._connection.execute(sa.delete(_TABLES).where(old))
        self.add_table(table)

    def table(self, campaign: str, company: str, kind: TableKind) -> StoredTable | None:
        """The company's table of that kind."""
        row = self._one(sa.select(_TABLES).where(_of_kind(_TABLES, campaign, company, kind)))
        return None if row is None else _table(self._revealed(_TABLES, row))

    def revocations(self, table_id: bytes) -> StoredRevocations:
        """What is revoked of a table; at first, nothing."""
        row = self._one(sa.select(_REVOCATIONS).where(_REVOCATIONS.c.table_id == table_id))
        if row is None:
            return StoredRevocations(1, frozenset())
        return StoredRevocations(row["sequence"], frozenset(_split(row["tags"], TAG_BYTES)))

    def add_revocations(self, table_id: bytes, tags: Collection[bytes]) -> StoredRevocations:
        """Revoke rows of a table, for good, and say all that is revoked of it."""
        known = self.revocations(table_id)
        if known.tags.issuperset(tags):
            return known
        grown = StoredRevocations(known.sequence + 1, known.tags.union(tags))
        self._connection.execute(sa.delete(_REVOCATIONS).where(_REVOCATIONS.c.table_id == table_id))
        self._insert(
            _REVOCATIONS, table_id=table_id, sequence=grown.sequence, tags=b"".join(sorted(grown.tags))
        )
        return grown

    def add_head(self, head: StoredHead) -> None:
        """Keep a company's head; LocalProtocolError with code HEAD_LIMIT if it has one in the campaign."""
        try:
            self._insert(_HEADS, **{name: getattr(head, name) for name in head.__slots__})
        except sa.exc.IntegrityError as error:
            raise LocalProtocolError(Refusal.HEAD_LIMIT.sentence, code=Refusal.HEAD_LIMIT) from error

    def head(self, campaign: str, company: str) -> StoredHead | None:
        """The company's head in the campaign."""
        row = self._one(sa.select(_HEADS).where(_of(_HEADS, campaign, company)))
        return None if row is None else StoredHead(**row)

    def heads(self) -> list[StoredHead]:
        """Every head."""
        return [StoredHead(**row) for row in self._rows(sa.select(_HEADS))]

    # Sealed statistics

    def add_answer_seed(self, campaign: str, company: str, seed: AnswerSeed) -> None:
        """Keep what the one answer to a company is drawn from."""
        values = {"campaign": campaign, "company": company, "seed": seed.to_bytes()}
        self._insert(_ANSWER_SEEDS, **self._concealed(_ANSWER_SEEDS, values))

    def answer_seed(self, campaign: str, company: str) -> AnswerSeed | None:
        """What the company's answer is drawn from, until it is forgotten."""
        row = self._one(sa.select(_ANSWER_SEEDS).where(_of(_ANSWER_SEEDS, campaign, company)))
        return None if row is None else AnswerSeed.from_bytes(self._revealed(_ANSWER_SEEDS, row)["seed"])

    def forget_answer_seeds(self, campaign: str) -> None:
        """Forget the campaign's seeds: its answers cannot be computed again."""
        self._connection.execute(sa.delete(_ANSWER_SEEDS).where(_ANSWER_SEEDS.c.campaign == campaign))

    def add_sealed_sums(self, campaign: str, company: str, answer: bytes) -> None:
        """Keep the one answer to a company, encrypted under the company's key."""
        self._insert(_SEALED_SUMS, campaign=campaign, company=company, answer=answer)

    def sealed_sums(self, campaign: str, company: str) -> bytes | None:
        """The answer to the company, if it was made."""
        row = self._one(sa.select(_SEALED_SUMS).where(_of(_SEALED_SUMS, campaign, company)))
        return None if row is None else row["answer"]

    # Rounds

    def rounds(self) -> RoundRows:
        """The rounds of campaigns, and what the operator asked for."""
        return RoundRows(self._connection)

    # Secrets

    def secret_rows(self) -> SecretRows:
        """The secrets as they are stored, for protecting them."""
        return SecretRows(self._connection)

    def _concealed(self, table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
        """The row as it is stored."""
        if self._secrets is None:
            return row
        secrets = {
            c: self._secrets.conceal(_secret_name(c, row), row[c.name]) for c in _secret_columns(table)
        }
        return row | {column.name: stored for column, stored in secrets.items()}

    def _revealed(self, table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
        """The inverse; ConfigurationError as `SealedFiles.reveal`."""
        if self._secrets is None:
            return row
        secrets = {c: self._secrets.reveal(_secret_name(c, row), row[c.name]) for c in _secret_columns(table)}
        return row | {column.name: secret.reveal() for column, secret in secrets.items()}

    def _company(self, condition: sa.ColumnElement[bool]) -> Company | None:
        row = self._one(sa.select(_COMPANIES).where(condition))
        return None if row is None else _company(row)

    def _update_company(self, company: str, expected: CompanyState, **values: object) -> None:
        condition = sa.and_(_COMPANIES.c.name == company, _COMPANIES.c.state == expected.value)
        if self._connection.execute(sa.update(_COMPANIES).where(condition).values(values)).rowcount != 1:
            raise LocalProtocolError(f"company: expected one that is {expected.value}, got none")

    def _insert(self, table: sa.Table, **values: object) -> None:
        self._connection.execute(sa.insert(table).values(values))

    def _one(self, query: sa.Select[Any]) -> dict[str, Any] | None:
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else dict(row)

    def _rows(self, query: sa.Select[Any]) -> Sequence[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(query).mappings()]


class SecretRows:
    """The values of secret columns as they are stored, by name: table, primary key and column."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def names(self) -> list[str]:
        """Every value that there is."""
        found = []
        for column in _SECRET_COLUMNS:
            keys = sa.select(*column.table.primary_key.columns)
            rows = self._connection.execute(keys).mappings()
            found += [_secret_name(column, dict(row)) for row in rows]
        return sorted(found)

    def read(self, name: str) -> bytes | None:
        """One value; None if there is no such row."""
        column, row = _named(name)
        stored: bytes | None = self._connection.execute(sa.select(column).where(row)).scalar_one_or_none()
        return stored

    def write(self, name: str, data: bytes) -> None:
        """Replace one value."""
        column, row = _named(name)
        self._connection.execute(sa.update(column.table).where(row).values({column.name: data}))


def _secret_columns(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in _SECRET_COLUMNS if column.table is table]


def _secret_name(column: sa.Column[Any], row: Mapping[str, Any]) -> str:
    """Such as `platform.db/oprf_keys/spring-2026/akane/train/key`: names have no slash (noren_core.ids)."""
    keys = [row[key.name] for key in column.table.primary_key.columns]
    return "/".join([DATABASE_NAME, column.table.name, *keys, column.name])


def _named(name: str) -> tuple[sa.Column[Any], sa.ColumnElement[bool]]:
    """The inverse: a column, and the condition for its row."""
    _, table, *keys, column = name.split("/")
    found = next(c for c in _SECRET_COLUMNS if (c.table.name, c.name) == (table, column))
    pairs = zip(found.table.primary_key.columns, keys, strict=True)
    return found, sa.and_(*(key == value for key, value in pairs))


def _prepare_connection(connection: Any, _: object) -> None:
    """Let us, not the driver, begin transactions; log ahead; sync before a commit returns; wipe what goes."""
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock before the first look: what was read still holds when we write.

    A snapshot, which does not write, takes none.
    """
    is_reading = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")


def _of(table: sa.Table, campaign: str, company: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.campaign == campaign, table.c.company == company)


def _of_kind(table: sa.Table, campaign: str, company: str, kind: TableKind) -> sa.ColumnElement[bool]:
    return sa.and_(_of(table, campaign, company), table.c.kind == kind.value)


def _company(row: dict[str, Any]) -> Company:
    return Company(**{**row, "state": CompanyState(row["state"])})


def _campaign(row: dict[str, Any]) -> Campaign:
    plan = CampaignPlan.from_body(canonical_json.parse_object(row["plan"]))
    return Campaign(plan, CampaignState(row["state"]))


def _table(row: dict[str, Any]) -> StoredTable:
    return StoredTable(
        manifest=TableManifest.from_body(canonical_json.parse_object(row["manifest"])),
        chunk_hashes=_split(row["chunk_hashes"], _HASH_BYTES),
        epoch_salt=row["epoch_salt"],
        dummy_seed=row["dummy_seed"],
    )


def _split(joined: bytes, length: int) -> tuple[bytes, ...]:
    return tuple(joined[i : i + length] for i in range(0, len(joined), length))

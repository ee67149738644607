"""A platform with real tables and orders, and companies that hold what a season left with them.

Everything is what runs in a season, but for gRPC (the servicer is called in memory) and training (what it
would have kept is written down here). Students are numbers; each is an applicant of every company that looks
her up.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import numpy as np
from loopback_custodian import RunningCustodian

from noren_client import campaign_files, config, keystore, replay_data
from noren_client.config import Addresses, CompanyConfig, Limits, Pins
from noren_client.evaluated_identifiers import hashed
from noren_client.gate import score_records
from noren_client.gate.score_records import Note, ScoredPerson, ScoreIndex
from noren_client.ledger_watch import LedgerWatch
from noren_client.replay_data import ReplayData
from noren_client.rights import erasure
from noren_client.rights.custody import CustodyStore
from noren_client.training_set import TrainingSet
from noren_core import canonical_json
from noren_core.crypto.sealed_table import row_secrets
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.ledger.entries import CompanyKey, EntryKind, ErasureGround, parse_entry, sign_entry
from noren_core.ledger.proofs import LedgerProof
from noren_core.season import messages
from noren_core.season.plan import CampaignPlan
from noren_core.wire.v1 import platform_pb2 as wire
from noren_server import alignment, platform_files
from noren_server.grpc_rights import RightsParts, RightsServicer
from noren_server.revocation import Revocations
from noren_server.rights.erasure_orders import ErasureDesk, FollowedOrder
from noren_server.store import EnrolmentRecord
from noren_server.tables import TablePublisher

POSITION = "engineer"


def identifier(student: int) -> bytes:
    return normalise_identifier(IdentifierKind.EMAIL, f"student-{student:04d}@example.jp", POSITION)


def mailbox(student: int, company: str) -> bytes:
    return (f"mailbox {student:03d} " + company).encode().ljust(16, b".")[:16]


@dataclass
class ErasingPlatform:
    """One campaign; who has withdrawn from which kind of table is set by the test."""

    platform: platform_files.Platform
    plan: CampaignPlan
    later_seconds: int = 0
    withdrawn: dict[TableKind, list[int]] = field(default_factory=lambda: {kind: [] for kind in TableKind})

    def __post_init__(self) -> None:
        ledger = self.platform.ledger
        self.publisher = TablePublisher(
            self.platform.store, ledger, self.platform.directory / "tables", chunk_rows=64
        )
        with self.platform.store.transaction() as transaction:
            for number, company in enumerate(self.plan.companies):
                key = bytes([number]) * 32
                transaction.add_company(EnrolmentRecord(company, key, key, 40, b"r", b"n", b"{}", b"{}"))
            transaction.add_campaign(self.plan)
        ledger.append_platform_entry(EntryKind.PLAN, self.plan.to_body())
        self.revocations = Revocations(
            self.platform.store, self.publisher, self.platform.signing_key, self._withdrawn_identifiers
        )
        self.desk = ErasureDesk(
            self.platform.directory / "erasure.db",
            store=self.platform.store,
            ledger=ledger,
            key=self.platform.signing_key,
            revocations=self.revocations,
            clock=lambda: int(time.time()) + self.later_seconds,
        )

    def _withdrawn_identifiers(self, plan: CampaignPlan, company: str, kind: TableKind) -> list[bytes]:
        return [identifier(student) for student in self.withdrawn[kind]]

    def enrol(self, company_dir: Path, company: str) -> None:
        """The company's own entries, as enrolment and acceptance leave them."""
        config_ = CompanyConfig(
            company,
            "job-site",
            Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
            Pins("ab" * 32, self.platform.ledger_store.log_key, self.platform.signing_key.public_key),
            Limits(),
        )
        company_dir.mkdir(mode=0o700)
        (company_dir / config.FILE_NAME).write_bytes(config.to_toml(config_))
        keystore.create_missing(company_dir)
        keys = keystore.load(company_dir)
        secret = {
            role: keystore.read_secret(company_dir, keystore.CURRENT[role]) or b"" for role in CompanyKey
        }
        public = {role: keystore.public_key(role, secret[role]) for role in CompanyKey}
        bodies: list[tuple[EntryKind, dict[str, Any]]] = [
            (
                EntryKind.ENROLMENT,
                {
                    "company": company,
                    "signing_key": public[CompanyKey.SIGNING],
                    "sealing_key": public[CompanyKey.SEALING],
                    "tls_key_sha256": public[CompanyKey.TLS],
                    "node_key_sha256": public[CompanyKey.NODE],
                },
            ),
            (
                EntryKind.PLAN_ACCEPTANCE,
                {
                    "campaign": self.plan.campaign,
                    "company": company,
                    "plan_sha256": self.plan.digest().hex(),
                },
            ),
        ]
        for kind, body in bodies:
            entry = parse_entry(sign_entry(kind, company, body, keys.signing))
            self.platform.ledger.append_company_entry(entry)
        campaign_files.save_plan(company_dir, self.plan)

    def publish(self, company: str, kind: TableKind, students: Collection[int]) -> None:
        outputs = self.outputs(company, kind, students)
        rows = [(output, bytes(8)) for output in outputs.values()]
        self.publisher.publish(self.plan, company, kind, rows, count=len(rows), payload_bytes=8)

    def outputs(self, company: str, kind: TableKind, students: Collection[int]) -> dict[int, bytes]:
        key = alignment.oprf_key(self.platform.store, self.plan.campaign, company, kind)
        found = alignment.evaluate_identifiers(key, [identifier(student) for student in students])
        return dict(zip(students, found, strict=True))

    def tags(self, company: str, kind: TableKind, students: Collection[int]) -> dict[int, bytes]:
        table = self.publisher.table(self.plan.campaign, company, kind)
        assert table is not None
        outputs = self.outputs(company, kind, students)
        return {s: row_secrets(output, table.manifest.context)[0] for s, output in outputs.items()}

    def table_id(self, company: str, kind: TableKind) -> bytes:
        table = self.publisher.table(self.plan.campaign, company, kind)
        assert table is not None
        return table.manifest.context.table_id

    def issue(self, ground: ErasureGround = ErasureGround.RIGHTS, **more: Any) -> Sequence[FollowedOrder]:
        return self.desk.issue(self.plan, ground, **more)

    def close(self) -> None:
        self.desk.close()
        self.platform.store.close()
        self.platform.ledger_store.close()


class InMemoryRights:
    """The service `Rights` without a network, as `RightsClient` has it."""

    def __init__(self, over: ErasingPlatform, company: str) -> None:
        parts = RightsParts(over.platform.store, over.platform.ledger, None, None, over.desk)  # type: ignore[arg-type]
        self._servicer = RightsServicer(parts, lambda: None)  # type: ignore[arg-type, return-value]
        self._caller: Any = SimpleNamespace(name=company)
        self.delivered: list[bytes] = []

    def fetch_orders(self, campaign: str, *, known_tree_size: int) -> tuple[Sequence[bytes], LedgerProof]:
        request = wire.FetchOrdersRequest(campaign=campaign, known_tree_size=known_tree_size)
        reply = self._servicer._fetch_orders(request, self._caller)
        return tuple(reply.orders), messages.proof_from_wire(reply.proof)

    def deliver_certificate(
        self, campaign: str, certificate: bytes, entry: bytes, *, known_tree_size: int
    ) -> LedgerProof:
        request = wire.DeliverCertificateRequest(
            campaign=campaign, certificate=certificate, entry=entry, known_tree_size=known_tree_size
        )
        reply = self._servicer._deliver_certificate(request, self._caller)
        self.delivered.append(certificate)
        return messages.proof_from_wire(reply)


class InMemoryPlatform:
    """What erasure asks of the company service."""

    def __init__(self, over: ErasingPlatform, company: str) -> None:
        self._over = over
        self._company = company

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def get_proof(self, campaign: str, *, known_tree_size: int) -> LedgerProof:
        store = self._over.platform.ledger_store
        kinds = (EntryKind.ENROLMENT, EntryKind.CONSENT_EPOCH, EntryKind.TABLE, EntryKind.OPRF_KEY)
        indices = [item.index for kind in kinds for item in store.entries(kind=kind, company=self._company)]
        return self._over.platform.ledger.prove(known_tree_size=known_tree_size, indices=sorted(indices))

    def fetch_revocations(self, campaign: str, kind: TableKind) -> tuple[bytes, bytes]:
        table = self._over.publisher.table(campaign, self._company, kind)
        assert table is not None
        return self._over.revocations.newest(self._over.plan, table)


@dataclass
class ErasingCompany:
    """One company's directory with everything that it can hold about persons."""

    over: ErasingPlatform
    directory: Path
    company: str
    disclosed: list[str] = field(default_factory=list)
    has_open_questions: bool = False
    places: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        self.rights = InMemoryRights(self.over, self.company)

    @property
    def campaign(self) -> str:
        return self.over.plan.campaign

    def tools(self) -> erasure.Erasure:
        def disclose(campaign: str) -> bool:
            self.disclosed.append(campaign)
            return not self.has_open_questions

        return erasure.Erasure(
            rights=self.rights,
            platform=lambda: InMemoryPlatform(self.over, self.company),  # type: ignore[arg-type, return-value]
            disclose=disclose,
            clock=time.time,
            places=self.places,
        )

    def erase(self) -> bool:
        return erasure.erase(self.directory, self.campaign, self.tools())

    def verify_up_to_date(self) -> None:
        erasure.verify_up_to_date(self.directory, self.campaign, self.rights)

    def custody(self) -> CustodyStore:
        return CustodyStore(self.directory)

    def hold(self, *, trained: Collection[int], scored: Collection[int]) -> None:
        """Keep what `prepare`, the rounds and `score` would have kept of these students."""
        watch = LedgerWatch(self.directory)
        shown = InMemoryPlatform(self.over, self.company).get_proof(self.campaign, known_tree_size=0)
        watch.accept(shown)
        self._keep_outputs(trained, scored)
        self._keep_training_set(sorted(trained))
        self._keep_scores(scored)
        place = campaign_files.directory(self.directory, self.campaign)
        tags = self.over.tags(self.company, TableKind.SCORE, scored)
        (place / "table-score.download").write_bytes(b"half a table " + b"".join(tags.values()))
        for name in ("table-train.download", "training.abcd.part"):
            (place / name).write_bytes(
                b"".join(self.over.outputs(self.company, TableKind.TRAIN, trained).values())
            )
        campaign_files.save_head(self.directory, self.campaign, (1, 2, 3, 4, 5))

    def _keep_outputs(self, trained: Collection[int], scored: Collection[int]) -> None:
        for kind, students in ((TableKind.TRAIN, trained), (TableKind.SCORE, scored)):
            outputs = self.over.outputs(self.company, kind, students)
            body = {
                "batches": ["ab" * 32],
                "outputs": {hashed(identifier(s)): output.hex() for s, output in outputs.items()},
                "public_key": "cd" * 32,
            }
            name = campaign_files.secret_name(self.campaign, f"oprf-{kind.value}.json")
            keystore.write_secret(self.directory, name, canonical_json.encode(body))

    def _keep_training_set(self, students: Sequence[int]) -> None:
        tags = self.over.tags(self.company, TableKind.TRAIN, students)
        ordered = tuple(sorted(tags.values()))
        training_set = TrainingSet(
            tags=ordered,
            rows=np.ones((len(ordered), 4), dtype=np.int16),
            labels=np.zeros(len(ordered), dtype=np.int8),
            table_id=self.over.table_id(self.company, TableKind.TRAIN),
        )
        campaign_files.save_training_set(self.directory, self.campaign, training_set)
        replayed = ReplayData(
            campaign=self.campaign,
            company=self.company,
            seed=bytes(32),
            row_salt=bytes(32),
            commitment_key=bytes(32),
            cohort=self.over.plan.companies,
            material=training_set,
        )
        replay_data.save(self.directory, replayed, now=time.time())

    def _keep_scores(self, students: Collection[int]) -> None:
        tags = self.over.tags(self.company, TableKind.SCORE, students)
        people = []
        with self.custody() as custody:
            for student in students:
                handle = f"{student:016d}".encode()
                note = Note(handle[::-1], int(time.time()) + 1000)
                person = ScoredPerson(
                    self.campaign,
                    identifier(student),
                    handle,
                    mailbox(student, self.company),
                    tags[student],
                    int(time.time()) + 1000,
                    (note,),
                )
                people.append(person)
                record = {"band": student % 3, "mailbox": person.mailbox.hex(), "tag": person.tag.hex()}
                custody.write(score_records.score_name(self.campaign, handle), canonical_json.encode(record))
                custody.write(
                    score_records.note_name(self.campaign, note.handle), b"a visit " + person.mailbox
                )
        index = ScoreIndex(self.over.table_id(self.company, TableKind.SCORE), tuple(people))
        name = campaign_files.secret_name(self.campaign, score_records.INDEX_FILE)
        keystore.write_secret(self.directory, name, index.to_bytes())

    def files_with(self, *patterns: bytes) -> list[str]:
        """Files below the directory that hold one of these in their bytes, as they are or in hex."""
        spelt = [form for p in patterns for form in (p, p.hex().encode())]
        return sorted(
            path.relative_to(self.directory).as_posix()
            for path in self.directory.rglob("*")
            if path.is_file() and any(form in path.read_bytes() for form in spelt)
        )


@contextmanager
def erasing_platform(directory: Path, plan_body: dict[str, Any]) -> Iterator[ErasingPlatform]:
    """A platform with the campaign's plan in the ledger."""
    platform = platform_files.initialise(directory, name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))
    over = ErasingPlatform(platform, CampaignPlan.from_body(plan_body))
    try:
        alignment.publish_oprf_keys(platform.store, platform.ledger, over.plan)
        yield over
    finally:
        over.close()


def erasing_company(
    over: ErasingPlatform,
    directory: Path,
    company: str,
    *,
    trained: Collection[int],
    scored: Collection[int],
    custodian: RunningCustodian | None = None,
    held: tuple[Collection[int], Collection[int]] | None = None,
) -> ErasingCompany:
    """An enrolled company with tables of these students; it holds what it opened, or `held`."""
    over.enrol(directory, company)
    if custodian is not None:
        custodian.admit(directory)
        over.desk.set_custodian(company, custodian.address.key)
    over.publish(company, TableKind.TRAIN, trained)
    over.publish(company, TableKind.SCORE, scored)
    found = ErasingCompany(over, directory, company)
    mine = held or (trained, scored)
    found.hold(trained=mine[0], scored=mine[1])
    return found

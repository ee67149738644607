"""Which heads the platform takes: a company's first message for a season, whatever happens in between."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noren_core.crypto.head_encryption import CIPHERTEXT_BYTES, HeadSecret, encrypt_head
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.sealed_table import TableReader
from noren_core.errors import (
    DataError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, parse_entry, sign_entry
from noren_core.season.head_message import commitment_body, head_binding, head_layout
from noren_core.season.plan import CampaignPlan
from noren_core.season.score_payload import ADDRESS_BYTES, parse_score_payload
from noren_core.wire.refusal import Refusal
from noren_server import alignment, platform_files, sealed_scoring
from noren_server.sealed_scoring import ScoreRows, SealedScoring
from noren_server.store import EnrolmentRecord
from noren_server.tables import TablePublisher

COMPANY = "company-1"
KEYS = {f"company-{number}": SigningKey.generate() for number in range(1, 6)}
STUDENTS = 5
FEATURES = np.arange(-40, 4 * STUDENTS - 40, dtype=np.int8).reshape(STUDENTS, 4)


ADDRESSES = [bytes([number]) * ADDRESS_BYTES for number in range(STUDENTS)]


def identifier(number: int) -> bytes:
    return b"email\0clerk\0%d" % number


@dataclass
class Process:
    """A platform's process on a directory that others may use as well."""

    platform: platform_files.Platform
    scoring: SealedScoring

    @property
    def publisher(self) -> TablePublisher:
        return TablePublisher(self.platform.store, self.platform.ledger, self.platform.directory / "tables")

    def accept(self, plan: CampaignPlan, message: bytes, *, company: str = COMPANY) -> int:
        body = commitment_body(plan, company, message)
        entry = sign_entry(EntryKind.HEAD_COMMITMENT, company, body, KEYS[company])
        return self.scoring.accept_head(plan, company, message, parse_entry(entry))

    def heads(self) -> list[str]:
        return [
            str(stored.entry.campaign)
            for stored in self.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT)
        ]

    def close(self) -> None:
        self.scoring.close()
        self.platform.store.close()
        self.platform.ledger_store.close()


def started(directory: Path) -> Process:
    platform = platform_files.Platform(directory)
    publisher = TablePublisher(platform.store, platform.ledger, directory / "tables")
    rows = ScoreRows([identifier(number) for number in range(STUDENTS)], FEATURES, ADDRESSES)
    return Process(platform, SealedScoring(platform.store, platform.ledger, publisher, lambda *_: rows))


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def process(tmp_path: Path, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """A platform with two campaigns for the plan's season and one for another; tables are not built."""
    made = platform_files.initialise(tmp_path, name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4))
    made.store.close()
    made.ledger_store.close()
    monkeypatch.setattr(SealedScoring, "_begin", lambda *_: None)
    running = started(tmp_path)
    for name in KEYS:
        enrol(running, name)
    for published in (plan, again(plan), other_season(plan)):
        publish(running, published)
    yield running
    running.close()


def enrol(process: Process, company: str) -> None:
    body = {
        "company": company,
        "signing_key": KEYS[company].public_key.hex(),
        "sealing_key": sha256(company.encode()).hexdigest(),
        "tls_key_sha256": sha256(b"tls" + company.encode()).hexdigest(),
        "node_key_sha256": sha256(b"node" + company.encode()).hexdigest(),
    }
    entry = sign_entry(EntryKind.ENROLMENT, company, body, KEYS[company])
    process.platform.ledger.append_company_entry(parse_entry(entry))
    key = KEYS[company].public_key
    with process.platform.store.transaction() as transaction:
        transaction.add_company(EnrolmentRecord(company, key, key, 100, b"", b"", b"{}", b"{}"))


def publish(process: Process, plan: CampaignPlan) -> None:
    with process.platform.store.transaction() as transaction:
        transaction.add_campaign(plan)
        process.platform.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())


def again(plan: CampaignPlan) -> CampaignPlan:
    return replace(plan, campaign="again")


def other_season(plan: CampaignPlan) -> CampaignPlan:
    return replace(plan, campaign="next-year", score_season="2027")


def message(
    plan: CampaignPlan, heads: Sequence[Sequence[int]] = ((1, 2, 3, 4),), *, company: str = COMPANY
) -> bytes:
    return encrypted(plan, heads, company=company)[1]


def encrypted(
    plan: CampaignPlan, heads: Sequence[Sequence[int]], *, company: str = COMPANY
) -> tuple[HeadSecret, bytes]:
    bits = plan.scoring.weight_bits
    return encrypt_head(heads, weight_bits=bits, binding=head_binding(plan, company))


def refused(process: Process, plan: CampaignPlan) -> bool:
    """Whether a fresh message is refused for being one too many."""
    try:
        process.accept(plan, message(plan))
    except LocalProtocolError as error:
        return error.code == Refusal.HEAD_LIMIT
    return False


def test_a_season_is_scored_once_in_all_campaigns(process: Process, plan: CampaignPlan) -> None:
    """A second campaign for the same season gets no head of this company; another season does."""
    first = message(plan)
    index = process.accept(plan, first)
    assert refused(process, again(plan))
    assert refused(process, plan)
    assert process.accept(plan, first) == index
    assert not refused(process, other_season(plan))
    assert process.heads() == [plan.campaign, "next-year"]


def test_the_other_campaign_may_be_the_first(process: Process, plan: CampaignPlan) -> None:
    """What counts is which head came first, not which campaign."""
    process.accept(again(plan), message(again(plan)))
    assert refused(process, plan)


def test_another_company_has_a_head_of_its_own(process: Process, plan: CampaignPlan) -> None:
    """The limit is each company's."""
    process.accept(plan, message(plan))
    process.accept(again(plan), message(again(plan), company="company-2"), company="company-2")
    with pytest.raises(LocalProtocolError):
        process.accept(plan, message(plan, company="company-2"), company="company-2")


def test_a_new_process_and_a_lost_database_change_nothing(
    process: Process, plan: CampaignPlan, tmp_path: Path
) -> None:
    """The ledger decides: neither a restart nor an emptied table of heads makes room for another."""
    process.accept(plan, message(plan))
    process.close()
    with closing(sqlite3.connect(tmp_path / "platform.db")) as database, database:
        database.execute("DELETE FROM heads")
        database.execute("DELETE FROM campaigns")
    restarted = started(tmp_path)
    try:
        publish(restarted, replace(plan, campaign="third"))
        for campaign in (plan, again(plan), replace(plan, campaign="third")):
            assert refused(restarted, campaign)
        assert restarted.heads() == [plan.campaign]
    finally:
        restarted.close()


def test_two_processes_accept_one_head_between_them(
    process: Process, plan: CampaignPlan, tmp_path: Path
) -> None:
    """Processes that take heads for two campaigns of a season at the same moment take one."""
    second = started(tmp_path)
    start = threading.Barrier(2)
    outcomes: list[str] = []

    def submit(running: Process, campaign: CampaignPlan) -> None:
        entry = message(campaign)
        start.wait()
        try:
            running.accept(campaign, entry)
            outcomes.append("accepted")
        except NorenError as error:
            outcomes.append(error.code)

    threads = [
        threading.Thread(target=submit, args=pair) for pair in ((process, plan), (second, again(plan)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.close()
    assert sorted(outcomes) == [Refusal.HEAD_LIMIT, "accepted"]
    assert len(process.heads()) == 1


def test_refused_messages_leave_the_season_free(process: Process, plan: CampaignPlan) -> None:
    """A broken proof, another campaign's, or another number of heads is refused, and a good one follows."""
    good = message(plan)
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), message(again(plan))):
        with pytest.raises(VerificationError):
            process.accept(plan, bad)
    with pytest.raises(RemoteProtocolError):
        process.accept(plan, message(plan, [[1, 2, 3, 4]] * 2))
    process.accept(plan, good)


@pytest.mark.parametrize(("heads", "weight_bits"), [(1, 8), (3, 8), (2, 12)])
def test_every_head_of_a_message_is_answered(
    process: Process, plan: CampaignPlan, heads: int, weight_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table holds k scores per student, exact at the ends of the weights' range, block after block."""
    monkeypatch.setattr(sealed_scoring, "_BLOCK_STUDENTS", 2)
    wide = replace(
        plan,
        campaign="wide",
        score_season="2028",
        scoring=replace(plan.scoring, heads=heads, weight_bits=weight_bits),
    )
    publish(process, wide)
    alignment.publish_oprf_keys(process.platform.store, process.platform.ledger, wide)
    half = 1 << (weight_bits - 1)
    weights = [[-half, half - 1, half - 1, -half], [1, -2, 3, -4], [0, 0, 0, 0]][:heads]
    secret, sent = encrypted(wide, weights)
    process.accept(wide, sent)
    with pytest.raises(LocalProtocolError) as caught:
        process.scoring.publish_score_table(wide, COMPANY)
    assert caught.value.code == Refusal.GATE_NOT_OPEN
    open_gate(process, wide)
    process.scoring.publish_score_table(wide, COMPANY)
    assert opened(process, wide, secret) == (FEATURES.astype(np.int64) @ np.array(weights).T).tolist()


def open_gate(process: Process, plan: CampaignPlan, *, company: str = COMPANY) -> None:
    body = {"campaign": plan.campaign, "company": company, "batch": 0}
    known = process.platform.ledger_store.size  # a new entry every time
    process.platform.ledger.append_platform_entry(EntryKind.GATE_OPENED, {**body, "opened_at": known})


def opened(process: Process, plan: CampaignPlan, secret: HeadSecret) -> list[list[int]]:
    table = process.scoring.table(plan.campaign, COMPANY)
    assert table is not None
    key = alignment.oprf_key(process.platform.store, plan.campaign, COMPANY, TableKind.SCORE)
    outputs = alignment.evaluate_identifiers(key, [identifier(number) for number in range(STUDENTS)])
    reader = TableReader(table.manifest, table.chunk_hashes, dict(enumerate(outputs)))
    for index, chunk in process.publisher.chunks(table, 0):
        reader.feed(index, chunk)
    layout = head_layout(plan)
    rows = {number: parse_score_payload(plan, payload) for number, payload in reader.rows.items()}
    addresses = {number: row.disclosure_key + row.mailbox for number, row in rows.items()}
    assert addresses == dict(enumerate(ADDRESSES))
    return [
        secret.decrypt(
            [
                rows[number].ciphertexts[start : start + CIPHERTEXT_BYTES]
                for start in range(0, layout.payload_bytes, CIPHERTEXT_BYTES)
            ],
            bound=layout.score_bound,
        )
        for number in range(STUDENTS)
    ]


# The gate


def with_keys_and_head(process: Process, plan: CampaignPlan, *companies: str) -> None:
    alignment.publish_oprf_keys(process.platform.store, process.platform.ledger, plan)
    for company in companies:
        process.accept(plan, message(plan, company=company), company=company)


def test_a_table_is_made_once_head_and_gate_are_there(
    process: Process, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes last begins it; neither alone does, and a restart goes on where that stands."""
    begun: list[str] = []
    monkeypatch.setattr(SealedScoring, "_begin", lambda _, plan, company: begun.append(company))
    with_keys_and_head(process, plan, COMPANY)
    process.scoring.resume()
    process.scoring.gate_opened(plan, COMPANY)
    assert begun == []
    open_gate(process, plan, company="company-2")
    process.scoring.gate_opened(plan, "company-2")
    assert begun == []
    process.accept(plan, message(plan, company="company-2"), company="company-2")
    assert begun == ["company-2"]
    open_gate(process, plan)
    process.scoring.gate_opened(plan, COMPANY)
    assert begun == ["company-2", COMPANY]
    process.scoring.publish_score_table(plan, COMPANY)
    process.scoring.gate_opened(plan, COMPANY)
    process.scoring.resume()
    assert begun == ["company-2", COMPANY, "company-2"]


def test_every_opening_asks_for_a_newer_table(process: Process, plan: CampaignPlan) -> None:
    """What was made before the gate was opened last is not served, and is made again once."""
    with_keys_and_head(process, plan, COMPANY)
    open_gate(process, plan)
    process.scoring.publish_score_table(plan, COMPANY)
    first = process.scoring.table(plan.campaign, COMPANY)
    assert first is not None
    process.scoring.publish_score_table(plan, COMPANY)
    assert process.scoring.table(plan.campaign, COMPANY) == first
    open_gate(process, plan)
    assert process.scoring.table(plan.campaign, COMPANY) is None
    process.scoring.publish_score_table(plan, COMPANY)
    second = process.scoring.table(plan.campaign, COMPANY)
    assert second is not None
    assert second.manifest.context.table_id != first.manifest.context.table_id


def test_a_refresh_replaces_every_open_companys_table(process: Process, plan: CampaignPlan) -> None:
    """All of the campaign at one time; who has no open gate, or no head, gets none; others' stay."""
    companies = ("company-1", "company-2", "company-3")
    with_keys_and_head(process, plan, *companies)
    for company in ("company-1", "company-2", "company-4"):
        open_gate(process, plan, company=company)
    process.scoring.publish_score_table(plan, "company-1")
    first = process.scoring.table(plan.campaign, "company-1")
    process.scoring.refresh(plan.campaign)
    made = {company: process.scoring.table(plan.campaign, company) for company in KEYS}
    assert {company for company, table in made.items() if table is not None} == {"company-1", "company-2"}
    assert made["company-1"] != first
    for name in ("unknown", plan.campaign):
        with process.platform.store.transaction() as transaction:
            transaction.close_campaign(plan.campaign)
        with pytest.raises(LocalProtocolError) as caught:
            process.scoring.refresh(name)
        assert caught.value.code == Refusal.NOT_AVAILABLE


def test_a_suspension_ends_what_is_being_computed_and_leaves_its_company_out(
    process: Process, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-SVC-1: no block of students is scored any more, no table appears, and others get theirs."""
    monkeypatch.setattr(sealed_scoring, "_BLOCK_STUDENTS", 2)
    with_keys_and_head(process, plan, "company-1", "company-2")
    for company in ("company-1", "company-2"):
        open_gate(process, plan, company=company)
    blocks: list[str] = []

    def is_running(company: str, _campaign: str) -> bool:
        blocks.append(company)
        return company != COMPANY or blocks.count(COMPANY) < 3

    platform = process.platform
    rows = ScoreRows([identifier(number) for number in range(STUDENTS)], FEATURES, ADDRESSES)
    scoring = SealedScoring(
        platform.store, platform.ledger, process.publisher, lambda *_: rows, is_running=is_running
    )
    with pytest.raises(LocalProtocolError) as caught:
        scoring.publish_score_table(plan, COMPANY)
    assert caught.value.code == Refusal.SERVICE_SUSPENDED
    scoring.refresh(plan.campaign)
    scoring.close()
    made = {company: scoring.table(plan.campaign, company) for company in ("company-1", "company-2")}
    assert {company for company, table in made.items() if table is not None} == {"company-2"}
    tables = platform.ledger_store.entries(kind=EntryKind.TABLE)
    assert [stored.entry.company for stored in tables] == ["company-2"]


@pytest.mark.parametrize("addresses", [(), ADDRESSES[:-1], [*ADDRESSES[:-1], bytes(ADDRESS_BYTES - 1)]])
def test_a_row_without_an_address_is_not_sealed(
    process: Process, plan: CampaignPlan, addresses: Sequence[bytes]
) -> None:
    """A score whose student could not be given a copy is not made, for anybody."""
    with_keys_and_head(process, plan, COMPANY)
    open_gate(process, plan)
    rows = ScoreRows([identifier(number) for number in range(STUDENTS)], FEATURES, addresses)
    platform = process.platform
    scoring = SealedScoring(platform.store, platform.ledger, process.publisher, lambda *_: rows)
    with pytest.raises(DataError):
        scoring.publish_score_table(plan, COMPANY)
    assert scoring.table(plan.campaign, COMPANY) is None
    scoring.close()

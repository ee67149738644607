"""The platform's database: atomic counters, and what may exist once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noren_core.crypto.oprf import generate_key_pair
from noren_core.errors import BudgetExceededError, LocalProtocolError
from noren_core.ids import TableKind
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_server.store import CompanyState, EnrolmentRecord, Store, StoredHead

TRAIN = TableKind.TRAIN
RECORD = EnrolmentRecord(
    name="company-1",
    signing_key=b"s" * 32,
    sealing_key=b"x" * 32,
    declared_size=40,
    tls_request=b"request",
    node_key=b"node",
    enrolment_entry=b"{}",
    agreement_entry=b"{}",
)


@pytest.fixture
def store(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[Store]:
    """A database with one pending company, one campaign and a key for the company."""
    opened = Store.open(tmp_path / "platform.db")
    plan = CampaignPlan.from_body(plan_body)
    with opened.transaction() as transaction:
        transaction.add_company(RECORD)
        transaction.add_campaign(plan)
        transaction.add_oprf_key(plan.campaign, "company-1", TRAIN, generate_key_pair())
    yield opened
    opened.close()


def test_the_file_is_private(store: Store, tmp_path: Path) -> None:
    """The database holds OPRF keys, so nobody else can read it or its log."""
    assert [path.stat().st_mode & 0o077 for path in tmp_path.glob("platform.db*")] == [0] * 3


def test_a_count_beyond_the_limit_changes_nothing(store: Store) -> None:
    """Exactly the limit is allowed; one more is refused and leaves the counter."""
    with store.transaction() as transaction:
        transaction.count_batch("spring-2026", "company-1", TRAIN, b"first", 100, limit=128)
        with pytest.raises(BudgetExceededError) as caught:
            transaction.count_batch("spring-2026", "company-1", TRAIN, b"second", 29, limit=128)
        assert not transaction.is_counted("spring-2026", "company-1", TRAIN, b"second")
        transaction.count_batch("spring-2026", "company-1", TRAIN, b"third", 28, limit=128)
        stored = transaction.oprf_key("spring-2026", "company-1", TRAIN)
    assert caught.value.code == Refusal.EVALUATION_LIMIT
    assert stored is not None
    assert stored.evaluations == 128


def test_a_batch_is_counted_once(store: Store) -> None:
    """The same batch counted again changes nothing, at the limit too; another company has its own."""
    with store.transaction() as transaction:
        transaction.count_batch("spring-2026", "company-1", TRAIN, b"batch", 128, limit=128)
        transaction.count_batch("spring-2026", "company-1", TRAIN, b"batch", 128, limit=128)
        stored = transaction.oprf_key("spring-2026", "company-1", TRAIN)
        assert transaction.is_counted("spring-2026", "company-1", TRAIN, b"batch")
        assert not transaction.is_counted("spring-2026", "company-2", TRAIN, b"batch")
        assert not transaction.is_counted("autumn-2026", "company-1", TRAIN, b"batch")
    assert stored is not None
    assert stored.evaluations == 128


COUNT_UNTIL_REFUSED = """
import pathlib, secrets, sys
from noren_core.errors import BudgetExceededError
from noren_core.ids import TableKind
from noren_server.store import Store
store, counted = Store.open(pathlib.Path(sys.argv[1])), 0
try:
    while counted < 200:
        with store.transaction() as transaction:
            batch = secrets.token_bytes(32)
            transaction.count_batch(
                "spring-2026", "company-1", TableKind.TRAIN, batch, 1, limit=64
            )
        counted += 1
except BudgetExceededError:
    print(counted)
"""


def test_two_processes_share_one_limit(store: Store, tmp_path: Path) -> None:
    """Two processes that count at the same time get the limit together, not each."""
    command = [sys.executable, "-c", COUNT_UNTIL_REFUSED, str(tmp_path / "platform.db")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate(timeout=60)[0]) for process in running) == 64


def count_and_fail(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.count_batch("spring-2026", "company-1", TRAIN, b"batch", 5, limit=128)
        raise LocalProtocolError("stop")


def test_an_exception_undoes_the_transaction(store: Store) -> None:
    """What was written before the exception is not there afterwards."""
    with pytest.raises(LocalProtocolError):
        count_and_fail(store)
    with store.transaction() as transaction:
        stored = transaction.oprf_key("spring-2026", "company-1", TRAIN)
        is_counted = transaction.is_counted("spring-2026", "company-1", TRAIN, b"batch")
    assert stored is not None
    assert stored.evaluations == 0
    assert not is_counted


@pytest.mark.parametrize("second", [RECORD, replace(RECORD, name="company-2")])
def test_a_company_or_key_enrols_once(store: Store, second: EnrolmentRecord) -> None:
    """Neither the same name nor another name for the same signing key is taken a second time."""
    with pytest.raises(LocalProtocolError) as caught, store.transaction() as transaction:
        transaction.add_company(second)
    assert caught.value.code == Refusal.ALREADY_ENROLLED


def test_a_second_head_violates_the_database(store: Store) -> None:
    """One head per company and campaign holds even for code that does not look first."""
    with store.transaction() as transaction:
        transaction.add_head(StoredHead("spring-2026", "company-1", b"first"))
    with pytest.raises(LocalProtocolError) as caught, store.transaction() as transaction:
        transaction.add_head(StoredHead("spring-2026", "company-1", b"second"))
    assert caught.value.code == Refusal.HEAD_LIMIT


def test_only_an_approved_certificate_lets_in(store: Store) -> None:
    """A company is found by its certificate between approval and revocation only."""
    found = []
    with store.transaction() as transaction:
        found.append(transaction.company_with_certificate(b"c" * 32))
        transaction.approve_company("company-1", certificate=b"pem", sha256=b"c" * 32)
        found.append(transaction.company_with_certificate(b"c" * 32))
        transaction.revoke_company("company-1")
        found.append(transaction.company_with_certificate(b"c" * 32))
        with pytest.raises(LocalProtocolError):
            transaction.approve_company("company-1", certificate=b"pem", sha256=b"c" * 32)
    assert [company.state if company else None for company in found] == [None, CompanyState.APPROVED, None]


def test_a_released_row_stays_as_first_drawn(store: Store) -> None:
    """A later payload for a known row is discarded; a new row is kept."""
    with store.transaction() as transaction:
        transaction.keep_released_rows("spring-2026", "company-1", {b"a": b"first"})
        kept = transaction.keep_released_rows("spring-2026", "company-1", {b"a": b"again", b"b": b"new"})
        assert kept == {b"a": b"first", b"b": b"new"}
        assert transaction.released_rows("spring-2026", "company-1") == kept

"""Revoking rows of a published table: whose, when, and what the list does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from noren_core.crypto.revocation_list import RevocationList, open_revocations
from noren_core.crypto.sealed_table import row_secrets
from noren_core.ids import TableKind
from noren_core.season.plan import CampaignPlan
from noren_server import alignment, platform_files
from noren_server.revocation import Revocations
from noren_server.store import EnrolmentRecord, StoredTable
from noren_server.tables import TablePublisher

COMPANY, KIND = "company-1", TableKind.TRAIN


def identifier(number: int) -> bytes:
    return b"consent-code\0student-%d" % number


@dataclass
class Campaign:
    """A platform with one company, and who withdrew so far."""

    platform: platform_files.Platform
    plan: CampaignPlan
    withdrawn: list[int] = field(default_factory=list)

    @property
    def publisher(self) -> TablePublisher:
        return TablePublisher(
            self.platform.store, self.platform.ledger, self.platform.directory / "tables", chunk_rows=16
        )

    @property
    def table(self) -> StoredTable:
        table = self.publisher.table(self.plan.campaign, COMPANY, KIND)
        assert table is not None
        return table

    def service(self) -> Revocations:
        """As a process that was started just now has it."""

        def source(plan: CampaignPlan, company: str, kind: TableKind) -> list[bytes]:
            assert (plan, company, kind) == (self.plan, COMPANY, KIND)
            return [identifier(number) for number in self.withdrawn]

        return Revocations(self.platform.store, self.publisher, self.platform.signing_key, source)

    def publish(self, students: range) -> None:
        rows = zip(self.outputs(students), (bytes(8) for _ in students), strict=True)
        self.publisher.publish(self.plan, COMPANY, KIND, rows, count=len(students), payload_bytes=8)

    def outputs(self, students: range) -> list[bytes]:
        key = alignment.oprf_key(self.platform.store, self.plan.campaign, COMPANY, KIND)
        return alignment.evaluate_identifiers(key, [identifier(number) for number in students])

    def tags(self, students: range) -> set[bytes]:
        context = self.table.manifest.context
        return {row_secrets(output, context)[0] for output in self.outputs(students)}

    def in_table(self) -> set[bytes]:
        row = self.table.manifest.row_bytes
        data = b"".join(chunk for _, chunk in self.publisher.chunks(self.table, 0))
        return {data[start : start + 16] for start in range(0, len(data), row)}


@pytest.fixture
def campaign(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[Campaign]:
    platform = platform_files.initialise(
        tmp_path / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0)
    )
    plan = CampaignPlan.from_body(plan_body)
    with platform.store.transaction() as transaction:
        for number, company in enumerate(plan.companies):
            key = bytes([number]) * 32
            transaction.add_company(EnrolmentRecord(company, key, key, 40, b"r", b"n", b"{}", b"{}"))
        transaction.add_campaign(plan)
    alignment.publish_oprf_keys(platform.store, platform.ledger, plan)
    yield Campaign(platform, plan)
    platform.store.close()
    platform.ledger_store.close()


def newest(campaign: Campaign, service: Revocations) -> RevocationList:
    data, signature = service.newest(campaign.plan, campaign.table)
    return open_revocations(
        data,
        signature,
        platform_key=campaign.platform.signing_key.public_key,
        table_id=campaign.table.manifest.context.table_id,
    )


def test_who_withdraws_is_listed_among_random_rows_of_the_table(campaign: Campaign) -> None:
    """Sixty-four tags before and after, all of them in the table; hers appears when she withdraws."""
    campaign.publish(range(10))
    service = campaign.service()
    before = newest(campaign, service)
    campaign.withdrawn = [3]
    after = newest(campaign, service)
    assert (before.sequence, after.sequence) == (1, 2)
    for revocations in (before, after):
        assert len(revocations.tags) == 64
        assert set(revocations.tags) <= campaign.in_table()
    students = campaign.tags(range(10))
    assert set(before.tags) & students == set()
    assert set(after.tags) & students == campaign.tags(range(3, 4))


def test_who_was_never_in_the_table_does_not_appear(campaign: Campaign) -> None:
    """Withdrawing before publication leaves the list as if she had never consented."""
    campaign.publish(range(10))
    service = campaign.service()
    before = newest(campaign, service)
    campaign.withdrawn = [50, 51, 52]
    assert newest(campaign, service) == before


def test_asking_again_gives_the_same_bytes(campaign: Campaign) -> None:
    """Also from a new process, as long as nobody else withdraws."""
    campaign.publish(range(10))
    campaign.withdrawn = [3, 50]
    service = campaign.service()
    first = service.newest(campaign.plan, campaign.table)
    assert service.newest(campaign.plan, campaign.table) == first
    assert campaign.service().newest(campaign.plan, campaign.table) == first


def test_a_consent_that_comes_again_brings_no_row_back(campaign: Campaign) -> None:
    """What was revoked stays revoked for this table, in this process and the next."""
    campaign.publish(range(10))
    campaign.withdrawn = [3]
    service = campaign.service()
    revoked = newest(campaign, service)
    campaign.withdrawn = []
    assert newest(campaign, service) == revoked
    assert newest(campaign, campaign.service()) == revoked
    campaign.withdrawn = [3, 4]
    grown = newest(campaign, campaign.service())
    assert grown.sequence == revoked.sequence + 1
    assert set(grown.tags) & campaign.tags(range(10)) == campaign.tags(range(3, 5))


def test_a_full_table_has_enough_random_rows(campaign: Campaign) -> None:
    """Where sixty-four students fill a table as far as may be, the list is full whoever withdraws."""
    campaign.publish(range(64))
    service = campaign.service()
    for count, length in ((0, 64), (1, 64), (63, 64), (64, 64)):
        campaign.withdrawn = list(range(count))
        revocations = newest(campaign, service)
        assert len(revocations.tags) == length
        assert set(revocations.tags) & campaign.tags(range(64)) == campaign.tags(range(count))


def test_what_failed_to_be_kept_is_tried_again(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """A withdrawal whose revocation did not reach the disk is not forgotten."""
    campaign.publish(range(10))
    campaign.withdrawn = [3]
    service = campaign.service()
    with monkeypatch.context() as down:
        down.setattr("noren_server.store.Transaction.add_revocations", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            service.newest(campaign.plan, campaign.table)
    assert newest(campaign, service).sequence == 2


def test_nobody_is_looked_up_twice(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluating identifiers is dear: a process does it once for each."""
    campaign.publish(range(10))
    service = campaign.service()
    evaluated: list[int] = []
    evaluate = alignment.evaluate_identifiers

    def counted(key: Any, identifiers: list[bytes]) -> list[bytes]:
        evaluated.append(len(identifiers))
        return evaluate(key, identifiers)

    monkeypatch.setattr("noren_server.revocation.alignment.evaluate_identifiers", counted)
    for campaign.withdrawn in ([3], [3, 4], [3, 4]):
        newest(campaign, service)
    assert evaluated == [1, 1, 0]

"""What sums are made of: the committed rows, in the table's order, of those who still consent."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.sealed_sums import open_sums
from noren_core.crypto.sealed_table import TAG_BYTES, row_secrets
from noren_core.crypto.weight_encryption import MessageDigest, WeightSecret, encrypt_weights
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, parse_entry, sign_entry
from noren_core.season.plan import CampaignPlan
from noren_core.season.weights_message import weight_layout, weights_binding, weights_body
from noren_server import alignment, platform_files, sealed_statistics
from noren_server.sealed_scoring import ScoreRows
from noren_server.sealed_statistics import Answer, SealedStatistics
from noren_server.store import EnrolmentRecord, StoredTable
from noren_server.tables import TablePublisher

COMPANY = "company-1"
KEY = SigningKey.generate()
STUDENTS = 5
FEATURES = np.arange(-40, 4 * STUDENTS - 40, dtype=np.int8).reshape(STUDENTS, 4)


def identifier(number: int) -> bytes:
    return b"email\0%d" % number


class Process:
    """A platform with a published training table, and whose consents a test can withdraw."""

    def __init__(self, directory: Path, plan: CampaignPlan) -> None:
        self.platform = platform_files.Platform(directory)
        self.plan = plan
        self.live = list(range(STUDENTS))
        self.publisher = TablePublisher(self.platform.store, self.platform.ledger, directory / "tables")
        self.statistics = SealedStatistics(
            self.platform.store, self.platform.ledger, self.publisher, self._rows, directory / "statistics"
        )

    def _rows(self, _plan: CampaignPlan, company: str) -> ScoreRows:
        numbers = self.live if company == COMPANY else []
        return ScoreRows([identifier(number) for number in numbers], FEATURES[numbers])

    @property
    def table(self) -> StoredTable:
        table = self.publisher.table(self.plan.campaign, COMPANY, TableKind.TRAIN)
        assert table is not None
        return table

    @property
    def tags(self) -> list[bytes]:
        """Of the students, by number."""
        key = alignment.oprf_key(self.platform.store, self.plan.campaign, COMPANY, TableKind.TRAIN)
        outputs = alignment.evaluate_identifiers(key, [identifier(number) for number in range(STUDENTS)])
        return [row_secrets(output, self.table.manifest.context)[0] for output in outputs]

    @property
    def positions(self) -> list[int]:
        """Where the students' rows stand."""
        width = self.table.manifest.row_bytes
        data = b"".join(chunk for _, chunk in self.publisher.chunks(self.table, 0))
        order = [data[start : start + TAG_BYTES] for start in range(0, len(data), width)]
        return [order.index(tag) for tag in self.tags]

    def rows(self) -> npt.NDArray[np.int8]:
        """What is kept of the rows."""
        path = self.platform.directory / "statistics" / self.plan.campaign / f"{COMPANY}.rows"
        return np.frombuffer(path.read_bytes(), dtype=np.int8).reshape(-1, 4)

    def answer(self, weights: npt.NDArray[np.int8], secret: WeightSecret) -> Answer:
        """The answer to an honest message."""
        manifest, digest = self.table.manifest, MessageDigest()
        parts = encrypt_weights(
            weights,
            secret,
            weight_layout(self.plan, manifest),
            binding=weights_binding(self.plan, manifest),
        )
        with self.statistics.receiving(self.plan, COMPANY) as message:
            for part in parts:
                digest.add(part)
                message.add(part)
            body = weights_body(manifest, digest.commitment)
            entry = sign_entry(EntryKind.WEIGHTS_COMMITMENT, COMPANY, body, KEY)
            return message.answer(parse_entry(entry))

    def close(self) -> None:
        self.platform.store.close()
        self.platform.ledger_store.close()


@pytest.fixture
def process(tmp_path: Path, statistics_plan_body: dict[str, Any]) -> Iterator[Process]:
    made = platform_files.initialise(tmp_path, name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4))
    made.store.close()
    made.ledger_store.close()
    plan = CampaignPlan.from_body(statistics_plan_body)
    running = Process(tmp_path, plan)
    keys = {"signing_key": KEY.public_key.hex(), "sealing_key": "ab" * 32}
    body = {"company": COMPANY, **keys, "tls_key_sha256": "cd" * 32, "node_key_sha256": "ef" * 32}
    running.platform.ledger.append_company_entry(
        parse_entry(sign_entry(EntryKind.ENROLMENT, COMPANY, body, KEY))
    )
    with running.platform.store.transaction() as transaction:
        for company in plan.companies:
            key = company.encode()
            transaction.add_company(EnrolmentRecord(company, key, key, 50, b"", b"", b"", b""))
        transaction.add_campaign(plan)
    rows = {COMPANY: [(identifier(number), bytes(1)) for number in range(STUDENTS)]}
    running.publisher.publish_training_tables(plan, rows)
    yield running
    running.close()


def test_rows_stand_where_the_table_has_them_and_dummies_are_zeros(process: Process) -> None:
    process.statistics.commit_rows(process.plan, COMPANY)
    rows = process.rows()
    assert len(rows) == process.table.manifest.padded_rows
    assert (rows[process.positions] == FEATURES).all()
    assert np.count_nonzero(rows.any(axis=1)) == STUDENTS


@pytest.mark.parametrize("how", ["withdrawn", "revoked"])
def test_who_withdrew_before_the_commitment_has_zeros(process: Process, how: str) -> None:
    """By the consents of now, or by a revocation that stands although a consent came again."""
    if how == "withdrawn":
        process.live.remove(2)
    else:
        tag, table_id = process.tags[2], process.table.manifest.context.table_id
        with process.platform.store.transaction() as transaction:
            transaction.add_revocations(table_id, [tag])
    process.statistics.commit_rows(process.plan, COMPANY)
    rows = process.rows()[process.positions]
    assert not rows[2].any()
    assert (np.delete(rows, 2, axis=0) == np.delete(FEATURES, 2, axis=0)).all()


def test_the_first_commitment_decides(process: Process) -> None:
    """A later withdrawal changes neither rows nor entry."""
    first = process.statistics.commit_rows(process.plan, COMPANY)
    before = process.rows().copy()
    process.live.remove(2)
    assert process.statistics.commit_rows(process.plan, COMPANY) == first
    assert (process.rows() == before).all()


def test_sums_are_of_these_rows_with_noise(process: Process) -> None:
    """Opened with the company's key: the weighted sum, up to the plan's noise, which is not zero."""
    process.statistics.commit_rows(process.plan, COMPANY)
    statistics, manifest = process.plan.statistics, process.table.manifest
    weights = np.zeros(manifest.padded_rows, dtype=np.int8)
    weights[process.positions[:3]] = statistics.positive
    weights[process.positions[3:]] = -statistics.negative
    secret = WeightSecret.generate()
    answer = process.answer(weights, secret)
    variance = Fraction(statistics.variance)
    sums = open_sums(answer.sums, secret, weight_layout(process.plan, manifest), columns=4, variance=variance)
    expected = weights[process.positions].astype(np.int64) @ FEATURES.astype(np.int64)
    assert np.abs(np.array(sums) - expected).max() < 8 * float(variance) ** 0.5
    assert (np.array(sums) != expected).any()


def test_a_second_message_at_once_has_to_wait(process: Process) -> None:
    """One call of a company at a time."""
    process.statistics.commit_rows(process.plan, COMPANY)
    with (
        process.statistics.receiving(process.plan, COMPANY),
        pytest.raises(LocalProtocolError) as refused,
        process.statistics.receiving(process.plan, COMPANY),
    ):
        pass
    assert refused.value.code == "NOT_READY"


@pytest.mark.parametrize("seed_of", ["another", "none"])
def test_a_recomputation_needs_the_seed_of_the_ledger(
    process: Process, monkeypatch: pytest.MonkeyPatch, seed_of: str
) -> None:
    process.statistics.commit_rows(process.plan, COMPANY)
    weights = np.zeros(process.table.manifest.padded_rows, dtype=np.int8)
    process.answer(weights, WeightSecret.generate())
    process.statistics.recompute(process.plan, COMPANY)
    seed = sealed_statistics.AnswerSeed.generate() if seed_of == "another" else None
    monkeypatch.setattr(process.statistics, "_seed", lambda *_: seed)
    with pytest.raises((VerificationError, LocalProtocolError)):
        process.statistics.recompute(process.plan, COMPANY)


def test_an_answer_that_the_ledger_has_otherwise_is_found(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform that sent something else than the sums of its rows."""
    process.statistics.commit_rows(process.plan, COMPANY)
    honest = sealed_statistics._released

    def exchanged(*given: Any) -> bytes:
        answer = honest(*given)
        return answer[66:] + answer[:66]

    weights = np.zeros(process.table.manifest.padded_rows, dtype=np.int8)
    with monkeypatch.context() as patch:
        patch.setattr(sealed_statistics, "_released", exchanged)
        process.answer(weights, WeightSecret.generate())
    with pytest.raises(VerificationError, match="the answer of the ledger"):
        process.statistics.recompute(process.plan, COMPANY)


def test_a_platform_that_lost_its_seed_commits_to_no_other(process: Process) -> None:
    """An older database: other noise would undo half of what was sent."""
    process.statistics.commit_rows(process.plan, COMPANY)
    weights = np.zeros(process.table.manifest.padded_rows, dtype=np.int8)
    secret = WeightSecret.generate()
    process.answer(weights, secret)
    with process.platform.store.transaction() as transaction:
        transaction.forget_answer_seeds(process.plan.campaign)
    with pytest.raises(LocalProtocolError) as refused:
        process.statistics.commit_rows(process.plan, COMPANY)
    assert refused.value.code == "NOT_AVAILABLE"
    with pytest.raises(LocalProtocolError):
        process.answer(weights, secret)
    for kind in (EntryKind.STATISTICS_ROWS, EntryKind.STATISTICS_ANSWER):
        assert len(process.platform.ledger_store.entries(kind=kind)) == 1


def test_rows_that_changed_on_disk_are_not_summed(process: Process) -> None:
    """The ledger has the commitment to others; an answer made of these would stand against the platform."""
    process.statistics.commit_rows(process.plan, COMPANY)
    path = process.platform.directory / "statistics" / process.plan.campaign / f"{COMPANY}.rows"
    path.write_bytes(bytes(len(path.read_bytes())))
    weights = np.zeros(process.table.manifest.padded_rows, dtype=np.int8)
    for ask in (
        lambda: process.statistics.commit_rows(process.plan, COMPANY),
        lambda: process.answer(weights, WeightSecret.generate()),
    ):
        with pytest.raises(LocalProtocolError) as refused:
            ask()
        assert refused.value.code == "NOT_AVAILABLE"
    assert not process.platform.ledger_store.entries(kind=EntryKind.WEIGHTS_COMMITMENT)

"""An order comes, rows go, a certificate says so; and a copy from before is found out and unreadable."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from erasing_companies import (
    ErasingCompany,
    ErasingPlatform,
    erasing_company,
    erasing_platform,
    identifier,
    mailbox,
)
from loopback_custodian import RunningCustodian, running_custodian

from noren_client import campaign_files, evaluated_identifiers, replay_data
from noren_client.gate import score_records
from noren_client.rights import orders
from noren_core import canonical_json
from noren_core.errors import LocalProtocolError, NorenError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, ErasureGround
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.rights.erasure.deletion_certificate import CertificateState, parse_certificate
from noren_core.rights.erasure.erasure_order import HoldReason, LegalHold, OrderState

LEAVES = 3
STUDENTS = range(1, 6)


@pytest.fixture
def custodian(tmp_path: Path) -> Iterator[RunningCustodian]:
    with running_custodian(tmp_path / "custodian", lambda: int(time.time())) as running:
        yield running


@pytest.fixture
def over(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[ErasingPlatform]:
    with erasing_platform(tmp_path / "platform", plan_body) as platform:
        yield platform


@pytest.fixture
def company(over: ErasingPlatform, custodian: RunningCustodian, tmp_path: Path) -> ErasingCompany:
    found = erasing_company(
        over,
        tmp_path / "company-1",
        "company-1",
        trained=STUDENTS,
        scored=STUDENTS,
        custodian=custodian,
    )
    found.places = (tmp_path / "temporary",)
    (tmp_path / "temporary").mkdir()
    return found


def about(company: ErasingCompany, student: int) -> list[bytes]:
    """Everything that identifies a student at the company."""
    found = [identifier(student), mailbox(student, company.company)]
    for kind in TableKind:
        found += company.over.outputs(company.company, kind, [student]).values()
        found += company.over.tags(company.company, kind, [student]).values()
    return found


def withdraw(over: ErasingPlatform, *students: int) -> None:
    for kind in TableKind:
        over.withdrawn[kind] += students


def opened(company: ErasingCompany) -> list[bytes]:
    """Every secret and every custody record, opened."""
    from noren_client.company_secrets import secrets_of, stored_in

    sealed = secrets_of(company.directory)
    found = [s.reveal() for name in stored_in(company.directory).names() if (s := sealed.read(name))]
    with company.custody() as custody:
        return [*found, *(custody.read(name) or b"" for name in custody.names(company.campaign))]


def is_anywhere(company: ErasingCompany, *patterns: bytes) -> bool:
    """Whether one of these is in a file, as it lies there or opened; revocation lists may have tags."""
    if [name for name in company.files_with(*patterns) if "revocations-" not in name]:
        return True
    forms = [form for p in patterns for form in (p, p.hex().encode())]
    return any(form in data for data in opened(company) for form in forms)


def test_who_left_is_nowhere_any_more(company: ErasingCompany, over: ErasingPlatform) -> None:
    """Rows, scores, notes, evaluated identifiers and downloads of hers go; everybody else's stay."""
    withdraw(over, LEAVES)
    assert is_anywhere(company, *about(company, LEAVES))
    over.issue()
    assert company.erase()
    assert not is_anywhere(company, *about(company, LEAVES))
    left = [student for student in STUDENTS if student != LEAVES]
    training_set = campaign_files.load_training_set(company.directory, company.campaign)
    assert set(training_set.tags) == set(over.tags("company-1", TableKind.TRAIN, left).values())
    index = score_records.load(company.directory, company.campaign)
    assert {person.identifier for person in index.people} == {identifier(student) for student in left}
    replayed = json.loads(replay_data.export(company.directory, company.campaign))
    assert len(replayed["rows"]) == len(left)
    assert replayed["rows_erased"] is True
    kept = evaluated_identifiers.kept_outputs(company.directory, company.campaign, TableKind.TRAIN)
    assert len(kept) == len(STUDENTS)  # hers are random bytes now: she is not evaluated again
    with company.custody() as custody:
        assert len(custody.names(company.campaign, ArtefactClass.SCORE)) == len(left)
        assert len(custody.names(company.campaign, ArtefactClass.FOLLOW_UP)) == len(left)
    assert not list((company.directory / "campaigns" / company.campaign).glob("*.download"))
    (followed,) = over.desk.orders()
    assert (followed.state, followed.certificate) == (OrderState.VERIFIED, CertificateState.VERIFIED)
    assert not company.erase()


def test_an_order_says_and_a_certificate_tells_nothing_about_who_applied(
    over: ErasingPlatform, custodian: RunningCustodian, tmp_path: Path
) -> None:
    """Two companies, one of which held the person: what leaves them differs in ids and signatures only."""
    companies = [
        erasing_company(
            over,
            tmp_path / name,
            name,
            trained=STUDENTS,
            scored=STUDENTS,
            custodian=custodian,
            held=(held, held),
        )
        for name, held in (("company-1", STUDENTS), ("company-2", range(5, 6)))
    ]
    withdraw(over, LEAVES)
    over.issue()
    bodies = []
    for company in companies:
        assert company.erase()
        (data,) = company.rights.delivered
        body = canonical_json.parse_object(data)["certificate"]["body"]
        for varying in (
            "certificate_id",
            "order_id",
            "order_sha256",
            "inventory",
            "company",
            "completed_at",
        ):
            del body[varying]
        bodies.append((body, len(data)))
    assert bodies[0] == bodies[1]
    text = canonical_json.encode(bodies[0][0])
    assert not [word for word in (b"count", b"number", b"rows") if word in text]


def test_yesterdays_copy_is_refused_unreadable_and_erased_again(
    company: ErasingCompany, over: ErasingPlatform, tmp_path: Path
) -> None:
    """A restored backup is found out, its custody records have no key, and erasing again repairs it."""
    shutil.copytree(company.directory, tmp_path / "backup")
    withdraw(over, LEAVES)
    over.issue()
    with pytest.raises(LocalProtocolError) as refused:
        company.verify_up_to_date()
    assert refused.value.code == "PENDING_ERASURE_ORDERS"
    company.erase()
    company.verify_up_to_date()
    shutil.rmtree(company.directory)
    shutil.copytree(tmp_path / "backup", company.directory)
    with pytest.raises(LocalProtocolError) as refused:
        company.verify_up_to_date()
    assert refused.value.code == "RESTORE_NEEDS_TOMBSTONES"
    with company.custody() as custody:
        for name in custody.names(company.campaign):
            with pytest.raises(LocalProtocolError) as gone:
                custody.read(name)
            assert gone.value.code == "KEY_DESTROYED"
    assert company.erase()
    company.verify_up_to_date()
    assert not is_anywhere(company, *about(company, LEAVES))
    assert score_records.load(company.directory, company.campaign).people == ()
    (followed,) = over.desk.orders()
    assert followed.certificate is CertificateState.VERIFIED
    entries = over.platform.ledger_store.entries(kind=EntryKind.DELETION_CERTIFICATE)
    assert len(entries) == 2


STORES = {
    "data directory": lambda place: place / "exports" / "list.txt",
    "write-ahead log": lambda place: place / "campaigns" / "cache.db-wal",
    "log": lambda place: place / "run" / "worker.log",
    "half-written": lambda place: place / "campaigns" / "x.tmp",
}


@pytest.mark.parametrize("number", range(len(STORES)))
def test_a_copy_anywhere_is_a_scan_hit(company: ErasingCompany, over: ErasingPlatform, number: int) -> None:
    """An identifier, tag, output or mailbox in any file: no certificate until it is gone, however often."""
    planted = list(STORES.values())[number](company.directory)
    planted.parent.mkdir(exist_ok=True)
    planted.write_bytes(b"x" * 1013 + about(company, LEAVES)[number] + b"y" * 7)
    withdraw(over, LEAVES)
    over.issue()
    for _ in range(2):  # the second time nothing is left to tell what to look for but what was kept for it
        with pytest.raises(VerificationError) as hit:
            company.erase()
        assert hit.value.code == "CERT_SCAN_HIT"
    assert company.rights.delivered == []
    assert str(planted) in (company.directory / "rights" / "inventory-last-scan.json").read_text()
    planted.unlink()
    assert company.erase()
    assert not is_anywhere(company, *about(company, LEAVES))


def test_copies_that_imports_left_go_too(company: ErasingCompany, over: ErasingPlatform) -> None:
    """The one for undoing, an upload and rejected rows: they neither stay nor hold the erasure up."""
    names = ("previous.csv", "rejected-rows.csv", "uploads/a.file")
    copies = [company.directory / "imports" / name for name in names]
    copies[-1].parent.mkdir(parents=True)
    for path in copies:
        path.write_bytes(about(company, LEAVES)[0])
    withdraw(over, LEAVES)
    over.issue()
    assert company.erase()
    assert [path for path in copies if path.exists()] == []


def test_it_also_looks_among_temporary_files_and_names(
    company: ErasingCompany, over: ErasingPlatform, tmp_path: Path
) -> None:
    """A file in another directory, or one that is called like a tag, is found too."""
    tag = over.tags("company-1", TableKind.TRAIN, [LEAVES])[LEAVES]
    withdraw(over, LEAVES)
    over.issue()
    for planted in (tmp_path / "temporary" / "spool", company.directory / tag.hex()):
        planted.write_bytes(tag if planted.name == "spool" else b"")
        with pytest.raises(VerificationError):
            company.erase()
        planted.unlink()
    assert company.erase()


def test_whoever_withdraws_one_purpose_keeps_the_other(
    company: ErasingCompany, over: ErasingPlatform
) -> None:
    """Training withdrawn, score kept: the row goes, the score and its mailbox stay, and it is certified."""
    over.withdrawn[TableKind.TRAIN].append(LEAVES)
    over.issue()
    assert company.erase()
    index = score_records.load(company.directory, company.campaign)
    assert identifier(LEAVES) in {person.identifier for person in index.people}
    tag = over.tags("company-1", TableKind.TRAIN, [LEAVES])[LEAVES]
    assert tag not in campaign_files.load_training_set(company.directory, company.campaign).tags


def test_scores_of_a_replaced_table_go_whole(company: ErasingCompany, over: ErasingPlatform) -> None:
    """A table that was sealed again has other tags: what was opened from the old one cannot be told apart."""
    over.publish("company-1", TableKind.SCORE, STUDENTS)
    over.issue()
    company.erase()
    assert score_records.load(company.directory, company.campaign).people == ()
    with company.custody() as custody:
        assert custody.names(company.campaign, ArtefactClass.SCORE) == []


@pytest.mark.parametrize("ground", [g for g in ErasureGround if g is not ErasureGround.RIGHTS])
def test_at_the_end_everything_about_persons_goes(
    company: ErasingCompany, over: ErasingPlatform, ground: ErasureGround
) -> None:
    """Season's end, abolition and a leak leave nobody; a model stays after a leak only."""
    over.issue(ground)
    assert company.erase()
    for student in STUDENTS:
        assert not is_anywhere(company, *about(company, student))
    with company.custody() as custody:
        assert custody.names(company.campaign) == []
    has_model = (company.directory / "campaigns" / company.campaign / "head.json").exists()
    assert has_model is (ground is ErasureGround.LEAK)
    certificate, _, _ = parse_certificate(company.rights.delivered[0])
    assert certificate.models[0].disposition == ("dp-bounded-retain" if has_model else "deleted")


def test_questions_are_answered_first_unless_she_wants_it_gone(
    company: ErasingCompany, over: ErasingPlatform
) -> None:
    """An open question holds the order; with disclose_first false it is tried, and holds nothing."""
    withdraw(over, LEAVES)
    over.issue()
    company.has_open_questions = True
    with pytest.raises(LocalProtocolError) as held:
        company.erase()
    assert held.value.code == "ERASURE_HELD_FOR_DISCLOSURE"
    assert is_anywhere(company, *about(company, LEAVES))
    over.issue(disclose_first=False)
    company.disclosed.clear()
    assert company.erase()
    assert company.disclosed == [over.plan.campaign]  # one student's wish is no reason not to answer others
    assert [item.state for item in over.desk.orders()] == [OrderState.VERIFIED] * 2


def test_a_legal_hold_stops_it_until_its_day(company: ErasingCompany, over: ErasingPlatform) -> None:
    """While it holds nothing is deleted; afterwards the same order is carried out."""
    over.issue()
    hold = LegalHold("company-1", company.campaign, HoldReason.COURT_ORDER, int(time.time()) + 1000)
    orders.set_hold(company.directory, hold)
    with pytest.raises(LocalProtocolError) as held:
        company.erase()
    assert held.value.code == "LEGAL_HOLD_ACTIVE"
    orders.set_hold(company.directory, LegalHold("company-1", company.campaign, HoldReason.COURT_ORDER, 1))
    assert company.erase()


def test_without_a_custodian_a_certificate_stays_unverified(over: ErasingPlatform, tmp_path: Path) -> None:
    """It says so, the order counts as certified, and nobody vouches for it."""
    company = erasing_company(over, tmp_path / "company-1", "company-1", trained=STUDENTS, scored=STUDENTS)
    withdraw(over, LEAVES)
    over.issue()
    assert company.erase()
    (followed,) = over.desk.orders()
    assert (followed.state, followed.certificate) == (OrderState.CERTIFIED, CertificateState.ISSUED)
    certificate, _, cosignature = parse_certificate(company.rights.delivered[0])
    assert not certificate.is_custodian_held
    assert cosignature is None
    assert not is_anywhere(company, *about(company, LEAVES))


@pytest.mark.parametrize("step", ["settle", "scan", "cosign", "deliver", "advance"])
def test_it_begins_again_wherever_it_broke_off(
    company: ErasingCompany, over: ErasingPlatform, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A crash between any two steps: the next call finishes, and the order is verified once."""
    withdraw(over, LEAVES)
    over.issue()

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("crash")

    targets: dict[str, tuple[Any, str]] = {
        "settle": ("noren_client.rights.custody.CustodyStore", "settle"),
        "scan": ("noren_client.rights.scan", "scan"),
        "cosign": ("noren_client.rights.custodian_client.CustodianClient", "cosign"),
        "deliver": (company.rights, "deliver_certificate"),
        "advance": ("noren_client.keystore", "write_secret"),
    }
    with monkeypatch.context() as patch:
        target, name = targets[step]
        if isinstance(target, str):
            patch.setattr(f"{target}.{name}", crash)
        else:
            patch.setattr(target, name, crash)
        with pytest.raises(RuntimeError, match="crash"):
            company.erase()
    with pytest.raises(LocalProtocolError):
        company.verify_up_to_date()
    assert company.erase()
    assert not is_anywhere(company, *about(company, LEAVES))
    (followed,) = over.desk.orders()
    assert followed.state is OrderState.VERIFIED


def test_orders_that_are_not_the_ledgers_are_refused(company: ErasingCompany, over: ErasingPlatform) -> None:
    """One withheld, one altered, one of another company: nothing is carried out."""
    over.issue()
    over.issue()
    real = company.rights.fetch_orders

    def change(make: Any) -> None:
        def changed(campaign: str, *, known_tree_size: int) -> Any:
            sent, proof = real(campaign, known_tree_size=known_tree_size)
            return make(list(sent)), proof

        company.rights.fetch_orders = changed  # type: ignore[method-assign]

    for make in (
        lambda sent: sent[:1],
        lambda sent: [],
        lambda sent: [sent[0].replace(b'"disclose_first":true', b'"disclose_first":false'), sent[1]],
        lambda sent: [sent[0], sent[0]],
    ):
        change(make)
        with pytest.raises(NorenError):
            company.erase()
    company.rights.fetch_orders = real  # type: ignore[method-assign]
    assert company.erase()

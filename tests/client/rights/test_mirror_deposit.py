"""The mirror deposit: nothing may be shown before every copy is in its mailbox, whatever breaks off."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gated_company import CAMPAIGN, COMPANY, NOW, POSITION, GatedCompany, MemoryPlatform, make_company
from mirrored_scores import record

from noren_client import campaign_files, keystore
from noren_client.rights.mirror_deposit import DepositedScore, MirrorDeposits, ScoredPerson
from noren_client.transport import PlatformUnavailableError
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.entries import EntryKind, parse_entry
from noren_core.rights.disclosure.mirror import sign_receipt, tree_size
from noren_core.rights.disclosure.mirror_copy import COPY_BYTES, ScoreCopy, open_copy

PENDING = f"campaigns/{CAMPAIGN}/mirror-pending.json"


@pytest.fixture
def company(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    return make_company(tmp_path / "company", plan_body, monkeypatch)


class Students:
    """Three students with keys, and their records."""

    def __init__(self) -> None:
        self.keys = [SealingKey.generate() for _ in range(3)]
        self.mailboxes = [bytes([number]) * 16 for number in range(3)]

    def scored(self, **changes: object) -> list[ScoredPerson]:
        return [
            ScoredPerson(
                record(campaign=CAMPAIGN, company=COMPANY, mailbox=mailbox, band=number, **changes),
                key.public_key,
            )
            for number, (key, mailbox) in enumerate(zip(self.keys, self.mailboxes, strict=True))
        ]

    def opened(self, platform: MemoryPlatform, directory: Path) -> dict[bytes, ScoreCopy]:
        """What each finds in her mailbox, verified against the ledger."""
        company_key = keystore.load(directory).signing.public_key
        found = {}
        for mailbox, sealed in platform.copies:
            key = self.keys[self.mailboxes.index(mailbox)]
            copy = open_copy(
                sealed,
                key,
                company=COMPANY,
                mailbox=mailbox,
                company_keys=[company_key],
                deposit_at=lambda index: parse_entry(platform.entries[index]),
            ).copy
            assert isinstance(copy, ScoreCopy)
            found[mailbox] = copy
        return found


def deposits(company: GatedCompany, platform: Any = None) -> MirrorDeposits:
    platform = platform or company.platform
    return MirrorDeposits(company.directory, company.plan, ledger=platform, copies=platform)


def test_every_student_has_her_copy_before_anything_is_kept(company: GatedCompany) -> None:
    """The same record on both sides, under one root; the tree says nothing of their number."""
    students, kept = Students(), list[DepositedScore]()

    def keep(deposited: Sequence[DepositedScore]) -> None:
        assert len(company.platform.copies) == 3
        kept.extend(deposited)

    deposits(company).deposit(students.scored(), now=NOW, keep=keep)
    opened = students.opened(company.platform, company.directory)
    assert {item.score.committed.record.mailbox: item.score for item in kept} == opened
    assert [copy.committed.record.band for _, copy in sorted(opened.items())] == [0, 1, 2]
    [(_, body)] = company.platform.of_kind(EntryKind.MIRROR_DEPOSIT)
    size = tree_size(company.plan.member(COMPANY).padded_batch)
    assert {copy.committed.tree_size for copy in opened.values()} == {size}
    assert set(body) == {"campaign", "company", "root", "deposited_at"}
    assert keystore.read_secret(company.directory, PENDING) is None
    assert {len(sealed) for _, sealed in company.platform.copies} == {COPY_BYTES}
    assert [DepositedScore.from_body(item.to_body()) for item in kept] == kept


class Failing:
    """A platform that is gone from a call on, with or without having done what was asked."""

    def __init__(self, platform: MemoryPlatform, *, calls: int, answers_lost: bool) -> None:
        self._platform = platform
        self._left = calls
        self._answers_lost = answers_lost

    def append(self, entry: bytes, *, known_tree_size: int) -> Any:
        return self._called(lambda: self._platform.append(entry, known_tree_size=known_tree_size))

    def deposit_copy(self, campaign: str, mailbox: bytes, sealed_copy: bytes) -> Any:
        return self._called(lambda: self._platform.deposit_copy(campaign, mailbox, sealed_copy))

    def _called(self, call: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            if self._answers_lost:
                call()
            raise PlatformUnavailableError("expected an answer of the platform, got none")
        return call()


@pytest.mark.parametrize(("calls", "lost"), [(calls, lost) for calls in range(4) for lost in (False, True)])
def test_what_breaks_off_is_completed_with_the_same_bytes(
    company: GatedCompany, calls: int, lost: bool
) -> None:
    """At any call: nothing is kept; the next call sends the same entry and the same copies."""
    students, kept = Students(), list[DepositedScore]()
    failing = Failing(company.platform, calls=calls, answers_lost=lost)
    with pytest.raises(PlatformUnavailableError):
        deposits(company, failing).deposit(students.scored(), now=NOW, keep=kept.extend)
    assert kept == []
    before = dict(company.platform.copies)
    again = students.scored(computed_at=NOW + 5)
    deposits(company).deposit(again, now=NOW + 5, keep=kept.extend)
    assert len(company.platform.of_kind(EntryKind.MIRROR_DEPOSIT)) == 1
    assert len(kept) == 3
    assert {item.score.committed.record.computed_at for item in kept} == {NOW}
    sent = [(item.score.mailbox, item.sealed_copy) for item in kept]
    assert before.items() <= dict(sent).items()
    assert len(students.opened(company.platform, company.directory)) == 3


def test_a_crash_while_keeping_hands_over_the_same_again(company: GatedCompany) -> None:
    """`keep` that did not return is called once more, with equal scores; then the pending file is gone."""
    students, seen = Students(), list[list[DepositedScore]]()

    def crash(deposited: Sequence[DepositedScore]) -> None:
        seen.append(list(deposited))
        if len(seen) == 1:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        deposits(company).deposit(students.scored(), now=NOW, keep=crash)
    done = deposits(company).complete(keep=crash)
    assert seen[0] == seen[1]
    assert len(done) == 3
    assert deposits(company).complete(keep=crash) == frozenset()
    assert len(seen) == 2


def test_a_forged_receipt_keeps_nothing(company: GatedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another's signature, or one for another copy; with the right one it completes."""
    students, kept = Students(), list[DepositedScore]()
    honest = company.platform.deposit_copy
    forger = SigningKey.generate()
    for lie in (
        lambda campaign, mailbox, sealed: sign_receipt(forger, mailbox=mailbox, sealed_copy=sealed),
        lambda campaign, mailbox, sealed: honest(campaign, mailbox, sealed[:-1] + b"\0"),
    ):
        monkeypatch.setattr(company.platform, "deposit_copy", lie)
        with pytest.raises(VerificationError):
            deposits(company).deposit(students.scored(), now=NOW, keep=kept.extend)
    assert kept == []
    monkeypatch.setattr(company.platform, "deposit_copy", honest)
    deposits(company).deposit(students.scored(), now=NOW, keep=kept.extend)
    assert len(kept) == 3


def test_a_ledger_without_the_deposit_keeps_nothing(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof of everything else is none; no copy is sent."""
    prove = company.platform._prove
    monkeypatch.setattr(
        company.platform,
        "_prove",
        lambda known: replace(prove(known), entries=prove(known).entries[:-1]),
    )
    with pytest.raises(VerificationError):
        deposits(company).deposit(Students().scored(), now=NOW, keep=lambda _: pytest.fail("kept"))
    assert company.platform.copies == []


def test_records_of_others_and_one_twice_are_refused(company: GatedCompany) -> None:
    """Before anything is written."""
    [first, *_] = Students().scored()
    for several in (
        [replace(first, record=replace(first.record, company="beni"))],
        [replace(first, record=replace(first.record, campaign="autumn-2026"))],
        [first, first],
    ):
        with pytest.raises(DataError):
            deposits(company).deposit(several, now=NOW, keep=lambda _: pytest.fail("kept"))
    assert keystore.read_secret(company.directory, PENDING) is None
    assert company.platform.of_kind(EntryKind.MIRROR_DEPOSIT) == []


def test_one_student_may_have_scores_of_several_heads_and_positions(company: GatedCompany) -> None:
    """They are different scores."""
    [first, *_] = Students().scored()
    other_head = replace(first, record=replace(first.record, model_sha256=b"m" * 32))
    other_position = replace(first, record=replace(first.record, position="designer"))
    kept: list[DepositedScore] = []
    deposits(company).deposit([first, other_head, other_position], now=NOW, keep=kept.extend)
    assert len(kept) == 3


def test_a_damaged_pending_file_is_refused(company: GatedCompany) -> None:
    """It is never taken for a deposit that was done."""
    campaign_files.directory(company.directory, CAMPAIGN)
    keystore.write_secret(company.directory, PENDING, b"{}")
    with pytest.raises(LocalProtocolError):
        deposits(company).complete(keep=lambda _: pytest.fail("kept"))


def test_copies_are_sent_in_a_random_order(company: GatedCompany) -> None:
    """Not in the company's own: that of a list of applicants would tell who is who.

    With 20 people a random order is the given one with probability below 10^-18.
    """
    students = Students()
    students.keys = [SealingKey.generate() for _ in range(20)]
    students.mailboxes = [bytes([number]) * 16 for number in range(20)]
    people = [
        ScoredPerson(
            record(campaign=CAMPAIGN, company=COMPANY, position=POSITION, mailbox=mailbox),
            key.public_key,
        )
        for key, mailbox in zip(students.keys, students.mailboxes, strict=True)
    ]
    deposits(company).deposit(people, now=NOW, keep=lambda _: None)
    assert [mailbox for mailbox, _ in company.platform.copies] != students.mailboxes

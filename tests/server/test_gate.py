"""The platform's gate: nothing is evaluated for scoring but what was sealed, late enough, and said so."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from noren_core.crypto import oprf
from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError, NorenError, RemoteProtocolError
from noren_core.ids import DUMMY_LABEL, TableKind
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.rights.gate.decision_batch import evaluation_sha256
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_server import alignment, platform_files
from noren_server.gate import CLOCK_SECONDS, MAX_MIRROR_DEPOSITS, Gate, GatedEvaluation, newest_opening
from noren_server.store import EnrolmentRecord, Transaction

COMPANY, OTHER = "company-1", "company-2"
KEYS = {name: SigningKey.from_bytes(sha256(name.encode()).digest()) for name in (COMPANY, OTHER)}
START, COOLING, BATCHES, PADDED = 1_800_000_000, 1_000, 3, 2


def elements(number: int) -> Sequence[bytes]:
    """The blinded elements of the batch with this number: different ones for each."""
    return oprf.blind([DUMMY_LABEL + bytes([number, place]) * 16 for place in range(PADDED)]).blinded_elements


@dataclass
class GateOfPlatform:
    """A platform with two companies that accepted a plan, and a clock that the test moves."""

    directory: Path
    plan: CampaignPlan
    now: int = START
    suspended: bool = False
    covered: bool = True
    platform: platform_files.Platform = field(init=False)
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        self.platform = platform_files.initialise(
            self.directory, name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4)
        )
        with self.platform.store.transaction() as transaction:
            for name, key in KEYS.items():
                public = key.public_key
                transaction.add_company(EnrolmentRecord(name, public, public, 40, b"", b"", b"{}", b"{}"))
            for company in set(self.plan.companies) - KEYS.keys():
                raw = sha256(company.encode()).digest()
                transaction.add_company(EnrolmentRecord(company, raw, raw, 40, b"", b"", b"{}", b"{}"))
            transaction.add_campaign(self.plan)
        for company in KEYS:
            self.append(EntryKind.ENROLMENT, company, enrolment_of(company))
            self.agree(company)
        alignment.publish_oprf_keys(self.platform.store, self.platform.ledger, self.plan)
        self.gate = self.restarted()

    def restarted(self) -> Gate:
        """As a process that was started just now decides."""
        return Gate(
            self.platform.store,
            self.platform.ledger,
            clock=lambda: self.now,
            is_running=lambda company, _: not (self.suspended and company == COMPANY),
            is_covered=lambda campaign: self.covered and campaign == self.plan.campaign,
        )

    def agree(self, company: str) -> None:
        self.append(
            EntryKind.AGREEMENT,
            company,
            {"company": company, "agreement_sha256": "ab" * 32, "declared_size": 40},
        )

    def append(self, kind: EntryKind, company: str, body: dict[str, Any]) -> int:
        return self.platform.ledger.append_company_entry(signed(kind, company, body))

    def seal(
        self,
        blinded: Sequence[bytes],
        *,
        sequence: int,
        company: str = COMPANY,
        **changes: Any,
    ) -> int:
        said = evaluation_sha256(blinded)
        body = {
            "campaign": self.plan.campaign,
            "company": company,
            "position": "clerk",
            "sequence": sequence,
            "root": sha256(said).hexdigest(),
            "evaluation_sha256": said.hex(),
            "sealed_at": self.now,
        }
        entry = signed(EntryKind.DECISION_BATCH, company, body | changes)
        return self.gate.accept_batch(self.plan, entry)

    def evaluate(self, batch: int, blinded: Sequence[bytes], *, company: str = COMPANY) -> GatedEvaluation:
        return self.gate.evaluate(self.plan, company, decision_batch=batch, blinded=blinded)

    def refusal(self, batch: int, blinded: Sequence[bytes], *, company: str = COMPANY) -> str:
        """The code with which nothing is evaluated; the ledger and the counts stay as they are."""
        before = (self.platform.ledger_store.size, self.counted(company))
        with pytest.raises(NorenError) as caught:
            self.evaluate(batch, blinded, company=company)
        assert (self.platform.ledger_store.size, self.counted(company)) == before
        return caught.value.code

    def counted(self, company: str = COMPANY) -> int:
        with self.platform.store.transaction() as transaction:
            stored = transaction.oprf_key(self.plan.campaign, company, TableKind.SCORE)
        assert stored is not None
        return stored.evaluations

    def entries(self, kind: EntryKind) -> list[tuple[int, dict[str, Any]]]:
        return [(item.index, item.entry.body) for item in self.platform.ledger_store.entries(kind=kind)]

    def close(self) -> None:
        self.platform.store.close()
        self.platform.ledger_store.close()


def signed(kind: EntryKind, company: str, body: dict[str, Any]) -> SignedEntry:
    return parse_entry(sign_entry(kind, company, body, KEYS[company]))


def enrolment_of(company: str) -> dict[str, Any]:
    others = ("sealing_key", "tls_key_sha256", "node_key_sha256")
    made_up = {name: sha256(f"{company} {name}".encode()).hexdigest() for name in others}
    return {"company": company, "signing_key": KEYS[company].public_key.hex(), **made_up}


def plan_with_gate(plan_body: dict[str, Any]) -> CampaignPlan:
    for member in plan_body["cohort"]:
        member |= {"padded_batch": PADDED}
    plan_body["gate"] |= {"cooling_seconds": COOLING, "batches": BATCHES}
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def setting(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[GateOfPlatform]:
    made = GateOfPlatform(tmp_path, plan_with_gate(plan_body))
    yield made
    made.close()


# One batch


def test_a_sealed_batch_is_evaluated_after_the_cooling_time(setting: GateOfPlatform) -> None:
    """Not a second before; the ledger then says so, after the batch, and the answer is of the score key."""
    blinded = elements(1)
    batch = setting.seal(blinded, sequence=1)
    assert newest_opening(setting.platform.ledger_store, setting.plan.campaign, COMPANY) is None
    setting.now += COOLING - 1
    assert setting.refusal(batch, blinded) == Refusal.GATE_NOT_OPEN
    setting.now += 1
    answer = setting.evaluate(batch, blinded)
    assert setting.entries(EntryKind.GATE_OPENED) == [
        (
            answer.gate_opened,
            {
                "campaign": setting.plan.campaign,
                "company": COMPANY,
                "batch": batch,
                "opened_at": START + COOLING,
            },
        )
    ]
    assert answer.gate_opened > answer.decision_batch == batch
    score = alignment.oprf_key(setting.platform.store, setting.plan.campaign, COMPANY, TableKind.SCORE)
    train = alignment.oprf_key(setting.platform.store, setting.plan.campaign, COMPANY, TableKind.TRAIN)
    assert answer.evaluated == oprf.blind_evaluate(score, blinded)[0]
    assert answer.evaluated != oprf.blind_evaluate(train, blinded)[0]


def test_the_same_batch_again_is_answered_again(setting: GateOfPlatform) -> None:
    """A lost answer costs nothing and opens nothing twice, also when the coverage report is old by then."""
    blinded = elements(1)
    batch = setting.seal(blinded, sequence=1)
    setting.now += COOLING
    first = setting.evaluate(batch, blinded)
    setting.now, setting.covered, setting.gate = setting.now + 10**6, False, setting.restarted()
    again = setting.evaluate(batch, blinded)
    assert (again.evaluated, again.gate_opened) == (first.evaluated, first.gate_opened)
    assert len(setting.entries(EntryKind.GATE_OPENED)) == 1
    assert setting.counted() == PADDED


def test_nothing_else_is_evaluated(setting: GateOfPlatform) -> None:
    """Other elements, another order, part of them, another index, another company's batch: refused alike."""
    blinded, others = elements(1), elements(2)
    setting.seal(others, sequence=1, company=OTHER)
    batch = setting.seal(blinded, sequence=1)
    setting.now += COOLING
    for wrong in (others, blinded[::-1], blinded[:1], [*blinded, others[0]], [blinded[0], others[0]], []):
        assert setting.refusal(batch, wrong) == Refusal.GATE_NOT_OPEN
    for index in (0, batch - 1, batch + 1, 2**62):
        assert setting.refusal(index, blinded) == Refusal.GATE_NOT_OPEN
    assert setting.refusal(batch, blinded, company=OTHER) == Refusal.GATE_NOT_OPEN
    setting.evaluate(batch, blinded)


def test_an_open_gate_is_open_for_what_was_committed_to_alone(setting: GateOfPlatform) -> None:
    """What is refused before the opening is refused after it, evaluations left or not."""
    blinded, others = elements(1), elements(2)
    batch = setting.seal(blinded, sequence=1)
    later = setting.seal(elements(3), sequence=2)
    setting.now += COOLING
    setting.evaluate(batch, blinded)
    for wrong in (others, elements(3), blinded[::-1], [blinded[0], others[0]], blinded[:1], []):
        assert setting.refusal(batch, wrong) == Refusal.GATE_NOT_OPEN
    assert setting.refusal(later, blinded) == Refusal.GATE_NOT_OPEN
    assert setting.counted() == PADDED


def test_the_same_bytes_cut_elsewhere_are_no_elements(setting: GateOfPlatform) -> None:
    """Boundaries that hash alike give elements of another length, and those are malformed."""
    blinded = elements(1)
    joined = b"".join(blinded)
    batch = setting.seal(blinded, sequence=1)
    setting.now += COOLING
    assert setting.refusal(batch, [joined[:31], joined[31:]]) == Refusal.PROTOCOL_VIOLATION


def test_elements_that_are_none_open_no_gate(setting: GateOfPlatform) -> None:
    """A company that commits to garbage, or to one element twice, has used up a batch and got nothing."""
    garbage = [b"\xff" * 32, b"\xfe" * 32]
    twice = [elements(1)[0]] * 2
    batches = [setting.seal(blinded, sequence=n) for n, blinded in enumerate((garbage, twice), start=1)]
    setting.now += COOLING
    for batch, blinded in zip(batches, (garbage, twice), strict=True):
        assert setting.refusal(batch, blinded) == Refusal.PROTOCOL_VIOLATION


@pytest.mark.parametrize("fact", ["covered", "running", "agreement"])
def test_whatever_else_the_platform_knows_counts(setting: GateOfPlatform, fact: str) -> None:
    """Without coverage, while suspended, or after the agreement was ended, nothing is evaluated."""
    blinded = elements(1)
    batch = setting.seal(blinded, sequence=1)
    setting.now += COOLING
    if fact == "covered":
        setting.covered = False
        assert setting.refusal(batch, blinded) == Refusal.LAUNCH_BLOCKED
        setting.covered = True
    elif fact == "running":
        setting.suspended = True
        assert setting.refusal(batch, blinded) == Refusal.SERVICE_SUSPENDED
        setting.suspended = False
    else:
        body = {"company": COMPANY, "reason": "LEFT"}
        setting.platform.ledger.append_platform_entry(EntryKind.REVOCATION, body)
        assert setting.refusal(batch, blinded) == Refusal.GATE_NOT_OPEN
        return
    setting.evaluate(batch, blinded)
    setting.suspended = True
    assert setting.refusal(batch, blinded) == Refusal.SERVICE_SUSPENDED  # also what was answered before


def test_a_table_is_out_of_reach_before_the_first_opening(setting: GateOfPlatform) -> None:
    """Each company has a gate of its own."""
    blinded = elements(1)
    batch = setting.seal(blinded, sequence=1)
    setting.now += COOLING
    with pytest.raises(LocalProtocolError) as caught:
        setting.gate.require_open(setting.plan, COMPANY)
    assert caught.value.code == Refusal.GATE_NOT_OPEN
    setting.evaluate(batch, blinded)
    setting.gate.require_open(setting.plan, COMPANY)
    with pytest.raises(LocalProtocolError):
        setting.gate.require_open(setting.plan, OTHER)


# Sealing


def test_batches_are_numbered_and_limited(setting: GateOfPlatform) -> None:
    """One after the other up to the plan's number; the identical one keeps its place, also afterwards."""
    made = [elements(number) for number in range(1, BATCHES + 2)]
    with pytest.raises(RemoteProtocolError):
        setting.seal(made[0], sequence=2)
    indices = [setting.seal(blinded, sequence=n) for n, blinded in enumerate(made[:-1], start=1)]
    with pytest.raises(LocalProtocolError) as caught:
        setting.seal(made[-1], sequence=BATCHES + 1)
    assert caught.value.code == Refusal.BATCH_LIMIT
    with pytest.raises(LocalProtocolError):
        setting.seal(made[-1], sequence=1)
    sealed_at, setting.now = setting.now, setting.now + 10**6
    again = [setting.seal(b, sequence=n, sealed_at=sealed_at) for n, b in enumerate(made[:-1], start=1)]
    assert again == indices
    assert len(setting.entries(EntryKind.DECISION_BATCH)) == BATCHES


@pytest.mark.parametrize("change", ["root", "evaluation_sha256"])
def test_two_batches_have_nothing_in_common(setting: GateOfPlatform, change: str) -> None:
    """No other batch commits to the elements of one, or to its leaves: an audit would be ambiguous."""
    setting.seal(elements(1), sequence=1)
    [(_, body)] = setting.entries(EntryKind.DECISION_BATCH)
    with pytest.raises(RemoteProtocolError):
        setting.seal(elements(2), sequence=2, **{change: body[change]})
    setting.seal(elements(2), sequence=2)


@pytest.mark.parametrize("skew", [-CLOCK_SECONDS - 1, CLOCK_SECONDS + 1])
def test_a_batch_of_another_time_is_refused(setting: GateOfPlatform, skew: int) -> None:
    """Neither one that pretends to have cooled already nor one of the future."""
    with pytest.raises(RemoteProtocolError):
        setting.seal(elements(1), sequence=1, sealed_at=START + skew)
    assert setting.entries(EntryKind.DECISION_BATCH) == []


@pytest.mark.parametrize("skew", [-CLOCK_SECONDS, CLOCK_SECONDS])
def test_a_wrong_clock_shortens_no_cooling(setting: GateOfPlatform, skew: int) -> None:
    """It counts from the later of the company's time and the platform's."""
    blinded = elements(1)
    batch = setting.seal(blinded, sequence=1, sealed_at=START + skew)
    setting.now = START + max(skew, 0) + COOLING - 1
    assert setting.refusal(batch, blinded) == Refusal.GATE_NOT_OPEN
    setting.now += 1
    setting.evaluate(batch, blinded)
    [(_, opened)] = setting.entries(EntryKind.GATE_OPENED)
    assert opened["opened_at"] >= START + skew + COOLING


def test_a_crash_after_the_entry_lengthens_the_cooling(
    setting: GateOfPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not know when a batch was accepted begins to count when he looks."""
    blinded = elements(1)

    def crash(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as down:
        down.setattr(Transaction, "decision_batch_accepted_at", crash)
        with pytest.raises(KeyboardInterrupt):
            setting.seal(blinded, sequence=1)
    [(batch, _)] = setting.entries(EntryKind.DECISION_BATCH)
    setting.now += COOLING + 5
    assert setting.refusal(batch, blinded) == Refusal.GATE_NOT_OPEN
    setting.now += COOLING - 1
    assert setting.refusal(batch, blinded) == Refusal.GATE_NOT_OPEN
    setting.now += 1
    setting.evaluate(batch, blinded)


def test_a_crash_before_the_answer_gives_the_same_answer(
    setting: GateOfPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, or said to be open, and not answered: the next request gets what this one would have got."""
    blinded = elements(1)
    batch = setting.seal(blinded, sequence=1)
    setting.now += COOLING
    with monkeypatch.context() as down:
        down.setattr(setting.platform.ledger, "append_platform_entry", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            setting.evaluate(batch, blinded)
    assert setting.entries(EntryKind.GATE_OPENED) == []
    answer = setting.evaluate(batch, blinded)
    assert (len(answer.evaluated), setting.counted()) == (PADDED, PADDED)


# Mirror deposits


def test_copies_are_committed_to_after_the_gate(setting: GateOfPlatform) -> None:
    """A commitment to copies of scores before there can be any is refused, and so is one of another time."""

    def deposit(root: str, *, at: int) -> int:
        body = {"campaign": setting.plan.campaign, "company": COMPANY, "root": root, "deposited_at": at}
        entry = signed(EntryKind.MIRROR_DEPOSIT, COMPANY, body)
        return setting.gate.accept_mirror_deposit(setting.plan, entry)

    with pytest.raises(LocalProtocolError) as caught:
        deposit("ab" * 32, at=setting.now)
    assert caught.value.code == Refusal.GATE_NOT_OPEN
    blinded = elements(1)
    batch = setting.seal(blinded, sequence=1)
    setting.now += COOLING
    setting.evaluate(batch, blinded)
    at = setting.now
    index = deposit("ab" * 32, at=at)
    for skew in (-CLOCK_SECONDS - 1, CLOCK_SECONDS + 1):
        with pytest.raises(RemoteProtocolError):
            deposit("cd" * 32, at=setting.now + skew)
    setting.now += 10**6
    assert deposit("ab" * 32, at=at) == index
    with pytest.MonkeyPatch.context() as small:
        small.setattr("noren_server.gate.MAX_MIRROR_DEPOSITS", 1)
        with pytest.raises(RemoteProtocolError):
            deposit("ef" * 32, at=setting.now)
    assert MAX_MIRROR_DEPOSITS < 2_000  # a ledger proof has room for all of them


# Every order of events


class Orders(RuleBasedStateMachine):
    """Seals, evaluations, fetches, restarts, suspensions and time, in any order, against a simple model."""

    plan: CampaignPlan

    def __init__(self) -> None:
        super().__init__()
        self._files = tempfile.TemporaryDirectory()
        self._setting = GateOfPlatform(Path(self._files.name) / "platform", self.plan)
        self._elements = [elements(number) for number in range(5)]
        self._sealed: dict[int, tuple[int, int]] = {}  # number of the elements: index, earliest evaluation
        self._opened: set[int] = set()

    @rule(seconds=st.sampled_from([0, 1, 300, COOLING - 1, COOLING]))
    def wait(self, seconds: int) -> None:
        self._setting.now += seconds

    @rule(suspended=st.booleans(), covered=st.booleans())
    def decide(self, suspended: bool, covered: bool) -> None:
        self._setting.suspended, self._setting.covered = suspended, covered

    @rule()
    def restart(self) -> None:
        self._setting.gate = self._setting.restarted()

    @rule(
        number=st.integers(0, 4),
        sequence=st.integers(1, BATCHES + 1),
        skew=st.sampled_from([0, 0, -CLOCK_SECONDS - 1, -CLOCK_SECONDS, CLOCK_SECONDS, CLOCK_SECONDS + 1]),
    )
    def seal(self, number: int, sequence: int, skew: int) -> None:
        setting = self._setting
        is_good = (
            sequence == len(self._sealed) + 1 <= BATCHES
            and number not in self._sealed
            and abs(skew) <= CLOCK_SECONDS
        )
        try:
            index = setting.seal(self._elements[number], sequence=sequence, sealed_at=setting.now + skew)
        except NorenError:
            assert not is_good
            return
        if not is_good:  # the identical one again
            assert self._sealed[number][0] == index
            return
        self._sealed[number] = (index, setting.now + max(skew, 0) + COOLING)

    @rule(number=st.integers(0, 4), of=st.integers(0, 4))
    def evaluate(self, number: int, of: int) -> None:
        setting = self._setting
        index, earliest = self._sealed.get(of, (7, 0))
        is_allowed = number == of and of in self._sealed and not setting.suspended
        is_allowed &= of in self._opened or (setting.now >= earliest and setting.covered)
        try:
            setting.evaluate(index, self._elements[number])
        except NorenError:
            assert not is_allowed
            return
        assert is_allowed
        self._opened.add(of)

    @rule()
    def fetch(self) -> None:
        try:
            self._setting.gate.require_open(self._setting.plan, COMPANY)
        except LocalProtocolError:
            assert not self._opened
            return
        assert self._opened

    @invariant()
    def the_ledger_tells_it(self) -> None:
        """What an auditor checks (§10.5): a batch before each opening, and its cooling time between."""
        batches = dict(self._setting.entries(EntryKind.DECISION_BATCH))
        openings = self._setting.entries(EntryKind.GATE_OPENED)
        for index, body in openings:
            assert index > body["batch"]
            assert body["opened_at"] >= batches[body["batch"]]["sealed_at"] + COOLING
        assert {body["batch"] for _, body in openings} == {self._sealed[n][0] for n in self._opened}
        assert len(openings) == len(self._opened)
        assert self._setting.counted() == PADDED * len(self._opened)
        assert [body["sequence"] for body in batches.values()] == list(range(1, len(batches) + 1))

    def teardown(self) -> None:
        self._setting.close()
        self._files.cleanup()


def test_in_every_order_nothing_comes_before_its_batch(plan_body: dict[str, Any]) -> None:
    """No trace has an evaluation before its decision batch and cooling time, and none a table before that."""

    class OrdersOfPlan(Orders):
        plan = plan_with_gate(plan_body)

    run_state_machine_as_test(
        OrdersOfPlan, settings=settings(max_examples=30, stateful_step_count=40, deadline=None)
    )

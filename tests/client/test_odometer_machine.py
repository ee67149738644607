"""A company, its odometer and the ledger, through any crashes and restored copies.

Whatever happens, no round is computed twice or beyond what the ledger shows, no budget comes back, and a
file that was rolled back behind the ledger is found out before anything is computed. The company's side is
the odometer itself; the ledger appends by the rule that everybody applies, and takes one commitment to the
noise of each campaign.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from noren_client.config import Limits
from noren_client.odometer import Odometer, Reservation
from noren_core.crypto.identity import SigningKey
from noren_core.errors import BudgetExceededError, VerificationError
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.ledger.odometer_progress import verify_odometer_progress
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event

KEY = SigningKey.from_bytes(bytes(range(32)))
CAMPAIGNS = ("a", "b", "c")
COMPANY = "company-1"
TEMPLATE: dict[str, Any] = {}


@dataclass
class Ledger:
    """What the platform has appended; one that follows the protocol."""

    intents: list[SignedEntry] = field(default_factory=list)
    commitments: dict[str, int] = field(default_factory=dict)

    def commit(self, campaign: str, seed: int) -> bool:
        """Whether this is the campaign's one commitment."""
        return self.commitments.setdefault(campaign, seed) == seed

    def append(self, entry: SignedEntry) -> None:
        if entry not in self.intents:
            verify_odometer_progress(self.intents, entry)
            self.intents.append(entry)


@dataclass
class Session:
    """A worker's memory; gone with the worker."""

    campaign: str
    reserved: int = 0
    intent: SignedEntry | None = None
    following: Literal["reserve", "publish", "compute", "settle"] = "reserve"


class CompanyMachine(RuleBasedStateMachine):
    """Every rule is one step that the company, its operator or its machine may take."""

    copies = Bundle("copies")

    @initialize(target=copies)
    def begin(self) -> tuple[bytes, SignedEntry | None]:
        self._root = tempfile.TemporaryDirectory()
        self._path = Path(self._root.name) / "odometer.jsonl"
        template = CampaignPlan.from_body(copy.deepcopy(TEMPLATE))
        self._plans = {name: replace(template, campaign=name) for name in CAMPAIGNS}
        self._odometer = Odometer(self._path, KEY, limits=Limits(max_campaigns_per_season=2))
        self._ledger = Ledger()
        self._known: SignedEntry | None = None  # the newest intent that was proven to the company
        self._session: Session | None = None
        self._seeds = 0
        self._computed: list[tuple[str, int]] = []
        self._taken: set[str] = set()  # campaigns with a round computed: their plans are spent for good
        return b"", None

    def teardown(self) -> None:
        self._root.cleanup()

    @rule(target=copies)
    def back_up(self) -> tuple[bytes, SignedEntry | None]:
        """A copy of the odometer, and of what the company knows of the ledger."""
        return (self._path.read_bytes() if self._path.exists() else b""), self._known

    @rule(copied=copies, with_knowledge=st.booleans(), while_running=st.booleans())
    def restore(
        self, copied: tuple[bytes, SignedEntry | None], with_knowledge: bool, while_running: bool
    ) -> None:
        """The machine comes back with an older file; the whole directory, or the odometer alone."""
        if not while_running:
            self._session = None
        self._path.write_bytes(copied[0])
        if with_knowledge:
            self._known = copied[1]

    @rule()
    def crash(self) -> None:
        """The worker ends; what it reserved and did not publish is spent."""
        self._session = None

    @rule(cut=st.integers(1, 40))
    def power_failure(self, cut: int) -> None:
        """The worker ends while the next line is being written."""
        self._session = None
        with self._path.open("ab") as file:
            file.write(b'{"campaign":"torn' * 3)
            file.truncate(file.tell() - cut)

    @rule(campaign=st.sampled_from(CAMPAIGNS), steps=st.integers(1, 13))
    def take_part(self, campaign: str, steps: int) -> None:
        """Go on with the session, or begin one; stop after any step."""
        if self._session is None:
            self._start(campaign)
        for _ in range(steps):
            if self._session is not None:
                getattr(self, f"_{self._session.following}")(self._session)

    def _start(self, campaign: str) -> None:
        """What the ledger is known to hold is in the file, and no round is spent yet."""
        if not self._is_accepted(lambda: self._odometer.verify_holds(self._known)):
            return
        if self._odometer.rounds_reserved(campaign):
            return
        self._seeds += 1
        if self._ledger.commit(campaign, self._seeds):
            self._session = Session(campaign)

    def _reserve(self, session: Session) -> None:
        """The next round, and its intent; a campaign too many is refused for good."""
        plan, number = self._plans[session.campaign], session.reserved + 1
        spent = {known.campaign: known.reserved for known in self._odometer.spending()}
        fits = number <= 3 and spent.get(plan.campaign, 0) == session.reserved
        if fits and (plan.campaign in spent or len(spent) < 2):
            session.intent = self._intent(plan, self._odometer.reserve(plan, number))
            session.reserved, session.following = number, "publish"
        else:
            with pytest.raises(BudgetExceededError, match="expected"):
                self._odometer.reserve(plan, number)
            self._session = None

    def _publish(self, session: Session) -> None:
        """The platform appends the intent, or notices that it does not go on from the last one."""
        assert session.intent is not None
        entry = session.intent
        if self._is_accepted(lambda: self._ledger.append(entry)):
            session.following = "compute"
        else:
            self._session = None

    def _compute(self, session: Session) -> None:
        """With the proof that the intent is in the ledger, if the file says that it was reserved; once."""
        if self._odometer.rounds_reserved(session.campaign) != session.reserved:
            self._session = None
            return
        self._odometer.verify_holds(self._ledger.intents[-1])  # any rollback was found before
        self._known = session.intent
        self._computed.append((session.campaign, session.reserved))
        self._taken.add(session.campaign)
        session.following = "settle"

    def _settle(self, session: Session) -> None:
        """It gives nothing back."""
        plan = self._plans[session.campaign]
        before = self._odometer.rounds_reserved(plan.campaign)
        if before:
            self._odometer.settle(plan, session.reserved)
            assert self._odometer.rounds_reserved(plan.campaign) == before
        session.following = "reserve"

    @rule()
    def learn(self) -> None:
        """Any call to the platform shows the newest intent."""
        if self._ledger.intents:
            self._known = self._ledger.intents[-1]

    @precondition(lambda self: self._session is not None and self._session.intent is not None)
    @rule()
    def second_worker(self) -> None:
        """Another process cannot have a round that is reserved."""
        plan = self._plans[self._session.campaign]
        with pytest.raises(BudgetExceededError):
            Odometer(self._path, KEY).reserve(plan, self._odometer.rounds_reserved(plan.campaign))

    @precondition(lambda self: self._session is not None and self._session.intent is not None)
    @rule()
    def other_plan(self) -> None:
        """A campaign that was begun cannot go on under another plan."""
        plan = self._plans[self._session.campaign]
        if not self._odometer.rounds_reserved(plan.campaign):
            return  # rolled back meanwhile
        other = replace(plan, training=replace(plan.training, noise_multiplier="1"))
        with pytest.raises(BudgetExceededError) as refusal:
            self._odometer.reserve(other, self._odometer.rounds_reserved(plan.campaign) + 1)
        assert refusal.value.code == "PLAN_MISMATCH"

    @staticmethod
    def _is_accepted(step: Callable[[], None]) -> bool:
        try:
            step()
        except VerificationError as error:
            if error.code != "ACCOUNTANT_RESET":
                raise
            return False
        return True

    def _intent(self, plan: CampaignPlan, reservation: Reservation) -> SignedEntry:
        body = {
            "campaign": plan.campaign,
            "company": COMPANY,
            "event": round_event(plan).to_body(),
            "plan_sha256": plan.digest().hex(),
            "previous": reservation.previous.hex(),
            "round": reservation.round_number,
            "sequence": reservation.sequence,
        }
        return parse_entry(sign_entry(EntryKind.INTENT, COMPANY, body, KEY))

    @invariant()
    def no_round_is_computed_twice(self) -> None:
        assert len(self._computed) == len(set(self._computed))

    @invariant()
    def computed_rounds_are_in_the_ledger(self) -> None:
        shown = {(entry.body["campaign"], entry.body["round"]) for entry in self._ledger.intents}
        assert set(self._computed) <= shown

    @invariant()
    def no_budget_comes_back(self) -> None:
        """Two campaigns on these records, three rounds each, whatever was restored in between."""
        assert len(self._taken) <= 2
        assert all(number <= 3 for _, number in self._computed)


@pytest.fixture(autouse=True)
def _template(plan_body: dict[str, Any]) -> None:
    TEMPLATE.update(plan_body)


class TestCompany(CompanyMachine.TestCase):  # type: ignore[misc]  # hypothesis makes it at run time
    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

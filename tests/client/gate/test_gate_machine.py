"""Anything in any order: nobody without a sealed offer is scored, and nobody who decided looks."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
from gated_company import CAMPAIGN, POSITION, GatedCompany, key_of, make_company, with_gate
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from noren_client.applicants import read_applicants
from noren_client.gate import access_log, decision_report, decisions, score_records
from noren_core.errors import NorenError
from noren_core.ledger.entries import EntryKind
from noren_core.rights.gate.decision_batch import Decision, verify_complete, verify_evaluation
from noren_core.rights.gate.gate_file import ACCESS_SHOWN, ReversalReason, parse_gate_file
from noren_core.rights.gate.roles import Action, Assignment, Role

NAMES = [f"p{number}" for number in range(6)]
PEOPLE = st.sampled_from(NAMES)


class GateMachine(RuleBasedStateMachine):
    """A company that tries everything its commands allow, at any time."""

    plan_body: dict[str, Any]

    @initialize(cooling=st.sampled_from([0, 3600]))
    def begin(self, cooling: int) -> None:
        self.place = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("noren_local.staff._COST", 2)
        body = with_gate(copy.deepcopy(self.plan_body), cooling_seconds=cooling, minimum_batch=2)
        body["cohort"] = [member | {"padded_batch": 8, "evaluations": 16} for member in body["cohort"]]
        self.company: GatedCompany = make_company(Path(self.place.name) / "company", body, self.patch)
        self.company.hire("eve", Assignment(Role.FOLLOW_UP))
        self.shown_at: list[tuple[int, str]] = []

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()
            self.place.cleanup()

    @rule(name=PEOPLE, decision=st.sampled_from(["offer", "no-offer", "hold"]))
    def write_decision(self, name: str, decision: str) -> None:
        self.company.rows = [row for row in self.company.rows if f",{name}," not in row]
        self.company.apply(f"{name},{decision}")

    @rule(offered=st.sets(PEOPLE, min_size=1, max_size=4))
    def do_all_in_order(self, offered: set[str]) -> None:
        """What an honest company does, from wherever it is."""
        for name in sorted(offered):
            self.consent(name)
        for name in NAMES:
            if not any(f",{name}," in row for row in self.company.rows):
                self.company.apply(f"{name},{'offer' if name in offered else 'no-offer'}")
        self.seal("dan")
        self.wait(3600)
        self.score()
        for name in sorted(offered):
            self.look(name, "fay")

    @rule(name=PEOPLE)
    def consent(self, name: str) -> None:
        if key_of(name) not in self.company.platform.students:
            self.company.consent(name)

    @rule(name=PEOPLE)
    def withdraw(self, name: str) -> None:
        if key_of(name) in self.company.platform.students:
            if self.company.platform.table is None:
                del self.company.platform.students[key_of(name)]
            else:
                self.company.platform.withdraw(key_of(name))

    @rule(seconds=st.sampled_from([1, 3600, 40 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.company.clock.now += seconds

    @rule(who=st.sampled_from(["dan", "eve", "fay"]))
    def seal(self, who: str) -> None:
        with contextlib.suppress(NorenError):
            self.company.seal(who)

    @rule()
    def score(self) -> None:
        with contextlib.suppress(NorenError):
            self.company.score()

    @rule(name=PEOPLE, who=st.sampled_from(["dan", "eve", "fay"]))
    def look(self, name: str, who: str) -> None:
        with contextlib.suppress(NorenError):
            self.company.show(name, name=who)
            self.shown_at.append((self.company.clock.now, name))
            self._verify_may_be_shown(name, who)

    @rule(who=st.sampled_from(["dan", "eve"]), role=st.sampled_from([Role.DECIDER, Role.FOLLOW_UP]))
    def change_role(self, who: str, role: Role) -> None:
        self.company.hire(who, Assignment(role))

    @rule(name=PEOPLE, who=st.sampled_from(["dan", "eve"]))
    def reverse(self, name: str, who: str) -> None:
        with contextlib.suppress(NorenError):
            rows = read_applicants(self.company.directory / "applicants.csv")
            applicant = next((row for row in rows if row.identifier == name), None)
            if applicant is None:
                return
            decider = self.company.authorised(who, Action.SEAL_DECISION)
            decisions.reverse(
                self.company.directory,
                CAMPAIGN,
                applicant,
                ReversalReason.DECIDED_IN_ERROR,
                decider=decider,
                now=self.company.clock.now,
            )

    def _verify_may_be_shown(self, name: str, who: str) -> None:
        """At the moment of a look: an offer in an open batch, a consent, and somebody who never decided."""
        batch = decisions.batch_of(self._batches(), key_of(name))
        assert batch is not None
        assert batch.batch.decision(key_of(name)) is Decision.PASS
        assert not any(item.identifier == key_of(name) for item in batch.reversals)
        opened = [body for _, body in self.company.platform.of_kind(EntryKind.GATE_OPENED)]
        assert any(body["batch"] == batch.index for body in opened)
        assert key_of(name) in self.company.platform.students
        assert who not in {name for item in self._batches() for name in item.statement.deciders}
        assert not any(",hold," in row for row in self.company.rows)
        assert any(f",{name},offer," in row for row in self.company.rows)

    def _batches(self) -> tuple[decisions.KeptBatch, ...]:
        return decisions.kept_batches(self.company.directory, CAMPAIGN)

    @invariant()
    def only_sealed_offers_have_a_record(self) -> None:
        if not hasattr(self, "company"):
            return
        for person in score_records.load(self.company.directory, CAMPAIGN).people:
            batch = decisions.batch_of(self._batches(), person.identifier)
            assert batch is not None
            assert batch.is_open
            assert batch.decision(person.identifier) is Decision.PASS

    @invariant()
    def the_auditor_finds_nothing(self) -> None:
        """What is exported opens to offers and dummies, is complete, and no look came before its gate."""
        if not hasattr(self, "company") or not self._batches():
            return
        shown = parse_gate_file(b"".join(decision_report.export(self.company.directory, CAMPAIGN)))
        entries = dict(self.company.platform.of_kind(EntryKind.DECISION_BATCH))
        for item in shown.batches:
            evaluation = bytes.fromhex(entries[item.index]["evaluation_sha256"])
            verify_evaluation(item.blinding, item.batch, evaluation=evaluation)
            item.statement.verify_sealed(item.batch)
        decided = frozenset().union(*(item.batch.identifiers for item in shown.batches))
        verify_complete([item.batch for item in shown.batches], decided)
        opened = [body["opened_at"] for _, body in self.company.platform.of_kind(EntryKind.GATE_OPENED)]
        log = access_log.read(self.company.directory)
        looks = [item.access for item in log if item.access.outcome == ACCESS_SHOWN]
        assert [look.at for look in looks] == [at for at, _ in self.shown_at]
        assert all(look.at >= min(opened) for look in looks)
        deciders = {name for item in shown.batches for name in item.statement.deciders}
        assert not deciders & {look.staff for look in looks}
        assert all(look.position == POSITION for look in looks)


def test_the_gate_holds_in_any_order(plan_body: dict[str, Any]) -> None:
    """Ten companies that try thirty things each, in orders that Hypothesis thinks of."""
    GateMachine.plan_body = plan_body
    run_state_machine_as_test(
        GateMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

"""The two real machines against each other: what the server obtains, whoever drops out and whenever."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.errors import LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.secagg.messages import verify_survivor_signature
from noren_core.secagg.server import RoundFailedError

MEMBERS, THRESHOLD = 6, 5


def subsets(names):
    return [
        frozenset(chosen)
        for chosen in chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))
    ]


def test_the_sum_of_several_rounds_is_exact(ready_cohort):
    """With everyone present, each round gives exactly the sum of the vectors, negative values included."""
    cohort = ready_cohort(3, threshold=3, rounds=3)
    for round_number in (1, 3):  # rounds may be skipped
        cohort.mask(round_number, cohort.vectors(cohort.names))
        survivors = cohort.server.close_inputs(round_number)
        cohort.unmask(round_number, survivors, survivors)
        assert cohort.server.aggregate(round_number).tolist() == cohort.total(cohort.names)


def test_every_set_of_dropouts_before_advertising(new_cohort):
    """Whoever does not advertise is not in the sum; below the quorum nothing is shared."""
    for dropped in subsets([f"company-{number:02}" for number in range(MEMBERS)]):
        cohort = new_cohort(MEMBERS, threshold=THRESHOLD)
        present = [name for name in cohort.names if name not in dropped]
        cohort.advertise(present)
        if len(present) < THRESHOLD:
            for name in present:
                with pytest.raises(RemoteProtocolError, match="at least 5"):
                    cohort.clients[name].share(cohort.server.advertisements)
            with pytest.raises(RoundFailedError, match="at least 5"):
                cohort.server.add_sealed_shares(cohort.names[0], {})
            continue
        cohort.share(present)
        finish(cohort, present)


def test_every_set_of_dropouts_before_sharing(new_cohort):
    """Whoever advertises but does not share is not in the cohort; below the quorum no inbox is opened."""
    for dropped in subsets([f"company-{number:02}" for number in range(MEMBERS)]):
        cohort = new_cohort(MEMBERS, threshold=THRESHOLD)
        cohort.advertise(cohort.names)
        present = [name for name in cohort.names if name not in dropped]
        cohort.share(present)
        if len(present) < THRESHOLD:
            with pytest.raises((RoundFailedError, LocalProtocolError)):  # nobody shared, or too few
                cohort.server.inbox(cohort.names[0])
            for name in present:
                with pytest.raises(RemoteProtocolError, match="at least 4"):
                    cohort.clients[name].accept_shares({})
            continue
        finish(cohort, present)


def finish(cohort, present):
    cohort.accept()
    assert cohort.server.cohort == tuple(present)
    cohort.mask(1, cohort.vectors(present))
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors, survivors)
    assert cohort.server.aggregate(1).tolist() == cohort.total(present)


def test_every_set_of_dropouts_before_masking(ready_cohort):
    """The sum is that of exactly those who masked, or the round fails; later rounds are as if nothing was."""
    sets = subsets([f"company-{number:02}" for number in range(MEMBERS)])
    cohort = ready_cohort(MEMBERS, threshold=THRESHOLD, rounds=len(sets))
    for round_number, dropped in enumerate(sets, start=1):
        present = [name for name in cohort.names if name not in dropped]
        cohort.mask(round_number, cohort.vectors(present))
        if len(present) < THRESHOLD:
            with pytest.raises(RoundFailedError, match="at least 5"):
                cohort.server.close_inputs(round_number)
            continue
        survivors = cohort.server.close_inputs(round_number)
        assert survivors == tuple(present)
        cohort.unmask(round_number, survivors, survivors)
        assert cohort.server.aggregate(round_number).tolist() == cohort.total(present)


def test_every_set_of_dropouts_before_unmasking(ready_cohort):
    """Any threshold many answers open the sum over all who masked; fewer open nothing."""
    sets = subsets([f"company-{number:02}" for number in range(MEMBERS)])
    cohort = ready_cohort(MEMBERS, threshold=THRESHOLD, rounds=len(sets))
    for round_number, silent in enumerate(sets, start=1):
        cohort.mask(round_number, cohort.vectors(cohort.names))
        survivors = cohort.server.close_inputs(round_number)
        answering = [name for name in cohort.names if name not in silent]
        cohort.unmask(round_number, answering, survivors)
        if len(answering) < THRESHOLD:
            with pytest.raises(RoundFailedError, match="unmaskings: expected at least 5"):
                cohort.server.aggregate(round_number)
            continue
        assert cohort.server.aggregate(round_number).tolist() == cohort.total(cohort.names)


def test_every_set_of_dropouts_after_unmasking(ready_cohort):
    """Whoever leaves after a round was in that one's sum and is in no later one; too few left end the run."""
    for dropped in subsets([f"company-{number:02}" for number in range(MEMBERS)]):
        cohort = ready_cohort(MEMBERS, threshold=THRESHOLD, rounds=2)
        cohort.mask(1, cohort.vectors(cohort.names))
        survivors = cohort.server.close_inputs(1)
        cohort.unmask(1, survivors, survivors)
        assert cohort.server.aggregate(1).tolist() == cohort.total(cohort.names)
        present = [name for name in cohort.names if name not in dropped]
        cohort.mask(2, cohort.vectors(present))
        if len(present) < THRESHOLD:
            with pytest.raises(RoundFailedError, match="at least 5"):
                cohort.server.close_inputs(2)
            for name in present:
                with pytest.raises(RemoteProtocolError, match="at least 5"):
                    cohort.clients[name].unmask(2, present)
            continue
        survivors = cohort.server.close_inputs(2)
        cohort.unmask(2, survivors, survivors)
        assert cohort.server.aggregate(2).tolist() == cohort.total(present)


def test_a_failed_step_can_be_completed_later(ready_cohort):
    """Too few inputs or answers change nothing: when the missing ones come, the round goes on."""
    cohort = ready_cohort(3, threshold=3)
    vectors = cohort.vectors(cohort.names)
    late = cohort.names[0]
    cohort.mask(1, {name: vector for name, vector in vectors.items() if name != late})
    with pytest.raises(RoundFailedError):
        cohort.server.close_inputs(1)
    cohort.mask(1, {late: vectors[late]})
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors[1:], survivors)
    with pytest.raises(RoundFailedError):
        cohort.server.aggregate(1)
    cohort.unmask(1, survivors[:1], survivors)
    assert cohort.server.aggregate(1).tolist() == cohort.total(cohort.names)


def test_the_minimum_cohort_binds_above_the_threshold(new_cohort, ready_cohort):
    """A plan that asks for more companies than the threshold gets them at every stage, on both sides."""
    cohort = new_cohort(6, threshold=5, minimum_cohort=6)
    cohort.advertise(cohort.names[:5])
    with pytest.raises(RoundFailedError, match="at least 6"):
        cohort.server.add_sealed_shares(cohort.names[0], {})
    with pytest.raises(RemoteProtocolError, match="at least 6"):
        cohort.clients[cohort.names[0]].share(cohort.server.advertisements)
    cohort.advertise(cohort.names[5:])
    cohort.share(cohort.names[:5])
    with pytest.raises(RoundFailedError, match="at least 6"):
        cohort.server.inbox(cohort.names[0])
    with pytest.raises(RemoteProtocolError, match="at least 5, got 4"):
        cohort.clients[cohort.names[0]].accept_shares(
            {name: cohort.server._sealed[name][cohort.names[0]] for name in cohort.names[1:5]}
        )
    cohort = ready_cohort(6, threshold=5, minimum_cohort=6)
    present = cohort.names[:5]
    cohort.mask(1, cohort.vectors(present))
    with pytest.raises(RoundFailedError, match="at least 6"):
        cohort.server.close_inputs(1)
    with pytest.raises(RemoteProtocolError, match="at least 6"):
        cohort.clients[present[0]].unmask(1, present)


def test_sums_beyond_32_bits_are_exact_and_beyond_63_bits_wrap(ready_cohort):
    """The sum is exact while it fits int64, where 32 bits would be off, and is modulo 2^64 beyond."""
    cohort = ready_cohort(3, threshold=3, length=3)
    a, b, c = cohort.names
    cohort.mask(1, {a: [2**40, 2**62, -(2**63)], b: [2**40, 2**62, -1], c: [1, 0, 0]})
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors, survivors)
    assert cohort.server.aggregate(1).tolist() == [2**41 + 1, -(2**63), 2**63 - 1]


def test_a_masked_vector_looks_uniform(ready_cohort):
    """χ² of the bytes of a masked zero vector, two-sided: false alarm below 2e-9 (257 on 255 expected)."""
    cohort = ready_cohort(3, threshold=3, length=40_000)
    masked = cohort.clients[cohort.names[0]].mask(1, np.zeros(40_000, np.int64))
    counts = np.bincount(masked.view(np.uint8), minlength=256)
    expected = counts.sum() / 256
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert 139 < statistic < 413  # quantiles 1e-9 from either end of χ²(255), outwards


def test_two_rounds_of_one_company_share_no_mask(ready_cohort):
    """The same vector masked in two rounds differs in every coordinate (false alarm 2^-57)."""
    cohort = ready_cohort(3, threshold=3, rounds=2, length=100)
    client = cohort.clients[cohort.names[0]]
    assert not (client.mask(1, np.zeros(100, np.int64)) == client.mask(2, np.zeros(100, np.int64))).any()


def test_survivor_signatures_are_evidence(ready_cohort):
    """Each answer's signature verifies over exactly the set and round it answered, with public keys alone."""
    cohort = ready_cohort(6, threshold=5, rounds=2)
    present = cohort.names[1:]
    cohort.mask(1, cohort.vectors(present))
    survivors = cohort.server.close_inputs(1)
    name = present[0]
    answer = cohort.clients[name].unmask(1, survivors)
    assert cohort.clients[name].answered == {1: survivors}
    facts = {"session": cohort.parameters["session"], "round_number": 1, "survivors": survivors}
    key = cohort.keys[name].public_key
    verify_survivor_signature(key, signature=answer.signature, **facts)
    for change in ({"round_number": 2}, {"survivors": cohort.names}, {"session": bytes(32)}):
        with pytest.raises(VerificationError, match="signature"):
            verify_survivor_signature(key, signature=answer.signature, **(facts | change))


class Simulation:
    """Drives a run by a list of operations; keeps the true vectors to compare every aggregate with."""

    def __init__(self, cohort):
        self.cohort = cohort
        self.server = cohort.server
        self.round = 1
        self.masked, self.answers, self.survivors, self.aggregated = {}, {}, (), 0

    def step(self, operation, who):
        getattr(self, operation)(self.cohort.names[who])

    def mask(self, name):
        client, vector = self.cohort.clients[name], np.array(self.cohort.vectors([name])[name])
        if name in self.masked:
            with pytest.raises(LocalProtocolError):
                client.mask(self.round, vector)
            return
        self.masked[name] = client.mask(self.round, vector)
        if self.survivors:  # too late
            with pytest.raises(RemoteProtocolError):
                self.server.add_masked(self.round, name, self.masked[name])
        else:
            self.server.add_masked(self.round, name, self.masked[name])

    def close(self, _):
        if self.survivors:
            with pytest.raises(LocalProtocolError):
                self.server.close_inputs(self.round)
        elif len(self.masked) < 3:
            with pytest.raises(RoundFailedError):
                self.server.close_inputs(self.round)
        else:
            self.survivors = self.server.close_inputs(self.round)
            assert self.survivors == tuple(sorted(self.masked))

    def answer(self, name):
        if name not in self.survivors or name in self.answers:
            with pytest.raises(RemoteProtocolError):
                self.cohort.clients[name].unmask(self.round, self.survivors)
            return
        self.answers[name] = self.cohort.clients[name].unmask(self.round, self.survivors)
        self.server.add_unmasking(self.round, name, self.answers[name])

    def replay(self, name):
        if name in self.masked:
            with pytest.raises(RemoteProtocolError):
                self.server.add_masked(self.round, name, self.masked[name])
        if name in self.answers:
            with pytest.raises(RemoteProtocolError):
                self.server.add_unmasking(self.round, name, self.answers[name])

    def aggregate(self, _):
        if not self.survivors or self.aggregated == self.round:
            with pytest.raises(LocalProtocolError):
                self.server.aggregate(self.round)
        elif len(self.answers) < 3:
            with pytest.raises(RoundFailedError):
                self.server.aggregate(self.round)
        else:
            assert self.server.aggregate(self.round).tolist() == self.cohort.total(self.survivors)
            self.aggregated = self.round
            # Whoever has not answered yet is asked again, and the server refuses the answer.
            self.answers = dict.fromkeys(self.survivors) | self.answers

    def advance(self, _):
        if self.round < 4:
            self.round += 1
            self.masked, self.answers, self.survivors = {}, {}, ()


OPERATIONS = st.sampled_from(
    ["mask"] * 6 + ["answer"] * 6 + ["close"] * 2 + ["aggregate"] * 2 + ["replay"] * 2 + ["advance"]
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(OPERATIONS, st.integers(0, 3)), max_size=60))
def test_any_order_of_events_gives_the_true_sum_or_an_error(ready_cohort, steps):
    """Lost, late, repeated and misordered messages never give a sum other than that of the survivors."""
    simulation = Simulation(ready_cohort(4, threshold=3, rounds=4))
    for operation, who in steps:
        simulation.step(operation, who)


def test_an_ordinary_run_is_among_the_simulated(ready_cohort):
    """A fixed list with a late company and replays reaches an aggregate in every round."""
    simulation = Simulation(ready_cohort(4, threshold=3, rounds=4))
    order = (("mask", (0, 2, 3)), ("close", (0,)), ("mask", (1,)), ("answer", (3, 0, 2)), ("replay", (2,)))
    for round_number in (1, 2, 3, 4):
        for operation, members in (*order, ("aggregate", (0, 0)), ("advance", (0,))):
            for who in members:
                simulation.step(operation, who)
        assert simulation.aggregated == round_number

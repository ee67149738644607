"""A platform that says that a company dropped out which did not, to see its update alone."""

from __future__ import annotations

import numpy as np
from attack import Attack, Result, System
from naive_secagg import NaiveCohort, expand
from numpy.typing import NDArray
from system_cohort import LENGTH, Cohort, correlation, ready_cohort, update

MEMBERS = 6
THRESHOLD = 5
NAMES = [f"company-{number:02}" for number in range(MEMBERS)]
VICTIM = NAMES[-1]
OTHERS = NAMES[:-1]
UPDATES = {name: update(number) for number, name in enumerate(NAMES)}


def late_vector_of_naive() -> Result:
    """The others give up the victim's key, then its vector arrives after all."""
    cohort = NaiveCohort(NAMES, LENGTH, threshold=THRESHOLD, has_self_mask=False)
    answers = {name: cohort.clients[name].unmask(OTHERS) for name in OTHERS}
    late = cohort.clients[VICTIM].mask(UPDATES[VICTIM])
    return result(late - cohort.pair_masks(VICTIM, cohort.recover(VICTIM, answers)))


def restart_naive() -> Result:
    """The round, and the same round again without the victim, as after a drop-out; both sums are exact."""
    sums = []
    for present in (NAMES, OTHERS):
        cohort = NaiveCohort(present, LENGTH, threshold=len(present), has_self_mask=True)
        total = sum(
            (cohort.clients[name].mask(UPDATES[name]) for name in present), np.zeros(LENGTH, np.uint64)
        )
        answers = {name: cohort.clients[name].unmask(present) for name in present}
        for name in present:
            total -= expand(cohort.recover(name, answers), LENGTH)
        sums.append(total)
    return result(sums[0] - sums[1])


def pretend_in_ours() -> Result:
    """The victim is called dropped out, its vector kept; then everything is asked again."""
    cohort = ready_cohort(MEMBERS, threshold=THRESHOLD, rounds=2)
    never_sent = cohort.clients[VICTIM]._mask_seeds[1].self_seed.reveal()
    masked = {name: cohort.clients[name].mask(1, UPDATES[name]) for name in NAMES}
    for name in OTHERS:
        cohort.ask(name, OTHERS)
    key = cohort.recover(cohort.shares(VICTIM, is_self_mask=False))
    guess = masked[VICTIM] - cohort.own_pair_masks(VICTIM, key) if key else masked[VICTIM]
    guesses = [guess, sum_of(cohort, masked, NAMES) - sum_of(cohort, masked, OTHERS)]
    answered = len(cohort.answers)
    for survivors in (NAMES, OTHERS):
        for name in NAMES:
            cohort.ask(name, survivors)
    seed = cohort.recover(cohort.shares(VICTIM, is_self_mask=True))
    if seed:
        guesses.append(guess - cohort.self_mask(VICTIM, seed))
    outcome = result(*guesses)
    left = guess - cohort.self_mask(VICTIM, never_sent)
    assert outcome.succeeded or correlation(left, UPDATES[VICTIM]) > 0.99, "only the self-mask is left"
    # The victim's own first answer is due to it; a second one would not be.
    again = len(cohort.answers) - answered - 1
    return Result(
        outcome.succeeded, f"{outcome.measured}; {again} of {2 * MEMBERS - 1} second requests answered"
    )


def sum_of(cohort: Cohort, masked: dict[str, NDArray[np.uint64]], names: list[str]) -> NDArray[np.uint64]:
    """The sum of these vectors with every mask taken off that can be."""
    total = np.zeros(LENGTH, np.uint64)
    for name in names:
        total += masked[name]
        seed = cohort.recover(cohort.shares(name, is_self_mask=True))
        if seed:
            total -= cohort.self_mask(name, seed)
    return total


def result(*guesses: NDArray[np.uint64]) -> Result:
    """Succeeded if a guess is the victim's update; random ones of this length correlate below 0.6."""
    best = max(correlation(guess, UPDATES[VICTIM]) for guess in guesses)
    return Result(best > 0.9, f"correlation with the company's update {best:.2f}")


ATTACKS = (
    Attack(
        name="subtraction after a pretended drop-out",
        attacker="platform",
        aim="see one company's update alone",
        systems=(
            System("pairwise masks, recovered at drop-out", False, late_vector_of_naive),
            System("round run again without the slow company", False, restart_naive),
            System("Noren", True, pretend_in_ours),
        ),
    ),
)

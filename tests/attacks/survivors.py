"""A platform that tells companies different survivor sets, to collect both secrets of one of them.

Against ours the strongest version known to us is run: the platform and as many helping companies as the
protocol tolerates (fewer than a third) choose whom to call dropped out towards whom, so that the masks of as
few honest companies as possible stay in the sum. What that opens is the sum of at least two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from attack import Attack, Result, System
from naive_secagg import NaiveCohort, expand
from numpy.typing import NDArray
from system_cohort import LENGTH, Cohort, correlation, ready_cohort, update

from noren_core.crypto.shamir import SHARE_BYTES
from noren_core.secagg.masking import add_pair_mask

MEMBERS = 7
THRESHOLD = 5


def ask_naive_twice() -> Result:
    """Everybody is asked for everybody, then for everybody but the victim."""
    names = [f"company-{number:02}" for number in range(MEMBERS)]
    updates = {name: update(number) for number, name in enumerate(names)}
    cohort = NaiveCohort(names, LENGTH, threshold=THRESHOLD, has_self_mask=True)
    *others, victim = names
    masked = cohort.clients[victim].mask(updates[victim])
    seeds = {name: cohort.clients[name].unmask(names) for name in others}
    keys = {name: cohort.clients[name].unmask(others) for name in others}
    masked -= expand(cohort.recover(victim, seeds), LENGTH)
    masked -= cohort.pair_masks(victim, cohort.recover(victim, keys))
    return result({victim: updates[victim]}, masked, honest=MEMBERS, helpers=0)


def ask_ours_twice() -> Result:
    """The same against ours: what the companies give at two requests, and the victim's vector without it."""
    cohort = ready_cohort(MEMBERS, threshold=THRESHOLD)
    *others, victim = cohort.names
    masked = {name: cohort.clients[name].mask(1, update(number)) for number, name in enumerate(cohort.names)}
    for survivors in (cohort.names, others):
        for name in others:
            cohort.ask(name, survivors)
    seed = cohort.recover(cohort.shares(victim, is_self_mask=True))
    key = cohort.recover(cohort.shares(victim, is_self_mask=False))
    opened = masked[victim]
    if seed:
        opened -= cohort.self_mask(victim, seed)
    if key:
        opened -= cohort.own_pair_masks(victim, key)
    single = correlation(opened, update(MEMBERS - 1))
    return Result(
        single > 0.9,
        f"correlation with one company's vector {single:.2f}; "
        f"{cohort.refused} of {2 * len(others)} requests refused",
    )


def lie_to_ours(helpers: int) -> Result:
    """Open the sum of as few honest companies as the rules of the clients allow.

    First without regard to how many drop-outs a company accepts to be told of, then with.
    """
    for size in range(1, MEMBERS - helpers + 1):
        for told in (MEMBERS - 1, MEMBERS - THRESHOLD):
            opened = open_sum(size, helpers, told=told)
            if opened is not None:
                return opened
    return Result(False, f"nothing opened with {helpers} helpers")


def open_sum(size: int, helpers: int, *, told: int) -> Result | None:
    """Try to open the sum of `size` honest companies; None if their answers do not suffice.

    1. Assign the lies: every honest company that is to be left out must be called dropped out towards enough
       others, and no company is told of more than `told` drop-outs.
    2. Ask. The helpers give both their shares of everything.
    3. Take off what masks can be taken off, and compare with the truth.
    """
    cohort = ready_cohort(MEMBERS, threshold=THRESHOLD)
    helping, honest = cohort.names[:helpers], cohort.names[helpers:]
    kept, left_out = honest[:size], honest[size:]
    dropped = lies(honest, left_out, needed=THRESHOLD - helpers, most=told)  # 1
    updates = {name: update(number) for number, name in enumerate(cohort.names)}
    given = {name: dict(cohort.clients[name]._held[1]) for name in helping}
    held = {name: {c: bytes(s.buffer) for c, s in shares.items()} for name, shares in given.items()}
    masked = {name: cohort.clients[name].mask(1, updates[name]) for name in honest}
    for name in honest:  # 2
        cohort.ask(name, [each for each in cohort.names if each not in dropped[name]])

    def secret(company: str, *, is_self_mask: bool) -> bytes | None:
        part = slice(SHARE_BYTES, None) if is_self_mask else slice(SHARE_BYTES)
        both = {cohort.points[helper]: shares[company][part] for helper, shares in held.items()}
        return cohort.recover(cohort.shares(company, is_self_mask=is_self_mask) | both)

    seeds = {name: secret(name, is_self_mask=True) for name in kept}  # 3
    # Helpers know their own keys; shares of them stand for that here.
    keys = {name: secret(name, is_self_mask=False) for name in left_out}
    if None in seeds.values() or None in keys.values():
        return None
    total = np.zeros(LENGTH, np.uint64)
    for name in kept:
        total += masked[name] - cohort.self_mask(name, seeds[name] or b"")
        for other, key in keys.items():
            total -= cohort.pair_mask(other, key or b"", adder=name)
        for helper in helping:
            total -= helper_mask(cohort, helper, name)
    if (total.view(np.int64) != sum(updates[name] for name in kept)).any():
        return None
    return result({name: updates[name] for name in kept}, total, honest=len(honest), helpers=helpers)


def lies(honest: Sequence[str], left_out: Sequence[str], *, needed: int, most: int) -> dict[str, set[str]]:
    """Honest company → whom to call dropped out towards it: each as often as needed, as far as that goes."""
    told: dict[str, set[str]] = {name: set() for name in honest}
    # First those who are left out themselves: nobody is told that it is gone itself, so they are scarcer.
    for company in left_out:
        able = [name for name in honest if name != company and len(told[name]) < most]
        able.sort(key=lambda name: (name not in left_out, len(told[name])))
        for name in able[:needed]:
            told[name].add(company)
    return told


def helper_mask(cohort: Cohort, helper: str, name: str) -> NDArray[np.uint64]:
    """What an honest company added for its pair with a helper, from the helper's own memory."""
    mask = np.zeros(LENGTH, np.uint64)
    add_pair_mask(mask, cohort.clients[helper]._mask_seeds[1].pair_seeds[name], adder=name, other=helper)
    return mask


def result(
    updates: Mapping[str, NDArray[np.int64]], opened: NDArray[np.uint64], *, honest: int, helpers: int
) -> Result:
    """Succeeded if what was opened is one company's vector."""
    is_exact = bool((opened.view(np.int64) == sum(updates.values())).all())
    single = max(correlation(opened, vector) for vector in updates.values())
    return Result(
        is_exact and len(updates) == 1,
        f"opened the sum of {len(updates)} of {honest} honest companies with {helpers} helpers, "
        f"correlation with one of them {single:.2f}",
    )


ATTACKS = (
    Attack(
        name="equivocating survivor sets",
        attacker="platform, with helping companies",
        aim="open one company's vector",
        systems=(
            System("semi-honest double masking", False, ask_naive_twice),
            System("Noren, asked twice", True, ask_ours_twice),
            System("Noren, no helper", True, lambda: lie_to_ours(0)),
            System("Noren, 2 of 7 companies help", True, lambda: lie_to_ours(2)),
        ),
    ),
)

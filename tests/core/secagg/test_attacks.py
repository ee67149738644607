"""Attacks that read one company's vector from a simpler design, and fail here.

The naive designs are written out in this file with the same masks. Each attack must keep succeeding
against its design: otherwise its failure against ours would show nothing.
"""

import math
from itertools import product

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from noren_core.crypto import shamir
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import RemoteProtocolError, VerificationError
from noren_core.secagg.masking import add_pair_mask, add_self_mask, expand, pair_seed

LENGTH = 4
SESSION = bytes(32)
SECRET_VECTOR = [11, -22, 33, 44]


def pair_mask(seed, *, adder, other):
    mask = np.zeros(LENGTH, np.uint64)
    add_pair_mask(mask, seed, adder=adder, other=other)
    return mask


def naive_mask(name, private, publics, vector, *, round_number, seed=None):
    """A vector under pairwise masks and, if a seed is given, a self-mask."""
    total = np.array(vector, np.int64).view(np.uint64).copy()
    for peer in publics.keys() - {name}:
        total += naive_pair(name, peer, private, publics, round_number=round_number)
    if seed is not None:
        total += expand(SecretBytes(seed), LENGTH)
    return total


def naive_pair(adder, other, private, publics, *, round_number):
    """The mask `adder` adds for `other`, from the private key of either."""
    own = private.public_key().public_bytes_raw()
    owner, peer = (adder, other) if publics[adder] == own else (other, adder)
    seed = pair_seed(
        private, session=SESSION, round_number=round_number, ours=(owner, own), theirs=(peer, publics[peer])
    )
    return pair_mask(seed, adder=adder, other=other)


@pytest.fixture
def naive_keys():
    privates = {name: X25519PrivateKey.generate() for name in ("a", "b", "c", "d")}
    return privates, {name: key.public_key().public_bytes_raw() for name, key in privates.items()}


def test_a_restarted_round_opens_a_late_vector_under_single_masks(naive_keys):
    """Without self-masks: called dropped out, its key recovered, then its vector arrives and is read."""
    privates, publics = naive_keys
    late = naive_mask("d", privates["d"], publics, SECRET_VECTOR, round_number=1)
    recovered = privates["d"]  # what the others' shares give for one who dropped out
    for peer in ("a", "b", "c"):
        late -= naive_pair("d", peer, recovered, publics, round_number=1)
    assert late.view(np.int64).tolist() == SECRET_VECTOR


def test_a_reused_round_key_opens_earlier_rounds(naive_keys):
    """One key pair for all rounds: a drop-out in round 2 takes the masks off its round 1."""
    privates, publics = naive_keys
    seed = bytes(range(32))
    earlier = naive_mask("d", privates["d"], publics, SECRET_VECTOR, round_number=1, seed=seed)
    earlier -= expand(SecretBytes(seed), LENGTH)  # round 1 went well, so its self-mask seed was recovered
    recovered = privates["d"]  # round 2: it dropped out, so its key was
    for peer in ("a", "b", "c"):
        earlier -= naive_pair("d", peer, recovered, publics, round_number=1)
    assert earlier.view(np.int64).tolist() == SECRET_VECTOR


def server_recovers(cohort, round_number, company):
    """The secret that the answers the server holds determine: a survivor's seed, a drop-out's round key."""
    return cohort.server._recover_all(round_number)[company]


def pair_masks_of(cohort, victim, round_number, private):
    """The victim's pairwise masks of a round, as computed with a private key the server recovered."""
    advertisements = cohort.server.advertisements
    total = np.zeros(LENGTH, np.uint64)
    for peer in cohort.names:
        if peer != victim:
            seed = pair_seed(
                X25519PrivateKey.from_private_bytes(private.buffer),
                session=cohort.parameters["session"],
                round_number=round_number,
                ours=(victim, advertisements[victim].round_keys[round_number - 1]),
                theirs=(peer, advertisements[peer].round_keys[round_number - 1]),
            )
            total += pair_mask(seed, adder=victim, other=peer)
    return total


def self_mask_of(cohort, victim, round_number, seed):
    mask, session = np.zeros(LENGTH, np.uint64), cohort.parameters["session"]
    add_self_mask(mask, seed, session=session, round_number=round_number, company=victim)
    return mask


def test_a_restarted_round_does_not_open_a_late_vector_here(ready_cohort):
    """The same attack leaves the vector under its self-mask, whose shares nobody gives any more."""
    cohort = ready_cohort(6, threshold=5, length=LENGTH)
    *present, victim = cohort.names
    cohort.mask(1, cohort.vectors(present))
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors, survivors)
    never_sent = SecretBytes(cohort.clients[victim]._mask_seeds[1].self_seed.buffer)
    late = cohort.clients[victim].mask(1, np.array(SECRET_VECTOR))
    late -= pair_masks_of(cohort, victim, 1, server_recovers(cohort, 1, victim))
    assert late.view(np.int64).tolist() != SECRET_VECTOR
    for name in present:
        with pytest.raises(RemoteProtocolError):
            cohort.clients[name].unmask(1, cohort.names)
    # The attack did take the pairwise masks off; the self-mask alone stood in its way.
    late -= self_mask_of(cohort, victim, 1, never_sent)
    assert late.view(np.int64).tolist() == SECRET_VECTOR


def test_a_dropout_does_not_open_earlier_rounds_here(ready_cohort):
    """The key recovered in round 2 takes nothing off round 1, although its self-mask is known."""
    cohort = ready_cohort(6, threshold=5, length=LENGTH, rounds=2)
    *present, victim = cohort.names
    seeds = cohort.clients[victim]._mask_seeds[1].pair_seeds
    kept = {peer: SecretBytes(seed.buffer) for peer, seed in seeds.items()}
    cohort.mask(1, cohort.vectors(present) | {victim: SECRET_VECTOR})
    earlier = cohort.server._rounds[1].masked[victim].copy()
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors, survivors)
    earlier -= self_mask_of(cohort, victim, 1, server_recovers(cohort, 1, victim))
    cohort.mask(2, cohort.vectors(present))
    survivors = cohort.server.close_inputs(2)
    cohort.unmask(2, survivors, survivors)
    opened = earlier - pair_masks_of(cohort, victim, 1, server_recovers(cohort, 2, victim))
    assert opened.view(np.int64).tolist() != SECRET_VECTOR
    # With the key of round 1 it would have been open.
    for peer, seed in kept.items():
        earlier -= pair_mask(seed, adder=victim, other=peer)
    assert earlier.view(np.int64).tolist() == SECRET_VECTOR


def test_telling_members_different_survivors_gives_no_company_away(ready_cohort):
    """Half are told that the victim survived and half that it did not: too few shares of either secret."""
    cohort = ready_cohort(6, threshold=5, length=LENGTH)
    *helpers, victim = cohort.names
    cohort.mask(1, cohort.vectors(helpers) | {victim: SECRET_VECTOR})
    views = {name: cohort.names if name in helpers[:2] else helpers for name in helpers}
    answers = {name: cohort.clients[name].unmask(1, view) for name, view in views.items()}
    points = cohort.server._group.points(helpers)
    for kind in (True, False):
        shares = {
            points[name]: share.share
            for name, answer in answers.items()
            for share in answer.shares
            if share.company == victim and share.is_self_mask is kind
        }
        assert len(shares) == (2 if kind else 3)
        with pytest.raises(VerificationError, match="at least 5"):
            shamir.recover(shares, threshold=5)


@pytest.mark.parametrize(("members", "threshold"), [(4, 3), (5, 4)])
def test_no_choice_of_survivor_sets_opens_a_small_sum(ready_cohort, members, threshold):
    """All ways to lie to honest members: never both secrets of one, and no sum of fewer than n(2t − n)/t."""
    cohort = ready_cohort(members, threshold=threshold, rounds=members)
    names = cohort.names
    # In round r, member i is told that member i + r is gone (r < n), or that all survived (r = n).
    answers = {}
    for position, name in enumerate(names):
        for number in range(1, members + 1):
            gone = names[(position + number) % members] if number < members else None
            cohort.clients[name].mask(number, np.zeros(3, np.int64))
            answer = cohort.clients[name].unmask(number, [each for each in names if each != gone])
            answers[name, number] = {share.company: share.is_self_mask for share in answer.shares}
    smallest = members
    for views in product(range(1, members + 1), repeat=members):
        given = [answers[name, view] for name, view in zip(names, views, strict=True)]
        seeds = {each for each in names if sum(kinds[each] for kinds in given) >= threshold}
        keys = {each for each in names if sum(not kinds[each] for kinds in given) >= threshold}
        assert not seeds & keys
        if seeds | keys == set(names):
            smallest = min(smallest, len(seeds))
    assert smallest >= math.ceil(members * (2 * threshold - members) / threshold)

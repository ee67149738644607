"""Members that give or deal wrong shares: the sum is right while enough shares are, and they are named."""

from dataclasses import replace
from itertools import product

import pytest

from noren_core.crypto import shamir
from noren_core.secagg.messages import Unmasking
from noren_core.secagg.server import Dispute, RoundFailedError


def shifted(share: bytes, by: int = 1) -> bytes:
    return ((int.from_bytes(share, "big") + by) % shamir.PRIME).to_bytes(shamir.SHARE_BYTES, "big")


def lying(answer: Unmasking, dealers) -> Unmasking:
    """The answer with wrong shares of these members' secrets."""
    return replace(
        answer,
        shares=tuple(
            replace(share, share=shifted(share.share)) if share.company in dealers else share
            for share in answer.shares
        ),
    )


def round_with_lies(cohort, lies, *, present=None, silent=()):
    """A round in which each of `lies` (holder → dealers) answers wrongly; the survivors."""
    cohort.mask(1, cohort.vectors(present or cohort.names))
    survivors = cohort.server.close_inputs(1)
    for name in survivors:
        if name not in silent:
            answer = cohort.clients[name].unmask(1, survivors)
            cohort.server.add_unmasking(1, name, lying(answer, lies.get(name, ())))
    return survivors


def test_another_encoding_of_a_round_key_is_not_the_key(new_cohort):
    """X25519 ignores five bits of a private key; a wrong share that changes only these is found wrong too."""
    cohort = new_cohort(3, threshold=3)
    cohort.advertise(cohort.names)
    name = cohort.names[0]
    raw = cohort.clients[name]._round_keys[1].private_bytes_raw()
    assert cohort.server._is_secret_of(1, name, raw)
    for place, bit in ((0, 1), (0, 2), (0, 4), (31, 64), (31, 128)):
        changed = raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]
        assert not cohort.server._is_secret_of(1, name, changed)


@pytest.mark.parametrize("place", [0, 3, 5])
def test_one_liar_is_named_and_does_not_stop_the_round(ready_cohort, place):
    """With one answer more than the threshold, one member's shares may all be wrong."""
    cohort = ready_cohort(6, threshold=5)
    liar = cohort.names[place]
    survivors = round_with_lies(cohort, {liar: cohort.names})
    assert cohort.server.aggregate(1).tolist() == cohort.total(survivors)
    if place == 5:  # its shares were not needed, so nobody looked at them
        assert cohort.server.disputes == ()
        return
    assert cohort.server.disputes == tuple(Dispute(1, liar, dealer) for dealer in cohort.names)


@pytest.mark.parametrize("dropped", [False, True], ids=["self-mask seed", "round key"])
def test_one_wrong_share_disputes_holder_and_dealer(ready_cohort, dropped):
    """Either the holder changed it or the dealer dealt it: only the pair can be named."""
    cohort = ready_cohort(7, threshold=5)
    present = cohort.names[: 6 if dropped else 7]
    holder, dealer = cohort.names[0], cohort.names[6 if dropped else 1]
    survivors = round_with_lies(cohort, {holder: [dealer]}, present=present)
    assert cohort.server.aggregate(1).tolist() == cohort.total(survivors)
    assert cohort.server.disputes == (Dispute(1, holder, dealer),)


def test_a_dealer_with_wrong_shares_for_some_is_the_same_dispute(new_cohort):
    """A share that was dealt wrong looks as if its holder had changed it: the pair is named."""
    cohort = new_cohort(6, threshold=5)
    victim, dealer = cohort.names[0], cohort.names[4]
    client = cohort.clients[dealer]
    split = client._split

    def split_wrongly(secret, points):
        dealt = split(secret, points)
        return dealt | {victim: shifted(dealt[victim])}

    client._split = split_wrongly
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    cohort.accept()
    survivors = round_with_lies(cohort, {})
    assert cohort.server.aggregate(1).tolist() == cohort.total(survivors)
    assert cohort.server.disputes == (Dispute(1, victim, dealer),)


@pytest.mark.parametrize("liars", [1, 2])
def test_several_liars_are_named_where_it_is_clear(ready_cohort, liars):
    """Of twelve answers for a threshold of nine, two liars' errors may even cancel: they alone are named."""
    cohort = ready_cohort(12, threshold=9)
    named = cohort.names[1 : 1 + liars]  # the errors of points 2 and 3 cancel among the first nine
    survivors = round_with_lies(cohort, dict.fromkeys(named, cohort.names))
    assert cohort.server.aggregate(1).tolist() == cohort.total(survivors)
    assert {(d.holder, d.dealer) for d in cohort.server.disputes} <= set(product(named, cohort.names))
    assert {d.holder for d in cohort.server.disputes} == set(named)


def test_as_many_liars_as_there_are_spare_answers(ready_cohort):
    """Three liars of twelve: the sum is right, and nobody is named, as three could have framed three others.

    One set of nine in 220 is right: a search of 1,000 misses it in 1% of all cases, and another searches on.
    """
    cohort = ready_cohort(12, threshold=9)
    survivors = round_with_lies(cohort, dict.fromkeys(cohort.names[:3], cohort.names[:2]))
    try:
        total = cohort.server.aggregate(1).tolist()
    except RoundFailedError:
        total = cohort.server.aggregate(1).tolist()
    assert total == cohort.total(survivors)
    assert cohort.server.disputes == ()


def test_liars_whose_errors_cancel_frame_nobody(ready_cohort):
    """Two of seven collude: the secret comes out right from a polynomial that honest shares are not on."""
    cohort = ready_cohort(7, threshold=5)
    cohort.mask(1, cohort.vectors(cohort.names))
    survivors = cohort.server.close_inputs(1)
    answers = {name: cohort.clients[name].unmask(1, survivors) for name in survivors}
    one, two, loud = cohort.names[0], cohort.names[1], cohort.names[2]
    weights = shamir._weights((1, 2, 3, 4, 5), 0)
    error = {one: 1, two: -weights[0] * pow(weights[1], -1, shamir.PRIME)}
    for name, answer in answers.items():
        shares = [
            replace(share, share=shifted(share.share, error[name]))
            if name in error and share.company != cohort.names[-1]
            else share
            for share in answer.shares
        ]
        if name == loud:  # makes the server look
            shares = lying(answer, cohort.names[-1:]).shares
        cohort.server.add_unmasking(1, name, replace(answer, shares=tuple(shares)))
    assert cohort.server.aggregate(1).tolist() == cohort.total(cohort.names)
    assert cohort.server.disputes == (Dispute(1, loud, cohort.names[-1]),)


def test_without_a_spare_answer_the_round_fails_and_says_whose_secret_it_was(ready_cohort):
    """Exactly the threshold many answers and one wrong share: no sum comes out, never a wrong one."""
    cohort = ready_cohort(6, threshold=5)
    dealer = cohort.names[3]
    round_with_lies(cohort, {cohort.names[0]: [dealer]}, silent=cohort.names[5:])
    for _ in range(2):  # and it stays so
        with pytest.raises(RoundFailedError, match=f"the secret was {dealer}'s"):
            cohort.server.aggregate(1)
    cohort.unmask(1, cohort.names[5:], tuple(cohort.names))  # the late answer saves the round
    assert cohort.server.aggregate(1).tolist() == cohort.total(cohort.names)


def test_another_encoding_of_the_same_key_is_not_taken_for_the_secret(ready_cohort):
    """X25519 ignores five bits of a key; shares that differ in them must not make honest ones look wrong."""
    cohort = ready_cohort(7, threshold=5)
    present, dealer, liar = cohort.names[:6], cohort.names[6], cohort.names[0]
    points = cohort.server._group.points(cohort.names)
    first = tuple(sorted(points[name] for name in present))[:5]
    weight = shamir._weights(first, 0)[first.index(points[liar])]
    cohort.mask(1, cohort.vectors(present))
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors[1:], survivors)
    answer = cohort.clients[liar].unmask(1, survivors)
    # Recovered from the first five, the highest bit of the last byte is set, which X25519 ignores.
    by = 128 * pow(weight, -1, shamir.PRIME)
    shares = tuple(
        replace(share, share=shifted(share.share, by)) if share.company == dealer else share
        for share in answer.shares
    )
    cohort.server.add_unmasking(1, liar, replace(answer, shares=shares))
    assert cohort.server.aggregate(1).tolist() == cohort.total(present)
    assert cohort.server.disputes == (Dispute(1, liar, dealer),)

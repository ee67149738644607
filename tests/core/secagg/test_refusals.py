"""What each machine refuses, and that refusing leaves it as it was."""

from dataclasses import replace

import numpy as np
import pytest

from noren_core.errors import ConfigurationError, LocalProtocolError, NorenError, RemoteProtocolError
from noren_core.secagg.messages import Advertisement, PeerShare, Unmasking
from noren_core.secagg.server import RoundFailedError

LOW_ORDER = bytes(32)
"""A public key whose exchange is zero whatever the private key."""


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(("members", "threshold"), [(3, 2), (5, 3), (6, 4), (9, 6), (40, 26), (6, 0), (6, 7)])
def test_a_threshold_of_two_thirds_or_less_is_refused(new_cohort, members, threshold):
    """At t ≤ 2n/3, a third of the members could help the server to both secrets of another."""
    with pytest.raises(ConfigurationError, match="threshold"):
        new_cohort(members, threshold=threshold)


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum_cohort": 1},
        {"minimum_cohort": 7},
        {"session": bytes(31)},
        {"rounds": 0},
        {"vector_length": 0},
        {"roster": {}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_parameters_out_of_range_are_refused(new_cohort, changes):
    """Neither machine can be made with parameters that would not protect anyone."""
    cohort = new_cohort(6, threshold=5)
    with pytest.raises(ConfigurationError):
        cohort.client(cohort.names[0], **changes)
    with pytest.raises(ConfigurationError):
        type(cohort.server)(**(cohort.parameters | changes))


def test_one_key_for_two_companies_is_refused(new_cohort):
    """A company that is on the roster twice would count twice towards the threshold."""
    cohort = new_cohort(6, threshold=5)
    roster = cohort.parameters["roster"]
    with pytest.raises(ConfigurationError, match="distinct keys"):
        cohort.client(cohort.names[0], roster=roster | {cohort.names[5]: roster[cohort.names[0]]})


def test_a_roster_with_another_key_for_us_is_refused(new_cohort):
    """We take part only as who we are."""
    cohort = new_cohort(3, threshold=3)
    name = cohort.names[0]
    for stranger in (bytes(32), b"\xff" * 32):
        with pytest.raises(ConfigurationError, match="our own"):
            cohort.client(name, roster=cohort.parameters["roster"] | {name: stranger})


def broken_advertisements(good: Advertisement, other: Advertisement):
    """Ways to break the first company's advertisement; `other` is the second company's."""
    keys = good.round_keys
    return {
        "another company's": other,
        "forged signature": replace(good, signature=flipped(good.signature)),
        "short signature": replace(good, signature=good.signature[:-1]),
        "no signature": replace(good, signature=b""),
        "swapped key": replace(good, share_key=other.share_key),
        "swapped round key": replace(good, round_keys=(other.round_keys[0], *keys[1:])),
        "swapped commitment": replace(good, seed_commitments=other.seed_commitments),
        "swapped contribution": replace(good, contribution_commitment=other.contribution_commitment),
        "short contribution": replace(good, contribution_commitment=good.contribution_commitment[:-1]),
        "a round too few": replace(good, round_keys=keys[:-1]),
        "a round too many": replace(good, round_keys=(*keys, keys[0])),
        "a commitment too few": replace(good, seed_commitments=good.seed_commitments[:-1]),
        "short key": replace(good, share_key=good.share_key[:-1]),
    }


def signed(cohort, name, advertisement):
    """`advertisement` with a good signature of `name`: a member that itself misbehaves."""
    from noren_core.secagg.messages import ADVERTISEMENT_LABEL, advertisement_statement

    statement = advertisement_statement(cohort.server._group, name, advertisement)
    return replace(advertisement, signature=cohort.keys[name].sign(ADVERTISEMENT_LABEL, statement))


def test_broken_advertisements_are_refused_by_both_sides(new_cohort):
    """Forged, short, swapped and misshapen advertisements change nothing; the good one is then taken."""
    cohort = new_cohort(3, threshold=3, rounds=2)
    ours, theirs, third = cohort.names
    good = {name: client.advertise() for name, client in cohort.clients.items()}
    for what, bad in broken_advertisements(good[theirs], good[third]).items():
        with pytest.raises(RemoteProtocolError):
            cohort.server.add_advertisement(theirs, bad)
        with pytest.raises(RemoteProtocolError):
            cohort.clients[ours].share(good | {theirs: bad})
        assert cohort.server.advertisements == {}, what
    for name, advertisement in good.items():
        cohort.server.add_advertisement(name, advertisement)
    assert cohort.clients[ours].share(good).keys() == {theirs, third}


def test_signed_advertisements_with_bad_keys_are_refused_by_both_sides(new_cohort):
    """A member that signs a repeated, copied or small-order key is refused, though its signature is good."""
    cohort = new_cohort(3, threshold=3, rounds=2)
    ours, theirs, third = cohort.names
    good = {name: client.advertise() for name, client in cohort.clients.items()}
    cohort.server.add_advertisement(third, good[third])
    honest, another = good[theirs], cohort.client(theirs).advertise()
    for bad in (
        replace(honest, round_keys=honest.round_keys[:1]),
        replace(honest, round_keys=(*honest.round_keys, another.round_keys[0])),
        replace(honest, seed_commitments=honest.seed_commitments[:1]),
        replace(honest, seed_commitments=(*honest.seed_commitments, another.seed_commitments[0])),
        replace(honest, contribution_commitment=honest.contribution_commitment[:-1]),
        replace(honest, contribution_commitment=honest.contribution_commitment + b"\0"),
        replace(honest, round_keys=(honest.round_keys[0],) * 2),
        replace(honest, share_key=honest.round_keys[0]),
        replace(honest, round_keys=good[third].round_keys),
        replace(honest, seed_commitments=good[third].seed_commitments),
        replace(honest, contribution_commitment=good[third].contribution_commitment),
        replace(honest, contribution_commitment=honest.seed_commitments[0]),
        replace(honest, share_key=LOW_ORDER),
        replace(honest, round_keys=(LOW_ORDER, honest.round_keys[1])),
    ):
        advertisement = signed(cohort, theirs, bad)
        with pytest.raises(RemoteProtocolError):
            cohort.server.add_advertisement(theirs, advertisement)
        with pytest.raises(RemoteProtocolError):
            cohort.clients[ours].share(good | {theirs: advertisement})


def test_a_set_of_advertisements_without_ours_or_with_a_stranger_is_refused(new_cohort):
    """We share only into a set that contains us unchanged and nobody from outside the roster."""
    cohort = new_cohort(6, threshold=5)
    ours, theirs = cohort.names[:2]
    good = {name: client.advertise() for name, client in cohort.clients.items()}
    without = {name: each for name, each in good.items() if name != ours}
    client = cohort.clients[ours]
    for bad in (without, good | {ours: good[theirs]}, good | {"stranger": good[theirs]}):
        with pytest.raises(RemoteProtocolError):
            client.share(bad)
    again = cohort.client(ours)  # a restarted process with new keys, of the same company and session
    assert again.advertise() != good[ours]
    with pytest.raises(RemoteProtocolError, match="unchanged"):
        again.share(good)


def test_an_advertisement_of_another_session_is_refused(new_cohort):
    """A campaign's signed keys cannot be replayed into another run of the same companies."""
    cohort = new_cohort(3, threshold=3)
    name = cohort.names[0]
    stale = cohort.client(name, session=bytes(32)).advertise()
    with pytest.raises(RemoteProtocolError, match="signature"):
        cohort.server.add_advertisement(name, stale)


def test_a_second_advertisement_is_refused(new_cohort):
    """One advertisement per company; the first stays."""
    cohort = new_cohort(3, threshold=3)
    name = cohort.names[0]
    cohort.advertise([name])
    before = cohort.server.advertisements
    with pytest.raises(RemoteProtocolError, match="a second"):
        cohort.server.add_advertisement(name, cohort.client(name).advertise())
    assert cohort.server.advertisements == before


def test_nobody_joins_after_sharing_began(new_cohort):
    """The set that was sent out is fixed by the first sealed shares, and the cohort by the first inbox."""
    cohort = new_cohort(4, threshold=3)
    *present, late = cohort.names
    cohort.advertise(present)
    cohort.share(present[:1])
    with pytest.raises(RemoteProtocolError, match="add-advertisement"):
        cohort.server.add_advertisement(late, cohort.clients[late].advertise())
    cohort.share(present[1:])
    cohort.accept()
    with pytest.raises(RemoteProtocolError, match="add-shares"):
        cohort.server.add_sealed_shares(late, {})
    with pytest.raises(LocalProtocolError, match="a member of the cohort"):
        cohort.server.inbox(late)


def test_sealed_shares_for_other_recipients_or_lengths_are_refused(new_cohort):
    """A member seals one message of the fixed length for each other advertiser, once."""
    cohort = new_cohort(3, threshold=3)
    a, b, c = cohort.names
    cohort.advertise(cohort.names)
    sealed = cohort.clients[a].share(cohort.server.advertisements)
    for bad in (
        {b: sealed[b]},
        sealed | {a: sealed[b]},
        sealed | {"stranger": sealed[b]},
        sealed | {c: b"short"},
        sealed | {c: sealed[c] + b"\0"},
    ):
        with pytest.raises(RemoteProtocolError):
            cohort.server.add_sealed_shares(a, bad)
    with pytest.raises(RemoteProtocolError):
        cohort.server.add_sealed_shares("stranger", sealed)
    assert cohort.server.cohort == ()
    cohort.server.add_sealed_shares(a, sealed)
    with pytest.raises(RemoteProtocolError):
        cohort.server.add_sealed_shares(a, sealed)


def test_sealed_shares_that_are_not_for_us_are_refused(new_cohort):
    """Changed, swapped, reflected and shortened messages are refused at once, and the good ones then open."""
    cohort = new_cohort(4, threshold=3)
    a, b, c, d = cohort.names
    cohort.advertise(cohort.names)
    sealed = {name: cohort.clients[name].share(cohort.server.advertisements) for name in cohort.names}
    good = {sender: sealed[sender][a] for sender in (b, c, d)}
    for bad in (
        good | {b: flipped(good[b])},
        good | {b: good[c]},  # another sender's
        good | {b: sealed[b][c]},  # for another recipient
        good | {b: sealed[a][b]},  # our own, reflected
        good | {b: good[b][:-1]},
        good | {a: sealed[b][a]},  # we are no sender of ours
        {b: good[b]},  # too few
    ):
        with pytest.raises(RemoteProtocolError, match="sealed shares"):
            cohort.clients[a].accept_shares(bad)
    assert cohort.clients[a].cohort == ()
    cohort.clients[a].accept_shares(good)
    assert cohort.clients[a].cohort == tuple(cohort.names)


def test_shares_open_only_between_members_who_saw_the_same_advertisements(new_cohort):
    """A server that shows one member a fourth company and hides it from another gets no set-up."""
    cohort = new_cohort(4, threshold=3)
    a, b, c, d = cohort.names
    advertised = {name: client.advertise() for name, client in cohort.clients.items()}
    three = {name: advertised[name] for name in (a, b, c)}
    sealed = {a: cohort.clients[a].share(advertised), b: cohort.clients[b].share(three)}
    assert d in sealed[a]
    with pytest.raises(RemoteProtocolError, match="open"):
        cohort.clients[a].accept_shares({b: sealed[b][a], c: cohort.clients[c].share(three)[a]})


def test_shares_out_of_range_are_refused_when_they_are_accepted(new_cohort):
    """A member that seals a value above the prime is found out before any round depends on it."""
    cohort = new_cohort(3, threshold=3)
    a, b, c = cohort.names
    cohort.advertise(cohort.names)
    cohort.clients[b]._split = lambda _, points: dict.fromkeys(points, b"\xff" * 66)
    sealed = {name: cohort.clients[name].share(cohort.server.advertisements) for name in cohort.names}
    with pytest.raises(RemoteProtocolError, match=r"below 2\^521"):
        cohort.clients[a].accept_shares({b: sealed[b][a], c: sealed[c][a]})


def test_a_round_is_masked_once_and_upwards(ready_cohort):
    """Two vectors under the same masks would show their difference."""
    cohort = ready_cohort(3, threshold=3, rounds=3)
    client, zeros = cohort.clients[cohort.names[0]], np.zeros(3, np.int64)
    for number in (0, -1, 4):
        with pytest.raises(LocalProtocolError, match="round: expected 1 to 3"):
            client.mask(number, zeros)
    client.mask(2, zeros)
    for number in (2, 1, 0, -1, 4):
        with pytest.raises(LocalProtocolError, match="round: expected 3 to 3"):
            client.mask(number, zeros)
    client.mask(3, zeros)


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(2, np.int64),
        np.zeros(4, np.int64),
        np.zeros((3, 1), np.int64),
        np.zeros(3),
        np.zeros(3, np.int32),
    ],
    ids=["short", "long", "table", "float", "int32"],
)
def test_a_vector_of_another_form_is_not_masked(ready_cohort, vector):
    """The length and type are fixed by the plan; the round stays open for the right one."""
    cohort = ready_cohort(3, threshold=3)
    client = cohort.clients[cohort.names[0]]
    with pytest.raises(LocalProtocolError, match="int64"):
        client.mask(1, vector)
    client.mask(1, np.zeros(3, np.int64))


def test_a_second_answer_is_refused(ready_cohort):
    """Whatever the second question is, the first answer was the only one."""
    cohort = ready_cohort(6, threshold=5, rounds=2)
    client = cohort.clients[cohort.names[0]]
    client.mask(1, np.zeros(3, np.int64))
    with pytest.raises(RemoteProtocolError, match="expected round 1, got 2"):
        client.unmask(2, cohort.names)
    client.unmask(1, cohort.names)
    for survivors in (cohort.names, cohort.names[:5]):
        with pytest.raises(RemoteProtocolError):
            client.unmask(1, survivors)
    client.mask(2, np.zeros(3, np.int64))
    with pytest.raises(RemoteProtocolError, match="expected round 2, got 1"):
        client.unmask(1, cohort.names[:5])


def test_an_answer_before_masking_is_refused(ready_cohort):
    """Nobody helps to open a round it has not contributed to."""
    cohort = ready_cohort(3, threshold=3)
    with pytest.raises(RemoteProtocolError, match="when ready, got unmask"):
        cohort.clients[cohort.names[0]].unmask(1, cohort.names)


def test_survivor_sets_that_we_cannot_vouch_for_are_refused(ready_cohort):
    """Too few, strangers, doubles, or a set without us: no answer; the right question is still answered."""
    cohort = ready_cohort(6, threshold=5)
    names = cohort.names
    client = cohort.clients[names[0]]
    client.mask(1, np.zeros(3, np.int64))
    for survivors in (names[:4], names[1:], [*names[:5], "stranger"], [*names[:5], names[1]], []):
        with pytest.raises(RemoteProtocolError, match="survivors"):
            client.unmask(1, survivors)
    assert len(client.unmask(1, names[:5]).shares) == 6


def test_a_member_that_did_not_share_is_no_survivor(new_cohort):
    """The cohort is fixed at set-up; a company outside it cannot be slipped into a survivor set."""
    cohort = new_cohort(6, threshold=5)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names[:5])
    cohort.accept()
    client = cohort.clients[cohort.names[0]]
    client.mask(1, np.zeros(3, np.int64))
    with pytest.raises(RemoteProtocolError, match="who confirmed our cohort"):
        client.unmask(1, cohort.names)


def test_broken_answers_are_refused_by_the_server(ready_cohort):
    """Forged signatures, another set or company, wrong kinds: refused, and the good one is taken."""
    cohort = ready_cohort(6, threshold=5)
    names = cohort.names
    cohort.mask(1, cohort.vectors(names[:5]))
    survivors = cohort.server.close_inputs(1)
    good = {name: cohort.clients[name].unmask(1, survivors) for name in survivors[1:]}
    other_set = cohort.clients[names[0]].unmask(1, names)  # told, wrongly, that all are left
    a, b = names[1:3]
    first, *rest = good[a].shares
    wrong_kind = PeerShare(first.company, not first.is_self_mask, first.share)
    out_of_range = PeerShare(first.company, first.is_self_mask, b"\xff" * 66)
    for name, bad in (
        (names[0], other_set),
        (a, good[b]),
        (a, Unmasking(good[a].shares, good[b].signature)),
        (a, Unmasking(good[a].shares, flipped(good[a].signature))),
        (a, Unmasking(good[a].shares, good[a].signature[:-1])),
        (a, Unmasking(tuple(rest), good[a].signature)),
        (a, Unmasking((*good[a].shares, first), good[a].signature)),
        (a, Unmasking((wrong_kind, *rest), good[a].signature)),
        (a, Unmasking((out_of_range, *rest), good[a].signature)),
        (names[5], good[a]),
        ("stranger", good[a]),
    ):
        with pytest.raises(RemoteProtocolError):
            cohort.server.add_unmasking(1, name, bad)
    with pytest.raises(RoundFailedError, match="got 0"):
        cohort.server.aggregate(1)
    cohort.server.add_unmasking(1, a, good[a])
    with pytest.raises(RemoteProtocolError, match="one per survivor"):
        cohort.server.add_unmasking(1, a, good[a])


@pytest.mark.parametrize("dropped", [False, True], ids=["self-mask seed", "round key"])
def test_consistent_shares_of_another_secret_are_noticed(new_cohort, dropped):
    """A dealer that shares something else than it advertised cannot make the sum wrong unnoticed."""
    cohort = new_cohort(4, threshold=3)
    dealer = cohort.clients[cohort.names[3]]
    split = type(dealer)._split
    dealer._split = lambda _, points: split(dealer, bytes(31) + b"\x05", points)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    cohort.accept()
    cohort.mask(1, cohort.vectors(cohort.names[: 3 if dropped else 4]))
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, cohort.names[:3], survivors)
    with pytest.raises(RoundFailedError, match="the secret was company-03's"):
        cohort.server.aggregate(1)


def test_bad_masked_vectors_are_refused(ready_cohort):
    """Another shape, type, company or round, or a second vector: refused, and the good one counts once."""
    cohort = ready_cohort(3, threshold=3)
    a, b, c = cohort.names
    good = cohort.clients[a].mask(1, np.array([5, 6, 7]))
    for number, name, bad in (
        (1, a, good[:2]),
        (1, a, good.view(np.int64)),
        (1, a, good.reshape(3, 1)),
        (1, "stranger", good),
        (0, a, good),
        (2, a, good),
    ):
        with pytest.raises(RemoteProtocolError):
            cohort.server.add_masked(number, name, bad)
    cohort.server.add_masked(1, a, good)
    good[:] = 0  # the server has a copy
    with pytest.raises(RemoteProtocolError):
        cohort.server.add_masked(1, a, good)
    cohort.mask(1, {b: [1, 1, 1], c: [1, 1, 1]})
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors, survivors)
    assert cohort.server.aggregate(1).tolist() == [7, 8, 9]


def test_methods_out_of_order_are_refused(new_cohort):
    """Before set-up is complete, and after, the machines do only what is next."""
    cohort = new_cohort(3, threshold=3)
    a = cohort.names[0]
    client, server = cohort.clients[a], cohort.server
    for early in (
        lambda: client.share({}),
        lambda: client.accept_shares({}),
        lambda: client.mask(1, np.zeros(3, np.int64)),
        lambda: client.unmask(1, cohort.names),
        lambda: server.inbox(a),
        lambda: server.add_masked(1, a, np.zeros(3, np.uint64)),
        lambda: server.close_inputs(1),
        lambda: server.add_unmasking(1, a, Unmasking((), b"")),
        lambda: server.aggregate(1),
    ):
        with pytest.raises(NorenError, match="secure aggregation: expected an event legal when"):
            early()
    cohort.advertise(cohort.names)
    with pytest.raises(LocalProtocolError):
        client.advertise()
    cohort.share(cohort.names)
    with pytest.raises(RemoteProtocolError):
        client.share(server.advertisements)
    cohort.accept()
    with pytest.raises(RemoteProtocolError):
        client.accept_shares(server.inbox(a))


def test_secrets_do_not_show(ready_cohort):
    """Neither a client nor a share prints what it holds, and a client cannot be pickled."""
    import pickle

    cohort = ready_cohort(3, threshold=3)
    client = cohort.clients[cohort.names[0]]
    client.mask(1, np.zeros(3, np.int64))
    share = client.unmask(1, cohort.names).shares[0]
    assert repr(client) == "<SecAggClient redacted>"
    assert "redacted" in repr(share)
    assert share.share.hex() not in repr(share)
    assert repr(share.share) not in repr(share)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(client)

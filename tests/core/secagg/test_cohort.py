"""The cohort and the key that its members have in common: who has it, who does not, and what is noticed."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError, RemoteProtocolError
from noren_core.secagg.masking import context, derive
from noren_core.secagg.messages import transcript


def secrets_of(cohort, names=None):
    return {cohort.clients[name].cohort_secret.reveal() for name in names or cohort.server.cohort}


def by_hand(cohort, members, contributions):
    """The derivation of docs/protocol.md §4.3.5."""
    seen = transcript(cohort.server._group, cohort.server.advertisements)
    info = context("cohort-key", cohort.parameters["session"], seen, *members)
    return derive(b"".join(contributions[name] for name in members), info).reveal()


def contributions_of(cohort):
    return {name: client._contribution.reveal() for name, client in cohort.clients.items()}


def test_every_member_derives_the_same_key_from_all_contributions(new_cohort):
    """One key for all, into which each member's contribution enters, with session, set-up and cohort."""
    cohort = new_cohort(4, threshold=3)
    contributions = contributions_of(cohort)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    cohort.accept()
    (secret,) = secrets_of(cohort)
    assert secret == by_hand(cohort, cohort.names, contributions)
    for name in cohort.names:
        assert secret != by_hand(cohort, cohort.names, contributions | {name: bytes(32)})
    assert secret != by_hand(cohort, cohort.names[1:], contributions)


@pytest.mark.parametrize("gone", [(), (0,), (5,), (2,)])
def test_the_key_does_not_depend_on_any_one_company(new_cohort, gone):
    """Whoever advertises but never shares, the first by name too, the others have a key without it."""
    cohort = new_cohort(6, threshold=5)
    contributions = contributions_of(cohort)
    cohort.advertise(cohort.names)
    present = [name for place, name in enumerate(cohort.names) if place not in gone]
    cohort.share(present)
    cohort.accept()
    assert secrets_of(cohort) == {by_hand(cohort, present, contributions)}


def test_a_company_that_shares_and_is_never_heard_of_again_counts(new_cohort):
    """Its contribution is in the key and its masks come off; when it comes back it derives the same key."""
    cohort = new_cohort(6, threshold=5)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    *present, late = cohort.names
    for name in present:
        signature = cohort.clients[name].accept_shares(cohort.server.inbox(name))
        cohort.server.add_cohort_signature(name, signature)
    signatures = cohort.server.cohort_signatures
    for name in present:
        cohort.clients[name].confirm(signatures)
    cohort.mask(1, cohort.vectors(present))
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors, survivors)
    assert cohort.server.aggregate(1).tolist() == cohort.total(present)
    with pytest.raises(LocalProtocolError, match="accepted before"):
        cohort.clients[late].cohort_secret  # noqa: B018  # nothing came yet
    cohort.clients[late].accept_shares(cohort.server.inbox(late))
    cohort.clients[late].confirm(signatures)
    assert cohort.clients[late].confirmed == set(cohort.names)
    assert len(secrets_of(cohort, cohort.names)) == 1


def resealed(cohort, dealer, recipient, sealed, change):
    """What `dealer` would have sealed to `recipient` had its plaintext been `change`d."""
    cipher = ChaCha20Poly1305(cohort.clients[dealer]._sealing_keys[recipient][0].buffer)
    return cipher.encrypt(bytes(12), change(cipher.decrypt(bytes(12), sealed, None)), None)


@pytest.mark.parametrize("change", [lambda plain: plain[:-132], lambda plain: plain + plain[-132:]])
def test_shares_of_another_number_of_rounds_are_refused(new_cohort, change):
    """A member that seals us shares of fewer or more rounds than were agreed is found out at once."""
    cohort = new_cohort(3, threshold=3, rounds=2)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    a, dealer, _ = cohort.names
    inbox = cohort.server.inbox(a)
    wrong = resealed(cohort, dealer, a, inbox[dealer], change)
    with pytest.raises(RemoteProtocolError, match=f"{dealer}: expected {len(inbox[dealer])} bytes"):
        cohort.clients[a].accept_shares(inbox | {dealer: wrong})
    cohort.clients[a].accept_shares(inbox)


def test_a_member_with_two_contributions_is_named_by_whoever_gets_the_wrong_one(new_cohort):
    """A contribution is committed to before anybody shares: another is refused, with its sender's name."""
    cohort = new_cohort(4, threshold=3)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    a, b, dealer, _ = cohort.names
    inbox = cohort.server.inbox(a)
    for other in range(16):  # whether its hash is smaller or greater than the right one's
        two_faced = resealed(
            cohort, dealer, a, inbox[dealer], lambda plain, other=other: bytes([other] * 32) + plain[32:]
        )
        with pytest.raises(RemoteProtocolError, match=f"sealed shares of {dealer}: .* committed"):
            cohort.clients[a].accept_shares(inbox | {dealer: two_faced})
    cohort.clients[a].accept_shares(inbox)  # nothing was changed
    cohort.clients[b].accept_shares(cohort.server.inbox(b))
    assert len(secrets_of(cohort, (a, b))) == 1


@pytest.mark.parametrize("hidden", [0, 3, 5])
def test_members_who_are_shown_different_cohorts_open_nothing(new_cohort, hidden):
    """A server that hides one member's shares from another gets no unmasking from either of them."""
    cohort = new_cohort(6, threshold=5)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    victim = cohort.names[1]
    signatures = {}
    for name in cohort.names:
        inbox = cohort.server.inbox(name)
        if name == victim:
            del inbox[cohort.names[hidden]]
        signatures[name] = cohort.clients[name].accept_shares(inbox)
    assert len(secrets_of(cohort, cohort.names)) == 2
    with pytest.raises(RemoteProtocolError, match="signature"):  # an honest server notices as well
        cohort.server.add_cohort_signature(victim, signatures[victim])
    for name in cohort.names:
        with pytest.raises(RemoteProtocolError):
            cohort.clients[name].confirm(signatures)
        cohort.clients[name].mask(1, np.zeros(3, np.int64))
        with pytest.raises(RemoteProtocolError, match="who confirmed our cohort"):
            cohort.clients[name].unmask(1, cohort.names)
    # Without the victim the others have one cohort, and go on.
    agreed = [name for name in cohort.names if name != victim]
    for name in agreed:
        cohort.clients[name].confirm({each: signatures[each] for each in agreed})
        assert cohort.clients[name].unmask(1, agreed)


def test_nobody_unmasks_before_the_others_have_confirmed(new_cohort):
    """An unmask request without the survivors' signatures is refused; with them it is answered."""
    cohort = new_cohort(3, threshold=3)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    signatures = {
        name: cohort.clients[name].accept_shares(cohort.server.inbox(name)) for name in cohort.names
    }
    a, b, _ = cohort.names
    client = cohort.clients[a]
    client.mask(1, np.zeros(3, np.int64))
    client.confirm({b: signatures[b]})
    with pytest.raises(RemoteProtocolError, match="who confirmed our cohort"):
        client.unmask(1, cohort.names)
    client.confirm(signatures)
    assert len(client.unmask(1, cohort.names).shares) == 3


def test_a_forged_confirmation_is_refused_by_both_sides(ready_cohort, new_cohort):
    """Another's, another session's, a flipped, short or missing signature confirms nothing."""
    cohort = new_cohort(3, threshold=3)
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    a, b, c = cohort.names
    signatures = {
        name: cohort.clients[name].accept_shares(cohort.server.inbox(name)) for name in cohort.names
    }
    other = ready_cohort(3, threshold=3).server.cohort_signatures
    good = signatures[b]
    for bad in (signatures[c], other[b], good[:-1], bytes([good[0] ^ 1]) + good[1:], b""):
        with pytest.raises(RemoteProtocolError):
            cohort.clients[a].confirm({c: signatures[c], b: bad})
        assert cohort.clients[a].confirmed == {a}
        with pytest.raises(RemoteProtocolError):
            cohort.server.add_cohort_signature(b, bad)
        with pytest.raises(RemoteProtocolError, match="member of the cohort"):
            cohort.server.add_masked(1, b, np.zeros(3, np.uint64))  # unconfirmed, it would stop the others
    with pytest.raises(RemoteProtocolError, match="of a member of the cohort"):
        cohort.clients[a].confirm({"stranger": good})
    with pytest.raises(RemoteProtocolError, match="of a member of the cohort"):
        cohort.server.add_cohort_signature("stranger", good)
    cohort.server.add_cohort_signature(b, good)


def test_messages_of_another_session_are_refused(new_cohort):
    """The same companies in another campaign: no message of the one is taken in the other, by anybody."""
    one = new_cohort(3, threshold=3)
    two = new_cohort(3, threshold=3)
    two.keys = one.keys
    two.parameters["roster"] = one.parameters["roster"]
    two.server = type(two.server)(**two.parameters)
    two.clients = {name: two.client(name) for name in two.names}
    a, b, c = one.names
    for cohort in (one, two):
        cohort.advertise(cohort.names)
        cohort.share(cohort.names)
    with pytest.raises(RemoteProtocolError, match=f"sealed shares of {b}: expected some that open"):
        two.clients[a].accept_shares({b: one.server.inbox(a)[b], c: two.server.inbox(a)[c]})
    for cohort in (one, two):
        cohort.accept()
        cohort.mask(1, cohort.vectors(cohort.names))
        survivors = cohort.server.close_inputs(1)
    assert secrets_of(one).isdisjoint(secrets_of(two))
    with pytest.raises(RemoteProtocolError, match="signature"):
        two.server.add_cohort_signature(a, one.server.cohort_signatures[a])
    with pytest.raises(RemoteProtocolError, match="signature"):
        two.server.add_unmasking(1, a, one.clients[a].unmask(1, survivors))
    two.unmask(1, survivors, survivors)
    assert two.server.aggregate(1).tolist() == two.total(two.names)


def campaign_of(cohort_of, names, keys):
    """A campaign of companies that exist already, up to its first round."""
    cohort = cohort_of(len(names), threshold=len(names))
    cohort.names, cohort.keys = list(names), {name: keys[name] for name in names}
    cohort.parameters["roster"] = {name: key.public_key for name, key in cohort.keys.items()}
    cohort.server = type(cohort.server)(**cohort.parameters)
    cohort.clients = {name: cohort.client(name) for name in names}
    cohort.advertise(names)
    cohort.share(names)
    cohort.accept()
    return cohort


def test_who_leaves_or_joins_has_nothing_of_the_other_campaigns(new_cohort):
    """A cohort is for one campaign: its key says nothing of the next one's, whoever left or came."""
    everybody = new_cohort(5, threshold=4)
    names, keys = everybody.names, everybody.keys
    first = campaign_of(new_cohort, names[:4], keys)
    second = campaign_of(new_cohort, names[1:], keys)
    leaver, newcomer = names[0], names[4]
    assert secrets_of(first).isdisjoint(secrets_of(second))
    # Neither company is among those the other campaign's shares were ever sealed to.
    for cohort, stranger in ((second, leaver), (first, newcomer)):
        with pytest.raises(LocalProtocolError, match="member of the cohort"):
            cohort.server.inbox(stranger)
        with pytest.raises(RemoteProtocolError):  # nor can it get in while the campaign runs
            cohort.server.add_advertisement(stranger, everybody.clients[stranger].advertise())
        for member in cohort.names:
            with pytest.raises(RemoteProtocolError):
                cohort.clients[member].confirm({stranger: bytes(64)})
    # What a member that stays keeps of the first campaign opens nothing in the second.
    kept = first.clients[names[1]]
    with pytest.raises(RemoteProtocolError):
        kept.accept_shares(second.server.inbox(names[1]))


def secret_bytes_of(value, seen=None):
    """Every SecretBytes that an object holds, however deep."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, SecretBytes):
        return [value]
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, tuple | list):
        inner = list(value)
    else:
        inner = list(vars(value).values()) if hasattr(value, "__dict__") else []
    return [found for each in inner for found in secret_bytes_of(each, seen)]


def test_secrets_are_overwritten_when_they_are_forgotten(ready_cohort):
    """Those of a round when it is answered or passed over, all the others when the run is closed."""
    cohort = ready_cohort(3, threshold=3, rounds=3)
    client = cohort.clients[cohort.names[0]]
    masks = {number: secret_bytes_of(client._mask_seeds[number]) for number in (1, 2, 3)}
    held = {number: secret_bytes_of(client._held[number]) for number in (1, 2, 3)}
    assert [len(each) for each in (*masks.values(), *held.values())] == [3] * 6

    def wiped(values):
        return {not any(value.buffer) for value in values}

    assert wiped([client._contribution]) == {True}  # it is in the cohort key now
    client.mask(2, np.zeros(3, np.int64))
    assert wiped(masks[1] + masks[2] + held[1]) == {True}  # round 1 was passed over
    assert wiped(held[2]) == {False}
    client.unmask(2, cohort.names)
    assert wiped(held[2]) == {True}
    assert wiped(masks[3] + held[3]) == {False}
    secret = client.cohort_secret
    client.close()
    assert wiped([*masks[3], *held[3], secret]) == {True}
    assert wiped(secret_bytes_of(client)) <= {True}
    for late in (lambda: client.mask(3, np.zeros(3, np.int64)), lambda: client.cohort_secret):
        with pytest.raises(LocalProtocolError):
            late()
    client.close()  # closing is always allowed


def test_what_set_up_needed_is_overwritten_when_it_is_over(new_cohort):
    """Seeds that are shared, sealing keys and received contributions do not outlive their use."""
    cohort = new_cohort(3, threshold=3)
    client = cohort.clients[cohort.names[0]]
    cohort.advertise(cohort.names)
    cohort.share(cohort.names)
    assert (client._share_key, client._round_keys, client._seeds) == (None, {}, {})
    keys = secret_bytes_of(client._sealing_keys)
    assert len(keys) == 4
    assert all(any(key.buffer) for key in keys)
    cohort.accept()
    assert not any(any(key.buffer) for key in keys)
    halfway = new_cohort(3, threshold=3)
    halfway.advertise(halfway.names)
    leaving = halfway.clients[halfway.names[0]]
    leaving.share(halfway.server.advertisements)
    keys = secret_bytes_of(leaving._sealing_keys)
    leaving.close()
    assert not any(any(key.buffer) for key in keys)
    early = new_cohort(3, threshold=3).clients["company-00"]
    drawn = secret_bytes_of(early)
    assert len(drawn) == 2
    early.close()
    assert not any(any(value.buffer) for value in drawn)


def test_the_server_wipes_what_it_recovered(ready_cohort, monkeypatch):
    """Recovered seeds and round keys are gone once the masks are taken off."""
    cohort = ready_cohort(6, threshold=5)
    recovered = []
    recover = cohort.server._recover_all

    def remembering(number):
        found = recover(number)
        recovered.extend(found.values())
        return found

    monkeypatch.setattr(cohort.server, "_recover_all", remembering)
    cohort.mask(1, cohort.vectors(cohort.names[1:]))
    survivors = cohort.server.close_inputs(1)
    cohort.unmask(1, survivors, survivors)
    cohort.server.aggregate(1)
    assert len(recovered) == 6
    assert not any(any(value.buffer) for value in recovered)

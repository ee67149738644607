"""Disclosure requests: their states, what may be denied, the inbox item, and held against the records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mirrored_scores import CAMPAIGN, COMPANY, MAILBOX, NOW, POSITION, MirroringCompany, answer, record

from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.rights.disclosure.requests import (
    FOLLOWS,
    ITEM_BYTES,
    DenialReason,
    DisclosureState,
    InboxItem,
    KeyChange,
    Provided,
    Scope,
    key_to_seal_to,
    open_item,
    reconcile,
    seal_item,
    settled,
    verify_denial,
    verify_next,
)

S = DisclosureState


def item(**changes: object) -> InboxItem:
    made = InboxItem(
        request=bytes(16),
        campaign=CAMPAIGN,
        position=POSITION,
        mailbox=MAILBOX,
        disclosure_key=b"k" * 32,
        change=None,
        due_at=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Requests(RuleBasedStateMachine):
    """One request, by whatever comes: it ends once, and only in progress is it answered."""

    def __init__(self) -> None:
        super().__init__()
        self.state = S.OPEN
        self.was: list[DisclosureState] = [S.OPEN]

    @rule(following=st.sampled_from(S))
    def move(self, following: DisclosureState) -> None:
        """What may not follow raises and changes nothing."""
        if following not in FOLLOWS[self.state]:
            with pytest.raises(LocalProtocolError, match="may follow"):
                verify_next(self.state, following)
            return
        verify_next(self.state, following)
        self.state = following
        self.was.append(following)

    @precondition(lambda self: self.state is S.IN_PROGRESS)
    @rule(answered=st.lists(st.booleans(), max_size=4), is_due=st.booleans())
    def settle(self, answered: list[bool], is_due: bool) -> None:
        """Fulfilled exactly when everything came; partial or expired only at the end of its time."""
        found = settled(answered, is_due=is_due)
        assert (found is S.FULFILLED) == all(answered)
        assert not is_due or found is not S.IN_PROGRESS
        assert is_due or found in (S.FULFILLED, S.IN_PROGRESS)

    @invariant()
    def ends_once(self) -> None:
        """After a last state there is none; every answer was preceded by the identity check."""
        last = [state for state in self.was if not FOLLOWS[state]]
        assert len(last) <= 1
        assert not last or self.was[-1] is last[0]
        if set(self.was) & {S.FULFILLED, S.PARTIAL, S.DENIED}:
            assert self.was.index(S.IDENTITY_CHECK) < self.was.index(S.IN_PROGRESS)


TestRequests = Requests.TestCase


@given(reasons=st.sets(st.sampled_from(DenialReason)))
def test_trade_secrets_alone_deny_nothing(reasons: set[DenialReason]) -> None:
    """DENIAL_REASON_NOT_ALLOWED without a reason that the law knows."""
    if reasons - {DenialReason.TRADE_SECRET}:
        verify_denial(reasons)
    else:
        with pytest.raises(LocalProtocolError) as caught:
            verify_denial(reasons)
        assert caught.value.code == "DENIAL_REASON_NOT_ALLOWED"


def test_a_scope_names_one_company_at_most_and_something() -> None:
    """No list, no wildcard, not nothing."""
    body = {"platform_data": False, "consent_history": False, "provision_records": False, "company": COMPANY}
    assert Scope.from_body(body).to_body() == body
    for changes in ({"company": ""}, {"company": "*"}, {"company": [COMPANY]}, {"platform_data": 1}):
        with pytest.raises(DataError):
            Scope.from_body({**body, **changes})


def test_an_item_and_a_dummy_have_one_size() -> None:
    """And only the company opens them; under another name, or with another key, nobody does."""
    key = SealingKey.generate()
    long = item(campaign="c" * 40, position="p" * 40, change=KeyChange(bytes(32), 1 << 40, bytes(64)))
    for content in (None, item(), long):
        sealed = seal_item(content, company=COMPANY, sealing_key=key.public_key)
        assert len(sealed) == ITEM_BYTES
        assert open_item(sealed, key, company=COMPANY) == content
        for other, company in ((SealingKey.generate(), COMPANY), (key, "beni")):
            with pytest.raises(VerificationError):
                open_item(sealed, other, company=company)


def test_another_key_needs_the_platform_s_signature() -> None:
    """DISCLOSURE_KEY_MISMATCH for a substituted key, whatever is claimed, unless the change is signed."""
    platform, known, new = SigningKey.generate(), b"k" * 32, b"n" * 32

    def change(key: SigningKey, replaced: bytes = known) -> KeyChange:
        return KeyChange.sign(key, mailbox=MAILBOX, replaced=replaced, disclosure_key=new, at=NOW)

    def chosen(asked: InboxItem) -> bytes:
        return key_to_seal_to(asked, known_key=known, platform_key=platform.public_key)

    assert chosen(item()) == known
    assert chosen(item(disclosure_key=new, change=change(platform))) == new
    for bad in (
        item(disclosure_key=new),
        item(disclosure_key=new, change=change(platform, replaced=bytes(32))),
    ):
        with pytest.raises(VerificationError) as caught:
            chosen(bad)
        assert caught.value.code == "DISCLOSURE_KEY_MISMATCH"
    for bad in (
        item(disclosure_key=new, change=change(SigningKey.generate())),
        item(disclosure_key=b"o" * 32, change=change(platform)),
        item(disclosure_key=new, mailbox=bytes(16), change=change(platform)),
    ):
        with pytest.raises(VerificationError):
            chosen(bad)


def test_nothing_held_is_held_against_what_was_provided_and_deposited() -> None:
    """DISCLOSURE_RECONCILE_FAIL for a row that was provided, and for a score that has not expired."""
    [score] = MirroringCompany().deposit(record())
    row = Provided(COMPANY, CAMPAIGN, POSITION, NOW)
    for deposited, provided in (([score], []), ([], [row])):
        with pytest.raises(VerificationError) as caught:
            reconcile([answer()], deposited=deposited, provided=provided)
        assert caught.value.code == "DISCLOSURE_RECONCILE_FAIL"
        reconcile([answer(score)], deposited=deposited, provided=provided)
    reconcile([answer()], deposited=[], provided=[])
    reconcile([answer(at=record().expires_at)], deposited=[score], provided=[])
    reconcile([answer()], deposited=[], provided=[replace(row, position="designer")])
    reconcile([answer()], deposited=[], provided=[replace(row, at=NOW + 1)])
    reconcile([answer(score, part=1, parts=2), answer(part=2, parts=2)], deposited=[score], provided=[row])
    with pytest.raises(DataError):
        reconcile([answer(part=1, parts=2)], deposited=[], provided=[])
    for other in ({"request": b"r" * 16}, {"mailbox": b"m" * 16}, {"position": "designer"}):
        earlier = answer(part=2, parts=2, **other)
        with pytest.raises(DataError):
            reconcile([answer(part=1, parts=2), earlier], deposited=[score], provided=[row])

"""The platform's side of secure aggregation; see client.py for the protocol and what it promises.

No input or output, no clock: the caller decides how long to wait and then closes a step. Messages are
verified here so that one bad message is refused and the others are kept; what protects the companies is
checked by the companies. Rounds are independent: a message for one never touches another.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from noren_core.crypto.shamir import recover
from noren_core.errors import LocalProtocolError, NorenError, RemoteProtocolError, VerificationError
from noren_core.secagg.masking import agree, pair_mask, pair_seed, self_mask
from noren_core.secagg.messages import (
    Advertisement,
    Group,
    Unmasking,
    seed_commitment,
    verify_advertisement,
    verify_all_distinct,
    verify_unmasking,
)
from noren_core.secagg.states import Event, RoundState, ServerState, next_state


class RoundFailedError(NorenError):
    """Too few members are left, or their shares do not fit: this step yields nothing, others still may."""

    code = "ROUND_FAILED"


class _Round:
    """What the server holds of one round."""

    def __init__(self) -> None:
        self.state = RoundState.COLLECTING
        self.masked: dict[str, NDArray[np.uint64]] = {}
        self.unmaskings: dict[str, Unmasking] = {}


class SecAggServer:
    """The state machine of the server; its transitions are in states.py.

    Raises:
        ConfigurationError: if the parameters are not those of a secure run.
    """

    def __init__(
        self,
        *,
        roster: Mapping[str, bytes],
        threshold: int,
        minimum_cohort: int,
        session: bytes,
        rounds: int,
        vector_length: int,
    ) -> None:
        self._group = Group(
            roster=roster,
            threshold=threshold,
            minimum_cohort=minimum_cohort,
            session=session,
            rounds=rounds,
            vector_length=vector_length,
        )
        self._state = ServerState.ADVERTISING
        self._advertisements: dict[str, Advertisement] = {}
        self._sealed: dict[str, dict[str, bytes]] = {}
        self._rounds = {number: _Round() for number in range(1, rounds + 1)}

    @property
    def advertisements(self) -> dict[str, Advertisement]:
        """The advertisements accepted so far; sent to every advertiser once nobody else is to be admitted."""
        return dict(self._advertisements)

    @property
    def cohort(self) -> tuple[str, ...]:
        """Those who have completed sharing, sorted; fixed by the first inbox."""
        return tuple(sorted(self._sealed))

    def add_advertisement(self, company: str, advertisement: Advertisement) -> None:
        """Take a member's advertisement; RemoteProtocolError, and nothing changed, if it is not good."""
        after = next_state(self._state, Event.ADD_ADVERTISEMENT)
        if company in self._advertisements:
            raise RemoteProtocolError("advertisement: expected one per company, got a second")
        verify_advertisement(self._group, company, advertisement)
        verify_all_distinct((*self._advertisements.values(), advertisement))
        _verify_usable_keys(advertisement)
        self._advertisements[company] = advertisement
        self._state = after

    def add_sealed_shares(self, sender: str, sealed: Mapping[str, bytes]) -> None:
        """Take what a member sealed for each other advertiser; the first of these ends advertising.

        Raises:
            RemoteProtocolError: if it is not that; nothing is changed.
            RoundFailedError: if too few have advertised; more may still be added.
        """
        after = next_state(self._state, Event.ADD_SHARES)
        self._require_quorum(len(self._advertisements), "advertisements")
        if sender not in self._advertisements or sender in self._sealed:
            raise RemoteProtocolError("sealed shares: expected them once, from an advertiser")
        if sealed.keys() != self._advertisements.keys() - {sender}:
            raise RemoteProtocolError("sealed shares: expected one for each other advertiser, got others")
        if any(len(message) != self._group.sealed_bytes for message in sealed.values()):
            raise RemoteProtocolError(f"sealed shares: expected {self._group.sealed_bytes} bytes each")
        self._sealed[sender] = dict(sealed)
        self._state = after

    def inbox(self, recipient: str) -> dict[str, bytes]:
        """The sealed shares for a member of the cohort, by sender; the first inbox fixes the cohort.

        Raises:
            RoundFailedError: if too few have shared; more may still be added.
        """
        after = next_state(self._state, Event.OPEN_INBOX)
        self._require_quorum(len(self._sealed), "members who shared")
        if recipient not in self._sealed:
            raise LocalProtocolError("inbox: expected that of a member of the cohort, got another's")
        self._state = after
        return {sender: sealed[recipient] for sender, sealed in self._sealed.items() if sender != recipient}

    def add_masked(self, round_number: int, company: str, vector: NDArray[np.uint64]) -> None:
        """Take a masked vector; RemoteProtocolError, and nothing changed, if it is not good."""
        current, after = self._advance(round_number, Event.ADD_MASKED)
        if company not in self._sealed or company in current.masked:
            raise RemoteProtocolError("masked vector: expected one per member of the cohort, got another")
        if vector.dtype != np.uint64 or vector.shape != (self._group.vector_length,):
            raise RemoteProtocolError(f"masked vector: expected {self._group.vector_length} uint64 values")
        current.masked[company] = vector.copy()
        current.state = after

    def close_inputs(self, round_number: int) -> tuple[str, ...]:
        """End the collection of a round; the survivors, sorted, each of whom is asked to unmask.

        Raises:
            RoundFailedError: if too few have come; more may still be added.
        """
        current, after = self._advance(round_number, Event.CLOSE_INPUTS)
        self._require_quorum(len(current.masked), "masked vectors")
        current.state = after
        return tuple(sorted(current.masked))

    def add_unmasking(self, round_number: int, company: str, unmasking: Unmasking) -> None:
        """Take a survivor's answer; RemoteProtocolError, and nothing changed, if it is not good."""
        current, after = self._advance(round_number, Event.ADD_UNMASKING)
        if company not in current.masked or company in current.unmaskings:
            raise RemoteProtocolError("unmasking: expected one per survivor, got another")
        verify_unmasking(
            self._group,
            company,
            unmasking,
            round_number=round_number,
            cohort=self._sealed,
            survivors=current.masked,
        )
        current.unmaskings[company] = unmasking
        current.state = after

    def aggregate(self, round_number: int) -> NDArray[np.int64]:
        """The sum of the survivors' vectors modulo 2^64, read as signed: exact while it fits 63 bits.

        Raises:
            RoundFailedError: if there are too few answers (more may still be added) or the shares do not
                give back what was advertised.
        """
        current, after = self._advance(round_number, Event.AGGREGATE)
        if len(current.unmaskings) < self._group.threshold:
            raise RoundFailedError(
                f"unmaskings: expected at least {self._group.threshold}, got {len(current.unmaskings)}"
            )
        total = np.zeros(self._group.vector_length, dtype=np.uint64)
        for vector in current.masked.values():
            total += vector
        try:
            for company in self.cohort:
                total -= self._masks_left_by(round_number, company)
        except VerificationError as error:
            raise RoundFailedError(f"unmaskings: {error.message}") from error
        current.state = after
        current.masked, current.unmaskings = {}, {}
        return total.view(np.int64)

    def _masks_left_by(self, round_number: int, company: str) -> NDArray[np.uint64]:
        """What the sum of masked vectors still contains because of this member of the cohort."""
        if company in self._rounds[round_number].masked:
            return self._self_mask_of(round_number, company)
        return self._pair_masks_with(round_number, company)

    def _self_mask_of(self, round_number: int, survivor: str) -> NDArray[np.uint64]:
        session = self._group.session
        seed = self._recover(round_number, survivor)
        expected = self._advertisements[survivor].seed_commitments[round_number - 1]
        if seed_commitment(seed, session=session, round_number=round_number, company=survivor) != expected:
            raise VerificationError("expected shares of the committed self-mask seed, got others")
        return self_mask(
            seed,
            session=session,
            round_number=round_number,
            company=survivor,
            length=self._group.vector_length,
        )

    def _pair_masks_with(self, round_number: int, dropped: str) -> NDArray[np.uint64]:
        private = X25519PrivateKey.from_private_bytes(self._recover(round_number, dropped))
        public = self._advertisements[dropped].round_keys[round_number - 1]
        if private.public_key().public_bytes_raw() != public:
            raise VerificationError("expected shares of the advertised round key, got others")
        total = np.zeros(self._group.vector_length, dtype=np.uint64)
        for survivor in self._rounds[round_number].masked:
            seed = pair_seed(
                private,
                session=self._group.session,
                round_number=round_number,
                ours=(dropped, public),
                theirs=(survivor, self._advertisements[survivor].round_keys[round_number - 1]),
            )
            total += pair_mask(seed, adder=survivor, other=dropped, length=self._group.vector_length)
        return total

    def _recover(self, round_number: int, company: str) -> bytes:
        """The secret of `company` that the survivors' answers are shares of."""
        unmaskings = self._rounds[round_number].unmaskings
        points = self._group.points(unmaskings)
        shares = {
            points[holder]: share.share
            for holder, unmasking in unmaskings.items()
            for share in unmasking.shares
            if share.company == company
        }
        return recover(shares, threshold=self._group.threshold)

    def _advance(self, round_number: int, event: Event) -> tuple[_Round, RoundState]:
        """The round and the state it will have after `event`, if both the set-up and the round allow it."""
        next_state(self._state, event)
        self._group.verify_round_number(round_number)
        current = self._rounds[round_number]
        return current, next_state(current.state, event)

    def _require_quorum(self, count: int, what: str) -> None:
        if count < self._group.quorum:
            raise RoundFailedError(f"{what}: expected at least {self._group.quorum}, got {count}")


def _verify_usable_keys(advertisement: Advertisement) -> None:
    """Refuse keys of small order here, so that one bad member does not stop the others' set-up."""
    probe = X25519PrivateKey.generate()
    try:
        for key in (advertisement.share_key, *advertisement.round_keys):
            agree(probe, key, b"")
    except VerificationError as error:
        raise RemoteProtocolError(f"advertisement: {error.message}") from error

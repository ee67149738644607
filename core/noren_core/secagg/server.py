"""The platform's side of secure aggregation; see client.py for the protocol and what it promises.

No input or output, no clock: the caller decides how long to wait and then closes a step. Messages are
verified here so that one bad message is refused and the others are kept; what protects the companies is
checked by the companies. Rounds are independent: a message for one never touches another.

Wrong shares in answers cost nothing as long as a threshold of right ones remains, and are named. What still
ends a round is a member that shared garbage in place of its secret: nobody can know until it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.shamir import outliers, recover_checked
from noren_core.errors import LocalProtocolError, NorenError, RemoteProtocolError, VerificationError
from noren_core.secagg.masking import add_pair_mask, add_self_mask, exchange, pair_seed
from noren_core.secagg.messages import (
    Advertisement,
    Group,
    Unmasking,
    seed_commitment,
    transcript,
    verify_advertisement,
    verify_all_distinct,
    verify_cohort_signature,
    verify_unmasking,
)
from noren_core.secagg.states import Event, RoundState, ServerState, next_state


class RoundFailedError(NorenError):
    """Too few members are left, or their shares do not fit: this step yields nothing, others still may."""

    code = "ROUND_FAILED"


@dataclass(frozen=True, slots=True)
class Dispute:
    """The share of `dealer`'s secret that `holder` gave is wrong: one of the two did not do its part.

    Which of them cannot be told: a share that was dealt wrong looks like one that was changed.
    """

    round_number: int
    holder: str
    dealer: str


class _Round:
    """What the server holds of one round."""

    def __init__(self) -> None:
        self.state = RoundState.COLLECTING
        self.masked: dict[str, NDArray[np.uint64]] = {}
        self.unmaskings: dict[str, Unmasking] = {}

    def shares_of(self, dealer: str) -> dict[str, bytes]:
        """Holder → its share of this member's secret."""
        return {
            holder: share.share
            for holder, unmasking in self.unmaskings.items()
            for share in unmasking.shares
            if share.company == dealer
        }


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
        self._seen = b""
        self._sealed: dict[str, dict[str, bytes]] = {}
        self._cohort_signatures: dict[str, bytes] = {}
        self._rounds = {number: _Round() for number in range(1, rounds + 1)}
        self._disputes: list[Dispute] = []

    @property
    def advertisements(self) -> dict[str, Advertisement]:
        """The advertisements accepted so far; sent to every advertiser once nobody else is to be admitted."""
        return dict(self._advertisements)

    @property
    def cohort(self) -> tuple[str, ...]:
        """Those who have completed sharing, sorted; fixed by the first inbox."""
        return tuple(sorted(self._sealed))

    @property
    def cohort_signatures(self) -> dict[str, bytes]:
        """Who confirmed the cohort, with its signature; relayed to whoever is told survivors first."""
        return dict(self._cohort_signatures)

    @property
    def disputes(self) -> tuple[Dispute, ...]:
        """The wrong shares that stood in a round's way, and the others that then were found."""
        return tuple(self._disputes)

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
        self.verify_sealed_shares(sender, sealed)
        self._sealed[sender] = dict(sealed)
        self._state = next_state(self._state, Event.ADD_SHARES)

    def verify_sealed_shares(self, sender: str, sealed: Mapping[str, bytes]) -> None:
        """Raise what `add_sealed_shares` would raise; nothing is changed."""
        next_state(self._state, Event.ADD_SHARES)
        self._require_quorum(len(self._advertisements), "advertisements")
        if sender not in self._advertisements or sender in self._sealed:
            raise RemoteProtocolError("sealed shares: expected them once, from an advertiser")
        if sealed.keys() != self._advertisements.keys() - {sender}:
            raise RemoteProtocolError("sealed shares: expected one for each other advertiser, got others")
        if any(len(message) != self._group.sealed_bytes for message in sealed.values()):
            raise RemoteProtocolError(f"sealed shares: expected {self._group.sealed_bytes} bytes each")

    def inbox(self, recipient: str) -> dict[str, bytes]:
        """The sealed shares for a member of the cohort, by sender; the first inbox fixes the cohort.

        Raises:
            RoundFailedError: if too few have shared; more may still be added.
        """
        after = next_state(self._state, Event.OPEN_INBOX)
        self._require_quorum(len(self._sealed), "members who shared")
        if recipient not in self._sealed:
            raise LocalProtocolError("inbox: expected that of a member of the cohort, got another's")
        self._seen = self._seen or transcript(self._group, self._advertisements)
        self._state = after
        return {sender: sealed[recipient] for sender, sealed in self._sealed.items() if sender != recipient}

    def add_cohort_signature(self, company: str, signature: bytes) -> None:
        """Take a member's confirmation of the cohort; RemoteProtocolError, and nothing changed, if not good.

        A member without one is not told to others as a survivor: they would refuse to unmask.
        """
        after = next_state(self._state, Event.ADD_COHORT_SIGNATURE)
        verify_cohort_signature(self._group, company, signature, seen=self._seen, cohort=self._sealed)
        self._cohort_signatures[company] = signature
        self._state = after

    def add_masked(self, round_number: int, company: str, vector: NDArray[np.uint64]) -> None:
        """Take a masked vector; RemoteProtocolError, and nothing changed, if it is not good."""
        current, after = self._advance(round_number, Event.ADD_MASKED)
        if company not in self._cohort_signatures or company in current.masked:
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

        1. Enough answers.
        2. Recover each survivor's seed and each other member's round key, compared with what they advertised.
        3. Sum the vectors, and take off the masks that are left in the sum.

        Raises:
            RoundFailedError: if there are too few answers (more may still be added) or the shares do not
                give back what was advertised.
        """
        current, after = self._advance(round_number, Event.AGGREGATE)
        if len(current.unmaskings) < self._group.threshold:  # 1
            raise RoundFailedError(
                f"unmaskings: expected at least {self._group.threshold}, got {len(current.unmaskings)}"
            )
        recovered = self._recover_all(round_number)  # 2
        total = np.zeros(self._group.vector_length, dtype=np.uint64)  # 3
        for vector in current.masked.values():
            total += vector
        total -= self._masks_left(round_number, recovered)
        current.state = after
        current.masked, current.unmaskings = {}, {}
        return total.view(np.int64)

    def _recover_all(self, round_number: int) -> dict[str, SecretBytes]:
        """Each member's secret of the round; when a share is wrong, all are compared and disputes noted."""
        current = self._rounds[round_number]
        points = self._group.points(current.unmaskings)
        first = tuple(sorted(points.values())[: self._group.threshold])
        right, recovered = {}, {}
        chosen = first
        for dealer in self.cohort:
            shares = {points[holder]: share for holder, share in current.shares_of(dealer).items()}
            try:
                # What was right for one member's secret most likely is for the next one's.
                secret, chosen = recover_checked(
                    shares,
                    threshold=self._group.threshold,
                    is_right=partial(self._is_secret_of, round_number, dealer),
                    first=chosen,
                )
            except VerificationError as error:
                raise RoundFailedError(f"unmaskings: {error.message}; the secret was {dealer}'s") from error
            right[dealer], recovered[dealer] = chosen, SecretBytes(secret)
        if any(base != first for base in right.values()):
            self._disputes += self._compare(round_number, points, right)
        return recovered

    def _compare(
        self, round_number: int, points: Mapping[str, int], right: Mapping[str, tuple[int, ...]]
    ) -> list[Dispute]:
        """The shares of the round that are clearly not of the secret that they should be of."""
        disputes = []
        for dealer, base in right.items():
            shares = self._rounds[round_number].shares_of(dealer)
            wrong = outliers({points[holder]: share for holder, share in shares.items()}, base=base)
            disputes += [
                Dispute(round_number, holder, dealer)
                for holder in sorted(shares)
                if points[holder] in (wrong or ())
            ]
        return disputes

    def _is_secret_of(self, round_number: int, company: str, secret: bytes) -> bool:
        """Whether this is what the company advertised: a survivor's seed, or another's round key."""
        advertisement = self._advertisements[company]
        if company in self._rounds[round_number].masked:
            commitment = seed_commitment(
                SecretBytes(secret), session=self._group.session, round_number=round_number, company=company
            )
            return commitment == advertisement.seed_commitments[round_number - 1]
        # Clamped (RFC 7748 §5), or a wrong share could give another encoding of the same key.
        is_clamped = not secret[0] & 7 and secret[-1] >> 6 == 1
        public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        return is_clamped and public == advertisement.round_keys[round_number - 1]

    def _masks_left(self, round_number: int, recovered: Mapping[str, SecretBytes]) -> NDArray[np.uint64]:
        """What is left of masks in the sum: survivors' self-masks and their pair masks with the others."""
        masks = np.zeros(self._group.vector_length, dtype=np.uint64)
        for company, secret in recovered.items():
            if company in self._rounds[round_number].masked:
                add_self_mask(
                    masks, secret, session=self._group.session, round_number=round_number, company=company
                )
            else:
                self._add_masks_with(masks, round_number, dropped=company, secret=secret)
            secret.wipe()
        return masks

    def _add_masks_with(
        self, masks: NDArray[np.uint64], round_number: int, *, dropped: str, secret: SecretBytes
    ) -> None:
        private = X25519PrivateKey.from_private_bytes(secret.buffer)
        public = self._advertisements[dropped].round_keys[round_number - 1]
        for survivor in self._rounds[round_number].masked:
            seed = pair_seed(
                private,
                session=self._group.session,
                round_number=round_number,
                ours=(dropped, public),
                theirs=(survivor, self._advertisements[survivor].round_keys[round_number - 1]),
            )
            add_pair_mask(masks, seed, adder=survivor, other=dropped)
            seed.wipe()

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
            exchange(probe, key)
    except VerificationError as error:
        raise RemoteProtocolError(f"advertisement: {error.message}") from error

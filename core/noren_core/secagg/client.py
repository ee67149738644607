"""A company's side of secure aggregation: Bonawitz et al. (CCS 2017), double masking, complete graph.

One instance serves one run of a campaign. It does no input or output: each method takes what arrived and
returns what to send. All keys and shares of all rounds are exchanged once, because an exchange is slow;
each round then costs a masked vector and an unmasking.

What it promises. In each round the server learns one sum over many members and nothing else of the vectors,
also if it lies, provided fewer than a third of the members help it. Four rules carry that, enforced here:

* *Two masks.* A vector carries a mask for each pair, and a self-mask. Without the second, a server that
  calls a slow company dropped out, and then receives its vector after all, can read it.
* *New keys in every round.* When a company drops out, its round key is recovered. Were it also the key of
  earlier rounds, whose self-masks the server knows by then, those vectors would be open. Hence key pairs
  and self-mask seeds of their own for every round, drawn at set-up and forgotten as rounds pass.
* *One answer a round*, with one share per member: of a survivor's self-mask seed b, or of the round key c
  of one who dropped out; never both.
* *threshold t > 2n/3*. With n members of whom m help the server, the n − m others hand out at most one
  share each about a given member, the helpers two: at most n + m. Recovering both b and c takes 2t of
  them, so it is impossible while 2t > n + m, which t > 2n/3 guarantees for every m ≤ n/3.

Telling members different survivor sets gains little. To read the sum over a set S of honest members the
server needs b of each in S and c of each other honest member, as it cannot have both. Each c takes t − m
shares from honest members, and one of them hands out at most n − t (it was told of at least t survivors),
so at most (n − m)(n − t)/(t − m) of the n − m honest members can be left out of S: with m = 0, S holds at
least n(2t − n)/t > n/2 members. That can be fewer than t, and so carry less noise than planned, unless
t ≥ 3n/4, when S has 2n/3 or more. Preventing it altogether would take one more exchange per round; instead
each member signs the set it was told and compares it (`answered`) with the one in the ledger, so the lie is
evident to its victims and provable by two signatures.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import Secret
from noren_core.crypto.shamir import SHARE_BYTES, parse_share, split
from noren_core.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.secagg.masking import SEED_BYTES, agree, context, pair_mask, pair_seed, self_mask
from noren_core.secagg.messages import (
    ADVERTISEMENT_LABEL,
    SURVIVORS_LABEL,
    Advertisement,
    Group,
    PeerShare,
    Unmasking,
    advertisement_statement,
    seed_commitment,
    survivor_statement,
    transcript,
    verify_advertisement,
    verify_all_distinct,
)
from noren_core.secagg.states import ClientState, Event, next_state

# A sealing key is derived for one message from one member to another, and used for that message only.
_ZERO_NONCE = bytes(12)


class _MaskSeeds(Secret):
    """The seeds of our masks in one round."""

    def __init__(self, self_seed: bytes, pair_seeds: dict[str, bytes]) -> None:
        self.self_seed = self_seed
        self.pair_seeds = pair_seeds


class SecAggClient(Secret):
    """The state machine of one company; its transitions are in states.py.

    Raises:
        ConfigurationError: if the parameters are not those of a secure run, or not ours.
    """

    def __init__(
        self,
        *,
        our_id: str,
        signing_key: SigningKey,
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
        if self._group.roster.get(our_id) != signing_key.public_key:
            raise ConfigurationError("roster: expected our own company with our own key, got another")
        self._our_id = our_id
        self._signing_key = signing_key
        self._state = ClientState.NEW
        self._share_key = X25519PrivateKey.generate()
        numbers = range(1, rounds + 1)
        self._round_keys = {number: X25519PrivateKey.generate() for number in numbers}
        self._seeds = {number: secrets.token_bytes(SEED_BYTES) for number in numbers}
        self._ours = self._sign_advertisement()
        self._mask_seeds: dict[int, _MaskSeeds] = {}
        # Round → company → our shares of its (round key, self-mask seed).
        self._held: dict[int, dict[str, tuple[bytes, bytes]]] = {number: {} for number in numbers}
        self._sealing_keys: dict[str, tuple[bytes, bytes]] = {}
        self._cohort: tuple[str, ...] = ()
        self._last_round = 0
        self._answered: dict[int, tuple[str, ...]] = {}

    @property
    def cohort(self) -> tuple[str, ...]:
        """The members we mask with, sorted; empty before `accept_shares`."""
        return self._cohort

    @property
    def answered(self) -> dict[int, tuple[str, ...]]:
        """Round → the survivor set we were told and signed, sorted; to compare with the ledger's."""
        return dict(self._answered)

    def advertise(self) -> Advertisement:
        """Our public keys for all rounds, signed."""
        self._state = next_state(self._state, Event.ADVERTISE)
        return self._ours

    def share(self, advertisements: Mapping[str, Advertisement]) -> dict[str, bytes]:
        """Shares of all our rounds' secrets for each other advertiser, sealed to it.

        1. Enough members, each in the roster, and we are among them unchanged.
        2. Each advertisement has the right shape and its company's signature.
        3. No key occurs twice.
        4. Each key is usable; derive the keys and seeds we have with each member.
        5. Share our secrets among the members, forget the private keys, seal the shares.

        Raises:
            RemoteProtocolError: if the server sent something else.
        """
        after = next_state(self._state, Event.SHARE)
        if advertisements.get(self._our_id) != self._ours:  # 1
            raise RemoteProtocolError("advertisements: expected our own, unchanged, got none or another")
        if len(advertisements) < self._group.quorum:
            raise RemoteProtocolError(
                f"advertisements: expected at least {self._group.quorum}, got {len(advertisements)}"
            )
        for company, advertisement in advertisements.items():  # 2
            verify_advertisement(self._group, company, advertisement)
        verify_all_distinct(advertisements.values())  # 3
        peers = {company: each for company, each in advertisements.items() if company != self._our_id}
        try:  # 4
            sealing_keys = self._derive_sealing_keys(peers, transcript(self._group, advertisements))
            pair_seeds = {number: self._derive_pair_seeds(number, peers) for number in self._round_keys}
        except VerificationError as error:
            raise RemoteProtocolError(f"advertisement: {error.message}") from error
        sealed = self._share_secrets(sealing_keys, pair_seeds)  # 5
        del self._share_key
        self._sealing_keys = sealing_keys
        self._state = after
        return sealed

    def accept_shares(self, sealed: Mapping[str, bytes]) -> None:
        """Open the shares of those who completed sharing; with us, they are the cohort of all rounds.

        1. Enough senders, each an advertiser, none of them us.
        2. Each message opens under the key of that sender and the same set of advertisements.
        3. Each share is in range.

        Raises:
            RemoteProtocolError: if the server sent something else.
        """
        after = next_state(self._state, Event.ACCEPT_SHARES)
        if not sealed.keys() <= self._sealing_keys.keys():  # 1
            raise RemoteProtocolError("sealed shares: expected those of other advertisers, got others")
        if len(sealed) + 1 < self._group.quorum:
            raise RemoteProtocolError(
                f"sealed shares: expected at least {self._group.quorum - 1}, got {len(sealed)}"
            )
        opened = {sender: self._open_shares(sender, message) for sender, message in sealed.items()}  # 2, 3
        for sender, shares in opened.items():
            for number, pair in enumerate(shares, start=1):
                self._held[number][sender] = pair
        self._cohort = tuple(sorted((*sealed, self._our_id)))
        self._sealing_keys = {}
        self._state = after

    def mask(self, round_number: int, values: NDArray[np.int64]) -> NDArray[np.uint64]:
        """`values` under our masks of this round, modulo 2^64.

        Rounds go upwards and may be skipped; each is masked at most once, since two vectors under the same
        masks would show their difference. The secrets of rounds below are forgotten.

        Raises:
            LocalProtocolError: if the round is not ahead of the last one, or the vector has another form.
        """
        after = next_state(self._state, Event.MASK)
        if not self._last_round < round_number <= self._group.rounds:
            raise LocalProtocolError(
                f"round: expected {self._last_round + 1} to {self._group.rounds}, got {round_number}"
            )
        if values.dtype != np.int64 or values.shape != (self._group.vector_length,):
            raise LocalProtocolError(
                f"vector: expected {self._group.vector_length} int64 values, got another shape or type"
            )
        masked = values.view(np.uint64) + self._masks(round_number)
        for passed in range(self._last_round, round_number):
            self._held.pop(passed, None)
            self._mask_seeds.pop(passed, None)
        del self._mask_seeds[round_number]
        self._last_round = round_number
        self._state = after
        return masked

    def unmask(self, round_number: int, survivors: Collection[str]) -> Unmasking:
        """Our one answer for this round: shares that open the sum over `survivors`, and our signature on it.

        1. We masked this round and have not answered it.
        2. The survivors are members of the cohort, none twice, and we are one.
        3. They are at least the threshold and the minimum cohort.
        4. Give the self-mask share of each survivor and the round-key share of each other member; forget
           the round.

        Raises:
            RemoteProtocolError: if the server asked for anything else.
        """
        after = next_state(self._state, Event.UNMASK)  # 1
        if round_number != self._last_round:
            raise RemoteProtocolError(f"unmask: expected round {self._last_round}, got {round_number}")
        remaining = frozenset(survivors)
        if len(remaining) != len(survivors) or not remaining <= set(self._cohort):  # 2
            raise RemoteProtocolError("survivors: expected members of the cohort, each once, got others")
        if self._our_id not in remaining:
            raise RemoteProtocolError("survivors: expected a set with us in it, got one without")
        if len(remaining) < self._group.quorum:  # 3
            raise RemoteProtocolError(
                f"survivors: expected at least {self._group.quorum}, got {len(remaining)}"
            )
        statement = survivor_statement(self._group.session, round_number, remaining)
        signature = self._signing_key.sign(SURVIVORS_LABEL, statement)
        held = self._held.pop(round_number)  # 4
        self._answered[round_number] = tuple(sorted(remaining))
        self._state = after
        shares = tuple(_choose(company, held[company], company in remaining) for company in self._cohort)
        return Unmasking(shares, signature)

    def _sign_advertisement(self) -> Advertisement:
        keys = tuple(key.public_key().public_bytes_raw() for key in self._round_keys.values())
        commitments = tuple(
            seed_commitment(seed, session=self._group.session, round_number=number, company=self._our_id)
            for number, seed in self._seeds.items()
        )
        unsigned = Advertisement(self._share_key.public_key().public_bytes_raw(), keys, commitments, b"")
        statement = advertisement_statement(self._group, self._our_id, unsigned)
        signature = self._signing_key.sign(ADVERTISEMENT_LABEL, statement)
        return Advertisement(unsigned.share_key, keys, commitments, signature)

    def _derive_sealing_keys(
        self, peers: Mapping[str, Advertisement], seen: bytes
    ) -> dict[str, tuple[bytes, bytes]]:
        """For each peer, the key we seal to it under and the key it seals to us under."""

        def key(peer: str, sender: str, recipient: str) -> bytes:
            info = context("sealed-shares", self._group.session, seen, sender, recipient)
            return agree(self._share_key, peers[peer].share_key, info)

        return {peer: (key(peer, self._our_id, peer), key(peer, peer, self._our_id)) for peer in peers}

    def _derive_pair_seeds(self, number: int, peers: Mapping[str, Advertisement]) -> dict[str, bytes]:
        return {
            peer: pair_seed(
                self._round_keys[number],
                session=self._group.session,
                round_number=number,
                ours=(self._our_id, self._ours.round_keys[number - 1]),
                theirs=(peer, each.round_keys[number - 1]),
            )
            for peer, each in peers.items()
        }

    def _share_secrets(
        self, sealing_keys: Mapping[str, tuple[bytes, bytes]], pair_seeds: Mapping[int, dict[str, bytes]]
    ) -> dict[str, bytes]:
        points = self._group.points((self._our_id, *sealing_keys))
        plain: dict[str, list[bytes]] = {peer: [] for peer in sealing_keys}
        for number, seeds in pair_seeds.items():
            key_shares = self._split(self._round_keys[number].private_bytes_raw(), points)
            seed_shares = self._split(self._seeds[number], points)
            for peer in plain:
                plain[peer] += (key_shares[peer], seed_shares[peer])
            self._mask_seeds[number] = _MaskSeeds(self._seeds[number], seeds)
            self._held[number][self._our_id] = (key_shares[self._our_id], seed_shares[self._our_id])
        self._round_keys, self._seeds = {}, {}
        return {
            peer: ChaCha20Poly1305(sealing_keys[peer][0]).encrypt(_ZERO_NONCE, b"".join(parts), None)
            for peer, parts in plain.items()
        }

    def _split(self, secret: bytes, points: Mapping[str, int]) -> dict[str, bytes]:
        shares = split(secret, threshold=self._group.threshold, points=points.values())
        return {company: shares[point] for company, point in points.items()}

    def _open_shares(self, sender: str, message: bytes) -> list[tuple[bytes, bytes]]:
        if len(message) != self._group.sealed_bytes:
            raise RemoteProtocolError(
                f"sealed shares: expected {self._group.sealed_bytes} bytes, got {len(message)}"
            )
        try:
            plain = ChaCha20Poly1305(self._sealing_keys[sender][1]).decrypt(_ZERO_NONCE, message, None)
            shares = [plain[at : at + SHARE_BYTES] for at in range(0, len(plain), SHARE_BYTES)]
            for share in shares:
                parse_share(share)
        except InvalidTag as error:
            raise RemoteProtocolError("sealed shares: expected some that open for us, got others") from error
        except VerificationError as error:
            raise RemoteProtocolError(f"sealed shares: {error.message}") from error
        return list(zip(shares[::2], shares[1::2], strict=True))

    def _masks(self, round_number: int) -> NDArray[np.uint64]:
        seeds, length = self._mask_seeds[round_number], self._group.vector_length
        total = self_mask(
            seeds.self_seed,
            session=self._group.session,
            round_number=round_number,
            company=self._our_id,
            length=length,
        )
        for peer in self._cohort:
            if peer != self._our_id:
                total += pair_mask(seeds.pair_seeds[peer], adder=self._our_id, other=peer, length=length)
        return total


def _choose(company: str, held: tuple[bytes, bytes], survived: bool) -> PeerShare:
    key_share, seed_share = held
    return PeerShare(company, survived, seed_share if survived else key_share)

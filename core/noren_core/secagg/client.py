"""A company's side of secure aggregation: Bonawitz et al. (CCS 2017), double masking, complete graph.

One instance serves one run of a campaign. It does no input or output: each method takes what arrived and
returns what to send. All keys and shares of all rounds are exchanged once, because an exchange is slow;
each round then costs a masked vector and an unmasking. With the shares travels each member's contribution to
the cohort key, from which the companies' blind is made (noren_core.season.cohort_key). docs/protocol.md §4.3.

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

*One cohort.* Telling members different cohorts gains nothing. A member signs the cohort that it accepted
shares from, one cohort ever, and unmasks only for survivors who signed the same. At least t signed it with
it, and two sets of t members share more than n/3, so at least one honest member, which signed only one. All
honest members who ever unmask therefore have one cohort, and with it one cohort key: each contribution to
that key was committed to in the advertisement, so its author cannot give different ones to different peers.

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
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.crypto.shamir import SHARE_BYTES, parse_share, split
from noren_core.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.secagg.masking import (
    SEED_BYTES,
    add_pair_mask,
    add_self_mask,
    context,
    derive,
    exchange,
    pair_seed,
)
from noren_core.secagg.messages import (
    ADVERTISEMENT_LABEL,
    AEAD_TAG_BYTES,
    COHORT_LABEL,
    CONTRIBUTION_BYTES,
    ROUND_SHARES_BYTES,
    SURVIVORS_LABEL,
    Advertisement,
    Group,
    PeerShare,
    Unmasking,
    advertisement_statement,
    cohort_statement,
    contribution_commitment,
    seed_commitment,
    survivor_statement,
    transcript,
    verify_advertisement,
    verify_all_distinct,
    verify_cohort_signature,
)
from noren_core.secagg.states import ClientState, Event, next_state

# A sealing key is derived for one message from one member to another, and used for that message only.
_ZERO_NONCE = bytes(12)


class _MaskSeeds(Secret):
    """The seeds of our masks in one round."""

    def __init__(self, self_seed: SecretBytes, pair_seeds: dict[str, SecretBytes]) -> None:
        self.self_seed = self_seed
        self.pair_seeds = pair_seeds

    def wipe(self) -> None:
        _wipe((self.self_seed, *self.pair_seeds.values()))


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
        self._share_key: X25519PrivateKey | None = X25519PrivateKey.generate()
        numbers = range(1, rounds + 1)
        self._round_keys = {number: X25519PrivateKey.generate() for number in numbers}
        self._seeds = {number: SecretBytes(secrets.token_bytes(SEED_BYTES)) for number in numbers}
        self._contribution = SecretBytes(secrets.token_bytes(CONTRIBUTION_BYTES))
        self._ours = self._sign_advertisement(self._share_key)
        self._advertisements: dict[str, Advertisement] = {}
        self._seen = b""
        self._mask_seeds: dict[int, _MaskSeeds] = {}
        # Round → company → our shares of its round key and self-mask seed, one after the other.
        self._held: dict[int, dict[str, SecretBytes]] = {number: {} for number in numbers}
        # Company → the keys under which we seal to it and it seals to us.
        self._sealing_keys: dict[str, tuple[SecretBytes, SecretBytes]] = {}
        self._cohort: tuple[str, ...] = ()
        self._cohort_secret: SecretBytes | None = None
        self._confirmed: frozenset[str] = frozenset()
        self._last_round = 0
        self._answered: dict[int, tuple[str, ...]] = {}

    @property
    def cohort(self) -> tuple[str, ...]:
        """The members we mask with, sorted; empty before `accept_shares`."""
        return self._cohort

    @property
    def confirmed(self) -> frozenset[str]:
        """Ourselves, and the members who proved that they accepted the same cohort."""
        return self._confirmed

    @property
    def answered(self) -> dict[int, tuple[str, ...]]:
        """Round → the survivor set we were told and signed, sorted; to compare with the ledger's."""
        return dict(self._answered)

    @property
    def cohort_secret(self) -> SecretBytes:
        """The 32 bytes that the cohort's members have in common and the server does not; ours to wipe.

        Raises:
            LocalProtocolError: before `accept_shares` and after `close`.
        """
        if self._cohort_secret is None:
            raise LocalProtocolError("cohort key: expected that the peers' shares were accepted before")
        return self._cohort_secret

    def advertise(self) -> Advertisement:
        """Our public keys for all rounds, signed."""
        self._state = next_state(self._state, Event.ADVERTISE)
        return self._ours

    def share(self, advertisements: Mapping[str, Advertisement]) -> dict[str, bytes]:
        """Our contribution and shares of all our rounds' secrets for each other advertiser, sealed to it.

        1. Enough members, each in the roster, and we are among them unchanged.
        2. Each advertisement has the right shape and its company's signature.
        3. No key or commitment occurs twice.
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
        seen = transcript(self._group, advertisements)
        try:  # 4
            sealing_keys = self._derive_sealing_keys(peers, seen)
            pair_seeds = {number: self._derive_pair_seeds(number, peers) for number in self._round_keys}
        except VerificationError as error:
            raise RemoteProtocolError(f"advertisement: {error.message}") from error
        sealed = self._share_secrets(sealing_keys, pair_seeds)  # 5
        self._share_key, self._round_keys, self._seeds = None, {}, {}
        self._advertisements, self._seen, self._sealing_keys = dict(advertisements), seen, sealing_keys
        self._state = after
        return sealed

    def accept_shares(self, sealed: Mapping[str, bytes]) -> bytes:
        """Open the messages of those who completed sharing; with us, they are the cohort of all rounds.

        1. Enough senders, each an advertiser, none of them us.
        2. Each message opens under the key of that sender and the same set of advertisements.
        3. Each share is in range.
        4. Each contribution is the one that its sender committed to.
        5. Derive the cohort key; sign the cohort.

        Returns:
            Our signature over the cohort, for the other members.

        Raises:
            RemoteProtocolError: if the server sent something else. Where one sender's message is to blame,
                its name is in the text: either that company or the server broke the protocol.
        """
        after = next_state(self._state, Event.ACCEPT_SHARES)
        if not sealed.keys() <= self._sealing_keys.keys():  # 1
            raise RemoteProtocolError("sealed shares: expected those of other advertisers, got others")
        if len(sealed) + 1 < self._group.quorum:
            raise RemoteProtocolError(
                f"sealed shares: expected at least {self._group.quorum - 1}, got {len(sealed)}"
            )
        opened = {sender: self._open_shares(sender, message) for sender, message in sealed.items()}  # 2, 3, 4
        contributions = {self._our_id: self._contribution}
        for sender, (contribution, shares) in opened.items():
            contributions[sender] = contribution
            for number, pair in enumerate(shares, start=1):
                self._held[number][sender] = pair
        self._cohort = tuple(sorted(contributions))
        self._cohort_secret = self._derive_cohort_secret(contributions)  # 5
        _wipe(contributions.values())
        _wipe(key for pair in self._sealing_keys.values() for key in pair)
        self._sealing_keys = {}
        self._confirmed = frozenset({self._our_id})
        self._state = after
        return self._signing_key.sign(COHORT_LABEL, cohort_statement(self._group, self._seen, self._cohort))

    def confirm(self, signatures: Mapping[str, bytes]) -> None:
        """Take other members' signatures over the cohort.

        Raises:
            RemoteProtocolError: if one is not that member's over the very cohort and advertisements that we
                accepted; nothing is changed.
        """
        after = next_state(self._state, Event.CONFIRM)
        for company in sorted(signatures.keys() - self._confirmed):
            verify_cohort_signature(
                self._group, company, signatures[company], seen=self._seen, cohort=self._cohort
            )
        self._confirmed |= signatures.keys()
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
        masked = values.view(np.uint64).copy()
        self._add_masks(masked, round_number)
        for passed in range(self._last_round, round_number):
            _wipe(self._held.pop(passed, {}).values())
        for passed in range(self._last_round, round_number + 1):
            if passed in self._mask_seeds:
                self._mask_seeds.pop(passed).wipe()
        self._last_round = round_number
        self._state = after
        return masked

    def unmask(self, round_number: int, survivors: Collection[str]) -> Unmasking:
        """Our one answer for this round: shares that open the sum over `survivors`, and our signature on it.

        1. We masked this round and have not answered it.
        2. The survivors are members who confirmed our cohort, none twice, and we are one.
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
        if len(remaining) != len(survivors) or not remaining <= self._confirmed:  # 2
            raise RemoteProtocolError(
                "survivors: expected members who confirmed our cohort, each once, got others"
            )
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
        _wipe(held.values())
        return Unmasking(shares, signature)

    def close(self) -> None:
        """Forget every secret; nothing is answered any more."""
        self._state = next_state(self._state, Event.CLOSE)
        self._share_key, self._round_keys = None, {}
        _wipe((*self._seeds.values(), self._contribution))
        _wipe(key for pair in self._sealing_keys.values() for key in pair)
        _wipe(share for held in self._held.values() for share in held.values())
        for seeds in self._mask_seeds.values():
            seeds.wipe()
        if self._cohort_secret is not None:
            self._cohort_secret.wipe()
        self._seeds, self._sealing_keys, self._held, self._mask_seeds = {}, {}, {}, {}
        self._cohort_secret = None

    def _sign_advertisement(self, share_key: X25519PrivateKey) -> Advertisement:
        session, company = self._group.session, self._our_id
        unsigned = Advertisement(
            share_key=share_key.public_key().public_bytes_raw(),
            round_keys=tuple(key.public_key().public_bytes_raw() for key in self._round_keys.values()),
            seed_commitments=tuple(
                seed_commitment(seed, session=session, round_number=number, company=company)
                for number, seed in self._seeds.items()
            ),
            contribution_commitment=contribution_commitment(
                self._contribution, session=session, company=company
            ),
            signature=b"",
        )
        statement = advertisement_statement(self._group, company, unsigned)
        return replace(unsigned, signature=self._signing_key.sign(ADVERTISEMENT_LABEL, statement))

    def _derive_sealing_keys(
        self, peers: Mapping[str, Advertisement], seen: bytes
    ) -> dict[str, tuple[SecretBytes, SecretBytes]]:
        if self._share_key is None:
            raise LocalProtocolError("share key: expected one that is not forgotten yet")
        keys = {}
        for peer, advertisement in peers.items():
            shared = exchange(self._share_key, advertisement.share_key)
            keys[peer] = (
                derive(shared, _sealing_info(self._group, seen, sender=self._our_id, recipient=peer)),
                derive(shared, _sealing_info(self._group, seen, sender=peer, recipient=self._our_id)),
            )
        return keys

    def _derive_pair_seeds(self, number: int, peers: Mapping[str, Advertisement]) -> dict[str, SecretBytes]:
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
        self,
        sealing_keys: Mapping[str, tuple[SecretBytes, SecretBytes]],
        pair_seeds: Mapping[int, dict[str, SecretBytes]],
    ) -> dict[str, bytes]:
        points = self._group.points((self._our_id, *sealing_keys))
        plain = {peer: bytearray(self._contribution.buffer) for peer in sealing_keys}
        for number, seeds in pair_seeds.items():
            key_shares = self._split(self._round_keys[number].private_bytes_raw(), points)
            seed_shares = self._split(self._seeds[number].buffer, points)
            for peer in plain:
                plain[peer] += key_shares[peer] + seed_shares[peer]
            self._mask_seeds[number] = _MaskSeeds(self._seeds[number], seeds)
            ours = key_shares[self._our_id] + seed_shares[self._our_id]
            self._held[number][self._our_id] = SecretBytes(ours)
        sealed = {}
        for peer, message in plain.items():
            cipher = ChaCha20Poly1305(sealing_keys[peer][0].buffer)
            sealed[peer] = cipher.encrypt(_ZERO_NONCE, message, None)
            message[:] = bytes(len(message))
        return sealed

    def _split(self, secret: bytes | bytearray, points: Mapping[str, int]) -> dict[str, bytes]:
        shares = split(secret, threshold=self._group.threshold, points=points.values())
        return {company: shares[point] for company, point in points.items()}

    def _open_shares(self, sender: str, message: bytes) -> tuple[SecretBytes, list[SecretBytes]]:
        """What `sender` sealed to us: its contribution, and our shares of its two secrets of each round."""
        if len(message) != self._group.sealed_bytes:
            raise RemoteProtocolError(
                f"sealed shares of {sender}: expected {self._group.sealed_bytes} bytes, got {len(message)}"
            )
        plain = SecretBytes(bytes(len(message) - AEAD_TAG_BYTES))
        cipher = ChaCha20Poly1305(self._sealing_keys[sender][1].buffer)
        try:
            cipher.decrypt_into(_ZERO_NONCE, message, None, plain.buffer)
            for at in range(CONTRIBUTION_BYTES, len(plain), SHARE_BYTES):
                parse_share(plain.buffer[at : at + SHARE_BYTES])
        except InvalidTag as error:
            raise RemoteProtocolError(f"sealed shares of {sender}: expected some that open for us") from error
        except VerificationError as error:
            raise RemoteProtocolError(f"sealed shares of {sender}: {error.message}") from error
        contribution = SecretBytes(plain.buffer[:CONTRIBUTION_BYTES])
        committed = contribution_commitment(contribution, session=self._group.session, company=sender)
        if committed != self._advertisements[sender].contribution_commitment:
            raise RemoteProtocolError(
                f"sealed shares of {sender}: expected the contribution that it committed to, got another"
            )
        shares = [
            SecretBytes(plain.buffer[at : at + ROUND_SHARES_BYTES])
            for at in range(CONTRIBUTION_BYTES, len(plain), ROUND_SHARES_BYTES)
        ]
        plain.wipe()
        return contribution, shares

    def _derive_cohort_secret(self, contributions: Mapping[str, SecretBytes]) -> SecretBytes:
        """HKDF of all contributions in the order of names, bound to session, advertisements and cohort."""
        joined = SecretBytes(b"".join(contributions[company].buffer for company in self._cohort))
        secret = derive(joined.buffer, context("cohort-key", self._group.session, self._seen, *self._cohort))
        joined.wipe()
        return secret

    def _add_masks(self, vector: NDArray[np.uint64], round_number: int) -> None:
        seeds = self._mask_seeds[round_number]
        add_self_mask(
            vector,
            seeds.self_seed,
            session=self._group.session,
            round_number=round_number,
            company=self._our_id,
        )
        for peer in self._cohort:
            if peer != self._our_id:
                add_pair_mask(vector, seeds.pair_seeds[peer], adder=self._our_id, other=peer)


def _sealing_info(group: Group, seen: bytes, *, sender: str, recipient: str) -> bytes:
    return context("sealed-shares", group.session, seen, sender, recipient)


def _choose(company: str, held: SecretBytes, survived: bool) -> PeerShare:
    share = held.buffer[SHARE_BYTES:] if survived else held.buffer[:SHARE_BYTES]
    return PeerShare(company, survived, bytes(share))


def _wipe(values: Iterable[SecretBytes]) -> None:
    for value in values:
        value.wipe()

"""The values that secure aggregation exchanges, and the checks every party makes of them.

The messages of docs/protocol.md §4.3: an advertisement, sealed shares and a signature over the cohort once
per campaign, a masked vector and an unmasking once per round. Whatever a party signs here is bound to the
session, so a session must be fresh for each run: a resumed campaign that reused one would make an honest
company sign two survivor sets for the same round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from noren_core import canonical_json
from noren_core.crypto.identity import verify_signature
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.shamir import SHARE_BYTES, parse_share
from noren_core.errors import ConfigurationError, RemoteProtocolError, VerificationError
from noren_core.secagg.masking import PROTOCOL, context

KEY_BYTES = 32
SESSION_BYTES = 32
CONTRIBUTION_BYTES = 32
AEAD_TAG_BYTES = 16
ROUND_SHARES_BYTES = 2 * SHARE_BYTES

ADVERTISEMENT_LABEL = f"{PROTOCOL}/advertisement".encode()
COHORT_LABEL = f"{PROTOCOL}/cohort".encode()
SURVIVORS_LABEL = f"{PROTOCOL}/survivors".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What all members and the server agree on before the first message; invalid ones cannot be made.

    Attributes:
        roster: company → pinned Ed25519 public key; nobody else takes part.
        threshold: shares that recover a secret; must exceed two thirds of the roster (see client.py).
        minimum_cohort: fewest companies whose sum may be revealed.
        session: 32 bytes that bind run, campaign and plan; never used twice.
        rounds: number of rounds keys are exchanged for, numbered from 1.
        vector_length: coordinates of each vector.
    """

    roster: Mapping[str, bytes]
    threshold: int
    minimum_cohort: int
    session: bytes
    rounds: int
    vector_length: int

    def __post_init__(self) -> None:
        # A copy: the caller's later changes to its mapping must not reach us.
        object.__setattr__(self, "roster", MappingProxyType(dict(sorted(self.roster.items()))))
        members = len(self.roster)
        _require(members >= 2, f"roster: expected at least 2 companies, got {members}")
        _require(len(set(self.roster.values())) == members, "roster: expected distinct keys, got one twice")
        _require(
            2 * members < 3 * self.threshold <= 3 * members,
            f"threshold: expected more than 2/3 and at most all of {members}, got {self.threshold}",
        )
        _require(
            2 <= self.minimum_cohort <= members,
            f"minimum cohort: expected 2 to {members}, got {self.minimum_cohort}",
        )
        _require(
            len(self.session) == SESSION_BYTES,
            f"session: expected {SESSION_BYTES} bytes, got {len(self.session)}",
        )
        _require(self.rounds >= 1, f"rounds: expected at least 1, got {self.rounds}")
        _require(self.vector_length >= 1, f"vector length: expected at least 1, got {self.vector_length}")

    @property
    def quorum(self) -> int:
        """Fewest members with whom set-up or a round may go on."""
        return max(self.threshold, self.minimum_cohort)

    @property
    def sealed_bytes(self) -> int:
        """Length of the sealed contribution and shares from one member to another (§4.3.3)."""
        return CONTRIBUTION_BYTES + self.rounds * ROUND_SHARES_BYTES + AEAD_TAG_BYTES

    def points(self, companies: Iterable[str]) -> dict[str, int]:
        """The Shamir point of each company: its place in the roster, so the same for everybody."""
        places = {company: place for place, company in enumerate(self.roster, start=1)}
        return {company: places[company] for company in companies}

    def verify_round_number(self, round_number: int) -> None:
        """Raise RemoteProtocolError unless `round_number` is one that keys were exchanged for."""
        if not 1 <= round_number <= self.rounds:
            raise RemoteProtocolError(f"round: expected 1 to {self.rounds}, got {round_number}")


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A member's public keys for all rounds and commitments to its secrets, signed.

    Attributes:
        share_key: X25519 key under which shares are sealed to this member.
        round_keys: X25519 key of each round from round 1, for the pairwise masks.
        seed_commitments: hash of each round's self-mask seed, so that a wrongly recovered one is noticed.
        contribution_commitment: hash of its contribution to the cohort key, so that it has only one.
        signature: Ed25519, over all of it, session and company.
    """

    share_key: bytes
    round_keys: tuple[bytes, ...]
    seed_commitments: tuple[bytes, ...]
    contribution_commitment: bytes
    signature: bytes

    @property
    def values(self) -> tuple[bytes, ...]:
        """Every key and commitment."""
        return (self.share_key, self.contribution_commitment, *self.round_keys, *self.seed_commitments)


@dataclass(frozen=True, slots=True)
class PeerShare:
    """A member's share of one secret of `company` in one round.

    Attributes:
        company: whose secret.
        is_self_mask: the self-mask seed (a survivor's) rather than the round key (of one who dropped out).
        share: 66 bytes, see noren_core.crypto.shamir.
    """

    company: str
    is_self_mask: bool
    share: bytes

    def __repr__(self) -> str:
        # The server's copy of enough of these is a key.
        return f"PeerShare(company={self.company!r}, is_self_mask={self.is_self_mask}, share=<redacted>)"


@dataclass(frozen=True, slots=True)
class Unmasking:
    """A member's one answer to a round's survivor set.

    Attributes:
        shares: one per member of the cohort.
        signature: Ed25519, over session, round and the survivor set as this member was told it.
    """

    shares: tuple[PeerShare, ...]
    signature: bytes


def seed_commitment(seed: SecretBytes, *, session: bytes, round_number: int, company: str) -> bytes:
    """The hash by which a member commits to a self-mask seed; hiding, as the seed is 256 random bits."""
    return _commitment(context("seed-commitment", session, round_number, company), seed)


def contribution_commitment(contribution: SecretBytes, *, session: bytes, company: str) -> bytes:
    """The hash by which a member commits to its contribution to the cohort key."""
    return _commitment(context("contribution-commitment", session, company), contribution)


def advertisement_statement(group: Group, company: str, advertisement: Advertisement) -> bytes:
    """What an advertisement's signature is over, with ADVERTISEMENT_LABEL."""
    return context(
        "advertisement",
        group.session,
        company,
        group.rounds,
        *advertisement.values,
    )


def verify_advertisement(group: Group, company: str, advertisement: Advertisement) -> None:
    """Raise RemoteProtocolError unless `advertisement` is well formed and signed by `company`."""
    pinned = group.roster.get(company)
    if pinned is None:
        raise RemoteProtocolError("advertisement: expected one from a company of the roster, got another")
    keys, commitments = advertisement.round_keys, advertisement.seed_commitments
    if len(keys) != group.rounds or len(commitments) != group.rounds:
        raise RemoteProtocolError(f"advertisement: expected keys and commitments for {group.rounds} rounds")
    if any(len(value) != KEY_BYTES for value in advertisement.values):
        raise RemoteProtocolError(f"advertisement: expected values of {KEY_BYTES} bytes, got another length")
    statement = advertisement_statement(group, company, advertisement)
    _verify_signed(pinned, ADVERTISEMENT_LABEL, statement, advertisement.signature)


def verify_all_distinct(advertisements: Iterable[Advertisement]) -> None:
    """Raise RemoteProtocolError if a key or commitment appears twice, within a member or between two.

    Across rounds, a repeated key would let a drop-out in one round undo the masks of another. Between
    members, it would be a copy by someone who does not know the private key.
    """
    values = [value for each in advertisements for value in each.values]
    if len(set(values)) != len(values):
        raise RemoteProtocolError("advertisements: expected every key to be new, got one twice")


def transcript(group: Group, advertisements: Mapping[str, Advertisement]) -> bytes:
    """A hash of the whole set of advertisements; shares open only between members who saw the same set."""
    statements = [
        advertisement_statement(group, company, each) for company, each in sorted(advertisements.items())
    ]
    return hashlib.sha256(context("transcript", group.session, group.threshold, *statements)).digest()


def cohort_statement(group: Group, seen: bytes, cohort: Collection[str]) -> bytes:
    """What a member's signature over its cohort is over, with COHORT_LABEL; `seen` is the transcript."""
    return context("cohort", group.session, seen, *sorted(cohort))


def verify_cohort_signature(
    group: Group, company: str, signature: bytes, *, seen: bytes, cohort: Collection[str]
) -> None:
    """Raise RemoteProtocolError unless `company` of the cohort signed this very set and cohort."""
    if company not in cohort:
        raise RemoteProtocolError("cohort signature: expected one of a member of the cohort, got another's")
    _verify_signed(group.roster[company], COHORT_LABEL, cohort_statement(group, seen, cohort), signature)


def survivor_statement(session: bytes, round_number: int, survivors: Collection[str]) -> bytes:
    """What an unmasking's signature is over, with SURVIVORS_LABEL; the ledger's evidence of the set."""
    return canonical_json.encode(
        {"round": round_number, "session": session.hex(), "survivors": sorted(survivors)}
    )


def verify_survivor_signature(
    public_key: bytes, *, session: bytes, round_number: int, survivors: Collection[str], signature: bytes
) -> None:
    """Raise VerificationError unless `public_key` signed exactly this survivor set for this round.

    Two such signatures over different sets of one round prove that their members were told different sets.
    """
    verify_signature(
        public_key, SURVIVORS_LABEL, survivor_statement(session, round_number, survivors), signature
    )


def verify_unmasking(
    group: Group,
    company: str,
    unmasking: Unmasking,
    *,
    round_number: int,
    cohort: Collection[str],
    survivors: Collection[str],
) -> None:
    """Raise RemoteProtocolError unless the answer is `company`'s to exactly this survivor set.

    It must hold one share for each member of the cohort, of the right kind and in range.
    """
    kinds = {share.company: share.is_self_mask for share in unmasking.shares}
    if len(unmasking.shares) != len(kinds) or kinds != {each: each in survivors for each in cohort}:
        raise RemoteProtocolError("unmasking: expected one share of the right kind per member, got others")
    try:
        for share in unmasking.shares:
            parse_share(share.share)
        verify_survivor_signature(
            group.roster[company],
            session=group.session,
            round_number=round_number,
            survivors=survivors,
            signature=unmasking.signature,
        )
    except VerificationError as error:
        raise RemoteProtocolError(f"unmasking: {error.message}") from error


def _commitment(about: bytes, secret: SecretBytes) -> bytes:
    """SHA-256 of `about` and the secret as one more field of the same encoding, without a copy of it."""
    digest = hashlib.sha256(about + len(secret).to_bytes(4, "big"))
    digest.update(secret.buffer)
    return digest.digest()


def _verify_signed(public_key: bytes, label: bytes, statement: bytes, signature: bytes) -> None:
    try:
        verify_signature(public_key, label, statement, signature)
    except VerificationError as error:
        raise RemoteProtocolError(f"message of a member: {error.message}") from error


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigurationError(f"secure aggregation: {message}")

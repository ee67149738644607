"""Noren's own secure aggregation: the attack plays the server, or a company."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from noren_core.crypto import shamir
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import NorenError
from noren_core.secagg.client import SecAggClient
from noren_core.secagg.masking import add_pair_mask, add_self_mask, pair_seed
from noren_core.secagg.messages import Group, Unmasking
from noren_core.secagg.server import SecAggServer

LENGTH = 64


class Cohort:
    """Real clients and the real server of one run.

    Attributes:
        answers: what each company answered to whatever it was asked, by round.
        refused: how many requests for shares were refused.
    """

    def __init__(self, members: int, *, threshold: int, rounds: int = 1) -> None:
        self.names = [f"company-{number:02}" for number in range(members)]
        self.keys = {name: SigningKey.generate() for name in self.names}
        self.threshold = threshold
        self.parameters: dict[str, Any] = {
            "roster": {name: key.public_key for name, key in self.keys.items()},
            "threshold": threshold,
            "minimum_cohort": threshold,
            "session": secrets.token_bytes(32),
            "rounds": rounds,
            "vector_length": LENGTH,
        }
        self.group = Group(**self.parameters)
        self.points = {name: place for place, name in enumerate(self.names, start=1)}
        self.server = SecAggServer(**self.parameters)
        self.clients = {
            name: SecAggClient(our_id=name, signing_key=key, **self.parameters)
            for name, key in self.keys.items()
        }
        self.answers: list[tuple[str, Unmasking]] = []
        self.refused = 0

    def ask(self, name: str, survivors: Collection[str], round_number: int = 1) -> None:
        """Ask a company to unmask for these survivors; keep what it gives."""
        try:
            answer = self.clients[name].unmask(round_number, survivors)
        except NorenError:
            self.refused += 1
        else:
            self.answers.append((name, answer))

    def shares(self, company: str, *, is_self_mask: bool) -> dict[int, bytes]:
        """The shares of one of a company's two secrets that were given so far, by Shamir point."""
        return {
            self.points[holder]: share.share
            for holder, answer in self.answers
            for share in answer.shares
            if share.company == company and share.is_self_mask is is_self_mask
        }

    def recover(self, shares: Mapping[int, bytes]) -> bytes | None:
        """The secret, if the shares are enough."""
        if len(shares) < self.threshold:
            return None
        return shamir.recover(shares, threshold=self.threshold)

    def pair_mask(self, of: str, private: bytes, *, adder: str, round_number: int = 1) -> NDArray[np.uint64]:
        """What `adder` added for its pair with `of`, from the latter's private key of the round."""
        mask = np.zeros(LENGTH, np.uint64)
        keys = {name: each.round_keys[round_number - 1] for name, each in self.server.advertisements.items()}
        seed = pair_seed(
            X25519PrivateKey.from_private_bytes(private),
            session=self.parameters["session"],
            round_number=round_number,
            ours=(of, keys[of]),
            theirs=(adder, keys[adder]),
        )
        add_pair_mask(mask, seed, adder=adder, other=of)
        return mask

    def own_pair_masks(self, company: str, private: bytes) -> NDArray[np.uint64]:
        """All pairwise masks of a company, from its own private key of round 1: they mirror its peers'."""
        total = np.zeros(LENGTH, np.uint64)
        for peer in self.names:
            if peer != company:
                total -= self.pair_mask(company, private, adder=peer)
        return total

    def self_mask(self, company: str, seed: bytes, round_number: int = 1) -> NDArray[np.uint64]:
        """A company's mask for itself alone."""
        mask = np.zeros(LENGTH, np.uint64)
        session = self.parameters["session"]
        add_self_mask(mask, SecretBytes(seed), session=session, round_number=round_number, company=company)
        return mask

    def set_up(self) -> None:
        """Everybody advertises, shares, accepts and confirms."""
        for name, client in self.clients.items():
            self.server.add_advertisement(name, client.advertise())
        advertisements = self.server.advertisements
        for name, client in self.clients.items():
            self.server.add_sealed_shares(name, client.share(advertisements))
        for name, client in self.clients.items():
            self.server.add_cohort_signature(name, client.accept_shares(self.server.inbox(name)))
        for client in self.clients.values():
            client.confirm(self.server.cohort_signatures)


def ready_cohort(members: int, *, threshold: int, rounds: int = 1) -> Cohort:
    """One whose set-up is complete."""
    cohort = Cohort(members, threshold=threshold, rounds=rounds)
    cohort.set_up()
    return cohort


def update(seed: int) -> NDArray[np.int64]:
    """What a company contributes to a round."""
    return np.random.default_rng(seed).normal(0, 10_000, LENGTH).astype(np.int64)


def correlation(guess: NDArray[Any], truth: NDArray[Any]) -> float:
    """How well a guess, modulo 2^64, agrees with a company's vector; 0 where there is none."""
    values = np.asarray(guess).view(np.int64).astype(float)
    return float(abs(np.corrcoef(values, truth)[0, 1])) if values.std() else 0.0

"""Secure aggregation as in the textbook: masks that cancel, for a server that follows the protocol.

`NaiveClient` without self-masks is the first half of Bonawitz et al. (CCS 2017, §4): pairwise masks, and
whoever remains helps to remove those of a company that dropped out. With self-masks it is the paper's whole
protocol for a semi-honest server: no signatures, no consistency check, all requests for shares answered.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from noren_core.crypto import shamir

Agree = Callable[[bytes, bytes], bytes]
"""Private key, other's public key → shared secret."""


def library_x25519(private: bytes, public: bytes) -> bytes:
    """The exchange of the `cryptography` package, which refuses an all-zero result."""
    key = X25519PrivateKey.from_private_bytes(private)
    return key.exchange(X25519PublicKey.from_public_bytes(public))


class NaiveClient:
    """One company in one round."""

    def __init__(self, name: str, length: int, *, has_self_mask: bool, agree: Agree = library_x25519) -> None:
        self.name = name
        self._length = length
        self._private = X25519PrivateKey.generate()
        self._seed = secrets.token_bytes(32) if has_self_mask else None
        self._agree = agree
        self._publics: Mapping[str, bytes] = {}
        self._held: dict[str, tuple[bytes, bytes]] = {}

    @property
    def public_key(self) -> bytes:
        """For the others."""
        return self._private.public_key().public_bytes_raw()

    def share(
        self, publics: Mapping[str, bytes], points: Mapping[str, int], threshold: int
    ) -> dict[str, tuple[bytes, bytes]]:
        """Learn the others' keys; shares of (private key, self-mask seed) for everybody."""
        self._publics = publics
        secrets_ = (self._private.private_bytes_raw(), self._seed or bytes(32))
        keys, seeds = (shamir.split(s, threshold=threshold, points=points.values()) for s in secrets_)
        return {member: (keys[point], seeds[point]) for member, point in points.items()}

    def hold(self, dealer: str, shares: tuple[bytes, bytes]) -> None:
        """Keep what a member shared with us."""
        self._held[dealer] = shares

    def mask(self, values: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The masked vector."""
        total = values.view(np.uint64).copy()
        private = self._private.private_bytes_raw()
        for peer, public in self._publics.items():
            if peer != self.name:
                total += pair_mask(self._agree(private, public), self.name, peer, self._length)
        return total + expand(self._seed, self._length) if self._seed else total

    def unmask(self, survivors: Collection[str]) -> dict[str, bytes]:
        """A share of each survivor's self-mask seed and of every other member's private key."""
        return {member: held[member in survivors] for member, held in self._held.items()}


def pair_mask(shared: bytes, adder: str, other: str, length: int) -> NDArray[np.uint64]:
    """What `adder` adds for its pair with `other`."""
    info = "|".join(sorted((adder, other))).encode()
    seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(shared)
    mask = expand(seed, length)
    return mask if adder < other else np.negative(mask)


def expand(seed: bytes, length: int) -> NDArray[np.uint64]:
    """The seed's ChaCha20 keystream."""
    stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
    return np.frombuffer(stream.update(bytes(8 * length)), dtype="<u8").astype(np.uint64)


class NaiveCohort:
    """Clients that have exchanged keys and shares; the test plays the server."""

    def __init__(self, names: Collection[str], length: int, *, threshold: int, has_self_mask: bool) -> None:
        self.names = sorted(names)
        self.length = length
        self.threshold = threshold
        self.points = {name: place for place, name in enumerate(self.names, start=1)}
        self.clients = {name: NaiveClient(name, length, has_self_mask=has_self_mask) for name in self.names}
        self.publics = {name: client.public_key for name, client in self.clients.items()}
        for name, client in self.clients.items():
            for holder, shares in client.share(self.publics, self.points, threshold).items():
                self.clients[holder].hold(name, shares)

    def recover(self, company: str, answers: Mapping[str, Mapping[str, bytes]]) -> bytes:
        """The secret of a company that these answers are shares of."""
        shares = {self.points[holder]: answer[company] for holder, answer in answers.items()}
        return shamir.recover(shares, threshold=self.threshold)

    def pair_masks(self, company: str, private: bytes) -> NDArray[np.uint64]:
        """All pairwise masks of a company whose private key is known."""
        total = np.zeros(self.length, np.uint64)
        for peer in self.names:
            if peer != company:
                shared = library_x25519(private, self.publics[peer])
                total += pair_mask(shared, company, peer, self.length)
        return total

"""A member of secure aggregation over all rounds of a campaign (protocol §4.3, §4.4)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from noren_core.wire.v1 import training_pb2 as wire

from . import RefusedError, expect, shamir
from . import training as t

_SHARE = 66


class Member:
    """One company. Calls in the order of §4.3.6: advertise, share, accept, then mask and unmask by round."""

    def __init__(
        self,
        session: bytes,
        company: str,
        key: Ed25519PrivateKey,
        roster: Mapping[str, bytes],
        *,
        threshold: int,
        quorum: int,
        rounds: int,
    ) -> None:
        self._session, self._company, self._key, self._roster = session, company, key, roster
        self._names, self._threshold, self._quorum, self._rounds = sorted(roster), threshold, quorum, rounds
        self._share_key = secrets.token_bytes(32)
        self._round_keys = [_clamped(secrets.token_bytes(32)) for _ in range(rounds)]
        self._seeds = [secrets.token_bytes(32) for _ in range(rounds)]
        self._contribution = secrets.token_bytes(32)
        self._peers: dict[str, wire.Advertisement] = {}
        self._shares: dict[str, list[bytes]] = {}
        self._confirmed: set[str] = set()
        self._opening_keys: dict[str, bytes] = {}
        self._pair_secrets: dict[str, list[bytes]] = {}
        self._last_round, self._may_unmask = 0, False
        self._answered: dict[int, list[str]] = {}
        self.members: list[str] = []

    def advertise(self) -> wire.Advertisement:
        """Keys and commitments of all rounds, signed (§4.1.2)."""
        advertisement = wire.Advertisement(
            share_key=_public(self._share_key),
            round_keys=[_public(key) for key in self._round_keys],
            seed_commitments=[self._seed_commitment(r + 1, seed) for r, seed in enumerate(self._seeds)],
            contribution_commitment=self._contribution_commitment(self._company, self._contribution),
        )
        statement = t.advertisement_statement(self._session, self._company, advertisement)
        advertisement.signature = t.sign(self._key, "noren/v1/secagg/advertisement", statement)
        self._own = advertisement
        return advertisement

    def share(self, advertisements: Mapping[str, wire.Advertisement]) -> dict[str, bytes]:
        """The sealed message for every other advertiser (§4.3.3)."""
        expect(len(advertisements) >= self._quorum, "a quorum of advertisements")
        expect(advertisements.get(self._company) == self._own, "our own advertisement, unchanged")
        statements = []
        for name in sorted(advertisements):
            expect(name in self._roster, "advertisers of the roster")
            statements.append(self._checked_statement(name, advertisements[name]))
        keys = [k for ad in advertisements.values() for k in (ad.share_key, *ad.round_keys)]
        commitments = [
            c for ad in advertisements.values() for c in (ad.contribution_commitment, *ad.seed_commitments)
        ]
        expect(len({*keys, *commitments}) == len(keys) + len(commitments), "no key and no commitment twice")
        self._peers = dict(advertisements)
        peers = sorted(set(advertisements) - {self._company})
        seen = t.context("transcript", self._session, self._threshold, *statements)
        self._transcript = hashlib.sha256(seen).digest()
        secrets_in_order = [s for pair in zip(self._round_keys, self._seeds, strict=True) for s in pair]
        dealt = [shamir.share(secret, self._threshold, len(self._names)) for secret in secrets_in_order]
        shares = {name: [one[self._names.index(name)] for one in dealt] for name in advertisements}
        self._shares = {self._company: shares[self._company]}
        sealed = {}
        for name in peers:
            common = _exchange(self._share_key, self._peers[name].share_key)
            self._opening_keys[name] = self._sealing_key(common, name, self._company)
            cipher = ChaCha20Poly1305(self._sealing_key(common, self._company, name))
            sealed[name] = cipher.encrypt(bytes(12), self._contribution + b"".join(shares[name]), None)
            pairs = zip(self._round_keys, self._peers[name].round_keys, strict=True)
            self._pair_secrets[name] = [_exchange(own, theirs) for own, theirs in pairs]
        self._share_key, self._round_keys = b"", []
        return sealed

    def accept(self, sealed: Mapping[str, bytes]) -> bytes:
        """Opens the peers' messages, fixes cohort and key, and signs the cohort (§4.3.5)."""
        expect(len(sealed) >= self._quorum - 1, "messages of a quorum")
        expect(
            set(sealed) < set(self._peers) and self._company not in sealed, "messages of other advertisers"
        )
        contributions, shares = {self._company: self._contribution}, dict(self._shares)
        for name, message in sealed.items():
            expect(len(message) == 32 + 2 * _SHARE * self._rounds + 16, "a message of the right length")
            try:
                cipher = ChaCha20Poly1305(self._opening_keys[name])
                plaintext = cipher.decrypt(bytes(12), message, None)
            except InvalidTag:
                raise RefusedError(f"a message that opens expected from {name}") from None
            contributions[name] = plaintext[:32]
            commitment = self._contribution_commitment(name, plaintext[:32])
            expect(commitment == self._peers[name].contribution_commitment, f"the contribution of {name}")
            shares[name] = [plaintext[i : i + _SHARE] for i in range(32, len(plaintext), _SHARE)]
            expect(all(int.from_bytes(s) < shamir.PRIME for s in shares[name]), f"shares of {name} in range")
        self.members, self._shares = sorted(contributions), shares
        info = t.context("cohort-key", self._session, self._transcript, *self.members)
        self.cohort_key = _hkdf(b"".join(contributions[name] for name in self.members), info)
        statement = t.cohort_statement(self._session, self._transcript, self.members)
        own = t.sign(self._key, "noren/v1/secagg/cohort", statement)
        self.confirm({self._company: own})
        return own

    def confirm(self, signatures: Mapping[str, bytes]) -> None:
        """Takes the members whose signature over our cohort verifies."""
        statement = t.cohort_statement(self._session, self._transcript, self.members)
        for name, signature in signatures.items():
            expect(name in self.members, "signatures of members")
            t.verify(self._roster[name], "noren/v1/secagg/cohort", statement, signature)
            self._confirmed.add(name)

    def mask(self, round_number: int, vector: NDArray[np.int64], *, sentinels: int = 0) -> bytes:
        """The masked input: vector, blind, self-mask and pair masks, modulo 2^64 (§4.3.2, §4.4)."""
        expect(self._last_round < round_number <= self._rounds, "a round above the last one")
        self._last_round, self._may_unmask = round_number, True
        total = vector.astype(np.uint64)
        total[: len(vector) - sentinels] += self._blind(round_number, len(vector) - sentinels)
        info = t.context("self-mask", self._session, round_number, self._company)
        total += _stream(_hkdf(self._seeds[round_number - 1], info), len(vector))
        for name in self.members:
            if name == self._company:
                continue
            low, high = sorted((name, self._company))
            keys = [self._peers[n].round_keys[round_number - 1] for n in (low, high)]
            info = t.context("pair-mask", self._session, round_number, low, high, *keys)
            pair = _stream(_hkdf(self._pair_secrets[name][round_number - 1], info), len(vector))
            total = total + pair if low == self._company else total - pair
        return total.astype("<u8").tobytes()

    def unmask(self, round_number: int, survivors: Sequence[str]) -> tuple[list[wire.PeerShare], bytes]:
        """One share for every member of the cohort, and the signature over the survivors (§4.3.7)."""
        expect(self._may_unmask and round_number == self._last_round, "a round that awaits its unmasking")
        expect(len(set(survivors)) == len(survivors) >= self._quorum, "a quorum of distinct survivors")
        expect(self._company in survivors and set(survivors) <= self._confirmed, "confirmed survivors and us")
        self._may_unmask, self._answered[round_number] = False, sorted(survivors)
        shares = []
        for name in self.members:
            survived = name in survivors
            share = self._shares[name][2 * (round_number - 1) + survived]
            shares.append(wire.PeerShare(company=name, is_self_mask=survived, share=share))
        statement = t.survivors_statement(self._session, round_number, survivors)
        return shares, t.sign(self._key, "noren/v1/secagg/survivors", statement)

    def check_survivors(self, round_number: int, survivors: list[str]) -> None:
        """That an aggregate's survivors are ones that we can vouch for (§4.1.5)."""
        expect(survivors == sorted(set(survivors)), "sorted, distinct survivors")
        expect(set(survivors) <= self._confirmed, "confirmed survivors")
        expect(self._answered.get(round_number, survivors) == survivors, "the survivors that we signed")

    def unblind(self, round_number: int, aggregate: bytes, survivors: int) -> NDArray[np.int64]:
        """The sum of the survivors' vectors from the platform's blinded one (§4.4)."""
        values = np.frombuffer(aggregate, "<i8").astype(np.uint64)
        blinds = self._blind(round_number, len(values)) * np.uint64(survivors)
        return (values - blinds).astype(np.int64)

    def _blind(self, round_number: int, length: int) -> NDArray[np.uint64]:
        said = b"noren/v1/cohort-blind\0" + self._session + round_number.to_bytes(4)
        return _stream(hmac.digest(self.cohort_key, said, "sha256"), length)

    def _checked_statement(self, name: str, advertisement: wire.Advertisement) -> bytes:
        lists = (advertisement.round_keys, advertisement.seed_commitments)
        expect(all(len(values) == self._rounds for values in lists), "one key and commitment for every round")
        values = (advertisement.share_key, advertisement.contribution_commitment, *lists[0], *lists[1])
        expect(all(len(value) == 32 for value in values), "keys and commitments of 32 bytes")
        statement = t.advertisement_statement(self._session, name, advertisement)
        t.verify(self._roster[name], "noren/v1/secagg/advertisement", statement, advertisement.signature)
        return statement

    def _sealing_key(self, common: bytes, sender: str, recipient: str) -> bytes:
        return _hkdf(common, t.context("sealed-shares", self._session, self._transcript, sender, recipient))

    def _seed_commitment(self, round_number: int, seed: bytes) -> bytes:
        said = t.context("seed-commitment", self._session, round_number, self._company, seed)
        return hashlib.sha256(said).digest()

    def _contribution_commitment(self, company: str, contribution: bytes) -> bytes:
        said = t.context("contribution-commitment", self._session, company, contribution)
        return hashlib.sha256(said).digest()


def _clamped(key: bytes) -> bytes:
    return bytes([key[0] & 248, *key[1:31], key[31] & 127 | 64])


def _public(key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def _exchange(own: bytes, theirs: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(own).exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise RefusedError("a usable key expected") from None


def _hkdf(secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, info).derive(secret)


def _stream(key: bytes, length: int) -> NDArray[np.uint64]:
    cipher = Cipher(ChaCha20(key, bytes(16)), None).encryptor()
    return np.frombuffer(cipher.update(bytes(8 * length)), "<u8")

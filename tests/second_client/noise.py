"""Commitment, beacon and exact noise of a round (protocol §4.2.1, §4.2.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import isqrt
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from . import expect
from .ledger import Entry
from .merkle_proof import log_key, read_checkpoint, unsigned_checkpoint, witnesses_of

Row = tuple[bytes, Sequence[int], int]


def fields(*values: bytes | str | int) -> bytes:
    """Each after its length (§4.1.1)."""
    encoded = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return b"".join(len(value).to_bytes(4) + value for value in encoded)


def seed_commitment(company: str, campaign: str, seed: bytes) -> bytes:
    """What a company says of its seed before the beacon."""
    return hashlib.sha256(b"noren/v1/noise-seed\0" + fields(company, campaign, seed)).digest()


def rows_root(rows: Sequence[Row], salt: bytes) -> bytes:
    """What it says of its rows, given as tag, coordinates and label."""
    leaves = []
    contents = [b""]
    for tag, coordinates, label in sorted(rows):
        values = b"".join((value % 2**16).to_bytes(2, "little") for value in coordinates)
        contents.append(tag + values + bytes([label]))
    for said in contents:
        leaf = hmac.digest(salt, b"noren/v1/training-row\0" + said, "sha256")
        leaves.append(hashlib.sha256(b"\0" + leaf).digest())
    expect(len({tag for tag, _, _ in rows}) == len(rows), "each tag once")
    return _root(leaves)


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, as it is written there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(leaves[:split]) + _root(leaves[split:])).digest()


def read_beacon(
    proven: Mapping[int, Entry], plan: Mapping[str, Any], *, commitment: bytes, intent: bytes, log_keys: Any
) -> bytes:
    """The beacon's value from a proof's entries; `log_keys` gives the log key that is current at a size."""
    beacons = [(index, entry) for index, entry in proven.items() if entry.kind == "beacon"]
    ours = [index for index, entry in proven.items() if entry.says(commitment)]
    intents = [index for index, entry in proven.items() if entry.says(intent)]
    expect((len(beacons), len(ours), len(intents)) == (1, 1, 1), "our commitment, one beacon and our intent")
    place, body = beacons[0][0], beacons[0][1].body
    expect(body["campaign"] == plan["campaign"], "the beacon of our campaign")
    note = body["checkpoint"].encode()
    size = unsigned_checkpoint(note).size
    expect(ours[0] < size <= place < intents[0], "our commitment before the beacon, our intent after it")
    read_checkpoint(note, log_key(log_keys(size)))
    seen = witnesses_of(note, plan["witnesses"]["keys"])
    expect(len(seen) >= plan["witnesses"]["quorum"], "enough witnesses")
    return beacon_value(note, plan["witnesses"]["keys"])


def beacon_value(note: bytes, keys: Sequence[str]) -> bytes:
    """Of the note as it would be with the line of the first of these cosigners that has one."""
    text, _, signatures = note.rpartition(b"\n\n")
    kept = b""
    for name, key_id, _ in (key.split("+", 2) for key in keys):
        prefix = f"\u2014 {name} ".encode()
        lines = [line for line in signatures.splitlines(keepends=True) if line.startswith(prefix)]
        own = [line for line in lines if base64.b64decode(line[len(prefix) :])[:4].hex() == key_id]
        expect(len(own) < 2, "one cosignature of a witness")
        if own:
            kept = own[0]
            break
    return hashlib.sha256(b"noren/v1/beacon\0" + text + b"\n\n" + kept).digest()


def round_key(seed: bytes, beacon: bytes, campaign: str, round_number: int) -> bytes:
    """K_r."""
    said = b"noren/v1/noise-round\0" + fields(beacon, campaign, round_number)
    return hmac.digest(seed, said, "sha256")


def variance(training: Mapping[str, Any], cohort: int) -> Fraction:
    """Of one company's noise in each coordinate."""
    deviation = (
        Fraction(training["noise_multiplier"]) * Fraction(training["clipping_norm"]) * training["grid"]
    )
    local = training["placement"] == "local"
    return deviation**2 if local else deviation**2 / (cohort - training["tolerated"])


class Sampler:
    """Discrete Gaussians from one key, one after the other (§4.2.2)."""

    def __init__(self, key: bytes) -> None:
        self._words = _words(key)

    def gaussian(self, wanted: Fraction) -> int:
        n, d = wanted.numerator, wanted.denominator
        t = isqrt(n // d) + 1
        while True:
            y = self._laplace(t)
            if self._exp((abs(y) * t * d - n) ** 2, 2 * n * t * t * d):
                return y

    def _laplace(self, t: int) -> int:
        while True:
            low, high = self._below(t), 0
            if not self._exp1(low, t):
                continue
            while self._exp1(1, 1):
                high += 1
            m = low + t * high
            if next(self._words) >= 2**63:
                return m
            if m:
                return -m

    def _exp(self, a: int, b: int) -> bool:
        while a > b:
            if not self._exp1(1, 1):
                return False
            a -= b
        return self._exp1(a, b)

    def _exp1(self, a: int, b: int) -> bool:
        k = 1
        while self._bernoulli(a, k * b):
            k += 1
        return k % 2 == 1

    def _bernoulli(self, a: int, b: int) -> bool:
        while True:
            places, a = divmod(a * 2**64, b)
            u = next(self._words)
            if u != places:
                return u < places

    def _below(self, b: int) -> int:
        while True:
            u = next(self._words) >> (64 - len(f"{b:b}"))
            if u < b:
                return u


def _words(key: bytes) -> Iterator[int]:
    cipher = Cipher(ChaCha20(key, bytes(16)), None).encryptor()
    while True:
        yield int.from_bytes(cipher.update(bytes(8)), "little")

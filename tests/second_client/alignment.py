"""Evaluating identifiers obliviously, the company's side (protocol §1)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from . import expect
from . import ristretto255 as group

_CONTEXT = b"OPRFV1-\x01-ristretto255-SHA512"


def prepare(kind: str, identifier: str, position: str) -> bytes:
    """The input of an identifier, `kind` being `consent-code` or `email` (§1.2)."""
    expect(re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", position), "a position's name")
    form = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", identifier).casefold())
    text = form.strip().encode()
    expect(kind in {"consent-code", "email"} and 1 <= len(text) <= 512, "an identifier of 1 to 512 bytes")
    return kind.encode() + b"\0" + position.encode() + b"\0" + text


@dataclass(frozen=True, slots=True)
class Batch:
    """What is kept until the answer comes: inputs (identifiers, then dummies), blinds, blinded elements."""

    identifiers: tuple[bytes, ...]
    inputs: tuple[bytes, ...]
    blinds: tuple[int, ...]
    blinded: tuple[bytes, ...]


def begin(identifiers: Sequence[bytes], padded_batch: int) -> Batch:
    """A batch of exactly `padded_batch` blinded elements (§1.3)."""
    distinct = tuple(dict.fromkeys(identifiers))
    expect(len(distinct) <= padded_batch, "no more identifiers than the plan declares")
    dummies = (b"dummy\0" + secrets.token_bytes(32) for _ in range(padded_batch - len(distinct)))
    inputs = (*distinct, *dummies)
    blinds = tuple(secrets.randbelow(group.ORDER - 1) + 1 for _ in inputs)
    return Batch(distinct, inputs, blinds, blind(blinds, inputs))


def blind(blinds: Sequence[int], inputs: Sequence[bytes]) -> tuple[bytes, ...]:
    """The blinded elements of these inputs."""
    return tuple((r * _hash_to_group(x)).encode() for r, x in zip(blinds, inputs, strict=True))


def finish(batch: Batch, evaluated: Sequence[bytes], proof: bytes, public_key: bytes) -> dict[bytes, bytes]:
    """The 64-byte outputs of the identifiers, after number, encodings and proof are verified."""
    expect(len(evaluated) == len(batch.blinded), "as many elements as were sent")
    answers = [group.decode(element) for element in evaluated]
    verify_proof(public_key, batch.blinded, evaluated, proof)
    outputs = {}
    for x, r, answer in zip(batch.inputs, batch.blinds, answers, strict=True):
        unblinded = pow(r, -1, group.ORDER) * answer
        outputs[x] = hashlib.sha512(_lp(x) + _lp(unblinded.encode()) + b"Finalize").digest()
    return {x: outputs[x] for x in batch.identifiers}


def verify_proof(
    public_key: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes
) -> None:
    """That one key `k` with `public_key = k·A` made all `evaluated` of `blinded` (§1.4)."""
    expect(len(proof) == 64, "a proof of 64 bytes")
    c, s = (int.from_bytes(half, "little") for half in (proof[:32], proof[32:]))
    expect(0 < c < group.ORDER and 0 < s < group.ORDER, "canonical scalars other than zero")
    seed = hashlib.sha512(_lp(public_key) + _lp(b"Seed-" + _CONTEXT)).digest()
    m = z = group.IDENTITY
    for i, (sent, received) in enumerate(zip(blinded, evaluated, strict=True)):
        weight = _hash_to_scalar(_lp(seed) + i.to_bytes(2) + _lp(sent) + _lp(received) + b"Composite")
        m += weight * group.decode(sent)
        z += weight * group.decode(received)
    multiples = (m, z, s * group.BASE + c * group.decode(public_key), s * m + c * z)
    transcript = b"".join(_lp(multiple.encode()) for multiple in multiples)
    challenge = _hash_to_scalar(_lp(public_key) + transcript + b"Challenge")
    expect(hmac.compare_digest(challenge.to_bytes(32, "little"), proof[:32]), "a proof that holds")


def _hash_to_group(message: bytes) -> group.Element:
    return group.from_uniform_bytes(_expand(message, b"HashToGroup-" + _CONTEXT))


def _hash_to_scalar(message: bytes) -> int:
    return int.from_bytes(_expand(message, b"HashToScalar-" + _CONTEXT), "little") % group.ORDER


def _expand(message: bytes, tag: bytes) -> bytes:
    tag += len(tag).to_bytes(1)
    first = hashlib.sha512(bytes(128) + message + b"\x00\x40" + b"\x00" + tag).digest()
    return hashlib.sha512(first + b"\x01" + tag).digest()


def _lp(value: bytes) -> bytes:
    return len(value).to_bytes(2) + value

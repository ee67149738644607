"""What a company signs in training, and its signed replies (protocol §4.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from noren_core.wire.v1 import training_pb2 as wire

from . import RefusedError


def context(purpose: str, *fields: bytes | str | int) -> bytes:
    """`noren/v1/secagg`, purpose and fields, each after its length (§4.1.1)."""
    encoded = [f if isinstance(f, bytes) else str(f).encode() for f in ("noren/v1/secagg", purpose, *fields)]
    return b"".join(len(f).to_bytes(4) + f for f in encoded)


def sign(key: Ed25519PrivateKey, label: str, statement: bytes) -> bytes:
    """A signature over `label ‖ 0 ‖ statement` (§0.1)."""
    return key.sign(label.encode() + b"\0" + statement)


def verify(key: bytes, label: str, statement: bytes, signature: bytes) -> None:
    """Raises `RefusedError` unless `key` made the signature."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, label.encode() + b"\0" + statement)
    except (InvalidSignature, ValueError):
        raise RefusedError(f"a signature {label} expected") from None


def advertisement_statement(session: bytes, company: str, advertisement: wire.Advertisement) -> bytes:
    """What an advertisement's signature is over (§4.1.2)."""
    return context(
        "advertisement",
        session,
        company,
        len(advertisement.round_keys),
        advertisement.share_key,
        advertisement.contribution_commitment,
        *advertisement.round_keys,
        *advertisement.seed_commitments,
    )


def cohort_statement(session: bytes, transcript: bytes, members: Iterable[str]) -> bytes:
    """What a cohort signature is over."""
    return context("cohort", session, transcript, *sorted(members))


def survivors_statement(session: bytes, round_number: int, survivors: Iterable[str]) -> bytes:
    """What a member's word about a round's survivors is over."""
    stated = {"round": round_number, "session": session.hex(), "survivors": sorted(survivors)}
    return json.dumps(stated, separators=(",", ":")).encode()


def signed_reply(key: Ed25519PrivateKey, company: str, request: bytes, reply: wire.TrainingReply) -> bytes:
    """The serialised `SignedReply` to the request as it came."""
    body = reply.SerializeToString(deterministic=True)
    hashes = b"".join(hashlib.sha256(part).digest() for part in (company.encode(), request, body))
    signature = sign(key, "noren/v1/training-reply", hashes)
    return wire.SignedReply(reply=body, signature=signature).SerializeToString(deterministic=True)

"""The ciphersuite ristretto255-SHA512 of RFC 9497 §4.1: what binds a hash to protocol, mode and purpose.

docs/protocol.md §1.1 spells every context string and domain separation tag out.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

from noren_core.crypto import sodium

IDENTIFIER = b"ristretto255-SHA512"
ELEMENT_BYTES = sodium.POINT_BYTES  # Ne
SCALAR_BYTES = sodium.SCALAR_BYTES  # Ns
OUTPUT_BYTES = 64  # Nh

_UNIFORM_BYTES = (64).to_bytes(2, "big")
_SHA512_BLOCK = bytes(128)


class Mode(IntEnum):
    """RFC 9497 §3.1. The third mode, POPRF, is not used here."""

    OPRF = 0x00
    VOPRF = 0x01


def context_string(mode: Mode) -> bytes:
    """RFC 9497 §3.1, CreateContextString."""
    return b"OPRFV1-" + bytes([mode]) + b"-" + IDENTIFIER


_GROUP_TAGS = tuple(b"HashToGroup-" + context_string(mode) for mode in Mode)
_SCALAR_TAGS = tuple(b"HashToScalar-" + context_string(mode) for mode in Mode)


def hash_to_group(message: bytes, mode: Mode) -> bytes:
    """RFC 9497 §4.1, HashToGroup (hash_to_ristretto255 of RFC 9380 appendix B)."""
    return sodium.hash_to_point(_expand_message_xmd(message, _GROUP_TAGS[mode]))


def hash_to_scalar(message: bytes, mode: Mode) -> bytes:
    """RFC 9497 §4.1, HashToScalar."""
    return hash_to_scalar_with_tag(message, _SCALAR_TAGS[mode])


def hash_to_scalar_with_tag(message: bytes, domain_separation_tag: bytes) -> bytes:
    """HashToScalar under a caller's domain separation tag, as DeriveKeyPair needs it (RFC 9497 §3.2.1)."""
    return sodium.reduce_scalar(_expand_message_xmd(message, domain_separation_tag))


def length_prefixed(*parts: bytes) -> bytes:
    """I2OSP(len(part), 2) ‖ part for every part; the prefix makes the concatenation unambiguous."""
    return b"".join([len(part).to_bytes(2, "big") + part for part in parts])


def _expand_message_xmd(message: bytes, domain_separation_tag: bytes) -> bytes:
    """RFC 9380 §5.3.1 with SHA-512 for 64 bytes, where ell = 1 and the result is b_1 alone."""
    tag_prime = domain_separation_tag + bytes([len(domain_separation_tag)])
    b_0 = hashlib.sha512(_SHA512_BLOCK + message + _UNIFORM_BYTES + b"\0" + tag_prime).digest()
    return hashlib.sha512(b_0 + b"\1" + tag_prime).digest()

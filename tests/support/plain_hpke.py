"""HPKE (RFC 9180) in base mode with X25519, HKDF-SHA256 and AES-256-GCM, written out step by step.

A slow reference for tests: every name is that of the RFC. Only HMAC, X25519 and AES-256-GCM are taken from
elsewhere.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM_ID, KDF_ID, AEAD_ID = 0x0020, 0x0001, 0x0002
ENC_BYTES, KEY_BYTES, NONCE_BYTES = 32, 32, 12

_KEM_SUITE = b"KEM" + KEM_ID.to_bytes(2, "big")
_HPKE_SUITE = b"HPKE" + b"".join(part.to_bytes(2, "big") for part in (KEM_ID, KDF_ID, AEAD_ID))


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """§4: HKDF-Extract with a label."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """§4: HKDF-Expand with a label, for at most one block."""
    return hmac.digest(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\1", "sha256")[
        :length
    ]


def key_schedule(dh: bytes, *, enc: bytes, public: bytes, info: bytes) -> tuple[bytes, bytes]:
    """§4.1 and §5.1: key and base nonce."""
    eae_prk = labeled_extract(_KEM_SUITE, b"", b"eae_prk", dh)
    shared_secret = labeled_expand(_KEM_SUITE, eae_prk, b"shared_secret", enc + public, 32)
    psk_id_hash = labeled_extract(_HPKE_SUITE, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(_HPKE_SUITE, b"", b"info_hash", info)
    context = b"\0" + psk_id_hash + info_hash
    secret = labeled_extract(_HPKE_SUITE, shared_secret, b"secret", b"")
    return (
        labeled_expand(_HPKE_SUITE, secret, b"key", context, KEY_BYTES),
        labeled_expand(_HPKE_SUITE, secret, b"base_nonce", context, NONCE_BYTES),
    )


def receiver(private: bytes, *, enc: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and base nonce as the receiver has them."""
    key = X25519PrivateKey.from_private_bytes(private)
    dh = key.exchange(X25519PublicKey.from_public_bytes(enc))
    return key_schedule(dh, enc=enc, public=key.public_key().public_bytes_raw(), info=info)


def open_sealed(private: bytes, sealed: bytes, *, info: bytes) -> bytes:
    """What `enc ‖ ciphertext` says, without associated data."""
    enc, ciphertext = sealed[:ENC_BYTES], sealed[ENC_BYTES:]
    key, nonce = receiver(private, enc=enc, info=info)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def seal(public: bytes, plaintext: bytes, *, info: bytes, ephemeral: bytes) -> bytes:
    """`enc ‖ ciphertext` under this ephemeral key."""
    key = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = key.public_key().public_bytes_raw()
    dh = key.exchange(X25519PublicKey.from_public_bytes(public))
    secret, nonce = key_schedule(dh, enc=enc, public=public, info=info)
    return enc + AESGCM(secret).encrypt(nonce, plaintext, b"")

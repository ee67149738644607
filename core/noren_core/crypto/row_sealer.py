"""ChaCha20-Poly1305 (RFC 8439) for a million short payloads, each under a key of its own.

`cryptography` makes an object for each key, which takes longer than the encryption. libsodium's function
takes the key as an argument, so one call is all. Promises: the bytes are those of `cryptography`'s
construction (a test compares them), and nothing of another length reaches C. Not for several threads at once:
a sealer has one buffer.
"""

from __future__ import annotations

import ctypes

from noren_core.crypto import sodium
from noren_core.errors import DataError

KEY_BYTES = 32
AUTHENTICATOR_BYTES = 16
_NONCE_BYTES = 12


class RowSealer:
    """Encrypts payloads of one length with associated data of one length, under the zero nonce.

    The caller sees to it that a key is used once; under a constant nonce a second payload would open both.
    """

    def __init__(self, *, payload_bytes: int, associated_bytes: int) -> None:
        """Prepare the buffer; ConfigurationError if there is no libsodium."""
        self._encrypt = sodium.open_library()["crypto_aead_chacha20poly1305_ietf_encrypt"]
        self._payload_bytes = payload_bytes
        self._associated_bytes = associated_bytes
        self._output = ctypes.create_string_buffer(payload_bytes + AUTHENTICATOR_BYTES)
        # Converted once: with argument types, ctypes would do so in every call.
        self._output_pointer = ctypes.c_void_p(ctypes.addressof(self._output))
        self._payload_length = ctypes.c_ulonglong(payload_bytes)
        self._associated_length = ctypes.c_ulonglong(associated_bytes)
        self._nonce = ctypes.c_char_p(bytes(_NONCE_BYTES))

    def seal(self, key: bytes, payload: bytes, associated: bytes) -> bytes:
        """Ciphertext ‖ authenticator of one payload.

        Raises:
            DataError: if key, payload or associated data has another length, or is not bytes.
        """
        if not (
            type(key) is type(payload) is type(associated) is bytes
            and len(key) == KEY_BYTES
            and len(payload) == self._payload_bytes
            and len(associated) == self._associated_bytes
        ):
            raise DataError(
                "row: expected key, payload and associated data of the declared lengths, got others"
            )
        self._encrypt(
            self._output_pointer,
            None,
            payload,
            self._payload_length,
            associated,
            self._associated_length,
            None,
            self._nonce,
            key,
        )
        return self._output.raw

"""Scoring many students in one lattice ciphertext (BFV, SEAL through TenSEAL): a first design.

A slot for each student; the company sends an encryption of each weight, the platform multiplies by the
features and adds. A fresh uniform mask in every slot hides the scores: the company gets the masks of its own
applicants only. Loading checks that what came is a valid ciphertext. TenSEAL offers nothing that would flood
the noise or prove that a ciphertext was made honestly.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tenseal.sealapi as seal
import zstandard

SLOTS = 8192
MODULUS_BITS = (43, 43, 44, 44, 44)
PLAIN_MODULUS = 4079617
"""A prime that is 1 modulo 16384, so that there are slots."""


class PackedScoring:
    """The platform."""

    def __init__(self, features: npt.NDArray[np.int64]) -> None:
        self._features = features
        self._context = context(PLAIN_MODULUS)

    def score(self, public_key: bytes, weights: list[bytes]) -> bytes:
        """One ciphertext with every student's score, masked."""
        encoder, evaluator = seal.BatchEncoder(self._context), seal.Evaluator(self._context)
        total = None
        for weight, column in zip(weights, self._features.T, strict=True):
            product = seal.Ciphertext(self._context)
            evaluator.multiply_plain(
                load(seal.Ciphertext(self._context), self._context, weight), slots(encoder, column), product
            )
            if total is None:
                total = product
            else:
                evaluator.add_inplace(total, product)
        masks = np.random.default_rng().integers(0, PLAIN_MODULUS, SLOTS)
        key = load(seal.PublicKey(), self._context, public_key)
        encrypted = seal.Ciphertext(self._context)
        seal.Encryptor(self._context, key).encrypt(slots(encoder, masks), encrypted)
        evaluator.add_inplace(total, encrypted)
        return save(total)


def context(plain_modulus: int) -> Any:
    """128-bit security, SEAL's own check."""
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(SLOTS)
    parameters.set_coeff_modulus(seal.CoeffModulus.Create(SLOTS, list(MODULUS_BITS)))
    parameters.set_plain_modulus(plain_modulus)
    return seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)


def slots(encoder: Any, values: npt.NDArray[np.int64]) -> Any:
    """A plaintext with one value in each slot."""
    plain = seal.Plaintext()
    centred = (values + PLAIN_MODULUS // 2) % PLAIN_MODULUS - PLAIN_MODULUS // 2
    encoder.encode([int(value) for value in centred], plain)
    return plain


def slot_values(seal_context: Any, coefficients: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What stands in the slots of the plaintext polynomial with these coefficients."""
    terms = [(int(value) % PLAIN_MODULUS, power) for power, value in enumerate(coefficients)]
    text = " + ".join(
        f"{value:X}x^{power}" if power else f"{value:X}" for value, power in terms[::-1] if value
    )
    return np.array(seal.BatchEncoder(seal_context).decode_int64(seal.Plaintext(text))[:SLOTS])


def save(value: Any) -> bytes:
    """SEAL's serialisation; TenSEAL's interface knows files only."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "value"
        value.save(str(path))
        return path.read_bytes()


def load(target: Any, seal_context: Any, data: bytes) -> Any:
    """What `save` wrote, if SEAL finds it valid."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "value"
        path.write_bytes(data)
        target.load(seal_context, str(path))
    return target


def relabel(data: bytes, old: Any, new: Any) -> bytes:
    """The same polynomials under another context of the same modulus: only the label in the file changes."""
    body = zstandard.ZstdDecompressor().decompressobj().decompress(data[16:])
    for name in ("first_parms_id", "key_parms_id"):
        was, becomes = getattr(old, name)(), getattr(new, name)()
        body = body.replace(struct.pack("<4Q", *was), struct.pack("<4Q", *becomes))
    return data[:5] + bytes(3) + struct.pack("<Q", 16 + len(body)) + body

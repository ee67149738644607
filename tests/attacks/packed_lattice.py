"""Ciphertexts that carry a feature of every student past the masks.

In a lattice ciphertext the message sits above the noise, and masks are messages. A company whose own
plaintext modulus is larger puts its weight where the platform sees noise: what comes back lies below the
masks, and nothing floods it. Ours has one ciphertext for each student, uniform whatever was sent, and sealed.
"""

from __future__ import annotations

import importlib.util

import numpy as np
from attack import Attack, NotAvailableError, Result, System
from heads import basis
from system_platform import CONSENTING, features, plan, running_platform

from noren_core.crypto.head_encryption import CIPHERTEXT_BYTES, HeadSecret, encrypt_head
from noren_core.crypto.sealed_table import TAG_BYTES
from noren_core.crypto.secp256k1 import POINT_BYTES
from noren_core.errors import NorenError
from noren_core.ids import TableKind
from noren_core.season.head_message import head_binding

FEATURE = 3
DIMENSIONS = 8
NEEDED = ("tenseal", "zstandard")
SPREAD = 2**24
"""How much larger the company's plaintext modulus is; more than a feature's range in any encoding."""


def read_packed() -> Result:
    """A weight of one, below the masks, for one feature; zero for the others."""
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise NotAvailableError("needs TenSEAL: .venv/bin/pip install tenseal==0.3.18 zstandard")
    import naive_lattice as packed
    import tenseal.sealapi as seal

    hidden = np.random.default_rng(7).integers(-128, 128, (packed.SLOTS, DIMENSIONS))
    platform = packed.PackedScoring(hidden)
    theirs, own = packed.context(packed.PLAIN_MODULUS), packed.context(packed.PLAIN_MODULUS * SPREAD)
    generator = seal.KeyGenerator(own)
    public = seal.PublicKey()
    generator.create_public_key(public)
    weights = []
    for index in range(DIMENSIONS):
        weight = seal.Ciphertext(own)
        seal.Encryptor(own, public).encrypt(seal.Plaintext("1" if index == FEATURE else "0"), weight)
        weights.append(packed.relabel(packed.save(weight), own, theirs))
    answer = platform.score(packed.relabel(packed.save(public), own, theirs), weights)
    opened = seal.Plaintext()
    masked = packed.load(seal.Ciphertext(own), own, packed.relabel(answer, theirs, own))
    seal.Decryptor(own, generator.secret_key()).decrypt(masked, opened)
    low = [opened.data(i) % SPREAD if i < opened.coeff_count() else 0 for i in range(packed.SLOTS)]
    centred = np.array(low, np.int64)
    centred[centred >= SPREAD // 2] -= SPREAD
    right = int((packed.slot_values(theirs, centred) == hidden[:, FEATURE]).sum())
    return Result(
        right > packed.SLOTS // 2, f"one feature of {right} of {packed.SLOTS} students, no mask known"
    )


def read_sealed() -> Result:
    """The head that is the feature, honestly proved; then every row of the table, opened or not.

    1. Open one's own applicant, as anybody may.
    2. Read every row as if it were not sealed, and as if it were sealed with the keystream of the opened row.
    """
    own, others = CONSENTING["alpha"][0], CONSENTING["alpha"][1:]
    secret, message = encrypt_head(
        [basis(FEATURE).tolist()], weight_bits=8, binding=head_binding(plan(), "alpha")
    )
    with running_platform() as platform:
        platform.submit_head(plan(), message)
        opened = platform.open_scores(plan(), [own])[own]  # 1
        rows = platform.table_rows(plan(), TableKind.SCORE)
    sealed = [row[TAG_BYTES : TAG_BYTES + CIPHERTEXT_BYTES] for row in rows]
    streams = [xor(row, opened) for row in sealed]  # 2
    read = 0
    for place, row in enumerate(sealed):
        # Under the keystream that would open it to the opened row, every row says what is known already.
        tried = [row, *(xor(row, stream) for other, stream in enumerate(streams) if other != place)]
        read += any(score(secret, ciphertext) for ciphertext in tried)
    own_value = score(secret, opened)
    return Result(
        read > 0 or own_value != [int(features()[own, FEATURE])],
        f"one feature of {read} of {len(others)} students whose rows stay closed, and of the applicant",
    )


def score(secret: HeadSecret, ciphertext: bytes) -> list[int]:
    """The score, if these bytes are a ciphertext of a small one."""
    if ciphertext[0] not in {2, 3} or ciphertext[POINT_BYTES] not in {2, 3}:
        return []
    try:
        return secret.decrypt([ciphertext], bound=128)
    except NorenError:
        return []


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


ATTACKS = (
    Attack(
        name="crafted ciphertexts",
        attacker="company",
        aim="read a feature of every student, opened or not",
        systems=(
            System("packed lattice scoring with masks", False, read_packed),
            System("Noren", True, read_sealed),
        ),
    ),
)

"""Runs in TenSEAL's own environment: packed BFV scoring, one JSON object on stdout.

Every ciphertext holds one weight for a block of students. Without flooding, as any user of the library
would write it: a crafted head reads the features of the block (docs/attacks.md), so this is a figure for
speed only.

Usage: tenseal_bfv.py DIMENSIONS
"""

import json
import secrets
import sys
import time

import tenseal

SLOTS = 8192
PLAIN_MODULUS = 1073692673  # 30 bits, 1 modulo 2 * SLOTS


def main(dimensions: int) -> None:
    """CPU µs per student of one block."""
    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=SLOTS, plain_modulus=PLAIN_MODULUS, n_threads=1
    )
    weights = [(secrets.randbelow(256) - 128) for _ in range(dimensions)]
    features = [[(secrets.randbelow(256) - 128) for _ in range(SLOTS)] for _ in range(dimensions)]
    encrypted = [tenseal.bfv_vector(context, [weight] * SLOTS) for weight in weights]
    start = time.process_time()
    total = encrypted[0] * features[0]
    for weight, feature in zip(encrypted[1:], features[1:], strict=True):
        total += weight * feature
    cost = (time.process_time() - start) / SLOTS * 1e6
    expected = [sum(w * f[row] for w, f in zip(weights, features, strict=True)) for row in range(SLOTS)]
    if total.decrypt() != expected:
        sys.exit("expected the exact scores, got others")
    print(json.dumps({"us_per_student": cost}))


main(int(sys.argv[1]))

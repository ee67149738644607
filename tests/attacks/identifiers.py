"""Guessing the people behind what is exchanged: with a small dictionary, off line, without limit.

Names make addresses, so some thousand guesses cover most of a class. A salted hash can be tested by whoever
has the salt, and both sides have it. A blinded element cannot be tested at all, a tag not without the key.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterable

from attack import Attack, Result, System
from naive_join import salted_hashes
from whole_table import seal_table

from noren_core.crypto import oprf, sodium
from noren_core.crypto.oprf_suite import Mode, hash_to_group
from noren_core.crypto.sealed_table import OPRF_OUTPUT_BYTES, TAG_BYTES, TableContext, row_secrets
from noren_core.crypto.secret import SecretBytes
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier

FIRST_NAMES = ("akira", "hana", "haruto", "hina", "kenji", "mei", "misaki", "ren", "riku", "sakura", "sora")
LAST_NAMES = (
    "abe",
    "endo",
    "fujii",
    "goto",
    "hara",
    "ito",
    "kato",
    "kimura",
    "mori",
    "nakano",
    "ono",
    "sato",
)
DOMAINS = ("example.org", "mail.example", "univ.example")
APPLICANTS = 40


def dictionary() -> list[bytes]:
    """Every address that somebody of these names would have."""
    return [
        normalise_identifier(
            IdentifierKind.EMAIL, pattern.format(first=first, last=last, domain=domain), "clerk"
        )
        for first, last, domain in itertools.product(FIRST_NAMES, LAST_NAMES, DOMAINS)
        for pattern in ("{first}.{last}@{domain}", "{last}.{first}@{domain}", "{first}{last}@{domain}")
    ]


def applicants(guesses: list[bytes]) -> list[bytes]:
    """The truth: some of the dictionary, at random."""
    return secrets.SystemRandom().sample(guesses, APPLICANTS)


def guess_salted_hashes() -> Result:
    """The platform has the company's upload and the salt."""
    guesses = dictionary()
    truth, salt = applicants(guesses), secrets.token_bytes(16)
    uploaded = salted_hashes(truth, salt)
    found = [guess for guess in guesses if hashlib.sha256(salt + guess).digest() in uploaded]
    return result(found, truth, guesses)


def guess_blinded_elements() -> Result:
    """The platform has a batch of blinded elements, its own key and answers, and any time it likes."""
    guesses = dictionary()
    truth, key = applicants(guesses), oprf.generate_key_pair()
    sent = oprf.blind(truth).blinded_elements
    evaluated, proof = oprf.blind_evaluate(key, sent)
    seen = {*sent, *evaluated, proof[:32], proof[32:]}
    # What a platform can make of a guess: the element under small blinds, its key, and its key's inverse.
    small = [SecretBytes(number.to_bytes(32, "little")) for number in range(1, 4)]
    scalars = [key.scalar, sodium.invert_scalar(key.scalar), *small]
    found = [
        guess
        for guess in guesses
        if seen & {sodium.multiply(scalar, hash_to_group(guess, Mode.VOPRF)) for scalar in scalars}
    ]
    return result(found, truth, guesses)


def guess_tags() -> Result:
    """A thief has the table, its manifest, the public key, and another company's key."""
    guesses = dictionary()
    truth, key, own_key = applicants(guesses), oprf.generate_key_pair(), oprf.generate_key_pair()
    context = TableContext.fresh(company="alpha", campaign="spring", kind=TableKind.SCORE)
    rows = [(oprf.evaluate(key, person), bytes(66)) for person in truth]
    table = seal_table(context, rows, padded_rows=64, payload_bytes=66)
    data, width = b"".join(table.chunks), table.manifest.row_bytes
    tags = {data[start : start + TAG_BYTES] for start in range(0, len(data), width)}
    found = [
        guess
        for guess in guesses
        if tags & {row_secrets(output, context)[0] for output in made_up_outputs(guess, key.public_key)}
    ]
    found += [g for g in guesses[:500] if row_secrets(oprf.evaluate(own_key, g), context)[0] in tags]
    return result(found, truth, guesses)


def made_up_outputs(guess: bytes, public_key: bytes) -> Iterable[bytes]:
    """Outputs that need no key: hashes of the guess, alone and with all that is public."""
    for message in (guess, public_key + guess, guess + public_key):
        yield hashlib.sha512(message).digest()
        yield hashlib.blake2b(message, digest_size=OPRF_OUTPUT_BYTES).digest()
    element = hash_to_group(guess, Mode.VOPRF)
    yield oprf._hash_output(guess, element)
    yield oprf._hash_output(guess, public_key)


def result(found: Iterable[bytes], truth: Iterable[bytes], guesses: list[bytes]) -> Result:
    """Identifiers recovered, without false ones."""
    right = set(found) & set(truth)
    return Result(
        len(right) > 0, f"{len(right)} of {APPLICANTS} identifiers recovered with {len(guesses)} guesses"
    )


ATTACKS = (
    Attack(
        name="dictionary on identifiers",
        attacker="platform, or a thief with the exchanged data",
        aim="recover the applicants' addresses off line",
        systems=(
            System("join by salted hashes", False, guess_salted_hashes),
            System("Noren: blinded elements, by the platform", True, guess_blinded_elements),
            System("Noren: table, by a thief", True, guess_tags),
        ),
    ),
)

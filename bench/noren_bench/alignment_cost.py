"""The oblivious function: what the platform pays for every student, and both sides for every applicant."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from noren_bench import bare_calls
from noren_bench.measurement import Goal, Row, least_in_turn, microseconds_each, wall_seconds
from noren_core.crypto import oprf
from noren_core.crypto.cores import available_cores
from noren_server.alignment import evaluate_identifiers

_KNOWN = 6_000
_BATCH = 1_024


def row(peers: dict[str, float]) -> Row:
    """VOPRF evaluation of a known identifier, with the interactive operations as details."""
    key = oprf.generate_key_pair()
    identifiers = [b"email\0" + secrets.token_hex(12).encode() for _ in range(_KNOWN)]
    one_thread = partial(evaluate_identifiers, key, identifiers, threads=1)
    ours, to_group, multiply = least_in_turn(
        partial(microseconds_each, one_thread, _KNOWN, repeats=1),
        bare_calls.hash_to_group,
        bare_calls.multiply,
    )
    floor = to_group + multiply
    goals = [Goal("ratio to bare libsodium", ours / floor, 1.15)]
    details = _interactive(key, identifiers[:_BATCH])
    if available_cores() >= 2:
        two_threads = partial(evaluate_identifiers, key, identifiers, threads=2)
        alone, both = least_in_turn(partial(wall_seconds, one_thread), partial(wall_seconds, two_threads))
        speed_up = alone / both
        goals.append(Goal("speed-up on two cores", speed_up, 1.8, is_maximum=False))
        details["speed_up_on_two_cores"] = speed_up
    return Row(
        work="VOPRF: evaluate a known identifier",
        unit="µs",
        ours=ours,
        floor=floor,
        floor_is="libsodium: map to the group, one multiplication",
        peers=peers,
        goals=tuple(goals),
        details=details,
    )


def _interactive(key: oprf.OprfPrivateKey, identifiers: list[bytes]) -> dict[str, float]:
    """µs per element of one batch, on one side or the other."""
    blinding = oprf.blind(identifiers)
    evaluated, proof = oprf.blind_evaluate(key, blinding.blinded_elements)
    steps: dict[str, Callable[[], object]] = {
        "blind_us": partial(oprf.blind, identifiers),
        "blind_evaluate_with_proof_us": partial(oprf.blind_evaluate, key, blinding.blinded_elements),
        "finalize_with_verification_us": partial(oprf.finalize, blinding, evaluated, proof, key.public_key),
    }
    return {name: microseconds_each(step, len(identifiers)) for name, step in steps.items()}

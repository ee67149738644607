"""A company that asks about people who did not apply to it: are they members, and how do they score?"""

from __future__ import annotations

import hashlib

from attack import Attack, Result, System
from naive_join import MatchingService
from system_platform import (
    ATTACKER,
    BATCH,
    CAMPAIGN,
    CONSENTING,
    DIMENSIONS,
    EVALUATIONS,
    STUDENTS,
    RunningPlatform,
    identifier,
    plan,
    running_platform,
)

from noren_client.transport import PlatformClient
from noren_core.crypto import oprf
from noren_core.crypto.head_encryption import encrypt_head
from noren_core.crypto.sealed_table import TAG_BYTES, row_secrets
from noren_core.errors import NorenError
from noren_core.ids import TableKind
from noren_core.season.head_message import head_binding

STRANGERS = 380
"""Names on the company's list that the platform does not know."""
MEMBERS = range(STUDENTS)
WITHOUT_CONSENT = [number for number in MEMBERS if number not in CONSENTING[ATTACKER]]


def probe_naive() -> Result:
    """A list of names, looked up one by one."""
    service = MatchingService({identifier(number): number for number in MEMBERS})
    names = range(STUDENTS + STRANGERS)
    found = [n for n in names if service.look_up(hashlib.sha256(identifier(n)).digest()) is not None]
    return result(found, len(names))


def probe_ours() -> Result:
    """The same list in batches: those without a consent first, in every size, until nothing is answered.

    For training, and for scoring by calling whole batches of strangers an offer. What is answered is looked
    for in both tables, whichever key it was answered under.
    """
    names = [*WITHOUT_CONSENT, *CONSENTING[ATTACKER], *range(STUDENTS, STUDENTS + STRANGERS)]
    outputs: list[tuple[int, bytes]] = []
    answered = 0
    with running_platform() as platform:
        submit_a_head(platform)
        batches = [names[:size] for size in (1, BATCH - 1, BATCH + 1, len(names))]
        batches += 2 * [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
        for ask in (evaluated, evaluated_for_scoring):
            for number, batch in enumerate(batches):
                found = ask(platform, batch)
                answered += len(found)
                outputs += found.items()
                if number % 5 == 4:
                    platform.restart()
        platform.wait_for_scores(plan())
        recognised = [n for kind in TableKind for n in recognisable(platform, kind, outputs)]
    return result(recognised, answered)


def submit_a_head(platform: RunningPlatform) -> None:
    """So that there is a score table, too."""
    _, message = encrypt_head([[1] * DIMENSIONS], weight_bits=8, binding=head_binding(plan(), ATTACKER))
    platform.submit_head(plan(), message)


def recognisable(platform: RunningPlatform, kind: TableKind, outputs: list[tuple[int, bytes]]) -> list[int]:
    """Those of the evaluated who have a row."""
    context = platform.manifest(plan(), kind).context
    tags = {row[:TAG_BYTES] for row in platform.table_rows(plan(), kind)}
    return [number for number, output in outputs if row_secrets(output, context)[0] in tags]


def evaluated(platform: RunningPlatform, numbers: list[int]) -> dict[int, bytes]:
    """The outputs for these names, if the platform answers a batch of them."""
    blinding = oprf.blind([identifier(number) for number in numbers])
    try:
        with PlatformClient(platform.company(ATTACKER)) as client:
            answer, proof = client.evaluate(CAMPAIGN, blinding.blinded_elements)
        outputs = oprf.finalize(blinding, answer, proof, platform.public_key(plan(), TableKind.TRAIN))
    except NorenError:
        return {}
    return dict(zip(numbers, outputs, strict=True))


def evaluated_for_scoring(platform: RunningPlatform, numbers: list[int]) -> dict[int, bytes]:
    """The outputs under the score key, if the platform takes a decision batch of these names."""
    try:
        return platform.pass_gate(plan(), numbers) if len(numbers) <= BATCH else {}
    except NorenError:
        return {}


def result(found: list[int], answered: int) -> Result:
    """Succeeded if somebody without a consent for this company was recognised, or too much was answered."""
    without = len(set(found) & set(WITHOUT_CONSENT))
    consenting = len(set(found) & set(CONSENTING[ATTACKER]))
    return Result(
        without > 0 or answered > EVALUATIONS + plan().gate.batches * BATCH,
        f"{without} of {len(WITHOUT_CONSENT)} members without consent recognised, {consenting} with; "
        f"{answered} of {STUDENTS + STRANGERS} look-ups answered",
    )


ATTACKS = (
    Attack(
        name="probing of non-applicants",
        attacker="company",
        aim="learn who of any list of names is a member",
        systems=(
            System("look-up by hash", False, probe_naive),
            System("Noren", True, probe_ours),
        ),
    ),
)

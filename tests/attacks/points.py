"""Group elements that are none: off the curve, of small order, the identity, not canonical.

The affine formulas of y² = x³ + 7 are those of y² = x³ as well, where multiplying by k is dividing by k: one
element, and the platform's key is known, with it the row of every member who can be guessed. And an X25519
exchange with a point of small order gives zero, whatever the private key: masks that anybody can compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from attack import Attack, Result, System
from naive_curves import FIELD, CurveOprf, tag, x25519
from naive_secagg import NaiveClient, pair_mask
from system_cohort import LENGTH, Cohort, correlation, update
from system_platform import ATTACKER, BATCH, CAMPAIGN, RunningPlatform, identifier, plan, running_platform

from noren_client.transport import PlatformClient
from noren_core.crypto import oprf
from noren_core.crypto.identity import seal_to
from noren_core.errors import NorenError
from noren_core.ids import TableKind
from noren_core.secagg.messages import ADVERTISEMENT_LABEL, Advertisement, advertisement_statement

GUESSED = 20
MEMBERS = 4
THRESHOLD = 3

# Elements in the place of blinded identifiers


def read_key_of_naive() -> Result:
    """One crafted element; then the tags of members whom nobody asked about."""
    server = CurveOprf()
    answer = server.evaluate_blinded((1, 1))  # on y² = x³
    key = answer[0] * pow(answer[1], -1, FIELD) % FIELD if answer else 0
    right = sum(tag(key, identifier(n)) == server.tag(identifier(n)) for n in range(GUESSED))
    return Result(
        right == GUESSED, f"key read with 1 element, {right} of {GUESSED} rows found without being asked for"
    )


def read_key_of_ours() -> Result:
    """Every kind of element that is none, each in a batch that is otherwise good."""
    good = list(oprf.blind([identifier(n) for n in range(BATCH)]).blinded_elements)
    with running_platform() as platform:
        answered = sum(is_answered(platform, [bad, *good[1:]]) for bad in bad_elements())
        with platform.platform.store.transaction() as transaction:
            stored = transaction.oprf_key(CAMPAIGN, ATTACKER, TableKind.TRAIN)
        counted = stored.evaluations if stored else -1
        still = is_answered(platform, good)
    return Result(
        answered > 0 or counted != 0 or not still,
        f"{answered} of {len(bad_elements())} crafted elements answered, {counted} evaluations counted; "
        f"a good batch after them {'is' if still else 'is NOT'} answered",
    )


def is_answered(platform: RunningPlatform, batch: list[bytes]) -> bool:
    try:
        with PlatformClient(platform.company(ATTACKER)) as client:
            client.evaluate(plan().campaign, batch)
    except NorenError:
        return False
    return True


def bad_elements() -> list[bytes]:
    """Bytes that encode no ristretto255 element other than the identity (RFC 9496, appendix A.3)."""
    prime = 2**255 - 19
    element = oprf.blind([b"x"]).blinded_elements[0]
    value = int.from_bytes(element, "little")
    numbers = (
        0,  # the identity
        1,  # a negative field element
        prime,  # zero in another spelling
        1 << 255,  # zero with the highest bit
        prime - 1,
        2**256 - 1,
        prime - value,  # a good element's negative spelling
        value | 1 << 255,
    )
    edwards = ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "58" + "66" * 31)
    lengths = (element[:31], element + b"\0", b"")
    return [*(n.to_bytes(32, "little") for n in numbers), *map(bytes.fromhex, edwards), *lengths]


# Keys in the place of a member's


def small_order_keys() -> tuple[bytes, ...]:
    """Every u-coordinate of small order on Curve25519 and its twist, in all spellings."""
    prime = 2**255 - 19
    of_order_8 = (
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
    values = (0, 1, *of_order_8, prime - 1, prime, prime + 1)
    return tuple(value.to_bytes(32, "little") for value in values)


def read_vector_of_naive() -> Result:
    """The platform hands the victim points of small order as the others' keys; all exchanges give zero."""
    names = [f"company-{number:02}" for number in range(MEMBERS)]
    victim = names[0]
    client = NaiveClient(victim, LENGTH, has_self_mask=False, agree=x25519)
    shown = {name: small_order_keys()[number] for number, name in enumerate(names)}
    client.share(shown, {name: number for number, name in enumerate(names, start=1)}, THRESHOLD)
    vector = client.mask(update(1))
    for name in names[1:]:
        vector -= pair_mask(bytes(32), victim, name, LENGTH)
    return Result(
        (found := correlation(vector, update(1))) > 0.9, f"correlation with the company's update {found:.2f}"
    )


def read_vector_of_ours() -> Result:
    """The same keys in one member's advertisement: put in by the platform, or signed by a helping company."""
    accepted = tried = sealed = 0
    for key in small_order_keys():
        sealed += seals_to(key)
        for is_share_key, is_signed in product((False, True), repeat=2):
            tried += 1
            cohort = Cohort(MEMBERS, threshold=THRESHOLD)
            victim, helper, *_ = cohort.names
            genuine = {name: client.advertise() for name, client in cohort.clients.items()}
            bad = with_key(
                cohort, helper, genuine[helper], key, is_share_key=is_share_key, is_signed=is_signed
            )
            by_server = server_takes(cohort, helper, bad)
            by_client = client_takes(cohort, victim, genuine | {helper: bad})
            # What was refused changed nothing: the genuine ones are taken.
            still = server_takes(cohort, helper, genuine[helper]) and client_takes(cohort, victim, genuine)
            accepted += by_server or by_client or not still
    return Result(
        accepted > 0 or sealed > 0,
        f"{accepted} of {tried} advertisements with such a key taken, genuine ones after them are; "
        f"{sealed} of {len(small_order_keys())} such keys sealed to",
    )


def with_key(
    cohort: Cohort,
    company: str,
    genuine: Advertisement,
    key: bytes,
    *,
    is_share_key: bool,
    is_signed: bool,
) -> Advertisement:
    """The company's advertisement with this key for sealing shares, or for round 1."""
    changed = (
        replace(genuine, share_key=key)
        if is_share_key
        else replace(genuine, round_keys=(key, *genuine.round_keys[1:]))
    )
    if not is_signed:
        return changed
    statement = advertisement_statement(cohort.group, company, changed)
    return replace(changed, signature=cohort.keys[company].sign(ADVERTISEMENT_LABEL, statement))


def server_takes(cohort: Cohort, company: str, advertisement: Advertisement) -> bool:
    try:
        cohort.server.add_advertisement(company, advertisement)
    except NorenError:
        return False
    return True


def client_takes(cohort: Cohort, company: str, shown: Mapping[str, Advertisement]) -> bool:
    try:
        cohort.clients[company].share(shown)
    except NorenError:
        return False
    return True


def seals_to(key: bytes) -> bool:
    try:
        seal_to(key, b"a cohort key", info=b"test")
    except NorenError:
        return False
    return True


ATTACKS = (
    Attack(
        name="crafted group elements",
        attacker="company",
        aim="read the platform's OPRF key",
        systems=(
            System("textbook curve arithmetic, points not checked", False, read_key_of_naive),
            System("Noren", True, read_key_of_ours),
        ),
    ),
    Attack(
        name="keys of small order",
        attacker="platform, with a helping company",
        aim="know the masks of a company's vector",
        systems=(
            System("raw X25519, result not checked", False, read_vector_of_naive),
            System("Noren", True, read_vector_of_ours),
        ),
    ),
)

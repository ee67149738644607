"""A company that wants scores before it decides: it has the head, the platform has the features.

Before the gate a company has its head, its past applicants' released rows with their outcomes, its current
applicants with what they told it themselves, and the outputs of the keyed function for everybody it asked for
on account of training. It is given the score table besides, which it could not even download. Measured is how
well it ranks its current applicants by whether they will decline (AUC), against ranking by its own records
alone: a bootstrap interval of the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from attack import Attack, Result, System
from whole_table import SealedTable, seal_table

from noren_core.crypto import oprf
from noren_core.crypto.head_encryption import EncryptedHead, HeadLayout, HeadSecret, encrypt_head, verify_head
from noren_core.crypto.oprf import OprfPrivateKey
from noren_core.crypto.scorer import Scorer
from noren_core.crypto.sealed_table import TAG_BYTES, TableContext, TableReader, row_secrets
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.season.score_payload import ADDRESS_BYTES

PAST, NOW, DIMENSIONS = 400, 300, 8
ROW_NOISE = 30.0
BOOTSTRAPS = 2_000
CONFIDENCE = 99.0
"""Per cent: by chance alone, one run of ours in two hundred would say that the attack succeeds."""

LAYOUT = HeadLayout(dimensions=DIMENSIONS, weight_bits=8, heads=1)
BINDING = b"half model"

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Applicants: what they told the company, what their behaviour says, and whether they declined.

    Attributes:
        names: as they are looked up.
        own: two columns, which the company has.
        features: int8, which the platform has.
        declined: which the company has of past ones, and nobody yet of current ones.
    """

    names: Sequence[bytes]
    own: FloatArray
    features: npt.NDArray[np.int8]
    declined: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What the company has before the gate, apart from its own records.

    Attributes:
        head: weights, int8.
        secret: opens what was scored with the head.
        rows: past applicants' features with the noise of their release.
        outputs: of the keyed function, by name, for past and current applicants: a training batch takes any.
        table: the score table.
    """

    head: npt.NDArray[np.int64]
    secret: HeadSecret
    rows: FloatArray
    outputs: dict[bytes, bytes]
    table: SealedTable


@cache
def people() -> tuple[People, People]:
    """Past and current applicants; who declines follows from behaviour more than from what was told."""
    rng = np.random.default_rng(11)
    count = PAST + NOW
    features = np.clip(np.rint(rng.normal(0, 30, (count, DIMENSIONS))), -128, 127).astype(np.int8)
    own = rng.normal(0, 1, (count, 2))
    direction = rng.normal(0, 1, DIMENSIONS)
    behaviour = features @ direction / (30 * np.linalg.norm(direction))
    declined = rng.random(count) < 1 / (1 + np.exp(-(2.0 * behaviour + 0.7 * own[:, 0] - 0.5)))
    names = [
        normalise_identifier(IdentifierKind.EMAIL, f"applicant{n}@example.org", "clerk") for n in range(count)
    ]

    def of(part: slice) -> People:
        return People(names[part], own[part], features[part], declined[part])

    return of(slice(PAST)), of(slice(PAST, None))


def known_before_the_gate(*, key: OprfPrivateKey, score_key: OprfPrivateKey) -> Known:
    """One key for both tables, or one for each."""
    past, current = people()
    rows = past.features + np.random.default_rng().normal(0, ROW_NOISE, past.features.shape)
    fitted = fit(rows, past.declined)[1:]
    head = np.rint(fitted * 127 / np.abs(fitted).max()).astype(np.int64)
    secret, message = encrypt_head([head.tolist()], weight_bits=8, binding=BINDING)
    verified = verify_head(message, LAYOUT, binding=BINDING)
    names = [*past.names, *current.names]
    outputs = dict(zip(names, oprf.evaluate_all(key, names), strict=True))
    return Known(head, secret, rows, outputs, score_table(score_key, verified, current))


def score_table(key: OprfPrivateKey, head: EncryptedHead, current: People) -> SealedTable:
    """Every current applicant's score, sealed for who has her output under this key."""
    scores = Scorer(head).score(current.features)
    outputs = oprf.evaluate_all(key, current.names)
    rows = [(output, score + bytes(ADDRESS_BYTES)) for output, score in zip(outputs, scores, strict=True)]
    context = TableContext.fresh(company="alpha", campaign="spring", kind=TableKind.SCORE)
    return seal_table(context, rows, padded_rows=512, payload_bytes=LAYOUT.payload_bytes + ADDRESS_BYTES)


# The attack


def rank_with_one_key() -> Result:
    """No gate, and one key: what was evaluated for training opens the scores."""
    key = oprf.generate_key_pair()
    return measured(known_before_the_gate(key=key, score_key=key))


def rank_before_our_gate() -> Result:
    """Two keys: the same knowledge, and the same attempts."""
    return measured(known_before_the_gate(key=oprf.generate_key_pair(), score_key=oprf.generate_key_pair()))


def measured(known: Known) -> Result:
    """Rank by own records, then by all that is known, and compare.

    1. Whatever rows of the table open are decrypted.
    2. Who has no score gets the head's answer to what her own records make likely, and, in case tags or
       ciphertexts told something, the numbers in the row whose tag is nearest to hers.
    3. How much each column counts is learnt from past applicants.
    """
    past, current = people()
    opened = opened_scores(known, current)  # 1
    scores = np.array([opened.get(name, np.nan) for name in current.names])
    past_scores = known.rows @ known.head
    told = np.column_stack([np.ones(PAST), past.own])
    likely = np.linalg.lstsq(told, past_scores, rcond=None)[0]
    expected = np.column_stack([np.ones(NOW), current.own]) @ likely
    columns = np.where(np.isnan(scores), expected, scores)  # 2
    now = np.column_stack([current.own, columns, nearest_rows(known, current)])
    before = np.column_stack([past.own, past_scores, nearest_rows(known, past)])
    by_all = predicted(before, past.declined, now)  # 3
    by_own = predicted(past.own, past.declined, current.own)
    low, high = difference(by_all, by_own, current.declined)
    return Result(
        low > 0,
        f"AUC {auc(by_all, current.declined):.2f}, from its own records {auc(by_own, current.declined):.2f}; "
        f"the difference is {low:+.2f} to {high:+.2f} ({CONFIDENCE:.0f} %); {len(opened)} of {NOW} opened",
    )


def opened_scores(known: Known, current: People) -> dict[bytes, int]:
    """The scores of all rows that outputs for current applicants open."""
    reader = TableReader(
        known.table.manifest, known.table.chunk_hashes, {name: known.outputs[name] for name in current.names}
    )
    for index, chunk in enumerate(known.table.chunks):
        reader.feed(index, chunk)
    return {
        name: known.secret.decrypt([row[: LAYOUT.payload_bytes]], bound=LAYOUT.score_bound)[0]
        for name, row in reader.rows.items()
    }


def nearest_rows(known: Known, of: People) -> FloatArray:
    """Distance and first bytes of the row whose tag is nearest to the one that an output would give."""
    manifest = known.table.manifest
    data = b"".join(known.table.chunks)
    rows = [data[start : start + manifest.row_bytes] for start in range(0, len(data), manifest.row_bytes)]
    tags = np.array([int.from_bytes(row[:8]) for row in rows], dtype=np.float64)
    found = []
    for name in of.names:
        tag, _ = row_secrets(known.outputs[name], manifest.context)
        place = int(np.argmin(np.abs(tags - float(int.from_bytes(tag[:8])))))
        found.append([place / len(rows), *rows[place][TAG_BYTES : TAG_BYTES + 3]])
    return np.array(found, dtype=np.float64)


def predicted(before: FloatArray, outcomes: npt.NDArray[np.bool_], now: FloatArray) -> FloatArray:
    """Log odds for `now` after learning from `before`, with columns of one scale."""
    scale = before.std(axis=0) + 1e-9
    weights = fit(before / scale, outcomes)
    odds: FloatArray = np.column_stack([np.ones(len(now)), now / scale]) @ weights
    return odds


def fit(columns: FloatArray, outcomes: npt.NDArray[np.bool_]) -> FloatArray:
    """Logistic regression with a weak penalty, by Newton's method: intercept, then weights."""
    x = np.column_stack([np.ones(len(columns)), columns])
    penalty, weights = 1e-3 * np.eye(x.shape[1]), np.zeros(x.shape[1])
    for _ in range(30):
        likely = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        curvature = (x * (likely * (1 - likely))[:, None]).T @ x + penalty
        weights = weights + np.linalg.solve(curvature, x.T @ (outcomes - likely) - penalty @ weights)
    return weights


def difference(one: FloatArray, other: FloatArray, outcomes: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """A bootstrap interval, over applicants, of how much better `one` ranks than `other`."""
    rng, found = np.random.default_rng(5), []
    for _ in range(BOOTSTRAPS):
        chosen = rng.integers(0, len(outcomes), len(outcomes))
        if 0 < outcomes[chosen].sum() < len(chosen):
            found.append(auc(one[chosen], outcomes[chosen]) - auc(other[chosen], outcomes[chosen]))
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(found, [tail, 100 - tail])
    return float(low), float(high)


def auc(values: FloatArray, outcomes: npt.NDArray[np.bool_]) -> float:
    """How often somebody who declined is ranked above somebody who did not; ties count half."""
    positive, negative = values[outcomes], np.sort(values[~outcomes])
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).mean() / (2 * len(negative)))


ATTACKS = (
    Attack(
        name="half a model",
        attacker="company, before it decides",
        aim="rank its applicants by likelihood of declining better than from its own records",
        systems=(
            System("one key for both tables, no gate", False, rank_with_one_key),
            System("Noren", True, rank_before_our_gate),
        ),
    ),
)

"""What a plan fixes about a company's encrypted weights and their answer: layout, binding, ledger entries.

docs/protocol.md §9. Both sides make these from the plan that they hold and the table's manifest, and compare;
nothing of it is taken from a message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noren_core.crypto.sealed_table import TableManifest
from noren_core.crypto.weight_layout import WeightLayout
from noren_core.season.plan import CampaignPlan


def weight_layout(plan: CampaignPlan, manifest: TableManifest) -> WeightLayout:
    """Positions, bound and weights of the one message about this training table."""
    statistics = plan.statistics
    return WeightLayout(
        positions=manifest.padded_rows,
        nonzero=plan.member(manifest.context.company).padded_batch,
        negative=statistics.negative,
        positive=statistics.positive,
    )


def weights_binding(plan: CampaignPlan, manifest: TableManifest) -> bytes:
    """What message, proof and rows are bound to: protocol, plan (hence campaign), table and company."""
    return b"noren/v1/weights\0" + plan.digest() + manifest.root + manifest.context.company.encode()


def labelled_weights(
    plan: CampaignPlan, manifest: TableManifest, labels: Mapping[int, bool]
) -> NDArray[np.int8]:
    """The weight of every position: b or -a by outcome, 0 for a position that has none."""
    weights = np.zeros(manifest.padded_rows, dtype=np.int8)
    for position, is_positive in labels.items():
        weights[position] = plan.statistics.positive if is_positive else -plan.statistics.negative
    return weights


def rows_body(manifest: TableManifest, commitment: bytes) -> dict[str, Any]:
    """The body of the `statistics-rows` entry about this table."""
    return {
        "campaign": manifest.context.campaign,
        "company": manifest.context.company,
        "table_root": manifest.root.hex(),
        "commitment": commitment.hex(),
    }


def weights_body(manifest: TableManifest, commitment: bytes) -> dict[str, Any]:
    """The body of the `weights-commitment` entry about this table."""
    return {
        "campaign": manifest.context.campaign,
        "company": manifest.context.company,
        "commitment": commitment.hex(),
    }


def answer_body(manifest: TableManifest, *, weights: int, answer: bytes) -> dict[str, Any]:
    """The body of the `statistics-answer` entry; `weights` is the index of the `weights-commitment`."""
    return {
        "campaign": manifest.context.campaign,
        "company": manifest.context.company,
        "weights": weights,
        "answer_sha256": hashlib.sha256(answer).hexdigest(),
    }

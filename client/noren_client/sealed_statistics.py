"""The company's side of sealed statistics: encrypted weights out, noisy sums of its students' rows in.

    campaigns/<campaign>/weights.bin    secret: key and seed(64) ‖ root of the table(32) ‖ the weights

docs/protocol.md §9. Promises: outcomes leave only encrypted, with their proof, after the platform committed to
the rows; key and weights are on disk before anything is sent, and the one message of a campaign is made again
from them whenever it has to be sent again; sums that no honest platform can have sent become zeros, and
nobody but this company can tell.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noren_client import campaign_files, keystore
from noren_client.ledger_watch import LedgerWatch
from noren_client.opened_sums import OpenedSums
from noren_client.transport import PlatformClient
from noren_core.crypto.sealed_sums import open_sums, verify_norm
from noren_core.crypto.sealed_table import TableManifest
from noren_core.crypto.secret import Secret
from noren_core.crypto.weight_encryption import MessageDigest, WeightSecret, encrypt_weights
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.ledger.proofs import LedgerProof, VerifiedEntry
from noren_core.season.plan import CampaignPlan
from noren_core.season.weights_message import (
    labelled_weights,
    weight_layout,
    weights_binding,
    weights_body,
)

WEIGHTS_FILE = "weights.bin"

_SECRET_BYTES = 64
_ROOT_BYTES = 32
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KeptWeights(Secret):
    """The one message of a campaign: what it is drawn from, which table it is about, and what it says."""

    secret: WeightSecret
    root: bytes
    weights: NDArray[np.int8]

    @property
    def labels(self) -> NDArray[np.int8]:
        """The outcomes behind the weights, 0 and 1, in no order that says whose they are."""
        return (self.weights[self.weights != 0] > 0).astype(np.int8)

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return self.secret.to_bytes() + self.root + self.weights.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> KeptWeights:
        """The inverse; DataError for other bytes."""
        if len(data) <= _SECRET_BYTES + _ROOT_BYTES:
            raise DataError("weights: expected key, table and weights, got fewer bytes")
        return cls(
            WeightSecret.from_bytes(data[:_SECRET_BYTES]),
            data[_SECRET_BYTES : _SECRET_BYTES + _ROOT_BYTES],
            np.frombuffer(data, dtype=np.int8, offset=_SECRET_BYTES + _ROOT_BYTES),
        )


def obtain_sums(
    company_dir: Path,
    plan: CampaignPlan,
    platform: PlatformClient,
    *,
    manifest: TableManifest,
    labels: Mapping[int, bool],
) -> KeptWeights:
    """Have the platform sum our students' rows, and keep what came of it; the weights that it was done with.

    1. Make weights and key and keep them, or take those that an earlier call kept: whatever our file says by
       now, a campaign has one message.
    2. The ledger proves that the platform has committed to its rows for this very table.
    3. Send the message, part by part, and at last the entry that commits to it.
    4. The ledger proves rows, our message and the answer, in this order.
    5. Open the sums. If no honest platform can have sent them, go on as if they were zero: whoever saw us
       stop would learn something about a weight (docs/protocol.md §9.10).

    Args:
        company_dir: the company's directory.
        plan: accepted.
        platform: a connection.
        manifest: of the training table, which was read to its end.
        labels: the outcome by position of every row of ours.

    Raises:
        VerificationError: if step 2 or 4 fails, or our weights are for another table.
        RemoteProtocolError: if the answer is not made of points, which is seen without our key; or with code
            WEIGHTS_LIMIT, if the ledger has another message of ours.
    """
    keys, watch = keystore.load(company_dir), LedgerWatch(company_dir)
    kept = _made(company_dir, plan, manifest, labels)  # 1
    proof = platform.commit_rows(plan.campaign, known_tree_size=watch.known_tree_size)
    rows = _rows_entry(watch.accept(proof), manifest)  # 2
    signed = _Signed(keys.company, manifest, sign=lambda body: _entry(keys, body))
    layout, binding = weight_layout(plan, manifest), weights_binding(plan, manifest)
    answer, proof = platform.submit_weights(  # 3
        plan.campaign,
        lambda: signed.parts(encrypt_weights(kept.weights, kept.secret, layout, binding=binding)),
        known_tree_size=watch.known_tree_size,
    )
    _verify_answer(watch, proof, rows=rows, body=signed.body, answer=answer)  # 4
    values = _opened(answer, kept, plan, manifest)  # 5
    campaign_files.save_sums(company_dir, plan.campaign, OpenedSums(values))
    return kept


def load_weights(company_dir: Path, campaign: str) -> KeptWeights:
    """The weights of the campaign's message; LocalProtocolError before the campaign is prepared."""
    kept = _kept(company_dir, campaign)
    if kept is None:
        raise LocalProtocolError("expected the weights of this campaign: run noren-company prepare first")
    return kept

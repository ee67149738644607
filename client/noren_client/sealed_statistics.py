"""The company's side of sealed statistics: encrypted weights out, noisy sums of its students' rows in.

    campaigns/<campaign>/weights.bin    secret: key and seed(64) ‖ root of the table(32) ‖ the weights

docs/protocol.md §9. Promises: outcomes leave only encrypted, with their proof, after the platform committed
to the rows; key and weights are on disk before anything is sent, and the one message of a campaign is made
again from them whenever it has to be sent again; sums that no honest platform can have sent become zeros, and
nobody but this company can tell.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

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
from noren_core.ledger.proofs import VerifiedEntry
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
        labels: NDArray[np.int8] = (self.weights[self.weights != 0] > 0).astype(np.int8)
        return labels

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
    watch = LedgerWatch(company_dir)
    kept = _made(company_dir, plan, manifest, labels)  # 1
    proof = platform.commit_rows(plan.campaign, known_tree_size=watch.known_tree_size)
    rows = _rows_entry(watch.accept(proof), manifest)  # 2
    message = _Message(kept, plan, manifest, keystore.load(company_dir))
    answer, proof = platform.submit_weights(  # 3
        plan.campaign, message.parts, known_tree_size=watch.known_tree_size
    )
    _verify_answer(watch.accept(proof), rows=rows, message=message, answer=answer)  # 4
    values = _opened(answer, kept, plan, manifest)  # 5
    campaign_files.save_sums(company_dir, plan.campaign, OpenedSums(values))
    return kept


def load_weights(company_dir: Path, campaign: str) -> KeptWeights:
    """The weights of the campaign's message; LocalProtocolError before the campaign is prepared."""
    kept = _kept(company_dir, campaign)
    if kept is None:
        raise LocalProtocolError("expected the weights of this campaign: run noren-company prepare first")
    return kept


def unlink_weights(company_dir: Path, campaign: str) -> None:
    """Keep of the campaign's weights how often each outcome stood, and no longer whose they were.

    They are put in a random order, so nothing is left of anybody's; the message cannot be made again. Nothing
    happens if there are none.

    Raises:
        LocalProtocolError: if the sums were not opened yet, for which the weights are still needed.
    """
    kept = _kept(company_dir, campaign)
    if kept is None:
        return
    campaign_files.load_sums(company_dir, campaign)
    shuffled = np.frombuffer(kept.weights.tobytes(), dtype=np.int8).copy()
    order = sorted(range(len(shuffled)), key=lambda _: secrets.token_bytes(16))
    unlinked = KeptWeights(WeightSecret.generate(), bytes(_ROOT_BYTES), shuffled[order])
    name = campaign_files.secret_name(campaign, WEIGHTS_FILE)
    keystore.write_secret(company_dir, name, unlinked.to_bytes())


class _Message:
    """The message of kept weights, made anew for every attempt to send it.

    Attributes:
        body: of the entry that commits to it, once it was made.
    """

    def __init__(
        self, kept: KeptWeights, plan: CampaignPlan, manifest: TableManifest, keys: keystore.CompanyKeys
    ) -> None:
        self._kept = kept
        self._plan = plan
        self._manifest = manifest
        self._keys = keys
        self.body: dict[str, Any] = {}

    def parts(self) -> Iterator[tuple[bytes, bytes]]:
        """Part after part with no entry, then no part with the entry."""
        digest = MessageDigest()
        layout, binding = (
            weight_layout(self._plan, self._manifest),
            weights_binding(self._plan, self._manifest),
        )
        for part in encrypt_weights(self._kept.weights, self._kept.secret, layout, binding=binding):
            digest.add(part)
            yield part, b""
        self.body = weights_body(self._manifest, digest.commitment)
        kind, keys = EntryKind.WEIGHTS_COMMITMENT, self._keys
        yield b"", sign_entry(kind, keys.company, self.body, keys.signing)


def _made(
    company_dir: Path, plan: CampaignPlan, manifest: TableManifest, labels: Mapping[int, bool]
) -> KeptWeights:
    """The campaign's weights: made and kept at the first call, the same at every other."""
    kept = _kept(company_dir, plan.campaign)
    if kept is None:
        kept = KeptWeights(WeightSecret.generate(), manifest.root, labelled_weights(plan, manifest, labels))
        name = campaign_files.secret_name(plan.campaign, WEIGHTS_FILE)
        keystore.write_secret(company_dir, name, kept.to_bytes())
    if kept.root != manifest.root:
        raise VerificationError("training table: expected the one that our weights are for, got another")
    return kept


def _kept(company_dir: Path, campaign: str) -> KeptWeights | None:
    data = keystore.read_secret(company_dir, campaign_files.secret_name(campaign, WEIGHTS_FILE))
    if data is None:
        return None
    try:
        return KeptWeights.from_bytes(data)
    except DataError as error:
        raise LocalProtocolError(
            f"{WEIGHTS_FILE}: expected what was kept of them, got another file"
        ) from error


def _rows_entry(proven: Sequence[VerifiedEntry], manifest: TableManifest) -> VerifiedEntry:
    """The commitment to rows for this table."""
    found = [item for item in proven if item.entry.kind is EntryKind.STATISTICS_ROWS]
    about = (manifest.context.campaign, manifest.context.company, manifest.root.hex())
    if len(found) != 1 or about != _about(found[0]):
        raise VerificationError("ledger: expected one commitment to the rows of our table, got another")
    return found[0]


def _about(item: VerifiedEntry) -> tuple[str | None, str | None, str]:
    return item.entry.campaign, item.entry.company, item.entry.body["table_root"]


def _verify_answer(
    proven: Sequence[VerifiedEntry], *, rows: VerifiedEntry, message: _Message, answer: bytes
) -> None:
    """The commitment to rows, our message and this very answer are in the ledger once each, in this order."""
    found = {
        kind: [item for item in proven if item.entry.kind is kind]
        for kind in (EntryKind.STATISTICS_ROWS, EntryKind.WEIGHTS_COMMITMENT, EntryKind.STATISTICS_ANSWER)
    }
    if [len(items) for items in found.values()] != [1, 1, 1]:
        raise VerificationError("ledger: expected our rows, weights and answer once each, got another number")
    (shown,), (weights,), (answered,) = found.values()
    said = {
        "campaign": rows.entry.campaign,
        "company": rows.entry.company,
        "weights": weights.index,
        "answer_sha256": hashlib.sha256(answer).hexdigest(),
    }
    if (shown.index, weights.entry.body, answered.entry.body) != (rows.index, message.body, said):
        raise VerificationError("ledger: expected our weights and the answer that came, got others")
    if not shown.index < weights.index < answered.index:
        raise VerificationError("ledger: expected rows, weights and answer in this order, got another order")


def _opened(answer: bytes, kept: KeptWeights, plan: CampaignPlan, manifest: TableManifest) -> tuple[int, ...]:
    """The sums; zeros if honest rows and noise cannot have given them.

    The note about it is for this company's people alone.
    """
    columns, variance = plan.statistics.dimensions, Fraction(plan.statistics.variance)
    try:
        sums = open_sums(
            answer, kept.secret, weight_layout(plan, manifest), columns=columns, variance=variance
        )
        verify_norm(sums, kept.weights, variance=variance)
    except VerificationError as error:
        _LOG.warning(
            "%s: the platform's sums cannot be honest; none of them is used: %s", plan.campaign, error.code
        )
        return (0,) * columns
    return tuple(sums)

"""The company's side of sealed scoring: an encrypted head out, integer scores of its own offerees in.

docs/protocol.md §5. Promises: the head leaves only encrypted, with its proof, and is committed in the ledger;
there is one head per campaign, also after a crash between sending and hearing back; the key that opens scores
never leaves this machine. Calibration and bands are made from these integers elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noren_client import alignment, campaign_files, keystore
from noren_client.applicants import Applicant, offerees
from noren_client.campaign_files import write_private
from noren_client.ledger_watch import LedgerWatch
from noren_client.table_reading import Aligner, Sleep
from noren_client.transport import PlatformClient
from noren_core import canonical_json
from noren_core.crypto.head_encryption import (
    CIPHERTEXT_BYTES,
    HeadSecret,
    encrypt_head,
    head_commitment,
    score_bound,
)
from noren_core.errors import LocalProtocolError, NorenError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.season.participation import head_binding
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal

HEAD_FILE = "encrypted-head.json"
FIRST_POLL_SECONDS = 0.1
MAX_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class OpenedScore:
    """One offeree and her score w·h, an exact integer; None without a live consent, or without data."""

    applicant: Applicant
    score: int | None = field(repr=False)


def submit_head(
    company_dir: Path, campaign: str, weights: Sequence[int], *, sleep: Sleep = time.sleep
) -> None:
    """Encrypt the head, commit to it in the ledger and submit it for scoring.

    1. Encrypt and keep key and message before anything is sent; a second call sends the same message.
    2. Sign the commitment and submit both.
    3. The ledger proves that our commitment is in it.

    Args:
        company_dir: the company's directory.
        campaign: an accepted campaign.
        weights: integers of the plan's `weight_bits`, one per coordinate, without intercept.
        sleep: how to wait between attempts.

    Raises:
        LocalProtocolError: with code HEAD_LIMIT, for other weights than those that were submitted before.
    """
    plan, keys = campaign_files.load_plan(company_dir, campaign), keystore.load(company_dir)
    message = _encrypted(company_dir, plan, keys.company, list(weights))  # 1
    body = {
        "campaign": campaign,
        "company": keys.company,
        "commitment": head_commitment(message).hex(),
        "dimensions": plan.rows.dimensions,
        "weight_bits": plan.scoring.weight_bits,
    }
    entry = sign_entry(EntryKind.HEAD_COMMITMENT, keys.company, body, keys.signing)  # 2
    watch = LedgerWatch(company_dir)
    with PlatformClient(company_dir, sleep=sleep) as platform:
        proof = platform.submit_head(campaign, message, entry, known_tree_size=watch.known_tree_size)
    shown = watch.verify(proof)  # 3
    if not any(item.kind is EntryKind.HEAD_COMMITMENT and item.body == body for item in shown):
        raise VerificationError("head: expected a proof that its commitment is in the ledger, got none")


def open_scores(
    company_dir: Path,
    campaign: str,
    *,
    wait_seconds: float = 0.0,
    sleep: Sleep = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[OpenedScore, ...]:
    """The scores of our offerees of the score season, in the file's order.

    1. Align the offerees; the batch is as large as ever, also for none.
    2. Read the sealed score table to its end and open our rows, waiting until it is there.
    3. Decrypt to exact integers.

    Raises:
        LocalProtocolError: if no head was submitted.
        RemoteProtocolError: with code NOT_READY, if there is no table within `wait_seconds`.
    """
    plan = campaign_files.load_plan(company_dir, campaign)
    secret = _head_secret(company_dir, plan)
    people = offerees(alignment.applicants(company_dir, plan), plan.score_season)
    with PlatformClient(company_dir, sleep=sleep) as platform:
        opened = Aligner(company_dir, plan, platform, sleep=sleep).open_rows(  # 1, 2
            TableKind.SCORE,
            [person.key for person in people],
            payload_bytes=CIPHERTEXT_BYTES,
            keep_waiting=_Waiting(wait_seconds, sleep=sleep, clock=clock),
        )
    bound = score_bound(plan.rows.dimensions, plan.scoring.weight_bits)
    scores = dict(zip(opened, secret.decrypt(list(opened.values()), bound=bound), strict=True))  # 3
    return tuple(OpenedScore(person, scores.get(person.key)) for person in people)


class _Waiting:
    """Waits a little longer each time, until `seconds` are over."""

    def __init__(self, seconds: float, *, sleep: Sleep, clock: Callable[[], float]) -> None:
        self._deadline = clock() + seconds
        self._pause = FIRST_POLL_SECONDS
        self._sleep = sleep
        self._clock = clock

    def __call__(self) -> bool:
        """Wait; whether there is time to ask again."""
        left = self._deadline - self._clock()
        if left <= 0:
            return False
        self._sleep(min(self._pause, left))
        self._pause = min(2 * self._pause, MAX_POLL_SECONDS)
        return True


def _encrypted(company_dir: Path, plan: CampaignPlan, company: str, weights: list[int]) -> bytes:
    """The head's one message: made and kept at the first call, the same at every other."""
    path = campaign_files.directory(company_dir, plan.campaign) / HEAD_FILE
    if path.exists():
        kept_weights, _, message = _load_head(path)
        if kept_weights != weights:
            raise LocalProtocolError(Refusal.HEAD_LIMIT.sentence, code=Refusal.HEAD_LIMIT)
        return message
    if len(weights) != plan.rows.dimensions:
        raise LocalProtocolError(f"head: expected {plan.rows.dimensions} weights, got {len(weights)}")
    secret, message = encrypt_head(
        weights, weight_bits=plan.scoring.weight_bits, binding=head_binding(plan, company)
    )
    body = {"message": message.hex(), "secret": secret.to_bytes().hex(), "weights": weights}
    write_private(path, canonical_json.encode(body))
    return message


def _head_secret(company_dir: Path, plan: CampaignPlan) -> HeadSecret:
    path = campaign_files.directory(company_dir, plan.campaign) / HEAD_FILE
    if not path.exists():
        raise LocalProtocolError("scores: expected a submitted head: submit it first")
    return _load_head(path)[1]


def _load_head(path: Path) -> tuple[list[int], HeadSecret, bytes]:
    try:
        body = canonical_json.parse_object(path.read_bytes())
        secret = HeadSecret.from_bytes(bytes.fromhex(body["secret"]))
        return body["weights"], secret, bytes.fromhex(body["message"])
    except (NorenError, KeyError, TypeError, ValueError) as error:
        raise LocalProtocolError(f"{path.name}: expected what submitting a head kept, got another") from error

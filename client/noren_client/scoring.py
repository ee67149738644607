"""The company's side of sealed scoring: encrypted heads out, integer scores of its own offerees in.

docs/protocol.md §5. Promises: heads leave only encrypted, with their proof, and are committed in the ledger;
there is one message of heads per score season, also after a crash between sending and hearing back; the key
that opens scores never leaves this machine; only rows of offers whose decision batch was evaluated are looked
for. Calibration and bands are made from these integers elsewhere (`noren_client.follow_up`), in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from noren_client import alignment, campaign_files, keystore
from noren_client.applicants import Applicant, offerees
from noren_client.gate import decisions
from noren_client.gate.decisions import KeptBatch
from noren_client.ledger_watch import LedgerWatch
from noren_client.table_reading import Aligner, Sleep
from noren_client.transport import PlatformClient
from noren_core import canonical_json
from noren_core.crypto.head_encryption import CIPHERTEXT_BYTES, HeadSecret, encrypt_head
from noren_core.crypto.secret import Secret
from noren_core.errors import LocalProtocolError, NorenError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.rights.gate.decision_batch import Decision as SealedDecision
from noren_core.season.head_message import commitment_body, head_binding, head_layout
from noren_core.season.plan import CampaignPlan
from noren_core.season.score_payload import parse_score_payload, score_payload_bytes
from noren_core.wire.refusal import Refusal

HEAD_FILE = "encrypted-head.json"
FIRST_POLL_SECONDS = 0.1
MAX_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True, repr=False)
class OpenedScore(Secret):
    """One offeree whose row opened.

    Attributes:
        applicant: who she is.
        batch: the decision batch with her offer.
        tag: of her row in the table, 16 bytes.
        scores: w·h for every head of the message, exact integers.
        disclosure_key, mailbox: to which and where her own copy goes.
    """

    applicant: Applicant
    batch: KeptBatch
    tag: bytes
    scores: tuple[int, ...]
    disclosure_key: bytes
    mailbox: bytes


@dataclass(frozen=True, slots=True)
class OpenedScores:
    """What a score table holds for us: everybody who is not in it has no live consent, or is not known."""

    table_id: bytes
    people: tuple[OpenedScore, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class _KeptHead(Secret):
    """`encrypted-head.json`: the one message of a campaign, what it encrypts, and the key."""

    heads: list[list[int]]
    secret: HeadSecret
    message: bytes


def submit_head(
    company_dir: Path, campaign: str, heads: Sequence[Sequence[int]], *, sleep: Sleep = time.sleep
) -> None:
    """Encrypt the heads, commit to them in the ledger and submit them for scoring.

    1. Encrypt and keep key and message before anything is sent; a second call sends the same message.
    2. Sign the commitment and submit both.
    3. The ledger proves that our commitment is in it.

    Args:
        company_dir: the company's directory.
        campaign: an accepted campaign.
        heads: up to the plan's number of heads; each of integers of the plan's `weight_bits`, one per
            coordinate, without intercept. Zeros fill the rest, so that nobody sees how many are in use.
        sleep: how to wait between attempts.

    Raises:
        LocalProtocolError: with code HEAD_LIMIT, for other heads than those that were submitted before, for
            this campaign or for another that scores the same season.
    """
    plan, keys = campaign_files.load_plan(company_dir, campaign), keystore.load(company_dir)
    message = _encrypted(company_dir, plan, keys.company, _filled(plan, heads))  # 1
    body = commitment_body(plan, keys.company, message)
    entry = sign_entry(EntryKind.HEAD_COMMITMENT, keys.company, body, keys.signing)  # 2
    watch = LedgerWatch(company_dir)
    with PlatformClient(company_dir, sleep=sleep) as platform:
        proof = platform.submit_head(campaign, message, entry, known_tree_size=watch.known_tree_size)
    shown = watch.verify(proof)  # 3
    if not any(item.kind is EntryKind.HEAD_COMMITMENT and item.body == body for item in shown):
        raise VerificationError("head: expected a proof that its commitment is in the ledger, got none")


def submitted_heads(company_dir: Path, campaign: str) -> list[tuple[int, ...]]:
    """The heads of the campaign's one message, in its order, zeros that fill it up included; or none yet."""
    kept = _kept(company_dir, campaign)
    return [] if kept is None else [tuple(head) for head in kept.heads]


def open_scores(
    company_dir: Path,
    campaign: str,
    *,
    now: int,
    wait_seconds: float = 0.0,
    sleep: Sleep = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> OpenedScores | None:
    """The scores of our offerees for every head of the message; None as long as no gate is open.

    1. Have every decision batch evaluated whose cooling time is over.
    2. Those with an offer that stands and is not answered.
    3. Read the sealed score table to its end and open their rows, waiting until it is there.
    4. Decrypt to exact integers.

    Raises:
        LocalProtocolError: if no head was submitted.
        RemoteProtocolError: with code NOT_READY, if there is no table within `wait_seconds`.
    """
    plan = campaign_files.load_plan(company_dir, campaign)
    kept = _kept(company_dir, plan.campaign)
    if kept is None:
        raise LocalProtocolError("scores: expected a submitted head: submit it first")
    with PlatformClient(company_dir, sleep=sleep) as platform:
        aligner = Aligner(company_dir, plan, platform, sleep=sleep)
        batches = decisions.evaluate_open(company_dir, plan, platform, aligner, now=now)  # 1
        if not batches:
            return None
        people = _offered(alignment.applicants(company_dir, plan), plan, batches)  # 2
        table = aligner.open_table(  # 3
            TableKind.SCORE,
            list(people),
            payload_bytes=score_payload_bytes(plan),
            keep_waiting=_Waiting(wait_seconds, sleep=sleep, clock=clock),
        )
    payloads = {key: parse_score_payload(plan, row.payload) for key, row in table.rows.items()}
    scores = _decrypted(kept, plan, {key: payload.ciphertexts for key, payload in payloads.items()})  # 4
    found = tuple(
        OpenedScore(
            *people[key],
            table.rows[key].tag,
            scores[key],
            payloads[key].disclosure_key,
            payloads[key].mailbox,
        )
        for key in table.rows
    )
    return OpenedScores(table.manifest.context.table_id, found)


def _offered(
    applicants: Sequence[Applicant], plan: CampaignPlan, batches: Sequence[KeptBatch]
) -> dict[bytes, tuple[Applicant, KeptBatch]]:
    """By identifier, those with an offer in an open batch that stands, without an answer."""
    found = {}
    for person in offerees(applicants, plan.score_season):
        batch = decisions.batch_of(batches, person.key)
        if batch is not None and batch.decision(person.key) is SealedDecision.PASS:
            found[person.key] = (person, batch)
    return found


def _decrypted(
    kept: _KeptHead, plan: CampaignPlan, ciphertexts: Mapping[bytes, bytes]
) -> dict[bytes, tuple[int, ...]]:
    """The integer scores of each, all decrypted together."""
    layout = head_layout(plan)
    parts = [
        joined[start : start + CIPHERTEXT_BYTES]
        for joined in ciphertexts.values()
        for start in range(0, layout.payload_bytes, CIPHERTEXT_BYTES)
    ]
    values = iter(kept.secret.decrypt(parts, bound=layout.score_bound))
    return {key: tuple(islice(values, layout.heads)) for key in ciphertexts}


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


def _filled(plan: CampaignPlan, heads: Sequence[Sequence[int]]) -> list[list[int]]:
    """As many heads as the plan has, the last ones zero."""
    given, width = [list(head) for head in heads], plan.release.dimensions
    if not 1 <= len(given) <= plan.scoring.heads:
        raise LocalProtocolError(f"head: expected 1 to {plan.scoring.heads} heads, got {len(given)}")
    if any(len(head) != width for head in given):
        raise LocalProtocolError(f"head: expected {width} weights in every head, got another number")
    return given + [[0] * width] * (plan.scoring.heads - len(given))


def _encrypted(company_dir: Path, plan: CampaignPlan, company: str, heads: list[list[int]]) -> bytes:
    """The campaign's one message: made and kept at the first call, the same at every other."""
    kept = _kept(company_dir, plan.campaign)
    if kept is not None:
        if kept.heads != heads:
            raise LocalProtocolError(Refusal.HEAD_LIMIT.sentence, code=Refusal.HEAD_LIMIT)
        return kept.message
    _verify_first_of_season(company_dir, plan)
    secret, message = encrypt_head(
        heads, weight_bits=plan.scoring.weight_bits, binding=head_binding(plan, company)
    )
    body = {"heads": heads, "message": message.hex(), "secret": secret.to_bytes().hex()}
    keystore.write_secret(
        company_dir, campaign_files.secret_name(plan.campaign, HEAD_FILE), canonical_json.encode(body)
    )
    return message


def _verify_first_of_season(company_dir: Path, plan: CampaignPlan) -> None:
    """The platform would refuse a second message for the season, and it would stand against us."""
    for other in campaign_files.accepted(company_dir):
        is_same_season = campaign_files.load_plan(company_dir, other).score_season == plan.score_season
        if is_same_season and _kept(company_dir, other) is not None:
            raise LocalProtocolError(Refusal.HEAD_LIMIT.sentence, code=Refusal.HEAD_LIMIT)


def _kept(company_dir: Path, campaign: str) -> _KeptHead | None:
    data = keystore.read_secret(company_dir, campaign_files.secret_name(campaign, HEAD_FILE))
    if data is None:
        return None
    try:
        body = canonical_json.parse_object(data)
        secret = HeadSecret.from_bytes(bytes.fromhex(body["secret"]))
        return _KeptHead(body["heads"], secret, bytes.fromhex(body["message"]))
    except (NorenError, KeyError, TypeError, ValueError) as error:
        raise LocalProtocolError(f"{HEAD_FILE}: expected what submitting a head kept, got another") from error

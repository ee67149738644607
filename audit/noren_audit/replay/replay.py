"""Computing a company's training once more, on its machine, from its rows and its seed.

The company shows what it keeps of a campaign; the ledger holds what it committed to before the beacon, and
what it settled. If both fit, and every round comes out again, it clipped, used every row once, and added the
noise that nobody chose. Gradients are computed by `reference_gradient`, which shares nothing with the client.

Rows and seed are looked at here and nowhere else: findings carry a code and a round, never a value.
"""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from noren_audit.replay.reference_gradient import reference_sum
from noren_audit.replay.replay_file import ReplayFile, ReplayRound
from noren_audit.replay.replay_ledger import CampaignFacts
from noren_core.errors import ConfigurationError, DataError, NorenError
from noren_core.privacy.discrete_gaussian import sample
from noren_core.privacy.noise import company_variance
from noren_core.season.head import HeadState, row_scale
from noren_core.season.plan import TrainingMode
from noren_core.season.round_event import round_event
from noren_core.season.row_commitment import rows_root, sums_root


class ReplayCode(StrEnum):
    """Every way in which a company's campaign can fail to come out again."""

    LEDGER_NOT_VERIFIED = "LEDGER_NOT_VERIFIED"
    OTHER_CAMPAIGN = "OTHER_CAMPAIGN"
    NO_ROWS_RELEASED = "NO_ROWS_RELEASED"
    SEED_NOT_COMMITTED = "SEED_NOT_COMMITTED"
    TAG_REPEATED = "TAG_REPEATED"
    ROWS_NOT_COMMITTED = "ROWS_NOT_COMMITTED"
    COHORT_DIFFERS = "COHORT_DIFFERS"
    ROUNDS_DIFFER = "ROUNDS_DIFFER"
    MODEL_NOT_SETTLED = "MODEL_NOT_SETTLED"
    UPDATE_MISSING = "UPDATE_MISSING"
    UPDATE_NOT_SETTLED = "UPDATE_NOT_SETTLED"
    UPDATE_NOT_RECOMPUTED = "UPDATE_NOT_RECOMPUTED"
    SENTINELS_NOT_THE_NOISE = "SENTINELS_NOT_THE_NOISE"


class Agreement(StrEnum):
    """How the recomputed updates compare with those that were sent."""

    EXACT = "exact"
    WITHIN_ROUNDING = "within-rounding"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ReplayFinding:
    """One thing that does not fit, and the round in which it does not, if it belongs to one."""

    code: ReplayCode
    round_number: int | None = None


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay came to.

    Attributes:
        findings: everything that does not fit; nothing means replayed.
        rounds: how many updates were computed again.
        agreement: whether all of them came out again.
        largest_difference: in grid units, over all coordinates of the updates that did; 0 if none did. What
            lies beyond rounding is not stated: it would be noise or data.
    """

    findings: tuple[ReplayFinding, ...]
    rounds: int
    agreement: Agreement
    largest_difference: int


def replay(file: ReplayFile, facts: CampaignFacts | None) -> ReplayResult:
    """Compare a company's campaign with the ledger and compute it again.

    1. The ledger knows the campaign, and the company's commitment and beacon in it; the file has
       rows if the plan released rows, and sums if not.
    2. The seed is the one that was committed to before the beacon.
    3. No tag stands there twice, and the rows, or their sums, are those that were committed to.
    4. The cohort is who reserved the first round, and the rounds are those that the company settled, with the
       same survivors; nobody else settled a further round that its update is in.
    5. The heads, from the sums shown, are those of the settles: model_in and model_out of every round.
    6. Every update is the one that the settle commits to; a survivor sent one.
    7. Clipped sum over all rows plus noise from seed and beacon gives that update, but for at most one unit
       per row and coordinate; at the sentinels, where no row has anything, exactly. Opened sums, with the
       other sign, take the place of the clipped ones and give it exactly.
    Every step goes on after a finding, as long as there is something to compare with.
    """
    # 1
    commitment = None if facts is None else facts.commitments.get(file.company)
    if facts is None or commitment is None or facts.beacon is None:
        return _nothing(ReplayCode.OTHER_CAMPAIGN)
    has_rows, released_rows = file.sums is None, facts.plan.mode is TrainingMode.NOISED_ROWS
    if has_rows is not released_rows:
        return _nothing(ReplayCode.NO_ROWS_RELEASED if has_rows else ReplayCode.OTHER_CAMPAIGN)
    if (file.campaign, file.dimensions) != (facts.plan.campaign, facts.plan.release.dimensions):
        return _nothing(ReplayCode.OTHER_CAMPAIGN)
    findings: list[ReplayFinding] = []
    # 2
    if file.seed.commitment(company=file.company, campaign=file.campaign).hex() != commitment["seed"]:
        findings.append(ReplayFinding(ReplayCode.SEED_NOT_COMMITTED))
    # 3
    findings += _check_rows(file, commitment["rows"])
    # 4
    findings += _check_rounds(file, facts)
    # 5
    heads, chain_findings = _check_heads(file, facts)
    findings += chain_findings
    # 6, 7
    update_findings, differences = _check_updates(file, facts, facts.beacon, heads)
    findings += update_findings
    return ReplayResult(
        findings=tuple(findings),
        rounds=len(differences),
        agreement=_agreement(differences),
        largest_difference=max((found for found in differences if found is not None), default=0),
    )


def _check_rows(file: ReplayFile, committed: str) -> list[ReplayFinding]:
    findings = []
    if max(Counter(row.tag for row in file.rows).values(), default=0) > 1:
        findings.append(ReplayFinding(ReplayCode.TAG_REPEATED))
    try:
        is_committed = _root(file).hex() == committed
    except DataError:  # not in the one order that can be committed to
        is_committed = False
    if not is_committed:
        findings.append(ReplayFinding(ReplayCode.ROWS_NOT_COMMITTED))
    return findings


def _root(file: ReplayFile) -> bytes:
    if file.sums is not None:
        return sums_root(file.sums, file.row_salt)
    return rows_root(file.rows, file.row_salt)


def _check_rounds(file: ReplayFile, facts: CampaignFacts) -> list[ReplayFinding]:
    findings = []
    if frozenset(file.cohort) != facts.cohort or file.company not in facts.cohort:
        findings.append(ReplayFinding(ReplayCode.COHORT_DIFFERS))
    settled = sorted(number for company, number in facts.settles if company == file.company)
    contributed = {number for (_, number), said in facts.settles.items() if file.company in said["survivors"]}
    if not contributed <= set(settled):
        findings.append(ReplayFinding(ReplayCode.ROUNDS_DIFFER, min(contributed - set(settled))))
    if not settled or settled != [item.number for item in file.rounds]:
        findings.append(ReplayFinding(ReplayCode.ROUNDS_DIFFER))
    for item in file.rounds:
        settle = facts.settles.get((file.company, item.number))
        if settle is not None and list(item.survivors) != settle["survivors"]:
            findings.append(ReplayFinding(ReplayCode.ROUNDS_DIFFER, item.number))
    return findings


def _check_heads(file: ReplayFile, facts: CampaignFacts) -> tuple[dict[int, HeadState], list[ReplayFinding]]:
    """The head before every round, as far as the sums lead, and where it is not the one that was settled."""
    head, before, findings = HeadState.initial(facts.plan.training), dict[int, HeadState](), []
    for item in file.rounds:
        before[item.number] = head
        settle = facts.settles.get((file.company, item.number), {})
        found = [head.commitment(file.commitment_key).hex()]
        try:
            head = head.advance(item.gradient, facts.plan.training)
        except NorenError:  # a sum that drives the head out of range is none that anybody applied
            findings.append(ReplayFinding(ReplayCode.MODEL_NOT_SETTLED, item.number))
            break
        found.append(head.commitment(file.commitment_key).hex())
        if found != [settle.get("model_in"), settle.get("model_out")]:
            findings.append(ReplayFinding(ReplayCode.MODEL_NOT_SETTLED, item.number))
    return before, findings


def _check_updates(
    file: ReplayFile, facts: CampaignFacts, beacon: bytes, heads: dict[int, HeadState]
) -> tuple[list[ReplayFinding], list[int | None]]:
    """What does not fit, and for each update its largest difference; None where it is no rounding."""
    findings: list[ReplayFinding] = []
    differences: list[int | None] = []
    for item in file.rounds:
        if not _is_settled(file, facts, item):
            findings.append(ReplayFinding(ReplayCode.UPDATE_NOT_SETTLED, item.number))
        if not item.update:
            if file.company in item.survivors:
                findings.append(ReplayFinding(ReplayCode.UPDATE_MISSING, item.number))
            continue
        head = heads.get(item.number)
        found = None if head is None else _recomputed(file, facts, beacon, item.number, head)
        compared = _compare(item, found, rows=len(file.rows), head_length=file.dimensions + 1)
        differences.append(compared if isinstance(compared, int) else None)
        if isinstance(compared, ReplayCode):
            findings.append(ReplayFinding(compared, item.number))
    return findings, differences


def _recomputed(
    file: ReplayFile,
    facts: CampaignFacts,
    beacon: bytes,
    number: int,
    head: HeadState,
) -> npt.NDArray[np.int64] | None:
    """The update that the company should have sent; None if the ledger leaves its noise undefined."""
    total = np.concatenate([_exact(file, facts, head), np.zeros(facts.plan.training.sentinels, np.int64)])
    try:
        variance = company_variance(round_event(facts.plan), companies=len(facts.cohort))
    except ConfigurationError:
        return None
    stream = file.seed.round_stream(beacon=beacon, campaign=file.campaign, round_number=number)
    return total + sample(len(total), variance=variance, stream=stream)


def _exact(file: ReplayFile, facts: CampaignFacts, head: HeadState) -> npt.NDArray[np.int64]:
    """Weights and bias of the update without noise."""
    if file.sums is not None:
        return np.array([*(-value for value in file.sums), 0], np.int64)
    training = facts.plan.training
    rows, labels = _arrays(file, row_scale(facts.plan.rows))
    return reference_sum(
        rows, labels, head.as_floats(), clipping_norm=training.clipping_norm, grid=training.grid
    )


def _compare(
    item: ReplayRound, recomputed: npt.NDArray[np.int64] | None, *, rows: int, head_length: int
) -> int | ReplayCode:
    """The largest difference, if it is one that rounding explains, or what it is instead."""
    if recomputed is None or len(item.update) != len(recomputed):
        return ReplayCode.UPDATE_NOT_RECOMPUTED
    # Of Python integers: a hostile update may be as far away as 64 bits allow.
    apart = [abs(sent - int(found)) for sent, found in zip(item.update, recomputed, strict=True)]
    if max(apart[:head_length]) > rows:
        return ReplayCode.UPDATE_NOT_RECOMPUTED
    if any(apart[head_length:]):
        return ReplayCode.SENTINELS_NOT_THE_NOISE
    return max(apart)


def _is_settled(file: ReplayFile, facts: CampaignFacts, item: ReplayRound) -> bool:
    settle = facts.settles.get((file.company, item.number), {})
    vector = np.array(item.update, dtype="<i8").tobytes()
    message = b"update\0" + file.company.encode() + b"\0" + vector
    return hmac.digest(file.commitment_key, message, "sha256").hex() == settle.get("update_sha256")


def _arrays(file: ReplayFile, scale: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    rows = np.array([row.coordinates for row in file.rows], np.float64).reshape(-1, file.dimensions)
    return rows / scale, np.array([row.label for row in file.rows], np.int64)


def _agreement(differences: list[int | None]) -> Agreement:
    if not differences or None in differences:
        return Agreement.NONE
    return Agreement.WITHIN_ROUNDING if any(differences) else Agreement.EXACT


def _nothing(code: ReplayCode) -> ReplayResult:
    """Of a file that there is nothing to compare with."""
    return ReplayResult((ReplayFinding(code),), 0, Agreement.NONE, 0)

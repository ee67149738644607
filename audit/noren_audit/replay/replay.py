"""Computing a company's training once more, on its machine, from its rows and its seed.

The company shows what it keeps of a campaign; the ledger holds what it committed to before the beacon, and
what it settled. If both fit, and every round comes out again, it clipped, used every row once that no
revocation list had named by then, and added the noise that nobody chose. Gradients are computed by
`reference_gradient`, which shares nothing with the client.

Of a company that certified a deletion committed rows may be missing. Then what is left cannot be compared
with the commitment, and rounds that used those rows do not come out: such a campaign is replayed in part.

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
from noren_core.crypto.revocation_list import RevocationList, open_revocations
from noren_core.crypto.secret import Secret
from noren_core.errors import ConfigurationError, DataError, NorenError, VerificationError
from noren_core.privacy.discrete_gaussian import sample
from noren_core.privacy.noise import company_variance
from noren_core.season.head import HeadState, row_scale
from noren_core.season.plan import TrainingMode
from noren_core.season.round_event import round_event
from noren_core.season.row_commitment import TrainingRow, rows_root, sums_root


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
    CONSENTS_NOT_SETTLED = "CONSENTS_NOT_SETTLED"
    REVOCATIONS_NOT_THE_PLATFORMS = "REVOCATIONS_NOT_THE_PLATFORMS"
    REVOCATIONS_OLDER = "REVOCATIONS_OLDER"
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
        rounds: how many updates were computed again; in part, how many of them came out.
        agreement: whether all of them came out again.
        largest_difference: in grid units, over all coordinates of the updates that did; 0 if none did. What
            lies beyond rounding is not stated: it would be noise or data.
        is_partial: whether committed rows are missing, and a deletion that the ledger has explains it.
    """

    findings: tuple[ReplayFinding, ...]
    rounds: int
    agreement: Agreement
    largest_difference: int
    is_partial: bool = False


def replay(file: ReplayFile, facts: CampaignFacts | None) -> ReplayResult:
    """Compare a company's campaign with the ledger and compute it again.

    1. The ledger knows the campaign, and the company's commitment and beacon in it; the file has
       rows if the plan released rows, and sums if not.
    2. The seed is the one that was committed to before the beacon.
    3. No tag stands there twice, and the rows, or their sums, are those that were committed to; or rows were
       erased, the file says so, and so does the company's deletion-certificate in the ledger.
    4. The cohort is who reserved the first round, and the rounds are those that the company settled, with the
       same survivors; nobody else settled a further round that its update is in.
    5. The heads, from the sums shown, are those of the settles: model_in and model_out of every round.
    6. Every round's revocation list is the one that the settle commits to, the platform's, about the table of
       the rows, and not older than the round's before.
    7. Every update is the one that the settle commits to; a survivor sent one.
    8. Clipped sum over all rows that no list so far names plus noise from seed and beacon gives that update,
       but for at most one unit per row and coordinate; at the sentinels, where no row has anything, exactly.
       Opened sums, with the other sign, take the place of the clipped ones and give it exactly. If rows were
       erased, an update may be off, but not at the sentinels.
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
    row_findings = _check_rows(file, commitment["rows"])
    is_partial = _is_partial(file, facts, row_findings)
    findings += [] if is_partial else row_findings
    # 4
    findings += _check_rounds(file, facts)
    # 5
    heads, chain_findings = _check_heads(file, facts)
    findings += chain_findings
    # 6
    revoked, consent_findings = _check_consents(file, facts)
    findings += consent_findings
    # 7, 8
    recomputing = _Recomputing(file, facts, facts.beacon, heads, revoked, is_partial=is_partial)
    update_findings, differences = _check_updates(file, facts, recomputing)
    findings += update_findings
    return ReplayResult(
        findings=tuple(findings),
        rounds=len(differences),
        agreement=_agreement(differences),
        largest_difference=max((found for found in differences if found is not None), default=0),
        is_partial=is_partial,
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


def _is_partial(file: ReplayFile, facts: CampaignFacts, found: list[ReplayFinding]) -> bool:
    """Whether nothing is wrong with the rows but that some are missing, by a deletion that is certified."""
    codes = [finding.code for finding in found]
    is_certified = file.rows_erased and file.company in facts.certified
    return is_certified and codes == [ReplayCode.ROWS_NOT_COMMITTED]


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


def _check_consents(
    file: ReplayFile, facts: CampaignFacts
) -> tuple[dict[int, frozenset[bytes]], list[ReplayFinding]]:
    """By round, the tags that its rows must not have; and every list that is not what it should be.

    Whatever a list named stays named: no later one brings a row back.
    """
    revoked, newest, by_round = frozenset[bytes](), None, dict[int, frozenset[bytes]]()
    findings: list[ReplayFinding] = []
    for item in file.rounds:
        settle = facts.settles.get((file.company, item.number), {})
        if item.consents.commitment().hex() != settle.get("consents"):
            findings.append(ReplayFinding(ReplayCode.CONSENTS_NOT_SETTLED, item.number))
        listed = _opened_list(file, facts, item)
        if listed is not None:
            if newest is not None and listed.sequence < newest.sequence:
                findings.append(ReplayFinding(ReplayCode.REVOCATIONS_OLDER, item.number))
            revoked, newest = revoked | frozenset(listed.tags), listed
        elif item.consents.revocations or (item.update and file.sums is None):
            findings.append(ReplayFinding(ReplayCode.REVOCATIONS_NOT_THE_PLATFORMS, item.number))
        by_round[item.number] = revoked
    return by_round, findings


def _opened_list(file: ReplayFile, facts: CampaignFacts, item: ReplayRound) -> RevocationList | None:
    """The round's list, if it has one that the platform signed about the company's training table."""
    table_id = facts.table_ids.get(file.company)
    if file.sums is not None or table_id is None:
        return None
    for key in facts.platform_keys:
        try:
            return open_revocations(
                item.consents.revocations, item.consents.signature, platform_key=key, table_id=table_id
            )
        except (DataError, VerificationError):
            continue
    return None


def _check_updates(
    file: ReplayFile, facts: CampaignFacts, recomputing: _Recomputing
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
        compared = recomputing.compare(item)
        if compared is ReplayCode.UPDATE_NOT_RECOMPUTED and recomputing.is_partial:
            continue  # a missing row may be in it
        differences.append(compared if isinstance(compared, int) else None)
        if isinstance(compared, ReplayCode):
            findings.append(ReplayFinding(compared, item.number))
    return findings, differences


@dataclass(frozen=True, slots=True, repr=False)
class _Recomputing(Secret):
    """What the updates are computed from again.

    Attributes:
        heads: before every round.
        revoked: the tags that a round's rows must not have.
        is_partial: rows are missing, and only the sentinels must come out.
    """

    file: ReplayFile
    facts: CampaignFacts
    beacon: bytes
    heads: dict[int, HeadState]
    revoked: dict[int, frozenset[bytes]]
    is_partial: bool

    def compare(self, item: ReplayRound) -> int | ReplayCode:
        """The largest difference, if it is one that rounding explains, or what it is instead."""
        head = self.heads.get(item.number)
        rows = [row for row in self.file.rows if row.tag not in self.revoked[item.number]]
        recomputed = None if head is None else self._recomputed(item.number, head, rows)
        if recomputed is None or len(item.update) != len(recomputed):
            return ReplayCode.UPDATE_NOT_RECOMPUTED
        head_length = self.file.dimensions + 1
        # Of Python integers: a hostile update may be as far away as 64 bits allow.
        apart = [abs(sent - int(found)) for sent, found in zip(item.update, recomputed, strict=True)]
        is_off = max(apart[:head_length]) > len(rows)
        if any(apart[head_length:]) and (self.is_partial or not is_off):
            return ReplayCode.SENTINELS_NOT_THE_NOISE
        return ReplayCode.UPDATE_NOT_RECOMPUTED if is_off else max(apart)

    def _recomputed(
        self, number: int, head: HeadState, rows: list[TrainingRow]
    ) -> npt.NDArray[np.int64] | None:
        """The update that the company should have sent; None if the ledger leaves its noise undefined."""
        plan = self.facts.plan
        total = np.concatenate([self._exact(head, rows), np.zeros(plan.training.sentinels, np.int64)])
        try:
            variance = company_variance(round_event(plan), companies=len(self.facts.cohort))
        except ConfigurationError:
            return None
        stream = self.file.seed.round_stream(
            beacon=self.beacon, campaign=self.file.campaign, round_number=number
        )
        return total + sample(len(total), variance=variance, stream=stream)

    def _exact(self, head: HeadState, rows: list[TrainingRow]) -> npt.NDArray[np.int64]:
        """Weights and bias of the update without noise."""
        if self.file.sums is not None:
            return np.array([*(-value for value in self.file.sums), 0], np.int64)
        training = self.facts.plan.training
        coordinates = np.array([row.coordinates for row in rows], np.float64)
        return reference_sum(
            coordinates.reshape(-1, self.file.dimensions) / row_scale(self.facts.plan.rows),
            np.array([row.label for row in rows], np.int64),
            head.as_floats(),
            clipping_norm=training.clipping_norm,
            grid=training.grid,
        )


def _is_settled(file: ReplayFile, facts: CampaignFacts, item: ReplayRound) -> bool:
    settle = facts.settles.get((file.company, item.number), {})
    vector = np.array(item.update, dtype="<i8").tobytes()
    message = b"update\0" + file.company.encode() + b"\0" + vector
    return hmac.digest(file.commitment_key, message, "sha256").hex() == settle.get("update_sha256")


def _agreement(differences: list[int | None]) -> Agreement:
    if not differences or None in differences:
        return Agreement.NONE
    return Agreement.WITHIN_ROUNDING if any(differences) else Agreement.EXACT


def _nothing(code: ReplayCode) -> ReplayResult:
    """Of a file that there is nothing to compare with."""
    return ReplayResult((ReplayFinding(code),), 0, Agreement.NONE, 0)

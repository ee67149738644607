"""One campaign as the ledger tells it: acceptances, keys, epochs, tables, sums, beacon, rounds, heads.

`CampaignAudit` is handed the campaign's authentic entries in ledger order and compares each with the
plan and with what came before it. "Before" always means a smaller index. What can only be judged at
the end of the ledger (gaps, chains) is judged by `finish`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from noren_audit.verification.commitments import CommitmentAudit, LedgerView
from noren_audit.verification.findings import Code, Evidence, Findings
from noren_audit.verification.gate import GateAudit
from noren_audit.verification.sealed_statistics import StatisticsAudit
from noren_audit.verification.sentinels import SentinelRound
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.privacy.events import GaussianEvent
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event

_AFTER_CLOSE = frozenset(
    {EntryKind.COVERAGE, EntryKind.ERASURE_ORDER, EntryKind.DELETION_CERTIFICATE, EntryKind.MIRROR_DEPOSIT}
)
"""What a closed campaign may still need: nothing is made of people's data, and rights go on."""


@dataclass(slots=True)
class LedgerWide:
    """What must be unique in the whole ledger, with the entry that had it first.

    `sequences` only grow instead: the greatest that a company's intents stated, and the entry that did.
    """

    oprf_keys: dict[str, int]
    table_ids: dict[str, int]
    seeds: dict[str, int]
    odometers: dict[tuple[str, str], int]
    season_heads: dict[tuple[str, str], int]
    sequences: dict[str, tuple[int, int]]
    policies: dict[str, int]
    evaluations: dict[str, int]

    @classmethod
    def empty(cls) -> LedgerWide:
        """Nothing seen yet."""
        return cls({}, {}, {}, {}, {}, {}, {}, {})


@dataclass(frozen=True, slots=True)
class Round:
    """What the first settle of a round said; all others must say the same."""

    index: int
    survivors: list[str]
    sentinels: list[int]
    model_in: str
    model_out: str


class CampaignAudit:
    """The state of one campaign while its entries are read."""

    def __init__(self, plan: CampaignPlan, wide: LedgerWide, view: LedgerView, findings: Findings) -> None:
        self.plan = plan
        self.round_event = round_event(plan)
        self.events: dict[str, list[GaussianEvent]] = {}
        self._digest = plan.digest().hex()
        self._cohort = frozenset(plan.companies)
        self._planned_event = self.round_event.to_body()
        self._wide = wide
        self._findings = findings
        self._acceptances: set[str] = set()
        self._oprf_keys: dict[tuple[str, str], int] = {}
        self._epochs: dict[tuple[str, str], int] = {}
        self._used_epochs: dict[int, int] = {}
        self._train_tables: set[str] = set()
        self._commitments = CommitmentAudit(plan, view, wide.seeds, findings)
        self._statistics = StatisticsAudit(plan, findings)
        self._intents: dict[str, dict[int, int]] = {}
        self._places: dict[str, list[int]] = {}
        self._settled: dict[str, set[int]] = {}
        self._updates: dict[tuple[str, str], int] = {}
        self._rounds: dict[int, Round] = {}
        self._sound_survivors: dict[int, tuple[list[str], int]] = {}
        self._failures: list[tuple[int, int]] = []
        self._heads: dict[str, int] = {}
        self._gate = GateAudit(plan, wide.policies, wide.evaluations, view.trust.auditor_keys, findings)
        self._closed: int | None = None
        self._readers: dict[EntryKind, Callable[[int, SignedEntry], None]] = {
            EntryKind.PLAN_ACCEPTANCE: self._acceptance,
            EntryKind.OPRF_KEY: self._oprf_key,
            EntryKind.CONSENT_EPOCH: self._consent_epoch,
            EntryKind.TABLE: self._table,
            EntryKind.STATISTICS_ROWS: self._sealed_statistics,
            EntryKind.WEIGHTS_COMMITMENT: self._sealed_statistics,
            EntryKind.STATISTICS_ANSWER: self._sealed_statistics,
            EntryKind.TRAINING_COMMITMENT: self._training_commitment,
            EntryKind.BEACON: self._commitments.beacon,
            EntryKind.INTENT: self._intent,
            EntryKind.SETTLE: self._settle,
            EntryKind.ROUND_FAILED: self._round_failed,
            EntryKind.HEAD_COMMITMENT: self._head,
            EntryKind.CAMPAIGN_CLOSED: self._close,
            **self._gate.readers,
        }

    def read(self, index: int, entry: SignedEntry) -> None:
        """Take the next entry of this campaign."""
        company = entry.company
        if company is not None and company not in self._cohort:
            self._add(
                Code.NOT_IN_COHORT, "expected a company of the plan's cohort, got another", index, entry
            )
        if self._closed is not None and entry.kind not in _AFTER_CLOSE:
            self._add(
                Code.CAMPAIGN_CLOSED,
                "expected nothing of a campaign after it was closed",
                index,
                entry,
                closed=self._closed,
            )
        self._readers[entry.kind](index, entry)

    @property
    def settled_rounds(self) -> tuple[int, ...]:
        """The rounds that some company settled, ascending."""
        return tuple(sorted(self._rounds))

    def intent_places(self, company: str) -> tuple[int, ...]:
        """Where in the ledger the company's intents stand: one place for each of its `events`."""
        return tuple(self._places[company])

    def relies_on(self, company: str) -> bool:
        """Whether the company's keys are in use: from the plan to its last settle or the close."""
        is_done = self.plan.training.rounds in self._settled.get(company, set())
        return company in self._cohort and self._closed is None and not is_done

    @property
    def sentinel_rounds(self) -> list[SentinelRound]:
        """What every settled round released at the sentinel coordinates, as the first settle says."""
        cohort = sum(1 in reserved for reserved in self._intents.values())
        return [
            SentinelRound(len(item.survivors), cohort, item.sentinels)
            for _, item in sorted(self._rounds.items())
        ]

    def finish(self, newest_time: int) -> None:
        """Judge what only the whole ledger shows: rounds that are missing between others, overdue orders."""
        self._gate.finish(newest_time)
        self._check_model_chain()
        for company, settled in self._settled.items():
            self._check_settle_gaps(company, settled)

    def _acceptance(self, index: int, entry: SignedEntry) -> None:
        if entry.body["plan_sha256"] != self._digest:
            self._add(
                Code.ACCEPTANCE_OTHER_PLAN,
                "expected the hash of this campaign's plan, got another",
                index,
                entry,
                plan=self._digest,
                accepted=entry.body["plan_sha256"],
            )
            return
        self._acceptances.add(entry.author)

    def _oprf_key(self, index: int, entry: SignedEntry) -> None:
        """One fresh key per company, campaign and kind (protocol §1): a reused one links what it opens."""
        first = self._oprf_keys.setdefault((entry.body["company"], entry.body["kind"]), index)
        if first != index:
            self._add(
                Code.OPRF_KEY_REPEATED,
                "expected one oprf-key per company, campaign and kind, got a second",
                index,
                entry,
                first=first,
            )
        used = self._wide.oprf_keys.setdefault(entry.body["public_key"], index)
        if used != index:
            self._add(
                Code.OPRF_KEY_REUSED,
                "expected a fresh key, got one that the ledger has already",
                index,
                entry,
                first=used,
            )

    def _consent_epoch(self, index: int, entry: SignedEntry) -> None:
        """The newest is the one that counts: who withdrew since is in an older one only."""
        self._epochs[entry.body["company"], entry.body["kind"]] = index

    def _table(self, index: int, entry: SignedEntry) -> None:
        """A table.

        1. It was made from the newest consent epoch of the same campaign, company and kind, and no other
           table was.
        2. Its company's oprf-key of that kind, and clear coverage, stand before it.
        3. Its table id was never used: a second table under one id would reuse row keys.
        4. A training table comes before anybody commits to its rows, a score table after its company's head.
        """
        company, manifest = entry.body["company"], entry.body["manifest"]
        # 1
        self._check_epoch(index, entry, manifest["kind"])
        # 2
        self._gate.check_covered(index, entry)
        if (company, manifest["kind"]) not in self._oprf_keys:
            self._add(Code.OPRF_KEY_MISSING, "expected the company's oprf-key before its table", index, entry)
        # 3
        first = self._wide.table_ids.setdefault(manifest["table_id"], index)
        if first != index:
            self._add(
                Code.TABLE_ID_REUSED,
                "expected a fresh table id, got one that the ledger has already",
                index,
                entry,
                first=first,
            )
        # 4
        if manifest["kind"] == TableKind.TRAIN:
            self._train_tables.add(company)
            self._statistics.table(company, manifest["root"])
            if self._commitments.has_committed(company) or self._statistics.has_rows(company):
                self._add(
                    Code.TRAIN_TABLE_LATE,
                    "expected the training table before anybody committed to its rows",
                    index,
                    entry,
                )
        elif company not in self._heads:
            self._add(
                Code.SCORE_TABLE_EARLY,
                "expected the company's head-commitment before its scores",
                index,
                entry,
            )

    def _check_epoch(self, index: int, entry: SignedEntry, kind: str) -> None:
        epoch = entry.body["consent_epoch"]
        newest = self._epochs.get((entry.body["company"], kind))
        if newest is None or epoch != newest:
            self._add(
                Code.CONSENT_EPOCH_MISSING,
                "expected the newest consent-epoch of this campaign, company and kind",
                index,
                entry,
                consent_epoch=epoch,
            )
            return
        first = self._used_epochs.setdefault(epoch, index)
        if first != index:
            self._add(
                Code.CONSENT_EPOCH_REUSED,
                "expected one table per consent-epoch, got a second",
                index,
                entry,
                first=first,
            )

    def _sealed_statistics(self, index: int, entry: SignedEntry) -> None:
        has_committed = self._commitments.has_committed(entry.body["company"])
        self._statistics.read(index, entry, has_committed=has_committed)

    def _training_commitment(self, index: int, entry: SignedEntry) -> None:
        """A company that accepted the plan commits to its seed and to the rows of its training table."""
        self._check_digest(index, entry, Code.COMMITMENT_OTHER_PLAN)
        self._check_accepted(index, entry)
        self._check_train_table(index, entry)
        self._commitments.commitment(index, entry)

    def _intent(self, index: int, entry: SignedEntry) -> None:
        """A company reserves a round.

        1. Whatever else is wrong, the event is spent: a round is paid for at intent.
        2. The company accepted this plan, enough others did, and its training table stands.
        3. The beacon stands, and the company had committed to seed and rows; if those are sums, they were
           answered before.
        4. Rounds ascend from 1 by one, to the plan's last.
        5. The plan's hash and event, to the letter.
        6. The company's own odometer moved on since its last intent: another line, and a later one.
        """
        company, number = entry.author, entry.body["round"]
        # 1
        is_planned = entry.body["event"] == self._planned_event
        event = self.round_event if is_planned else GaussianEvent.from_body(entry.body["event"])
        self.events.setdefault(company, []).append(event)
        self._places.setdefault(company, []).append(index)
        # 2
        self._check_ready(index, entry)
        # 3
        self._commitments.check_intent(index, company)
        self._statistics.check_intent(index, entry)
        # 4
        reserved = self._intents.setdefault(company, {})
        if number != len(reserved) + 1:
            self._add(
                Code.INTENT_ROUND_ORDER,
                "expected rounds from 1 without gap or repetition",
                index,
                entry,
                expected=len(reserved) + 1,
                got=number,
            )
        if number > self.plan.training.rounds:
            self._add(
                Code.INTENT_BEYOND_PLAN,
                f"expected at most the plan's {self.plan.training.rounds} rounds, got round {number}",
                index,
                entry,
            )
        reserved.setdefault(number, index)
        # 5
        self._check_terms(index, entry, event)
        # 6
        self._check_odometer(index, entry)

    def _check_odometer(self, index: int, entry: SignedEntry) -> None:
        company, sequence = entry.author, entry.body["sequence"]
        first = self._wide.odometers.setdefault((company, entry.body["previous"]), index)
        if first != index:
            self._add(
                Code.ODOMETER_REPEATED,
                "expected an odometer that moved on, got one that was rolled back",
                index,
                entry,
                first=first,
            )
        reached, at = self._wide.sequences.get(company, (-1, -1))
        if sequence <= reached:
            self._add(
                Code.ODOMETER_ROLLED_BACK,
                f"expected a line of the odometer after line {reached}, got line {sequence}",
                index,
                entry,
                before=at,
            )
        else:
            self._wide.sequences[company] = (sequence, index)

    def _check_ready(self, index: int, entry: SignedEntry) -> None:
        self._check_accepted(index, entry)
        if len(self._acceptances) < self.plan.minimum_cohort:
            self._add(
                Code.ACCEPTANCES_TOO_FEW,
                f"expected {self.plan.minimum_cohort} acceptances before the first round",
                index,
                entry,
                accepted=len(self._acceptances),
            )
        self._check_train_table(index, entry)

    def _check_accepted(self, index: int, entry: SignedEntry) -> None:
        if entry.author not in self._acceptances:
            self._add(
                Code.ACCEPTANCE_MISSING, "expected the company's acceptance of the plan before", index, entry
            )

    def _check_train_table(self, index: int, entry: SignedEntry) -> None:
        if entry.author not in self._train_tables:
            self._add(Code.TRAIN_TABLE_MISSING, "expected the company's training table before", index, entry)

    def _check_digest(self, index: int, entry: SignedEntry, code: Code) -> None:
        if entry.body["plan_sha256"] != self._digest:
            self._add(code, "expected the hash of this campaign's plan, got another", index, entry)

    def _check_terms(self, index: int, entry: SignedEntry, event: GaussianEvent) -> None:
        self._check_digest(index, entry, Code.INTENT_OTHER_PLAN)
        if event != self.round_event:
            spent = event.to_body()
            self._add(
                Code.EVENT_NOT_THE_PLANS,
                "expected the event that the plan fixes, got another",
                index,
                entry,
                fields=[name for name, planned in self._planned_event.items() if planned != spent[name]],
            )

    def _settle(self, index: int, entry: SignedEntry) -> None:
        """A company closes a round.

        1. A round of the plan, settled once and in order, by a company that accepted the plan and has no
           head yet.
        2. The survivors are enough companies of the cohort, each of which had reserved the round, and
           not for an attempt that failed: its inputs must never be opened.
        3. The update is not one that this company settled before.
        4. All companies say the same of the round, about as many sentinels as are planned.
        The noise of enough survivors is enough: a plan tolerates at least as many missing companies as its
        minimum cohort allows (`CampaignPlan`).
        """
        # 1
        self._check_settle_order(index, entry)
        # 2
        self._check_survivors(index, entry)
        # 3
        self._check_update(index, entry)
        # 4
        self._check_agreement(index, entry)

    def _check_settle_order(self, index: int, entry: SignedEntry) -> None:
        company, number = entry.author, entry.body["round"]
        settled = self._settled.setdefault(company, set())
        if number > self.plan.training.rounds:
            self._add(Code.SETTLE_BEYOND_PLAN, "expected a round of the plan, got a later one", index, entry)
        if settled and number <= max(settled):
            self._add(
                Code.SETTLE_ORDER, "expected each round once and in ascending order", index, entry, got=number
            )
        settled.add(number)
        self._check_accepted(index, entry)
        if company in self._heads:
            self._add(
                Code.HEAD_EARLY,
                "expected the head after the company's last settle, got a settle after it",
                self._heads[company],
                entry,
                settle=index,
            )

    def _check_survivors(self, index: int, entry: SignedEntry) -> None:
        number, survivors = entry.body["round"], entry.body["survivors"]
        known = self._sound_survivors.get(number)
        if known is not None and known[1] == len(self._failures) and known[0] == survivors:
            return  # reservations are never taken back: what was sound still is, but for later failures
        found = self._findings.count
        strangers = sorted(set(survivors) - self._cohort)
        if strangers:
            self._add(
                Code.SURVIVORS_NOT_IN_COHORT,
                "expected survivors of the plan's cohort",
                index,
                entry,
                strangers=strangers,
            )
        if len(survivors) < self.plan.minimum_cohort:
            self._add(
                Code.SURVIVORS_TOO_FEW,
                f"expected at least {self.plan.minimum_cohort} survivors, got {len(survivors)}",
                index,
                entry,
            )
        reserved = {name: self._intents.get(name, {}).get(number) for name in survivors}
        unreserved = [name for name, intent in reserved.items() if intent is None]
        if unreserved:
            self._add(
                Code.SETTLE_WITHOUT_INTENT,
                "expected every survivor's intent for this round before",
                index,
                entry,
                without_intent=unreserved,
            )
        failed = max((at for at, failure in self._failures if failure <= number), default=-1)
        reopened = [name for name, intent in reserved.items() if intent is not None and intent < failed]
        if reopened:
            self._add(
                Code.ROUND_FAILED_CONFLICT,
                "expected survivors that reserved the round after it failed, got earlier reservations",
                index,
                entry,
                failed=failed,
                reserved_before=reopened,
            )
        if self._findings.count == found:
            self._sound_survivors[number] = (survivors, len(self._failures))

    def _check_update(self, index: int, entry: SignedEntry) -> None:
        if entry.author not in entry.body["survivors"]:
            return  # it contributed nothing, in this round as in others
        first = self._updates.setdefault((entry.author, entry.body["update_sha256"]), index)
        if first != index:
            self._add(
                Code.UPDATE_REPEATED,
                "expected an update with fresh noise, got one that was settled before",
                index,
                entry,
                first=first,
            )

    def _check_agreement(self, index: int, entry: SignedEntry) -> None:
        body = entry.body
        first = self._rounds.setdefault(
            body["round"],
            Round(index, body["survivors"], body["sentinels"], body["model_in"], body["model_out"]),
        )
        if body["survivors"] != first.survivors:
            self._add(
                Code.SURVIVORS_DIFFER,
                "expected the survivors that other companies settled, got others",
                index,
                entry,
                first=first.index,
            )
        if (body["model_in"], body["model_out"]) != (first.model_in, first.model_out):
            self._add(
                Code.MODELS_DIFFER,
                "expected the models that other companies settled, got others",
                index,
                entry,
                first=first.index,
            )
        if body["sentinels"] != first.sentinels:
            self._add(
                Code.SENTINELS_DIFFER,
                "expected the sentinel sums that other companies settled, got others",
                index,
                entry,
                first=first.index,
            )
        if len(body["sentinels"]) != self.plan.training.sentinels:
            self._add(
                Code.SENTINELS_NOT_THE_PLANS,
                f"expected {self.plan.training.sentinels} sentinels, got {len(body['sentinels'])}",
                index,
                entry,
            )

    def _round_failed(self, index: int, entry: SignedEntry) -> None:
        number = entry.body["round"]
        if number > self.plan.training.rounds or number in self._rounds:
            self._add(
                Code.ROUND_FAILED_CONFLICT,
                "expected the failure of a round of the plan that nobody settled",
                index,
                entry,
                got=number,
            )
        self._failures.append((index, number))

    def _head(self, index: int, entry: SignedEntry) -> None:
        """A company commits to its heads: once a season, after the last round, in the plan's format.

        Campaigns that score one season ask about the same behaviour (docs/protocol.md §5.5). A second message
        could hold a basis vector, whose score reads one coordinate of an embedding.
        """
        self._heads.setdefault(entry.author, index)
        first = self._wide.season_heads.setdefault((entry.author, self.plan.score_season), index)
        if first != index:
            self._add(
                Code.HEAD_REPEATED,
                "expected one head commitment per company and score season, got a second",
                index,
                entry,
                first=first,
            )
        if self.plan.training.rounds not in self._rounds:
            self._add(Code.HEAD_EARLY, "expected the settles of the last round before any head", index, entry)
        expected = (self.plan.scoring.heads, self.plan.release.dimensions, self.plan.scoring.weight_bits)
        if (entry.body["heads"], entry.body["dimensions"], entry.body["weight_bits"]) != expected:
            self._add(
                Code.HEAD_NOT_THE_PLANS,
                f"expected {expected[0]} heads of {expected[1]} weights of {expected[2]} bits, got others",
                index,
                entry,
            )

    def _close(self, index: int, entry: SignedEntry) -> None:
        del entry
        self._closed = index

    def _check_model_chain(self) -> None:
        for number, current in sorted(self._rounds.items()):
            before = self._rounds.get(number - 1)
            if number > 1 and (before is None or before.model_out != current.model_in):
                self._findings.add(
                    Code.MODEL_CHAIN_BROKEN,
                    "expected the model that the round before left, got another or no such round",
                    index=current.index,
                    campaign=self.plan.campaign,
                    round=number,
                )

    def _check_settle_gaps(self, company: str, settled: set[int]) -> None:
        """A company settles every round up to its last, but for those in which it was no survivor."""
        for number in range(1, max(settled)):
            known = self._rounds.get(number)
            if number not in settled and (known is None or company in known.survivors):
                self._findings.add(
                    Code.SETTLE_ORDER,
                    "expected the settle of every round that the company took part in, got a gap",
                    index=None if known is None else known.index,
                    campaign=self.plan.campaign,
                    company=company,
                    round=number,
                )

    def _add(self, code: Code, message: str, index: int, entry: SignedEntry, **evidence: Evidence) -> None:
        named: dict[str, Evidence] = {"campaign": self.plan.campaign}
        if entry.company is not None:
            named["company"] = entry.company
        self._findings.add(code, message, index=index, **named, **evidence)

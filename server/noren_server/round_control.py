"""Watching the rounds of a campaign, holding them, leaving a company out: the operator's side and the run's.

Both sides meet in `platform.db`, so whoever asks may be any process of the platform. Promises: a hold takes
effect before the next round, never within one, and going on asks every company for the reservation that it
made already, so nothing is reserved twice; a company that is left out keeps its charge, since it reserved the
round before anybody asked, and still gets the head at the end; nobody is left out if fewer companies than the
plan's minimum would remain, neither when it is asked for nor when the round begins.

What the operator asks for here is not a ledger entry: who was in a sum is, in every settled round, and a
company that is missing looks there as any company that did not answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from noren_core.errors import LocalProtocolError
from noren_core.season.plan import CampaignPlan
from noren_server.round_rows import ReportState, RoundRecord, RoundRows, SkipState
from noren_server.store import CampaignState, Store, Transaction

_POLL_SECONDS = 1.0
_LOG = logging.getLogger("noren.rounds")


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds of one campaign as they stand.

    Attributes:
        planned: how many the plan has.
        records: those that began, oldest first.
        held_since: Unix seconds since when no further one is begun, or None.
        skips: companies that are, or were to be, left out.
    """

    planned: int
    records: tuple[RoundRecord, ...]
    held_since: int | None
    skips: dict[str, SkipState]

    @property
    def current(self) -> RoundRecord | None:
        """The newest round, over or not."""
        return self.records[-1] if self.records else None

    @property
    def left_out(self) -> frozenset[str]:
        """Companies that take no part in what follows because the operator said so."""
        return frozenset(c for c, state in self.skips.items() if state is not SkipState.REFUSED)


class RoundControl:
    """The rounds of one campaign, for the run and for the operator."""

    def __init__(
        self,
        store: Store,
        plan: CampaignPlan,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._plan = plan
        self._clock = clock
        self._sleep = sleep

    # The operator's side

    def rounds(self) -> Rounds:
        """How they stand."""
        with self._store.snapshot() as transaction:
            return self._read(transaction.rounds())

    def pause(self) -> None:
        """Hold the campaign before its next round.

        Raises:
            LocalProtocolError: if it is held already, closed, or its last round is over.
        """
        with self._store.transaction() as transaction:
            rows = self._open_rows(transaction)
            if rows.held_since(self._plan.campaign) is not None:
                raise LocalProtocolError("rounds: expected a campaign that goes on, got one that is held")
            rows.hold(self._plan.campaign, since=self._now())

    def resume(self) -> None:
        """Let the next round begin; LocalProtocolError if nothing holds the campaign."""
        with self._store.transaction() as transaction:
            rows = transaction.rounds()
            if rows.held_since(self._plan.campaign) is None:
                raise LocalProtocolError("rounds: expected a campaign that is held, got one that goes on")
            rows.release(self._plan.campaign)

    def skip(self, company: str) -> None:
        """Leave a company out of every round that has not begun.

        Raises:
            LocalProtocolError: if the company is not in the plan, or is left out already; with code
                COHORT_TOO_SMALL, if too few companies would remain.
        """
        with self._store.transaction() as transaction:
            rows = self._open_rows(transaction)
            known = self._read(rows)
            if company not in self._plan.companies or company in known.left_out:
                raise LocalProtocolError("rounds: expected a company that takes part, got another")
            if len(self._taking_part(known) - {company}) < self._plan.minimum_cohort:
                raise LocalProtocolError(
                    f"rounds: expected at least {self._plan.minimum_cohort} companies to remain, got fewer",
                    code="COHORT_TOO_SMALL",
                )
            rows.put_skip(self._plan.campaign, company, SkipState.ASKED, at=self._now())

    def is_held(self) -> bool:
        """Whether the operator holds the campaign."""
        with self._store.snapshot() as transaction:
            return transaction.rounds().held_since(self._plan.campaign) is not None

    # The run's side

    def wait_while_held(self, tell: Callable[[], object]) -> None:
        """Return once nothing holds the campaign; `tell` is called first if something does."""
        if not self.is_held():
            return
        tell()
        while self.is_held():
            self._sleep(_POLL_SECONDS)

    def remaining(self, companies: Collection[str]) -> set[str]:
        """These companies without those that are to be left out.

        One without which too few would remain stays, and the operator sees that her wish was refused.
        """
        remaining = set(companies)
        with self._store.transaction() as transaction:
            rows = transaction.rounds()
            for company, state in sorted(rows.skips(self._plan.campaign).items()):
                if company not in remaining or state is SkipState.REFUSED:
                    continue
                is_possible = len(remaining) > self._plan.minimum_cohort
                became = SkipState.APPLIED if is_possible else SkipState.REFUSED
                rows.put_skip(self._plan.campaign, company, became, at=self._now())
                if is_possible:
                    remaining.remove(company)
                else:
                    _LOG.warning("%s is not left out: too few companies would remain", company)
        return remaining

    def opened(self, round_number: int, companies: Collection[str], *, seconds: float) -> None:
        """A round begins, and waits this long for these companies."""
        now = self._now()
        with self._store.transaction() as transaction:
            transaction.rounds().begin_round(
                self._plan.campaign, round_number, companies, opened_at=now, closes_at=now + round(seconds)
            )

    def asked_again(self, round_number: int, companies: Collection[str]) -> None:
        """These did not answer in the first part of the time."""
        with self._store.transaction() as transaction:
            transaction.rounds().late(self._plan.campaign, round_number, companies)

    def heard(self, round_number: int, company: str) -> None:
        """An answer of a company arrived; whether it counts is found out when all are there."""
        self._report(round_number, {company}, ReportState.REPORTED)

    def judged(self, round_number: int, *, reported: Collection[str], missed: Collection[str]) -> None:
        """Who is in the sum, and who of those that were asked is not."""
        with self._store.transaction() as transaction:
            rows = transaction.rounds()
            rows.report(self._plan.campaign, round_number, reported, ReportState.REPORTED)
            rows.report(self._plan.campaign, round_number, missed, ReportState.MISSED)

    def closed(self, round_number: int) -> None:
        """A round is over."""
        with self._store.transaction() as transaction:
            transaction.rounds().close_round(self._plan.campaign, round_number, closed_at=self._now())

    def _report(self, round_number: int, companies: Collection[str], state: ReportState) -> None:
        with self._store.transaction() as transaction:
            transaction.rounds().report(self._plan.campaign, round_number, companies, state)

    def _read(self, rows: RoundRows) -> Rounds:
        campaign = self._plan.campaign
        return Rounds(
            planned=self._plan.training.rounds,
            records=tuple(rows.rounds(campaign)),
            held_since=rows.held_since(campaign),
            skips=rows.skips(campaign),
        )

    def _open_rows(self, transaction: Transaction) -> RoundRows:
        """The rows of a campaign of which rounds can still begin."""
        found = transaction.campaign(self._plan.campaign)
        rows = transaction.rounds()
        last = next(reversed(rows.rounds(self._plan.campaign)), None)
        is_over = last is not None and last.round_number >= self._plan.training.rounds
        if found is None or found.state is CampaignState.CLOSED or is_over:
            raise LocalProtocolError("rounds: expected a campaign with rounds to come, got one without")
        return rows

    def _taking_part(self, known: Rounds) -> set[str]:
        """Whom the next round would ask, as far as the last one tells: who missed it is not asked again."""
        if known.current is None:
            companies = set(self._plan.companies)
        else:
            reports = known.current.reports.items()
            companies = {c for c, report in reports if report.state is not ReportState.MISSED}
        return companies - known.left_out

    def _now(self) -> int:
        return int(self._clock())

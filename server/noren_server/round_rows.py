"""The rounds of a campaign as they are kept in `platform.db`: what the operator sees and what she asked for.

Promises: counts and states of companies, never of people; why a company is missing from a round is not in
here, since the reason could be that somebody withdrew. What stands here decides nothing about privacy: what
is spent is in the ledger and in the companies' odometers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()
_HOLDS = sa.Table(
    "round_holds",
    METADATA,
    sa.Column("campaign", sa.String, primary_key=True),
    sa.Column("since", sa.Integer, nullable=False),
)
_SKIPS = sa.Table(
    "round_skips",
    METADATA,
    sa.Column("campaign", sa.String, primary_key=True),
    sa.Column("company", sa.String, primary_key=True),
    sa.Column("asked_at", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
)
_ROUNDS = sa.Table(
    "rounds",
    METADATA,
    sa.Column("campaign", sa.String, primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("opened_at", sa.Integer, nullable=False),
    sa.Column("closes_at", sa.Integer, nullable=False),
    sa.Column("closed_at", sa.Integer),
)
_ROUND_COMPANIES = sa.Table(
    "round_companies",
    METADATA,
    sa.Column("campaign", sa.String, primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("company", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("is_late", sa.Boolean, nullable=False),
)


class ReportState(StrEnum):
    """Where a company is in a round; `MISSED` says nothing about why."""

    INVITED = "invited"
    REPORTED = "reported"
    MISSED = "missed"


class SkipState(StrEnum):
    """What became of the wish that a company be left out of the rounds that follow."""

    ASKED = "asked"
    APPLIED = "applied"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CompanyReport:
    """One company in one round; `is_late` if it had to be asked a second time."""

    state: ReportState
    is_late: bool


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round.

    Attributes:
        round_number: from 1.
        opened_at: Unix seconds.
        closes_at: when companies are waited for no longer.
        closed_at: when its sum was there, None before that.
        reports: every company that was invited.
    """

    round_number: int
    opened_at: int
    closes_at: int
    closed_at: int | None
    reports: Mapping[str, CompanyReport]

    @property
    def invited(self) -> int:
        """How many companies were asked."""
        return len(self.reports)

    @property
    def reported(self) -> int:
        """How many answered in time."""
        return sum(report.state is ReportState.REPORTED for report in self.reports.values())

    @property
    def late(self) -> int:
        """How many were asked a second time and have not answered; of a round that is over, none."""
        return sum(report.is_late and report.state is ReportState.INVITED for report in self.reports.values())

    @property
    def missed(self) -> int:
        """How many are not in the sum."""
        return sum(report.state is ReportState.MISSED for report in self.reports.values())


class RoundRows:
    """Reading and changing them inside a transaction of the store."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # What the operator asked for

    def held_since(self, campaign: str) -> int | None:
        """Since when no further round is begun; None if nothing holds the campaign."""
        query = sa.select(_HOLDS.c.since).where(_HOLDS.c.campaign == campaign)
        since: int | None = self._connection.execute(query).scalar_one_or_none()
        return since

    def hold(self, campaign: str, *, since: int) -> None:
        """Begin no further round."""
        self._connection.execute(sa.insert(_HOLDS).values(campaign=campaign, since=since))

    def release(self, campaign: str) -> None:
        """Go on."""
        self._connection.execute(sa.delete(_HOLDS).where(_HOLDS.c.campaign == campaign))

    def skips(self, campaign: str) -> dict[str, SkipState]:
        """The companies that are, or were to be, left out."""
        query = sa.select(_SKIPS.c.company, _SKIPS.c.state).where(_SKIPS.c.campaign == campaign)
        return {company: SkipState(state) for company, state in self._connection.execute(query)}

    def put_skip(self, campaign: str, company: str, state: SkipState, *, at: int) -> None:
        """Ask that a company be left out, or say what became of it."""
        of = sa.and_(_SKIPS.c.campaign == campaign, _SKIPS.c.company == company)
        if self._connection.execute(sa.update(_SKIPS).where(of).values(state=state.value)).rowcount == 0:
            values = {"campaign": campaign, "company": company, "asked_at": at, "state": state.value}
            self._connection.execute(sa.insert(_SKIPS).values(values))

    # What the run says

    def begin_round(
        self, campaign: str, round_number: int, companies: Collection[str], *, opened_at: int, closes_at: int
    ) -> None:
        """Begin a round; one of this number that a run before could not end gives way."""
        for table in (_ROUNDS, _ROUND_COMPANIES):
            of = sa.and_(table.c.campaign == campaign, table.c.round == round_number)
            self._connection.execute(sa.delete(table).where(of))
        self._connection.execute(
            sa.insert(_ROUNDS).values(
                campaign=campaign, round=round_number, opened_at=opened_at, closes_at=closes_at
            )
        )
        if companies:
            rows = [_row(campaign, round_number, company) for company in sorted(companies)]
            self._connection.execute(sa.insert(_ROUND_COMPANIES), rows)

    def report(
        self, campaign: str, round_number: int, companies: Collection[str], state: ReportState
    ) -> None:
        """Note how these companies stand."""
        self._change(campaign, round_number, companies, state=state.value)

    def late(self, campaign: str, round_number: int, companies: Collection[str]) -> None:
        """Note that these were asked a second time."""
        self._change(campaign, round_number, companies, is_late=True)

    def close_round(self, campaign: str, round_number: int, *, closed_at: int) -> None:
        """Note that a round is over."""
        of = sa.and_(_ROUNDS.c.campaign == campaign, _ROUNDS.c.round == round_number)
        self._connection.execute(sa.update(_ROUNDS).where(of).values(closed_at=closed_at))

    def rounds(self, campaign: str) -> list[RoundRecord]:
        """Every round so far, oldest first."""
        query = sa.select(_ROUNDS).where(_ROUNDS.c.campaign == campaign).order_by(_ROUNDS.c.round)
        reports = self._reports(campaign)
        return [
            RoundRecord(
                round_number=row.round,
                opened_at=row.opened_at,
                closes_at=row.closes_at,
                closed_at=row.closed_at,
                reports=reports.get(row.round, {}),
            )
            for row in self._connection.execute(query)
        ]

    def _reports(self, campaign: str) -> dict[int, dict[str, CompanyReport]]:
        found: dict[int, dict[str, CompanyReport]] = {}
        for number, company, report in self._report_rows(campaign):
            found.setdefault(number, {})[company] = report
        return found

    def _report_rows(self, campaign: str) -> Iterator[tuple[int, str, CompanyReport]]:
        query = (
            sa.select(_ROUND_COMPANIES)
            .where(_ROUND_COMPANIES.c.campaign == campaign)
            .order_by(_ROUND_COMPANIES.c.company)
        )
        for row in self._connection.execute(query):
            yield row.round, row.company, CompanyReport(ReportState(row.state), row.is_late)

    def _change(self, campaign: str, round_number: int, companies: Collection[str], **values: object) -> None:
        of = sa.and_(
            _ROUND_COMPANIES.c.campaign == campaign,
            _ROUND_COMPANIES.c.round == round_number,
            _ROUND_COMPANIES.c.company.in_(sorted(companies)),
        )
        self._connection.execute(sa.update(_ROUND_COMPANIES).where(of).values(values))


def _row(campaign: str, round_number: int, company: str) -> dict[str, Any]:
    return {
        "campaign": campaign,
        "round": round_number,
        "company": company,
        "state": ReportState.INVITED.value,
        "is_late": False,
    }

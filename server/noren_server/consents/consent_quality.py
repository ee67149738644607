"""How consents come about, in numbers: what students answered, how long they took, what runs out when.

Promises: nothing here is about one person; counts of 1 to 9 are hidden, and so are those from which a hidden
one would follow (`noren_core.rights.coverage.small_cells`). What is counted are records, that is questions
that a student was asked for one use; each counts once, in the month of its newest event. The three breakdowns
are of the same records, and there is none by two things at once: those could be subtracted from one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache

from noren_core.rights.consent.consent_record import LIVE_STATES, ConsentState
from noren_core.rights.coverage.small_cells import hide_small_cells
from noren_server.consents.consent_book import ConsentBook

BREAKDOWNS = ("purpose", "company", "month")
DAY_SECONDS = 86_400

Shown = Mapping[str, Mapping[str, int | None]]
"""By row and column, with the totals; None where a count is hidden."""


class Outcome(StrEnum):
    """What a question came to."""

    UNANSWERED = "unanswered"
    CONSENTED = "consented"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    ENDED = "ended"


_S = ConsentState
_OUTCOME: Mapping[ConsentState, Outcome] = {
    _S.SHOWN: Outcome.UNANSWERED,
    _S.REQUESTED: Outcome.UNANSWERED,
    _S.DEFERRED: Outcome.UNANSWERED,
    _S.GIVEN: Outcome.CONSENTED,
    _S.RENEWED: Outcome.CONSENTED,
    _S.REFUSED: Outcome.REFUSED,
    _S.WITHDRAWN: Outcome.WITHDRAWN,
    _S.EXPIRED: Outcome.ENDED,
    _S.SUPERSEDED: Outcome.ENDED,
    _S.INVALIDATED: Outcome.ENDED,
    _S.REVOKED: Outcome.ENDED,
}
_DECISION_SECONDS = (2, 5, 15, 60, 300)
_EXPIRY_DAYS = (0, 7, 30, 90, 180)
_LIVE = ", ".join(f"'{state.value}'" for state in sorted(LIVE_STATES))
_OUTCOMES = "SELECT purpose, company, last_time / 86400, COALESCE(overruled, state) FROM records"
_DECISIONS = "SELECT dwell_ms / 1000, COUNT(*) FROM records WHERE dwell_ms IS NOT NULL GROUP BY 1"
_EXPIRIES = f"""
SELECT expires_at / 86400, COUNT(*) FROM records
WHERE state IN ({_LIVE}) AND overruled IS NULL AND expires_at > 0 GROUP BY 1"""  # noqa: S608 (our own words)
_COUNT_LIVE = f"SELECT COUNT(*) FROM records WHERE state IN ({_LIVE}) AND overruled IS NULL"  # noqa: S608


@dataclass(frozen=True, slots=True)
class ConsentQuality:
    """What is shown of all consents of a platform.

    Attributes:
        outcomes: by breakdown (`BREAKDOWNS`), row and `Outcome`.
        decisions: consents by the seconds that the screen stood before the answer, as her device said.
        expiries: live consents by the days until they run out.
    """

    outcomes: Mapping[str, Shown]
    decisions: Mapping[str, int | None]
    expiries: Mapping[str, int | None]

    @property
    def is_empty(self) -> bool:
        """Whether nobody was asked anything."""
        return not self.outcomes["purpose"]


def consent_quality(book: ConsentBook, *, now: int) -> ConsentQuality:
    """The numbers of a consent book as it is now (Unix seconds)."""
    with book.reading() as database:
        cells = Counter(database.execute(_OUTCOMES))  # in less time than the database groups them
        decisions = database.execute(_DECISIONS).fetchall()
        expiries = database.execute(_EXPIRIES).fetchall()
    today = now // DAY_SECONDS
    return ConsentQuality(
        outcomes=_outcomes(cells),
        decisions=_by_bound(dict(decisions), _DECISION_SECONDS),
        expiries=_by_bound({day - today: count for day, count in expiries}, _EXPIRY_DAYS),
    )


def live_consents(
    book: ConsentBook, companies: Collection[str] | None = None, seasons: Collection[str] | None = None
) -> int:
    """How many consents were given and not ended; to all companies, in all seasons, if none are named."""
    places: list[tuple[str, ...]] = [()]
    condition = ""
    if companies is not None:
        places, condition = [(company,) for company in companies], " AND company = ?"
        if seasons is not None:
            places = [(company, season) for company in companies for season in seasons]
            condition += " AND season = ?"
    with book.reading() as database:
        return sum(database.execute(_COUNT_LIVE + condition, place).fetchone()[0] for place in places)


def _outcomes(cells: Mapping[tuple[str, str, int, str], int]) -> dict[str, Shown]:
    tables: dict[str, dict[str, Counter[str]]] = {name: {} for name in BREAKDOWNS}
    for (purpose, company, day, state), count in cells.items():
        outcome = _OUTCOME[ConsentState(state)]
        for name, row in zip(BREAKDOWNS, (purpose, company, _month(day)), strict=True):
            empty = Counter({item.value: 0 for item in Outcome})
            tables[name].setdefault(row, empty)[outcome.value] += count
    shown = hide_small_cells({name: dict(sorted(table.items())) for name, table in tables.items()})
    return {name: shown[name] for name in BREAKDOWNS}


@cache
def _month(day: int) -> str:
    return f"{datetime.fromtimestamp(day * DAY_SECONDS, UTC):%Y-%m}"


def _by_bound(counts: Mapping[int, int], bounds: tuple[int, ...]) -> dict[str, int | None]:
    """Counts by the first bound that they are below, in the end those above all; small ones hidden."""
    names = [f"<{bound}" for bound in bounds] + [f">={bounds[-1]}"]
    groups = dict.fromkeys(names, 0)
    for value, count in counts.items():
        place = sum(value >= bound for bound in bounds)
        groups[names[place]] += count
    return dict(hide_small_cells({"one": {"all records": groups}})["one"]["all records"])

"""From a student's wish to be erased to orders for companies, and back: what became of her wish.

    erasure_requests.db    who asked, where, when (SQLite, 0600)

Promises: who asked cannot be told from an order, since it goes to every company of the campaign; a wish that
an order names already makes no new one, so nobody can flood companies with orders. What counts is what orders
and revocation lists say, never a time that a student's device states. Her wish is written down after the
orders are; a student is told of the orders that carry out her own wish, and of no other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from noren_core.season.plan import CampaignPlan
from noren_server.policies.evidence_file import EvidenceFile
from noren_server.rights.erasure_orders import ErasureDesk, FollowedOrder
from noren_server.rights.erasure_status import ErasureStatus, OrderedErasure
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.student_api import ErasureRequest

DATABASE_NAME = "erasure_requests.db"

_SCHEMA = """
CREATE TABLE wishes (
    student TEXT NOT NULL,
    company TEXT NOT NULL,
    disclose_first INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX wishes_of_student ON wishes (student, at);
"""


class ErasureRequests:
    """Hands the wishes of one platform's students on, and remembers them."""

    def __init__(
        self,
        path: Path,
        provisions: ProvisionRecords,
        desk: ErasureDesk,
        plan_of: Callable[[str], CampaignPlan],
        *,
        clock: Callable[[], int],
    ) -> None:
        self._file = EvidenceFile(path, schema=_SCHEMA, version=1)
        self._provisions = provisions
        self._desk = desk
        self._plan_of = plan_of
        self._clock = clock

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def order(self, request: ErasureRequest) -> None:
        """See to an order in every campaign in which something of hers was provided to whom she means.

        That she withdrew there before is checked by the caller; her rows are on the revocation lists then.
        """
        for campaign in sorted({campaign for _, campaign in self._places(request.student, request.company)}):
            self._desk.ensure(self._plan_of(campaign), disclose_first=request.disclose_first)
        with self._file.writing() as database:
            database.execute(
                "INSERT INTO wishes VALUES (?, ?, ?, ?)",
                (request.student, request.company, request.disclose_first, self._clock()),
            )

    def of_student(self, student: str) -> tuple[ErasureStatus, ...]:
        """Her wishes, oldest first, each with the orders that were in force for it when she asked."""
        with self._file.reading() as database:
            wishes = database.execute(
                "SELECT company, disclose_first, at FROM wishes WHERE student = ? ORDER BY at", (student,)
            ).fetchall()
        if not wishes:
            return ()
        orders = self._desk.orders()
        return tuple(
            ErasureStatus(company, at, bool(first), self._carried_out(orders, student, company, at))
            for company, first, at in wishes
        )

    def has_older(self, *, before: int) -> bool:
        """Whether a wish is older than that."""
        with self._file.reading() as database:
            found = database.execute("SELECT 1 FROM wishes WHERE at < ? LIMIT 1", (before,)).fetchone()
        return found is not None

    def expire(self, *, before: int) -> None:
        """Forget the wishes that are older than that."""
        with self._file.writing() as database:
            database.execute("DELETE FROM wishes WHERE at < ?", (before,))

    def _carried_out(
        self, orders: list[FollowedOrder], student: str, company: str, at: int
    ) -> tuple[OrderedErasure, ...]:
        """The newest order for each place of hers that was issued until she was told."""
        newest = {
            (item.order.company, item.order.campaign): item for item in orders if item.order.issued_at <= at
        }
        found = [newest[place] for place in sorted(self._places(student, company)) if place in newest]
        return tuple(
            OrderedErasure(item.order.company, item.order.campaign, item.state, item.order.due_at)
            for item in found
        )

    def _places(self, student: str, company: str) -> set[tuple[str, str]]:
        lines = self._provisions.of_student(student)
        return {(line.company, line.campaign) for line in lines if company in ("", line.company)}

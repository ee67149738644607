"""From a student's wish to be erased to orders for companies.

Promises: who asked cannot be told from an order, since it goes to every company of the campaign; a wish that
an earlier order covers already makes no new one, so nobody can flood companies with orders.
"""

from __future__ import annotations

from collections.abc import Callable

from noren_core.ledger.entries import ErasureGround
from noren_core.rights.consent_event import ConsentEvent, EventKind
from noren_core.season.plan import CampaignPlan
from noren_server.consents.consent_book import ConsentBook
from noren_server.rights.erasure_orders import ErasureDesk
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.student_api import ErasureRequest


class ErasureRequests:
    """Hands the wishes of one platform's students on."""

    def __init__(
        self,
        book: ConsentBook,
        provisions: ProvisionRecords,
        desk: ErasureDesk,
        plan_of: Callable[[str], CampaignPlan],
    ) -> None:
        self._book = book
        self._provisions = provisions
        self._desk = desk
        self._plan_of = plan_of

    def order(self, request: ErasureRequest) -> None:
        """Issue an order in every campaign in which something of hers was provided to whom she means.

        1. The campaigns; the time of her last withdrawal there.
        2. Those with an order since then need none: it named her rows already.
        """
        lines = self._provisions.of_student(request.student)
        campaigns = sorted({line.campaign for line in lines if request.company in ("", line.company)})  # 1
        withdrawn_at = self._withdrawn_at(request)
        for campaign in campaigns:
            known = self._desk.orders(campaign)
            if not any(item.order.issued_at > withdrawn_at for item in known):  # 2
                self._desk.issue(
                    self._plan_of(campaign), ErasureGround.RIGHTS, disclose_first=request.disclose_first
                )

    def _withdrawn_at(self, request: ErasureRequest) -> int:
        times = [
            item.signed.event.time
            for item in self._book.student_events(request.student)
            if isinstance(item.signed.event, ConsentEvent)
            and item.signed.event.kind is EventKind.WITHDRAWN
            and request.company in ("", item.signed.event.key.company)
        ]
        return max(times, default=0)

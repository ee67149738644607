"""From a student's wish to be erased to orders for companies.

Promises: who asked cannot be told from an order, since it goes to every company of the campaign; a wish that
an order names already makes no new one, so nobody can flood companies with orders. What counts is what orders
and revocation lists say, never a time that a student's device states.
"""

from __future__ import annotations

from collections.abc import Callable

from noren_core.season.plan import CampaignPlan
from noren_server.rights.erasure_orders import ErasureDesk
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.student_api import ErasureRequest


class ErasureRequests:
    """Hands the wishes of one platform's students on."""

    def __init__(
        self, provisions: ProvisionRecords, desk: ErasureDesk, plan_of: Callable[[str], CampaignPlan]
    ) -> None:
        self._provisions = provisions
        self._desk = desk
        self._plan_of = plan_of

    def order(self, request: ErasureRequest) -> None:
        """See to an order in every campaign in which something of hers was provided to whom she means.

        That she withdrew there before is checked by the caller; her rows are on the revocation lists then.
        """
        lines = self._provisions.of_student(request.student)
        for campaign in sorted({line.campaign for line in lines if request.company in ("", line.company)}):
            self._desk.ensure(self._plan_of(campaign), disclose_first=request.disclose_first)

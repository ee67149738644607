"""The operator's pages about consent and rights: coverage, policies, consents, rights, service, incidents."""

from __future__ import annotations

from fastapi import APIRouter

from noren_server.console.governance import (
    consents,
    coverage,
    incidents,
    policies,
    retention,
    rights,
    service,
)
from noren_web.site import Link
from noren_web.translations import lazy as _

router = APIRouter()
for part in (coverage, policies, consents, rights, service, incidents, retention):
    router.routes.extend(part.router.routes)  # a site sees no routes of a router in a router

NAVIGATION = (
    Link("/coverage", _("Coverage")),
    Link("/policies", _("Policies")),
    Link("/screens", _("Screens")),
    Link("/consents", _("Consents")),
    Link("/rights", _("Rights")),
    Link("/service", _("Service")),
    Link("/incidents", _("Incidents")),
    Link("/retention", _("Retention")),
)

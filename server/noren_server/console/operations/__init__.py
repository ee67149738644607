"""The operator's pages about what runs: campaigns and their rounds, the ledger, backups."""

from __future__ import annotations

from fastapi import APIRouter

from noren_server.console.operations import backup, campaigns, ledger, rounds
from noren_web.site import Link
from noren_web.translations import lazy as _

router = APIRouter()
for part in (campaigns, rounds, ledger, backup):
    router.routes.extend(part.router.routes)  # a site sees no routes of a router in a router

NAVIGATION = (
    Link("/campaigns", _("Campaigns")),
    Link("/ledger", _("Ledger")),
    Link("/backup", _("Backup")),
)

"""The ledger as somebody outside could hold us to it: its head, cosignatures with their age, what left."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from noren_server import ledger_outside
from noren_server.console.accounts import ConsoleRole
from noren_server.console.desk import about, desk_of
from noren_server.console.operations.campaigns import OPERATOR
from noren_server.platform_files import trust_file
from noren_web.access import allow
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

router = APIRouter()

READERS = (*ConsoleRole,)
GIVERS = (OPERATOR, ConsoleRole.PRIVACY_OFFICER, ConsoleRole.AUDITOR)
"""Who has a copy made. It is public evidence; what it costs is the platform's time."""
OLD_SECONDS = 86_400


@router.get("/ledger", dependencies=[allow(*READERS)])
def standing(request: Request) -> Response:
    """How the ledger stands."""
    desk = desk_of(request)
    return page(
        request,
        "ledger/standing.html",
        standing=ledger_outside.standing(desk.platform),
        now=desk.clock(),
        old_seconds=OLD_SECONDS,
        may_give=bool(set(GIVERS) & request.state.session.person.roles),
    )


@router.post("/ledger/checkpoint", dependencies=[allow(*GIVERS)])
def checkpoint(request: Request, form: Posted) -> Response:
    """Ask the witnesses for cosignatures now."""
    del form
    desk = desk_of(request)
    about(request, "ledger", "checkpoint")
    ledger_outside.publish_checkpoint(desk.platform, now=desk.clock())
    return redirect(request, "/ledger", notice=_("The newest checkpoint is cosigned."))


@router.post("/ledger/export", dependencies=[allow(*GIVERS)])
def export(request: Request, form: Posted) -> Response:
    """The bundle for auditors, as a file."""
    del form
    desk = desk_of(request)
    about(request, "ledger", "export")
    archive = ledger_outside.export_archive(desk.platform, now=desk.clock())
    return download(archive, name="ledger.zip", media_type="application/zip")


@router.get("/ledger/trust.toml", dependencies=[allow(*READERS)])
def trust(request: Request) -> Response:
    """The trust file."""
    content = trust_file(desk_of(request).platform).encode()
    return download(content, name="trust.toml", media_type="application/toml")

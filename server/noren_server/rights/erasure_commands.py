"""`noren-platform erasure`, `provisions` and `retention`: orders, records and what is deleted by age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from noren_server.rights.erasure_orders import ErasureDesk

erasure_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Tell companies to erase, and follow it."
)
provisions_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Records of what was handed to companies."
)
retention_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="What is deleted by age, daily."
)

Result = dict[str, Any]
Context = typer.Context


@erasure_app.command("issue")
def issue(
    context: Context,
    campaign: str,
    ground: Annotated[str, typer.Option(help="rights, season-end, abolition or leak.")] = "rights",
    due_days: Annotated[int, typer.Option(min=1, help="Until when certificates have to be here.")] = 14,
    erase_now: Annotated[
        bool, typer.Option("--erase-now", help="Do not wait for answers to open questions.")
    ] = False,
) -> Result:
    """Order every company of a campaign to erase; all of them, whoever left."""
    from noren_core.errors import ConfigurationError
    from noren_core.ledger.entries import ErasureGround
    from noren_server.platform_files import Platform

    if ground not in set(ErasureGround):
        raise ConfigurationError(f"ground: expected one of {', '.join(ErasureGround)}")
    with _desk(context) as desk:
        issued = desk.issue(
            Platform(context.obj).plan(campaign),
            ErasureGround(ground),
            due_seconds=due_days * 86_400,
            disclose_first=not erase_now,
        )
    return {"campaign": campaign, "orders": [followed.order.order_id.hex() for followed in issued]}


@erasure_app.command("list")
def list_orders(
    context: Context,
    campaign: Annotated[str, typer.Option(help="Those of this campaign alone.")] = "",
) -> Result:
    """Every order, how far it is, and what its certificate is worth."""
    with _desk(context) as desk:
        found = desk.orders(campaign or None)
        holds = desk.holds()
    return {
        "orders": [
            {
                "entry": item.entry,
                "company": item.order.company,
                "campaign": item.order.campaign,
                "ground": item.order.ground.value,
                "due_at": item.order.due_at,
                "state": item.state.value,
                "certificate": item.certificate.value if item.certificate else "none",
            }
            for item in found
        ],
        "holds": [hold.to_body() for hold in holds],
    }


@erasure_app.command("sweep")
def sweep(context: Context) -> Result:
    """Suspend companies whose orders fell due without a certificate; run it daily."""
    from noren_server.platform_files import Platform
    from noren_server.rights.opening import sweep_erasure

    platform = Platform(context.obj)
    with _desk(context) as desk:
        found = sweep_erasure(platform, desk)
    return {
        "overdue": sorted({item.order.company for item in found.overdue}),
        "escalated": sorted({item.order.company for item in found.escalated}),
    }


@erasure_app.command("hold")
def hold(
    context: Context,
    company: str,
    campaign: str,
    reason: Annotated[str, typer.Option(help="COURT_ORDER, AUTHORITY_REQUEST or PENDING_LITIGATION.")],
    until: Annotated[int, typer.Option(help="Unix seconds.")],
) -> Result:
    """Record a company's legal duty to keep: its orders are not due before; the auditor's report has it."""
    from noren_core.errors import ConfigurationError
    from noren_core.ids import parse_name
    from noren_core.rights.erasure.erasure_order import HoldReason, LegalHold

    if reason not in set(HoldReason):
        raise ConfigurationError(f"reason: expected one of {', '.join(HoldReason)}")
    names = parse_name(company, "company"), parse_name(campaign, "campaign")
    with _desk(context) as desk:
        desk.set_hold(LegalHold(*names, HoldReason(reason), until))
    return {"company": company, "campaign": campaign, "until": until}


@erasure_app.command("custodian")
def custodian(
    context: Context, company: str, key: Annotated[str, typer.Argument(help="64 hex digits.")]
) -> Result:
    """Name a company's custodian: certificates need its cosignature from now on."""
    from noren_core.errors import ConfigurationError

    try:
        raw = bytes.fromhex(key)
    except ValueError as error:
        raise ConfigurationError("key: expected 64 hex digits, got another text") from error
    with _desk(context) as desk:
        desk.set_custodian(company, raw)
    return {"company": company, "custodian": key}


@erasure_app.command("dispute")
def dispute(
    context: Context,
    certificate: Annotated[str, typer.Argument(help="Its id, 32 hex digits.")],
    settled: Annotated[
        str, typer.Option(help="What the auditor found: holds, or fails; left out, the dispute begins.")
    ] = "",
) -> Result:
    """Dispute a deletion certificate, or settle that; one that fails opens its order again."""
    from noren_core.errors import ConfigurationError

    if settled not in ("", "holds", "fails"):
        raise ConfigurationError("settled: expected holds or fails, got another word")
    try:
        certificate_id = bytes.fromhex(certificate)
    except ValueError as error:
        raise ConfigurationError("certificate: expected 32 hex digits, got another text") from error
    with _desk(context) as desk:
        if settled:
            desk.settle_dispute(certificate_id, holds=settled == "holds")
        else:
            desk.dispute(certificate_id)
    return {"certificate": certificate, "state": settled or "disputed"}


@erasure_app.command("report")
def report(context: Context, output: Path) -> Result:
    """Write every order, certificate state and legal hold, signed: for the auditor; no personal data."""
    from noren_local.private_file import write_result

    with _desk(context) as desk:
        write_result(output, desk.report())
    return {"report": str(output)}


@provisions_app.command("reconcile")
def reconcile(context: Context) -> Result:
    """Compare permits, consent events, screens and provisions; run it daily."""
    from noren_server.rights import reconciliation

    found = reconciliation.reconcile(context.obj)
    found.verify()
    return {"state": "reconciled", "details": reconciliation.REPORT_FILE}


@provisions_app.command("comparison")
def comparison(
    context: Context,
    table: Annotated[str, typer.Argument(help="The table's id, 32 hex digits.")],
    output: Path,
) -> Result:
    """Write what a company's twin of one table is compared with on its premises; names no tag."""
    import secrets

    from noren_core.errors import ConfigurationError
    from noren_core.rights.erasure.provision_record import SALT_BYTES
    from noren_local.private_file import write_private
    from noren_server.platform_files import Platform
    from noren_server.rights.opening import provision_records

    try:
        table_id = bytes.fromhex(table)
    except ValueError as error:
        raise ConfigurationError("table: expected 32 hex digits, got another text") from error
    with provision_records(Platform(context.obj)) as provisions:
        write_private(output, provisions.comparison_file(table_id, salt=secrets.token_bytes(SALT_BYTES)))
    return {"comparison": str(output)}


@retention_app.command("run")
def retention_run(context: Context) -> Result:
    """Delete what has come to its end; run it daily."""
    from noren_server.platform_files import Platform
    from noren_server.rights.opening import retention_of

    with retention_of(Platform(context.obj)) as job:
        return {"deleted": [kept.value for kept in job.run(now=int(time.time()))]}


@contextmanager
def _desk(context: Context) -> Iterator[ErasureDesk]:
    from noren_server.platform_files import Platform
    from noren_server.rights.opening import opened_erasure_desk

    with opened_erasure_desk(Platform(context.obj)) as desk:
        yield desk

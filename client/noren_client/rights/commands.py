"""`noren-company rights`: carry out erasure orders, keep to retention, compare provision records."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

rights_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What students have a right to: erasure, retention, records of what was received.",
)

Result = dict[str, Any]
Context = typer.Context


@rights_app.command("erase")
def erase(
    context: Context,
    campaign: Annotated[str, typer.Argument(help="One campaign; all accepted ones if left out.")] = "",
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A further directory to search, such as one of logs; repeatable.", exists=True),
    ] = None,
) -> Result:
    """Carry out every erasure order, search for what was deleted, certify; students' questions come first."""
    from noren_client import campaign_files
    from noren_client.rights import daily_work

    directory: Path = context.obj
    names = [campaign] if campaign else campaign_files.accepted(directory)
    return {"certified": list(daily_work.carry_out_orders(directory, names, also=also or ()))}


@rights_app.command("hold")
def hold(
    context: Context,
    campaign: str,
    reason: Annotated[
        str, typer.Option(help="COURT_ORDER, AUTHORITY_REQUEST or PENDING_LITIGATION; the auditor sees it.")
    ],
    until: Annotated[int, typer.Option(help="Unix seconds; after that orders are carried out again.")],
) -> Result:
    """Keep what we have of a campaign for a legal duty; tell the platform's operator as well."""
    from noren_client import config
    from noren_client.rights import orders
    from noren_core.errors import ConfigurationError
    from noren_core.rights.erasure.erasure_order import HoldReason, LegalHold

    if reason not in set(HoldReason):
        raise ConfigurationError(f"reason: expected one of {', '.join(HoldReason)}")
    company = config.load(context.obj).company
    orders.set_hold(context.obj, LegalHold(company, campaign, HoldReason(reason), until))
    return {"campaign": campaign, "state": "held", "until": until}


@rights_app.command("retention")
def retention(context: Context) -> Result:
    """Delete what has come to its end; run it daily."""
    from noren_client.rights import retention as job

    return {"deleted": [kept.value for kept in job.run(context.obj, now=int(time.time()))]}


@rights_app.command("compare-provisions")
def compare_provisions(
    context: Context,
    file: Annotated[Path, typer.Argument(help="The platform's comparison file for one table.", exists=True)],
    table: Annotated[str, typer.Argument(help="The table's id, 32 hex digits.")],
) -> Result:
    """Show an auditor on the premises that every row we opened is one that the platform wrote down."""
    from noren_client.rights import provision_records
    from noren_core.errors import ConfigurationError

    try:
        table_id = bytes.fromhex(table)
    except ValueError as error:
        raise ConfigurationError("table: expected 32 hex digits, got another text") from error
    provision_records.compare(context.obj, file.read_bytes(), table_id)
    return {"table": table, "state": "reconciled"}

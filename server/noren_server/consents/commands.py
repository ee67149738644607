"""`noren-platform consents`: events in, tables and receipts out, and the head of the log in the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

consents_app = typer.Typer(no_args_is_help=True, help="Take in consent events, show what they prove.")

Result = dict[str, Any]


@consents_app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Signed events, one canonical JSON a line.")],
) -> Result:
    """Verify every event of a file and take all of them over, or none."""
    from noren_server.consents.consent_files import import_events
    from noren_server.consents.opening import consent_service, unix_now

    with consent_service(_platform(context)) as service:
        return {"events": import_events(service.book, file, now=unix_now())}


@consents_app.command("export")
def export(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Where the Parquet files are written (0600).")],
) -> Result:
    """Write events and students as tables, for coverage; they are personal data."""
    from noren_server.consents.consent_files import EVENTS_FILE, STUDENTS_FILE, export_tables
    from noren_server.consents.opening import consent_service

    with consent_service(_platform(context)) as service:
        export_tables(service.book, directory)
    return {"directory": str(directory), "files": [EVENTS_FILE, STUDENTS_FILE]}


@consents_app.command("receipt")
def receipt(
    context: typer.Context,
    student: Annotated[str, typer.Argument(help="The platform's account id.")],
    directory: Annotated[Path, typer.Argument(help="One file for every consent is written there (0600).")],
) -> Result:
    """Write the receipts of a student, each verifiable offline."""
    from noren_local.private_file import write_private
    from noren_server.consents.opening import consent_service, receipt_terms, unix_now

    platform = _platform(context)
    with consent_service(platform) as service, receipt_terms(platform) as terms:
        found = service.receipts(student, terms, now=unix_now())
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, data in enumerate(found):
        write_private(directory / f"receipt-{number:03d}.json", data)
    return {"directory": str(directory), "service_key": platform.consent_key.public_key.hex()}


@consents_app.command("head")
def head(context: typer.Context) -> Result:
    """Put the head of the consent log in the ledger."""
    from noren_server.consents.opening import consent_service

    with consent_service(_platform(context)) as service:
        return {"ledger_index": service.publish_head()}


@consents_app.command("end-expired")
def end_expired(context: typer.Context) -> Result:
    """End the consents that have run out, so that their rows are given up; run it daily."""
    from noren_server.consents.opening import consent_service, unix_now

    with consent_service(_platform(context)) as service:
        service.end_expired(now=unix_now())
    return {"state": "done"}


def _platform(context: typer.Context) -> Any:
    from noren_server.platform_files import Platform

    return Platform(context.obj)

"""The auditor's command on a company's premises: `noren-audit gate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_FINDINGS = 9

Result = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(gate)


def gate(
    context: typer.Context,
    bundle: Annotated[Path, typer.Option(help="The exported ledger.", exists=True, file_okay=False)],
    trust: Annotated[Path, typer.Option(help="TOML file with the keys you trust.")],
) -> Result:
    """Compare sealed decisions, read from a pipe, with the ledger; exit 0 if all fits, 9 if not.

    On the company's machine: noren-company decisions export CAMPAIGN | noren-audit gate --bundle … --trust …
    """
    from noren_audit.rights.gate_check import check
    from noren_audit.verification.trust import load_trust
    from noren_core.rights.gate.gate_file import MAX_FILE_BYTES, parse_gate_file

    shown = parse_gate_file(sys.stdin.buffer.read(MAX_FILE_BYTES + 1))
    report = check(shown, bundle, load_trust(trust))
    fields: dict[str, Any] = {
        "campaign": report.campaign,
        "company": report.company,
        "batches": report.batches,
        "findings": [
            {"code": item.code.value, "message": item.message, "index": item.index}
            for item in report.findings
        ],
        "alerts": {item.position: [alert.value for alert in item.alerts] for item in report.alerts},
    }
    exit_code = EXIT_FINDINGS if report.findings else 0
    if context.obj:
        return {"exit_code": exit_code, **fields}
    for item in report.findings:
        print(f"{item.code}: {item.message}" + ("" if item.index is None else f" (entry {item.index})"))
    for position, alerts in fields["alerts"].items():
        print(f"{position}: {', '.join(alerts) or 'nothing noticed'}")
    return {"exit_code": exit_code, "batches": report.batches, "findings": len(report.findings)}

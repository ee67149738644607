"""The auditor's commands about consent and rights: `noren-audit coverage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_BLOCKED = 9

Result = dict[str, Any]
_Report = Annotated[Path, typer.Argument(help="report.json of a run.", exists=True, dir_okay=False)]
_Snapshot = Annotated[
    Path | None,
    typer.Option(help="The snapshot's directory, if you have it.", exists=True, file_okay=False),
]


def coverage_commands() -> typer.Typer:
    """The group `coverage`."""
    app = typer.Typer(no_args_is_help=True, help="Check coverage reports and attest them.")
    app.command()(check)
    app.command("attest")(attest_file)
    return app


def check(report: _Report, snapshot: _Snapshot = None) -> Result:
    """Check that a report adds up and its verdict follows; exit 0 if it says clear, 9 if blocked."""
    from noren_audit.rights.coverage_check import read_report, verify_snapshot

    found = read_report(report)
    if snapshot is not None:
        verify_snapshot(found, snapshot)
    return {
        "exit_code": EXIT_BLOCKED if found.reasons else 0,
        "campaign": found.campaign,
        "as_of": found.as_of,
        "report_sha256": found.sha256,
        "verdict": found.verdict.value,
        "reasons": [reason.value for reason in found.reasons],
    }


def attest_file(
    report: _Report,
    key: Annotated[Path, typer.Option(help="Your key: noren-audit key init.")],
    out: Annotated[Path, typer.Option(help="Where to write the attestation, for the platform.")],
    snapshot: _Snapshot = None,
) -> Result:
    """Check a report and sign what it says, clear or blocked."""
    from noren_audit.replay import auditor_key
    from noren_audit.rights.coverage_check import attest_report, read_report
    from noren_audit.witness.durable_file import write_result

    found = read_report(report)
    said = attest_report(found, auditor_key.load(key), snapshot=snapshot)
    write_result(out, said.to_bytes() + b"\n")
    return {"campaign": said.campaign, "verdict": said.verdict.value, "file": str(out)}

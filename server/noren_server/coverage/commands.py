"""`noren-platform coverage`: who would be processed without consent, and the auditor's word on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

coverage_app = typer.Typer(no_args_is_help=True, help="Who would be processed, and whether they consented.")

EXIT_BLOCKED = 9

Result = dict[str, Any]
_Campaign = Annotated[str, typer.Option(help="The campaign, or what a replay is called.")]
_Run = Annotated[str, typer.Option(help="The run; the campaign's newest if none is named.")]


@coverage_app.command("run")
def run(
    context: typer.Context,
    campaign: _Campaign,
    as_of: Annotated[int, typer.Option(help="Unix seconds; 0 is now.")] = 0,
    phases: Annotated[str, typer.Option(help="all, or some with commas.")] = "all",
    source: Annotated[
        Path | None, typer.Option("--from", help="A snapshot in place of the platform's own data.")
    ] = None,
) -> Result:
    """Compute a report; exit 0 if its figures let processing begin, 9 if not.

    On violations in the platform's own data the campaign is suspended at once.
    """
    from noren_core.rights.coverage.coverage_report import ReportSource
    from noren_server.consents.opening import unix_now
    from noren_server.coverage.classification import Question
    from noren_server.coverage.opening import compute_on_platform, coverage_runs

    now = unix_now()
    question = Question(as_of or now, () if phases == "all" else tuple(phases.split(",")))
    if source is None:
        done = compute_on_platform(_platform(context), campaign, question, now=now)
    else:
        done = coverage_runs(context.obj).compute(
            source, campaign=campaign, question=question, source=ReportSource.DIRECTORY, now=now
        )
    report = done.report()
    return {
        "exit_code": EXIT_BLOCKED if report.reasons else 0,
        "run": done.name,
        "verdict": report.verdict.value,
        "reasons": [reason.value for reason in report.reasons],
        "directory": str(done.directory),
    }


@coverage_app.command("review")
def review(context: typer.Context, campaign: _Campaign, run: _Run = "") -> Result:
    """Say that the operator has read a report; only then can an auditor attest it."""
    from noren_server.coverage.opening import coverage_runs

    runs = coverage_runs(context.obj)
    reviewed = runs.review(campaign, run or runs.newest(campaign).name)
    return {"run": reviewed.name, "state": reviewed.state.value}


@coverage_app.command("attest")
def attest(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="What noren-audit coverage attest wrote.", exists=True)],
) -> Result:
    """Put an auditor's attestation in the ledger."""
    from noren_core.rights.coverage.coverage_report import MAX_ATTESTATION_BYTES
    from noren_server.coverage.opening import take_attestation

    with file.open("rb") as stream:
        said = take_attestation(_platform(context), stream.read(MAX_ATTESTATION_BYTES + 2))
    return {"campaign": said.campaign, "as_of": said.as_of, "verdict": said.verdict.value}


@coverage_app.command("status")
def status(context: typer.Context, campaign: _Campaign) -> Result:
    """Every run of a campaign, and what stands in the way of a launch now; exit 0 if nothing, 9 otherwise."""
    from noren_server.consents.opening import unix_now
    from noren_server.coverage.opening import standing

    now = standing(_platform(context), campaign, now=unix_now())
    return {
        "exit_code": EXIT_BLOCKED if now.obstacles else 0,
        "runs": {item.name: item.state.value for item in now.runs},
        "obstacles": [reason.value for reason in now.obstacles],
    }


def _platform(context: typer.Context) -> Any:
    from noren_server.platform_files import Platform

    return Platform(context.obj)

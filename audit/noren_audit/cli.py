"""`noren-audit`: the auditor's command line.

The report goes to stdout: tables on a terminal, plain lines in a pipe, one JSON object with --json.
Exit codes: 0 verified, 9 not verified; errors as in docs/errors.md (2 usage, 3 the trust file or another
setting cannot be used, 5 identity, 6 input, 7 held back, 1 anything else).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from noren_audit.certification import commands as certify_commands
from noren_audit.custodian.commands import custodian_commands
from noren_audit.fairness import commands as fairness_commands
from noren_audit.replay import commands as replay_commands
from noren_audit.rights import gate_commands
from noren_audit.rights.commands import coverage_commands
from noren_audit.service.commands import service_commands
from noren_audit.viewer.commands import view
from noren_audit.witness.commands import witness_commands
from noren_core import __version__
from noren_core.console import progress, run_command

EXIT_NOT_VERIFIED = 9

Result = dict[str, Any]


def _options(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result, or the error, as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    del as_json, quiet  # read by `main` and run_command wherever they stand, in usage errors too


def verify(
    context: typer.Context,
    bundle: Annotated[
        Path, typer.Argument(help="Directory that the platform exported.", exists=True, file_okay=False)
    ],
    trust: Annotated[Path, typer.Option(help="TOML file with the keys you trust.", show_default=False)],
    seen: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint of this ledger that somebody else has; repeatable.", exists=True),
    ] = None,
    evidence: Annotated[Path, typer.Option(help="Where proof of a split view is written.")] = Path(),
    verdicts: Annotated[
        Path | None,
        typer.Option(help="Directory with signed verdicts of replays.", exists=True, file_okay=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write the report as one HTML file, in English and Japanese.", dir_okay=False),
    ] = None,
    opens: Annotated[
        bool, typer.Option("--open", help="Open the HTML report in the browser; needs --html.")
    ] = False,
) -> Result:
    """Verify an exported ledger; exit 0 if VERIFIED, 9 if NOT VERIFIED. Takes --json."""
    from rich.console import Console

    from noren_audit.verification.report import print_report, to_fields
    from noren_audit.verification.seen_checkpoints import read_seen, write_evidence
    from noren_audit.verification.shown_verdicts import read_verdicts
    from noren_audit.verification.trust import load_trust
    from noren_audit.verification.verify import verify_bundle

    if html is not None and not html.parent.is_dir():
        raise typer.BadParameter("expected a file in a directory that exists", param_hint="--html")
    if opens and html is None:
        raise typer.BadParameter("expected --html with a file to open", param_hint="--open")
    trusted = load_trust(trust)
    replays = [] if verdicts is None else read_verdicts(verdicts)
    with progress("Verifying") as report:
        verdict = verify_bundle(bundle, trusted, read_seen(seen or []), replays, report=report)
    write_evidence(verdict.findings, evidence)
    if html is not None:
        from noren_audit.html.html_report import write_html

        write_html(verdict, trusted, html)
        if opens:
            _show_in_browser(html)
    exit_code = 0 if verdict.is_verified else EXIT_NOT_VERIFIED
    if context.obj:
        return {"exit_code": exit_code, **to_fields(verdict)}
    print_report(verdict, Console())
    return {"exit_code": exit_code}


def _show_in_browser(html: Path) -> None:
    """Open the report; on a machine without a browser say where it is, which is no error."""
    import webbrowser

    if not webbrowser.open(html.resolve().as_uri()):
        print(f"noren-audit: no browser here; the report is in {html}", file=sys.stderr)


def proof(
    entry: Annotated[Path, typer.Argument(help="The entry, as the platform wrote it.", exists=True)],
    tlog_proof: Annotated[Path, typer.Argument(help="The .tlog-proof beside it.", exists=True)],
    trust: Annotated[Path, typer.Option(help="TOML file with the keys you trust.", show_default=False)],
) -> Result:
    """Verify that one entry is in the ledger; exit 0 if it is, 9 if this proof does not show it."""
    from noren_audit.verification.entry_proof import verify_entry_proof
    from noren_audit.verification.trust import load_trust

    return verify_entry_proof(entry, tlog_proof, load_trust(trust))


def compare(
    context: typer.Context,
    earlier: Annotated[
        Path, typer.Argument(help="A bundle that you verified before.", exists=True, file_okay=False)
    ],
    later: Annotated[Path, typer.Argument(help="A newer one.", exists=True, file_okay=False)],
    trust: Annotated[Path, typer.Option(help="TOML file with the keys you trust.", show_default=False)],
) -> Result:
    """What changed between two bundles; exit 0 if the later one is VERIFIED and begins with the earlier."""
    from noren_audit.verification import comparison
    from noren_audit.verification.trust import load_trust

    with progress("Verifying both"):
        found = comparison.compare(earlier, later, load_trust(trust))
    exit_code = 0 if found.new.is_verified and found.extends else EXIT_NOT_VERIFIED
    if context.obj:
        return {"exit_code": exit_code, **comparison.to_fields(found)}
    for line in comparison.lines(found):
        print(line)
    return {"exit_code": exit_code}


def version() -> Result:
    """Print the version."""
    return {"version": __version__}


def make_app(*, as_json: bool) -> typer.Typer:
    """The command line; commands find in their context whether to print for people or for machines."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"obj": as_json},
        help="Check, offline and trusting two keys, what a Noren platform and its companies did.",
    )
    app.callback()(_options)
    app.command()(verify)
    app.command()(compare)
    app.command()(proof)
    app.command()(view)
    app.add_typer(witness_commands(), name="witness")
    app.add_typer(custodian_commands(), name="custodian")
    app.add_typer(coverage_commands(), name="coverage")
    app.add_typer(service_commands(), name="service")
    replay_commands.register(app)
    certify_commands.register(app)
    fairness_commands.register(app)
    gate_commands.register(app)
    app.command()(version)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(make_app(as_json="--json" in given), given, program="noren-audit")


if __name__ == "__main__":
    sys.exit(main())

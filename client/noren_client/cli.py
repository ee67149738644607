"""`noren-company`: what a hiring company runs.

Every command prints its result on stdout (with --json as one JSON object) and progress on stderr. No
command prints or logs an applicant's identifier or outcome, but for `import --preview`, which shows the first
rows of the file that it is given; `show` alone prints a band, of one person.
Exit codes: 0 done, 2 usage, 3 configuration, 4 network or protocol, 5 identity, 6 input file, 7 held back by
consent, coverage, gate or service state, 8 budget, 9 not verified, 1 anything else (docs/errors.md).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from noren_client.gate import commands as gate_commands
from noren_client.imports import commands as import_commands
from noren_client.leaving import commands as leaving_commands
from noren_client.rights import answer_commands
from noren_client.rights import commands as rights_commands
from noren_client.setup import commands as setup_commands
from noren_client.web import commands as web_commands
from noren_core import __version__
from noren_core.console import run_command
from noren_local.key_commands import key_commands

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Take part in a Noren federation as a hiring company.",
)

_MAX_DECLARED_SIZE = 1 << 15  # the ledger's own bound; importing it would slow --help down

Result = dict[str, Any]
Context = typer.Context


def _secrets(directory: Path) -> Any:
    from noren_client.company_secrets import secrets_of

    return secrets_of(directory)


def _warned(warning: str | None) -> Result:
    return {} if warning is None else {"warning": warning}


keys_app = key_commands("Replace this company's keys, or protect them with a passphrase.", _secrets)
app.add_typer(keys_app, name="keys")

replay_app = typer.Typer(
    no_args_is_help=True, help="What a replay of the training needs; it stays on this machine."
)
app.add_typer(replay_app, name="replay")
ledger_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="What this company has seen of the ledger."
)
app.add_typer(ledger_app, name="ledger")
app.command("setup")(setup_commands.setup)
app.command("doctor")(setup_commands.doctor)
app.command("status")(setup_commands.status)
app.command("train")(setup_commands.train)
app.command("daily")(setup_commands.daily)
app.add_typer(setup_commands.service_app, name="service")
app.add_typer(setup_commands.hand_over_app, name="hand-over")
app.add_typer(import_commands.import_app, name="import")
app.command("leaving")(leaving_commands.leaving)
app.add_typer(gate_commands.decisions_app, name="decisions")
app.add_typer(gate_commands.staff_app, name="staff")
app.add_typer(gate_commands.follow_up_app, name="follow-up")
rights_commands.rights_app.command("answer")(answer_commands.answer)
rights_commands.rights_app.command("link-offer")(answer_commands.link_offer)
app.add_typer(rights_commands.rights_app, name="rights")
app.add_typer(rights_commands.rights_app, name="rights")


@app.callback()
def _options(
    context: Context,
    directory: Annotated[Path, typer.Option(help="This company's directory.")] = Path("noren-company"),
    as_json: Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    del as_json, quiet  # read by run_command before the command is parsed, in usage errors too
    context.obj = directory
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("noren_client.table_reading").setLevel(logging.INFO)  # how far a long download is


@app.command()
def enrol(
    context: Context,
    invitation: Annotated[Path, typer.Argument(help="The file that the platform handed over.")],
    declared_size: Annotated[
        int,
        typer.Option(
            min=1,
            max=_MAX_DECLARED_SIZE,
            help="Public upper bound of your applicants with an offer, per alignment.",
        ),
    ],
) -> Result:
    """Make all keys here, sign the agreement and ask to enrol; read the fingerprint out by phone."""
    from noren_client import enrolment

    said = enrolment.enrol(invitation, context.obj, declared_size=declared_size)
    return {"fingerprint": said}


@app.command()
def agreement() -> Result:
    """Print the participation agreement that enrolling signs."""
    from noren_core.season.participation import agreement_sha256, agreement_text

    return {"agreement": agreement_text(), "sha256": agreement_sha256()}


@app.command()
def collect(
    context: Context,
    wait_seconds: Annotated[float, typer.Option(help="How long to wait for the approval.")] = 600,
) -> Result:
    """Fetch the certificate once the platform has approved."""
    from noren_client import enrolment

    enrolment.collect(context.obj, wait_seconds=wait_seconds)
    return {"state": "enrolled"}


@app.command()
def accept(context: Context, campaign: str) -> Result:
    """Check a campaign's plan against this company's own limits and sign it."""
    from noren_client import alignment, small_training_set

    accepted = alignment.accept_plan(context.obj, campaign)
    return {
        "campaign": campaign,
        "plan_sha256": accepted.plan.digest().hex(),
        "epsilon": f"{accepted.epsilon:.4f}",
        "row_epsilon": f"{accepted.row_epsilon:.4f}",
        "forecast": {season: found.to_fields() for season, found in accepted.forecasts.items()},
        **_warned(small_training_set.warning_of_file(context.obj, accepted.plan)),
    }


@app.command()
def budget(
    context: Context,
    campaign: Annotated[str, typer.Option(help="An accepted campaign to forecast.")] = "",
) -> Result:
    """What campaigns have spent of this company's own limits, by season, and what one more would."""
    from noren_client import budget as budgets

    return budgets.report(context.obj, campaign or None)


@app.command()
def prepare(context: Context, campaign: str) -> Result:
    """Align applicants with the sealed training table and join the opened rows with outcomes."""
    from noren_client import alignment, campaign_files, replay_data, small_training_set

    replay_data.forget_expired(context.obj, now=time.time())
    prepared = alignment.prepare(context.obj, campaign)
    plan = campaign_files.load_plan(context.obj, campaign)
    warning = small_training_set.warning(plan, rows=prepared.rows, positive=prepared.positive)
    return {"campaign": campaign, "state": "prepared", **_warned(warning)}


@app.command()
def run(context: Context) -> Result:
    """Keep SuperNode and worker running until interrupted; answers the training rounds."""
    from noren_client import worker_service

    worker_service.run(context.obj)
    return {"state": "stopped"}


@app.command()
def score(
    context: Context,
    campaign: str,
    also: Annotated[
        str, typer.Option(help="Campaigns over the same rows to score with this one, separated by commas.")
    ] = "",
) -> Result:
    """Send the encrypted heads; once a gate is open, compute the offerees' bands and give them theirs."""
    from noren_client import follow_up

    state = follow_up.score(context.obj, campaign, others=[name for name in also.split(",") if name])
    return {"campaign": campaign, "state": state.value}


app.command("show")(gate_commands.show)
app.command("open")(web_commands.open_pages)


@keys_app.command("rotate")
def keys_rotate(
    context: Context,
    key: Annotated[str, typer.Argument(help="signing, sealing, tls, node or all.")],
) -> Result:
    """Replace a key, or every key, by a new one; completes what was interrupted."""
    from noren_client import key_rotation
    from noren_core.errors import ConfigurationError
    from noren_core.ledger.entries import CompanyKey

    if key != "all" and key not in set(CompanyKey):
        raise ConfigurationError(f"key: expected {', '.join(CompanyKey)} or all")
    # Those that a campaign may hold back come last.
    order = (CompanyKey.TLS, CompanyKey.NODE, CompanyKey.SEALING, CompanyKey.SIGNING)
    chosen = order if key == "all" else (CompanyKey(key),)
    for role in chosen:
        key_rotation.rotate(context.obj, role)
    return {"rotated": [role.value for role in chosen]}


@keys_app.command("authority")
def keys_authority(
    context: Context,
    file: Annotated[Path, typer.Argument(help="The platform's new ca.pem, as it was handed over.")],
    fingerprint: Annotated[str, typer.Option(help="What the platform's operator reads out by phone.")],
) -> Result:
    """Take over the platform's new certificate authority."""
    from noren_client import keystore

    keystore.replace_authority(context.obj, file, fingerprint)
    return {"key": "authority", "state": "replaced"}


@ledger_app.command("checkpoint")
def ledger_checkpoint(
    context: Context, output: Annotated[Path, typer.Argument(help="For noren-audit verify --seen.")]
) -> Result:
    """Write the newest checkpoint of the ledger that this company verified; it holds nothing secret."""
    from noren_client.ledger_watch import LedgerWatch
    from noren_local.private_file import write_result

    watch = LedgerWatch(context.obj)
    write_result(output, watch.newest_checkpoint())
    return {"checkpoint": str(output), "size": watch.known_tree_size}


@replay_app.command("export")
def replay_export(context: Context, campaign: str) -> None:
    """Write the replay file to stdout, for a pipe into `noren-audit replay -` on this very machine."""
    from noren_client import replay_data

    sys.stdout.buffer.write(replay_data.export(context.obj, campaign))
    sys.stdout.buffer.flush()


@replay_app.command("forget")
def replay_forget(context: Context, campaign: str) -> Result:
    """Remove what a replay needs, once nobody may ask for one any more."""
    from noren_client import replay_data

    replay_data.forget(context.obj, campaign)
    return {"campaign": campaign, "state": "forgotten"}


@app.command()
def mechanism(context: Context) -> None:
    """Answer a certifier's requests for the training mechanism on stdin; uses no company's data."""
    from noren_client import mechanism_service

    mechanism_service.serve(context.obj, sys.stdin.buffer, sys.stdout.buffer)


@app.command()
def version() -> Result:
    """Print the version."""
    return {"version": __version__}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    return run_command(app, arguments, program="noren-company")


if __name__ == "__main__":
    sys.exit(main())

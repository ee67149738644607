"""`noren-platform`: what the operator of the job site runs.

Every command prints its result on stdout (with --json as one JSON object) and progress on stderr.
Exit codes: 0 done, 2 usage, 3 configuration, 4 network or protocol, 5 identity, 6 input file, 7 held back by
consent, coverage, gate or service state, 8 budget, 9 not verified, 1 anything else (docs/errors.md).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from noren_core import __version__
from noren_core.console import run_command
from noren_local.key_commands import key_commands
from noren_server.backup.commands import backup_app
from noren_server.consents.commands import consents_app
from noren_server.console.commands import console_app
from noren_server.coverage.commands import coverage_app
from noren_server.policies.commands import policy_commands, screens_commands
from noren_server.rights.commands import rights_app
from noren_server.rights.erasure_commands import erasure_app, provisions_app, retention_app
from noren_server.rights.incident_commands import incident_app
from noren_server.rights.service_commands import service_app

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Run the platform of a Noren federation."
)
campaign_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Plan, publish and train campaigns."
)
ledger_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Export the ledger and its public keys."
)
app.add_typer(campaign_app, name="campaign")
app.add_typer(consents_app, name="consents")
app.add_typer(policy_commands(), name="policy")
app.add_typer(screens_commands(), name="screens")
app.add_typer(console_app, name="console")
app.add_typer(coverage_app, name="coverage")
app.add_typer(service_app, name="service")
app.add_typer(incident_app, name="incident")
app.add_typer(rights_app, name="rights")
app.add_typer(erasure_app, name="erasure")
app.add_typer(provisions_app, name="provisions")
app.add_typer(retention_app, name="retention")
app.add_typer(ledger_app, name="ledger")
app.add_typer(backup_app, name="backup")
statistics_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Show that sealed sums were honest, or forget."
)
app.add_typer(statistics_app, name="statistics")

Result = dict[str, Any]
Context = typer.Context


def _secrets(directory: Path) -> Any:
    from noren_server.platform_secrets import secrets_of

    return secrets_of(directory)


keys_app = key_commands("Replace the platform's own keys, or protect them with a passphrase.", _secrets)
app.add_typer(keys_app, name="keys")


@app.callback()
def _options(
    context: Context,
    directory: Annotated[Path, typer.Option(help="The platform's directory.")] = Path("noren-platform"),
    as_json: Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    del as_json, quiet  # read by run_command before the command is parsed, in usage errors too
    context.obj = directory
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )


@app.command()
def init(
    context: Context,
    name: Annotated[str, typer.Option(help="What the platform calls itself (a-z, 0-9, hyphens).")],
    host: Annotated[str, typer.Option(help="Host name or address that companies reach.")] = "127.0.0.1",
    enrolment_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    service_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    fleet_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    student_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
) -> Result:
    """Make keys, certificates and an empty ledger in a new directory."""
    from noren_server import platform_files

    ports = (enrolment_port, service_port, fleet_port, student_port)
    platform = platform_files.initialise(context.obj, name=name, host=host, ports=ports)
    return {"origin": platform.config.origin, "platform_key": platform.signing_key.public_key.hex()}


@app.command()
def serve(context: Context) -> Result:
    """Run SuperLink, fleet proxy, enrolment and company service until interrupted."""
    from noren_server import services

    services.serve(context.obj)
    return {"state": "stopped"}


@app.command()
def invite(
    context: Context,
    company: Annotated[str, typer.Argument(help="The company's name (a-z, 0-9, hyphens).")],
    output: Annotated[Path, typer.Option(help="Where to write the invitation file.")],
    valid_days: Annotated[int, typer.Option(help="After how many days the code expires.")] = 14,
) -> Result:
    """Write an invitation with a one-time code, to be handed over out of band."""
    from noren_local.private_file import write_private

    invitation = _platform(context).enrolment.invite(company, valid_days=valid_days)
    write_private(output, invitation.content)
    return {"company": company, "invitation": str(output), "expires_at": invitation.expires_at}


@app.command()
def approve(
    context: Context,
    company: str,
    fingerprint: Annotated[str, typer.Option(help="What the company read out by phone.")],
) -> Result:
    """Let a company in whose fingerprint you compared by phone."""
    from noren_server import admission

    approved = admission.admit(_platform(context), company, fingerprint)
    return {"company": company, "state": approved.state.value}


@app.command()
def reject(context: Context, company: str) -> Result:
    """Forget a request whose fingerprint was wrong; the company can be invited again."""
    _platform(context).enrolment.reject(company)
    return {"company": company, "state": "rejected"}


@app.command()
def revoke(
    context: Context,
    company: str,
    reason: Annotated[
        str,
        typer.Option(help="KEY_COMPROMISED, LEFT, BREACH_OF_AGREEMENT or MISTAKEN_ENROLMENT; public."),
    ],
) -> Result:
    """End a company's participation for good, also in the ledger; what it said before stays."""
    from noren_core.errors import ConfigurationError
    from noren_core.ledger.entries import RevocationReason
    from noren_server import admission

    if reason not in set(RevocationReason):
        raise ConfigurationError(f"reason: expected one of {', '.join(RevocationReason)}")
    admission.expel(_platform(context), company, RevocationReason(reason))
    return {"company": company, "state": "revoked"}


@app.command()
def ingest(
    context: Context,
    events: Annotated[Path, typer.Option(help="Folder of Parquet files in the generic event format.")],
    seasons: Annotated[Path, typer.Option(help="Seasons and event types, TOML.")],
) -> Result:
    """Check behaviour logs and seasons, and take them over."""
    from noren_server import behaviour_data

    data = behaviour_data.ingest(context.obj / "logs", events=events, seasons=seasons)
    return {"events": data.events.rows, "seasons": [season.name for season in data.seasons]}


@campaign_app.command("create")
def campaign_create(
    context: Context,
    file: Annotated[Path, typer.Argument(help="Campaign file, TOML (docs/deploying.md).")],
    companies: Annotated[str, typer.Option(help="Comma-separated; all approved ones if left out.")] = "",
) -> Result:
    """Write the complete plan and put it in the ledger."""
    from noren_server import behaviour_data, campaigns

    choices, platform = campaigns.PlanChoices.from_toml(file), _platform(context)
    campaigns.verify_seasons(choices, behaviour_data.load_seasons(platform.directory / "logs"))
    plan = campaigns.publish_plan(platform, choices, [c for c in companies.split(",") if c])
    return {"campaign": plan.campaign, "plan_sha256": plan.digest().hex(), "companies": list(plan.companies)}


@campaign_app.command("forecast")
def campaign_forecast(
    context: Context,
    file: Annotated[Path, typer.Argument(help="Campaign file, TOML (docs/deploying.md).")],
    companies: Annotated[str, typer.Option(help="Comma-separated; all approved ones if left out.")] = "",
) -> Result:
    """What a campaign would cost a person, by round and by campaign like it; nothing is published."""
    from noren_server import campaigns, plan_forecast

    choices = campaigns.PlanChoices.from_toml(file)
    plan = campaigns.draft_plan(_platform(context), choices, [c for c in companies.split(",") if c])
    return {"campaign": plan.campaign, **plan_forecast.report(plan)}


@campaign_app.command("publish")
def campaign_publish(context: Context, campaign: str) -> Result:
    """Once coverage is clear: features and embeddings of consented students, and sealed training tables."""
    from noren_server import launch

    plan = launch.publish(_platform(context), campaign)
    return {"campaign": campaign, "tables": len(plan.companies)}


@campaign_app.command("refresh")
def campaign_refresh(context: Context, campaign: str) -> Result:
    """Seal the score tables of all companies again, with everybody's consents as they are now."""
    from noren_server import launch

    launch.refresh(_platform(context), campaign)
    return {"campaign": campaign, "state": "refreshed"}


@campaign_app.command("train")
def campaign_train(context: Context, campaign: str) -> Result:
    """Run the rounds with every company that is connected; ends when the last one is settled."""
    from noren_server import campaigns

    return campaigns.train(_platform(context), campaign)


@campaign_app.command("status")
def campaign_status(context: Context, campaign: str) -> Result:
    """How far a campaign's rounds are."""
    from noren_server import campaigns

    return campaigns.progress(_platform(context), campaign)


@campaign_app.command("pause")
def campaign_pause(context: Context, campaign: str) -> Result:
    """Begin no further round until `campaign resume`; the round that is under way goes on."""
    _rounds(context, campaign).pause()
    return {"campaign": campaign, "state": "paused"}


@campaign_app.command("resume")
def campaign_resume(context: Context, campaign: str) -> Result:
    """Go on with the next round of a paused campaign; nothing is reserved twice."""
    _rounds(context, campaign).resume()
    return {"campaign": campaign, "state": "resumed"}


@campaign_app.command("skip")
def campaign_skip(context: Context, campaign: str, company: str) -> Result:
    """Leave a company out of every round that has not begun; its charge stays, and it gets the head."""
    _rounds(context, campaign).skip(company)
    return {"campaign": campaign, "company": company, "state": "left-out"}


@campaign_app.command("close")
def campaign_close(context: Context, campaign: str) -> Result:
    """End a campaign for good: stop answering companies and delete its OPRF keys; the ledger says so."""
    from noren_server import campaigns

    campaigns.close(_platform(context), campaign)
    return {"campaign": campaign, "state": "closed"}


@ledger_app.command("export")
def ledger_export(context: Context, output: Path) -> Result:
    """Write the bundle that an auditor verifies offline: a directory in the tlog-tiles layout."""
    platform = _platform(context)
    platform.ledger.export(output)
    return {"bundle": str(output), "entries": platform.ledger_store.size}


@ledger_app.command("prove")
def ledger_prove(
    context: Context,
    index: Annotated[int, typer.Argument(help="The entry's number, from 0.", min=0)],
    output: Annotated[Path, typer.Argument(help="The entry is written there, the proof beside it.")],
) -> Result:
    """Write one entry, and beside it the .tlog-proof that it is in the ledger."""
    from noren_local.private_file import write_result

    entry, proof = _platform(context).ledger.prove_entry(index)
    proof_path = output.with_name(f"{output.name}.tlog-proof")
    write_result(output, entry)
    write_result(proof_path, proof.to_bytes())
    return {"entry": str(output), "proof": str(proof_path)}


@statistics_app.command("recompute")
def statistics_recompute(context: Context, campaign: str, company: str) -> Result:
    """Compute a company's sealed sums again, before an auditor's eyes, and compare them with the ledger."""
    platform = _platform(context)
    with _statistics(platform) as statistics:
        found = statistics.recompute(platform.plan(campaign), company)
    rows, weights, answer = found.indices
    return {
        "campaign": campaign,
        "company": company,
        "answer_sha256": found.answer_sha256,
        "entries": {"statistics-rows": rows, "weights-commitment": weights, "statistics-answer": answer},
    }


@statistics_app.command("forget")
def statistics_forget(context: Context, campaign: str) -> Result:
    """Remove rows, seeds and messages of a closed campaign: nobody can ask to see its sums computed again."""
    platform = _platform(context)
    with _statistics(platform) as statistics:
        statistics.forget(platform.plan(campaign))
    return {"campaign": campaign, "state": "forgotten"}


@ledger_app.command("trust")
def ledger_trust(context: Context, output: Path) -> Result:
    """Write the trust file, to be handed to auditors out of band."""
    from noren_local.private_file import write_result
    from noren_server import platform_files

    write_result(output, platform_files.trust_file(_platform(context)).encode())
    return {"trust": str(output)}


@keys_app.command("rotate")
def keys_rotate(
    context: Context,
    key: Annotated[str, typer.Argument(help="platform, log, server, authority or assignment.")],
) -> Result:
    """Replace a key by a new one, with the services stopped; completes what a crash interrupted."""
    from noren_core.errors import ConfigurationError
    from noren_core.ledger.entries import PlatformKey
    from noren_server import platform_keys

    platform = _platform(context)
    if key == "authority":
        return {"key": key, "state": "rotated", "fingerprint": platform_keys.rotate_authority(platform)}
    if key == "server":
        platform_keys.rotate_server_key(platform)
    elif key == "assignment":
        platform_keys.rotate_assignment_key(platform)
    elif key in set(PlatformKey):
        platform_keys.rotate(platform, PlatformKey(key))
    else:
        raise ConfigurationError("key: expected platform, log, server, authority or assignment")
    return {"key": key, "state": "rotated"}


@keys_app.command("retire-log")
def keys_retire_log(context: Context) -> Result:
    """Delete the log key that was replaced: checkpoints carry the new key's signature alone."""
    from noren_server import platform_keys

    platform_keys.retire_log_key(_platform(context))
    return {"key": "log", "state": "retired"}


@app.command()
def traffic(context: Context) -> Result:
    """Application bytes that each company sent and received since the services were started."""
    from noren_server.traffic_meter import company_traffic

    platform = _platform(context)
    with platform.store.transaction() as transaction:
        node_keys = {company.name: company.node_key for company in transaction.companies()}
    found = company_traffic(platform.directory / "run", node_keys)
    return {"companies": {c: {"sent": t.sent, "received": t.received} for c, t in found.items()}}


@app.command()
def version() -> Result:
    """Print the version."""
    return {"version": __version__}


def _rounds(context: Context, campaign: str) -> Any:
    from noren_server.round_control import RoundControl

    platform = _platform(context)
    return RoundControl(platform.store, platform.plan(campaign))


def _statistics(platform: Any) -> Any:
    from noren_server import services

    return services.sealed_statistics(platform)


def _platform(context: Context) -> Any:
    from noren_server.platform_files import Platform

    return Platform(context.obj)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    return run_command(app, arguments, program="noren-platform")


if __name__ == "__main__":
    sys.exit(main())

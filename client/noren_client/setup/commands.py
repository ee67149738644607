"""`noren-company setup`, `doctor`, `service`, `status`, `train`, `daily` and `hand-over`.

Results go to stdout, progress and questions to stderr. Every question has an option, so that scripts
are asked none.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from noren_client.setup.findings import Finding
    from noren_client.setup.systemd_units import Scope
    from noren_core.crypto.secret import SecretBytes
    from noren_core.rights.locales import Locale

service_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The systemd units that keep this machine taking part.",
)
hand_over_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Hand this directory over to another machine or person.",
)

Result = dict[str, Any]
Context = typer.Context
Language = Annotated[str, typer.Option(help="en or ja; by default as LANG says.")]
User = Annotated[bool, typer.Option("--user", help="In your own service manager, without root.")]
Into = Annotated[
    Path | None, typer.Option(help="A folder for the units; nothing is started then, as for packages.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Also where somebody edited a unit.")]

_PASSPHRASE_FILE = "NOREN_HAND_OVER_PASSPHRASE_FILE"  # noqa: S105 (where it is, not what)


def setup(
    context: Context,
    invitation: Annotated[Path | None, typer.Option(help="The file that the platform handed over.")] = None,
    declared_size: Annotated[
        int | None, typer.Option(help="Public upper bound of your applicants with an offer in a season.")
    ] = None,
    agree: Annotated[
        str, typer.Option(help="The sha256 that `noren-company agreement` prints, once it was read.")
    ] = "",
    proxy: Annotated[
        str | None,
        typer.Option(help="http://[user:password@]host:port; none for never; as HTTPS_PROXY if empty."),
    ] = None,
    no_proxy: Annotated[
        str | None, typer.Option(help="What is reached without it: names and networks, by commas.")
    ] = None,
    corporate_ca: Annotated[
        str | None,
        typer.Option(help="Your company's own certificate authorities, PEM; never for the platform."),
    ] = None,
    wait_seconds: Annotated[float, typer.Option(help="How long to wait for the approval.")] = 0,
    ignore_network: Annotated[
        bool, typer.Option("--ignore-network", help="Go on although a check of the network failed.")
    ] = False,
    language: Language = "",
) -> Result:
    """Set this machine up, step by step; what was done is not done twice, so run it again at any time."""
    from noren_client.setup import doctor, wizard

    given = wizard.Given(
        invitation=invitation,
        declared_size=declared_size,
        agreement=agree,
        network=_network(context.obj, proxy, no_proxy, corporate_ca),
        wait_seconds=wait_seconds,
        ignore_network=ignore_network,
        language=_locale(language),
    )
    is_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    asking = _Terminal(given.language) if is_terminal else wizard.Nobody()
    outcome = wizard.set_up(context.obj, given, asking)
    for line in doctor.lines(outcome.findings, given.language):
        asking.say(line)
    return {
        "company": outcome.company,
        "state": outcome.state.value,
        "fingerprint": outcome.fingerprint,
        "next": _next(context.obj, given.language),
    }


def doctor(context: Context, language: Language = "") -> Result:
    """Check this machine and the way to the platform; what to give to IT where something is not right."""
    from noren_client.setup import doctor as examination

    locale = _locale(language)
    found = examination.examine(context.obj)
    shown = {finding.check.value: _Shown(finding, locale) for finding in found.findings}
    return {**shown, "exit_code": found.exit_code}


def status(context: Context, language: Language = "") -> Result:
    """Where this company stands, and the one thing to do next."""
    from noren_client.setup import status as standing

    return standing.report(context.obj, locale=_locale(language))


def train(
    context: Context,
    campaign: Annotated[str, typer.Argument(help="An accepted campaign; the open one if left out.")] = "",
    hours: Annotated[float, typer.Option(help="At most so long; 0 until the head is here.")] = 0,
) -> Result:
    """Take part in the training of a campaign, from preparing to its head, and stop by itself."""
    from noren_client.setup import open_campaign

    def say(found: Any) -> None:
        typer.echo(
            f"{found.campaign}: {found.stage.value}, round {found.settled} of {found.rounds}", err=True
        )

    name = open_campaign.chosen(context.obj, campaign)
    done = open_campaign.train(context.obj, name, limit_seconds=hours * 3600 or None, say=say)
    return {"campaign": done.campaign, "stage": done.stage.value}


def daily(context: Context) -> Result:
    """Everything that is due once a day: ledger, answers, erasure orders, retention, scores, training."""
    from noren_client.setup import daily as work

    steps = work.run(context.obj, say=lambda name: typer.echo(name, err=True))
    return {
        "steps": {step.name: step.code or "done" for step in steps},
        "exit_code": work.exit_code(steps),
    }


@service_app.command("install")
def service_install(
    context: Context,
    user: User = False,
    replace: Replace = False,
    into: Into = None,
    account: Annotated[str, typer.Option(help="Who runs it; the directory's owner if left out.")] = "",
    credential: Annotated[
        Path | None, typer.Option(help="The encrypted passphrase of protected keys (systemd-creds).")
    ] = None,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Start it now, and at every boot.")
    ] = True,
) -> Result:
    """Write the units of worker, daily work and timer, and start them; again, nothing changes."""
    from noren_client.setup import service

    scope = _scope(user)
    program = Path(sys.executable).parent / "noren-company"
    choices = service.choices_for(
        context.obj, scope=scope, program=program, account=account, credential=credential
    )
    folder = into or service.folder_of(scope)
    changed = service.write(choices, folder, replace=replace)
    is_started = start and into is None and service.is_systemd_running()
    if is_started:
        service.start(service.systemctl(scope))
    return {"folder": str(folder), "changed": changed, "state": "started" if is_started else "written"}


@service_app.command("uninstall")
def service_uninstall(
    context: Context, user: User = False, replace: Replace = False, into: Into = None
) -> Result:
    """Stop the units and remove them; the company's directory stays as it is."""
    from noren_client.setup import service

    del context
    scope = _scope(user)
    folder = into or service.folder_of(scope)
    if into is None and service.is_systemd_running() and service.installed_scope() is scope:
        service.stop(service.systemctl(scope))
    removed = service.remove(folder, replace=replace)
    if into is None and service.is_systemd_running():
        service.systemctl(scope)(["daemon-reload"])
    return {"folder": str(folder), "removed": removed}


@service_app.command("status")
def service_status(context: Context, user: User = False, into: Into = None) -> Result:
    """Whether the units are there, as we wrote them, and running."""
    from noren_client.setup import service

    del context
    scope = _scope(user)
    run = service.systemctl(scope) if into is None and service.is_systemd_running() else None
    return {
        item.unit: {
            "file": "missing" if not item.file else "edited" if item.edited else "as written",
            "active": item.active or "unknown",
            "enabled": item.enabled or "unknown",
        }
        for item in service.states(into or service.folder_of(scope), run)
    }


@service_app.command("show")
def service_show(
    context: Context,
    user: User = False,
    account: Annotated[str, typer.Option(help="Who runs it; the directory's owner if left out.")] = "",
) -> Result:
    """Print the units that `install` would write, for whoever has to approve them."""
    from noren_client.setup import service, systemd_units

    program = Path(sys.executable).parent / "noren-company"
    choices = service.choices_for(context.obj, scope=_scope(user), program=program, account=account)
    return dict(systemd_units.unit_files(choices))


@hand_over_app.command("export")
def hand_over_export(
    context: Context,
    archive: Annotated[Path, typer.Argument(help="The new file; it opens with the passphrase only.")],
    confirm: Annotated[str, typer.Option(help="The company's name: this directory does nothing afterwards.")],
) -> Result:
    """Write this directory into one encrypted file; from then on it does nothing. Stop the service first."""
    from noren_client import config
    from noren_client.setup import hand_over
    from noren_core.errors import ConfigurationError

    if confirm != config.load_inert(context.obj).company:
        raise ConfigurationError("--confirm: expected this company's name, got another text")
    listed = hand_over.export(context.obj, archive, _passphrase(again=True), now=int(time.time()))
    return {"archive": str(archive), "company": listed.company, "state": "handed-over"}


@hand_over_app.command("import")
def hand_over_import(
    context: Context, archive: Annotated[Path, typer.Argument(help="What `export` wrote.")]
) -> Result:
    """Make the directory on this machine from an archive; then rotate the keys."""
    from noren_client.setup import hand_over

    listed = hand_over.take_over(archive, context.obj, _passphrase(again=False))
    return {
        "company": listed.company,
        "directory": str(context.obj),
        "state": "taken-over",
        "next": "noren-company doctor, then noren-company keys rotate all",
    }


@hand_over_app.command("take-back")
def hand_over_take_back(
    context: Context, archive: Annotated[Path, typer.Argument(help="What `export` wrote; it is deleted.")]
) -> Result:
    """Use this directory again, if the archive was imported nowhere; the archive is deleted."""
    from noren_client.setup import hand_over

    hand_over.take_back(context.obj, archive, _passphrase(again=False))
    return {"directory": str(context.obj), "state": "in-use"}


class _Shown(dict[str, str]):
    """A finding: fields with --json, lines for a person."""

    def __init__(self, finding: Finding, locale: Locale) -> None:
        super().__init__(
            state=finding.state.value,
            result=finding.result.value,
            found=finding.found(locale),
            line=finding.line(locale),
        )

    def __str__(self) -> str:
        line = f"\n    → {self['line']}" if self["line"] else ""
        return f"{self['state']}  {self['found']}{line}"


class _Terminal:
    """A person at a terminal, asked on stderr."""

    def __init__(self, language: Locale) -> None:
        self._language = language

    def text(self, option: str, question: str, default: str = "") -> str:
        """What she types; a blank line is the default."""
        del option
        return str(typer.prompt(question, default=default or None, show_default=False, err=True))

    def agrees(self, text: str) -> bool:
        """Whether she types the word below the text."""
        from noren_core.rights.locales import Locale

        question = "Type AGREE to sign this for your company"
        if self._language is Locale.JA:
            question = "この規約に企業として署名する場合は AGREE と入力してください"
        typer.echo(text, err=True)
        return str(typer.prompt(question, err=True)).strip() == "AGREE"

    def say(self, sentence: str) -> None:
        """On stderr."""
        typer.echo(sentence, err=True)


def _network(directory: Path, proxy: str | None, no_proxy: str | None, authority: str | None) -> Any:
    """What the options change of what is configured; None if there is no such option."""
    from noren_client import config
    from noren_client.outbound import AS_ENVIRONMENT, NetworkSettings

    if proxy is None and no_proxy is None and authority is None:
        return None
    known = config.load(directory).network if (directory / config.FILE_NAME).exists() else AS_ENVIRONMENT
    return NetworkSettings.from_texts(
        proxy=known.proxy if proxy is None else proxy,
        no_proxy=",".join(known.no_proxy) if no_proxy is None else no_proxy,
        authority=known.authority if authority is None else authority,
    )


def _next(directory: Path, locale: Locale) -> str:
    from noren_client.setup import status as standing

    step, campaign = standing.next_step(directory)
    return standing.sentence(step, locale, campaign=campaign)


def _locale(language: str) -> Locale:
    from noren_core.console import spoken_language
    from noren_core.errors import ConfigurationError
    from noren_core.rights.locales import Locale

    chosen = language or spoken_language()
    if chosen not in tuple(Locale):
        raise ConfigurationError(f"--language: expected {', '.join(Locale)}")
    return Locale(chosen)


def _scope(user: bool) -> Scope:
    from noren_client.setup.systemd_units import Scope

    return Scope.USER if user else Scope.SYSTEM


def _passphrase(*, again: bool) -> SecretBytes:
    """The archive's own, from the file that an environment variable names, or typed; a new one twice."""
    import os

    from noren_core.errors import ConfigurationError
    from noren_local import passphrase

    first = passphrase.from_variable(_PASSPHRASE_FILE, "Passphrase of the archive: ")
    is_typed = again and not os.environ.get(_PASSPHRASE_FILE)
    if is_typed and passphrase.from_variable(_PASSPHRASE_FILE, "The same again: ") != first:
        raise ConfigurationError("passphrase: expected the same twice, got two")
    return first

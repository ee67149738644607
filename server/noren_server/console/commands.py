"""`noren-platform console`: serve the pages, add people, look after the trail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

console_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Pages for the people of the platform."
)

Result = dict[str, Any]
Name = Annotated[str, typer.Argument(help="The person's name (a-z, 0-9, hyphens).")]
Roles = Annotated[
    str,
    typer.Option(help="administrator, or some of consent-admin, ml-operator, privacy-officer; or auditor."),
]


@console_app.command("serve")
def serve(
    context: typer.Context,
    listen: Annotated[str, typer.Option(help="Address and port; port 0 takes a free one.")] = "127.0.0.1:0",
    certificate: Annotated[Path | None, typer.Option(help="Chain in PEM; else the platform's own.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key in PEM.")] = None,
    public_name: Annotated[
        str, typer.Option(help="Host, and port if it is not 443, that browsers are to use.")
    ] = "",
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="Without TLS only on loopback, which is the default there."),
    ] = None,
) -> Result:
    """Serve the console until interrupted, beside `serve` and on the same directory."""
    from noren_server.console import listening

    listening.serve(
        context.obj, listening.choose(listen, tls=tls, files=(certificate, key), public_name=public_name)
    )
    return {"state": "stopped"}


@console_app.command("add-person")
def add_person(
    context: typer.Context,
    name: Name,
    roles: Roles,
    subject: Annotated[
        str, typer.Option(help="What the identity provider calls her; then she has no password here.")
    ] = "",
) -> Result:
    """Add somebody; prints the one-time code with which she joins on the page /join."""
    from noren_server.console.accounts import CODE_SECONDS

    accounts, act = _accounts(context), _Act(context, "console/add-person")
    code = act.done(name, lambda: accounts.add(name, _words(roles), subject=subject))
    if not code:
        return {"person": name, "state": "active"}
    return {"person": name, "page": "/join", "code": code, "valid_hours": CODE_SECONDS // 3600}


@console_app.command("renew-person")
def renew_person(context: typer.Context, name: Name) -> Result:
    """A new one-time code for somebody who lost phone or password; what she had is worth nothing any more."""
    accounts, act = _accounts(context), _Act(context, "console/renew-person")
    code = act.done(name, lambda: accounts.renew(name))
    return {"person": name, "page": "/join", "code": code} if code else {"person": name, "state": "active"}


@console_app.command("disable-person")
def disable_person(context: typer.Context, name: Name) -> Result:
    """Let somebody in no more; her sessions end at once."""
    accounts, act = _accounts(context), _Act(context, "console/disable-person")
    act.done(name, lambda: accounts.disable(name))
    return {"person": name, "state": "disabled"}


@console_app.command("people")
def people(context: typer.Context) -> Result:
    """Everybody with roles and state."""
    return {
        "people": {
            account.name: {"state": account.state.value, "roles": [role.value for role in account.roles]}
            for account in _accounts(context).everybody()
        }
    }


@console_app.command("oidc-secret")
def oidc_secret(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File with the client's secret at the identity provider.")],
) -> Result:
    """Keep the secret that the identity provider gave this console, sealed as the platform's keys are."""
    from noren_local import passphrase
    from noren_server.console.oidc import SECRET_FILE
    from noren_server.platform_secrets import secrets_of

    secret = passphrase.from_file(file)
    secrets_of(context.obj).write(SECRET_FILE, secret.buffer)
    return {"kept": SECRET_FILE}


@console_app.command("trail")
def trail(
    context: typer.Context,
    verify: Annotated[bool, typer.Option("--verify", help="Read all of it and check every link.")] = False,
    seen: Annotated[str, typer.Option(help="A head that was noted before, count:hash.")] = "",
) -> Result:
    """The head of the trail; note it somewhere else, and give it with --seen later."""
    from contextlib import closing

    from noren_server.consents.opening import unix_now
    from noren_server.console.trail import Trail, parse_head

    _verify_is_platform(context)
    with closing(Trail(context.obj, unix_now)) as opened:
        head = opened.verify(parse_head(seen) if seen else None) if verify or seen else opened.head()
    return {"records": head.count, "head": head.to_text(), "verified": bool(verify or seen)}


class _Act:
    """One command, in the trail as an act of the console is."""

    def __init__(self, context: typer.Context, action: str) -> None:
        self._directory: Path = context.obj
        self._action = action

    def done(self, name: str, act: Any) -> Any:
        """What `act` returns; recorded before and after."""
        from contextlib import closing

        from noren_core.errors import NorenError
        from noren_core.ids import parse_name
        from noren_server.consents.opening import unix_now
        from noren_server.console.trail import COMMAND_LINE, DONE, Trail

        about = f"person:{parse_name(name, 'person')}"
        with closing(Trail(self._directory, unix_now)) as opened:
            begun = opened.begin(COMMAND_LINE, self._action, about)
            try:
                result = act()
            except NorenError as error:
                opened.end(COMMAND_LINE, self._action, about, error.code, begun=begun)
                raise
            opened.end(COMMAND_LINE, self._action, about, DONE, begun=begun)
        return result


def _words(roles: str) -> Any:
    from noren_server.console.accounts import parse_roles

    return parse_roles([word for word in roles.replace(" ", "").split(",") if word])


def _accounts(context: typer.Context) -> Any:
    from noren_server.consents.opening import unix_now
    from noren_server.console.accounts import Accounts
    from noren_server.platform_secrets import secrets_of

    _verify_is_platform(context)
    return Accounts(context.obj, secrets_of(context.obj), unix_now)


def _verify_is_platform(context: typer.Context) -> None:
    """ConfigurationError before a file is made in a directory that is no platform's."""
    from noren_server.platform_files import Platform

    Platform(context.obj)

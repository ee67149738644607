"""The auditor's command that certifies a client: `noren-audit certify`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from noren_core.console import tell_progress

EXIT_NOT_CERTIFIED = 9

Result = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(certify)


def certify(
    context: typer.Context,
    image: Annotated[
        str | None, typer.Argument(help="A container image; left out: the client installed here.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="What starts the client's mechanism service, if nothing usual does.")
    ] = None,
    python: Annotated[
        str | None, typer.Option(help="The client's Python, if its command's first line does not name it.")
    ] = None,
    claims: Annotated[str, typer.Option(help="The epsilons to claim.")] = "1,4,8",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs: less power at small claims.")] = False,
) -> Result:
    """Certify a client against broken versions of itself; exit 0 if CERTIFIED, otherwise 9. Takes --json."""
    from noren_audit.certification import certificate as certify_report
    from noren_audit.certification import certify as certification
    from noren_audit.certification import client_process as certify_client
    from noren_core.errors import ConfigurationError

    if image is not None and command is not None:
        raise ConfigurationError("certify: expected an image or --command, got both")
    commands = (
        certify_client.installed(command, python) if image is None else certify_client.image(image, python)
    )
    result = certification.certify(
        commands,
        certification.parse_claims(claims),
        looks=certification.QUICK_LOOKS if quick else certification.LOOKS,
        progress=lambda name: tell_progress(f"examining {name}"),
    )
    exit_code = 0 if result.is_certified else EXIT_NOT_CERTIFIED
    if context.obj:
        return {"exit_code": exit_code, **certify_report.to_fields(result)}
    for line in certify_report.lines(result):
        print(line)
    return {"exit_code": exit_code}

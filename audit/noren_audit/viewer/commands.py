"""`noren-audit view`: the viewer on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def view(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="A bundle to begin with; needs --trust.", exists=True, file_okay=False),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(help="TOML file with the keys you trust; otherwise handed in with each bundle."),
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    opens: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
) -> dict[str, Any]:
    """Verify bundles in the browser, on this machine alone, until interrupted; the link is told on stderr."""
    from noren_audit.verification.trust import load_trust
    from noren_audit.viewer.serving import serve

    if bundle is not None and trust is None:
        raise typer.BadParameter("expected --trust with a bundle", param_hint="BUNDLE")
    serve(
        bundle,
        None if trust is None else load_trust(trust),
        port=port,
        opens=opens,
        announce=lambda url: print(f"viewer: {url}", file=sys.stderr, flush=True),
    )
    return {"state": "stopped"}

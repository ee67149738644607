"""`noren-company leaving`: what leaves this machine, field by field, and how much of it did."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Result = dict[str, Any]


def leaving(
    context: typer.Context,
    language: Annotated[str, typer.Option(help="ja or en.")] = "en",
) -> Result:
    """List what leaves this machine: fields, address, bytes so far, last time; and what never does."""
    from noren_client.leaving.overview import overview, to_result
    from noren_core.errors import DataError
    from noren_core.rights.locales import Locale

    if language not in tuple(Locale):
        raise DataError(f"language: expected one of {', '.join(Locale)}; got another")
    return to_result(overview(context.obj), Locale(language))

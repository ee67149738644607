"""`noren-company rights answer` and `rights link-offer`: what this company owes and offers students."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

Result = dict[str, Any]


def answer(context: typer.Context, campaign: str) -> Result:
    """Answer students' requests and tell them who looked; nobody here sees whose. Run it daily."""
    from noren_client.rights.daily_work import answer_students

    answer_students(context.obj, campaign, now=int(time.time()))
    return {"campaign": campaign}


def link_offer(
    context: typer.Context,
    campaign: str,
    position: str,
    site: Annotated[str, typer.Option(help="Where students reach the platform's site, https://…")],
    days: Annotated[int, typer.Option(help="How long the offer is open.")] = 90,
) -> Result:
    """Print a URL that opens the consent notice for a position; there is nothing about anybody in it."""
    from noren_client.rights.link_offers import link_offer_url

    url = link_offer_url(context.obj, campaign, position, base=site, days=days, now=int(time.time()))
    return {"url": url}

"""Retention: what is kept for how long, when the daily job ran last, and running it now."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from noren_core.rights.erasure.retention import DAY_SECONDS, RETENTION, Kept
from noren_server.console.desk import acting, desk_of
from noren_server.console.governance import words
from noren_server.console.governance.who_may import OFFICE, READERS
from noren_server.rights.opening import retention_of
from noren_web.access import allow
from noren_web.jobs import Job
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

router = APIRouter()

_KIND = "retention"
_AT_THE_PLATFORM = frozenset(
    {Kept.PROVISION_RECORDS, Kept.ERASURE_ORDERS, Kept.EMBEDDINGS, Kept.SEALED_TABLES}
)


@router.get("/retention", dependencies=[allow(*READERS)])
def retention(request: Request) -> Response:
    """The table, the last run, and what should have been deleted."""
    desk = desk_of(request)
    with retention_of(desk.platform) as job:
        last, overdue = job.last_run(), job.overdue(now=desk.clock())
    running = request.app.state.jobs.newest(_KIND)
    rows = [
        (words.KEPT[kept], kept in _AT_THE_PLATFORM, rule.seconds // DAY_SECONDS, words.SINCE[rule.since])
        for kept, rule in RETENTION.items()
    ]
    return page(
        request,
        "retention/retention.html",
        rows=rows,
        last=last,
        deleted=[words.KEPT[kept] for kept in last.deleted] if last else [],
        overdue=[words.KEPT[kept] for kept in overdue],
        job=running if running is not None and running.owner == acting(request).name else None,
    )


@router.post("/retention/run", dependencies=[allow(*OFFICE)])
def run(request: Request, form: Posted) -> Response:
    """Begin to delete what has come to its end."""
    del form
    desk = desk_of(request)

    def work(job: Job) -> None:
        del job
        with retention_of(desk.platform) as sweep:
            sweep.run(now=desk.clock())

    job = request.app.state.jobs.start(
        work,
        kind=_KIND,
        owner=acting(request).name,
        title=_("Deleting what has come to its end"),
        next_path="/retention",
    )
    return redirect(request, f"/jobs/{job.job}")

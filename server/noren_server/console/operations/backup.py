"""Backups: when the last one was made, when one was last tried out, and trying the newest out now."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import APIRouter, Request, Response

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_local import passphrase
from noren_server.backup import history, restoring
from noren_server.backup.commands import VARIABLE
from noren_server.console.desk import about, acting, desk_of
from noren_server.console.governance.who_may import READERS
from noren_server.console.operations.campaigns import OPERATOR
from noren_web.access import allow
from noren_web.jobs import Job
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

router = APIRouter()

_KIND = "backup test"


@router.get("/backup", dependencies=[allow(*READERS)])
def standing(request: Request) -> Response:
    """What is known of backups."""
    desk = desk_of(request)
    known, now = history.read_history(desk.platform.directory), desk.clock()
    job: Job | None = request.app.state.jobs.newest(_KIND)
    return page(
        request,
        "backup/standing.html",
        known=known,
        is_backup_old=known.is_backup_old(now=now),
        is_test_old=known.is_test_old(now=now),
        backup_days=history.BACKUP_DAYS,
        test_days=history.TEST_DAYS,
        can_test=known.last_backup is not None and bool(os.environ.get(VARIABLE)),
        variable=VARIABLE,
        passed=history.PASSED,
        job=job if job is not None and job.owner == acting(request).name else None,
    )


@router.post("/backup/test", dependencies=[allow(OPERATOR)])
def test(request: Request, form: Posted) -> Response:
    """Try the newest backup out."""
    del form
    desk = desk_of(request)
    about(request, "backup", "test")
    last = history.read_history(desk.platform.directory).last_backup
    if last is None:
        raise LocalProtocolError("backup: expected one that was made, got none")
    given, step = _passphrase(), str(_("It is restored into a directory of its own and checked."))
    directory = desk.platform.directory

    def work(job: Job) -> None:
        job.progress(0, 0, step)
        try:
            restoring.try_out(directory, Path(last.directory), given, now=desk.clock())
        finally:
            given.wipe()

    job = request.app.state.jobs.start(
        work,
        kind=_KIND,
        owner=acting(request).name,
        title=_("Restore test"),
        next_path="/backup",
    )
    return redirect(request, f"/jobs/{job.job}")


def _passphrase() -> SecretBytes:
    """The one that this process was started with: a page neither asks for it nor waits at a terminal."""
    named = os.environ.get(VARIABLE)
    if not named:
        raise ConfigurationError(
            f"expected the passphrase of backups ({VARIABLE}), got none", code="PASSPHRASE_MISSING"
        )
    return passphrase.from_file(Path(named))

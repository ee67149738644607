"""Long work that a page starts: in a thread of its own, with progress that the page asks for.

Promises: at most `MAX_RUNNING` at once, a second start of the same kind while one runs is refused; a job's
error keeps its code and sentence and nothing else; what ended is kept for an hour.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from noren_core.errors import LocalProtocolError, NorenError

MAX_RUNNING = 4
KEPT_SECONDS = 3600
_LOG = logging.getLogger(__name__)


class JobState(StrEnum):
    """Where a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Job:
    """One piece of work.

    Attributes:
        job: its random handle.
        kind: of which one runs at a time, such as `coverage spring`.
        owner: the name of who started it.
        title: a sentence for the page.
        next_path: where to go on when it is done.
        done, total: progress; a total of 0 is not known.
        step: a sentence about what it does now.
        code, message: of the error, if it failed.
    """

    job: str
    kind: str
    owner: str
    title: str
    next_path: str
    started_at: int
    ended_at: int = 0
    state: JobState = JobState.RUNNING
    done: int = 0
    total: int = 0
    step: str = ""
    code: str = ""
    message: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)

    def progress(self, done: int, total: int = 0, step: str = "") -> None:
        """Say how far the work is; it calls this itself."""
        self.done, self.total = done, total
        if step:
            self.step = step

    def wait(self) -> None:
        """Until it ended."""
        if self.thread is not None:
            self.thread.join()


Work = Callable[[Job], object]


class Jobs:
    """The jobs of one site."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def start(self, work: Work, *, kind: str, owner: str, title: str, next_path: str) -> Job:
        """Begin `work`, which is called with its job.

        Raises:
            LocalProtocolError: with code JOB_RUNNING, if one of this kind or too many others run.
        """
        now = self._clock()
        job = Job(secrets.token_hex(16), kind, owner, str(title), next_path, now)
        with self._lock:
            self._jobs = {
                key: kept
                for key, kept in self._jobs.items()
                if kept.state is JobState.RUNNING or kept.ended_at > now - KEPT_SECONDS
            }
            running = [kept for kept in self._jobs.values() if kept.state is JobState.RUNNING]
            if len(running) >= MAX_RUNNING or any(kept.kind == kind for kept in running):
                raise LocalProtocolError(
                    "expected no other work of this kind while it runs; wait until it ended",
                    code="JOB_RUNNING",
                )
            self._jobs[job.job] = job
        job.thread = threading.Thread(target=self._run, args=(job, work), name="job", daemon=True)
        job.thread.start()
        return job

    def find(self, handle: str, *, owner: str) -> Job:
        """Somebody's job; LocalProtocolError with code NOT_FOUND if she has none of this handle."""
        job = self._jobs.get(handle)
        if job is None or job.owner != owner:
            raise LocalProtocolError("expected a job of yours, got none", code="NOT_FOUND")
        return job

    def newest(self, kind: str) -> Job | None:
        """The last one that was started of a kind."""
        found = [job for job in self._jobs.values() if job.kind == kind]
        return max(found, key=lambda job: job.started_at, default=None)

    def _run(self, job: Job, work: Work) -> None:
        state = JobState.FAILED
        try:
            work(job)
            state = JobState.DONE
        except NorenError as error:
            job.code, job.message = error.code, error.message
        except Exception as error:  # noqa: BLE001 (its text may hold records; the page says that it failed)
            job.code, job.message = "INTERNAL", "the work ended with an error of ours"
            _LOG.error("a job ended with %s", type(error).__name__)
        job.ended_at = self._clock()
        job.state = state  # last: who sees that it ended sees why

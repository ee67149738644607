"""Runs the locally installed ClientApp in place of Flower's SuperExec, and never the platform's code.

Stock Flower downloads whatever bundle the platform names and executes it as the company's user. This
worker asks its SuperNode for client tasks only, compares the SHA-256 of the delivered bundle with the
one in the company's configuration, and then forgets the bundle: it is never unpacked, written or
imported. The app that runs is the installed one. It stays alive between messages, so that torch is
imported once and not for every message. What goes back is the app's reply or one constant error.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from noren_client.flower_app import COMPANY_DIR_KEY, refusal
from noren_client.flower_private import Delivery, RuntimeUnavailableError, empty_state

_HEARTBEAT_SECONDS = 10.0
_BUSY_POLL_SECONDS = 0.2
_IDLE_POLL_SECONDS = 1.0
_BUSY_WINDOW_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Task(Protocol):
    """One message to answer (flower_private.Task)."""

    def heartbeat(self) -> None:
        """Say that we are still at it."""

    def pull(self) -> Delivery:
        """Its message and bundle."""

    def push(self, reply: Message, delivery: Delivery) -> None:
        """Hand in the reply."""

    def finish(self, *, is_completed: bool) -> None:
        """Close it."""


class Runtime(Protocol):
    """Where tasks come from (flower_private.Runtime)."""

    def acquire(self) -> Task | None:
        """The next client task, if one is waiting."""


class PinnedWorker:
    """Answers the tasks of one SuperNode, one after the other."""

    def __init__(
        self,
        runtime: Runtime,
        client_app: ClientApp,
        *,
        company_dir: Path,
        bundle_sha256: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._client_app = client_app
        self._company_dir = company_dir
        self._bundle_sha256 = bundle_sha256
        self._clock = clock
        self._busy_until = 0.0

    def run_once(self) -> bool:
        """Answer one task if one is waiting; True if there was one.

        Raises:
            RuntimeUnavailableError: if the SuperNode cannot be asked. One that is lost during a task
                costs that task only.
        """
        task = self._runtime.acquire()
        if task is None:
            return False
        self._busy_until = self._clock() + _BUSY_WINDOW_SECONDS
        try:
            self._answer(task)
        except RuntimeUnavailableError:
            _log.warning("task lost: the SuperNode did not take part to its end")
        return True

    def pause_seconds(self) -> float:
        """How long to wait before asking again: short for a while after a task, since rounds follow."""
        return _BUSY_POLL_SECONDS if self._clock() < self._busy_until else _IDLE_POLL_SECONDS

    def _answer(self, task: Task) -> None:
        """Take the message, check the pin, run the installed app, send the reply.

        1. The bundle's bytes are hashed and compared; for another hash the answer is the constant
           error and the message's content is not looked at.
        2. The app gets a context of our own making: no run configuration of the platform's.
        3. Nothing that an exception says leaves; the app's own handler has the first catch, this
           is the second.
        """
        with _heartbeats(task):
            delivery = task.pull()
            digest = hashlib.sha256(delivery.bundle).hexdigest()
            is_pinned = hmac.compare_digest(digest, self._bundle_sha256)
            if is_pinned:
                reply = self._run_app(delivery)
            else:
                _log.error("bundle refused: expected the pinned hash, got sha256 %s", digest)
                reply = refusal(delivery.message)
            task.push(reply, delivery)
            task.finish(is_completed=is_pinned)

    def _run_app(self, delivery: Delivery) -> Message:
        context = Context(
            run_id=delivery.run_id,
            node_id=delivery.node_id,
            node_config={COMPANY_DIR_KEY: str(self._company_dir)},
            state=empty_state(),
            run_config={},
        )
        try:
            return self._client_app(message=delivery.message, context=context)
        except Exception as error:  # noqa: BLE001  # nothing of it may reach the platform
            _log.error("app failed: %s", type(error).__name__)  # its text may quote a row
            return refusal(delivery.message)


@contextmanager
def _heartbeats(task: Task) -> Iterator[None]:
    """Send heartbeats from a thread while the block runs."""
    is_over = threading.Event()

    def send() -> None:
        while not is_over.wait(_HEARTBEAT_SECONDS):
            task.heartbeat()

    thread = threading.Thread(target=send, name="task-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def preload() -> None:
    """Import what the first round needs and compute once: torch and Opacus are slow the first time."""
    from fractions import Fraction

    import numpy as np

    from noren_client.training import clipped_gradient_sum

    clipped_gradient_sum(
        np.ones((2, 1)), np.array([0, 1]), np.zeros(2), clipping_norm=Fraction(1), grid=1 << 16
    )

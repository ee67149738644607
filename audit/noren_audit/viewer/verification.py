"""One verification at a time, in a thread of its own, whose progress pages can ask for.

Promises: what is shown is the verdict of `verify_bundle` and the report that `noren-audit verify --html`
writes; a directory that was handed over for it is removed when it ends, however it ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from noren_audit.verification.trust import Trust
from noren_core.errors import LocalProtocolError, NorenError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verification came to.

    Attributes:
        word: VERIFIED or NOT VERIFIED.
        is_verified: whether nothing at all was found.
        origin: the ledger's name, from the trust file.
        entries: how many the bundle has.
        findings: how many there are.
        report: the HTML report, a file in itself.
        left_out: files that an operating system had added, which were not looked at.
    """

    word: str
    is_verified: bool
    origin: str
    entries: int
    findings: int
    report: bytes = field(repr=False)
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far it is: entries read, or the outcome, or the error that ended it."""

    read: int = 0
    in_all: int = 0
    outcome: Outcome | None = None
    error: NorenError | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.outcome is not None or self.error is not None


class Verification:
    """The one that runs, or the last one that did."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing: Standing | None = None

    @property
    def standing(self) -> Standing | None:
        """Of the newest one; None before the first."""
        return self._standing

    def start(
        self, bundle: Path, trust: Trust, *, left_out: int = 0, forget: Callable[[], None] = lambda: None
    ) -> None:
        """Begin; `forget` is called at the end, and also if it is not begun.

        Raises:
            LocalProtocolError: with code JOB_RUNNING, while another one runs.
        """
        with self._lock:
            if self._standing is not None and not self._standing.has_ended:
                forget()
                raise LocalProtocolError(
                    "verification: expected the one before to have ended, it runs", code="JOB_RUNNING"
                )
            self._standing = Standing()
        work = threading.Thread(target=self._work, args=(bundle, trust, left_out, forget), daemon=True)
        work.start()

    def _work(self, bundle: Path, trust: Trust, left_out: int, forget: Callable[[], None]) -> None:
        try:
            ended = Standing(outcome=self._verified(bundle, trust, left_out))
        except NorenError as error:
            ended = Standing(error=error)
        except Exception as error:  # noqa: BLE001 (its text may quote the bundle: only its type is told)
            _LOG.error("verification: %s", type(error).__name__)
            ended = Standing(error=NorenError(f"verification: {type(error).__name__}"))
        finally:
            forget()
        self._standing = ended

    def _verified(self, bundle: Path, trust: Trust, left_out: int) -> Outcome:
        from noren_audit.html.html_report import render
        from noren_audit.verification.verify import verify_bundle

        verdict = verify_bundle(bundle, trust, report=self._note)
        report = render(verdict, trust).encode()
        return Outcome(
            verdict.word,
            verdict.is_verified,
            trust.origin,
            verdict.entries,
            len(verdict.findings),
            report,
            left_out,
        )

    def _note(self, read: int, in_all: int) -> None:
        self._standing = Standing(read, in_all)

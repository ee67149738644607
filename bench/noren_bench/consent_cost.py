"""The consent book: what asking, importing, withdrawing and redeeming permits cost."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from noren_bench.measurement import Goal, Row, cpu_seconds, microseconds_each
from noren_core.crypto.identity import SigningKey
from noren_core.ids import IdentifierKind
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import (
    Action,
    Answer,
    ConsentEvent,
    ConsentKey,
    EventKind,
    Screen,
    SignedEvent,
    sign_event,
)
from noren_core.rights.consent.consent_record import ConsentRecord
from noren_core.rights.consent.consent_validity import PolicyStanding, PolicyStatus
from noren_core.rights.consent.permit import permit_key
from noren_core.rights.purposes import Purpose
from noren_core.rights.student_device import StudentDevice
from noren_server.consents.consent_book import ConsentBook
from noren_server.consents.permits import PermitDesk

STUDENTS = 20_000
PERMITS = 100_000
CHECK_MICROSECONDS, CHECK_P99_MILLISECONDS, WITHDRAWAL_SECONDS, PERMIT_SECONDS = 50.0, 1.0, 1.0, 15.0

_NOW = 1_780_000_000
_SCREEN = Screen("ab" * 32, tuple(Clause))
_CHECKS = 20_000


class _Facts:
    """Everything in force."""

    def policy(self, policy: str) -> PolicyStanding:
        del policy
        return PolicyStanding(PolicyStatus.ACTIVE)

    def clauses_shown(self, key: ConsentKey, screen: str, at: int) -> frozenset[Clause]:
        del key, screen, at
        return frozenset(Clause)

    def is_agreement_active(self, company: str) -> bool:
        del company
        return True

    def is_running(self, company: str) -> bool:
        del company
        return True


def row(*, students: int = STUDENTS, permits: int = PERMITS) -> Row:
    """Microseconds of one check, with import, withdrawal and permits as details."""
    people = [Student(f"s{number}") for number in range(students)]
    service = SigningKey.generate()
    events = [event for person in people for event in person.consents(service)]
    with _book(service) as book:
        imported = cpu_seconds(partial(book.record_all, events, now=_NOW + 9), repeats=1)
        keys = [person.key for person in people]
        check = microseconds_each(partial(_check_all, book, keys), len(keys))
        busy = _p99_while_withdrawing(book, people)
        redeemed = _permit_seconds(book, service, permits)
    withdrawal, p99 = busy
    return Row(
        work=f"check one consent among {students:,}",
        unit="µs",
        ours=check,
        goals=(
            Goal("check in µs", check, CHECK_MICROSECONDS),
            Goal("p99 of a check while others withdraw, in ms", p99, CHECK_P99_MILLISECONDS),
            Goal("slowest withdrawal until the next check says no, in s", withdrawal, WITHDRAWAL_SECONDS),
            Goal(f"issue and redeem {permits:,} permits, in CPU s", redeemed, PERMIT_SECONDS),
        ),
        details={"import_us_per_event": imported / len(events) * 1e6, "permit_us": redeemed / permits * 1e6},
    )


class Student:
    """Consents to be scored by one company."""

    def __init__(self, name: str) -> None:
        self.device = StudentDevice.create(name)
        self.key = ConsentKey(name, Purpose.SCORE, "akane", "clerk", "2027", "policy-1")
        self.record = ConsentRecord(self.key, secrets.token_bytes(16))

    def consents(self, service: SigningKey) -> Iterator[SignedEvent]:
        """Her key, what she was shown, and her consent."""
        answer = Answer(
            _SCREEN,
            Action.TICK_UNTICKED_BOX,
            prechecked=False,
            bundled=False,
            dwell_ms=1,
            expires_at=_NOW + 10**6,
        )
        shown = ConsentEvent(EventKind.SHOWN, self.key, self.record.record, _NOW, screen=_SCREEN)
        yield self.device.registers(time=_NOW)
        yield sign_event(shown, service)
        found_by = (IdentifierKind.CONSENT_CODE, f"code-{self.key.student}")
        yield self.device.gives(self.record, answer, time=_NOW + 1, found_by=found_by)

    def withdraws(self) -> SignedEvent:
        """The end of it."""
        return self.device.withdraws(self.key, self.record.record, time=_NOW + 2)


@contextmanager
def _book(service: SigningKey) -> Iterator[ConsentBook]:
    facts = _Facts()
    with (
        tempfile.TemporaryDirectory(prefix="noren-bench-") as directory,
        ConsentBook(
            Path(directory) / "consents.db", service_key=service.public_key, facts=lambda _: facts
        ) as book,
    ):
        yield book


def _check_all(book: ConsentBook, keys: list[ConsentKey]) -> None:
    for key in keys:
        if book.check(key, now=_NOW + 9) is not None:
            raise RuntimeError("consents: expected every consent to count")


def _p99_while_withdrawing(book: ConsentBook, people: list[Student]) -> tuple[float, float]:
    """Seconds of the slowest withdrawal with the check after it; ms below which 99 % of checks are."""
    leaving, staying = people[:100], people[100:]
    slowest = 0.0
    is_over = threading.Event()

    def withdraw() -> None:
        nonlocal slowest
        for person in leaving:
            began = time.perf_counter()
            book.record(person.withdraws(), now=_NOW + 9)
            if book.check(person.key, now=_NOW + 9) is None:
                raise RuntimeError("consents: expected a withdrawn consent not to count")
            slowest = max(slowest, time.perf_counter() - began)
        is_over.set()

    thread = threading.Thread(target=withdraw)
    thread.start()
    took: list[float] = []
    while not is_over.is_set() or len(took) < _CHECKS:
        key = staying[len(took) % len(staying)].key
        began = time.perf_counter()
        book.check(key, now=_NOW + 9)
        took.append(time.perf_counter() - began)
    thread.join()
    return slowest, sorted(took)[len(took) * 99 // 100] * 1000


def _permit_seconds(book: ConsentBook, service: SigningKey, permits: int) -> float:
    desk, live = (
        PermitDesk(book, permit_key(service)),
        book.live("akane", "2027", Purpose.SCORE, now=_NOW + 9),
    )
    wanted = [live[number % len(live)] for number in range(permits)]

    def work() -> None:
        issued = desk.issue("akane", Purpose.SCORE, wanted, now=_NOW + 9)
        if len(desk.redeem_all(issued, audience="akane", now=_NOW + 9)) != permits:
            raise RuntimeError("consents: expected every permit to be redeemed")

    return cpu_seconds(work, repeats=1)

"""Who a student's request is from: her registered key signed it, about now, and it was not here before.

docs/rights/student-api.md §1. Promises: whatever is wrong with a signature, the answer is the same; a nonce
is on disk before its request is acted on, so that a restart does not make one good again; nobody asks more
often than `RATE_REQUESTS` in `RATE_SECONDS`, and who has no key makes the platform write nothing.

The first key of an account, and one in place of a lost key, come with a one-time code that the site's own
login hands out (`AccountCodes`); with such a code she also
comes to her pages, and registers there. How that login knows who somebody is, is not decided here.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.rights.consent.consent_event import KeyRegistered, parse_event
from noren_core.rights.student_request import WINDOW_SECONDS, StudentRequest
from noren_server.policies.evidence_file import EvidenceFile

RATE_REQUESTS, RATE_SECONDS = 120, 60
CODE_HEADER = "noren-account-code"
CODE_SECONDS = 900
REGISTRATION = ("POST", "/v1/events")
"""Method and address of the one operation that a code is good for: the key there enters the log."""

_MAX_RATED = 100_000

KeyOf = Callable[[str], bytes | None]
"""The key that a student has registered now."""


class AccountCodes:
    """One-time codes: what the site's login hands to a student for her device."""

    def __init__(self, file: EvidenceFile, *, clock: Callable[[], int]) -> None:
        self._file = file
        self._clock = clock

    def issue(self, student: str) -> str:
        """A code that registers one key for this student within 15 minutes; it replaces an earlier one."""
        code, now = secrets.token_urlsafe(32), self._clock()
        with self._file.writing() as database:
            database.execute("DELETE FROM account_codes WHERE student = ? OR expires_at <= ?", (student, now))
            database.execute(
                "INSERT INTO account_codes VALUES (?, ?, ?)", (_digest(code), student, now + CODE_SECONDS)
            )
        return code

    def verify(self, student: str, code: str) -> None:
        """Raise VerificationError unless the code is this student's and still good."""
        with self._file.reading() as database:
            found = database.execute(
                "SELECT 1 FROM account_codes WHERE sha256 = ? AND student = ? AND expires_at > ?",
                (_digest(code), student, self._clock()),
            ).fetchone()
        if found is None:
            raise _refused()

    def redeem(self, code: str) -> str:
        """Take the code of whoever comes to the students' pages with it; whose it is.

        Raises:
            VerificationError: with code NOT_AUTHENTICATED, if it is nobody's, too old or was used.
        """
        with self._file.writing() as database:
            found = database.execute(
                "DELETE FROM account_codes WHERE sha256 = ? AND expires_at > ? RETURNING student",
                (_digest(code), self._clock()),
            ).fetchall()
        if not found:
            raise _refused()
        return str(found[0][0])

    def use_up(self, code: str) -> None:
        """Take the code, before anything is done with it; VerificationError if somebody was faster."""
        with self._file.writing() as database:
            if not database.execute("DELETE FROM account_codes WHERE sha256 = ?", (_digest(code),)).rowcount:
                raise _refused()


class StudentAuthenticator:
    """Authenticates the requests of one platform's students."""

    def __init__(
        self,
        file: EvidenceFile,
        key_of: KeyOf,
        codes: AccountCodes,
        *,
        platform: str,
        clock: Callable[[], int],
    ) -> None:
        self._file = file
        self._key_of = key_of
        self._codes = codes
        self._platform = platform
        self._clock = clock
        self._rates = _Rates()
        self._nobody = SigningKey.generate().public_key

    def authenticate(self, headers: Mapping[str, str], *, method: str, target: str, body: bytes) -> str:
        """The student whom the request is from.

        1. Well formed, and not one too many of this account.
        2. Signed by the key that is registered; or, with a code, by the key that it registers.
        3. Not here before.

        Raises:
            VerificationError: with code NOT_AUTHENTICATED, whatever of this does not hold.
            LocalProtocolError: with code TOO_MANY_REQUESTS.
        """
        now = self._clock()
        try:
            request = StudentRequest.from_headers(headers, method=method, target=target, body=body)  # 1
            key = self._key(request, headers.get(CODE_HEADER, ""))
            request.verify(key, platform=self._platform, now=now)  # 2
        except NorenError as error:
            raise _refused() from error
        self._rates.count(request.student, now)
        self._use_nonce(request, now)  # 3
        return request.student

    def _key(self, request: StudentRequest, code: str) -> bytes:
        if not code:
            # A signature is verified also for nobody, so that the time says nothing about accounts.
            return self._key_of(request.student) or self._nobody
        if (request.method, request.target) != REGISTRATION:
            raise DataError("request: expected a code where a key is registered, got it elsewhere")
        self._codes.verify(request.student, code)
        event = parse_event(request.body).event
        if not isinstance(event, KeyRegistered) or event.student != request.student:
            raise DataError("request: expected the registration of a key with a code, got another")
        return event.public_key

    def _use_nonce(self, request: StudentRequest, now: int) -> None:
        with self._file.writing() as database:
            database.execute("DELETE FROM nonces WHERE until < ?", (now,))
            changed = database.execute(
                "INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)",
                (request.student, request.nonce, request.time + WINDOW_SECONDS),
            )
            if not changed.rowcount:
                raise _refused()


class _Rates:
    """How often each account asked lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, deque[int]] = {}

    def count(self, student: str, now: int) -> None:
        with self._lock:
            if len(self._times) > _MAX_RATED:
                self._times = {s: t for s, t in self._times.items() if t[-1] > now - RATE_SECONDS}
            times = self._times.setdefault(student, deque(maxlen=RATE_REQUESTS))
            if len(times) == RATE_REQUESTS and times[0] > now - RATE_SECONDS:
                raise LocalProtocolError(
                    f"request: expected at most {RATE_REQUESTS} in {RATE_SECONDS} seconds, got more",
                    code="TOO_MANY_REQUESTS",
                )
            times.append(now)


def _refused() -> VerificationError:
    return VerificationError(
        "request: expected a fresh one, signed by the student's registered key", code="NOT_AUTHENTICATED"
    )


def _digest(code: str) -> bytes:
    return hashlib.sha256(b"noren/v1/account-code\0" + code.encode(errors="surrogateescape")).digest()

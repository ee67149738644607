"""Sessions of a site, in memory: a restart signs everybody out.

Promises: a cookie is 32 random bytes of which only the hash is kept; signing in changes it, so that one that
somebody planted is worth nothing; a session ends after a time without use and after a time whatever is done;
there are at most `MAX_SESSIONS`, and those of nobody go first.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from noren_web.access import Person

MAX_SESSIONS = 4096
IDLE_SECONDS = 15 * 60
ABSOLUTE_SECONDS = 8 * 3600


@dataclass(slots=True)
class Session:
    """One browser's visit.

    Attributes:
        csrf: what every form of this session carries.
        entered: whether she came through a one-time link, where a site asks for one.
        person: who signed in.
        signed_in_at, made_at, seen_at: Unix seconds.
        locale: what she chose, or nothing.
        notice: a sentence for the next page, once.
        wanted: the path that was asked for before she signed in.
        data: what pages keep between two requests.
    """

    made_at: int
    seen_at: int
    csrf: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    entered: bool = False
    person: Person | None = None
    signed_in_at: int = 0
    locale: str = ""
    notice: str = ""
    wanted: str = ""
    data: dict[str, Any] = field(default_factory=dict, repr=False)


class Sessions:
    """All sessions of one site."""

    def __init__(
        self, clock: Callable[[], int], *, idle: int = IDLE_SECONDS, absolute: int = ABSOLUTE_SECONDS
    ) -> None:
        self._clock = clock
        self._idle = idle
        self._absolute = absolute
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}

    def find(self, token: str) -> Session | None:
        """The session of this cookie, if it has not ended; it is used now."""
        now = self._clock()
        with self._lock:
            session = self._sessions.get(_digest(token))
            if session is None:
                return None
            if self._is_over(session, now):
                del self._sessions[_digest(token)]
                return None
            session.seen_at = now
            return session

    def start(self, *, entered: bool = False, locale: str = "") -> tuple[str, Session]:
        """A session of nobody, and its cookie."""
        now = self._clock()
        return self._keep(Session(made_at=now, seen_at=now, entered=entered, locale=locale))

    def sign_in(self, old: Session, person: Person) -> tuple[str, Session]:
        """The session of this person in place of `old`, with another cookie and nothing of its data."""
        self.end(old)
        now = self._clock()
        session = Session(
            made_at=now,
            seen_at=now,
            entered=old.entered,
            person=person,
            signed_in_at=now,
            locale=old.locale,
            wanted=old.wanted,
        )
        return self._keep(session)

    def end(self, session: Session) -> None:
        """Its cookie is worth nothing any more."""
        with self._lock:
            self._sessions = {key: kept for key, kept in self._sessions.items() if kept is not session}

    def end_all_of(self, name: str) -> None:
        """Sign somebody out everywhere."""
        with self._lock:
            self._sessions = {
                key: kept
                for key, kept in self._sessions.items()
                if kept.person is None or kept.person.name != name
            }

    def _keep(self, session: Session) -> tuple[str, Session]:
        token = secrets.token_urlsafe(32)
        with self._lock:
            if len(self._sessions) >= MAX_SESSIONS:
                self._make_room()
            self._sessions[_digest(token)] = session
        return token, session

    def _make_room(self) -> None:
        """Forget what is over; then a quarter, those of nobody and those longest unused first."""
        now = self._clock()
        living = {key: kept for key, kept in self._sessions.items() if not self._is_over(kept, now)}
        order = sorted(living, key=lambda key: (living[key].person is not None, living[key].seen_at))
        surplus = max(0, len(living) - MAX_SESSIONS * 3 // 4)
        self._sessions = {key: living[key] for key in order[surplus:]}

    def _is_over(self, session: Session, now: int) -> bool:
        return now - session.seen_at > self._idle or now - session.made_at > self._absolute


def sign_in(request: Request, person: Person) -> None:
    """The request's session is this person's from now on, under another cookie."""
    token, session = request.app.state.sessions.sign_in(request.state.session, person)
    request.state.session, request.state.new_token = session, token


def sign_out(request: Request) -> None:
    """End the request's session; what follows is a new one, of nobody."""
    old = request.state.session
    request.app.state.sessions.end(old)
    token, session = request.app.state.sessions.start(entered=old.entered, locale=old.locale)
    request.state.session, request.state.new_token = session, token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()

"""The operator's console of a fresh platform, in memory, with people of every role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from fastapi.testclient import TestClient

from noren_server.console import totp
from noren_server.console.accounts import AccountState, ConsoleRole
from noren_server.console.desk import Desk, SignedIn, open_desk
from noren_server.console.site import console_site
from noren_server.platform_files import Platform, initialise
from noren_web.sessions import Session

HOST = "console.example"
BASE = f"https://{HOST}"
PASSWORD = "correct horse battery staple"  # noqa: S105 (of people who are made up)
NOW = 1_790_000_000


class Clock:
    """Stands where it is put."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Console:
    """One console and its desk."""

    app: FastAPI
    desk: Desk
    clock: Clock

    @property
    def platform(self) -> Platform:
        return self.desk.platform

    def visitor(self) -> Visit:
        """Somebody with a browser."""
        return Visit(TestClient(self.app, base_url=BASE, follow_redirects=False))

    def add(self, name: str, *roles: ConsoleRole) -> bytes:
        """Somebody who has joined; her authenticator's secret."""
        code = self.desk.accounts.add(name, roles)
        secret = totp.new_secret()
        typed = totp.code_of(secret, self.clock.now // totp.STEP_SECONDS)
        self.desk.accounts.join(name, code, password=PASSWORD, secret=secret, typed=typed)
        return secret

    def add_at_provider(self, name: str, *roles: ConsoleRole) -> None:
        """Somebody who is active without a password."""
        self.desk.accounts.add(name, roles, subject=f"subject of {name}")

    def signed_in(self, name: str) -> Visit:
        """Somebody who is signed in already, however she did that."""
        visit = self.visitor()
        account = self.desk.accounts.account(name)
        assert account.state is AccountState.ACTIVE
        sessions = self.app.state.sessions
        token, _session = sessions.sign_in(
            Session(made_at=self.clock.now, seen_at=self.clock.now), SignedIn.of(account)
        )
        visit.client.cookies.set("__Host-noren-console", token, domain=HOST, path="/")
        return visit


@dataclass
class Visit:
    """One browser at the console."""

    client: TestClient

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.client.get(path, **options)

    def post(self, path: str, fields: dict[str, Any] | None = None, **options: Any) -> httpx2.Response:
        """A form as a page of ours sends it."""
        headers = {"origin": BASE, "sec-fetch-site": "same-origin"}
        data = {"csrf": self.token()} | (fields or {})
        return self.client.post(path, data=data, **({"headers": headers} | options))

    def token(self) -> str:
        """What a form of this session carries."""
        for path in ("/sign-in", "/account"):
            found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.client.get(path).text)
            if found is not None:
                return found.group(1)
        raise AssertionError("no page with a form")

    def sign_in(self, name: str, code: str, password: str = PASSWORD) -> httpx2.Response:
        return self.post("/sign-in", {"name": name, "password": password, "code": code})


@contextmanager
def operators_console(directory: Path) -> Iterator[Console]:
    """A console beside a platform that was just made; `boss` administrates it."""
    initialise(directory, name="jobs", host="127.0.0.1", ports=(4001, 4002, 4003, 4004))
    clock = Clock()
    with open_desk(directory, clock, base_url=BASE) as desk:
        app = console_site(desk, hosts=frozenset({HOST}), is_tls=True, entry=None)
        console = Console(app, desk, clock)
        console.add_at_provider("boss", ConsoleRole.ADMINISTRATOR)
        yield console

"""The students of the demo: their devices, what they answer when they are asked, and what they ask back.

Each student has the keys that a browser would make. What the platform's own pages would do while she looks at
them (note that a notice is shown) is done here with the consent service's key, in bulk; a few students speak
to the platform's API one request at a time, as all of them would.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import NorenError
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
from noren_core.rights.purposes import Purpose
from noren_core.rights.student_device import StudentDevice
from noren_core.rights.student_request import sign_request
from noren_demo.people import POSITION, Choice, StudentChoice

CONSENT_SECONDS = 180 * 24 * 3600
_DWELL_MS = 30_000

Screens = Callable[[str, Purpose], Screen]
"""What a student sees of a company's notice about a purpose: the verified screen."""


class StudentRefusedError(NorenError):
    """The platform refused a student's request; carries its stable code."""


@dataclass(slots=True)
class Students:
    """Everybody who answers in a season.

    Attributes:
        policy: the version that they are shown.
        screens: of that version.
        service_key: of the platform's consent service.
    """

    choices: tuple[StudentChoice, ...]
    policy: str
    screens: Screens
    service_key: SigningKey
    _devices: dict[str, StudentDevice] = field(default_factory=dict)
    _records: dict[ConsentKey, ConsentRecord] = field(default_factory=dict)

    def device(self, student: str) -> StudentDevice:
        """Her device, always the same one."""
        if student not in self._devices:
            self._devices[student] = StudentDevice.create(student)
        return self._devices[student]

    def write_consents(self, path: Path) -> int:
        """Write what `noren-platform consents import` takes: everybody's registration and answers."""
        return _write(path, self._answers(int(time.time())))

    def write_acknowledgements(self, path: Path, company: str, season: str) -> int:
        """Write that those who consented to be scored there, and hold an offer, say that they got it."""
        now = int(time.time())
        wanted = [
            choice
            for choice in self.choices
            if (choice.company, choice.season, choice.purpose) == (company, season, Purpose.SCORE)
            and choice.offered
            and choice.choice is Choice.GIVES
        ]
        return _write(
            path,
            (
                self.device(choice.student).acknowledges_offer(
                    company=company, position=POSITION, season=season, time=now
                )
                for choice in wanted
            ),
        )

    def consent_key(self, choice: StudentChoice, purpose: Purpose | None = None) -> ConsentKey:
        """What an answer is about."""
        return ConsentKey(
            choice.student, purpose or choice.purpose, choice.company, POSITION, choice.season, self.policy
        )

    def withdrawal(self, choice: StudentChoice) -> SignedEvent:
        """She withdraws the consent that she gave with this choice."""
        key = self.consent_key(choice)
        return self.device(choice.student).withdraws(key, self._records[key].record, time=int(time.time()))

    def _answers(self, now: int) -> Iterator[SignedEvent]:
        registered: set[str] = set()
        for choice in self.choices:
            if choice.student not in registered:
                registered.add(choice.student)
                yield self.device(choice.student).registers(time=now)
            # To be scored she has to be linked: two boxes on one screen, each ticked by herself.
            both = (Purpose.LINK, Purpose.SCORE) if choice.purpose is Purpose.SCORE else (choice.purpose,)
            for purpose in both:
                yield from self._given(choice, purpose, now)
            if choice.choice is Choice.WITHDRAWS:
                yield self.withdrawal(choice)

    def _given(self, choice: StudentChoice, purpose: Purpose, now: int) -> Iterator[SignedEvent]:
        key, screen = self.consent_key(choice, purpose), self.screens(choice.company, purpose)
        shown = ConsentEvent(EventKind.SHOWN, key, secrets.token_bytes(16), now, screen=screen)
        record = ConsentRecord(key, shown.record)
        self._records[key] = record
        answer = Answer(
            screen,
            Action.TICK_UNTICKED_BOX,
            prechecked=False,
            bundled=False,
            dwell_ms=_DWELL_MS,
            expires_at=now + CONSENT_SECONDS,
        )
        found_by = None if purpose is Purpose.LINK else (choice.identifier_kind, choice.identifier)
        yield sign_event(shown, self.service_key)
        yield self.device(choice.student).gives(record, answer, time=now, found_by=found_by)


class StudentBrowser:
    """One student's signed requests to the platform's API, over TLS."""

    def __init__(self, device: StudentDevice, *, origin: str, platform: str, authority: Path) -> None:
        """`origin` is such as https://127.0.0.1:8443; `platform` the origin of its ledger."""
        import httpx

        self._device = device
        self._platform = platform
        context = ssl.create_default_context(cafile=str(authority))
        self._client = httpx.Client(base_url=origin, verify=context, trust_env=False, timeout=30)

    def get(self, target: str) -> dict[str, Any]:
        """The answer to a GET."""
        return self._request("GET", target, b"")

    def post(self, target: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a POST of canonical JSON."""
        return self._request("POST", target, canonical_json.encode(dict(body)))

    def post_event(self, event: SignedEvent) -> dict[str, Any]:
        """The answer to one signed event."""
        return self._request("POST", "/v1/events", event.to_bytes())

    def text(self, target: str) -> str:
        """The answer to a GET that is no JSON."""
        found: str = self._send("GET", target, b"").text
        return found

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _request(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(method, target, body).json()
        return answer

    def _send(self, method: str, target: str, body: bytes) -> Any:
        signed = sign_request(
            self._device.signing_key,
            student=self._device.student,
            platform=self._platform,
            method=method,
            target=target,
            body=body,
            time=int(time.time()),
            nonce=secrets.token_bytes(16),
        )
        response = self._client.request(method, target, content=body, headers=signed.headers())
        if response.status_code >= 400:
            said = _refusal(response.content)
            raise StudentRefusedError(str(said.get("message", "")), code=str(said.get("code", "INTERNAL")))
        return response


def _refusal(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _write(path: Path, events: Iterable[SignedEvent]) -> int:
    """One event a line; how many."""
    count = 0
    with path.open("wb") as file:
        for event in events:
            file.write(event.to_bytes() + b"\n")
            count += 1
    return count

"""A student's device that speaks to the API, and a platform in a directory with an active policy.

with students_platform(tmp_path) as platform:
    aiko = platform.student("s1")
    aiko.registers()
    aiko.gives("score.offer_followup", "akane", "engineer")
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

import httpx
from active_policy import activate_policy, notice_facts
from consenting_students import PermissiveFacts
from starlette.applications import Starlette

from noren_core import canonical_json
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.ids import IdentifierKind
from noren_core.ledger.entries import EntryKind, parse_entry, sign_entry
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import Action, Answer, ConsentKey, Screen
from noren_core.rights.consent.consent_record import ConsentRecord
from noren_core.rights.consent.consent_validity import PolicyStanding, PolicyStatus
from noren_core.rights.disclosure.student_report import ProvisionLine
from noren_core.rights.purposes import Purpose
from noren_core.rights.student_device import StudentDevice
from noren_core.rights.student_request import sign_request
from noren_core.season.plan import CampaignPlan
from noren_server.consents.consent_service import ConsentService
from noren_server.consents.opening import consent_service
from noren_server.platform_files import Platform, initialise
from noren_server.rights.erasure_status import ErasureStatus
from noren_server.rights.student_api import ErasureRequest, StudentServices, application
from noren_server.rights.student_services import StudentsSide, students_side

NOW = 1_780_000_000
SEASON, COMPANY, POSITION = "2027", "akane", "engineer"
SCORE, TRAIN, LINK = Purpose.SCORE, Purpose.TRAIN, Purpose.LINK


@dataclass
class Clock:
    """Seconds since 1970, moved by hand."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


class RealClock(Clock):
    """The time that it is, as a browser's clock has it."""

    def __call__(self) -> int:
        return int(time())


class InProcess:
    """An HTTP client of the application itself."""

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def request(self, method: str, target: str, **options: Any) -> httpx.Response:
        """One request."""
        return asyncio.run(self._request(method, target, options))

    async def _request(self, method: str, target: str, options: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="https://site") as client:
            return await client.request(method, target, **options)


class StudentHttp:
    """One student's device, speaking to the API as it would over the network."""

    def __init__(self, client: InProcess, device: StudentDevice, platform: str, clock: Clock) -> None:
        self.device = device
        self._client = client
        self._platform = platform
        self._clock = clock

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        key: SigningKey | None = None,
        headers: Mapping[str, str] = {},
        **changes: Any,
    ) -> Any:
        """A signed request and its raw answer."""
        said: dict[str, Any] = {
            "student": self.device.student,
            "platform": self._platform,
            "method": method,
            "target": target,
            "body": body,
            "time": self._clock(),
            "nonce": secrets.token_bytes(16),
        }
        request = sign_request(key or self.device.signing_key, **{**said, **changes})
        return self._client.request(method, target, content=body, headers={**request.headers(), **headers})

    def get(self, target: str) -> Any:
        """The JSON of an answer that says yes."""
        answer = self.send("GET", target)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, target: str, body: dict[str, Any]) -> Any:
        """The JSON of an answer that says yes."""
        answer = self.send("POST", target, canonical_json.encode(body))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, method: str, target: str, body: object = b"") -> tuple[int, str]:
        """Status and code of an answer that says no."""
        data = body if isinstance(body, bytes) else canonical_json.encode(body)
        answer = self.send(method, target, data)
        assert answer.status_code != 200, answer.text
        return answer.status_code, answer.json()["code"]

    def registers(self, code: str) -> None:
        """Her first key, with a code that the site's login gave her."""
        data = self.device.registers(time=self._clock()).to_bytes()
        answer = self.send("POST", "/v1/events", data, headers={"noren-account-code": code})
        assert answer.status_code == 200, answer.text

    def shown(self, route: str, *, company: str = COMPANY, position: str = POSITION) -> dict[str, Any]:
        """A notice."""
        found: dict[str, Any] = self.get(f"/v1/notices/{company}/{position}/{SEASON}?lang=ja&route={route}")
        return found

    def gives(
        self, purpose: Purpose, route: str, *, company: str = COMPANY, position: str = POSITION
    ) -> bytes:
        """Look at the notice and give one consent of it; the record's id."""
        record, event = self.consent(purpose, route, company=company, position=position)
        answer = self.send("POST", "/v1/events", event)
        assert answer.status_code == 200, answer.text
        return record

    def consent(
        self, purpose: Purpose, route: str, *, company: str = COMPANY, position: str = POSITION
    ) -> tuple[bytes, bytes]:
        """The record and the signed event of a consent, without sending it."""
        shown = self.shown(route, company=company, position=position)
        [found] = [item for item in shown["records"] if item["purpose"] == purpose.value]
        screen = Screen(shown["screen"], tuple(Clause(clause) for clause in shown["clauses"]))
        key = ConsentKey(self.device.student, purpose, company, position, SEASON, found["policy"])
        record = ConsentRecord(key, bytes.fromhex(found["record"]), shown=screen)
        answer = Answer(
            screen,
            Action.PRESS_DEDICATED_BUTTON,
            prechecked=False,
            bundled=False,
            dwell_ms=9_000,
            expires_at=self._clock() + 86_400 * 90,
        )
        found_by = None
        if purpose in (SCORE, TRAIN):
            found_by = (IdentifierKind.EMAIL, f"{self.device.student}@example.org")
        event = self.device.gives(record, answer, time=self._clock(), found_by=found_by)
        return record.record, event.to_bytes()

    def withdrawal(self, record: dict[str, Any]) -> str:
        """A signed withdrawal of one of her records, as the API lists them."""
        key = ConsentKey(
            self.device.student,
            Purpose(record["purpose"]),
            record["company"],
            record["position"],
            record["season"],
            record["policy"],
        )
        event = self.device.withdraws(key, bytes.fromhex(record["record"]), time=self._clock())
        return event.to_bytes().decode()


@dataclass
class StudentsPlatform:
    """An opened platform with its students' side."""

    platform: Platform
    consents: ConsentService
    side: StudentsSide
    facts: PermissiveFacts
    clock: Clock
    company_signing: SigningKey
    company_sealing: SealingKey
    provisions: list[ProvisionLine] = field(default_factory=list)
    erased: list[ErasureRequest] = field(default_factory=list)
    statuses: list[ErasureStatus] = field(default_factory=list)

    def publish(self, body: dict[str, Any]) -> CampaignPlan:
        """A campaign that scores the season, with the company in its cohort."""
        body = {**body, "score_season": SEASON}
        body["cohort"] = [{**body["cohort"][0], "company": COMPANY}, *body["cohort"][1:]]
        plan = CampaignPlan.from_body(body)
        with self.platform.store.transaction() as transaction:
            transaction.add_campaign(plan)
        return plan

    @property
    def services(self) -> StudentServices:
        return self.side.services

    def student(self, name: str, device: StudentDevice | None = None) -> StudentHttp:
        """A device of a student who is known to the site's login and nothing else."""
        client = InProcess(application(self.services))
        return StudentHttp(
            client, device or StudentDevice.create(name), self.platform.config.origin, self.clock
        )

    def registered(self, name: str) -> StudentHttp:
        """A device whose key is registered."""
        student = self.student(name)
        student.registers(self.services.codes.issue(name))
        return student


@contextmanager
def students_platform(
    directory: Path, *, notices: Sequence[str] = (COMPANY,), clock: Clock | None = None
) -> Iterator[StudentsPlatform]:
    """A platform with one enrolled company per notice, a policy in force, and nobody.

    `clock` is asked in place of one that is moved by hand.
    """
    platform = initialise(directory / "platform", name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4))
    clock = clock or Clock()
    signing, sealing = SigningKey.generate(), SealingKey.generate()
    _enrol(platform, COMPANY, signing, sealing)
    facts = [notice_facts(company, POSITION) for company in notices]
    active = activate_policy(platform, season=SEASON, notices=facts, now=NOW - 1)
    permissive = PermissiveFacts(policies={active.policy: PolicyStanding(PolicyStatus.ACTIVE)})
    permissive.screens = {item.sha256: item.clauses for item in active.register.versions(active.policy)}
    active.close()
    with ExitStack() as stack:
        consents = stack.enter_context(consent_service(platform, permissive.at))
        provisions: list[ProvisionLine] = []
        erased: list[ErasureRequest] = []
        statuses: list[ErasureStatus] = []
        side = stack.enter_context(
            students_side(
                platform,
                consents,
                provisions_of=lambda student: provisions,
                is_logged=lambda student: True,
                erase=erased.append,
                erasures_of=lambda student: statuses,
                clock=clock,
            )
        )
        yield StudentsPlatform(
            platform, consents, side, permissive, clock, signing, sealing, provisions, erased, statuses
        )
    platform.ledger_store.close()
    platform.store.close()


def _enrol(platform: Platform, company: str, signing: SigningKey, sealing: SealingKey) -> None:
    body = {
        "company": company,
        "signing_key": signing.public_key.hex(),
        "sealing_key": sealing.public_key.hex(),
        "tls_key_sha256": hashlib.sha256(b"tls").hexdigest(),
        "node_key_sha256": hashlib.sha256(b"node").hexdigest(),
    }
    entry = sign_entry(EntryKind.ENROLMENT, company, body, signing)
    platform.ledger.append_company_entry(parse_entry(entry))

"""What the students' pages work with: the operations of their API, and the little that pages need besides.

Promises: what changes anything goes through the same operations that a student's device calls
(`StudentApi`), which do the checks; a page acts for the student of its session and for nobody else, and at
most so often.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from noren_core import canonical_json
from noren_core.errors import LocalProtocolError
from noren_core.ledger.entries import EntryKind
from noren_server.consents.record_rows import StoredRecord
from noren_server.platform_files import Platform
from noren_server.rights.student_api import Answer, Call, StudentApi, StudentServices
from noren_server.rights.student_auth import RATE_REQUESTS, RATE_SECONDS
from noren_server.rights.student_services import company_signing_keys
from noren_web import translations
from noren_web.rate_limits import RateLimit

STUDENT = "student"
"""The one role of this site."""

ARRIVALS, ARRIVAL_SECONDS = 600, 60
"""How many may come in from one address, which may be a proxy's; a code cannot be guessed anyhow."""


@dataclass(frozen=True, slots=True)
class Student:
    """Who is signed in; `name` is the account id of the job site."""

    name: str = field(repr=False)
    roles: frozenset[str] = frozenset({STUDENT})


@dataclass(frozen=True, slots=True)
class Deposit:
    """A company's deposit of records, as the ledger has it: where, for which campaign, under which root."""

    index: int
    campaign: str
    root: str


@dataclass(frozen=True, slots=True)
class StudentDesk:
    """What the pages work with.

    Attributes:
        services: the students' side of the platform.
        operations: what a student's device may call, and so may her pages.
        company_keys: by company, every signing key that the ledger has for it.
        deposits: by company, its deposits.
        arrivals, acts: how often somebody may come in, and do anything.
    """

    services: StudentServices
    operations: StudentApi
    company_keys: Callable[[str], frozenset[bytes]]
    deposits: Callable[[str], Sequence[Deposit]]
    arrivals: RateLimit
    acts: RateLimit

    @classmethod
    def of(cls, platform: Platform, services: StudentServices) -> StudentDesk:
        """The desk of an opened platform."""
        return cls(
            services=services,
            operations=StudentApi(services),
            company_keys=lambda company: company_signing_keys(platform, company),
            deposits=lambda company: _deposits(platform, company),
            arrivals=RateLimit(most=ARRIVALS, seconds=ARRIVAL_SECONDS, clock=services.clock),
            acts=RateLimit(most=RATE_REQUESTS, seconds=RATE_SECONDS, clock=services.clock),
        )

    def ask(
        self, student: str, operation: Callable[[Call], Answer], body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What an operation of the API answers to this student; errors are the operation's."""
        return self.send(student, operation, canonical_json.encode(dict(body)))

    def send(self, student: str, operation: Callable[[Call], Answer], content: bytes) -> dict[str, Any]:
        """The same with the bytes that a device would send, such as a signed event."""
        found: dict[str, Any] = json.loads(operation(Call(student, {}, {}, content, "")).content)
        return found

    def records(self, student: str) -> tuple[StoredRecord, ...]:
        """Every consent record of hers, oldest first."""
        return self.services.consents.book.student_records(student)

    def called(self, company: str, position: str) -> tuple[str, str]:
        """What company and position call themselves in the reader's language; their names otherwise."""
        try:
            values = self.services.notices.facts(company, position).values[translations.locale()]
        except LocalProtocolError:  # no notice any more: what was said is still told
            return company, position
        return values["company_name"], values["position_title"]

    def company_called(self, student: str, company: str) -> str:
        """What a company calls itself to somebody who was asked about it."""
        positions = [
            stored.record.key.position
            for stored in self.records(student)
            if stored.record.key.company == company
        ]
        return self.called(company, positions[-1])[0] if positions else company


def desk_of(request: Request) -> StudentDesk:
    """The desk of the site that the request came to."""
    desk: StudentDesk = request.app.state.desk
    return desk


def signed_in(request: Request) -> str:
    """The student of the request's session; LocalProtocolError (TOO_MANY_REQUESTS) if she asks too often."""
    student: str = request.state.session.person.name
    desk_of(request).acts.count(student)
    return student


def _deposits(platform: Platform, company: str) -> list[Deposit]:
    stored = platform.ledger_store.entries(kind=EntryKind.MIRROR_DEPOSIT, company=company)
    return [Deposit(item.index, item.entry.body["campaign"], item.entry.body["root"]) for item in stored]

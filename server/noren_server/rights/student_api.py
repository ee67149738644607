"""The HTTPS service for students' devices: consents, withdrawals, copies, disclosure, erasure, inquiries.

docs/rights/student-api.md. Promises: every request is signed by the student's registered key (`student_auth`)
and acts on her own data alone; bodies, times and numbers are bounded; nothing takes a list of people, and the
one list there is holds her own signed withdrawals (BULK_LINK_FORBIDDEN); everything but giving a consent
works while the service is suspended; an answer that says no has a stable code and a constant sentence, and
neither answers nor logs quote what was sent.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from noren_core import canonical_json, ids
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.rights import fields
from noren_core.rights.consent.consent_event import (
    ConsentEvent,
    EventKind,
    KeyRegistered,
    OfferAcknowledged,
    SignedEvent,
    parse_event,
)
from noren_core.rights.disclosure.inquiry import InquiryTopic
from noren_core.rights.disclosure.requests import Scope
from noren_core.rights.disclosure.student_report import to_html, to_markdown
from noren_core.rights.fields import read_fields
from noren_core.rights.locales import Locale
from noren_server.consents.consent_service import ConsentService
from noren_server.rights.disclosure import DisclosureDesk
from noren_server.rights.erasure_status import ErasureStatus
from noren_server.rights.inquiries import InquiryDesk
from noren_server.rights.link_offers import LinkOffers, verify_subject
from noren_server.rights.mailbox import Mailboxes
from noren_server.rights.notices import NoticeDesk, Shown
from noren_server.rights.student_auth import CODE_HEADER, AccountCodes, StudentAuthenticator
from noren_server.rights.student_report import StudentReports
from noren_web.serving import bound, served, server_of

API_PREFIX = "/v1/"
MAX_BODY_BYTES = 256 << 10
MAX_TARGET_CHARACTERS = 2048
MAX_WITHDRAWALS = 256
BODY_SECONDS = 10

_LOG = logging.getLogger(__name__)
_JSON = "application/json"
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,17})\Z", re.ASCII)
_GIVES = frozenset({EventKind.GIVEN, EventKind.RENEWED})
_STATUS = {
    "NOT_AUTHENTICATED": 401,
    "NOT_AVAILABLE": 404,
    "SERVICE_SUSPENDED": 423,
    "TOO_MANY_REQUESTS": 429,
    "LINK_OFFER_EXPIRED": 410,
    "BULK_LINK_FORBIDDEN": 422,
}
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """What a student wants erased: at one company, or everywhere if `company` is empty.

    Attributes:
        student: who.
        company: where.
        disclose_first: whether companies answer a disclosure request before they erase (the default).
    """

    student: str = field(repr=False)
    company: str
    disclose_first: bool


@dataclass(frozen=True, slots=True)
class StudentServices:
    """What the API works with.

    Attributes:
        consents: the consent book and its service.
        receipts: a student's receipts, each canonical JSON, oldest first.
        notices, offers: what she is shown before she consents.
        mailboxes, disclosure, reports, inquiries: her rights.
        incidents: the notices of incidents that affect a student, in her language.
        erase: hands an erasure on.
        erasures_of: what became of a student's wishes to be erased.
        is_running: whether consents can be given for a company now.
        codes, authenticator: who is asking.
        clock: Unix seconds.
    """

    consents: ConsentService
    receipts: Callable[[str], Sequence[bytes]]
    notices: NoticeDesk
    offers: LinkOffers
    mailboxes: Mailboxes
    disclosure: DisclosureDesk
    reports: StudentReports
    inquiries: InquiryDesk
    incidents: Callable[[str, Locale], list[dict[str, Any]]]
    erase: Callable[[ErasureRequest], None]
    erasures_of: Callable[[str], Sequence[ErasureStatus]]
    is_running: Callable[[str], bool]
    codes: AccountCodes
    authenticator: StudentAuthenticator
    clock: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    student: str = field(repr=False)
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = field(repr=False)
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    content: bytes = field(repr=False)
    media_type: str = _JSON


Handler = Callable[[Call], Answer]


class StudentApi:
    """One method for each operation; `routes` says where each is."""

    def __init__(self, services: StudentServices) -> None:
        self._services = services
        self._book = services.consents.book

    def routes(self) -> list[tuple[str, str, Handler]]:
        """(method, path, handler) of every operation."""
        return [
            ("GET", "/v1/notices/{company}/{position}/{season}", self.notice),
            ("GET", "/v1/link-offers/{token}", self.link_offer),
            ("POST", "/v1/events", self.add_event),
            ("POST", "/v1/offers", self.acknowledge_offer),
            ("GET", "/v1/consents", self.consents),
            ("POST", "/v1/withdrawals", self.withdraw),
            ("GET", "/v1/mailboxes", self.own_mailboxes),
            ("GET", "/v1/copies", self.copies),
            ("POST", "/v1/disclosures", self.open_disclosure),
            ("GET", "/v1/disclosures", self.disclosures),
            ("POST", "/v1/disclosures/received", self.answer_received),
            ("POST", "/v1/disclosures/revoked", self.revoke_disclosure),
            ("GET", "/v1/report", self.report),
            ("GET", "/v1/incident-notices", self.incident_notices),
            ("POST", "/v1/erasures", self.erase),
            ("POST", "/v1/inquiries", self.open_inquiry),
            ("GET", "/v1/inquiries", self.own_inquiries),
            ("POST", "/v1/inquiries/closed", self.close_inquiry),
            ("POST", "/v1/inquiries/escalated", self.escalate_inquiry),
        ]

    # Consents ---------------------------------------------------------------------------------------------

    def notice(self, call: Call) -> Answer:
        """Show a notice, and note that it is shown."""
        query = _query(call, {"lang": Locale.JA.value, "route": ""})
        shown = self._services.notices.show(
            call.student,
            company=ids.parse_name(call.path["company"], "company"),
            position=ids.parse_name(call.path["position"], "position"),
            season=ids.parse_name(call.path["season"], "season"),
            route=ids.parse_name(query["route"], "route"),
            locale=_locale(query["lang"]),
        )
        return _json(_shown(shown))

    def link_offer(self, call: Call) -> Answer:
        """What a company's offer is about; where its notice is follows from that."""
        offer = self._services.offers.open(call.path["token"])
        return _json({"company": offer.company, "position": offer.position, "season": offer.season})

    def add_event(self, call: Call) -> Answer:
        """Take one signed event about the student herself.

        1. It is hers.
        2. Nothing is given while the service does not run for that company.
        3. A code is used up, whatever becomes of the key: of two keys with one code, one is registered.
        4. A key in place of a lost one is endorsed: she came with a code.
        """
        signed = parse_event(call.body)
        verify_subject(call.student, signed.event.student)  # 1
        event, now = signed.event, self._services.clock()
        if isinstance(event, ConsentEvent) and event.kind in _GIVES:  # 2
            self._verify_running(event.key.company)
        if call.code:  # 3
            self._services.codes.use_up(call.code)
        if isinstance(event, KeyRegistered) and event.reauthenticated and call.code:  # 4
            seq = self._services.consents.accept_new_key(signed, now=now)
        else:
            seq = self._book.record(signed, now=now)
        return _json({"seq": seq})

    def acknowledge_offer(self, call: Call) -> Answer:
        """Take her signed word that a company told her of its offer."""
        signed = parse_event(call.body)
        verify_subject(call.student, signed.event.student)
        if not isinstance(signed.event, OfferAcknowledged):
            raise DataError("offer: expected an acknowledgement, got another event")
        return _json({"seq": self._book.record(signed, now=self._services.clock())})

    def consents(self, call: Call) -> Answer:
        """Her records, to sign withdrawals by, and a receipt for each."""
        records = [
            {
                "record": stored.record.record.hex(),
                "purpose": stored.record.key.purpose.value,
                "company": stored.record.key.company,
                "position": stored.record.key.position,
                "season": stored.record.key.season,
                "policy": stored.record.key.policy,
                "state": stored.record.state.value,
                "live": stored.record.is_live,
            }
            for stored in self._book.student_records(call.student)
        ]
        key = self._book.student_key(call.student) or b""
        receipts = [receipt.decode() for receipt in self._services.receipts(call.student)]
        return _json({"key": key.hex(), "records": records, "receipts": receipts})

    def withdraw(self, call: Call) -> Answer:
        """End one consent or all of them in one request: her own signed withdrawals, all or none.

        Raises:
            DataError: with code BULK_LINK_FORBIDDEN, if one of them is about anybody or anything else.
        """
        body = _body(call, {"withdrawals": fields.list_of(fields.text, most=MAX_WITHDRAWALS)})
        events = [parse_event(text.encode()) for text in body["withdrawals"]]
        if not events or not all(_is_withdrawal_of(call.student, signed) for signed in events):
            raise DataError(
                "withdrawals: expected the student's own and nothing else", code="BULK_LINK_FORBIDDEN"
            )
        self._book.record_all(events, now=self._services.clock())
        return _json({"withdrawn": True})

    # Copies -----------------------------------------------------------------------------------------------

    def own_mailboxes(self, call: Call) -> Answer:
        """The handles that are hers, by company."""
        handles = [
            {"company": company, "mailbox": handle.hex()}
            for company, handle in self._book.mailboxes(call.student)
        ]
        return _json({"mailboxes": handles})

    def copies(self, call: Call) -> Answer:
        """A page of the sealed copies in one of her mailboxes."""
        query = _query(call, {"mailbox": "", "after": "0"})
        owners = {handle.hex(): company for company, handle in self._book.mailboxes(call.student)}
        if query["mailbox"] not in owners:
            raise LocalProtocolError("copies: expected a mailbox of hers", code="NOT_AVAILABLE")
        company = owners[query["mailbox"]]
        found = self._services.mailboxes.copies(
            company=company, mailbox=bytes.fromhex(query["mailbox"]), after=_number(query["after"])
        )
        copies = [{"seq": copy.seq, "day": copy.day, "copy": copy.sealed_copy.hex()} for copy in found]
        return _json({"company": company, "copies": copies})

    # Disclosure -------------------------------------------------------------------------------------------

    def open_disclosure(self, call: Call) -> Answer:
        """Open a request for disclosure."""
        body = _body(call, {"scope": Scope.from_body, "disclosure_key": fields.hex_bytes})
        request = self._services.disclosure.open(
            call.student, body["scope"], disclosure_key=body["disclosure_key"]
        )
        return _json({"request": request.hex()})

    def disclosures(self, call: Call) -> Answer:
        """Where her requests are."""
        requests = self._services.disclosure.requests(call.student)
        return _json({"requests": [status.to_body() for status in requests]})

    def answer_received(self, call: Call) -> Answer:
        """Her device opened the answer to one item."""
        item = _body(call, {"item": fields.hex_bytes})["item"]
        self._services.disclosure.received(call.student, item)
        return _json({})

    def revoke_disclosure(self, call: Call) -> Answer:
        """She does not want the answer any more."""
        request = _body(call, {"request": fields.hex_bytes})["request"]
        self._services.disclosure.revoke(call.student, request)
        return _json({})

    def report(self, call: Call) -> Answer:
        """The platform's part of her report, as JSON for her device, or as Markdown or HTML to read."""
        query = _query(call, {"lang": Locale.JA.value, "format": "json"})
        locale, report = _locale(query["lang"]), self._services.reports.report(call.student)
        match query["format"]:
            case "json":
                return Answer(report.to_bytes())
            case "markdown":
                return Answer(to_markdown(report, locale).encode(), "text/markdown; charset=utf-8")
            case "html":
                return Answer(to_html(report, locale).encode(), "text/html; charset=utf-8")
            case _:
                raise DataError("report: expected json, markdown or html as format")

    def incident_notices(self, call: Call) -> Answer:
        """What she is told about incidents that affect her, oldest first."""
        query = _query(call, {"lang": Locale.JA.value})
        return _json({"notices": self._services.incidents(call.student, _locale(query["lang"]))})

    # Erasure and inquiries --------------------------------------------------------------------------------

    def erase(self, call: Call) -> Answer:
        """Ask for erasure; unless she says otherwise, companies answer her before they erase.

        Raises:
            LocalProtocolError: with code CONSENT_STILL_GIVEN, if she has not withdrawn there: what was erased
                would be provided again.
        """
        body = _body(call, {"company": fields.text, "now": fields.boolean})
        company = body["company"] and ids.parse_name(body["company"], "erasure: company")
        records = [stored.record for stored in self._book.student_records(call.student)]
        about = [record for record in records if company in ("", record.key.company)]
        if any(record.is_live for record in about):
            raise LocalProtocolError(
                "erasure: expected consents that were withdrawn before", code="CONSENT_STILL_GIVEN"
            )
        if not body["now"]:
            for name in sorted({record.key.company for record in about}):
                scope = Scope(
                    platform_data=False, consent_history=False, provision_records=False, company=name
                )
                self._services.disclosure.open(call.student, scope)
        self._services.erase(ErasureRequest(call.student, company, disclose_first=not body["now"]))
        return _json({"held_for_disclosure": not body["now"]})

    def open_inquiry(self, call: Call) -> Answer:
        """Ask a question, contest, or report a contradiction."""
        body = _body(call, _INQUIRY_FIELDS)
        inquiry = self._services.inquiries.open(
            call.student,
            body["topic"],
            company=body["company"],
            text=body["text"],
            evidence=body["evidence"],
        )
        return _json({"inquiry": inquiry.hex()})

    def own_inquiries(self, call: Call) -> Answer:
        """Hers, with the answers."""
        now = self._services.clock()
        found = self._services.inquiries.of_student(call.student)
        return _json({"inquiries": [stored.to_body(now=now) for stored in found]})

    def close_inquiry(self, call: Call) -> Answer:
        """She is content with the answer."""
        inquiry = _body(call, {"inquiry": fields.hex_bytes})["inquiry"]
        self._services.inquiries.close(call.student, inquiry)
        return _json({})

    def escalate_inquiry(self, call: Call) -> Answer:
        """She is not, or none came."""
        inquiry = _body(call, {"inquiry": fields.hex_bytes})["inquiry"]
        self._services.inquiries.escalate(call.student, inquiry)
        return _json({})

    def _verify_running(self, company: str) -> None:
        if not self._services.is_running(company):
            raise LocalProtocolError(
                "consent: expected a service that runs; withdrawal, disclosure and erasure go on",
                code="SERVICE_SUSPENDED",
            )


_INQUIRY_FIELDS = {
    "topic": fields.word_of(InquiryTopic),
    "company": fields.text,
    "text": fields.text,
    "evidence": fields.hex_bytes,
}


def openapi() -> bytes:
    """The description of the API, OpenAPI 3.1 in JSON."""
    return resources.files("noren_server.rights").joinpath("openapi.json").read_bytes()


def application(services: StudentServices) -> Starlette:
    """The API as an ASGI application."""
    routes = [
        Route(path, _endpoint(services.authenticator, handler), methods=[method])
        for method, path, handler in StudentApi(services).routes()
    ]
    described = Route("/v1/openapi.json", lambda _: _response(200, openapi(), _JSON), methods=["GET"])
    return Starlette(routes=[*routes, described])


@contextmanager
def run_student_api(
    services: StudentServices,
    *,
    host: str,
    port: int,
    private_key: bytes,
    certificate: Path,
    pages: ASGIApp | None = None,
) -> Iterator[int]:
    """Serve over TLS in a thread until the end of the block; gives the port.

    Args:
        services: what it works with.
        host: where to listen.
        port: 0 takes a free one.
        private_key: PEM, of the platform's server certificate; it is not written to disk.
        certificate: the PEM file of that certificate.
        pages: what answers everything that does not begin with `API_PREFIX`, on the same port.

    Raises:
        ConfigurationError: if the address is taken.
    """
    api = application(services)
    app = api if pages is None else beside(api, pages)
    server = server_of(app, private_key=private_key, certificate=certificate)
    with served(server, bound(host, port), name="student-api") as bound_port:
        yield bound_port


def beside(api: ASGIApp, pages: ASGIApp) -> ASGIApp:
    """The API under `API_PREFIX` and pages everywhere else, behind one port."""

    async def both(scope: AsgiScope, receive: Receive, send: Send) -> None:
        chosen = api if scope.get("path", "").startswith(API_PREFIX) else pages
        await chosen(scope, receive, send)

    return both


def _endpoint(
    authenticator: StudentAuthenticator, handler: Handler
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """The handler behind authentication; whatever goes wrong inside stays inside."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await _bounded_body(request)
            return await run_in_threadpool(_answered, authenticator, handler, request, body)
        except NorenError as error:
            return _refused(error)
        except Exception as error:  # noqa: BLE001 (its text must not leave, and may name people: not logged)
            place = traceback.extract_tb(error.__traceback__)[-1]
            _LOG.error("%s at %s:%s", type(error).__name__, Path(place.filename).name, place.lineno)
            return _response(500, canonical_json.encode({"code": "INTERNAL"}), _JSON)

    return endpoint


def _answered(
    authenticator: StudentAuthenticator, handler: Handler, request: Request, body: bytes
) -> Response:
    target = request.scope["raw_path"].decode("ascii", "replace")
    if request.scope["query_string"]:
        target += "?" + request.scope["query_string"].decode("ascii", "replace")
    if len(target) > MAX_TARGET_CHARACTERS:
        raise DataError("request: expected a shorter address")
    student = authenticator.authenticate(request.headers, method=request.method, target=target, body=body)
    call = Call(
        student=student,
        path=request.path_params,
        query=dict(request.query_params),
        body=body,
        code=request.headers.get(CODE_HEADER, ""),
    )
    answer = handler(call)
    return _response(200, answer.content, answer.media_type)


async def _bounded_body(request: Request) -> bytes:
    """The body, if it is short enough and comes in time."""
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                received += part
                if len(received) > MAX_BODY_BYTES:
                    raise DataError(f"request: expected at most {MAX_BODY_BYTES} bytes, got more")
    except TimeoutError as error:
        raise DataError(f"request: expected a body within {BODY_SECONDS} seconds") from error
    return bytes(received)


def _refused(error: NorenError) -> Response:
    families = ((DataError, 422), (VerificationError, 403), (LocalProtocolError, 409))
    status = _STATUS.get(error.code) or next(
        (status for family, status in families if isinstance(error, family)), 500
    )
    if status == 500:
        _LOG.error("student API: %s", error.code)
        return _response(500, canonical_json.encode({"code": "INTERNAL"}), _JSON)
    _LOG.info("student API refused: %s", error.code)
    return _response(status, canonical_json.encode({"code": error.code, "message": error.message}), _JSON)


def _response(status: int, content: bytes, media_type: str) -> Response:
    return Response(content, status_code=status, media_type=media_type, headers=_HEADERS)


def _json(body: dict[str, Any]) -> Answer:
    return Answer(canonical_json.encode(body))


def _body(call: Call, expected: Mapping[str, Callable[[object], Any]]) -> dict[str, Any]:
    return read_fields(canonical_json.parse(call.body), expected, "request")


def _query(call: Call, defaults: Mapping[str, str]) -> dict[str, str]:
    if not call.query.keys() <= defaults.keys():
        raise DataError(f"request: expected no other parameters than {', '.join(defaults)}")
    return {**defaults, **call.query}


def _locale(value: str) -> Locale:
    if value not in tuple(Locale):
        raise DataError(f"request: expected one of the languages {', '.join(Locale)}")
    return Locale(value)


def _number(value: str) -> int:
    if not _NUMBER.match(value):
        raise DataError("request: expected a decimal number")
    return int(value)


def _is_withdrawal_of(student: str, signed: SignedEvent) -> bool:
    return signed.event.kind is EventKind.WITHDRAWN and signed.event.student == student


def _shown(shown: Shown) -> dict[str, Any]:
    return {
        "page": shown.page,
        "screen": shown.screen.sha256,
        "clauses": [clause.value for clause in shown.screen.clauses],
        "records": [
            {
                "record": record.record.hex(),
                "purpose": record.key.purpose.value,
                "policy": record.key.policy,
                "state": record.state.value,
            }
            for record in shown.records
        ],
    }

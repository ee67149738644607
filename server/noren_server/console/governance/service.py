"""The state of the service: stop it at once, see what resuming still needs, end it for good, and drills.

Before something stops, the page says whom that reaches; what cannot be undone asks for a typed word and a
sign-in of the last minutes. Stopping asks for neither: it must never wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.errors import DataError
from noren_core.ledger.entries import ServiceScope, ServiceStatus
from noren_core.rights import fields
from noren_core.rights.coverage.small_cells import SMALLEST
from noren_core.rights.service.service_state import ServiceStates, StateChange, WindDownFacts
from noren_server.console.desk import Desk, about, acting, desk_of
from noren_server.console.governance import words
from noren_server.console.governance.who_may import AUDITOR, PRIVACY_OFFICER, READERS
from noren_server.rights import abolition, service_changes
from noren_server.rights.service_changes import BlastRadius, SuspensionReason
from noren_server.rights.service_states import ServiceDesk, service_desk
from noren_web.access import allow
from noren_web.jobs import Job
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

WINDOW_DAYS = 30
MAX_REQUEST_BYTES = 4096
_DAY_SECONDS = 86_400
_MAX_CHANGES = 200
_DRILL = "drill"


@router.get("/service", dependencies=[allow(*READERS)])
def service(request: Request) -> Response:
    """The states now, what resuming needs, and what changed when."""
    desk = desk_of(request)
    states = service_desk(desk.platform, desk.clock)
    known = states.states()
    whole = known.of(ServiceScope.GLOBAL)
    return page(
        request,
        "service/service.html",
        whole=words.SERVICE_STATES[whole],
        order=[(state, words.SERVICE_STATES[state]) for state in ServiceStatus],
        whole_state=whole,
        stopped=list(_stopped(states, known)),
        is_ending=whole in (ServiceStatus.WINDING_DOWN, ServiceStatus.ABOLISHED),
        changes=[_change(change) for change in states.history()[:_MAX_CHANGES]],
    )


@router.get("/service/suspend", dependencies=[allow(PRIVACY_OFFICER, AUDITOR)])
def before_suspension(request: Request, scope: str = "global", name: str = "") -> Response:
    """Whom stopping a scope reaches; and the form that does it."""
    chosen, platform = service_changes.parse_scope(scope), desk_of(request).platform
    known, is_whole = service_desk(platform).states(), chosen is ServiceScope.GLOBAL
    reach = None
    if is_whole or name:
        reach = service_changes.blast_radius(platform, chosen, "" if is_whole else name)
    return page(
        request,
        "service/suspend.html",
        scope=chosen.value,
        scope_name=words.SCOPES[chosen],
        name=name,
        scopes=[(item.value, words.SCOPES[item]) for item in ServiceScope],
        choices=service_changes.scope_names(platform)[chosen],
        is_whole=is_whole,
        reach=None if reach is None else _consequences(reach),
        runs=known.of(chosen, "" if is_whole else name) is ServiceStatus.RUNNING,
        reasons=[
            (reason.value, words.SUSPENSIONS[reason])
            for reason in SuspensionReason
            if reason is not SuspensionReason.DRILL
        ],
    )


@router.post("/service/suspend", dependencies=[allow(PRIVACY_OFFICER, AUDITOR)])
def suspend(request: Request, form: Posted) -> Response:
    """Stop processing at once."""
    desk = desk_of(request)
    scope, name = _scope(form)
    about(request, scope.value, name)
    service_changes.suspend(
        desk.platform,
        service_desk(desk.platform, desk.clock),
        scope=scope,
        name=name,
        reason=service_changes.parse_reason(form.text("reason", most=40)),
        at=desk.clock(),
    )
    return redirect(request, "/service", notice=_("Suspended. Every process refuses from its next call on."))


@router.post("/service/signed", dependencies=[allow(PRIVACY_OFFICER, AUDITOR)])
def take_request(request: Request, form: Posted) -> Response:
    """Carry out an auditor's or a company's signed request: stop something, or let it run again."""
    desk = desk_of(request)
    states = service_desk(desk.platform, desk.clock)
    data = form.file("request", most_bytes=MAX_REQUEST_BYTES).content
    wanted = form.text("wanted", most=16)
    if wanted not in ("suspend", "resume"):
        raise DataError("form: expected suspend or resume, got another word")
    change = states.suspend(data) if wanted == "suspend" else states.resume(data)
    about(request, change.scope.value, change.name)
    notice = _("Suspended. Every process refuses from its next call on.")
    if change.state is ServiceStatus.RUNNING:
        notice = _("It runs again.")
    return redirect(request, "/service", notice=notice)


@router.get("/service/end", dependencies=[allow(PRIVACY_OFFICER, AUDITOR)])
def end(request: Request) -> Response:
    """Winding down and abolishing: whom it reaches, and what is still owed to anybody."""
    desk = desk_of(request)
    whole = service_desk(desk.platform, desk.clock).states().of(ServiceScope.GLOBAL)
    reach = service_changes.blast_radius(desk.platform, ServiceScope.GLOBAL)
    owed = None
    if whole is ServiceStatus.WINDING_DOWN:
        owed = abolition.owed(desk.platform, window_seconds=WINDOW_DAYS * _DAY_SECONDS, now=desk.clock)
    return page(
        request,
        "service/end.html",
        whole=words.SERVICE_STATES[whole],
        state=whole.value,
        may_act=acting(request).has(PRIVACY_OFFICER),
        reach=_consequences(reach),
        owed=None if owed is None else _owed(owed),
        waiting=sorted(owed.companies_without_certificate) if owed else [],
        window_days=WINDOW_DAYS,
    )


@router.post("/service/wind-down", dependencies=[allow(PRIVACY_OFFICER, fresh=True)])
def wind_down(request: Request, form: Posted) -> Response:
    """Begin the end: no processing any more, erasure orders to every company, disclosure stays open."""
    form.verify_confirmation("wind-down")
    desk = desk_of(request)
    abolition.begin(
        desk.platform, service_desk(desk.platform, desk.clock), _own(desk, ServiceStatus.WINDING_DOWN)
    )
    return redirect(
        request, "/service/end", notice=_("The service winds down; companies are ordered to erase.")
    )


@router.post("/service/abolish", dependencies=[allow(PRIVACY_OFFICER, fresh=True)])
def abolish(request: Request, form: Posted) -> Response:
    """End the service for good, once nobody is owed anything."""
    form.verify_confirmation("abolish")
    desk = desk_of(request)
    abolition.finish(
        desk.platform,
        service_desk(desk.platform, desk.clock),
        _own(desk, ServiceStatus.ABOLISHED),
        window_seconds=WINDOW_DAYS * _DAY_SECONDS,
    )
    return redirect(
        request, "/service/end", notice=_("The service has ended. The closing report is written.")
    )


@router.get("/service/drills", dependencies=[allow(*READERS)])
def drills(request: Request) -> Response:
    """Every drill and how long it took, and a form for the next."""
    desk = desk_of(request)
    names = service_changes.scope_names(desk.platform)
    found = service_changes.drills(desk.platform.directory)
    running = request.app.state.jobs.newest(_DRILL)
    return page(
        request,
        "service/drills.html",
        drills=[(item, words.SCOPES[item.scope]) for item in found],
        limit=service_changes.DRILL_LIMIT_SECONDS,
        choices=[
            *(
                (f"{scope}:{name}", name)
                for scope in (ServiceScope.CAMPAIGN, ServiceScope.COMPANY)
                for name in names[scope]
            ),
            (f"{ServiceScope.GLOBAL}:", words.SCOPES[ServiceScope.GLOBAL]),
        ],
        may_act=acting(request).has(PRIVACY_OFFICER),
        job=running if running is not None and running.owner == acting(request).name else None,
    )


@router.post("/service/drill", dependencies=[allow(PRIVACY_OFFICER)])
def drill(request: Request, form: Posted) -> Response:
    """Begin a drill: a real suspension, measured."""
    form.verify_confirmation("drill")
    desk = desk_of(request)
    word, _colon, rest = form.text("what", most=100).partition(":")
    scope = service_changes.parse_scope(word)
    name = "" if scope is ServiceScope.GLOBAL else fields.name(rest)
    about(request, scope.value, name)

    def work(job: Job) -> None:
        del job
        service_changes.drill(desk.platform, scope=scope, name=name, clock=desk.clock)

    job = request.app.state.jobs.start(
        work, kind=_DRILL, owner=acting(request).name, title=_("Drill"), next_path="/service/drills"
    )
    return redirect(request, f"/jobs/{job.job}")


def _scope(form: PostedForm) -> tuple[ServiceScope, str]:
    scope = service_changes.parse_scope(form.text("scope", most=16))
    return scope, "" if scope is ServiceScope.GLOBAL else fields.name(form.text("name", most=64))


def _own(desk: Desk, state: ServiceStatus) -> bytes:
    return service_changes.own_request(
        desk.platform,
        scope=ServiceScope.GLOBAL,
        name="",
        state=state,
        reason="ABOLITION",
        at=desk.clock(),
    )


def _stopped(states: ServiceDesk, known: ServiceStates) -> Iterator[dict[str, Any]]:
    """Every scope that does not run, and what it needs to run again."""
    for (scope, name), state in known.items():
        if state is ServiceStatus.RUNNING:
            continue
        facts = states.resume_facts(scope, name)
        yield {
            "scope": words.SCOPES[scope],
            "name": name,
            "state": words.SERVICE_STATES[state],
            "may_resume": state is ServiceStatus.SUSPENDED,
            "needs": [
                (_("coverage of every open campaign is clear and attested"), facts.is_coverage_clear),
                (_("it was computed after the suspension"), facts.is_coverage_newer),
                (_("an auditor agrees, by a signed request"), facts.auditor_agreed),
            ],
        }


def _change(change: StateChange) -> dict[str, Any]:
    return {
        "at": change.at,
        "scope": words.SCOPES[change.scope],
        "name": change.name,
        "state": words.SERVICE_STATES[change.state],
        "reason": words.reason(change.reason),
        "evidence": change.evidence_sha256[:16],
    }


def _consequences(reach: BlastRadius) -> list[Text]:
    """Whom it reaches, in sentences."""
    few = _("Fewer than {smallest} consents count as none while it is stopped.").format(smallest=SMALLEST)
    many = _("{count} consents count as none while it is stopped.").format(
        count=f"{reach.live_consents or 0:,}"
    )
    return [
        _("Companies: {count} ({names}).").format(
            count=len(reach.companies), names=", ".join(reach.companies) or "–"
        ),
        _("Open campaigns: {count} ({names}).").format(
            count=len(reach.campaigns), names=", ".join(reach.campaigns) or "–"
        ),
        few if reach.live_consents is None else many,
        _("Rounds, tables, evaluation and looking at bands stop at once."),
        _("Students go on withdrawing, asking, disputing and having data erased."),
    ]


def _owed(facts: WindDownFacts) -> list[tuple[Text, bool]]:
    """What must be done before the service can be abolished, and whether it is."""
    return [
        (_("the time for disclosure requests is over"), facts.is_disclosure_window_over),
        (_("every disclosure request is settled"), not facts.has_open_disclosures),
        (_("every inquiry is answered"), not facts.has_open_inquiries),
        (_("every incident is closed"), not facts.has_open_incidents),
        (_("every erasure order is certified"), not facts.has_open_orders),
        (_("every company has a deletion certificate that counts"), not facts.companies_without_certificate),
    ]

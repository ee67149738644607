"""Policies and screens: what students are told, who approved it, and what they are really shown.

No key of a person comes here: who approves signs on her own machine (`noren-platform policy sign`), and
brings the approval. Who drafts does not approve: these are different roles, and the book counts two people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.ids import parse_name
from noren_core.rights import fields
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_validity import PolicyStatus
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import parse_notices
from noren_core.rights.notices.policy import (
    MAX_POLICY_BYTES,
    PolicyVersion,
    material_changes,
    parse_policy,
)
from noren_core.rights.notices.policy_approval import MAX_APPROVAL_BYTES, Approval, ApproverRole, StaffMember
from noren_core.rights.notices.screen import ScreenState, ScreenVersion
from noren_core.rights.purposes import Purpose
from noren_server.console.desk import about, acting, desk_of
from noren_server.console.governance import words
from noren_server.console.governance.who_may import (
    ADMINISTRATOR,
    CONSENT_ADMIN,
    OFFICE,
    PRIVACY_OFFICER,
    READERS,
)
from noren_server.policies import activation, crawler
from noren_server.policies.opening import policy_stores
from noren_server.policies.policy_book import PolicyBook
from noren_web.access import allow
from noren_web.jobs import Job
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

MAX_NOTICES_BYTES = 1 << 20
MAX_ADDRESSES = 20
_CRAWL = "screens"


@dataclass(frozen=True, slots=True)
class _Version:
    """One version in a list."""

    policy: str
    season: str
    state: words.Word
    approved_by: tuple[tuple[str, Text], ...]
    since: int


@router.get("/policies", dependencies=[allow(*READERS, ADMINISTRATOR)])
def policies(request: Request) -> Response:
    """Every version, who may approve, and for whom notices have facts."""
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, register):
        versions = [_version(book, version, desk.clock()) for version in reversed(book.versions())]
        staff = sorted(book.staff().values(), key=lambda member: member.person)
        notices = [(facts.company, facts.position) for facts in book.notices()]
        unknown = register.unknown_texts()
    return page(
        request,
        "policies/policies.html",
        versions=versions,
        staff=[(member.person, words.APPROVERS[member.role], member.public_key.hex()) for member in staff],
        roles=[(role.value, words.APPROVERS[role]) for role in ApproverRole],
        notices=notices,
        unknown=len(unknown),
    )


@router.post("/policies/check", dependencies=[allow(CONSENT_ADMIN, PRIVACY_OFFICER)])
def check(request: Request, form: Posted) -> Response:
    """Show what keeps a policy file from being reviewed; nothing is kept."""
    version = parse_policy(form.file("policy", most_bytes=MAX_POLICY_BYTES).content)
    return page(
        request,
        "policies/checked.html",
        policy=version.policy,
        season=version.season,
        objections=activation.objections(version),
    )


@router.post("/policies/add", dependencies=[allow(CONSENT_ADMIN)])
def add(request: Request, form: Posted) -> Response:
    """Take a draft over and review it."""
    version = parse_policy(form.file("policy", most_bytes=MAX_POLICY_BYTES).content)
    about(request, "policy", version.policy)
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, _register):
        activation.take_over(book, version, at=desk.clock())
    return redirect(
        request,
        f"/policies/{version.policy}",
        notice=_("The draft is kept and reviewed; two people approve it."),
    )


@router.post("/policies/approve", dependencies=[allow(PRIVACY_OFFICER)])
def approve(request: Request, form: Posted) -> Response:
    """Take over an approval that a person signed on her own machine."""
    approval = Approval.from_bytes(form.file("approval", most_bytes=MAX_APPROVAL_BYTES).content)
    about(request, "policy", approval.policy)
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, _register):
        state = activation.take_approval(book, approval, at=desk.clock())
    notice = _("The approval is kept. A second person in another role has to approve.")
    if state is PolicyStatus.APPROVED:
        notice = _("Two people approved; it can be brought into force.")
    return redirect(request, f"/policies/{approval.policy}", notice=notice)


@router.post("/policies/notices", dependencies=[allow(CONSENT_ADMIN)])
def take_notices(request: Request, form: Posted) -> Response:
    """Take over what notices say about companies and positions."""
    notices = parse_notices(form.file("notices", most_bytes=MAX_NOTICES_BYTES).content)
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, _register):
        book.set_notices(notices, at=desk.clock())
    return redirect(
        request, "/policies", notice=_("The facts are kept; screens that change by them are stale once seen.")
    )


@router.post("/policies/staff/add", dependencies=[allow(ADMINISTRATOR, fresh=True)])
def add_staff(request: Request, form: Posted) -> Response:
    """Register who may approve, by the public key that she read out."""
    person = parse_name(form.text("person", most=64), "person")
    role = fields.word_of(ApproverRole)(form.text("role", most=32))
    member = StaffMember(person, role, fields.bytes_of(32)(form.text("public_key", most=64)))
    about(request, "approver", person)
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, _register):
        book.add_staff(member, at=desk.clock())
    return redirect(request, "/policies", notice=_("Registered."))


@router.post("/policies/staff/remove", dependencies=[allow(ADMINISTRATOR, fresh=True)])
def remove_staff(request: Request, form: Posted) -> Response:
    """Let a person approve no longer."""
    person = form.text("person", most=64)
    about(request, "approver", parse_name(person, "person"))
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, _register):
        book.remove_staff(person, at=desk.clock())
    return redirect(request, "/policies", notice=_("Removed; what she approved no longer counts."))


@router.get("/policies/{policy}", dependencies=[allow(*READERS, ADMINISTRATOR)])
def policy(request: Request, policy: str) -> Response:
    """One version: its words, what changes by it, who approved, what is left to do."""
    desk = desk_of(request)
    now = desk.clock()
    with policy_stores(desk.platform.directory) as (book, register):
        version = book.version(policy)
        status = book.status(policy, at=now)
        current = book.active(version.season, at=now)
        standing = book.standing_approvals(policy)
        return page(
            request,
            "policies/policy.html",
            version=version,
            shown=_version(book, version, now),
            stage=None if status is None else status.value,
            steps=[(words.POLICY_STATES[step.status], step.at) for step in book.steps(policy)],
            approvals=[
                (item.person, words.APPROVERS[item.role], item.approved_at, item in standing)
                for item in book.approvals(policy)
            ],
            objections=activation.objections(version),
            changes=_changes(version, current),
            current=current.policy if current is not None and current != version else "",
            terms=[
                (
                    words.PURPOSES[purpose],
                    [words.RECIPIENTS[item] for item in sorted(terms.recipients)],
                    terms.retention_days,
                    words.WITHDRAWALS[terms.withdrawal],
                )
                for purpose, terms in version.terms.items()
            ],
            clauses=_clause_texts(version),
            sha256=version.digest().hex(),
            screens=_count_screens(register.standing(policy)),
        )


@router.get("/policies/{policy}/twin", dependencies=[allow(*READERS, ADMINISTRATOR)])
def twin(request: Request, policy: str) -> Response:
    """The bytes that are approved and whose hash is in the ledger, to be read and signed elsewhere."""
    with policy_stores(desk_of(request).platform.directory) as (book, _register):
        version = book.version(policy)
    return download(version.to_bytes(), name=f"{version.policy}.json", media_type="application/json")


@router.get("/policies/{policy}/activate", dependencies=[allow(PRIVACY_OFFICER)])
def before_activation(request: Request, policy: str) -> Response:
    """What bringing it into force would do, before it is done."""
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, _register):
        version = book.version(policy)
        current = book.active(version.season, at=desk.clock())
        changes = _changes(version, current)
    return page(
        request,
        "policies/activate.html",
        version=version,
        current=current.policy if current is not None and current != version else "",
        asked_again=[purpose for purpose, found in changes if found],
    )


@router.post("/policies/{policy}/activate", dependencies=[allow(PRIVACY_OFFICER, fresh=True)])
def activate(request: Request, policy: str, form: Posted) -> Response:
    """Bring an approved version into force, in the ledger too."""
    about(request, "policy", parse_name(policy, "policy"))
    form.verify_confirmation(policy)
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, register):
        activation.activate(book, register, desk.platform.ledger, policy, at=desk.clock())
    return redirect(request, f"/policies/{policy}", notice=_("In force. The ledger says so."))


@router.get("/policies/{policy}/retire", dependencies=[allow(PRIVACY_OFFICER)])
def before_retirement(request: Request, policy: str) -> Response:
    """What ending it would do, before it is done."""
    with policy_stores(desk_of(request).platform.directory) as (book, register):
        version = book.version(policy)
        screens = len(register.standing(policy))
    return page(request, "policies/retire.html", version=version, screens=screens)


@router.post("/policies/{policy}/retire", dependencies=[allow(PRIVACY_OFFICER, fresh=True)])
def retire(request: Request, policy: str, form: Posted) -> Response:
    """End a version at once: consents under it no longer count."""
    about(request, "policy", parse_name(policy, "policy"))
    form.verify_confirmation(policy)
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, register):
        activation.retire(book, register, policy, at=desk.clock())
    return redirect(request, f"/policies/{policy}", notice=_("Ended. Consents under it no longer count."))


@router.get("/screens", dependencies=[allow(*READERS)])
def screens(request: Request) -> Response:
    """What stands where now, what waits to be verified, and the alarms."""
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, register):
        standing = register.standing()
        own = activation.waiting_own_texts(book, register, at=desk.clock())
        unknown = register.unknown_texts()
        names = [version.policy for version in activation.unretired(book, at=desk.clock())]
    others = sorted({item.sha256 for item in standing if item.state is ScreenState.DISCOVERED} - own)
    job = request.app.state.jobs.newest(_CRAWL)
    return page(
        request,
        "screens/screens.html",
        screens=[_screen(item) for item in standing],
        policies=names,
        own_waiting=len(own),
        others_waiting=others,
        unknown=unknown,
        job=job if job is not None and job.owner == acting(request).name else None,
    )


@router.get("/screens/matrix/{policy}", dependencies=[allow(*READERS)])
def matrix(request: Request, policy: str) -> Response:
    """Screen by clause, for the screens of a version that stand now."""
    with policy_stores(desk_of(request).platform.directory) as (book, register):
        version = book.version(policy)
        standing = register.standing(policy)
    return page(
        request,
        "screens/matrix.html",
        policy=version.policy,
        clauses=[(clause.value, words.CLAUSES[clause]) for clause in Clause],
        rows=[(_screen(item), [clause in item.clauses for clause in Clause]) for item in standing],
    )


@router.get("/screens/text/{sha256}", dependencies=[allow(*READERS)])
def text(request: Request, sha256: str) -> Response:
    """A text that stood somewhere, and where."""
    digest = fields.bytes_of(32)(sha256).hex()
    with policy_stores(desk_of(request).platform.directory) as (_book, register):
        places, words_of_text = register.with_text(digest), register.text(digest)
    return page(
        request,
        "screens/text.html",
        sha256=digest,
        text=words_of_text,
        places=[_screen(item) for item in places],
        may_be_verified=any(item.state is ScreenState.DISCOVERED for item in places),
    )


@router.post("/screens/crawl", dependencies=[allow(*OFFICE)])
def crawl(request: Request, form: Posted) -> Response:
    """Begin to look at consent screens with a browser."""
    desk = desk_of(request)
    name = form.text("policy", most=64, default="")
    urls = form.text("addresses", most=4096, default="").split()[:MAX_ADDRESSES]
    follow = form.is_ticked("follow")
    step = str(_("A browser looks at each page as a telephone and as a desk shows it."))

    def work(job: Job) -> None:
        job.progress(0, 0, step)
        with policy_stores(desk.platform.directory) as (book, register):
            into = crawler.Into(book, register, clock=desk.clock)
            crawler.crawl(into, urls, policy=name, follow=follow, progress=job.progress)

    job = request.app.state.jobs.start(
        work,
        kind=_CRAWL,
        owner=acting(request).name,
        title=_("Looking at consent screens"),
        next_path="/screens",
    )
    return redirect(request, f"/jobs/{job.job}")


@router.post("/screens/verify", dependencies=[allow(*OFFICE)])
def verify_own(request: Request, form: Posted) -> Response:
    """Verify what was looked at and says what our own pages say."""
    del form
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (book, register):
        texts = activation.waiting_own_texts(book, register, at=desk.clock())
        register.verify(texts, at=desk.clock())
    return redirect(request, "/screens", notice=_("Verified."))


@router.post("/screens/verify-text", dependencies=[allow(PRIVACY_OFFICER)])
def verify_text(request: Request, form: Posted) -> Response:
    """Verify one text that a person read."""
    sha256 = fields.bytes_of(32)(form.text("sha256", most=64)).hex()
    about(request, "text", sha256)
    desk = desk_of(request)
    with policy_stores(desk.platform.directory) as (_book, register):
        register.verify([sha256], at=desk.clock())
    return redirect(request, "/screens", notice=_("Verified."))


def _version(book: PolicyBook, version: PolicyVersion, now: int) -> _Version:
    status = book.status(version.policy, at=now) or PolicyStatus.DRAFT
    since = max((step.at for step in book.steps(version.policy) if step.at <= now), default=now)
    approved = tuple((item.person, words.APPROVERS[item.role]) for item in book.approvals(version.policy))
    return _Version(version.policy, version.season, words.POLICY_STATES[status], approved, since)


def _changes(version: PolicyVersion, current: PolicyVersion | None) -> list[tuple[Text, list[Text]]]:
    """By purpose, why a consent under the version in force does not reach this one."""
    if current is None or current == version:
        return []
    return [
        (
            words.PURPOSES[purpose],
            [words.CHANGES[item] for item in sorted(material_changes(current, version, purpose))],
        )
        for purpose in Purpose
        if purpose in version.terms or purpose in current.terms
    ]


def _clause_texts(version: PolicyVersion) -> list[tuple[str, Text, list[tuple[str, str]]]]:
    return [
        (
            clause.value,
            words.CLAUSES[clause],
            [(locale.value, version.clauses[locale][clause]) for locale in Locale],
        )
        for clause in Clause
    ]


def _screen(version: ScreenVersion) -> dict[str, Any]:
    place = version.place
    return {
        "company": place.company,
        "position": place.position,
        "route": place.route,
        "locale": place.locale.value,
        "device": words.DEVICES[place.device],
        "policy": place.policy,
        "sha256": version.sha256,
        "state": words.SCREEN_STATES[version.state],
        "findings": [words.FINDINGS[finding] for finding in version.findings],
        "verified_until": version.verified_until,
    }


def _count_screens(standing: Sequence[ScreenVersion]) -> list[tuple[words.Word, int]]:
    def counts() -> Iterator[tuple[words.Word, int]]:
        for state in ScreenState:
            number = sum(item.state is state for item in standing)
            if number:
                yield words.SCREEN_STATES[state], number

    return list(counts())

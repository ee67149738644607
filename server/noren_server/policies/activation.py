"""Bringing a policy into force: review, approval, activation, and what consents are judged by.

docs/rights/policies-and-screens.md §2. Promises: a version is REVIEWED only if its purposes are said
concretely and it contradicts no flow of this software; APPROVED only by two people in different roles; ACTIVE
only if these still stand, every screen of it is verified now, and the ledger says so first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from noren_core.errors import DataError, LocalProtocolError
from noren_core.ledger.entries import EntryKind
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import ConsentKey
from noren_core.rights.consent.consent_validity import PolicyStanding, PolicyStatus
from noren_core.rights.locales import Locale
from noren_core.rights.notices.flow_manifest import contradictions, packaged_manifest
from noren_core.rights.notices.notice_texts import NoticeFacts
from noren_core.rights.notices.policy import PolicyVersion, Route, material_change
from noren_core.rights.notices.policy_approval import Approval, verify_approved
from noren_core.rights.notices.purpose_text import lint_policy
from noren_core.rights.notices.screen import (
    Device,
    ScreenPlace,
    ScreenState,
    ScreenVersion,
    verify_screen,
)
from noren_core.rights.purposes import Purpose
from noren_server.ledger_service import LedgerService
from noren_server.policies import consent_screen
from noren_server.policies.page_markup import read_page
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import VALID_SECONDS, ScreenRegister


@dataclass(frozen=True, slots=True)
class Objection:
    """One thing that keeps a version from being reviewed: a stable code, where, and in a sentence what."""

    code: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class OwnScreen:
    """One page of ours: where it stands, what it says, and its HTML."""

    place: ScreenPlace
    facts: NoticeFacts
    route: Route
    html: str


def objections(version: PolicyVersion) -> tuple[Objection, ...]:
    """Everything that is wrong with a version: purposes said too generally, contradictions to a flow."""
    generic = [Objection("PURPOSE_TOO_GENERIC", item.where, item.what) for item in lint_policy(version)]
    contrary = [
        Objection("POLICY_FLOW_CONTRADICTION", item.flow, item.what)
        for item in contradictions(version, packaged_manifest())
    ]
    return (*generic, *contrary)


def review(book: PolicyBook, policy: str, *, at: int) -> None:
    """Bring a DRAFT into REVIEWED.

    Raises:
        DataError: with the code of the first objection, PURPOSE_TOO_GENERIC or POLICY_FLOW_CONTRADICTION.
    """
    for objection in objections(book.version(policy)):
        raise DataError(f"policy, {objection.where}: {objection.what}", code=objection.code)
    book.advance(policy, PolicyStatus.REVIEWED, at=at)


def take_over(book: PolicyBook, version: PolicyVersion, *, at: int) -> None:
    """Keep a version and review it; with objections it stays a DRAFT.

    Raises:
        LocalProtocolError: as `PolicyBook.add`.
        DataError: as `review`.
    """
    book.add(version, at=at)
    review(book, version.policy, at=at)


def retire(book: PolicyBook, register: ScreenRegister, policy: str, *, at: int) -> None:
    """End a version at once, without days of grace, and its screens with it."""
    book.advance(policy, PolicyStatus.RETIRED, at=at)
    register.retire(policy, at=at)


def unretired(book: PolicyBook, *, at: int) -> tuple[PolicyVersion, ...]:
    """Every version whose screens may still be shown some day."""
    return tuple(
        version
        for version in book.versions()
        if book.status(version.policy, at=at) is not PolicyStatus.RETIRED
    )


def waiting_own_texts(book: PolicyBook, register: ScreenRegister, *, at: int) -> frozenset[str]:
    """The texts that were looked at, wait to be verified, and say what our own pages say."""
    ours = {text for version in unretired(book, at=at) for text in own_texts(book, version)}
    return frozenset(
        screen.sha256
        for screen in register.versions()
        if screen.state is ScreenState.DISCOVERED and screen.sha256 in ours
    )


def take_approval(book: PolicyBook, approval: Approval, *, at: int) -> PolicyStatus:
    """Keep an approval; a version with enough of them is APPROVED. The version's state after that.

    Raises:
        VerificationError: if the approval is not a registered person's, of exactly this version.
    """
    book.add_approval(approval)
    status = book.status(approval.policy, at=at)
    if status is PolicyStatus.REVIEWED and _is_approved(book, approval.policy):
        book.advance(approval.policy, PolicyStatus.APPROVED, at=at)
        return PolicyStatus.APPROVED
    return status or PolicyStatus.DRAFT


def activate(
    book: PolicyBook, register: ScreenRegister, ledger: LedgerService, policy: str, *, at: int
) -> None:
    """Bring an APPROVED version into force.

    1. Two people in different roles still stand by it.
    2. It still has no objections: the software may have changed since it was reviewed.
    3. Every screen of it is verified, for every company and position, language and width.
    4. The ledger states it; an entry that a crash left without the step after it is used, not repeated.
    5. It is in force; the version before it has its days of grace.

    Raises:
        LocalProtocolError: with code POLICY_STATE, SECOND_APPROVER_REQUIRED, SCREEN_UNVERIFIED, SCREEN_STALE
            or
            COVERAGE_SCREEN_CLAUSE_MISSING.
        DataError: with the code of an objection.
    """
    version = book.version(policy)
    if book.status(policy, at=at) is not PolicyStatus.APPROVED:
        verify_approved(version, book.standing_approvals(policy), book.staff())
        raise LocalProtocolError("policy: expected one that is approved, got another", code="POLICY_STATE")
    verify_approved(version, book.standing_approvals(policy), book.staff())  # 1
    for objection in objections(version):  # 2
        raise DataError(f"policy, {objection.where}: {objection.what}", code=objection.code)
    verify_screens(book, register, version, at=at)  # 3
    stated = _stated(ledger, version)  # 4
    if stated is None:
        body = {"policy": policy, "sha256": version.digest().hex(), "activated_at": at}
        ledger.append_platform_entry(EntryKind.POLICY, body)
        stated = at
    book.put_in_force(version, at=max(stated, book.steps(policy)[-1].at))  # 5


def verify_screens(book: PolicyBook, register: ScreenRegister, version: PolicyVersion, *, at: int) -> None:
    """Raise unless every screen of a version is verified now, for every company and position.

    A screen counts with any build and variant, as long as one of them is verified: what a student really sees
        is checked by the hash in her own event.

    Raises:
        LocalProtocolError: as `noren_core.rights.notices.screen.verify_screen`; SCREEN_UNVERIFIED if there
            is no notice.
    """
    expected = list(own_screens(book, version))
    if not expected:
        raise LocalProtocolError(
            "policy: expected the notice of at least one company, got none", code="SCREEN_UNVERIFIED"
        )
    versions = register.versions(version.policy)
    for screen in expected:
        spot = _spot(screen.place)
        there = [item for item in versions if _spot(item.place) == spot]
        required = consent_screen.expected_screen(
            version, screen.facts, screen.place.locale, screen.route
        ).required
        verify_screen(there, at=at, required=required)


def own_screens(book: PolicyBook, version: PolicyVersion) -> Iterator[OwnScreen]:
    """Every page of ours that shows a version: each notice, route, language and width."""
    for facts in book.notices():
        for route in version.routes.values():
            for locale in Locale:
                html = consent_screen.render_consent_screen(version, facts, locale, route.purposes)
                for device in Device:
                    place = ScreenPlace(
                        policy=version.policy,
                        company=facts.company,
                        position=facts.position,
                        route=route.route,
                        locale=locale,
                        device=device,
                        build=consent_screen.BUILD,
                        variant=consent_screen.VARIANT,
                    )
                    yield OwnScreen(place, facts, route, html)


def own_texts(book: PolicyBook, version: PolicyVersion) -> frozenset[str]:
    """The hashes of what our own pages of a version say: what may be verified without a person reading it."""
    return frozenset(read_page(screen.html).sha256 for screen in own_screens(book, version))


def register_own_screens(
    book: PolicyBook,
    register: ScreenRegister,
    version: PolicyVersion,
    *,
    at: int,
    valid_seconds: int = VALID_SECONDS,
) -> None:
    """Write our own pages down as seen, by reading their markup, and verify them.

    This says what we render, not what a browser shows: the crawler does that. For tests and demonstrations.
    """
    texts = set()
    for screen in own_screens(book, version):
        reading = read_page(screen.html)
        expected = consent_screen.expected_screen(version, screen.facts, screen.place.locale, screen.route)
        register.observe(screen.place, reading, expected, at=at, valid_seconds=valid_seconds)
        texts.add(reading.sha256)
    register.verify(texts, at=at, valid_seconds=valid_seconds)


class PolicyFacts:
    """What `noren_core.rights.consent.consent_validity.Facts` asks about policies and screens, at one time.

    The standing of companies and of the service is for others to say.
    """

    def __init__(self, book: PolicyBook, register: ScreenRegister, *, now: int) -> None:
        self._book = book
        self._register = register
        self._now = now
        self._standings: dict[str, PolicyStanding | None] = {}
        self._screens: dict[str, tuple[ScreenVersion, ...]] = {}

    def policy(self, policy: str) -> PolicyStanding | None:
        """The version of that name, and for which purposes the one in force differs materially."""
        if policy not in self._standings:
            self._standings[policy] = self._standing(policy)
        return self._standings[policy]

    def clauses_shown(self, key: ConsentKey, screen: str, at: int) -> frozenset[Clause] | None:
        """The clauses on the screen with this hash, if it was verified at that time for exactly this notice.

        None if no such screen asked for this purpose under this policy for this company and position.
        """
        if screen not in self._screens:
            self._screens[screen] = self._register.with_text(screen)
        for version in self._screens[screen]:
            place = version.place
            if (place.policy, place.company, place.position) != (key.policy, key.company, key.position):
                continue
            if key.purpose in version.purposes and version.is_verified_at(at):
                return version.clauses
        return None

    def _standing(self, policy: str) -> PolicyStanding | None:
        status = self._book.status(policy, at=self._now)
        if status is None:
            return None
        version = self._book.version(policy)
        current = self._book.active(version.season, at=self._now)
        if current == version:
            return PolicyStanding(status)
        if current is None:  # nothing says what is told now, so nothing is known to be the same
            return PolicyStanding(status, frozenset(Purpose))
        return PolicyStanding(status, frozenset(p for p in Purpose if material_change(version, current, p)))


def _is_approved(book: PolicyBook, policy: str) -> bool:
    try:
        verify_approved(book.version(policy), book.standing_approvals(policy), book.staff())
    except LocalProtocolError:
        return False
    return True


def _stated(ledger: LedgerService, version: PolicyVersion) -> int | None:
    """When the ledger says that exactly this version was activated; None if it does not."""
    for stored in ledger.store.entries(kind=EntryKind.POLICY):
        body = stored.entry.body
        if (body["policy"], body["sha256"]) == (version.policy, version.digest().hex()):
            return int(body["activated_at"])
    return None


def _spot(place: ScreenPlace) -> tuple[str, ...]:
    return (place.policy, place.company, place.position, place.route, place.locale, place.device)

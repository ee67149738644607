"""What a student is shown before she consents: the policy's own page, and the hash of the text on it.

Promises: the screen that a consent event names is the text that was really sent, read back from the very
page; every purpose of the route is noted as shown before the page leaves; a text that the register of screens
does not know raises its alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import ConsentKey, Screen
from noren_core.rights.consent.consent_record import ConsentRecord
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import NoticeFacts, notice_clauses
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_service import ConsentService
from noren_server.policies.consent_screen import Signing, render_consent_screen
from noren_server.policies.page_markup import read_page
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister


@dataclass(frozen=True, slots=True)
class Shown:
    """A page, its screen, and the records that she may answer on, one for each purpose.

    `policy` and `facts` are what the page was drawn from, `locale` its language.
    """

    page: str = field(repr=False)
    screen: Screen
    records: tuple[ConsentRecord, ...] = field(repr=False)
    policy: PolicyVersion = field(repr=False)
    facts: NoticeFacts = field(repr=False)
    locale: Locale

    def to_sign_on(self, fields: Mapping[Purpose, Mapping[str, str]]) -> str:
        """The same page for a browser that signs, with these hidden fields.

        Raises:
            VerificationError: if it does not show the very text that was noted as shown.
        """
        page = render_consent_screen(
            self.policy, self.facts, self.locale, list(fields), signing=Signing(fields)
        )
        if read_page(page).sha256 != self.screen.sha256:
            raise VerificationError("notice: expected the text that was noted as shown, got another")
        return page


class NoticeDesk:
    """Shows notices of the policy in force."""

    def __init__(
        self,
        policies: PolicyBook,
        screens: ScreenRegister,
        consents: ConsentService,
        *,
        clock: Callable[[], int],
    ) -> None:
        self._policies = policies
        self._screens = screens
        self._consents = consents
        self._clock = clock

    def show(
        self, student: str, *, company: str, position: str, season: str, route: str, locale: Locale
    ) -> Shown:
        """The page for one company and position, noted as shown to this student.

        1. The policy in force for the season, and the facts of the notice.
        2. The page; its text is what is hashed, its clauses are those that stand in it word for word.
        3. The register's alarm, if nobody has looked at this text; a consent on it will not count.
        4. SHOWN for every purpose of the route; only then the page leaves.

        Raises:
            LocalProtocolError: with code NOT_AVAILABLE, if no policy is in force for the season, or it has no
                such route; or if the company and position have no notice.
        """
        now = self._clock()
        policy = self._policies.active(season, at=now)  # 1
        if policy is None or route not in policy.routes:
            raise LocalProtocolError(
                "notice: expected a season with a policy and a route of it", code="NOT_AVAILABLE"
            )
        facts = self._policies.notice(company, position)
        purposes = policy.routes[route].purposes
        page = render_consent_screen(policy, facts, locale, purposes)  # 2
        reading, words = read_page(page), notice_clauses(policy, facts, locale)
        present = {item.clause for item in reading.clauses if words.get(Clause(item.clause)) == item.text}
        screen = Screen(reading.sha256, tuple(sorted(Clause(clause) for clause in present)))
        keys = [
            ConsentKey(student, purpose, company, position, season, policy.policy) for purpose in purposes
        ]
        self._screens.note_shown(screen.sha256, at=now)  # 3
        records = tuple(self._consents.show(key, screen, now=now) for key in keys)  # 4
        return Shown(page, screen, records, policy, facts, locale)

    def routes(self, season: str) -> dict[str, tuple[Purpose, ...]]:
        """The screens of the policy in force for a season, with the purposes that each asks for."""
        policy = self._policies.active(season, at=self._clock())
        return {} if policy is None else {name: route.purposes for name, route in policy.routes.items()}

    def facts(self, company: str, position: str) -> NoticeFacts:
        """Who the company is; LocalProtocolError if students are not asked about it."""
        return self._policies.notice(company, position)

"""What consents are judged by besides themselves: policies, screens, agreements and service states, now.

Promises: never older than a second. What a policy, a screen or a company is, is looked up once in that time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from noren_core.ledger.entries import EntryKind
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import ConsentKey
from noren_core.rights.consent.consent_validity import Facts, PolicyStanding
from noren_server.ledger_store import LedgerStore
from noren_server.policies.activation import PolicyFacts
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister

IsRunning = Callable[[str], bool]
"""Whether the service runs for a company."""


class LatestFacts:
    """The facts of one platform."""

    def __init__(
        self, policies: PolicyBook, screens: ScreenRegister, ledger: LedgerStore, is_running: IsRunning
    ) -> None:
        self._policies = policies
        self._screens = screens
        self._ledger = ledger
        self._is_running = is_running
        self._newest: tuple[int, Facts] | None = None

    def at(self, now: int) -> Facts:
        """The facts in this second."""
        newest = self._newest
        if newest is None or newest[0] != now:
            policies = PolicyFacts(self._policies, self._screens, now=now)
            newest = (now, _FactsOfASecond(policies, self._ledger, self._is_running))
            self._newest = newest
        return newest[1]


class _FactsOfASecond:
    """Each question is answered once."""

    def __init__(self, policies: PolicyFacts, ledger: LedgerStore, is_running: IsRunning) -> None:
        self._policies = policies
        self._ledger = ledger
        self._running = cache(is_running)
        self._agreements = cache(self._has_agreement)

    def policy(self, policy: str) -> PolicyStanding | None:
        return self._policies.policy(policy)

    def clauses_shown(self, key: ConsentKey, screen: str, at: int) -> frozenset[Clause] | None:
        return self._policies.clauses_shown(key, screen, at)

    def is_agreement_active(self, company: str) -> bool:
        return self._agreements(company)

    def is_running(self, company: str) -> bool:
        return self._running(company)

    def _has_agreement(self, company: str) -> bool:
        """The company agreed, and its participation was not ended."""
        ended = self._ledger.entries(kind=EntryKind.REVOCATION, company=company)
        return bool(self._ledger.entries(kind=EntryKind.AGREEMENT, company=company)) and not ended

"""The consent service of a platform's directory, opened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from noren_core.rights.consent.consent_validity import Facts
from noren_server.consents.consent_book import DATABASE_NAME, ConsentBook
from noren_server.consents.consent_service import ConsentService, TermsSource
from noren_server.consents.latest_facts import LatestFacts
from noren_server.consents.receipt_terms import PolicyTerms
from noren_server.platform_files import Platform
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister
from noren_server.rights.service_states import service_desk


@contextmanager
def consent_service(
    platform: Platform, facts: Callable[[int], Facts] | None = None
) -> Iterator[ConsentService]:
    """The consent service until the end of the block, judging by the platform's facts if none are given."""
    key = platform.consent_key
    policies, screens = PolicyBook.open(platform.directory), ScreenRegister.open(platform.directory)
    desk = service_desk(platform)
    latest = LatestFacts(policies, screens, platform.ledger_store, desk.is_running)
    path = platform.directory / DATABASE_NAME
    try:
        with ConsentBook(path, service_key=key.public_key, facts=facts or latest.at) as book:
            yield ConsentService(book, key, platform.ledger)
    finally:
        policies.close()
        screens.close()


@contextmanager
def receipt_terms(platform: Platform) -> Iterator[TermsSource]:
    """What receipts state besides the events, until the end of the block."""
    policies, screens = PolicyBook.open(platform.directory), ScreenRegister.open(platform.directory)
    try:
        yield PolicyTerms(policies, screens).of
    finally:
        policies.close()
        screens.close()


def unix_now() -> int:
    """Seconds since 1970, UTC."""
    return int(time.time())

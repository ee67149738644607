"""What receipts state of a policy and a company's notice, in the language that the student read."""

from __future__ import annotations

from noren_core.errors import LocalProtocolError
from noren_core.rights.consent.consent_event import ConsentKey
from noren_core.rights.consent.receipt import ReceiptTerms
from noren_core.rights.locales import Locale
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister


class PolicyTerms:
    """The terms of one platform's consents."""

    def __init__(self, policies: PolicyBook, screens: ScreenRegister) -> None:
        self._policies = policies
        self._screens = screens

    def of(self, key: ConsentKey, screen: str) -> ReceiptTerms:
        """The terms of a consent that was shown on this screen (SHA-256, hex).

        Raises:
            LocalProtocolError: if there is no such policy or notice, or none with terms for the purpose.
        """
        terms = self._policies.version(key.policy).terms.get(key.purpose)
        if terms is None:
            raise LocalProtocolError("receipt: expected a policy with terms for the purpose, got another")
        locale = self._locale(screen)
        said = self._policies.notice(key.company, key.position).values[locale]
        return ReceiptTerms(
            language=locale.value,
            controller=f"{said['platform_name']}, {said['platform_address']}, {said['platform_contact']}",
            recipient=f"{said['company_name']}, {said['company_address']}, {said['company_representative']}",
            data_categories=tuple(sorted({item.category.value for item in terms.data})),
            storage=(said["place"],),
            retention=f"P{terms.retention_days}D",
            jurisdiction=said["place"],
            withdrawal_method=said["withdrawal_place"],
            withdrawal_effect=terms.withdrawal.value,
        )

    def _locale(self, screen: str) -> Locale:
        """The language of the screen; that of the first language for one that the register does not know."""
        versions = self._screens.with_text(screen)
        return versions[0].place.locale if versions else next(iter(Locale))

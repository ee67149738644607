"""Who of the platform sees and does what on these pages; the table is `noren_core.rights.gate.roles`."""

from __future__ import annotations

from noren_core.errors import DataError
from noren_server.console.accounts import ConsoleRole
from noren_web.posted_form import PostedForm

CONSENT_ADMIN, PRIVACY_OFFICER = ConsoleRole.CONSENT_ADMIN, ConsoleRole.PRIVACY_OFFICER
AUDITOR, ADMINISTRATOR = ConsoleRole.AUDITOR, ConsoleRole.ADMINISTRATOR
READERS = (CONSENT_ADMIN, ConsoleRole.ML_OPERATOR, PRIVACY_OFFICER, AUDITOR)
"""Who reads what is about nobody in particular."""

OVERSEERS = (CONSENT_ADMIN, PRIVACY_OFFICER, AUDITOR)
"""Who sees what students asked for, by handle."""

OFFICE = (CONSENT_ADMIN, PRIVACY_OFFICER)
"""Who answers students."""


def verify_typed(form: PostedForm, word: str) -> None:
    """Raise DataError (CONFIRMATION_WRONG) unless the word was typed that confirms what is for good."""
    if form.text("confirmation", most=64).strip() != word:
        raise DataError(
            "form: expected the word that confirms this, got another text", code="CONFIRMATION_WRONG"
        )

"""Who of the platform sees and does what on these pages; the table is `noren_core.rights.gate.roles`."""

from __future__ import annotations

from noren_server.console.accounts import ConsoleRole

CONSENT_ADMIN, PRIVACY_OFFICER = ConsoleRole.CONSENT_ADMIN, ConsoleRole.PRIVACY_OFFICER
AUDITOR, ADMINISTRATOR = ConsoleRole.AUDITOR, ConsoleRole.ADMINISTRATOR
READERS = (CONSENT_ADMIN, ConsoleRole.ML_OPERATOR, PRIVACY_OFFICER, AUDITOR)
"""Who reads what is about nobody in particular."""

OVERSEERS = (CONSENT_ADMIN, PRIVACY_OFFICER, AUDITOR)
"""Who sees what students asked for, by handle."""

OFFICE = (CONSENT_ADMIN, PRIVACY_OFFICER)
"""Who answers students."""

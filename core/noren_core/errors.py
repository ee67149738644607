"""The error families every party shares.

Each error carries a stable code (docs/protocol.md §7) and a public sentence without personal data.
Three families answer the first question of whoever reads one: did *they* break the protocol, is the
*data* bad, or is the *evidence* inconsistent. Local misuse of a state machine is a fourth, ours.
The exit code of a command is the family's, but for codes about who somebody is and about what is held back,
which `EXIT_CODES` lists: they are the same whichever family an error with the code is of.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class ExitCode(IntEnum):
    """What a command returns. From 126 on shells give numbers a meaning of their own: 128 and a signal's."""

    DONE = 0
    OTHER = 1
    USAGE = 2
    CONFIGURATION = 3
    NETWORK = 4
    IDENTITY = 5
    INPUT = 6
    CONSENT = 7
    BUDGET = 8
    VERIFICATION = 9
    INTERRUPTED = 130
    PIPE_CLOSED = 141


_IDENTITY_CODES = (
    "ACCOUNT_LOCKED",
    "ALREADY_ENROLLED",
    "BREAK_GLASS_REQUIRED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REFUSED",
    "CODE_WRONG",
    "CSRF_REJECTED",
    "ENTRY_REFUSED",
    "HOST_REFUSED",
    "INVITATION_EXPIRED",
    "INVITATION_UNKNOWN",
    "INVITATION_USED",
    "NOT_AUTHENTICATED",
    "NOT_RECOGNISED",
    "NOT_SIGNED_IN",
    "OIDC_REFUSED",
    "PASSPHRASE_MISSING",
    "PASSWORD_REFUSED",
    "ROLE_FORBIDDEN",
    "SECOND_PERSON_REQUIRED",
    "SEPARATION_OF_DUTIES",
    "STAFF_LOCKED",
    "STAFF_NOT_RECOGNISED",
    "WRONG_PASSPHRASE",
)
_CONSENT_CODES = (
    "AGREEMENT_INACTIVE",
    "AGREEMENT_NOT_ACTIVE",
    "CONSENT_BUNDLED",
    "CONSENT_EPOCH_STALE",
    "CONSENT_EXPIRED",
    "CONSENT_INVALIDATED",
    "CONSENT_MISSING",
    "CONSENT_NEVER_SHOWN",
    "CONSENT_POSITION_MISMATCH",
    "CONSENT_PRECHECKED",
    "CONSENT_PURPOSE_MISMATCH",
    "CONSENT_RECIPIENT_MISMATCH",
    "CONSENT_REFUSED",
    "CONSENT_REVOKED",
    "CONSENT_SUPERSEDED",
    "CONSENT_WITHDRAWN",
    "GATE_NOT_OPEN",
    "LAUNCH_BLOCKED_COVERAGE",
    "PENDING_ERASURE_ORDERS",
    "PERMIT_AUDIENCE",
    "PERMIT_EXPIRED",
    "PERMIT_REPLAYED",
    "RESUME_CONDITIONS_UNMET",
    "ROUND_ABORTED_CONSENT",
    "SCREEN_CLAUSE_MISSING",
    "SCREEN_STALE",
    "SCREEN_UNVERIFIED",
    "SEASON_MISMATCH",
    "SERVICE_ABOLISHED",
    "SERVICE_SUSPENDED",
    "SERVICE_WINDING_DOWN",
)
EXIT_CODES: Mapping[str, ExitCode] = MappingProxyType(
    {
        **dict.fromkeys(_IDENTITY_CODES, ExitCode.IDENTITY),
        **dict.fromkeys(_CONSENT_CODES, ExitCode.CONSENT),
    }
)
"""The codes that do not end a command as their family does."""


class NorenError(Exception):
    """Root of every error we raise on purpose.

    Attributes:
        code: stable identifier, the same in every release and language.
        message: one public sentence: what was expected and what came; never personal data or secrets.
        exit_code: what a command that ends with this error returns (docs/errors.md): that of the code, if
            `EXIT_CODES` has it, or the family's.
    """

    code = "INTERNAL"
    exit_code: int = ExitCode.OTHER

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.exit_code = EXIT_CODES.get(self.code, self.exit_code)


class RemoteProtocolError(NorenError):
    """The other side sent something the protocol does not allow; our state is unchanged."""

    code = "PROTOCOL_VIOLATION"
    exit_code = ExitCode.NETWORK


class LocalProtocolError(NorenError):
    """We were asked to do something our own state does not allow; nothing was changed."""

    code = "ILLEGAL_STATE"


class DataError(NorenError):
    """Input data (a file, a row, a column) is not what the format asks for."""

    code = "BAD_DATA"
    exit_code = ExitCode.INPUT


class ConfigurationError(NorenError):
    """A setting is missing or out of its range."""

    code = "BAD_CONFIGURATION"
    exit_code = ExitCode.CONFIGURATION


class BudgetExceededError(NorenError):
    """Answering would spend more privacy budget, or more evaluations, than was agreed."""

    code = "BUDGET_EXCEEDED"
    exit_code = ExitCode.BUDGET


class VerificationError(NorenError):
    """A signature, proof or hash does not match what it claims; carries the reason."""

    code = "NOT_VERIFIED"
    exit_code = ExitCode.VERIFICATION

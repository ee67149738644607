"""The error families every party shares.

Each error carries a stable code (docs/protocol.md §7) and a public sentence without personal data.
Three families answer the first question of whoever reads one: did *they* break the protocol, is the
*data* bad, or is the *evidence* inconsistent. Local misuse of a state machine is a fourth, ours.
"""

from __future__ import annotations


class NorenError(Exception):
    """Root of every error we raise on purpose.

    Attributes:
        code: stable identifier, the same in every release and language.
        message: one public sentence: what was expected and what came; never personal data or secrets.
        exit_code: what a command that ends with this error returns (docs/deploying.md).
    """

    code = "INTERNAL"
    exit_code = 1

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class RemoteProtocolError(NorenError):
    """The other side sent something the protocol does not allow; our state is unchanged."""

    code = "PROTOCOL_VIOLATION"
    exit_code = 4


class LocalProtocolError(NorenError):
    """We were asked to do something our own state does not allow; nothing was changed."""

    code = "ILLEGAL_STATE"


class DataError(NorenError):
    """Input data (a file, a row, a column) is not what the format asks for."""

    code = "BAD_DATA"
    exit_code = 6


class ConfigurationError(NorenError):
    """A setting is missing or out of its range."""

    code = "BAD_CONFIGURATION"
    exit_code = 3


class BudgetExceededError(NorenError):
    """Answering would spend more privacy budget, or more evaluations, than was agreed."""

    code = "BUDGET_EXCEEDED"
    exit_code = 8


class VerificationError(NorenError):
    """A signature, proof or hash does not match what it claims; carries the reason."""

    code = "NOT_VERIFIED"
    exit_code = 9

"""What a company signs up to: the agreement, how each of its clauses is kept, and the labels that bind to it.

Text and table are packaged, byte for byte; their hash is what both sides sign. Every clause says whether it
is `enforced` (what it forbids cannot be done with this software), `detected` (it can be done, and is found
out) or `promise_only`. That a score never serves to pass or fail anybody may not be a mere promise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from noren_core import canonical_json
from noren_core.errors import DataError

COLLECT_LABEL = b"noren/v1/collect"
"""Under which an applicant signs its own public key to collect its certificate."""

NO_PASS_FAIL = "no_pass_fail"  # noqa: S105 (a clause, no password)
NO_CONTROL = "none"
_LABEL = b"noren/v1/agreement\0"
_FIELDS = {"control", "enforcement", "id", "section"}


class Enforcement(StrEnum):
    """How a clause is kept."""

    ENFORCED = "enforced"
    DETECTED = "detected"
    PROMISE_ONLY = "promise_only"


@dataclass(frozen=True, slots=True)
class AgreementClause:
    """One promise of the agreement and what keeps it: a control, by its name in docs/requirements.md."""

    clause: str
    section: int
    enforcement: Enforcement
    control: str


def agreement_text() -> str:
    """The participation agreement."""
    return _packaged("participation_agreement.txt").decode()


def agreement_clauses() -> tuple[AgreementClause, ...]:
    """How every clause of the packaged agreement is kept."""
    return parse_clauses(_packaged("participation_clauses.json"))


def agreement_sha256() -> str:
    """What an agreement entry states: SHA-256 over label, text and table, in hex."""
    parts = (_packaged("participation_agreement.txt"), _packaged("participation_clauses.json"))
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(_LABEL + digests).hexdigest()


def parse_clauses(data: bytes) -> tuple[AgreementClause, ...]:
    """The table of clauses in `data`.

    Raises:
        DataError: if it is malformed, names a clause twice, or (code CLAUSE_NOT_ENFORCED) promises what must
            be enforced, or claims a control that it does not name.
    """
    body = canonical_json.parse_object(b"".join(data.split()))
    rows = body.get("clauses")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() == _FIELDS for row in rows):
        raise DataError("agreement: expected clauses with id, section, enforcement and control, got others")
    try:
        clauses = tuple(
            AgreementClause(row["id"], row["section"], Enforcement(row["enforcement"]), row["control"])
            for row in rows
        )
    except ValueError as error:
        raise DataError("agreement: expected enforced, detected or promise_only, got another word") from error
    _verify(clauses)
    return clauses


def _verify(clauses: Sequence[AgreementClause]) -> None:
    if len({item.clause for item in clauses}) != len(clauses):
        raise DataError("agreement: expected every clause once, got one twice")
    kept = {item.clause: item.enforcement for item in clauses}
    if kept.get(NO_PASS_FAIL) is not Enforcement.ENFORCED:
        raise DataError(
            f"agreement: expected {NO_PASS_FAIL} to be enforced, got less", code="CLAUSE_NOT_ENFORCED"
        )
    for item in clauses:
        if (item.control == NO_CONTROL) is not (item.enforcement is Enforcement.PROMISE_ONLY):
            raise DataError(
                "agreement: expected a control for every clause but a mere promise, got another",
                code="CLAUSE_NOT_ENFORCED",
            )


def _packaged(name: str) -> bytes:
    return resources.files("noren_core.season").joinpath(name).read_bytes()

"""The daily comparison of four things that must agree: permit, consent event, verified screen, provision.

docs/rights/provision-records.md §4. Every provision has a permit of its own; the event that the permit names
is in the consent book, of this student, company, purpose and position; it was on a screen that was verified
then; and it had not ended. Every row of a table has its provision. One pass of set operations over the files,
whatever their size.

What is found concerns persons, so it goes to a private file for the privacy officer; everybody else hears
which of the comparisons failed, and not how often.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from noren_core import canonical_json
from noren_core.errors import ConfigurationError, VerificationError
from noren_core.rights.consent.consent_record import ENDED_STATES
from noren_local.private_file import write_private
from noren_server.consents.consent_book import DATABASE_NAME as CONSENTS
from noren_server.policies.screen_register import FILE_NAME as SCREENS
from noren_server.rights.provision_records import DATABASE_NAME as PROVISIONS

REPORT_FILE = "reconciliation.json"
MAX_EXAMPLES = 1000


class Fault(StrEnum):
    """What can disagree."""

    NO_CONSENT_EVENT = "no-consent-event"  # the permit names an event that is not hers, or of another record
    OTHER_CONSENT = "other-consent"  # the consent is for another company, purpose, position or season
    SCREEN_NOT_VERIFIED = "screen-not-verified"
    CONSENT_HAD_ENDED = "consent-had-ended"
    ROW_WITHOUT_PROVISION = "row-without-provision"


_ENDED = ", ".join(f"'{state.value}'" for state in sorted(ENDED_STATES))
_QUERIES: Mapping[Fault, str] = {
    Fault.NO_CONSENT_EVENT: """
        SELECT p.permit FROM provisions p LEFT JOIN consents.events e
        ON e.seq = p.consent_seq AND e.record = p.record AND e.student = p.student
        WHERE e.seq IS NULL""",
    Fault.OTHER_CONSENT: """
        SELECT p.permit FROM provisions p LEFT JOIN consents.records r
        ON r.record = p.record AND r.student = p.student AND r.company = p.company
        AND r.purpose = p.purpose AND r.position = p.position AND r.season = p.season
        WHERE r.record IS NULL""",
    Fault.SCREEN_NOT_VERIFIED: """
        SELECT p.permit FROM provisions p JOIN consents.records r ON r.record = p.record
        WHERE NOT EXISTS (
            SELECT 1 FROM screens.screens s WHERE s.sha256 = r.screen
            AND s.verified_from <= r.answered_at AND r.answered_at <= s.verified_until
        )""",
    Fault.CONSENT_HAD_ENDED: f"""
        SELECT p.permit FROM provisions p JOIN consents.records r ON r.record = p.record
        WHERE r.state IN ({_ENDED}) AND r.last_time < p.at""",  # noqa: S608 (our own words)
    Fault.ROW_WITHOUT_PROVISION: """
        SELECT s.tag FROM sealed_rows s LEFT JOIN provisions p ON p.permit = s.permit
        WHERE p.permit IS NULL""",
}


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was found: by fault, permits or tags that it is about, the first thousand."""

    found: Mapping[Fault, tuple[bytes, ...]] = field(repr=False)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Which comparisons failed."""
        return tuple(fault for fault in Fault if self.found[fault])

    def verify(self) -> None:
        """Raise VerificationError (PROVISION_MISMATCH), naming the comparisons that failed."""
        if self.faults:
            raise VerificationError(
                f"provisions: expected permits, consents, screens and provisions to agree, got "
                f"{', '.join(self.faults)}",
                code="PROVISION_MISMATCH",
            )


def reconcile(directory: Path) -> Reconciliation:
    """Compare the files of a platform's directory; what is found is written to reconciliation.json (0600).

    Raises:
        ConfigurationError: if one of the files is not there.
    """
    paths = {name: directory / file for name, file in (("consents", CONSENTS), ("screens", SCREENS))}
    main = directory / PROVISIONS
    for path in (main, *paths.values()):
        if not path.exists():
            raise ConfigurationError(f"reconciliation: expected {path.name} in the directory, got none")
    with closing(sqlite3.connect(f"{main.resolve().as_uri()}?mode=ro", uri=True)) as database:
        for name, path in paths.items():
            uri = f"{path.resolve().as_uri()}?mode=ro"
            database.execute(f"ATTACH DATABASE ? AS {name}", (uri,))
        found = {
            fault: tuple(row[0] for row in database.execute(f"{query} LIMIT {MAX_EXAMPLES}"))
            for fault, query in _QUERIES.items()
        }
    body = {fault.value: [item.hex() for item in items] for fault, items in found.items()}
    write_private(directory / REPORT_FILE, canonical_json.encode(body))
    return Reconciliation(found)

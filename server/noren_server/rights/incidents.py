"""Incidents: who was affected, computed from what was provided, and that exactly they were told.

Promises: the affected are the students of a set of provision records and nobody else; a notice is written for
each of them before the incident counts as notified; it is closed only if the two sets are the same. The
ledger says that there was an incident, of which class, and how far it is; never who or how many.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.errors import LocalProtocolError
from noren_core.ids import parse_name
from noren_core.ledger.entries import EntryKind, IncidentState
from noren_core.rights.fields import MAX_SECONDS, check_integer, check_seconds
from noren_core.rights.locales import Locale
from noren_core.rights.purposes import Purpose, parse_purpose
from noren_core.rights.service.incident import IncidentClass, next_state, report_deadlines, verify_notices
from noren_server.ledger_service import LedgerService
from noren_server.platform_files import Platform
from noren_server.policies.evidence_file import EvidenceFile
from noren_server.rights.provision_records import ProvisionRecords

DATABASE_NAME = "incidents.db"
_SALT_BYTES = 32

_SCHEMA = """
CREATE TABLE incidents (
    incident TEXT PRIMARY KEY,
    class TEXT NOT NULL,
    state TEXT NOT NULL,
    detected_at INTEGER NOT NULL,
    scope BLOB NOT NULL,
    salt BLOB NOT NULL
) STRICT;
CREATE TABLE notices (
    incident TEXT NOT NULL REFERENCES incidents (incident),
    student TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (incident, student)
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_of_student ON notices (student);
"""

_TEXTS = {
    Locale.EN: (
        "Something went wrong with data about you (incident {incident}, {kind}). It concerns what was "
        "provided {company} for the purpose {purpose}. What was provided of you stands in your report. You "
        "can ask, contest, withdraw and have data erased; nothing of that has a disadvantage for you."
    ),
    Locale.JA: (
        "あなたに関するデータについて事故が発生しました（{incident}、{kind}）。{company}に対する、"
        "目的「{purpose}」での提供に関するものです。提供の内容は報告書でご確認いただけます。"
        "お問い合わせ、異議申立て、同意の撤回、消去請求ができ、これにより不利益を受けることはありません。"
    ),
}
_EVERY_COMPANY = {Locale.EN: "to companies", Locale.JA: "参加企業"}
_TO_COMPANY = {Locale.EN: "to {company}", Locale.JA: "{company}"}
_EVERY_PURPOSE = {Locale.EN: "of any kind", Locale.JA: "すべて"}


@dataclass(frozen=True, slots=True)
class AffectedScope:
    """Which provisions an incident is about; what is left out is not restricted. Times in Unix seconds."""

    company: str = ""
    purpose: str = ""
    since: int = 0
    until: int = MAX_SECONDS

    def verify(self) -> None:
        """Raise DataError for a company, purpose or time that there cannot be."""
        check_seconds(self.since, "incident: since")
        check_integer(self.until, self.since, MAX_SECONDS, "incident: until")
        if self.company:
            parse_name(self.company, "incident: company")
        if self.purpose:
            parse_purpose(self.purpose, "incident: purpose")


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident and how far it is."""

    incident: str
    kind: IncidentClass
    state: IncidentState
    detected_at: int
    scope: AffectedScope


class IncidentDesk:
    """The incidents of one platform."""

    def __init__(
        self,
        path: Path,
        ledger: LedgerService,
        provisions: ProvisionRecords,
        *,
        clock: Callable[[], int],
    ) -> None:
        self._file = EvidenceFile(path, schema=_SCHEMA, version=1)
        self._ledger = ledger
        self._provisions = provisions
        self._clock = clock

    def close_file(self) -> None:
        """Release the file."""
        self._file.close()

    def detect(self, incident: str, kind: IncidentClass, scope: AffectedScope) -> Incident:
        """Begin an incident; LocalProtocolError if there is one of that name."""
        parse_name(incident, "incident")
        scope.verify()
        self._say_what_is_left()
        with self._file.writing() as database:
            if database.execute("SELECT 1 FROM incidents WHERE incident = ?", (incident,)).fetchone():
                raise LocalProtocolError("incident: expected a new name, got one that is taken")
            row = (
                incident,
                kind.value,
                IncidentState.DETECTED.value,
                self._clock(),
                canonical_json.encode(asdict(scope)),
                secrets.token_bytes(_SALT_BYTES),
            )
            database.execute("INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?)", row)
        self._say_what_is_left()
        return self.incident(incident)

    def advance(self, incident: str, state: IncidentState) -> Incident:
        """Take the next step; NOTIFIED writes the notices, CLOSED checks them.

        NOTIFIED may be said again: whoever is affected and was not told yet is told then.

        Raises:
            LocalProtocolError: if it is not the next step.
            DataError: with code INCIDENT_NOTICE_INCOMPLETE, if others were told than are affected.
        """
        self._say_what_is_left()
        with self._file.writing() as database:
            known = self.incident(incident)
            if (known.state, state) != (IncidentState.NOTIFIED, IncidentState.NOTIFIED):
                next_state(known.state, state)
            affected = self.affected(known)
            if state is IncidentState.NOTIFIED:
                now = self._clock()
                database.executemany(
                    "INSERT OR IGNORE INTO notices VALUES (?, ?, ?)",
                    [(incident, student, now) for student in sorted(affected)],
                )
            if state in (IncidentState.NOTIFIED, IncidentState.CLOSED):
                verify_notices(affected=affected, notified=self.notified(incident))
            database.execute("UPDATE incidents SET state = ? WHERE incident = ?", (state.value, incident))
        self._say_what_is_left()
        return self.incident(incident)

    def has_open(self) -> bool:
        """Whether any incident is not closed: the service cannot be abolished before."""
        with self._file.reading() as database:
            query = "SELECT EXISTS (SELECT 1 FROM incidents WHERE state <> ?)"
            return bool(database.execute(query, (IncidentState.CLOSED.value,)).fetchone()[0])

    def incidents(self) -> list[Incident]:
        """Every incident, the newest first."""
        with self._file.reading() as database:
            query = "SELECT incident FROM incidents ORDER BY detected_at DESC, incident"
            return [self.incident(name) for (name,) in database.execute(query).fetchall()]

    def incident(self, incident: str) -> Incident:
        """The incident of that name; LocalProtocolError if there is none."""
        with self._file.reading() as database:
            row = database.execute(
                "SELECT incident, class, state, detected_at, scope FROM incidents WHERE incident = ?",
                (incident,),
            ).fetchone()
        if row is None:
            raise LocalProtocolError("incident: expected the name of one, got another")
        name, kind, state, detected_at, scope = row
        return Incident(
            name,
            IncidentClass(kind),
            IncidentState(state),
            detected_at,
            AffectedScope(**canonical_json.parse_object(scope)),
        )

    def affected(self, incident: Incident) -> frozenset[str]:
        """Everybody of whom something in the scope was provided."""
        scope = incident.scope
        purpose = Purpose(scope.purpose) if scope.purpose else None
        return self._provisions.students(
            company=scope.company, purpose=purpose, since=scope.since, until=scope.until
        )

    def notified(self, incident: str) -> frozenset[str]:
        """Everybody for whom a notice was written."""
        with self._file.reading() as database:
            rows = database.execute("SELECT student FROM notices WHERE incident = ?", (incident,))
            return frozenset(row[0] for row in rows)

    def notices(self, student: str, locale: Locale) -> list[dict[str, Any]]:
        """What a student is told: one text for each incident that affects her."""
        with self._file.reading() as database:
            rows = database.execute(
                "SELECT incident, at FROM notices WHERE student = ? ORDER BY at, incident", (student,)
            ).fetchall()
        return [{"incident": name, "at": at, "text": _text(self.incident(name), locale)} for name, at in rows]

    def report(self, incident: str) -> dict[str, Any]:
        """The draft for the authority: what, since when, and until when reports are due; exact numbers."""
        known = self.incident(incident)
        deadlines = report_deadlines(known.detected_at)
        return {
            "incident": known.incident,
            "class": known.kind.value,
            "state": known.state.value,
            "detected_at": known.detected_at,
            "scope": asdict(known.scope),
            "affected": len(self.affected(known)),
            "notified": len(self.notified(incident)),
            "prompt_report_due": deadlines.prompt,
            "full_report_due": deadlines.full,
        }

    def _say_what_is_left(self) -> None:
        """Bring the ledger up to date with the file, which is written first, also after a crash in between.

        Every use says what is left before it changes anything, so of each incident at most the last step is.
        """
        with self._file.writing() as database:
            rows = database.execute("SELECT incident, class, state, salt FROM incidents").fetchall()
            said = {
                (stored.entry.body["incident"], stored.entry.body["state"])
                for stored in self._ledger.store.entries(kind=EntryKind.INCIDENT)
            }
            for incident, kind, state, salt in sorted(rows):
                if (incident, state) not in said:
                    self._say(incident, IncidentClass(kind), IncidentState(state), salt)

    def _say(self, incident: str, kind: IncidentClass, state: IncidentState, salt: bytes) -> None:
        """In the ledger, with a salted hash of the report as it is now."""
        report = canonical_json.encode(self.report(incident))
        self._ledger.append_platform_entry(
            EntryKind.INCIDENT,
            {
                "incident": incident,
                "class": kind.value,
                "state": state.value,
                "at": self._clock(),
                "report_sha256": hashlib.sha256(b"noren/v1/incident\0" + salt + report).hexdigest(),
            },
        )


@contextmanager
def incident_desk(platform: Platform, *, clock: Callable[[], int]) -> Iterator[IncidentDesk]:
    """The incidents of an opened platform."""
    with closing(ProvisionRecords.open(platform.directory)) as provisions:
        desk = IncidentDesk(platform.directory / DATABASE_NAME, platform.ledger, provisions, clock=clock)
        try:
            yield desk
        finally:
            desk.close_file()


def _text(incident: Incident, locale: Locale) -> str:
    company = incident.scope.company
    return _TEXTS[locale].format(
        incident=incident.incident,
        kind=incident.kind.value,
        company=_TO_COMPANY[locale].format(company=company) if company else _EVERY_COMPANY[locale],
        purpose=incident.scope.purpose or _EVERY_PURPOSE[locale],
    )

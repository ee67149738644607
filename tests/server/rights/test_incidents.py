from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import IdentifierKind
from noren_core.ledger.entries import EntryKind, IncidentState
from noren_core.rights.consent.permit import Permit
from noren_core.rights.locales import Locale
from noren_core.rights.purposes import Purpose
from noren_core.rights.service.incident import IncidentClass
from noren_server.consents.consent_book import ConsentedStudent
from noren_server.consents.consent_service import Provision
from noren_server.platform_files import Platform, initialise
from noren_server.rights.incidents import AffectedScope, IncidentDesk
from noren_server.rights.provision_records import KEPT_SECONDS, ProvisionRecords

NOW = 1_800_000_000


def provision(
    student: str, company: str = "akane", purpose: Purpose = Purpose.SCORE, at: int = NOW
) -> Provision:
    permit = Permit(
        jti=secrets.token_bytes(16),
        audience=company,
        mailbox=secrets.token_bytes(16),
        purpose=purpose,
        position="engineer",
        consent_seq=7,
        epoch=0,
        issued_at=at,
        expires_at=at + 60,
    )
    consented = ConsentedStudent(
        student, "engineer", IdentifierKind.CONSENT_CODE, "code", bytes(32), bytes(16), bytes(16), 7
    )
    return Provision(permit, consented, "spring", "2027", at)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return initialise(tmp_path / "platform", name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4))


@pytest.fixture
def records(platform: Platform) -> Iterator[ProvisionRecords]:
    with closing(ProvisionRecords.open(platform.directory)) as opened:
        yield opened


@pytest.fixture
def desk(platform: Platform, records: ProvisionRecords) -> Iterator[IncidentDesk]:
    made = IncidentDesk(platform.directory / "incidents.db", platform.ledger, records, clock=lambda: NOW)
    yield made
    made.close_file()


def test_exactly_the_affected_are_told(
    platform: Platform, records: ProvisionRecords, desk: IncidentDesk
) -> None:
    """R-INC-1: those who are told are those of whom something in the scope was provided."""
    records.write([provision("s1"), provision("s2"), provision("s3", company="midori")])
    records.write([provision("s4", purpose=Purpose.TRAIN), provision("s5", at=NOW - 100)])
    scope = AffectedScope(company="akane", purpose=Purpose.SCORE.value, since=NOW - 10, until=NOW)
    desk.detect("i-1", IncidentClass.CONSENT_DEFECT, scope)
    for state in (IncidentState.CONTAINED, IncidentState.ASSESSED, IncidentState.NOTIFIED):
        desk.advance("i-1", state)
    assert desk.notified("i-1") == {"s1", "s2"}
    assert [bool(desk.notices(name, Locale.JA)) for name in ("s1", "s2", "s3", "s4", "s5")] == [
        *(True, True, False, False, False)
    ]
    desk.advance("i-1", IncidentState.CLOSED)
    stated = platform.ledger_store.entries(kind=EntryKind.INCIDENT)
    assert [entry.entry.body["state"] for entry in stated] == [state.value for state in IncidentState]
    assert "s1" not in str([entry.entry.body for entry in stated])


def test_an_incident_is_not_closed_while_somebody_was_not_told(
    records: ProvisionRecords, desk: IncidentDesk
) -> None:
    """R-INC-1: a provision that is found after the notices keeps the incident open."""
    records.write([provision("s1")])
    desk.detect("i-1", IncidentClass.LEAK, AffectedScope())
    for state in (IncidentState.CONTAINED, IncidentState.ASSESSED, IncidentState.NOTIFIED):
        desk.advance("i-1", state)
    records.write([provision("s2")])
    with pytest.raises(DataError) as refused:
        desk.advance("i-1", IncidentState.CLOSED)
    assert refused.value.code == "INCIDENT_NOTICE_INCOMPLETE"
    assert desk.incident("i-1").state is IncidentState.NOTIFIED


def test_whoever_turns_out_to_be_affected_later_is_told_too(
    platform: Platform, records: ProvisionRecords, desk: IncidentDesk
) -> None:
    """R-INC-1: the notices are completed, nobody is told twice, and then the incident can be closed."""
    records.write([provision("s1")])
    desk.detect("i-1", IncidentClass.LEAK, AffectedScope())
    for state in (IncidentState.CONTAINED, IncidentState.ASSESSED, IncidentState.NOTIFIED):
        desk.advance("i-1", state)
    records.write([provision("s2")])
    desk.advance("i-1", IncidentState.NOTIFIED)
    assert desk.notified("i-1") == {"s1", "s2"}
    assert len(desk.notices("s1", Locale.EN)) == 1
    assert desk.has_open()
    desk.advance("i-1", IncidentState.CLOSED)
    assert not desk.has_open()
    stated = platform.ledger_store.entries(kind=EntryKind.INCIDENT)
    assert [entry.entry.body["state"] for entry in stated] == [state.value for state in IncidentState]


@pytest.mark.parametrize("is_said", [True, False])
def test_the_ledger_tells_each_step_once_whatever_broke_off(
    platform: Platform, records: ProvisionRecords, desk: IncidentDesk, is_said: bool
) -> None:
    """R-INC-1: before or after the ledger has it; an auditor would take a step twice for another history."""
    append = platform.ledger.append_platform_entry

    def crash(*arguments: Any) -> int:
        if is_said:
            append(*arguments)
        raise RuntimeError("crash")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platform.ledger, "append_platform_entry", crash)
        with pytest.raises(RuntimeError):
            desk.detect("i-1", IncidentClass.LEAK, AffectedScope())
    desk.advance("i-1", IncidentState.CONTAINED)
    stated = platform.ledger_store.entries(kind=EntryKind.INCIDENT)
    assert [entry.entry.body["state"] for entry in stated] == ["detected", "contained"]


def test_no_step_is_left_out(desk: IncidentDesk) -> None:
    """Who is notified is not decided before the incident was contained and assessed."""
    desk.detect("i-1", IncidentClass.LEAK, AffectedScope())
    with pytest.raises(LocalProtocolError):
        desk.advance("i-1", IncidentState.NOTIFIED)


@pytest.mark.parametrize(
    "scope",
    [
        AffectedScope(purpose="selection.pass_fail"),
        AffectedScope(company="A b"),
        AffectedScope(since=NOW, until=NOW - 1),
        AffectedScope(since=-1),
        AffectedScope(until=1 << 60),
    ],
)
def test_a_scope_that_cannot_be_is_refused(desk: IncidentDesk, scope: AffectedScope) -> None:
    """A scope names a company, a permitted purpose and a time, or leaves them out; none is empty by error."""
    with pytest.raises(DataError):
        desk.detect("i-1", IncidentClass.LEAK, scope)


def test_notices_speak_both_languages_and_say_what_it_is_about(
    records: ProvisionRecords, desk: IncidentDesk
) -> None:
    """A student reads which company and purpose it concerns, in Japanese or English."""
    records.write([provision("s1")])
    desk.detect("i-1", IncidentClass.LEAK, AffectedScope(company="akane"))
    for state in (IncidentState.CONTAINED, IncidentState.ASSESSED, IncidentState.NOTIFIED):
        desk.advance("i-1", state)
    for locale in Locale:
        [notice] = desk.notices("s1", locale)
        assert "akane" in notice["text"]
    assert desk.notices("s1", Locale.JA) != desk.notices("s1", Locale.EN)


def test_the_report_states_the_deadlines_and_exact_numbers(
    records: ProvisionRecords, desk: IncidentDesk
) -> None:
    """Five and thirty days after detection, and how many are affected: for the authority's eyes."""
    records.write([provision("s1"), provision("s2")])
    desk.detect("i-1", IncidentClass.LEAK, AffectedScope())
    report = desk.report("i-1")
    assert (report["affected"], report["notified"]) == (2, 0)
    assert (report["prompt_report_due"], report["full_report_due"]) == (NOW + 5 * 86_400, NOW + 30 * 86_400)


def test_provisions_are_never_changed_and_kept_for_three_years(records: ProvisionRecords) -> None:
    """R-PRV-1: one permit leads to one record; nothing changes it; it goes after its term, not before."""
    once = provision("s1")
    records.write([once])
    with pytest.raises(Exception, match="UNIQUE"):
        records.write([provision("s2"), once])
    assert [item.student for item in records.records()] == ["s1"]
    assert not records.expire(now=NOW + KEPT_SECONDS)
    assert records.expire(now=NOW + KEPT_SECONDS + 1)
    assert list(records.records()) == []

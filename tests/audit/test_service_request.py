"""What an auditor signs about the state of the service, and over which coverage she does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from coverage_figures import figures, with_class

from noren_audit.service.state_request import signed_request, verify_reports_clear
from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.entries import ServiceScope, ServiceStatus
from noren_core.rights.coverage.coverage_report import make_report, parse_report
from noren_core.rights.service.service_state import open_request


def test_the_request_says_what_was_asked_for_by_whom() -> None:
    """Scope, name, state, reason and time, under the auditor's key; a changed byte and nobody signed it."""
    key = SigningKey.generate()
    data = signed_request(
        scope="company", name="akane", state=ServiceStatus.SUSPENDED, reason="DRILL", at=7, key=key
    )
    asked = open_request(data, evidence_sha256="00" * 32)
    assert asked.key == key.public_key
    change = asked.change
    assert (change.scope, change.name, change.state) == (
        ServiceScope.COMPANY,
        "akane",
        ServiceStatus.SUSPENDED,
    )
    assert (change.reason, change.at) == ("DRILL", 7)
    with pytest.raises((DataError, VerificationError)):
        open_request(data.replace(b"akane", b"alane"), evidence_sha256="00" * 32)


def test_only_clear_reports_let_the_service_resume(tmp_path: Path) -> None:
    """Each of them: one that blocks is enough not to sign, and one that was changed is no report."""
    clear, blocked, changed = (tmp_path / name for name in ("clear", "blocked", "changed"))
    clear.write_bytes(make_report(figures()))
    blocked.write_bytes(make_report(with_class("E6", 3)))
    changed.write_bytes(clear.read_bytes().replace(b'"clear"', b'"blocked"'))
    assert verify_reports_clear([]) == ()
    assert verify_reports_clear([clear]) == (parse_report(clear.read_bytes()).sha256,)
    with pytest.raises(LocalProtocolError, match="WOULD_PROCESS_WITHOUT_VALID") as refused:
        verify_reports_clear([clear, blocked])
    assert (refused.value.code, refused.value.exit_code) == ("RESUME_CONDITIONS_UNMET", 7)
    with pytest.raises(VerificationError):
        verify_reports_clear([changed])

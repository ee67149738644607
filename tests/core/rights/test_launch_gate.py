"""Processing begins only with an attested, fresh and clear report, and every obstacle is named."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from coverage_figures import AS_OF, figures, with_class

from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError
from noren_core.rights.coverage.coverage_report import JudgedBy, attest, make_report, parse_report
from noren_core.rights.coverage.launch_gate import (
    MAX_AGE_SECONDS,
    LaunchFacts,
    launch_obstacles,
    verify_clear,
)

AUDITOR = SigningKey.generate()
REPORT = parse_report(make_report(figures()))
FACTS = LaunchFacts(
    campaign="spring-2026",
    report=REPORT,
    attestation=attest(REPORT, AUDITOR),
    auditors=frozenset({AUDITOR.public_key.hex()}),
    judged_by=REPORT.judged_by,
)


def of(**changes: object) -> LaunchFacts:
    """The facts with another report, attested."""
    report = parse_report(make_report(figures(**changes)))
    return replace(FACTS, report=report, attestation=attest(report, AUDITOR))


def test_a_clear_attested_and_fresh_report_lets_processing_begin() -> None:
    """Up to a day after its time, and not a second longer."""
    verify_clear(FACTS, now=AS_OF)
    verify_clear(FACTS, now=AS_OF + MAX_AGE_SECONDS)
    assert launch_obstacles(FACTS, now=AS_OF + MAX_AGE_SECONDS + 1) == ("STALE",)
    assert launch_obstacles(FACTS, now=AS_OF - 1) == ("STALE",)


@pytest.mark.parametrize("changed", [field.name for field in fields(JudgedBy)])
def test_any_change_of_what_it_was_judged_by_makes_it_stale(changed: str) -> None:
    """Policy, screens, recipients, flows, build: each by itself."""
    now = replace(FACTS.judged_by, **{changed: "ee" * 32})
    assert launch_obstacles(replace(FACTS, judged_by=now), now=AS_OF) == ("STALE",)


def test_no_report_is_an_obstacle() -> None:
    """Also where an attestation is left of one that is gone."""
    assert launch_obstacles(replace(FACTS, report=None), now=AS_OF) == ("NO_REPORT",)


def test_only_a_trusted_auditors_signature_over_this_report_counts() -> None:
    """None, another auditor's, another report's, a forged one: not attested."""
    other = attest(parse_report(make_report(figures(41))), AUDITOR)
    assert FACTS.attestation is not None
    for said in (
        None,
        attest(REPORT, SigningKey.generate()),
        other,
        replace(FACTS.attestation, attestation=bytes(64)),
        replace(other, report_sha256=REPORT.sha256),
    ):
        assert launch_obstacles(replace(FACTS, attestation=said), now=AS_OF) == ("NOT_ATTESTED",)
    assert launch_obstacles(replace(FACTS, auditors=frozenset()), now=AS_OF) == ("NOT_ATTESTED",)


def test_a_replay_or_another_campaign_opens_nothing() -> None:
    """A report counts for its own campaign, from the platform's own data."""
    assert launch_obstacles(of(source="directory"), now=AS_OF) == ("NOT_FROM_PLATFORM",)
    assert launch_obstacles(of(campaign="autumn-2026"), now=AS_OF) == ("OTHER_CAMPAIGN",)


def test_every_obstacle_is_named_at_once() -> None:
    """The error has a code and all reasons, and no counts."""
    report = parse_report(make_report(with_class("E9", 7983) | {"phases": ["scoring"]}))
    blocked = replace(FACTS, report=report, attestation=None)
    with pytest.raises(LocalProtocolError) as refused:
        verify_clear(blocked, now=AS_OF + 2 * MAX_AGE_SECONDS)
    assert refused.value.code == "LAUNCH_BLOCKED_COVERAGE"
    for reason in (
        "WOULD_PROCESS_WITHOUT_VALID",
        "UNCLASSIFIED",
        "PARTIAL_PHASES",
        "NOT_ATTESTED",
        "STALE",
    ):
        assert reason in refused.value.message
    assert "7983" not in refused.value.message

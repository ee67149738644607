"""A report that does not add up is none, and its verdict cannot be written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from coverage_figures import AS_OF, figures, with_class

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.rights.coverage.coverage_report import (
    BlockReason,
    ReportState,
    attest,
    attestation_of_entry,
    make_report,
    parse_attestation,
    parse_report,
    verify_step,
)


def test_a_report_that_finds_nothing_is_clear() -> None:
    """No reason, verdict clear."""
    report = parse_report(make_report(figures()))
    assert (report.verdict, report.reasons) == ("clear", ())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"did_process_without_valid": 1}, BlockReason.UNCONSENTED_PROVISION),
        ({"screens": figures()["screens"] | {"unknown": 1}}, BlockReason.UNKNOWN_SCREENS),
        ({"journeys": figures()["journeys"] | {"dominated": False}}, BlockReason.UNDOMINATED_PATHS),
        ({"journeys": figures()["journeys"] | {"checked": False}}, BlockReason.JOURNEYS_MISSING),
        ({"controls": figures()["controls"][1:]}, BlockReason.CONTROLS_MISSING),
        ({"controls": []}, BlockReason.CONTROLS_MISSING),
        ({"phases": ["scoring"]}, BlockReason.PARTIAL),
        (
            {"reconciliation": figures()["reconciliation"] | {"provisions_without_permit": 1}},
            BlockReason.UNRECONCILED,
        ),
    ],
)
def test_each_finding_blocks_by_itself(changes: dict[str, Any], reason: BlockReason) -> None:
    """One finding is one reason, and enough."""
    report = parse_report(make_report(figures(**changes)))
    assert (report.verdict, report.reasons) == ("blocked", (reason,))


@pytest.mark.parametrize("name", [f"E{number}" for number in range(2, 10)])
def test_one_person_of_any_other_class_blocks(name: str) -> None:
    """A single one without valid consent; whoever cannot be judged is named besides."""
    report = parse_report(make_report(with_class(name, 1)))
    expected = [BlockReason.UNCONSENTED_PROCESSING] + [BlockReason.UNCLASSIFIED] * (name == "E9")
    assert list(report.reasons) == expected


@pytest.mark.parametrize("number", range(8))
def test_an_imperfect_control_blocks(number: int) -> None:
    """A control that was processed and should not, or was not and should, or was not recognised."""
    for change in ({"processed": 1}, {"recognised": 1}):
        controls = [dict(item) for item in figures()["controls"]]
        controls[number] |= change
        report = parse_report(make_report(figures(controls=controls)))
        assert report.reasons == (BlockReason.CONTROLS_IMPERFECT,)


@pytest.mark.parametrize(
    "changes",
    [
        {"population": {"uses": 41, "students": 40, "left_out": 0}},
        {"population": {"uses": 40, "students": 41, "left_out": 0}},
        {"would_process_without_valid": 1},
        {"students_without_valid": 1},
        {"cells": []},
        {"cohorts": []},
        {"classes": figures()["classes"] | {"E1": 39}},
    ],
)
def test_a_report_that_does_not_add_up_is_refused(changes: dict[str, Any]) -> None:
    """It is not made in the first place."""
    with pytest.raises(VerificationError) as refused:
        make_report(figures(**changes))
    assert refused.value.code == "COVERAGE_SUMS"


def test_a_verdict_that_does_not_follow_is_refused() -> None:
    """Whoever writes clear over a finding has no report."""
    body = canonical_json.parse(make_report(with_class("E4", 7983)))
    for changes in ({"verdict": "clear"}, {"reasons": []}, {"verdict": "clear", "reasons": []}):
        with pytest.raises(VerificationError) as refused:
            parse_report(canonical_json.encode(body | changes))
        assert refused.value.code == "COVERAGE_VERDICT"


def test_a_report_is_about_a_time_that_had_come() -> None:
    """About a later one it would count for longer than a day after anybody looked."""
    make_report(figures(computed_at=AS_OF + 1))
    with pytest.raises(DataError):
        make_report(figures(computed_at=AS_OF - 1))


def test_a_report_has_exactly_its_fields() -> None:
    """One more, one less or one of another type: no report."""
    body = canonical_json.parse(make_report(figures()))
    for other in (
        body | {"more": 1},
        {name: value for name, value in body.items() if name != "answers"},
        body | {"as_of": "now"},
        body | {"classes": {"E1": 40}},
        body | {"format": "noren/v2/coverage-report"},
    ):
        with pytest.raises(DataError):
            parse_report(canonical_json.encode(other))


def test_states_follow_each_other() -> None:
    """DRAFT, COMPUTED, REVIEWED, ATTESTED; STALE from each but the first; nothing else."""
    allowed = {
        ("DRAFT", "COMPUTED"),
        ("COMPUTED", "REVIEWED"),
        ("REVIEWED", "ATTESTED"),
        ("COMPUTED", "STALE"),
        ("REVIEWED", "STALE"),
        ("ATTESTED", "STALE"),
    }
    for old in ReportState:
        for new in ReportState:
            if (old, new) in allowed:
                verify_step(old, new)
            else:
                with pytest.raises(LocalProtocolError):
                    verify_step(old, new)


def test_an_attestation_travels_as_file_and_as_entry() -> None:
    """The same words and the same signature; the ledger takes them."""
    key = SigningKey.generate()
    said = attest(parse_report(make_report(figures())), key)
    again = parse_attestation(said.to_bytes())
    again.verify()
    assert again == said == attestation_of_entry(said.to_entry_body())
    sign_entry(EntryKind.COVERAGE, "platform", said.to_entry_body(), SigningKey.generate())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("campaign", "autumn-2026"),
        ("report_sha256", "ff" * 32),
        ("as_of", 1),
        ("policy_sha256", "ff" * 32),
        ("screens_sha256", "ff" * 32),
        ("verdict", "clear"),
    ],
)
def test_an_attestation_is_over_every_field(field: str, value: object) -> None:
    """Whatever is changed, the signature is of something else."""
    said = attest(parse_report(make_report(with_class("E4", 1))), SigningKey.generate())
    forged = attestation_of_entry(said.to_entry_body() | {field: value})
    with pytest.raises(VerificationError):
        forged.verify()

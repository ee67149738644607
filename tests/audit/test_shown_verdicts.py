"""Verdicts of replays beside a ledger: only those of a trusted auditor about this ledger count."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from noren_audit.replay.replay import Agreement, ReplayCode, ReplayFinding, ReplayResult
from noren_audit.replay.replay_verdict import ReplaySubject, sign_verdict
from noren_audit.verification.findings import Code
from noren_audit.verification.shown_verdicts import read_verdicts
from noren_audit.verification.trust import BadTrustFileError, load_trust
from noren_audit.verification.verify import Verdict, verify_bundle
from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.season.plan import CampaignPlan

if TYPE_CHECKING:
    from conftest import SeasonLedger

AUDITOR = SigningKey.from_bytes(hashlib.sha256(b"auditor").digest())  # who attested coverage, too
SOUND = ReplayResult((), 3, Agreement.EXACT, 0)


@pytest.fixture
def judge(honest: SeasonLedger, tmp_path: Path) -> Callable[..., Verdict]:
    """The verdict over the honest season with these verdicts shown."""
    bundle = honest.write(tmp_path / "bundle")

    def run(*verdicts: bytes) -> Verdict:
        trust = tmp_path / "trust.toml"
        trust.write_text(honest.trust_text(f'auditor_keys = ["{AUDITOR.public_key.hex()}"]'))
        return verify_bundle(bundle, load_trust(trust), verdicts=verdicts)

    return run


@pytest.fixture
def subject(honest: SeasonLedger, judge: Callable[..., Verdict]) -> ReplaySubject:
    """Alpha's part of the autumn in this ledger."""
    checkpoint = judge().checkpoint
    assert checkpoint is not None
    plan = CampaignPlan.from_body(honest.find("plan", campaign="autumn").body)
    return ReplaySubject(
        campaign="autumn",
        company="alpha",
        plan_sha256=plan.digest().hex(),
        checkpoint=checkpoint,
        sentinels_ok=True,
    )


def signed(subject: ReplaySubject, result: ReplayResult = SOUND, key: SigningKey = AUDITOR) -> bytes:
    return sign_verdict(subject, result, key, tool_version="1")


def test_a_replay_is_shown(judge: Callable[..., Verdict], subject: ReplaySubject) -> None:
    """What an auditor of the trust file signed stands in the verdict."""
    verdict = judge(signed(subject), signed(replace(subject, company="beta")))
    assert verdict.is_verified
    assert [(item.company, item.is_replayed, item.rounds) for item in verdict.replays] == [
        ("alpha", True, 3),
        ("beta", True, 3),
    ]
    assert {item.auditor for item in verdict.replays} == {AUDITOR.public_key.hex()}


def test_a_failed_replay_is_a_finding(judge: Callable[..., Verdict], subject: ReplaySubject) -> None:
    """The auditor could not compute again what the company had settled."""
    found = (ReplayFinding(ReplayCode.UPDATE_NOT_RECOMPUTED, 2),)
    verdict = judge(signed(subject, replace(SOUND, findings=found, agreement=Agreement.NONE)))
    (finding,) = verdict.findings
    assert finding.code is Code.REPLAY_FAILED
    assert finding.evidence["company"] == "alpha"
    assert finding.evidence["found"] == ["UPDATE_NOT_RECOMPUTED"]
    assert [item.is_replayed for item in verdict.replays] == [False]


def test_a_replay_in_part_accuses_nobody_and_does_not_count_as_whole(
    judge: Callable[..., Verdict], subject: ReplaySubject
) -> None:
    """Rows were erased since: no finding, and shown as what it is."""
    verdict = judge(signed(subject, replace(SOUND, is_partial=True, rounds=1)))
    assert verdict.is_verified
    (item,) = verdict.replays
    assert (item.is_replayed, item.rows_erased, item.rounds) == (False, True, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"campaign": "winter"},
        {"company": "omega"},
        {"plan_sha256": "00" * 32},
        {"origin": "elsewhere.example/ledger"},
        {"size": 10**6},
        {"root": bytes(32)},
        {"size": 12},
    ],
)
def test_a_verdict_about_something_else_shows_nothing(
    change: dict[str, Any], judge: Callable[..., Verdict], subject: ReplaySubject
) -> None:
    """Another campaign, company, plan or ledger: a finding, and nothing is shown."""
    known = subject.checkpoint
    checkpoint = Checkpoint(
        change.get("origin", known.origin), change.get("size", known.size), change.get("root", known.root)
    )
    names = {name: value for name, value in change.items() if name not in ("origin", "size", "root")}
    verdict = judge(signed(replace(subject, checkpoint=checkpoint, **names)))
    assert [finding.code for finding in verdict.findings] == [Code.VERDICT_UNUSABLE]
    assert verdict.replays == ()


def test_a_verdict_that_nobody_trusted_signed_shows_nothing(
    judge: Callable[..., Verdict], subject: ReplaySubject
) -> None:
    """A stranger's, a changed one and something else entirely are findings, and the others still count."""
    stranger = signed(subject, key=SigningKey.generate())
    changed = signed(subject).replace(b'"rounds_replayed":3', b'"rounds_replayed":2')
    verdict = judge(stranger, changed, b"{}", b"\xff", signed(subject))
    assert [(finding.code, finding.evidence["verdict"]) for finding in verdict.findings] == [
        (Code.VERDICT_UNUSABLE, number) for number in (1, 2, 3, 4)
    ]
    assert len(verdict.replays) == 1


def test_the_command_reads_a_directory(
    honest: SeasonLedger, subject: ReplaySubject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--verdicts DIR` shows them in words and in JSON."""
    from noren_audit.cli import main

    (tmp_path / "verdicts").mkdir()
    (tmp_path / "verdicts" / "alpha.json").write_bytes(signed(subject) + b"\n")
    (tmp_path / "trust.toml").write_text(honest.trust_text(f'auditor_keys = ["{AUDITOR.public_key.hex()}"]'))
    command = ["verify", str(tmp_path / "bundle"), "--trust", str(tmp_path / "trust.toml")]
    command += ["--verdicts", str(tmp_path / "verdicts")]
    assert main(command) == 0
    assert "autumn  alpha  replayed  3  0" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replays"] == [
        {
            "campaign": "autumn",
            "company": "alpha",
            "replayed": True,
            "rows_erased": False,
            "rounds": 3,
            "largest_difference": 0,
            "auditor": AUDITOR.public_key.hex(),
        }
    ]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A pipe, which never ends, and a directory are refused; an empty directory has no verdicts."""
    assert read_verdicts(tmp_path) == []
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="regular file"):
        read_verdicts(tmp_path)


@pytest.mark.parametrize("keys", ['"00"', '["00"]', "[7]", "[" + ", ".join([repr("00" * 32)] * 17) + "]"])
def test_malformed_auditor_keys_are_refused(keys: str, honest: SeasonLedger, tmp_path: Path) -> None:
    """They are a short list of hex keys."""
    (tmp_path / "trust.toml").write_text(honest.trust_text(f"auditor_keys = {keys}"))
    with pytest.raises(BadTrustFileError):
        load_trust(tmp_path / "trust.toml")

"""The commands around replay and sentinels: keys, verdicts, and what they say about a ledger."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from noren_audit.replay import auditor_key, replay_ledger, replay_verdict
from noren_audit.replay.replay import Agreement, ReplayCode, ReplayFinding, ReplayResult
from noren_audit.replay.replay_verdict import ReplaySubject
from noren_audit.verification import sentinel_report
from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import verify_bundle
from noren_core import canonical_json
from noren_core.errors import ConfigurationError, DataError
from noren_core.ledger.checkpoint import Checkpoint

if TYPE_CHECKING:
    from conftest import SeasonLedger

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """The command within this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        from noren_audit.cli import main

        exit_code = main([str(argument) for argument in arguments])
        return exit_code, *capsys.readouterr()

    return run


@pytest.fixture
def trust(honest: SeasonLedger, tmp_path: Path) -> Path:
    path = tmp_path / "trust.toml"
    path.write_text(honest.trust_text())
    return path


# The auditor's key


def test_a_key_is_for_its_owner_alone(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "key"
    exit_code, out, _ = invoke("key", "init", path, "--json")
    fields = json.loads(out)
    assert exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert auditor_key.load(path).public_key.hex() == fields["public_key"]
    assert path.read_text().strip() not in out


def test_a_key_is_never_replaced(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "key"
    invoke("key", "init", path)
    before = path.read_bytes()
    assert invoke("key", "init", path)[0] == 3
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"00" * 32, b"00" * 32 + b"\n\n", b"0g" * 32 + b"\n"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="key init"):
        auditor_key.load(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    auditor_key.create(path)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="0600"):
        auditor_key.load(path)
    with pytest.raises(ConfigurationError, match="readable"):
        auditor_key.load(tmp_path / "none")


# Verdicts


def verdict(key_path: Path, *findings: ReplayCode) -> bytes:
    subject = ReplaySubject(
        campaign="autumn",
        company="alpha",
        plan_sha256="11" * 32,
        checkpoint=Checkpoint("noren.example/ledger", 9, bytes(32)),
        sentinels_ok=True,
    )
    result = ReplayResult(tuple(ReplayFinding(code) for code in findings), 3, Agreement.EXACT, 0)
    return replay_verdict.sign_verdict(subject, result, auditor_key.load(key_path), tool_version="1")


def test_a_verdict_is_checked_by_its_signers_key(tmp_path: Path, invoke: Invoke) -> None:
    """0 if it says REPLAYED, 9 if it says NOT REPLAYED or is another's, 3 for a key that is none."""
    key, other, file = tmp_path / "key", tmp_path / "other", tmp_path / "verdict.json"
    public = auditor_key.create(key).public_key.hex()
    stranger = auditor_key.create(other).public_key.hex()
    file.write_bytes(verdict(key) + b"\n")
    exit_code, out, _ = invoke("verdict", file, "--key", public)
    assert (exit_code, out.splitlines()[0]) == (0, "verdict: REPLAYED")
    assert invoke("verdict", file, "--key", stranger)[0] == 9
    assert invoke("verdict", file, "--key", "00")[0] == 3
    file.write_bytes(verdict(key, ReplayCode.ROWS_NOT_COMMITTED))
    exit_code, out, _ = invoke("verdict", file, "--key", public, "--json")
    assert (exit_code, json.loads(out)["findings"]) == (9, ["ROWS_NOT_COMMITTED"])
    file.write_bytes(b"x" * (replay_verdict.MAX_VERDICT_BYTES + 1))
    assert invoke("verdict", file, "--key", public)[0] == 6


# Replay against a ledger


def shown(**changes: Any) -> bytes:
    """A small replay file."""
    return canonical_json.encode(
        {
            "format": "noren/v1/replay",
            "campaign": "autumn",
            "company": "alpha",
            "seed": "00" * 32,
            "row_salt": "00" * 32,
            "commitment_key": "00" * 32,
            "cohort": ["alpha", "beta", "delta", "gamma"],
            "dimensions": 4,
            "rows": [],
            "rounds": [],
            "rows_erased": False,
            **changes,
        }
    )


def replay(invoke: Invoke, tmp_path: Path, bundle: Path, trust: Path, data: bytes) -> tuple[int, str, str]:
    key, file = tmp_path / "key", tmp_path / "replay.json"
    if not key.exists():
        auditor_key.create(key)
    file.write_bytes(data)
    return invoke("replay", file, "--bundle", bundle, "--trust", trust, "--key", key)


def test_a_file_of_another_campaign_has_nothing_to_be_compared_with(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke
) -> None:
    bundle = honest.write(tmp_path / "bundle")
    exit_code, out, _ = replay(invoke, tmp_path, bundle, trust, shown(campaign="winter"))
    fields = json.loads(out)
    assert (exit_code, fields["findings"], fields["plan_sha256"]) == (9, ["OTHER_CAMPAIGN"], "")
    public = auditor_key.load(tmp_path / "key").public_key
    assert replay_verdict.parse_verdict(out.strip().encode(), public) == fields


def test_a_ledger_that_is_not_verified_is_a_finding(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke
) -> None:
    honest.drop(honest.find("agreement", company="alpha"))
    bundle = honest.write(tmp_path / "bundle")
    exit_code, out, err = replay(invoke, tmp_path, bundle, trust, shown())
    assert exit_code == 9
    found = json.loads(out)["findings"]
    assert {"LEDGER_NOT_VERIFIED", "SEED_NOT_COMMITTED", "ROUNDS_DIFFER"} <= set(found)
    assert set(err.split()) >= set(found)


def test_a_ledger_of_another_log_gets_no_verdict(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke
) -> None:
    bundle = honest.write(tmp_path / "bundle", log_keys=[honest.key("another log")])
    exit_code, out, err = replay(invoke, tmp_path, bundle, trust, shown())
    assert (exit_code, out) == (9, "")
    assert "NOT_VERIFIED" in err


def test_a_malformed_file_is_exit_6(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke
) -> None:
    bundle = honest.write(tmp_path / "bundle")
    assert replay(invoke, tmp_path, bundle, trust, b"{}")[0] == 6


def test_what_the_ledger_says_of_a_campaign(honest: SeasonLedger, trust: Path, tmp_path: Path) -> None:
    """Commitments, beacon, cohort and settles; delta dropped out of the second campaign and settled late."""
    bundle, believed = honest.write(tmp_path / "bundle"), load_trust(trust)
    checkpoint = verify_bundle(bundle, believed).checkpoint
    assert checkpoint is not None
    spring, autumn = (
        replay_ledger.campaign_facts(bundle, believed, name, root=checkpoint.root)
        for name in ("spring", "autumn")
    )
    assert spring is not None
    assert autumn is not None
    assert spring.cohort == frozenset({"alpha", "beta", "delta", "gamma"})
    assert spring.commitments.keys() == spring.cohort
    assert len(spring.settles) == 12
    assert None not in (spring.beacon, autumn.beacon)
    assert spring.beacon != autumn.beacon
    assert replay_ledger.campaign_facts(bundle, believed, "winter", root=checkpoint.root) is None
    with pytest.raises(DataError, match="changed meanwhile"):
        replay_ledger.campaign_facts(bundle, believed, "spring", root=bytes(32))


def test_the_cohorts_sums_are_stated_beside_the_verdict(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke
) -> None:
    """Too little noise in all is no finding against this company, of which nothing else is known."""
    for statement in honest.statements:
        if statement.kind == "settle" and statement.body["campaign"] == "autumn":
            statement.body["sentinels"] = [statement.body["round"]] * 8
    bundle = honest.write(tmp_path / "bundle")
    _, out, _ = replay(invoke, tmp_path, bundle, trust, shown())
    fields = json.loads(out)
    assert fields["sentinels_ok"] is False
    assert "LEDGER_NOT_VERIFIED" not in fields["findings"]


# Sentinels


def test_the_sentinels_of_an_honest_ledger_pass(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke
) -> None:
    bundle = honest.write(tmp_path / "bundle")
    exit_code, out, _ = invoke("sentinels", bundle, "--trust", trust)
    assert (exit_code, out.splitlines()[0]) == (0, "SENTINELS PASS")
    for words in ("autumn: passes; 24 sums", "0.5 of the planned one: 37", *sentinel_report.LIMITS):
        assert words in out


@pytest.mark.parametrize(
    ("sums", "fault"),
    [
        ([[0] * 8] * 3, "SENTINELS_TOO_SMALL"),
        ([[2**40 + place] * 8 for place in range(3)], "SENTINELS_TOO_LARGE"),
    ],
)
def test_wrong_sums_are_named(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke, sums: list[list[int]], fault: str
) -> None:
    for statement in honest.statements:
        if statement.kind == "settle" and statement.body["campaign"] == "autumn":
            statement.body["sentinels"] = sums[statement.body["round"] - 1]
    bundle = honest.write(tmp_path / "bundle")
    exit_code, out, _ = invoke("sentinels", bundle, "--trust", trust, "--json")
    autumn, spring = json.loads(out)["campaigns"]
    assert exit_code == 9
    assert fault in autumn["faults"]
    assert spring["faults"] == []


def test_one_noise_in_two_campaigns_is_named(
    honest: SeasonLedger, trust: Path, tmp_path: Path, invoke: Invoke
) -> None:
    first = honest.find("settle", campaign="autumn", round=1).body["sentinels"]
    for statement in honest.statements:
        if statement.kind == "settle" and (statement.body["campaign"], statement.body["round"]) == (
            "spring",
            1,
        ):
            statement.body["sentinels"] = first
    exit_code, out, _ = invoke("sentinels", honest.write(tmp_path / "bundle"), "--trust", trust, "--json")
    assert (exit_code, json.loads(out)["repeated"]) == (9, True)


def test_a_campaign_without_rounds_is_not_tested(
    opening: SeasonLedger, tmp_path: Path, invoke: Invoke
) -> None:
    opening.prepare(opening.plan("autumn"))
    trust = tmp_path / "trust.toml"
    trust.write_text(opening.trust_text())
    exit_code, out, _ = invoke("sentinels", opening.write(tmp_path / "bundle"), "--trust", trust, "--json")
    assert (exit_code, json.loads(out)["campaigns"][0]["tested"]) == (0, False)

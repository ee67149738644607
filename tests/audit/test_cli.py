"""`noren-audit` as an auditor runs it: one word, an exit code, reasons; without the parties' libraries."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from noren_audit.verification import budget, report
from noren_audit.verification.findings import Code
from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import NOT_CHECKED, verify_bundle
from noren_core.privacy import accounting

if TYPE_CHECKING:
    from conftest import SeasonLedger

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

RUN = "import sys; from noren_audit.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


BLOCKED = (
    "torch",
    "opacus",
    "flwr",
    "grpc",
    "google.protobuf",
    "sqlalchemy",
    "coincurve",
    "pyarrow",
    "duckdb",
)
RUN_BLOCKED = f"""
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in {BLOCKED!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
{RUN}
"""


def noren_audit(*arguments: str, script: str = RUN) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as its console script would start it."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command within this process."""

    def run(*arguments: str) -> Done:
        from noren_audit.cli import main

        exit_code = main(arguments)
        return Done(exit_code, *capsys.readouterr())

    return run


@pytest.fixture
def bundle(honest: SeasonLedger, tmp_path: Path) -> Path:
    return honest.write(tmp_path / "bundle")


@pytest.fixture
def trust(honest: SeasonLedger, tmp_path: Path) -> Path:
    path = tmp_path / "trust.toml"
    path.write_text(honest.trust_text())
    return path


def test_an_auditor_needs_none_of_the_parties_libraries(bundle: Path, trust: Path) -> None:
    """With torch, flwr, grpc and the others impossible to import, a season is VERIFIED, in plain text."""
    done = noren_audit("verify", str(bundle), "--trust", str(trust), script=RUN_BLOCKED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERIFIED\n")
    assert "\x1b" not in done.stdout
    assert "─" not in done.stdout
    for text in (*NOT_CHECKED, "epsilon", "delta", "alpha", "never added"):
        assert text in done.stdout


def test_a_changed_bundle_is_not_verified_and_says_why(
    bundle: Path, trust: Path, invoke: Callable[..., Done]
) -> None:
    """Exit 9, the words NOT VERIFIED, and the code and evidence of each defect."""
    (entries,) = (bundle / "tile" / "entries").rglob("*/*")
    entries.write_bytes(entries.read_bytes().replace(b'"declared_size":50', b'"declared_size":51', 1))
    done = invoke("verify", str(bundle), "--trust", str(trust))
    assert done.exit_code == 9
    assert done.stdout.startswith("NOT VERIFIED\n")
    for code in (Code.CHECKPOINT_ROOT, Code.COUNTERSIGNATURE):
        assert code in done.stdout


def test_a_row_and_an_answer_of_sums_are_told_apart(
    with_sums: SeasonLedger, tmp_path: Path, invoke: Callable[..., Done]
) -> None:
    """On the terminal and for machines, each campaign says what a student's row loses by."""
    (tmp_path / "trust.toml").write_text(with_sums.trust_text())
    bundle, trust = with_sums.write(tmp_path / "bundle"), tmp_path / "trust.toml"
    said = invoke("verify", str(bundle), "--trust", str(trust)).stdout
    assert "  autumn  one row  7.9" in said
    assert "  winter  one answer of sums  7.9" in said
    fields = json.loads(invoke("verify", str(bundle), "--trust", str(trust), "--json").stdout)
    assert [item["mode"] for item in fields["rows"]] == ["noised-rows", "sealed-statistics"]


def test_json_is_for_machines(bundle: Path, trust: Path, invoke: Callable[..., Done]) -> None:
    """--json prints one object with everything; epsilons are decimal strings."""
    done = invoke("verify", str(bundle), "--trust", str(trust), "--json")
    assert done.exit_code == 0
    fields = json.loads(done.stdout)
    assert (fields["success"], fields["verdict"]) == (True, "VERIFIED")
    assert fields["findings"] == []
    assert fields["not_checked"] == list(NOT_CHECKED)
    assert fields["worst_rounds_epsilon"] == max(item["epsilon"] for item in fields["rounds"])
    assert [item["limit"] for item in fields["rows"]] == ["8", "8"]
    (bundle / "checkpoint").write_bytes(b"")
    done = invoke("--json", "verify", str(bundle), "--trust", str(trust))
    assert done.exit_code == 9
    fields = json.loads(done.stdout)
    assert (fields["success"], fields["verdict"], fields["checkpoint"]) == (False, "NOT VERIFIED", None)
    assert fields["findings"][0]["code"] == "CHECKPOINT_INVALID"


def test_a_bad_trust_file_is_another_exit_code(
    bundle: Path, trust: Path, invoke: Callable[..., Done]
) -> None:
    """Exit 3 with code, cause and fix, on stderr for a person and on stdout for a machine."""
    trust.write_text("")
    done = invoke("verify", str(bundle), "--trust", str(trust))
    assert (done.exit_code, done.stdout) == (3, "")
    assert all(word in done.stderr for word in ("BAD_TRUST_FILE", "expected the fields", "Fix:"))
    done = invoke("verify", str(bundle), "--trust", str(trust), "--json")
    assert done.exit_code == 3
    fields = json.loads(done.stdout)
    assert (fields["success"], fields["code"]) == (False, "BAD_TRUST_FILE")


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "/no/such/bundle", "--trust", "x"], ["judge"]])
def test_wrong_usage_is_exit_2(arguments: list[str], invoke: Callable[..., Done]) -> None:
    """A missing argument, a bundle that is no directory and an unknown command are usage errors."""
    assert invoke(*arguments).exit_code == 2


def test_help_comes_at_once() -> None:
    """`noren-audit verify --help` takes at most 0.4 s of CPU (best of three): nothing heavy is imported."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = noren_audit("verify", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) <= 0.4


def test_a_terminal_gets_tables(bundle: Path, trust: Path) -> None:
    """On a terminal the same facts come in boxes and colours."""
    console = Console(force_terminal=True, width=150, record=True, file=None)
    with console.capture() as capture:
        report.print_report(verify_bundle(bundle, load_trust(trust)), console)
    assert "VERIFIED" in capture.get()
    assert "\x1b[" in capture.get()
    assert "│ autumn" in capture.get()


def test_epsilon_is_never_rounded_down() -> None:
    """Four decimals, upwards; infinity stays a word."""
    assert [budget.rounded_up(value) for value in (1.0, 1.00001, 0.99995, float("inf"))] == [
        "1.0000",
        "1.0001",
        "1.0000",
        "inf",
    ]


def test_disagreeing_accountants_are_a_finding(
    bundle: Path, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the looser accountant reports less than the tighter one, neither is believed."""
    monkeypatch.setattr(accounting, "epsilon_rdp", lambda events, delta: 0.5)
    verdict = verify_bundle(bundle, load_trust(trust))
    assert {finding.code for finding in verdict.findings} == {Code.ACCOUNTANTS_DISAGREE}

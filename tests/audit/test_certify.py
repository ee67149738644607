"""Certification: the client passes, each of its mutants is caught, and nonsense is refused."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from noren_audit.certification import cases as certify_cases
from noren_audit.certification import certificate as certify_report
from noren_audit.certification import certify, mutants
from noren_audit.certification import client_process as certify_client
from noren_audit.certification.cases import CanaryClaim, exact_cases
from noren_audit.certification.certify import Certification
from noren_audit.certification.client_process import ClientCommands, MechanismClient
from noren_audit.certification.mutants import MUTANTS, Mutant
from noren_client import mechanism, mechanism_service
from noren_core.errors import ConfigurationError, DataError, RemoteProtocolError
from noren_core.privacy.noise_seed import NoiseSeed

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

LOOKS = (100, 400)
RUN_CLIENT = "import sys; from noren_client.cli import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def fixed_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeds that a certification draws: the same each time, so that a test that passes, passes always."""
    words = (hashlib.sha256(b"%d" % number).digest() for number in itertools.count())
    monkeypatch.setattr(certify_cases, "secrets", SimpleNamespace(token_bytes=lambda _length: next(words)))


class InProcess(MechanismClient):
    """The client's service without a process of its own."""

    def __init__(self, change: str = "") -> None:
        """`change`: a mutant's statements, in force while it answers and not while we compute."""
        self._change = change

    def _ask(self, request: bytes) -> bytes:
        replies = io.BytesIO()
        with mutated(self._change):
            mechanism_service.serve(Path("nowhere"), io.BytesIO(request + b"\n"), replies)
        return replies.getvalue()


@contextmanager
def mutated(change: str) -> Iterator[None]:
    """The client's modules after a mutant's statements, and as they were."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            *((mechanism, name) for name in ("sample", "clipped_gradient_sum", "noised_update")),
            (NoiseSeed, "round_stream"),
        ):
            patch.setattr(owner, name, getattr(owner, name))  # to be put back
        exec(change, {"mechanism": mechanism, "NoiseSeed": NoiseSeed})  # noqa: S102 (our own statements)
        yield


def examined(
    monkeypatch: pytest.MonkeyPatch, *, looks: tuple[int, ...] = (100,), client: str = ""
) -> Certification:
    """A certification of claim 8 in which every process is this one, changed; `client` changes the client."""

    @contextmanager
    def running(command: tuple[str, ...]) -> Iterator[MechanismClient]:
        yield InProcess(command[0])

    monkeypatch.setattr(certify, "running", running)
    commands = ClientCommands(service=(client,), interpreter=())
    monkeypatch.setattr(ClientCommands, "mutant", lambda _self, prelude: (_change(prelude),))
    return certify.certify(commands, (8,), looks=looks, progress=lambda _name: None)


def _change(prelude: str) -> str:
    return next(mutant.change for mutant in MUTANTS if mutant.prelude == prelude)


def test_the_client_passes_and_every_mutant_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """By both instruments, but for the one that leaks less than it may: only exact comparison sees it."""
    result = examined(monkeypatch, looks=LOOKS)
    assert result.is_certified
    assert result.client.exact.passes
    assert [curve.caught_at for curve in result.client.curves] == [None]
    assert len(result.mutants) == len(MUTANTS)
    for found in result.mutants:
        assert not found.exact.passes, found.name
        caught = [curve.caught_at for curve in found.curves]
        is_visible = found.mutant is not None and found.mutant.shift is not None
        assert (caught != [] and None not in caught) is is_visible, found.name


def test_a_client_that_is_a_mutant_is_not_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    halved = next(mutant for mutant in MUTANTS if mutant.name == "half the deviation")
    monkeypatch.setattr(certify, "MUTANTS", ())
    result = examined(monkeypatch, looks=LOOKS, client=halved.change)
    assert not result.is_certified
    assert not result.client.exact.passes
    assert result.client.curves[0].caught_at in LOOKS


def test_a_mutant_that_nobody_catches_is_no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a certification would show nothing about the client."""
    monkeypatch.setattr(certify, "MUTANTS", (Mutant("honest after all", "", shift=None),))
    monkeypatch.setattr(mutants, "MUTANTS", certify.MUTANTS)
    monkeypatch.setattr(sys.modules[__name__], "MUTANTS", certify.MUTANTS)
    result = examined(monkeypatch)
    assert not result.client.is_caught
    assert not result.is_certified


def test_the_report_says_what_was_caught_and_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify, "MUTANTS", tuple(m for m in MUTANTS if m.shift in (None, float("inf")))[:3])
    result = examined(monkeypatch)
    text = "\n".join(certify_report.lines(result))
    assert text.startswith("CERTIFIED\n")
    for words in ("no noise: caught", "cannot show in releases", "0.001", *certify.LIMITS):
        assert words in text
    fields = certify_report.to_fields(result)
    assert json.loads(json.dumps(fields)) == fields
    assert fields["client"]["caught"] is False
    assert {mutant["name"]: mutant["caught"] for mutant in fields["mutants"]} == {
        mutant.name: True for mutant in certify.MUTANTS
    }
    assert float(fields["mutants"][0]["claims"][0]["power"]) > 0.99


# The questions


@pytest.mark.parametrize("epsilon", [1, 4, 8])
def test_a_canary_costs_what_it_claims(epsilon: int) -> None:
    """Its two gradients have the clipping norm and nine tenths of it, so nearly all of the claim is used."""
    claim = CanaryClaim(epsilon)
    norms = np.linalg.norm(claim._canary, axis=1) / 2**16
    assert norms == pytest.approx([1, 0.9], abs=1e-3)
    assert claim.mean == pytest.approx(np.sqrt(2) / float(claim.plan.training.noise_multiplier))


def test_scores_of_exact_sums_are_the_canarys() -> None:
    """Without noise: 0 without the canary, its squared length with it."""
    claim = CanaryClaim(4)
    client = InProcess(MUTANTS[0].change)
    for is_present in (False, True):
        request = claim.request(3, is_present=is_present)
        scores = claim.scores(client.updates(request, releases=6, length=claim.plan.vector_length))
        expected = (claim._canary**2).sum() if is_present else 0
        assert scores[:, 0] == pytest.approx([expected] * 3, rel=1e-3, abs=1e6)


def test_exact_cases_ask_for_every_placement_and_size() -> None:
    cases = list(exact_cases())
    assert {(case.plan.training.placement, len(case.records)) for case in cases} == {
        (placement, count) for placement in ("distributed", "local") for count in (0, 1, 23)
    }
    assert all([release.round_number for release in case.releases] == [1, 2, 3] for case in cases)


@pytest.mark.parametrize("text", ["", "0", "17", "1,1", "a", "1,,4", "-1", "1.5", "²"])
def test_claims_are_small_integers(text: str) -> None:
    assert certify.parse_claims("1,4,8") == (1, 4, 8)
    with pytest.raises(DataError):
        certify.parse_claims(text)


# The client's process


def stub(tmp_path: Path, program: str) -> ClientCommands:
    """A client that is any program."""
    path = tmp_path / "client"
    path.write_text(f"#!{sys.executable}\n{program}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return certify_client.installed(str(path), None)


@pytest.mark.parametrize(
    "answer",
    [
        "print('{\"updates\":[[1,2]]}')",
        "print('{\"updates\":[[1,2,3],[1,2,3]]}')",
        "print('{\"updates\":[[1,2,true]]}')",
        'print(\'{"updates":[[1,2,3]],"more":1}\')',
        'print(\'{"code":"BAD_DATA","message":"no"}\')',
        "print('[]')",
        "print('nonsense')",
        "pass",
    ],
)
def test_a_client_that_answers_otherwise_is_refused(tmp_path: Path, answer: str) -> None:
    commands = stub(tmp_path, f"import sys\nsys.stdin.readline()\n{answer}\n")
    with (
        certify_client.running(commands.service) as client,
        pytest.raises((RemoteProtocolError, DataError)),
    ):
        client.updates(b"{}", releases=1, length=3)


def test_a_client_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify_client, "ANSWER_SECONDS", 0.1)
    commands = stub(tmp_path, "import sys\nsys.stdin.read()\n")
    with certify_client.running(commands.service) as client, pytest.raises(RemoteProtocolError, match="none"):
        client.updates(b"{}", releases=1, length=3)


def test_it_runs_in_an_empty_directory(tmp_path: Path) -> None:
    """Nothing of a company's is in reach, whatever directory the auditor stands in."""
    program = "import os, sys\nsys.stdin.readline()\nprint('{\"updates\":[[%d]]}' % len(os.listdir()))\n"
    with certify_client.running(stub(tmp_path, program).service) as client:
        assert client.updates(b"{}", releases=1, length=1).tolist() == [[0]]


def test_the_interpreter_is_the_one_that_the_command_names(tmp_path: Path) -> None:
    commands = stub(tmp_path, "pass\n")
    assert commands.interpreter == (sys.executable,)
    assert commands.mutant("pass")[-2:] == ("-c", "pass")
    (tmp_path / "client").write_text("#!/bin/sh\n")
    with pytest.raises(ConfigurationError, match="--python"):
        certify_client.installed(str(tmp_path / "client"), None)
    assert certify_client.installed(str(tmp_path / "client"), "python9").interpreter == ("python9",)


def test_a_program_that_is_not_there_is_refused() -> None:
    for command in ("no-such-client mechanism", ""):
        with pytest.raises(ConfigurationError, match="--command"):
            certify_client.installed(command, None)


def test_an_image_runs_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By docker or podman; its own entry point is not used."""
    engine = tmp_path / "podman"
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    commands = certify_client.image("registry.example/client@sha256:00", None)
    run = (str(engine), "run", "--rm", "-i", "--network", "none", "--entrypoint")
    assert commands.service == (*run, "noren-company", "registry.example/client@sha256:00", "mechanism")
    assert commands.mutant("pass") == (*run, "python", "registry.example/client@sha256:00", "-c", "pass")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ConfigurationError, match="docker or podman"):
        certify_client.image("client", None)


@pytest.mark.end_to_end
def test_the_command_certifies_the_installed_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real processes: the client and one mutant made in its own interpreter, by the auditor's command."""
    from noren_audit.cli import main

    monkeypatch.setattr(certify, "MUTANTS", (MUTANTS[0],))
    monkeypatch.setattr(certify, "QUICK_LOOKS", (100,))
    program = tmp_path / "noren-company"
    program.write_text(f"#!{sys.executable}\n{RUN_CLIENT}\n")
    program.chmod(0o700)
    arguments = ["certify", "--command", f"{program} mechanism", "--claims", "8", "--quick", "--json"]
    exit_code = main(arguments)
    fields = json.loads(capsys.readouterr().out)
    assert (exit_code, fields["verdict"]) == (0, "CERTIFIED")
    assert [mutant["name"] for mutant in fields["mutants"]] == ["no noise"]


def test_an_image_and_a_command_are_not_given_together(capsys: pytest.CaptureFixture[str]) -> None:
    from noren_audit.cli import main

    assert main(["certify", "image", "--command", "client"]) == 3
    assert "got both" in capsys.readouterr().err

"""What is installed: one version, few dependencies per party, whole packages, programs that start at once."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import noren_core

ROOT = Path(__file__).parents[2]
STUBS = ROOT / "core" / "noren_core" / "wire" / "v1"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

AUDITORS = {"cryptography", "dp-accounting", "numpy", "rich", "scipy", "typer"}
EXTRAS = {"client", "server", "demo", "certified"}
PACKAGES = {
    "noren_core",
    "noren_local",
    "noren_web",
    "noren_client",
    "noren_server",
    "noren_audit",
    "noren_demo",
    "noren_bench",
}
PROGRAMS = {
    "noren-audit": "noren_audit.cli:main",
    "noren-company": "noren_client.cli:main",
    "noren-platform": "noren_server.cli:main",
}
SOURCES = (".py", ".css", ".html", ".js", ".json", ".po", ".sql", ".svg", ".toml", ".txt")
TEST_FILE = re.compile(r"(^|/)(tests?/|test_|conftest)")
# What a party's program must not load before it has something to do, nor ever of another party.
FOREIGN = {
    "noren_client.cli": (
        "noren_server",
        "noren_audit",
        "noren_demo",
        "noren_web",
        "torch",
        "opacus",
        "flwr",
        "grpc",
        "fastapi",
        "openpyxl",
    ),
    "noren_server.cli": (
        "noren_client",
        "noren_audit",
        "noren_demo",
        "noren_web",
        "torch",
        "fastapi",
        "duckdb",
        "ibis",
        "flwr",
        "grpc",
    ),
}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(item.name): item for item in map(Requirement, lines)}


def declared(extra: str) -> dict[str, Requirement]:
    return requirements(PROJECT["project"]["optional-dependencies"][extra])


def floor(requirement: Requirement) -> Version:
    [lowest] = [spec.version for spec in requirement.specifier if spec.operator in (">=", "==")]
    return Version(lowest)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as the build backend makes it, without a network."""
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling")
    target = tmp_path_factory.mktemp("wheel")
    script = f"import hatchling.build as b; print(b.build_wheel({str(target)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    [file] = target.iterdir()
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def described(wheel: zipfile.ZipFile) -> Message:
    """The wheel's own metadata."""
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_the_version_is_said_in_one_place() -> None:
    """The project's version is read from noren_core and written nowhere else; what is installed has it."""
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PROJECT["project"]
    source = ROOT / PROJECT["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{noren_core.__version__}"' in source.read_text(encoding="utf-8")
    assert metadata.version("noren") == noren_core.__version__
    assigned = [
        path
        for package in PACKAGES
        for path in ROOT.glob(f"*/{package}/**/*.py")
        if re.search(r"^__version__\s*[:=]", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert assigned == [source]


def test_the_changelog_knows_the_version() -> None:
    """The changelog's newest release is the version of the code."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert noren_core.__version__ in changelog


def test_the_base_is_what_an_auditor_needs() -> None:
    """Without extras only the auditor's libraries come: no torch, flwr, grpc, sqlalchemy, protobuf."""
    assert set(requirements(PROJECT["project"]["dependencies"])) == AUDITORS


def test_there_is_an_extra_per_party() -> None:
    """A company needs no database, the platform needs no torch, and the demo needs both."""
    assert set(PROJECT["project"]["optional-dependencies"]) == EXTRAS
    assert {"torch", "opacus", "flwr", "grpcio", "protobuf"} <= set(declared("client"))
    assert not {"sqlalchemy", "ibis-framework", "pyjwt", "segno"} & set(declared("client"))
    assert {"sqlalchemy", "pyarrow", "flwr", "grpcio", "protobuf"} <= set(declared("server"))
    assert not {"torch", "opacus", "scikit-learn"} & set(declared("server"))
    assert declared("demo")["noren"].extras == {"client", "server"}
    assert floor(declared("client")["flwr"]) == floor(declared("server")["flwr"])


def test_every_program_has_its_entry_point() -> None:
    """The three programs are declared, and what they name can be called."""
    assert PROJECT["project"]["scripts"] == PROGRAMS
    installed = {item.name: item for item in metadata.distribution("noren").entry_points}
    assert {name: item.value for name, item in installed.items()} == PROGRAMS


def test_every_package_is_listed_typed_and_complete() -> None:
    """The wheel is told of every package, each says that it is typed, and the data files are inside one."""
    listed = [ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    assert {path.name for path in listed} == PACKAGES
    assert {path.parent for path in ROOT.glob("*/noren_*/__init__.py")} == set(listed)
    for package in listed:
        assert (package / "py.typed").is_file(), package


def test_the_wheel_holds_what_the_code_reads(wheel: zipfile.ZipFile) -> None:
    """Code, markers, and every file that code reads are in it; tests, caches and protos are not."""
    names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {
        "noren_core/season/participation_agreement.txt",
        "noren_core/season/participation_clauses.json",
        "noren_core/rights/notices/flow_manifest.json",
        "noren_core/rights/notices/packaged_policy.toml",
        "noren_core/wire/v1/training_pb2.py",
        "noren_demo/page.css",
        "noren_server/coverage/classification.sql",
        "noren_server/policies/consent_screen.css",
        "noren_server/policies/page_reading.js",
        "noren_server/rights/openapi.json",
        "noren_server/bundle/pyproject.toml",
        "noren_server/bundle/noren_bundle/server_app.py",
        "noren_server/bundle/noren_bundle/client_app.py",
    } <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == PACKAGES | {f"noren-{noren_core.__version__}.dist-info"}
    assert not [name for name in names if TEST_FILE.search(name) or name.endswith((".pyc", ".proto"))]
    for package in PACKAGES:
        sources = {path for path in ROOT.glob(f"*/{package}/**/*") if path.suffix in SOURCES}
        packed = {path.relative_to(path.parents[len(path.parts) - len(ROOT.parts) - 2]) for path in sources}
        assert {str(path) for path in packed} <= names


def test_the_wheel_says_what_the_project_says(wheel: zipfile.ZipFile, described: Message) -> None:
    """Version, base requirements, extras and programs of the wheel are those that are declared."""
    assert described["Version"] == noren_core.__version__
    needs = [Requirement(line) for line in described.get_all("Requires-Dist", [])]
    assert {canonicalize_name(item.name) for item in needs if item.marker is None} == AUDITORS
    assert set(described.get_all("Provides-Extra", [])) == EXTRAS
    [scripts] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    for name, target in PROGRAMS.items():
        assert f"{name} = {target}" in wheel.read(scripts).decode()


@pytest.mark.parametrize(
    "program", ["noren-company", "noren-platform"]
)  # noren-audit: tests/audit/test_cli.py
def test_help_comes_at_once(program: str) -> None:
    """`--help` takes at most 0.4 s of CPU (best of three): nothing heavy is imported."""
    module = PROGRAMS[program].removesuffix(":main")
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = python("-c", f"import sys; from {module} import main; sys.exit(main())", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert (done.returncode, done.stderr) == (0, "")
        assert program in done.stdout
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) <= 0.4


@pytest.mark.parametrize("module", FOREIGN)
def test_a_program_loads_only_its_own(module: str) -> None:
    """Importing a party's command line loads no other party and no library that a command may not need."""
    done = python("-c", f"import sys, {module}; print(*sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert module.partition(".")[0] in loaded
    assert not loaded & set(FOREIGN[module])


@pytest.mark.parametrize("extra", ["client", "server"])
def test_stubs_run_with_the_oldest_libraries_allowed(extra: str) -> None:
    """The versions that generated stubs ask for are not above the declared floors of grpcio and protobuf."""
    protobuf, grpcio = [], []
    for path in STUBS.glob("*_pb2*.py"):
        text = path.read_text(encoding="utf-8")
        protobuf += re.findall(r"^# Protobuf Python Version: (\S+)$", text, re.MULTILINE)
        grpcio += re.findall(r"^GRPC_GENERATED_VERSION = '(\S+)'$", text, re.MULTILINE)
    assert protobuf
    assert grpcio
    assert max(map(Version, protobuf)) <= floor(declared(extra)["protobuf"])
    assert max(map(Version, grpcio)) <= floor(declared(extra)["grpcio"])

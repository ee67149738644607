"""The systemd units: hardened, valid for systemd itself, written whole and never over somebody's edits."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from noren_client.setup import service, systemd_units
from noren_client.setup.systemd_units import DAILY, TIMER, WORKER, Scope, UnitChoices
from noren_core.errors import ConfigurationError, LocalProtocolError


def choices(directory: Path, scope: Scope = Scope.SYSTEM) -> UnitChoices:
    return UnitChoices(
        scope=scope,
        program=Path("/bin/true"),
        directory=directory,
        account="daemon" if scope is Scope.SYSTEM else "",
        credential=Path("/etc/noren/passphrase.cred"),
    )


def settings_of(text: str, section: str) -> dict[str, list[str]]:
    """A unit's settings; systemd allows a name several times."""
    found: dict[str, list[str]] = {}
    here = ""
    for line in text.splitlines():
        if line.startswith("["):
            here = line.strip("[]")
        elif "=" in line and not line.startswith("#") and here == section:
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "ProtectHome": "read-only",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": "@system-service",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "LimitCORE": "0",
    "MemoryMax": "2G",
    "MemorySwapMax": "0",
}


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("unit", [WORKER, DAILY])
def test_services_are_hardened(tmp_path: Path, scope: Scope, unit: str) -> None:
    """They write to the company's directory alone, gain nothing, and tell nobody that they run."""
    found = settings_of(systemd_units.unit_files(choices(tmp_path, scope))[unit], "Service")
    assert {name: found[name] for name in HARDENED} == {name: [value] for name, value in HARDENED.items()}
    assert found["ReadWritePaths"] == [str(tmp_path)]
    environment = " ".join(found["Environment"])
    assert "FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1" in environment
    assert found["LoadCredentialEncrypted"] == ["noren-passphrase:/etc/noren/passphrase.cred"]
    if scope is Scope.SYSTEM:
        assert (found["User"], found["CapabilityBoundingSet"]) == (["daemon"], [""])
    else:
        assert not {"User", "CapabilityBoundingSet"} & found.keys()


def test_the_timer_waits_at_random_and_makes_up_for_it(tmp_path: Path) -> None:
    """Once a day, not all companies at once, and after a machine was off."""
    timer = settings_of(systemd_units.unit_files(choices(tmp_path))[TIMER], "Timer")
    assert timer["Persistent"] == ["true"]
    assert timer["RandomizedDelaySec"] == ["3h"]
    assert timer["Unit"] == [DAILY]


ANALYZE = shutil.which("systemd-analyze") or ""
needs_systemd = pytest.mark.skipif(not ANALYZE, reason="no systemd-analyze here")


def analyze(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [ANALYZE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
    )
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing about any unit."""
    folder = tmp_path / "units"
    service.write(choices(tmp_path), folder)
    said = analyze(folder, "verify", "--man=no", *(str(folder / unit) for unit in (WORKER, DAILY, TIMER)))
    assert not [line for line in said.splitlines() if "noren" in line], said


@needs_systemd
def test_systemd_rates_the_exposure_as_low(tmp_path: Path) -> None:
    """`systemd-analyze security` gives the worker less than 3 of 10."""
    folder = tmp_path / "units"
    service.write(choices(tmp_path), folder)
    said = analyze(folder, "security", "--offline=yes", "--no-pager", str(folder / WORKER))
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert level is not None, said
    assert float(level.group(1)) < 3.0, said


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    """The second time no file is touched; another directory is written."""
    assert service.write(choices(tmp_path), tmp_path / "units") == [WORKER, DAILY, TIMER]
    assert service.write(choices(tmp_path), tmp_path / "units") == []
    assert service.write(choices(tmp_path / "other"), tmp_path / "units") == [WORKER, DAILY]
    assert (tmp_path / "units" / WORKER).stat().st_mode & 0o777 == 0o644
    assert not list((tmp_path / "units").glob(".*"))


def test_edits_are_kept(tmp_path: Path) -> None:
    """A unit that somebody edited is neither replaced nor removed, nor are the others, unless asked for."""
    folder = tmp_path / "units"
    service.write(choices(tmp_path), folder)
    edited = (folder / WORKER).read_text().replace("MemoryMax=2G", "MemoryMax=8G")
    (folder / WORKER).write_text(edited)
    for act in (
        lambda: service.write(choices(tmp_path / "other"), folder),
        lambda: service.remove(folder),
    ):
        with pytest.raises(LocalProtocolError) as caught:
            act()
        assert caught.value.code == "UNIT_EDITED"
    assert (folder / WORKER).read_text() == edited
    assert str(tmp_path / "other") not in (folder / DAILY).read_text()
    assert service.states(folder, None)[0].edited
    assert service.write(choices(tmp_path), folder, replace=True) == [WORKER]
    assert service.remove(folder) == [TIMER, DAILY, WORKER]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "a%n", 'a"b', "a\nb", "ä"])
def test_a_path_that_a_unit_reads_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    """Spaces, % and line ends mean something else in a unit."""
    with pytest.raises(ConfigurationError):
        choices(tmp_path / name)


def test_root_runs_nothing(tmp_path: Path) -> None:
    """An account without privileges is asked for."""
    with pytest.raises(ConfigurationError, match="root"):
        UnitChoices(scope=Scope.SYSTEM, program=Path("/x"), directory=tmp_path, account="root")


def test_what_systemd_says_is_shown(tmp_path: Path) -> None:
    """States are read from `systemctl show`, and starting enables worker and timer."""
    asked: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> str:
        asked.append(arguments)
        return "LoadState=loaded\nActiveState=failed\nSubState=failed\nUnitFileState=enabled\n"

    service.write(choices(tmp_path), tmp_path / "units")
    found = service.states(tmp_path / "units", run)
    assert [(item.unit, item.active, item.enabled) for item in found] == [
        (unit, "failed", "enabled") for unit in (WORKER, DAILY, TIMER)
    ]
    asked.clear()
    service.start(run)
    service.stop(run)
    assert asked == [
        ["daemon-reload"],
        ["enable", "--now", WORKER, TIMER],
        ["disable", "--now", TIMER, WORKER],
    ]


def test_units_are_ini(tmp_path: Path) -> None:
    """Every unit has its sections; nothing stands outside of one."""
    for name, text in systemd_units.unit_files(choices(tmp_path)).items():
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(text)
        assert parser.sections()[0] == "Unit", name

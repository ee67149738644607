"""Installing, removing and looking at the systemd units of this machine (`systemd_units`).

Promises: units are written whole; doing it again changes nothing; a unit that somebody edited is neither
replaced nor removed unless that is asked for by name; without a systemd that runs, files are written and
nothing else is done.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from noren_client.setup import systemd_units
from noren_client.setup.systemd_units import DAILY, TIMER, WORKER, Scope, UnitChoices
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_local.private_file import sync_directory

_RUNNING_SYSTEMD = Path("/run/systemd/system")
_SECONDS = 60
_ASKED = ("LoadState", "ActiveState", "SubState", "UnitFileState")

Run = Callable[[Sequence[str]], str]
"""Runs systemctl with these arguments; what it printed. ConfigurationError if it fails."""


@dataclass(frozen=True, slots=True)
class UnitState:
    """What the service manager says of a unit; every word is systemd's, empty if nobody could be asked.

    Attributes:
        file: whether the unit's file is there, and `edited` whether it is not as we wrote it.
    """

    unit: str
    file: bool
    edited: bool
    load: str = ""
    active: str = ""
    sub: str = ""
    enabled: str = ""


def choices_for(
    company_dir: Path, *, scope: Scope, program: Path, account: str = "", credential: Path | None = None
) -> UnitChoices:
    """The units' choices for a directory; the account is by default the directory's owner.

    Raises:
        ConfigurationError: if there is no such directory or account, or the owner is root.
    """
    directory = company_dir.resolve()
    if not directory.is_dir():
        raise ConfigurationError("service: expected the company's directory, got none: run setup first")
    return UnitChoices(
        scope=scope,
        program=program,
        directory=directory,
        account=account or _owner(directory) if scope is Scope.SYSTEM else "",
        credential=credential,
    )


def folder_of(scope: Scope) -> Path:
    """Where this machine's units are."""
    if scope is Scope.SYSTEM:
        return Path("/etc/systemd/system")
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration) / "systemd" / "user"


def is_systemd_running() -> bool:
    """Whether there is a service manager to talk to."""
    return _RUNNING_SYSTEMD.is_dir() and shutil.which("systemctl") is not None


def write(choices: UnitChoices, folder: Path, *, replace: bool = False) -> list[str]:
    """Write the units; which of them were changed.

    1. None that is there was edited, unless all are to be replaced.
    2. Only what differs is written, each file whole.

    Raises:
        LocalProtocolError: with code UNIT_EDITED; nothing was written.
        ConfigurationError: if the folder cannot be written to.
    """
    files = systemd_units.unit_files(choices)
    if not replace:  # 1
        _verify_unedited(folder, "--replace replaces it")
    changed = [name for name, text in files.items() if _read(folder / name) != text]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in changed:  # 2
            _write_public(folder / name, files[name])
    except OSError as error:
        raise ConfigurationError(
            "service: expected a folder for units that we may write to; run it as root, or with --user"
        ) from error
    return changed


def remove(folder: Path, *, replace: bool = False) -> list[str]:
    """Remove the units that are there; LocalProtocolError (UNIT_EDITED) as in `write`."""
    if not replace:
        _verify_unedited(folder, "--replace removes it")
    present = [name for name in (TIMER, DAILY, WORKER) if (folder / name).exists()]
    try:
        for name in present:
            (folder / name).unlink()
    except OSError as error:
        raise ConfigurationError("service: expected a folder for units that we may write to") from error
    return present


def start(run: Run) -> None:
    """Have the service manager read the units again, and start worker and timer, now and at every boot."""
    run(["daemon-reload"])
    run(["enable", "--now", WORKER, TIMER])


def stop(run: Run) -> None:
    """Stop worker and timer, now and at every boot."""
    run(["disable", "--now", TIMER, WORKER])


def states(folder: Path, run: Run | None) -> list[UnitState]:
    """What is there and how it does; with nobody to ask (None), only the files are looked at."""
    return [_state(folder, unit, run) for unit in (WORKER, DAILY, TIMER)]


def installed_scope() -> Scope | None:
    """Where the worker's unit is on this machine, the system's first."""
    found = (scope for scope in (Scope.SYSTEM, Scope.USER) if (folder_of(scope) / WORKER).exists())
    return next(found, None)


def systemctl(scope: Scope) -> Run:
    """Asks this machine's systemctl."""

    def run(arguments: Sequence[str]) -> str:
        command = ["systemctl", *(["--user"] if scope is Scope.USER else []), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(
                f"systemctl {arguments[0]}: expected it to work; try the same by hand, with its journal",
                code="SYSTEMCTL_FAILED",
            ) from error
        return done.stdout

    return run


def _state(folder: Path, unit: str, run: Run | None) -> UnitState:
    text = _read(folder / unit)
    edited = text is not None and not systemd_units.is_ours(text)
    if run is None:
        return UnitState(unit, text is not None, edited)
    shown = run(["show", unit, *(f"--property={name}" for name in _ASKED)])
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    load, active, sub, enabled = (said.get(name, "") for name in _ASKED)
    return UnitState(unit, text is not None, edited, load, active, sub, enabled)


def _verify_unedited(folder: Path, remedy: str) -> None:
    for name in (WORKER, DAILY, TIMER):
        text = _read(folder / name)
        if text is not None and not systemd_units.is_ours(text):
            raise LocalProtocolError(
                f"{name}: expected it as this program wrote it, somebody edited it; keep your changes in "
                f"`systemctl edit`, {remedy}",
                code="UNIT_EDITED",
            )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path.name}: expected a unit that can be read, got another") from error


def _write_public(path: Path, text: str) -> None:
    """Whole, and 0644: systemd's own tools and other accounts read units, and there is no secret in one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _owner(directory: Path) -> str:
    try:
        return pwd.getpwuid(directory.stat().st_uid).pw_name
    except KeyError as error:
        raise ConfigurationError(
            "service: expected a directory that an account of this machine owns"
        ) from error

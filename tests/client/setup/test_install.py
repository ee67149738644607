"""scripts/install-company: an environment, an installation, a link; again, nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "install-company"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A Python whose environments have a pip that writes down how it was called, and installs a program."""
    (tmp_path / "log").touch()
    fake_pip = textwrap.dedent(f"""\
        #!/bin/sh
        if [ "$1 $2" = "-m pip" ]; then
          here=$(dirname "$0")
          printf '%s|%s|%s|%s|%s\\n' "$*" "${{PIP_PROXY:-}}" "${{PIP_CERT:-}}" "${{PIP_NO_INDEX:-}}" \\
            "${{PIP_FIND_LINKS:-}}" >>{tmp_path}/log
          [ ! -e {tmp_path}/offline ] || exit 1
          printf '#!/bin/sh\\necho it runs\\n' >"$here/noren-company"
          chmod +x "$here/noren-company"
          exit 0
        fi
        exec {sys.executable} "$@"
        """)
    python = tmp_path / "python"
    python.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        if [ "$1 $2" = "-m venv" ]; then
          mkdir -p "$3/bin"
          cp {tmp_path}/venv-python "$3/bin/python"
          exit 0
        fi
        exec {sys.executable} "$@"
        """)
    )
    (tmp_path / "venv-python").write_text(fake_pip)
    for path in (python, tmp_path / "venv-python"):
        path.chmod(0o755)
    return tmp_path


def install(machine: Path, *options: str) -> subprocess.CompletedProcess[str]:
    given = ("--prefix", str(machine / "prefix"), "--bin", str(machine / "bin"))
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), "--python", str(machine / "python"), *given, *options],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(machine)},
        check=False,
    )


def log(machine: Path) -> list[str]:
    return (machine / "log").read_text().splitlines()


def test_it_installs_links_and_does_it_once(machine: Path) -> None:
    """stdout is the linked program; the second run calls pip no more."""
    done = install(machine)
    assert done.returncode == 0, done.stderr
    program = Path(done.stdout.strip())
    assert program == machine / "bin" / "noren-company"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "it runs\n"
    assert len(log(machine)) == 1
    assert "noren[client] @ file://" in log(machine)[0]
    again = install(machine)
    assert (again.returncode, len(log(machine))) == (0, 1)
    assert "already" in again.stderr


def test_proxy_authority_and_wheels_go_to_pip(machine: Path) -> None:
    """By pip's own variables, so that a proxy's password is in no argument; what follows -- is pip's too."""
    (machine / "wheels").mkdir()
    (machine / "ca.pem").write_text("authority")
    options = ("--proxy", "http://taro:secret@proxy:8080", "--ca", str(machine / "ca.pem"))
    done = install(machine, *options, "--wheels", str(machine / "wheels"), "--", "--no-deps")
    assert done.returncode == 0, done.stderr
    arguments, proxy, authority, no_index, links = log(machine)[0].split("|")
    assert (proxy, authority) == ("http://taro:secret@proxy:8080", str(machine / "ca.pem"))
    assert (no_index, links) == ("1", str(machine / "wheels"))
    assert "--no-deps" in arguments
    assert "secret" not in arguments


def test_another_release_needs_to_be_asked_for(machine: Path) -> None:
    """A wheel of other bytes is refused without --upgrade."""
    assert install(machine).returncode == 0
    wheel = machine / "noren-9.9.9-py3-none-any.whl"
    wheel.write_bytes(b"another release")
    refused = install(machine, "--from", str(wheel))
    assert (refused.returncode, len(log(machine))) == (3, 1)
    assert "--upgrade" in refused.stderr
    assert install(machine, "--from", str(wheel), "--upgrade").returncode == 0
    assert str(wheel) in log(machine)[1]


def test_what_cannot_be_installed_says_what_to_do(machine: Path) -> None:
    """pip's failure is exit code 4 with the options for proxies; no half installation counts as one."""
    (machine / "offline").touch()
    failed = install(machine)
    assert failed.returncode == 4
    assert "--proxy" in failed.stderr
    (machine / "offline").unlink()
    assert install(machine).returncode == 0


@pytest.mark.parametrize("options", [("--nonsense",), ("--prefix", ""), ("--from", "/nowhere"), ("--proxy",)])
def test_usage(machine: Path, options: tuple[str, ...]) -> None:
    """What it does not know is refused with exit code 2, before anything is made."""
    done = install(machine, *options)
    assert done.returncode == 2
    assert not (machine / "prefix").exists()


def test_somebody_elses_program_stays(machine: Path) -> None:
    """A file of that name that is no link is not replaced."""
    (machine / "bin").mkdir()
    (machine / "bin" / "noren-company").write_text("mine")
    assert install(machine).returncode == 3
    assert (machine / "bin" / "noren-company").read_text() == "mine"


def test_an_old_python_is_refused(machine: Path) -> None:
    """With what to install in its place."""
    old = machine / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), "--python", str(old)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "3.11" in done.stderr


def test_help_names_every_option() -> None:
    """And exits with 0."""
    done = subprocess.run(["/bin/sh", str(SCRIPT), "--help"], capture_output=True, text=True, check=True)
    for option in ("--prefix", "--bin", "--from", "--wheels", "--proxy", "--ca", "--upgrade", "--python"):
        assert option in done.stdout

"""`noren-company open` as a process: one link on stdout, this machine alone, ended by Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from noren_client.cli import main
from noren_client.web.pages_lock import held_alone
from noren_core.errors import LocalProtocolError

_LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/enter\?token=[\w-]{40,}(&lang=ja)?\Z")


@contextmanager
def opened(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command, and the line that it printed."""
    argv = [sys.executable, "-m", "noren_client.cli", "--directory", str(directory), "open", "--no-browser"]
    with subprocess.Popen(
        [*argv, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.end_to_end
def test_one_link_and_ctrl_c(tmp_path: Path) -> None:
    """The link lets one browser in, once, in the language asked for; Ctrl-C ends it without a trace."""
    with opened(tmp_path / "company", "--language", "ja") as (process, link):
        found = _LINK.match(link)
        assert found is not None, link
        port = int(found[1])
        home = f"http://127.0.0.1:{port}"
        with httpx.Client(follow_redirects=True) as browser:
            page = browser.get(link)
            assert page.status_code == 200
            assert "最初の管理者" in page.text
        assert httpx.get(link).status_code == 403
        assert httpx.get(home, headers={"host": "rebound.example"}).status_code == 421
        with pytest.raises(LocalProtocolError, match="nobody to serve"), held_alone(tmp_path / "company"):
            pass
        other = ["--directory", str(tmp_path / "other"), "open", "--no-browser", "--port", str(port)]
        assert main(other) == 3
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=20)
        assert process.returncode == 0
    assert out == ""
    assert "Traceback" not in errors
    assert "token=" not in errors


@pytest.mark.end_to_end
def test_enter_prints_another_link(tmp_path: Path) -> None:
    """At a terminal: the first link, another one for Enter, and an end in order while somebody could type."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "noren_client.cli", "--directory", str(tmp_path / "company")]
    with (
        os.fdopen(ours, "r+b", buffering=0) as terminal,
        subprocess.Popen(
            [*argv, "open", "--no-browser"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        os.close(theirs)
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        terminal.write(b"\n")
        second = process.stdout.readline().strip()
        assert _LINK.match(first)
        assert _LINK.match(second)
        assert first != second
        assert [httpx.get(link).status_code for link in (second, first)] == [303, 303]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
    assert "Traceback" not in errors
    assert "Fatal" not in errors


@pytest.mark.end_to_end
def test_it_listens_on_this_machine_alone(tmp_path: Path) -> None:
    """No other address of the machine has the port."""
    with opened(tmp_path / "company") as (_, link):
        port = int(link.split(":")[2].split("/")[0])
        listening_at = {
            line.split()[1]
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for line in Path(table).read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        }
    assert listening_at == {f"0100007F:{port:04X}"}


def test_another_language_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is served."""
    assert main(["--directory", str(tmp_path), "open", "--language", "fr"]) == 3
    assert "BAD_CONFIGURATION" in capsys.readouterr().err

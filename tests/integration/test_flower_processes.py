"""The supervisor, the SuperNode's files and the fleet register, without Flower running."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from noren_client.supernode import generate_node_key, node_public_key
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_server.flower_private import RegisteredNode
from noren_server.processes import Child, Supervisor
from noren_server.superlink import Fleet, SuperlinkFiles, compact_database, prepare_superlink

FOREVER = "import time, sys; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); open({ready!r}, 'w'); time.sleep(600)"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
open({ready!r}, 'w').write(str(child.pid))
time.sleep(600)
"""
OWNER = """
import sys, time
from pathlib import Path
from noren_server.processes import Child, Supervisor
supervisor = Supervisor(Path({logs!r}))
pid = supervisor.start(Child('child', (sys.executable, '-c', 'import time; time.sleep(600)')))
Path({ready!r}).write_text(str(pid))
time.sleep(600)
"""


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < end, "a process was left behind"
        time.sleep(0.01)


def wait_for_number(path: Path) -> int:
    end = time.monotonic() + 5
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    return int(path.read_text())


def test_children_are_stopped_in_reverse_order(tmp_path: Path) -> None:
    """The child that was started last is stopped first."""
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        f"    open({str(order)!r}, 'a').write({{name!r}})\n"
        "    sys.exit()\n"
        "signal.signal(15, stop)\n"
        f"open({str(tmp_path)!r} + '/' + {{name!r}}, 'w')\n"
        "time.sleep(600)"
    )
    with Supervisor(tmp_path / "logs") as supervisor:
        pids = [
            supervisor.start(Child(name, python(code.format(name=name)), {}, (tmp_path / name).exists))
            for name in "abc"
        ]
        assert list(supervisor.process_ids().values()) == pids
    assert order.read_text() == "cba"
    assert not any(is_running(pid) for pid in pids)


def test_a_stubborn_child_and_its_own_children_are_killed(tmp_path: Path) -> None:
    """SIGKILL follows when SIGTERM is ignored, and it goes to the whole group."""
    ready, started = tmp_path / "ready", tmp_path / "started"
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(
            Child(
                "stubborn",
                python(STUBBORN.format(ready=str(ready))),
                is_ready=ready.exists,
                stop_deadline_seconds=0.1,
            )
        )
        supervisor.start(Child("parent", python(PARENT.format(ready=str(started))), is_ready=started.exists))
        pids = [*supervisor.process_ids().values(), wait_for_number(started)]
        assert all(is_running(pid) for pid in pids)
    for pid in pids:
        wait_until_gone(pid)


def test_a_child_dies_with_a_killed_supervisor(tmp_path: Path) -> None:
    """A supervisor that is killed outright leaves nothing behind."""
    ready = tmp_path / "ready"
    owner = subprocess.Popen(python(OWNER.format(logs=str(tmp_path / "logs"), ready=str(ready))))
    try:
        child = wait_for_number(ready)
        assert is_running(child)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    wait_until_gone(child)


def test_a_child_that_ends_before_it_is_ready_fails_the_start(tmp_path: Path) -> None:
    """The error names the child and its exit status; the child is forgotten."""
    with Supervisor(tmp_path / "logs") as supervisor:
        with pytest.raises(LocalProtocolError, match=r"brief.*exit status 3") as caught:
            supervisor.start(Child("brief", python("raise SystemExit(3)"), is_ready=lambda: False))
        assert caught.value.code == "CHILD_FAILED"
        assert supervisor.process_ids() == {}


def test_a_child_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    """The wait for readiness is bounded."""
    with Supervisor(tmp_path / "logs") as supervisor:
        child = Child("slow", python(FOREVER), is_ready=lambda: False, ready_deadline_seconds=0.2)
        with pytest.raises(LocalProtocolError, match="no answer"):
            supervisor.start(child)
        assert supervisor.process_ids() == {}


def test_a_crash_is_reported_once(tmp_path: Path) -> None:
    """The owner hears which child ended and how; a wanted stop is not a crash."""
    crashes: list[tuple[str, int]] = []
    crashed = threading.Event()

    def record(name: str, status: int) -> None:
        crashes.append((name, status))
        crashed.set()

    with Supervisor(tmp_path / "logs", on_crash=record) as supervisor:
        supervisor.start(Child("steady", python(FOREVER)))
        os.kill(supervisor.start(Child("victim", python(FOREVER))), signal.SIGKILL)
        assert crashed.wait(5)
        assert list(supervisor.process_ids()) == ["steady"]
    assert crashes == [("victim", -signal.SIGKILL)]


def test_logs_are_private(tmp_path: Path) -> None:
    """What a child prints is kept in a file that only its owner reads."""
    with Supervisor(tmp_path / "logs") as supervisor:
        log = tmp_path / "logs" / "talker.log"
        supervisor.start(Child("talker", python(FOREVER), is_ready=lambda: log.read_text() == "up\n"))
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_name_is_used_once(tmp_path: Path) -> None:
    """A second child with the name of a running one is refused."""
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(Child("one", python(FOREVER)))
        with pytest.raises(LocalProtocolError):
            supervisor.start(Child("one", python(FOREVER)))


def test_the_superlink_is_closed_by_default(tmp_path: Path) -> None:
    """Loopback, TLS, node authentication, isolation with a secret, no installer, no telemetry."""
    superlink, superexec = prepare_superlink(tmp_path, port=12345)
    command = " ".join(superlink.argv)
    for words in (
        "--host 127.0.0.1 --port 12345",
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        "--isolation process --superexec-auth-secret-file",
        "--ssl-certfile",
    ):
        assert words in command
    assert "--insecure" not in command
    for child in (superlink, superexec):
        assert child.environment["FLWR_TELEMETRY_ENABLED"] == "0"
        assert child.environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert superlink.environment["FLWR_HOME"] != superexec.environment["FLWR_HOME"]
    directory = SuperlinkFiles(tmp_path).directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_secrets_are_made_anew(tmp_path: Path) -> None:
    """Every start has another secret and another key; the nodes in the state file stay."""
    files = SuperlinkFiles(tmp_path)
    prepare_superlink(tmp_path)
    files.database.write_bytes(b"nodes")
    before = [files.superexec_secret.read_bytes(), files.private_key.read_bytes()]
    prepare_superlink(tmp_path)
    after = [files.superexec_secret.read_bytes(), files.private_key.read_bytes()]
    assert not set(before) & set(after)
    assert files.database.read_bytes() == b"nodes"


def test_a_platform_that_was_never_started_has_no_fleet(tmp_path: Path) -> None:
    """Asking for the fleet before the first start is a configuration error."""
    with pytest.raises(ConfigurationError):
        Fleet(tmp_path)


class Control:
    """The Control API's memory of nodes."""

    def __init__(self) -> None:
        self.known: list[RegisteredNode] = []

    def nodes(self) -> list[RegisteredNode]:
        return list(self.known)

    def register(self, name: str, public_key: bytes) -> int:
        self.known.append(RegisteredNode(len(self.known) + 1, name, public_key, is_online=False))
        return len(self.known)

    def unregister(self, node_id: int) -> None:
        self.known = [node for node in self.known if node.node_id != node_id]


@pytest.fixture
def fleet(tmp_path: Path) -> tuple[Fleet, Control]:
    prepare_superlink(tmp_path)
    fleet = Fleet(tmp_path)
    fleet._control.close()
    fleet._control = Control()
    return fleet, fleet._control


def new_key() -> bytes:
    return node_public_key(SecretBytes(generate_node_key()))


def test_registering_replaces_the_companys_older_key(fleet: tuple[Fleet, Control]) -> None:
    """A company has one node; the same key twice changes nothing."""
    register, control = fleet
    first, second = new_key(), new_key()
    register.register("akane", first)
    register.register("akane", first)
    assert [node.public_key for node in control.known] == [first]
    register.register("akane", second)
    assert [node.public_key for node in control.known] == [second]
    register.unregister("akane")
    assert register.companies() == {}


def test_a_key_belongs_to_one_company(fleet: tuple[Fleet, Control]) -> None:
    """Another company's key is refused and the register unchanged."""
    register, control = fleet
    key = new_key()
    register.register("akane", key)
    with pytest.raises(DataError):
        register.register("benten", key)
    assert [node.name for node in control.known] == ["akane"]


def test_other_keys_are_refused(fleet: tuple[Fleet, Control]) -> None:
    """Only a P-384 public key in PEM is registered."""
    register, control = fleet
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    for key in (b"", b"x", ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*pem)):
        with pytest.raises(DataError):
            register.register("akane", key)
    assert control.known == []


def test_compacting_leaves_no_deleted_content(tmp_path: Path) -> None:
    """What a run's messages held is in neither the state file nor its WAL afterwards."""
    database = tmp_path / "state.db"
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE object (content BLOB)")
    connection.execute("INSERT INTO object VALUES (?)", (b"masked vector" * 1000,))
    connection.commit()
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("DELETE FROM object")
    connection.commit()
    files = SimpleNamespace(content=lambda: b"".join(p.read_bytes() for p in tmp_path.glob("state.db*")))
    assert b"masked vector" in files.content()
    compact_database(database)
    assert b"masked vector" not in files.content()
    connection.close()


def test_compacting_says_when_a_reader_prevents_it(tmp_path: Path) -> None:
    """A WAL that cannot be emptied is an error, not a silent remainder."""
    database = tmp_path / "state.db"
    writer, reader = sqlite3.connect(database), sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE object (content BLOB)")
    writer.commit()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM object").fetchall()
    writer.execute("INSERT INTO object VALUES (?)", (b"x",))
    writer.commit()
    with pytest.raises(LocalProtocolError) as caught:
        compact_database(database, deadline_seconds=0.2)
    assert caught.value.code == "STATE_BUSY"
    reader.close()
    writer.close()

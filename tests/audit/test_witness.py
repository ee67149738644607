"""The witness cosigns one growing ledger and never a second one: by request, thread, kill -9 and HTTP."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from self_signed_certificate import self_signed

from noren_audit import bounded_server
from noren_audit.bounded_server import MAX_CONNECTIONS, Answer, Listening
from noren_audit.cli import main
from noren_audit.witness.witness import Witness, initialise, load_config
from noren_audit.witness.witness_server import WitnessServer
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import ConfigurationError
from noren_core.ledger.add_checkpoint import MAX_REQUEST_BYTES, AddCheckpoint
from noren_core.ledger.checkpoint import claimed_checkpoint, sign_checkpoint
from noren_core.ledger.cosignature import CosignerKey, verify_cosignature
from noren_core.ledger.note import VerifierKey, parse_note, sign_note

ORIGIN, NAME = "noren.example/ledger", "witness.example/1"
LOG, NEXT_LOG, STRANGER = (SigningKey.from_bytes(bytes([number] * 32)) for number in (1, 2, 3))
SHARED = 5
HONEST = MerkleTree([leaf_hash(b"%d" % number) for number in range(40)])
FORKED = MerkleTree([leaf_hash(b"%d" % (number + 100 * (number >= SHARED))) for number in range(40)])


def log_key(key: SigningKey = LOG, origin: str = ORIGIN) -> str:
    return VerifierKey(origin, key.public_key).to_text()


def request(old: int, size: int, tree: MerkleTree = HONEST, key: SigningKey = LOG) -> bytes:
    """What an honest client sends about this tree."""
    checkpoint = sign_checkpoint(ORIGIN, size, tree.root(size), key)
    proof = tuple(tree.consistency_proof(old, size)) if old <= size else ()
    return AddCheckpoint(old, proof, checkpoint).to_bytes()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    initialise(tmp_path / "witness", name=NAME, logs=[log_key()])
    return tmp_path / "witness"


@contextmanager
def opened(directory: Path) -> Iterator[Witness]:
    with closing(Witness(directory, clock=lambda: 1_700_000_000)) as witness:
        yield witness


@pytest.fixture
def witness(directory: Path) -> Iterator[Witness]:
    with opened(directory) as witness:
        yield witness


def time_of(answer: Answer, asked: bytes, key: CosignerKey) -> int:
    """When the answer says that it cosigned; it is a line for the checkpoint that was asked about."""
    checkpoint = asked.partition(b"\n\n")[2]
    return verify_cosignature(parse_note(checkpoint + answer.body), key)


def test_a_growing_ledger_is_cosigned(witness: Witness) -> None:
    """From nothing on, step by step and standing still, each answer is a cosignature of what was asked."""
    for old, size in ((0, 1), (1, 1), (1, 7), (7, 8), (8, 40)):
        answer = witness.add_checkpoint(request(old, size))
        assert answer.status == 200
        assert time_of(answer, request(old, size), witness.key) == 1_700_000_000


def test_another_old_size_is_told_the_known_one(witness: Witness) -> None:
    """409 with the size of the last cosigned checkpoint, in the specification's content type."""
    assert witness.add_checkpoint(request(3, 7)) == Answer(409, b"0\n", "text/x.tlog.size")
    assert witness.add_checkpoint(request(0, 7)).status == 200
    for old in (0, 6, 8):
        assert witness.add_checkpoint(request(old, 9)) == Answer(409, b"7\n", "text/x.tlog.size")


def test_a_second_ledger_is_refused_and_kept_as_evidence(witness: Witness, directory: Path) -> None:
    """Same size, another root: 409, and both signed notes on disk; larger: no proof connects them, 422."""
    assert witness.add_checkpoint(request(0, 8)).status == 200
    assert witness.add_checkpoint(request(8, 8, FORKED)) == Answer(409, b"8\n", "text/x.tlog.size")
    assert witness.add_checkpoint(request(8, 9, FORKED)).status == 422
    assert witness.add_checkpoint(request(5, 8, FORKED)).status == 409
    (evidence,) = (directory / "evidence").iterdir()
    notes = json.loads(evidence.read_bytes())
    claims = [claimed_checkpoint(notes[name].encode()) for name in ("known", "presented")]
    assert [(claim.size, claim.root) for claim in claims] == [(8, HONEST.root(8)), (8, FORKED.root(8))]
    for note in notes.values():
        parse_note(note.encode()).verify(VerifierKey.from_text(log_key()))
    assert witness.add_checkpoint(request(8, 9)).status == 200


def test_statuses_are_those_of_the_specification(witness: Witness) -> None:
    """404 unknown log, 403 unknown key, 400 malformed or shrinking, 422 a proof that proves nothing."""
    other = sign_checkpoint("other.example/log", 1, HONEST.root(1), LOG)
    assert witness.add_checkpoint(AddCheckpoint(0, (), other).to_bytes()).status == 404
    assert witness.add_checkpoint(request(0, 4, key=STRANGER)).status == 403
    assert witness.add_checkpoint(request(5, 4)).status == 400
    for body in (
        b"",
        b"old 0\n\n",
        request(0, 4)[:-1],
        b"old 0\n\n" + sign_note("no checkpoint\n", ORIGIN, LOG),
    ):
        assert witness.add_checkpoint(body).status == 400
    assert witness.add_checkpoint(request(0, 4)).status == 200
    checkpoint = sign_checkpoint(ORIGIN, 9, HONEST.root(9), LOG)
    right = tuple(HONEST.consistency_proof(4, 9))
    for proof in ((), right[:-1], right[::-1], (*right, bytes(32))):
        assert witness.add_checkpoint(AddCheckpoint(4, proof, checkpoint).to_bytes()).status == 422
    same = sign_checkpoint(ORIGIN, 4, HONEST.root(4), LOG)
    assert witness.add_checkpoint(AddCheckpoint(4, (bytes(32),), same).to_bytes()).status == 422


def test_a_log_may_change_its_key(tmp_path: Path) -> None:
    """Of several keys of one log each counts, and there is one memory for all of them."""
    initialise(
        tmp_path / "w", name=NAME, logs=[log_key(), log_key(NEXT_LOG), log_key(origin="b.example/log")]
    )
    with opened(tmp_path / "w") as witness:
        assert witness.add_checkpoint(request(0, 8)).status == 200
        assert witness.add_checkpoint(request(8, 9, FORKED, NEXT_LOG)).status == 422
        assert witness.add_checkpoint(request(8, 9, key=NEXT_LOG)).status == 200
        assert witness.add_checkpoint(request(0, 9, key=STRANGER)).status == 403


@settings(max_examples=150, deadline=None)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from([HONEST, FORKED]),
            st.integers(0, 12),
            st.integers(0, 12),
            st.booleans(),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_whatever_is_asked_all_that_is_cosigned_is_one_ledger(
    asked: list[tuple[MerkleTree, int, int, bool, bool]],
) -> None:
    """Requests about two ledgers in any order and from any size, across restarts: sizes never fall."""
    cosigned: list[tuple[int, bytes]] = []
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "witness"
        initialise(directory, name=NAME, logs=[log_key()])
        witness = Witness(directory, clock=lambda: 1)
        for tree, old, size, knows, restarts in asked:
            start = cosigned[-1][0] if knows and cosigned else old
            if witness.add_checkpoint(request(start, size, tree)).status == 200:
                cosigned.append((size, tree.root(size)))
            if restarts:
                witness.close()
                witness = Witness(directory, clock=lambda: 1)
        witness.close()
    sizes = [size for size, _ in cosigned]
    assert sizes == sorted(sizes)
    assert any(all(tree.root(size) == root for size, root in cosigned) for tree in (HONEST, FORKED))


def test_of_two_who_ask_at_once_one_is_refused(witness: Witness) -> None:
    """Many threads present two ledgers of one size: all cosignatures are of the same one."""
    start = threading.Barrier(8)
    answers: list[tuple[bool, int]] = []

    def ask(is_fork: bool) -> None:
        start.wait()
        answers.append(
            (is_fork, witness.add_checkpoint(request(0, 20, FORKED if is_fork else HONEST)).status)
        )

    threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({is_fork for is_fork, status in answers if status == 200}) == 1


# What it remembers


def test_it_remembers_across_restarts(directory: Path) -> None:
    """After a restart the old ledger goes on and the other one is refused."""
    with opened(directory) as witness:
        assert witness.add_checkpoint(request(0, 8)).status == 200
    with opened(directory) as witness:
        assert witness.add_checkpoint(request(0, 8, FORKED)).status == 409
        assert witness.add_checkpoint(request(8, 9)).status == 200


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "state.json").unlink(),
        lambda path: (path / "state.json").write_bytes(b""),
        lambda path: (path / "state.json").write_bytes(b'{"noren.example/ledger":"no note"}'),
        lambda path: (path / "state.json").write_bytes(b'{"noren.example/ledger":7}'),
        lambda path: (path / "state.json").rename(path / "elsewhere"),
        lambda path: (path / "witness.key").write_bytes(b"short"),
        lambda path: (path / "witness.key").unlink(),
        lambda path: (path / "witness.toml").unlink(),
        lambda path: (path / "witness.toml").write_text("name = 1\nlogs = []\n"),
        lambda path: (path / "witness.toml").write_text(f'name = "{NAME}"\nlogs = ["x"]\n'),
        lambda path: (path / "witness.toml").write_text("["),
    ],
)
def test_without_its_memory_it_does_not_start(directory: Path, damage: Callable[[Path], object]) -> None:
    """A missing or damaged file is no empty one: a forgetful witness would sign for a second ledger."""
    with opened(directory) as witness:
        witness.add_checkpoint(request(0, 8))
    damage(directory)
    with pytest.raises(ConfigurationError):
        Witness(directory, clock=lambda: 1)


def test_a_state_under_another_logs_name_is_refused(directory: Path) -> None:
    """What is remembered of one log does not count for another."""
    with opened(directory) as witness:
        witness.add_checkpoint(request(0, 8))
    state = json.loads((directory / "state.json").read_bytes())
    (directory / "state.json").write_text(json.dumps({"b.example/log": state[ORIGIN]}, separators=(",", ":")))
    with pytest.raises(ConfigurationError):
        Witness(directory, clock=lambda: 1)


def test_two_processes_do_not_share_a_memory(directory: Path, witness: Witness) -> None:
    """The second one is refused as long as the first one runs."""
    with pytest.raises(ConfigurationError):
        Witness(directory, clock=lambda: 1)
    witness.close()
    Witness(directory, clock=lambda: 1).close()


def test_who_gave_up_its_memory_signs_nothing_more(directory: Path) -> None:
    """A request that is still being served when another process takes over gets no signature."""
    stopped = Witness(directory, clock=lambda: 1)
    stopped.close()
    with opened(directory) as witness:
        assert witness.add_checkpoint(request(0, 8)).status == 200
        assert stopped.add_checkpoint(request(0, 8, FORKED)).status == 503
        assert witness.add_checkpoint(request(8, 9)).status == 200


def test_its_files_are_its_own(directory: Path) -> None:
    """Key and state are 0600, a key is never overwritten, and the name and keys come back as given."""
    with opened(directory) as witness:
        witness.add_checkpoint(request(0, 8))
    for name in ("witness.key", "state.json", "witness.toml"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    with pytest.raises(ConfigurationError):
        initialise(directory, name=NAME, logs=[log_key()])
    assert load_config(directory).name == NAME
    assert [key.to_text() for key in load_config(directory).logs] == [log_key()]


def test_a_log_cannot_leave_no_room_for_evidence_against_another(tmp_path: Path) -> None:
    """However many trees one log signs, its evidence is bounded, and another log's is kept beside it."""
    origins = ("noisy.example/ledger", "other.example/ledger")
    initialise(tmp_path / "w", name=NAME, logs=[log_key(origin=origin) for origin in origins])
    with opened(tmp_path / "w") as witness:
        for origin, count in zip(origins, (100, 2), strict=True):
            for number in range(count):
                note = sign_checkpoint(origin, 1, leaf_hash(b"%d" % number), LOG)
                witness.add_checkpoint(AddCheckpoint(int(number > 0), (), note).to_bytes())
    kept = [json.loads(path.read_bytes()) for path in (tmp_path / "w" / "evidence").iterdir()]
    assert 1 <= sum(origins[0] in pair["presented"] for pair in kept) <= 16
    assert sum(origins[1] in pair["presented"] for pair in kept) == 1


def test_a_full_disk_is_not_filled_further(
    witness: Witness, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written is not signed, and leaves no file behind however often it is asked for."""
    names = sorted(path.name for path in directory.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            with pytest.raises(OSError, match="full"):
                witness.add_checkpoint(request(0, 8))
    assert sorted(path.name for path in directory.iterdir()) == names
    assert witness.add_checkpoint(request(0, 9, FORKED)).status == 200


@pytest.mark.parametrize(
    ("name", "logs"),
    [
        ("", [log_key()]),
        ("a b", [log_key()]),
        ('a"b', [log_key()]),
        (NAME, []),
        (NAME, ["x"]),
        (NAME, [VerifierKey('a"b', LOG.public_key).to_text()]),
        (NAME, [VerifierKey("a\\b", LOG.public_key).to_text()]),
        (NAME, [CosignerKey(ORIGIN, LOG.public_key).to_text()]),
        (NAME, [log_key()] * 65),
    ],
)
def test_a_witness_needs_a_name_and_logs(tmp_path: Path, name: str, logs: list[str]) -> None:
    """Nothing is made of names or keys that no note could carry."""
    with pytest.raises(ConfigurationError):
        initialise(tmp_path / "w", name=name, logs=logs)
    assert not (tmp_path / "w").exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_witness import opened, request
left = [{calls}]
def counted(call):
    def counting(*arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return counting
with opened(Path({directory!r})) as witness:
    os.open, os.fsync, Path.replace = counted(os.open), counted(os.fsync), counted(Path.replace)
    print(witness.add_checkpoint(request(8, 9)).status, flush=True)
"""


@pytest.mark.parametrize("calls", range(6))
def test_killed_anywhere_it_has_signed_only_what_it_remembers(directory: Path, calls: int) -> None:
    """Killed before the n-th call to the disk, it starts again with the old state or the new one.

    It says something only with the new one.
    """
    with opened(directory) as witness:
        assert witness.add_checkpoint(request(0, 8)).status == 200
    tests = Path(__file__).parent
    paths = [str(tests), str(tests.parent / "support")]
    script = _KILLED.format(paths=paths, calls=calls, directory=str(directory))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert (done.returncode == 0) == (calls == 5)
    with opened(directory) as witness:
        kept = json.loads((directory / "state.json").read_bytes())[ORIGIN]
        size = claimed_checkpoint(kept.encode()).size
        assert size in (8, 9)
        assert size == 9 or not done.stdout
        assert witness.add_checkpoint(request(size, 9, FORKED)).status in (409, 422)
        assert witness.add_checkpoint(request(size, 9)).status == 200


# Over HTTP


@contextmanager
def serving(witness: Witness, listening: Listening | None = None) -> Iterator[WitnessServer]:
    with WitnessServer(witness, listening or Listening()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def post(
    connection: http.client.HTTPConnection, body: bytes, path: str = "/add-checkpoint"
) -> tuple[int, str | None, bytes]:
    connection.request("POST", path, body)
    response = connection.getresponse()
    return response.status, response.headers["Content-Type"], response.read()


def test_requests_over_one_connection(witness: Witness) -> None:
    """Several requests on one kept-alive connection, with statuses and content types as specified."""
    with serving(witness) as server:
        with closing(
            http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
        ) as connection:
            assert post(connection, request(3, 4)) == (409, "text/x.tlog.size", b"0\n")
            status, _, body = post(connection, request(0, 4))
            assert status == 200
            assert verify_cosignature(parse_note(request(0, 4).partition(b"\n\n")[2] + body), witness.key) > 0
            assert post(connection, b"nonsense")[0] == 400
            assert post(connection, request(4, 6))[0] == 200
            assert post(connection, request(4, 6), "/other")[0] == 404
        assert server.url == f"http://127.0.0.1:{server.server_address[1]}"


def raw(server: WitnessServer, data: bytes) -> bytes:
    """Everything that comes back for these bytes until the server hangs up."""
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_bodies_are_bounded_and_stated(witness: Witness) -> None:
    """Too long, unstated, chunked, negative or cut off: refused unread, and the connection ends."""
    with serving(witness) as server:
        for headers, status in (
            (b"Content-Length: %d" % (MAX_REQUEST_BYTES + 1), 413),
            (b"Content-Length: " + b"9" * 4000, 413),
            (b"Content-Length: -1", 411),
            (b"Content-Length: 1_0", 411),
            ("Content-Length: ٣".encode(), 411),
            (b"Transfer-Encoding: chunked", 411),
            (b"X: y", 411),
        ):
            answer = raw(server, b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 %d " % status), headers
        cut = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nold 0\n"
        assert raw(server, cut) == b""
        assert raw(server, b"GET /add-checkpoint HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 501 ")
        assert witness.add_checkpoint(request(0, 4)).status == 200


def test_too_many_connections_are_hung_up_on(witness: Witness) -> None:
    """Whoever holds all places keeps others waiting for nothing; when they leave, all is well again."""
    with serving(witness) as server:
        address = server.server_address[:2]
        held = [socket.create_connection(address, timeout=20) for _ in range(MAX_CONNECTIONS)]
        with socket.create_connection(address, timeout=20) as late:
            assert late.recv(1) == b""
        for connection in held:
            connection.close()
        status = 0
        while status != 200:  # their threads have to notice
            with (
                suppress(ConnectionError, http.client.BadStatusLine),
                closing(http.client.HTTPConnection(*address, timeout=20)) as again,
            ):
                status, _, _ = post(again, request(0, 8))


def test_who_sends_without_end_is_hung_up_on(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection has its time, however steadily something arrives: else 32 of them would be all."""
    monkeypatch.setattr(bounded_server, "CONNECTION_SECONDS", 0.2)
    left = 600
    with serving(witness) as server, socket.create_connection(server.server_address[:2]) as slow:
        slow.settimeout(0.05)
        with suppress(ConnectionError):
            slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nX: ")
            while left:
                left -= 1
                with suppress(TimeoutError):
                    slow.sendall(b"x")
                    assert slow.recv(1) == b""
                    break
    assert left


def test_with_a_certificate_it_speaks_tls(witness: Witness, tmp_path: Path) -> None:
    """https with the given certificate; half of a pair, or no certificate at all, is refused at the start."""
    certificate, key = self_signed(tmp_path)
    trusted = ssl.create_default_context(cafile=str(certificate))
    with serving(witness, Listening(certificate=certificate, private_key=key)) as server:
        port = server.server_address[1]
        assert server.url.startswith("https://")
        assert raw(server, b"plain text\r\n\r\n")[:5] != b"HTTP/"
        with closing(
            http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=trusted)
        ) as connection:
            assert post(connection, request(0, 4))[0] == 200
    for listening in (
        Listening(certificate=certificate),
        Listening(private_key=key),
        Listening(certificate=key, private_key=certificate),
        Listening(certificate=tmp_path / "none", private_key=key),
        Listening(host="192.0.2.1"),
    ):
        with pytest.raises(ConfigurationError):
            WitnessServer(witness, listening)


@pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")
def test_the_command_serves_until_it_is_told_to_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`init` prints the key; `serve` answers in its own process, ends on SIGTERM and survives kill -9."""
    directory = tmp_path / "w"
    assert main(["--json", "witness", "init", str(directory), "--name", NAME, "--log", log_key()]) == 0
    key = CosignerKey.from_text(json.loads(capsys.readouterr().out)["key"])
    statuses = []
    for ending, code, body in (
        (signal.SIGKILL, -signal.SIGKILL, request(0, 8)),
        (signal.SIGTERM, 0, request(8, 8, FORKED)),
        (signal.SIGINT, 0, request(8, 9)),
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "noren_audit.cli", "witness", "serve", str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        port = int(process.stderr.readline().rpartition(":")[2])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            status, _, answer = post(connection, body)
        statuses.append(status)
        if status == 200:
            verify_cosignature(parse_note(body.partition(b"\n\n")[2] + answer), key)
        process.send_signal(ending)
        process.communicate(timeout=20)
        assert process.returncode == code
    assert statuses == [200, 409, 200]

"""The platform asks witnesses: what they verifiably signed counts, and nothing that they do can harm it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from noren_audit.bounded_server import Listening
from noren_audit.witness.witness import Witness, initialise
from noren_audit.witness.witness_server import WitnessServer
from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_core.ledger.checkpoint import claimed_size, open_checkpoint
from noren_core.ledger.cosignature import CosignerKey, cosign, verify_quorum
from noren_core.ledger.entries import PLATFORM, countersign, sign_entry
from noren_core.ledger.note import MAX_NOTE_BYTES, VerifierKey, parse_note
from noren_core.ledger.tlog_proof import verify_tlog_proof
from noren_core.season.plan import Witnesses
from noren_server import witnesses
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.witnesses import WitnessAddress, WitnessPanel

ORIGIN = "noren.example/log"
LOG_KEY = SigningKey.from_bytes(bytes([1] * 32))
PLATFORM_KEY = SigningKey.from_bytes(bytes([2] * 32))
LOG = VerifierKey(ORIGIN, LOG_KEY.public_key)
NOBODY = SigningKey.from_bytes(bytes([9] * 32))


def entry(number: int) -> bytes:
    """A distinct entry for every number."""
    body = {"campaign": "autumn", "round": number + 1, "reason": "TOO_FEW"}
    return countersign(sign_entry("round-failed", PLATFORM, body, PLATFORM_KEY), PLATFORM_KEY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LedgerStore]:
    with LedgerStore(tmp_path / "ledger.db", origin=ORIGIN, log_key=LOG_KEY) as opened:
        yield opened


@contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[str]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(directory: Path, name: str) -> Iterator[WitnessAddress]:
    """A real witness; what is in `directory` is remembered."""
    if not directory.exists():
        initialise(directory, name=name, logs=[LOG.to_text()])
    with (
        closing(Witness(directory, clock=lambda: 1_700_000_000)) as witness,
        served(WitnessServer(witness, Listening())) as url,
    ):
        yield WitnessAddress(url, witness.key)


@contextmanager
def answering(
    answer: Callable[[bytes], tuple[int, bytes]], key: SigningKey = NOBODY
) -> Iterator[WitnessAddress]:
    """A witness that answers whatever it likes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # we hung up on an answer that was too long
                super().handle()

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield WitnessAddress(url, CosignerKey("witness.example/other", key.public_key))


def test_enough_witnesses_make_a_cosigned_checkpoint(store: LedgerStore, tmp_path: Path) -> None:
    """Every answer that verifies is in the note, which is the log's and over everything; and grows on."""
    with ExitStack() as stack:
        addresses = tuple(
            stack.enter_context(running(tmp_path / f"w{number}", f"witness.example/{number}"))
            for number in range(3)
        )
        panel = WitnessPanel(addresses, 2)
        for size in (1, 2, 5, 5):
            store.append_many([entry(number) for number in range(size)])
            note = panel.cosigned(store)
            assert open_checkpoint(note, LOG).size == size
            verify_quorum(parse_note(note), [address.key for address in addresses], 3)
        assert panel.stated == Witnesses(tuple(sorted(a.key.to_text() for a in addresses)), 2)


def test_a_platform_that_restarts_learns_what_its_witnesses_know(store: LedgerStore, tmp_path: Path) -> None:
    """It asks from size 0, is told the known one, and asks once more."""
    store.append_many([entry(0), entry(1)])
    for _ in range(2):
        with running(tmp_path / "w", "witness.example/w") as address:
            verify_quorum(parse_note(WitnessPanel((address,), 1).cosigned(store)), [address.key], 1)
        store.append_many([entry(2)])


def test_without_witnesses_a_checkpoint_is_the_logs_alone(store: LedgerStore) -> None:
    """No witnesses, a quorum of none."""
    store.append_many([entry(0)])
    assert WitnessPanel().stated == Witnesses((), 0)
    assert len(parse_note(WitnessPanel().cosigned(store)).signatures) == 1


def test_too_few_answers_are_an_error_and_some_are_enough(store: LedgerStore, tmp_path: Path) -> None:
    """One witness down: a quorum of one is met, of two is not; nothing else is affected."""
    store.append_many([entry(0)])
    down = WitnessAddress("http://127.0.0.1:1/", CosignerKey("witness.example/down", NOBODY.public_key))
    with running(tmp_path / "w", "witness.example/w") as address:
        verify_quorum(parse_note(WitnessPanel((down, address), 1).cosigned(store)), [address.key], 1)
        with pytest.raises(LocalProtocolError) as caught:
            WitnessPanel((down, address), 2).cosigned(store)
    assert caught.value.code == "WITNESS_QUORUM"


def line_for(request: bytes, key: SigningKey, name: str = "witness.example/other") -> bytes:
    text = parse_note(request.partition(b"\n\n")[2]).text
    return cosign(text, name, key, timestamp=5).to_line().encode()


def longer_line(request: bytes) -> bytes:
    """A cosignature of the note whose text is the whole note that was sent."""
    text = request.partition(b"\n\n")[2].decode()
    return cosign(text, "witness.example/other", NOBODY, timestamp=5).to_line().encode()


@pytest.mark.parametrize(
    "answer",
    [
        lambda asked: (200, b""),
        lambda asked: (200, b"nonsense"),
        lambda asked: (200, b"\xff" * 50),
        lambda asked: (200, b"\n\n" + line_for(asked, NOBODY)),
        lambda asked: (200, b"\n" + longer_line(asked)),
        lambda asked: (200, line_for(asked, LOG_KEY)),
        lambda asked: (200, line_for(asked, NOBODY, "witness.example/another")),
        lambda asked: (200, line_for(asked, NOBODY)[:-1]),
        lambda asked: (200, line_for(asked, NOBODY) * 40),
        lambda asked: (200, line_for(asked, NOBODY) + b" " * (MAX_NOTE_BYTES + 1)),
        lambda asked: (
            200,
            line_for(b"\n\n" + asked.partition(b"\n\n")[2].replace(b"\n1\n", b"\n2\n"), NOBODY),
        ),
        lambda asked: (301, line_for(asked, NOBODY)),
        lambda asked: (403, b""),
        lambda asked: (422, b""),
        lambda asked: (500, line_for(asked, NOBODY)),
        lambda asked: (409, b""),
        lambda asked: (409, b"0\n"),
        lambda asked: (409, b"1\n"),
        lambda asked: (409, b"-1\n"),
        lambda asked: (409, b"9999\n"),
        lambda asked: (409, b"9" * 4000),
    ],
)
def test_no_answer_but_a_cosignature_counts(
    store: LedgerStore, answer: Callable[[bytes], tuple[int, bytes]]
) -> None:
    """Any other answer is no cosignature: the quorum is missed, with its code, and nothing else happens."""
    store.append_many([entry(0)])
    with answering(answer) as address, pytest.raises(LocalProtocolError) as caught:
        WitnessPanel((address,), 1).cosigned(store)
    assert caught.value.code == "WITNESS_QUORUM"


def test_it_is_not_sent_elsewhere(store: LedgerStore) -> None:
    """A redirection is not followed, also if a good answer waits at its end."""
    store.append_many([entry(0)])
    asked: list[bytes] = []

    def moved(request: bytes) -> tuple[int, bytes]:
        asked.append(request)
        return (307, b"") if len(asked) == 1 else (200, line_for(request, NOBODY))

    with answering(moved) as address, pytest.raises(LocalProtocolError):
        WitnessPanel((address,), 1).cosigned(store)
    assert len(asked) == 1


def test_an_answer_without_end_is_not_read(store: LedgerStore) -> None:
    """The connection is cut soon after the answer is too long."""
    store.append_many([entry(0)])
    sent: list[int] = []
    is_over = threading.Event()

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                while sum(sent) < 256 << 20:
                    sent.append(self.wfile.write(b"x" * (1 << 20)))
            is_over.set()

        def log_message(self, *_: object) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Endless)) as url:
        address = WitnessAddress(url, CosignerKey("witness.example/other", NOBODY.public_key))
        with pytest.raises(LocalProtocolError):
            WitnessPanel((address,), 1).cosigned(store)
    assert is_over.wait(60)
    assert sum(sent) < 64 << 20


def test_lines_of_other_keys_are_left_out(store: LedgerStore) -> None:
    """Of an answer with several lines only the configured witness's goes into the note, once."""
    store.append_many([entry(0)])

    def generous(asked: bytes) -> tuple[int, bytes]:
        return 200, line_for(asked, LOG_KEY, "stranger.example") + line_for(asked, NOBODY) * 2

    with answering(generous) as address:
        note = parse_note(WitnessPanel((address,), 1).cosigned(store))
    assert [item.name for item in note.signatures] == [ORIGIN, "witness.example/other"]


def test_who_was_outrun_by_another_process_begins_again(store: LedgerStore) -> None:
    """A witness that has seen more than our checkpoint is asked about a newer one of ours."""
    store.append_many([entry(0)])

    def ahead(asked: bytes) -> tuple[int, bytes]:
        if claimed_size(asked.partition(b"\n\n")[2]) == 1:
            store.append_many([entry(1)])
            return 409, b"2\n"
        return 200, line_for(asked, NOBODY)

    with answering(ahead) as address:
        note = WitnessPanel((address,), 1).cosigned(store)
    assert claimed_size(note) == 2


def test_a_ledger_restored_from_an_old_copy_gets_no_cosignature(store: LedgerStore, tmp_path: Path) -> None:
    """Its witnesses have seen more than it has: this does not go away, and is said after a few attempts."""
    store.append_many([entry(0), entry(1)])
    with (
        LedgerStore(tmp_path / "old.db", origin=ORIGIN, log_key=LOG_KEY) as old,
        running(tmp_path / "w", "witness.example/w") as address,
    ):
        old.append_many([entry(0)])
        panel = WitnessPanel((address,), 1)
        panel.cosigned(store)
        for _ in range(2):
            with pytest.raises(LocalProtocolError):
                panel.cosigned(old)
            old.append_many([entry(7)])


def test_who_does_not_answer_in_time_does_not_count(
    store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A witness that says nothing is waited for as long as configured, and no longer."""
    monkeypatch.setattr(witnesses, "TIMEOUT_SECONDS", 0.2)
    store.append_many([entry(0)])
    may_end = threading.Event()

    def silent(asked: bytes) -> tuple[int, bytes]:
        may_end.wait(60)
        return 200, line_for(asked, NOBODY)

    with answering(silent) as slow:
        with pytest.raises(LocalProtocolError) as caught:
            WitnessPanel((slow,), 1).cosigned(store)
        assert not may_end.is_set()
        may_end.set()
    assert caught.value.code == "WITNESS_QUORUM"


def test_an_answer_that_never_comes_to_an_end_is_hung_up_on(
    store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that grows by a byte at a time holds no thread of ours: the connection is cut in time."""
    monkeypatch.setattr(witnesses, "TIMEOUT_SECONDS", 0.2)
    store.append_many([entry(0)])
    is_cut, may_end = threading.Event(), threading.Event()

    class Trickling(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with suppress(ConnectionError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while not may_end.wait(0.05):
                    self.wfile.write(b"x")
                return
            is_cut.set()

        def log_message(self, *_: object) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Trickling)) as url:
        address = WitnessAddress(url, CosignerKey("witness.example/other", NOBODY.public_key))
        with pytest.raises(LocalProtocolError):
            WitnessPanel((address,), 1).cosigned(store)
        was_cut = is_cut.wait(20)
        may_end.set()
    assert was_cut


@pytest.mark.parametrize(
    "url", ["", "w.example", "ftp://w.example", "http://", "http://w.example/?x", "http://w/#x"]
)
def test_a_witness_has_a_plain_address(url: str) -> None:
    """Only http and https, with a host, without query or fragment."""
    with pytest.raises(ConfigurationError):
        WitnessAddress(url, CosignerKey("w.example", NOBODY.public_key))


def test_a_panel_must_make_sense() -> None:
    """A quorum of at least one and at most all; no key twice; at most 16."""
    keys = [SigningKey.from_bytes(bytes([number] * 32)).public_key for number in range(20)]
    addresses = [
        WitnessAddress("http://w.example", CosignerKey(f"w{n}.example", key)) for n, key in enumerate(keys)
    ]
    alias = WitnessAddress("http://w.example", CosignerKey("alias.example", keys[0]))
    for chosen, quorum in (
        (addresses[:2], 0),
        (addresses[:2], 3),
        (addresses[:2], -1),
        ([], 1),
        ([addresses[0], alias], 1),
        (addresses[:17], 1),
    ):
        with pytest.raises(ConfigurationError):
            WitnessPanel(tuple(chosen), quorum)
    WitnessPanel(tuple(addresses[:16]), 16)


# The service


def test_export_and_proofs_carry_cosignatures(store: LedgerStore, tmp_path: Path) -> None:
    """What the service hands out is under a cosigned checkpoint; a proof verifies for its entry."""
    store.append_many([entry(number) for number in range(4)])
    with running(tmp_path / "w", "witness.example/w") as address:
        service = LedgerService(store, PLATFORM_KEY, WitnessPanel((address,), 1))
        assert service.witnesses == Witnesses((address.key.to_text(),), 1)
        service.export(tmp_path / "bundle")
        data, proof = service.prove_entry(2)
        with pytest.raises(LocalProtocolError):
            service.prove_entry(4)
        with pytest.raises(LocalProtocolError):
            service.prove_entry(-1)
    verify_quorum(parse_note((tmp_path / "bundle" / "checkpoint").read_bytes()), [address.key], 1)
    assert data == entry(2)
    assert verify_tlog_proof(proof, data, log_key=LOG, witnesses=[address.key], quorum=1).size == 4
    with pytest.raises(LocalProtocolError):  # its witness is gone
        service.export(tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_a_bundle_is_cut_to_its_checkpoint(store: LedgerStore, tmp_path: Path) -> None:
    """What was appended after the checkpoint was cosigned is not in the bundle."""
    store.append_many([entry(0), entry(1)])
    checkpoint = store.checkpoint()
    store.append_many([entry(2), entry(3)])
    store.export(tmp_path / "bundle", checkpoint)
    assert {path.name for path in (tmp_path / "bundle" / "tile" / "0").rglob("*")} == {"000.p", "2"}

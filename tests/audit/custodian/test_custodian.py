"""The custodian gives a share back to its company until it is destroyed, and then never again."""

from __future__ import annotations

import errno
import http.client
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from noren_audit.bounded_server import Listening
from noren_audit.cli import main
from noren_audit.custodian.custodian import Custodian, admit, initialise, load_companies
from noren_audit.custodian.custodian_server import CustodianServer
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.errors import ConfigurationError, DataError, VerificationError
from noren_core.rights.erasure.custody import (
    MAX_REQUEST_BYTES,
    PATH,
    WINDOW_SECONDS,
    CustodyAnswer,
    CustodyCosignature,
    CustodyOperation,
    CustodyRequest,
    DestructionStatement,
    open_share,
)

NOW = 1_800_000_000
COMPANY, OTHER, CAMPAIGN = "aoba", "akane", "spring"
KEY, OTHER_KEY = SigningKey.from_bytes(bytes([1] * 32)), SigningKey.from_bytes(bytes([2] * 32))
PUT, GET, DESTROY, LIST, COSIGN = CustodyOperation


class Company:
    """Asks as a company does, each time with a new nonce and reply key."""

    def __init__(self, custodian: Custodian, *, name: str = COMPANY, key: SigningKey = KEY) -> None:
        self.custodian, self.name, self.key = custodian, name, key
        self.reply_key = SealingKey.generate()

    def request(self, operation: CustodyOperation, handle: bytes = b"", **more: object) -> CustodyRequest:
        reply_key = self.reply_key.public_key if operation in (PUT, GET) else b""
        fields = {
            "operation": operation,
            "company": self.name,
            "campaign": CAMPAIGN,
            "handle": handle,
            "nonce": os.urandom(16),
            "issued_at": NOW,
            "reply_key": reply_key,
            **more,
        }
        return CustodyRequest(**fields)  # type: ignore[arg-type]

    def status(self, operation: CustodyOperation, handle: bytes = b"", **more: object) -> int:
        return self.custodian.answer(self.request(operation, handle, **more).sign(self.key).to_bytes()).status

    def ask(self, operation: CustodyOperation, handle: bytes = b"", **more: object) -> CustodyAnswer:
        sent = self.request(operation, handle, **more).sign(self.key)
        answer = self.custodian.answer(sent.to_bytes())
        assert answer.status == 200, answer.body
        return CustodyAnswer.open(answer.body, sent, custodian_key=self.custodian.public_key)

    def share(self, operation: CustodyOperation, handle: bytes) -> bytes:
        sent = self.request(operation, handle).sign(self.key)
        answer = self.custodian.answer(sent.to_bytes())
        assert answer.status == 200, answer.body
        opened = CustodyAnswer.open(answer.body, sent, custodian_key=self.custodian.public_key)
        return open_share(opened.sealed_share, self.reply_key, sent).reveal()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    initialise(tmp_path / "custodian", name="auditor-1")
    admit(tmp_path / "custodian", COMPANY, KEY.public_key)
    admit(tmp_path / "custodian", OTHER, OTHER_KEY.public_key)
    return tmp_path / "custodian"


@contextmanager
def opened(directory: Path, clock: Callable[[], int] = lambda: NOW) -> Iterator[Custodian]:
    with closing(Custodian(directory, clock=clock)) as custodian:
        yield custodian


@pytest.fixture
def custodian(directory: Path) -> Iterator[Custodian]:
    with opened(directory) as custodian:
        yield custodian


def handle(number: int) -> bytes:
    return bytes([number]) * 16


def test_a_share_comes_back_until_it_is_destroyed(custodian: Custodian) -> None:
    """Put and get give one share, also after a lost answer; destroyed, it is gone for get and for put."""
    aoba = Company(custodian)
    share = aoba.share(PUT, handle(1))
    assert len(share) == 32
    assert aoba.share(PUT, handle(1)) == aoba.share(GET, handle(1)) == share
    assert aoba.share(PUT, handle(2)) != share
    statement = aoba.ask(DESTROY, handle(1)).statement
    assert statement is not None
    said = DestructionStatement.open(statement, custodian_key=custodian.public_key)
    assert (said.company, said.handle, said.destroyed_at) == (COMPANY, handle(1), NOW)
    assert aoba.status(GET, handle(1)) == aoba.status(PUT, handle(1)) == 410
    assert aoba.ask(DESTROY, handle(1)).statement == statement
    assert aoba.status(GET, handle(3)) == 404
    assert aoba.ask(LIST).handles == (handle(2),)


def test_a_handle_that_was_never_drawn_can_be_destroyed_too(custodian: Custodian) -> None:
    """Whoever lost the answer to a put destroys what it may have drawn, and it is never drawn after that."""
    aoba = Company(custodian)
    assert aoba.ask(DESTROY, handle(9)).statement is not None
    assert aoba.status(PUT, handle(9)) == 410


def test_companies_cannot_reach_each_others_shares(custodian: Custodian) -> None:
    """The same handle is another share for another company, and one's key signs nothing for the other."""
    aoba, akane = Company(custodian), Company(custodian, name=OTHER, key=OTHER_KEY)
    share = aoba.share(PUT, handle(1))
    assert akane.status(GET, handle(1)) == 404
    assert akane.share(PUT, handle(1)) != share
    akane.ask(DESTROY, handle(1))
    assert aoba.share(GET, handle(1)) == share
    assert Company(custodian, name=COMPANY, key=OTHER_KEY).status(GET, handle(1)) == 403
    assert Company(custodian, name="nobody").status(LIST) == 403


def test_a_request_counts_once_and_for_some_minutes(custodian: Custodian) -> None:
    """A nonce is good for one request; too old or from the future is refused; and so is altered by a byte."""
    aoba = Company(custodian)
    sent = aoba.request(PUT, handle(1)).sign(KEY).to_bytes()
    assert custodian.answer(sent).status == 200
    assert custodian.answer(sent).body == b"NONCE_USED\n"
    for seconds in (-WINDOW_SECONDS - 1, WINDOW_SECONDS + 1):
        assert aoba.status(PUT, handle(1), issued_at=NOW + seconds) == 403
    assert aoba.status(PUT, handle(1), issued_at=NOW - WINDOW_SECONDS) == 200
    altered = aoba.request(DESTROY, handle(1)).sign(KEY).to_bytes().replace(b'"01', b'"02')
    assert custodian.answer(altered).status == 403


@pytest.mark.parametrize(
    "change",
    [
        {"handle": b""},
        {"reply_key": b""},
        {"since": 5},
        {"certificate_sha256": bytes(32)},
        {"operation": LIST},
        {"operation": COSIGN},
        {"operation": DESTROY},
    ],
)
def test_a_request_has_the_fields_of_its_operation(custodian: Custodian, change: dict[str, object]) -> None:
    """Fields of another operation, or missing ones, are refused before anything is drawn."""
    aoba = Company(custodian)
    wrong = replace(aoba.request(GET, handle(1)), **change)  # type: ignore[arg-type]
    assert custodian.answer(wrong.sign(KEY).to_bytes()).status == 400
    assert aoba.ask(LIST).handles == ()


def test_a_certificate_is_cosigned_only_without_older_shares(directory: Path) -> None:
    """With one share from before the order it is refused; after that is destroyed, it says so and no more."""
    now = [NOW]
    with opened(directory, lambda: now[0]) as custodian:
        aoba = Company(custodian)
        aoba.ask(PUT, handle(1))
        now[0] = NOW + 100
        aoba.ask(PUT, handle(2), issued_at=NOW + 100)
        asked = {"certificate_sha256": bytes(range(32)), "since": NOW + 50, "issued_at": NOW + 100}
        assert aoba.status(COSIGN, **asked) == 409
        aoba.ask(DESTROY, handle(1))
        statement = aoba.ask(COSIGN, **asked).statement
        assert statement is not None
        said = CustodyCosignature.open(statement, custodian_key=custodian.public_key)
        assert (said.company, said.campaign) == (COMPANY, CAMPAIGN)
        assert (said.certificate_sha256, said.since, said.signed_at) == (
            bytes(range(32)),
            NOW + 50,
            NOW + 100,
        )
        assert statement.body.keys() == {
            "format",
            "company",
            "campaign",
            "certificate_sha256",
            "since",
            "signed_at",
        }


def test_an_answer_is_good_for_one_request(custodian: Custodian) -> None:
    """Opened as the answer to another request, or under another key, it is refused."""
    aoba = Company(custodian)
    first, second = (aoba.request(PUT, handle(1)).sign(KEY) for _ in range(2))
    body = custodian.answer(first.to_bytes()).body
    with pytest.raises(VerificationError):
        CustodyAnswer.open(body, second, custodian_key=custodian.public_key)
    with pytest.raises(VerificationError):
        CustodyAnswer.open(body, first, custodian_key=KEY.public_key)
    answer = CustodyAnswer.open(body, first, custodian_key=custodian.public_key)
    with pytest.raises(VerificationError):
        open_share(answer.sealed_share, aoba.reply_key, second)
    with pytest.raises(VerificationError):
        open_share(answer.sealed_share, SealingKey.generate(), first)


def test_shares_are_in_no_file_that_stays(custodian: Custodian, directory: Path) -> None:
    """While it lives a share is in one 0600 file; destroyed, its bytes are in no file at all, nor a repr."""
    aoba = Company(custodian)
    share = aoba.share(PUT, handle(1))

    def holding() -> list[Path]:
        files = [path for path in directory.rglob("*") if path.is_file()]
        return [
            path for path in files if share.hex().encode() in path.read_bytes() or share in path.read_bytes()
        ]

    (path,) = holding()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    aoba.ask(DESTROY, handle(1))
    assert holding() == []
    assert share.hex() not in repr(custodian._shares(aoba.request(LIST)))


def test_who_asks_too_often_is_refused_and_nobody_else(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One company's flood keeps no other from erasing; it is over when its requests are."""
    monkeypatch.setattr("noren_audit.custodian.custodian.MAX_NONCES", 3)
    now = NOW
    with opened(directory, lambda: now) as custodian:
        aoba, akane = Company(custodian), Company(custodian, name=OTHER, key=OTHER_KEY)
        assert [aoba.status(LIST) for _ in range(4)] == [200, 200, 200, 503]
        assert akane.status(DESTROY, handle(1)) == 200
        now += 2 * WINDOW_SECONDS + 1
        assert aoba.status(LIST, issued_at=now) == 200


def test_what_a_crash_left_half_destroyed_is_finished(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the decision and before the share went: from the next start on the share is gone."""
    with opened(directory) as custodian:
        aoba = Company(custodian)
        share = aoba.share(PUT, handle(1))
        with monkeypatch.context() as patch:

            def crash(*_: object) -> None:
                raise OSError(errno.EIO, "crash")

            patch.setattr(custodian, "_remove_share", crash)
            with pytest.raises(OSError, match="crash"):
                custodian.answer(aoba.request(DESTROY, handle(1)).sign(KEY).to_bytes())
        assert aoba.status(GET, handle(1)) == 410
    with opened(directory) as custodian:
        assert Company(custodian).ask(LIST).handles == ()
    assert not any(
        share.hex().encode() in path.read_bytes() for path in directory.rglob("*") if path.is_file()
    )


def test_a_share_is_on_disk_before_it_is_given_out(
    custodian: Custodian, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk nothing is given out, and nothing stays behind."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    aoba = Company(custodian)
    aoba.ask(PUT, handle(1))
    before = sorted(directory.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="full"):
            custodian.answer(aoba.request(PUT, handle(2)).sign(KEY).to_bytes())
    assert sorted(directory.rglob("*")) == before
    assert aoba.ask(LIST).handles == (handle(1),)


def test_one_process_serves_a_directory(directory: Path) -> None:
    """A second one is refused while the first runs, and what is still asked of a stopped one is refused."""
    stopped = Custodian(directory, clock=lambda: NOW)
    with pytest.raises(ConfigurationError):
        Custodian(directory, clock=lambda: NOW)
    stopped.close()
    with opened(directory):
        assert Company(stopped).status(LIST) == 503


def test_its_keys_are_never_overwritten(directory: Path) -> None:
    """A second init is refused, names are names, and a company admitted again has its new key."""
    with pytest.raises(ConfigurationError):
        initialise(directory, name="auditor-2")
    with pytest.raises(ConfigurationError):
        admit(directory, "Not A Name", KEY.public_key)
    with pytest.raises(ConfigurationError):
        admit(directory, COMPANY, b"short")
    admit(directory, COMPANY, OTHER_KEY.public_key)
    assert load_companies(directory) == {COMPANY: OTHER_KEY.public_key, OTHER: OTHER_KEY.public_key}


class CustodianMachine(RuleBasedStateMachine):
    """Puts, gets, destructions and restarts in any order, beside what they must come to."""

    handles = st.integers(0, 3)

    @initialize(place=st.uuids())
    def begin(self, place: object) -> None:
        import tempfile

        self.place = tempfile.TemporaryDirectory()
        self.directory = Path(self.place.name) / "custodian"
        initialise(self.directory, name="auditor-1")
        admit(self.directory, COMPANY, KEY.public_key)
        self.custodian = Custodian(self.directory, clock=lambda: NOW)
        self.shares: dict[int, bytes] = {}
        self.destroyed: set[int] = set()

    @rule(number=handles)
    def put(self, number: int) -> None:
        if number in self.destroyed:
            assert Company(self.custodian).status(PUT, handle(number)) == 410
            return
        share = Company(self.custodian).share(PUT, handle(number))
        assert self.shares.setdefault(number, share) == share

    @rule(number=handles)
    def get(self, number: int) -> None:
        aoba = Company(self.custodian)
        if number in self.destroyed or number not in self.shares:
            assert aoba.status(GET, handle(number)) == (410 if number in self.destroyed else 404)
        else:
            assert aoba.share(GET, handle(number)) == self.shares[number]

    @rule(number=handles)
    def destroy(self, number: int) -> None:
        Company(self.custodian).ask(DESTROY, handle(number))
        self.destroyed.add(number)

    @rule()
    def restart(self) -> None:
        self.custodian.close()
        self.custodian = Custodian(self.directory, clock=lambda: NOW)

    @invariant()
    def lists_what_exists(self) -> None:
        live = sorted(handle(number) for number in self.shares.keys() - self.destroyed)
        assert list(Company(self.custodian).ask(LIST).handles) == live

    def teardown(self) -> None:
        self.custodian.close()
        self.place.cleanup()


TestCustodianMachine = CustodianMachine.TestCase
TestCustodianMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


def test_over_http_it_answers_one_path(custodian: Custodian) -> None:
    """A signed answer to POST /custody; 404 elsewhere; a long body is refused unread."""
    with CustodianServer(custodian, Listening()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
            sent = Company(custodian).request(LIST).sign(KEY)
            connection.request("POST", PATH, body=sent.to_bytes())
            answer = connection.getresponse()
            assert answer.status == 200
            CustodyAnswer.open(answer.read(), sent, custodian_key=custodian.public_key)
            connection.request("POST", "/else", body=b"")
            assert connection.getresponse().status == 404
            connection.close()
            connection.request("POST", PATH, body=bytes(MAX_REQUEST_BYTES + 1))
            assert connection.getresponse().status == 413
            connection.close()
        finally:
            server.shutdown()


@pytest.mark.end_to_end
def test_the_commands_make_and_run_one(tmp_path: Path) -> None:
    """init prints the key, admit takes a company, serve answers until SIGTERM."""
    assert main(["custodian", "init", str(tmp_path / "c"), "--name", "auditor-1"]) == 0
    assert main(["custodian", "admit", str(tmp_path / "c"), COMPANY, KEY.public_key.hex()]) == 0
    assert main(["custodian", "admit", str(tmp_path / "c"), COMPANY, "xx"]) == 3
    command = [sys.executable, "-m", "noren_audit.cli", "custodian", "serve", str(tmp_path / "c")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("custodian: http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_malformed_requests_are_data_errors() -> None:
    """Another format, a further field, an encoding that is not canonical: all refused as bad data."""
    good = CustodyRequest(
        operation=LIST, company=COMPANY, campaign=CAMPAIGN, handle=b"", nonce=bytes(16), issued_at=NOW
    ).sign(KEY)
    CustodyRequest.parse(good.to_bytes())
    for data in (
        b"",
        b"{}",
        good.to_bytes() + b" ",
        good.to_bytes().replace(b"custody-request", b"custody-requesu"),
        good.to_bytes().replace(b'"since":0', b'"since":-1'),
        good.to_bytes().replace(b'"since":0', b'"since":0,"zzz":0'),
        bytes(MAX_REQUEST_BYTES + 1),
    ):
        with pytest.raises(DataError):
            CustodyRequest.parse(data)

"""Counting what leaves."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from loopback_custodian import Clock, make_company, running_custodian

from noren_client import flower_app, training_session
from noren_client.cli import main
from noren_client.leaving import sent_bytes
from noren_client.leaving.counted_channel import counted
from noren_client.leaving.overview import overview
from noren_client.leaving.sent_bytes import Sent, note_sent, sent
from noren_client.rights.custody import CustodyStore, record_name
from noren_core.errors import RemoteProtocolError
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services
from noren_core.wire.v1 import training_pb2


class Platform(services.PlatformServicer):
    """Answers with nothing."""

    def GetProof(self, request: object, context: grpc.ServicerContext) -> training_pb2.LedgerProof:  # noqa: N802
        return training_pb2.LedgerProof()

    def FetchTable(self, request: object, context: grpc.ServicerContext) -> Iterator[wire.TablePart]:  # noqa: N802
        yield wire.TablePart(index=0, chunk=b"x" * 1000)

    def SubmitWeights(  # noqa: N802
        self, request_iterator: Iterator[object], context: grpc.ServicerContext
    ) -> wire.SealedSums:
        for _ in request_iterator:
            pass
        return wire.SealedSums()

    def Append(self, request: object, context: grpc.ServicerContext) -> training_pb2.LedgerProof:  # noqa: N802
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[services.PlatformStub]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    services.add_PlatformServicer_to_server(Platform(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with counted(grpc.insecure_channel(f"127.0.0.1:{port}"), tmp_path) as channel:
        yield services.PlatformStub(channel)
    server.stop(None)


def test_every_shape_of_call_is_counted_by_its_request(stub: services.PlatformStub, tmp_path: Path) -> None:
    """One message, one answered by a stream, a stream of them, and one that is refused; answers are not."""
    proof = wire.GetProofRequest(campaign="spring-2026", known_tree_size=300)
    table = wire.FetchTableRequest(campaign="spring-2026", kind="train")
    parts = [wire.WeightsPart(campaign="spring-2026"), wire.WeightsPart(part=b"x" * 5000)]
    entry = wire.AppendRequest(entry=b"e" * 70)
    stub.GetProof(proof)
    stub.GetProof(proof)
    assert [len(part.chunk) for part in stub.FetchTable(table)] == [1000]
    stub.SubmitWeights(iter(parts))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Append(entry)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    found = {kind: (item.messages, item.size_bytes) for kind, item in sent(tmp_path).items()}
    assert found == {
        "Platform.GetProof": (2, 2 * len(proof.SerializeToString())),
        "Platform.FetchTable": (1, len(table.SerializeToString())),
        "Platform.SubmitWeights": (1, sum(len(part.SerializeToString()) for part in parts)),
        "Platform.Append": (1, len(entry.SerializeToString())),
    }


def test_every_question_to_the_custodian_is_counted(tmp_path: Path) -> None:
    """By what is asked, as it is sent: a signed request of some hundred bytes."""
    clock, name = Clock(), record_name("spring", ArtefactClass.SCORE, "aa" * 16)
    with running_custodian(tmp_path / "custodian", clock) as custodian:
        company = make_company(tmp_path / "company")
        custodian.admit(company)
        with CustodyStore(company, clock=clock) as store:
            store.write(name, b"kept")
            store.read(name)
            store.destroy(name)
    found = sent(company)
    assert {"Custody.put", "Custody.get", "Custody.destroy"} <= set(found)
    assert all(300 < item.size_bytes / item.messages < 1000 for item in found.values())


def test_answers_to_training_messages_are_counted_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole signed reply; what is refused is not sent, and not counted."""
    request = training_pb2.TrainingRequest(share=training_pb2.ShareRequest(campaign="spring-2026"))
    monkeypatch.setattr(training_session, "handle", lambda _directory, _payload: b"r" * 321)
    assert flower_app.handle_training(tmp_path, request.SerializeToString()) == b"r" * 321
    assert sent(tmp_path)["Training.share"].size_bytes == 321

    def refuse(_directory: Path, _payload: bytes) -> bytes:
        raise RemoteProtocolError("no")

    monkeypatch.setattr(training_session, "handle", refuse)
    with pytest.raises(RemoteProtocolError):
        flower_app.handle_training(tmp_path, request.SerializeToString())
    assert sent(tmp_path)["Training.share"].messages == 1


def test_counts_hold_no_name_and_nobody_else_reads_them(stub: services.PlatformStub, tmp_path: Path) -> None:
    """Kinds, numbers and times."""
    stub.GetProof(wire.GetProofRequest(campaign="spring-2026"))
    path = tmp_path / sent_bytes.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "spring" not in path.read_text()
    assert json.loads(path.read_text())["sent"].keys() == {"Platform.GetProof"}


def test_nothing_is_lost_between_threads(tmp_path: Path) -> None:
    """Several calls end at once."""
    threads = [
        threading.Thread(target=lambda: [note_sent(tmp_path, "Platform.GetProof", 10) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sent(tmp_path)["Platform.GetProof"]
    assert (found.messages, found.size_bytes) == (80, 800)
    assert not list(tmp_path.glob("*.part"))


def test_a_count_that_cannot_be_written_stops_no_call(tmp_path: Path) -> None:
    """And a damaged file begins again."""
    note_sent(tmp_path / "nowhere", "Platform.GetProof", 10)
    (tmp_path / sent_bytes.FILE_NAME).write_bytes(b"[]")
    assert sent(tmp_path) == {}
    note_sent(tmp_path, "Platform.GetProof", 10)
    assert sent(tmp_path)["Platform.GetProof"].size_bytes == 10


def test_what_was_counted_and_not_declared_shows(tmp_path: Path) -> None:
    """It would be a fault of ours, so it is not hidden."""
    note_sent(tmp_path, "Platform.GetProof", 10)
    note_sent(tmp_path, "Platform.Gossip", 99)
    found = overview(tmp_path)
    assert set(found.undeclared) == {"Platform.Gossip"}
    assert found.size_bytes == 10
    by_kind = {item.message.kind: item.sent for item in found.messages}
    assert by_kind["Platform.Append"] == Sent(0, 0, 0)
    assert by_kind["Flower.connection"] is None


def test_the_command_lists_everything_also_before_enrolment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In either language, as JSON; a lawyer reads it before anything is sent."""
    for language, word in (("en", "Blinded identifiers"), ("ja", "目隠しした識別子")):
        assert main(["--directory", str(tmp_path), "--json", "leaving", "--language", language]) == 0
        told = json.loads(capsys.readouterr().out)
        (found,) = (item for item in told["messages"] if item["kind"] == "Platform.Evaluate")
        assert found["what"].startswith(word)
        assert found["address"] == ""
        assert len(told["never"]) >= 8
    assert main(["--directory", str(tmp_path), "--json", "leaving", "--language", "fr"]) == 6

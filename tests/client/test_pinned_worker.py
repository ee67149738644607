"""The worker runs the installed app for the pinned bundle, and nothing that came with the message."""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from noren_client.flower_app import MAX_PAYLOAD_BYTES, make_client_app
from noren_client.flower_private import Delivery, RuntimeUnavailableError
from noren_client.pinned_worker import PinnedWorker

PRIVATE_ROW = "row 17: jane.doe@example.com declined"


@pytest.fixture(autouse=True)
def identity() -> Iterator[None]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 2
    yield
    TaskIdentity._task_id = TaskIdentity._run_id = TaskIdentity._node_id = None


def bundle(marker: Path) -> bytes:
    """A bundle whose code shows by a file that it ran."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil/client_app.py", f"open({str(marker)!r}, 'w')")
        archive.writestr("pyproject.toml", "[project]\nname = 'evil'\n")
    return buffer.getvalue()


def message_with(content: RecordDict, message_type: str = "train") -> Message:
    message = Message(content, 2, message_type)
    message.metadata.__dict__["_message_id"] = "message-1"
    return message


def payload(data: bytes = b"request") -> RecordDict:
    return RecordDict({"noren": ConfigRecord({"payload": data})})


@dataclass(slots=True)
class FakeTask:
    """A task as the SuperNode hands it out, and what was done with it."""

    message: Message
    bundle: bytes = b"the pinned bundle"
    replies: list[Message] = field(default_factory=list)
    finished: list[bool] = field(default_factory=list)
    is_lost: bool = False

    def heartbeat(self) -> None:
        """Nothing to keep alive."""

    def pull(self) -> Delivery:
        return Delivery(self.message, run_id=1, node_id=2, bundle=self.bundle)

    def push(self, reply: Message, delivery: Delivery) -> None:
        if self.is_lost:
            raise RuntimeUnavailableError
        self.replies.append(reply)

    def finish(self, *, is_completed: bool) -> None:
        self.finished.append(is_completed)


@dataclass(slots=True)
class FakeRuntime:
    tasks: list[FakeTask]

    def acquire(self) -> FakeTask | None:
        return self.tasks.pop(0) if self.tasks else None


def make_worker(
    tasks: list[FakeTask],
    handle: Callable[[Path, bytes], bytes] = lambda _, data: data[::-1],
    *,
    pin: bytes = b"the pinned bundle",
    company_dir: Path = Path("company"),
    clock: Callable[[], float] = lambda: 0.0,
) -> PinnedWorker:
    return PinnedWorker(
        FakeRuntime(tasks),
        make_client_app(handle),
        company_dir=company_dir,
        bundle_sha256=hashlib.sha256(pin).hexdigest(),
        clock=clock,
    )


def answer(task: FakeTask, handle: Callable[[Path, bytes], bytes] = lambda _, data: data[::-1]) -> Message:
    assert make_worker([task], handle).run_once()
    (reply,) = task.replies
    return reply


def assert_constant_refusal(reply: Message) -> None:
    assert not reply.has_content()
    assert (reply.error.code, reply.error.reason) == (2, "refused")


def test_the_installed_app_answers() -> None:
    """With the pinned bundle the handler's answer goes back in the one record."""
    task = FakeTask(message_with(payload()))
    reply = answer(task)
    assert dict(reply.content["noren"]) == {"payload": b"tseuqer"}
    assert task.finished == [True]


def test_another_bundle_is_refused_not_unpacked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bundle with another hash gets the constant error; its code does not run and no file is written."""
    marker = tmp_path / "executed"
    handled: list[bytes] = []
    task = FakeTask(message_with(payload()), bundle(marker))
    worker = make_worker([task], lambda _, data: handled.append(data) or b"x", company_dir=tmp_path)
    assert worker.run_once()
    assert_constant_refusal(task.replies[0])
    assert (handled, task.finished, list(tmp_path.iterdir())) == ([], [False], [])
    assert "bundle refused" in caplog.text


def test_the_pinned_bundle_is_not_unpacked_either(tmp_path: Path) -> None:
    """Even the pinned bundle is only hashed: the app that runs is the installed one."""
    marker = tmp_path / "executed"
    content = bundle(marker)
    task = FakeTask(message_with(payload()), content)
    assert make_worker([task], pin=content, company_dir=tmp_path).run_once()
    assert dict(task.replies[0].content["noren"]) == {"payload": b"tseuqer"}
    assert list(tmp_path.iterdir()) == []


def test_an_exception_text_does_not_leave(caplog: pytest.LogCaptureFixture) -> None:
    """What a handler's exception says is neither in the reply nor in the log."""

    def fail(_: Path, __: bytes) -> bytes:
        raise ValueError(PRIVATE_ROW)

    with caplog.at_level(logging.DEBUG):
        assert_constant_refusal(answer(FakeTask(message_with(payload())), fail))
    assert PRIVATE_ROW not in caplog.text
    assert "ValueError" in caplog.text


def test_the_app_itself_lets_no_exception_out() -> None:
    """Also without the worker around it, as under stock Flower, the app answers with the constant error."""

    def fail(_: Path, __: bytes) -> bytes:
        raise ValueError(PRIVATE_ROW)

    config = {"company-dir": "company"}
    context = Context(run_id=1, node_id=2, node_config=config, state=RecordDict(), run_config={})
    assert_constant_refusal(make_client_app(fail)(message_with(payload()), context))


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"other": ConfigRecord({"payload": b"x"})}),
        RecordDict({"noren": ConfigRecord({"payload": b"x"}), "more": ConfigRecord({"payload": b"x"})}),
        RecordDict({"noren": ConfigRecord({"payload": b"x", "noise-multiplier": 0.0})}),
        RecordDict({"noren": ConfigRecord({"payload": "text"})}),
        RecordDict({"noren": ConfigRecord({"payload": [b"x"]})}),
        RecordDict({"noren": ArrayRecord()}),
        payload(b""),
        payload(bytes(MAX_PAYLOAD_BYTES + 1)),
    ],
    ids=["none", "name", "two-records", "two-fields", "text", "list", "array", "empty", "too-large"],
)
def test_other_content_is_refused(content: RecordDict) -> None:
    """Anything but one record with one bytes field of 1 byte to 1 MiB is refused before the handler."""
    handled: list[bytes] = []
    reply = answer(FakeTask(message_with(content)), lambda _, data: handled.append(data) or b"x")
    assert_constant_refusal(reply)
    assert handled == []


def test_the_largest_payload_is_answered() -> None:
    """A payload of exactly 1 MiB passes."""
    reply = answer(FakeTask(message_with(payload(bytes(MAX_PAYLOAD_BYTES)))))
    assert len(reply.content["noren"]["payload"]) == MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("message_type", ["evaluate", "train.other", "query.other"])
def test_other_message_types_are_refused(message_type: str) -> None:
    """Only plain train and query messages have a handler; others get the constant error."""
    assert_constant_refusal(answer(FakeTask(message_with(payload(), message_type))))


def test_the_handler_gets_the_local_directory(tmp_path: Path) -> None:
    """The company's directory comes from its own configuration."""
    seen: list[Path] = []
    worker = make_worker(
        [FakeTask(message_with(payload()))], lambda where, _: seen.append(where) or b"x", company_dir=tmp_path
    )
    worker.run_once()
    assert seen == [tmp_path]


def test_a_lost_supernode_costs_one_task_only() -> None:
    """When a reply cannot be handed in, the worker goes on with the next task."""
    lost, next_one = FakeTask(message_with(payload()), is_lost=True), FakeTask(message_with(payload()))
    worker = make_worker([lost, next_one])
    assert [worker.run_once(), worker.run_once(), worker.run_once()] == [True, True, False]
    assert (lost.replies, len(next_one.replies)) == ([], 1)


def test_the_pause_is_short_after_a_task() -> None:
    """The worker asks five times a second for a while after a task, and once a second when idle."""
    now = [100.0]
    worker = make_worker([FakeTask(message_with(payload()))], clock=lambda: now[0])
    assert worker.pause_seconds() == 1.0
    worker.run_once()
    assert worker.pause_seconds() == 0.2
    now[0] += 31
    assert worker.pause_seconds() == 1.0

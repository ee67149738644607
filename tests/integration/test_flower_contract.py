"""What we rely on in flwr without its promise; after an upgrade, read what changed before changing these."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.cli.install import install_from_fab
from flwr.common.config import get_fab_config
from flwr.common.constant import TIMESTAMP_HEADER, ErrorCode, Status, SubStatus
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest, PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore import constant
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from noren_client import flower_private as client_private
from noren_server import flower_private as server_private
from noren_server.fleet_proxy import (
    _REQUEST_HEADERS,
    ALLOWED_PATHS,
    NO_MESSAGE,
    OBJECT_NOT_YET_AVAILABLE,
)
from noren_server.flower_private import ReplyInbox, Unreadable
from noren_server.superlink import bundle_bytes, bundle_sha256


@pytest.fixture(autouse=True)
def identity() -> Iterator[None]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    yield
    TaskIdentity._task_id = TaskIdentity._run_id = TaskIdentity._node_id = None


def test_version() -> None:
    """The adapter modules were read against this version."""
    assert version("flwr") == "1.41.0"


def test_nothing_yet_on_the_wire() -> None:
    """The proxy's byte constants are Flower's own answers for "nothing yet"."""
    assert PullMessagesResponse().SerializeToString() == NO_MESSAGE
    not_yet = PullObjectResponse(object_found=True, object_available=False)
    assert not_yet.SerializeToString() == OBJECT_NOT_YET_AVAILABLE


def test_fleet_paths() -> None:
    """The ten published paths are all of Flower's Fleet paths but registration."""
    fleet = {path for _, path in PROTOBUF_REQUEST_TYPES if path.startswith("/v1/fleet/")}
    registration = {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
    assert fleet - set(ALLOWED_PATHS.values()) == registration


def test_fleet_headers() -> None:
    """The proxy lets through what authenticates a node, and not what authenticates a task or SuperExec."""
    needed = {
        constant.FLEET_HTTP_PUBLIC_KEY_HEADER,
        constant.FLEET_HTTP_SIGNATURE_HEADER,
        TIMESTAMP_HEADER,
        constant.FLWR_PACKAGE_NAME_METADATA_KEY,
        constant.FLWR_PACKAGE_VERSION_METADATA_KEY,
        constant.FLWR_COMPONENT_NAME_METADATA_KEY,
    }
    forbidden = {constant.TASK_TOKEN_HEADER, constant.SUPEREXEC_AUTH_SIGNATURE_HEADER}
    passed = {name.decode() for name in _REQUEST_HEADERS}
    assert needed <= passed
    assert not forbidden & passed


def test_control_paths() -> None:
    """The Control calls we make exist, with the messages that we send."""
    for method, request in {
        "register-node": server_private.RegisterNodeRequest,
        "unregister-node": server_private.UnregisterNodeRequest,
        "list-nodes": server_private.ListNodesRequest,
        "start-run": server_private.StartRunRequest,
        "list-runs": server_private.ListRunsRequest,
        "stop-run": server_private.StopRunRequest,
    }.items():
        assert PROTOBUF_REQUEST_TYPES["POST", f"/v1/control/{method}"] is request
    assert server_private._HEADERS["content-type"] == PROTOBUF_MEDIA_TYPE


def test_constants() -> None:
    """The words and numbers that we compare or send."""
    assert TaskType.CLIENT_APP.value == client_private.CLIENT_TASK
    assert ErrorCode.CLIENT_APP_RAISED_EXCEPTION == 2
    assert (Status.FINISHED, SubStatus.COMPLETED) == ("finished", "completed")


def test_protobuf_clients_use_the_http_client_we_give_them() -> None:
    """A Runtime client sends through its `_client`, so that ours, which verifies, is the one used."""
    sent: list[Any] = []
    client = RuntimeHttpClient("https://127.0.0.1:1", interceptors=[], verify=False)
    client._client.close()

    def send(request: Any) -> Any:
        sent.append(request)
        return SimpleNamespace(raise_for_status=lambda: None, content=b"", is_error=False, headers={})

    client._client = SimpleNamespace(build_request=SimpleNamespace, send=send, timeout=1)
    client.PullMessages(client_private.PullAppMessagesRequest())
    assert [request.url for request in sent] == ["https://127.0.0.1:1/v1/runtime/pull-messages"]


def test_flower_installs_our_bundle(tmp_path: Path) -> None:
    """Flower reads and installs the bundle that we build ourselves, hashes included."""
    content = bundle_bytes()
    components = get_fab_config(content)["tool"]["flwr"]["app"]["components"]
    assert components["serverapp"] == "noren_bundle.server_app:app"
    installed = install_from_fab(content, install_dir=tmp_path, skip_prompt=True)
    assert "noren_server.flower_app" in (installed / "noren_bundle" / "server_app.py").read_text()


def test_the_bundle_is_the_same_every_time(tmp_path: Path) -> None:
    """The hash that companies pin depends on the files' names and contents alone."""
    assert bundle_sha256() == hashlib.sha256(bundle_bytes()).hexdigest()
    for name in ("b.py", "a.toml", "__pycache__/c.py", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    # Committed from CPython 3.11 on Linux: another interpreter or system must come to the same.
    assert bundle_sha256(tmp_path) == "76e29234e1025598c347ecac8ac8f7e13348c7d5a4ac754002a45886ac804d13"


class FakeRuntime:
    """The SuperLink's Runtime API with two replies; parts can be missing or broken."""

    def __init__(self, replies: dict[str, Message], contents: dict[str, bytes]) -> None:
        self.replies = replies
        self.contents = contents
        self.confirmed: list[str] = []

    def PullMessages(self, request: Any) -> PullAppMessagesResponse:  # noqa: N802  # Flower's name
        heads, trees = [], []
        for request_id in request.message_ids:
            reply = self.replies.pop(request_id, None)
            if reply is not None:
                head = ProtoMessage()
                head.metadata.message_id = reply.object_id
                head.metadata.reply_to_message_id = request_id
                heads.append(head)
                trees.append(get_object_tree(reply))
        return PullAppMessagesResponse(messages_list=heads, message_object_trees=trees)

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:  # noqa: N802  # Flower's name
        content = self.contents.get(request.object_id, b"")
        return PullObjectResponse(
            object_found=content != b"gone", object_available=bool(content), object_content=content
        )

    def ConfirmMessageReceived(self, request: Any) -> None:  # noqa: N802  # Flower's name
        self.confirmed.append(request.message_object_id)


def make_replies(payloads: dict[str, bytes]) -> tuple[dict[str, Message], dict[str, bytes]]:
    replies: dict[str, Message] = {}
    contents: dict[str, bytes] = {}
    for request_id, payload in payloads.items():
        reply = Message(RecordDict({"noren": ConfigRecord({"payload": payload})}), 1, "train")
        replies[request_id] = reply
        contents |= {key: item.deflate() for key, item in get_all_nested_objects(reply).items()}
    return replies, contents


def make_inbox(runtime: FakeRuntime, *, max_bytes: int = 10_000) -> ReplyInbox:
    grid = HttpGrid(token="token")  # noqa: S106  # not a secret: no server behind it
    grid._client = runtime
    grid.set_run(Run.create_empty(1))
    return ReplyInbox(grid, max_bytes=max_bytes)


def test_replies_are_read_as_flower_reads_them() -> None:
    """A complete reply is inflated to the message that was sent, and confirmed."""
    replies, contents = make_replies({"one": b"1", "two": b"2"})
    runtime = FakeRuntime(replies, contents)
    read = dict(make_inbox(runtime).pull(["one", "two", "three"]))
    assert {key: reply.content["noren"]["payload"] for key, reply in read.items()} == {
        "one": b"1",
        "two": b"2",
    }
    assert len(runtime.confirmed) == 2


def test_a_broken_reply_does_not_cost_the_other() -> None:
    """Objects that do not inflate make one reply unreadable."""
    replies, contents = make_replies({"one": b"1", "two": b"2"})
    broken = replies["one"].object_id
    runtime = FakeRuntime(replies, contents | {broken: b"NoSuch 1 2\0"})
    read = dict(make_inbox(runtime).pull(["one", "two"]))
    assert read["one"] == Unreadable()
    assert read["two"].content["noren"]["payload"] == b"2"


def test_an_unfinished_reply_is_asked_for_again() -> None:
    """A reply whose parts are on their way does not hold up the other, and is not lost."""
    replies, contents = make_replies({"one": b"1", "two": b"2"})
    missing = replies["one"].object_id
    runtime = FakeRuntime(replies, {key: c for key, c in contents.items() if key != missing})
    inbox = make_inbox(runtime)
    assert [key for key, _ in inbox.pull(["one", "two"])] == ["two"]
    assert list(inbox.pull(["one"])) == []
    runtime.contents[missing] = contents[missing]
    assert [key for key, _ in inbox.pull(["one"])] == ["one"]


def test_a_reply_that_is_gone_is_unreadable() -> None:
    """A part that the SuperLink no longer has ends the wait for that reply."""
    replies, contents = make_replies({"one": b"1"})
    runtime = FakeRuntime(replies, dict.fromkeys(contents, b"gone"))
    assert dict(make_inbox(runtime).pull(["one"])) == {"one": Unreadable()}


def test_a_large_reply_is_not_read_to_its_end() -> None:
    """A reply above the limit, in bytes or in number of parts, is dropped as oversized."""
    replies, contents = make_replies({"one": bytes(5000)})
    runtime = FakeRuntime(dict(replies), contents)
    assert dict(make_inbox(runtime, max_bytes=4000).pull(["one"])) == {"one": Unreadable(is_oversized=True)}
    assert runtime.confirmed == []
    many = RecordDict({f"record-{i}": ConfigRecord({"payload": bytes([i])}) for i in range(10)})
    runtime = FakeRuntime({"one": Message(many, 1, "train")}, {})
    assert dict(make_inbox(runtime).pull(["one"])) == {"one": Unreadable(is_oversized=True)}


def test_object_trees_list_their_root() -> None:
    """Flower's tree of a reply names the message itself and everything below it."""
    tree = ObjectTree(object_id="a", children=[ObjectTree(object_id="b")])
    assert {item.object_id for item in server_private.iterate_object_tree(tree)} == {"a", "b"}

"""Everything the platform uses of flwr 1.41 that flwr does not promise to keep.

Two things: the Control API, called with Flower's protobuf messages over an HTTP client of ours that
ignores proxy settings of the environment (the SuperLink is on loopback), and replies pulled one by
one. Flower's own `Grid.pull_messages` marks every waiting reply as delivered and then inflates them
in one go, so that one company's broken or unfinished upload would lose the replies of all others, or
hold them up for hours. The names used here have contract tests in
tests/integration/test_flower_contract.py.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from flwr.app import Message
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListNodesResponse,
    ListRunsRequest,
    ListRunsResponse,
    RegisterNodeRequest,
    RegisterNodeResponse,
    StartRunRequest,
    StartRunResponse,
    StopRunRequest,
    StopRunResponse,
    UnregisterNodeRequest,
    UnregisterNodeResponse,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.superlink.grid import HttpGrid

from noren_core.errors import LocalProtocolError

_HEADERS = {"content-type": "application/protobuf", "accept": "application/protobuf"}
_CONTROL_TIMEOUT_SECONDS = 30.0
# A reply of ours is three objects: message, record dictionary, configuration record.
_MAX_OBJECTS = 8


@dataclass(frozen=True, slots=True)
class RegisteredNode:
    """One SuperNode as the SuperLink knows it; the id stays inside this package."""

    node_id: int
    name: str
    public_key: bytes
    is_online: bool


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands; `details` is for the operator's log only."""

    is_finished: bool
    is_completed: bool
    details: str


class ControlApi:
    """The Control calls we make, over loopback TLS with a pinned certificate.

    Each raises LocalProtocolError: `SUPERLINK_REFUSED` or `SUPERLINK_UNREACHABLE`.
    """

    def __init__(self, address: str, root_certificates: str) -> None:
        self._http = httpx.Client(
            base_url=f"https://{address}",
            verify=ssl.create_default_context(cadata=root_certificates),
            timeout=_CONTROL_TIMEOUT_SECONDS,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def register(self, name: str, public_key: bytes) -> int:
        """Register a node key (PEM) under a name; its node id."""
        request = RegisterNodeRequest(public_key=public_key, name=name)
        return int(self._call("register-node", request, RegisterNodeResponse()).node_id)

    def unregister(self, node_id: int) -> None:
        """Forget a node; its SuperNode is refused from the next request on."""
        self._call("unregister-node", UnregisterNodeRequest(node_id=node_id), UnregisterNodeResponse())

    def nodes(self) -> list[RegisteredNode]:
        """Every registered node."""
        reply = self._call("list-nodes", ListNodesRequest(), ListNodesResponse())
        return [_registered(info) for info in reply.nodes_info if info.status != "unregistered"]

    def start_run(self, bundle: bytes, bundle_sha256: str, config: dict[str, str]) -> int:
        """Start a run of this bundle; returns its id, or 0 when the SuperLink refused it."""
        request = StartRunRequest(
            fab=Fab(hash_str=bundle_sha256, content=bundle), override_config=user_config_to_proto(config)
        )
        return int(self._call("start-run", request, StartRunResponse()).run_id)

    def stop_run(self, run_id: int) -> None:
        """Stop a run; its process ends within seconds."""
        self._call("stop-run", StopRunRequest(run_id=run_id), StopRunResponse())

    def run_state(self, run_id: int) -> RunState:
        """Where the run stands. For a finished one this call also makes Flower delete its messages."""
        reply = self._call("list-runs", ListRunsRequest(run_id=run_id), ListRunsResponse())
        status = reply.run_dict[run_id].status
        return RunState(
            is_finished=status.status == "finished",
            is_completed=status.sub_status == "completed",
            details=str(status.details),
        )

    def _call(self, method: str, request: Any, response: Any) -> Any:
        content = request.SerializeToString(deterministic=True)
        try:
            answer = self._http.post(f"/v1/control/{method}", content=content, headers=_HEADERS)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise LocalProtocolError(
                f"SuperLink, {method}: expected status 200, got {error.response.status_code}",
                code="SUPERLINK_REFUSED",
            ) from error
        except httpx.HTTPError as error:
            raise LocalProtocolError(
                f"SuperLink, {method}: expected an answer, got none", code="SUPERLINK_UNREACHABLE"
            ) from error
        response.ParseFromString(answer.content)
        return response


def _registered(info: Any) -> RegisteredNode:
    return RegisteredNode(
        node_id=int(info.node_id),
        name=str(info.name),
        public_key=bytes(info.public_key),
        is_online=info.status == "online",
    )


@dataclass(slots=True)
class _Arrival:
    """A reply whose objects are still being uploaded."""

    message_id: str
    missing: list[str]
    contents: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a reply that could not be read."""

    is_oversized: bool = False


class ReplyInbox:
    """Pulls the replies to messages that were pushed, each one on its own."""

    def __init__(self, grid: Grid, *, max_bytes: int) -> None:
        self._grid = grid
        self._max_bytes = max_bytes
        self._arrivals: dict[str, _Arrival] = {}

    def pull(self, message_ids: Collection[str]) -> Iterator[tuple[str, Message | Unreadable]]:
        """Every reply that is complete by now, with the id of the message that it answers."""
        if not isinstance(self._grid, HttpGrid):
            for reply in self._grid.pull_messages(message_ids):
                yield reply.metadata.reply_to_message_id, reply
            return
        client = self._grid._runtime_client  # noqa: SLF001
        self._announce(client, [i for i in message_ids if i not in self._arrivals])
        for request_id in [i for i in message_ids if i in self._arrivals]:
            reply = self._collect(client, self._arrivals[request_id])
            if reply is not None:
                del self._arrivals[request_id]
                yield request_id, reply

    def _announce(self, client: Any, message_ids: list[str]) -> None:
        if not message_ids:
            return
        answer = client.PullMessages(PullAppMessagesRequest(message_ids=message_ids))
        for proto, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            objects = [node.object_id for node in iterate_object_tree(tree)]
            self._arrivals[proto.metadata.reply_to_message_id] = _Arrival(proto.metadata.message_id, objects)

    def _collect(self, client: Any, arrival: _Arrival) -> Message | Unreadable | None:
        if len(arrival.missing) + len(arrival.contents) > _MAX_OBJECTS:
            return Unreadable(is_oversized=True)
        run_id = self._grid.run.run_id
        node = self._grid.node
        while arrival.missing:
            answer = client.PullObject(
                PullObjectRequest(node=node, run_id=run_id, object_id=arrival.missing[0])
            )
            if not answer.object_found:
                return Unreadable()
            if not answer.object_available:
                return None
            arrival.contents[arrival.missing.pop(0)] = answer.object_content
            if sum(map(len, arrival.contents.values())) > self._max_bytes:
                return Unreadable(is_oversized=True)
        client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=node, run_id=run_id, message_object_id=arrival.message_id)
        )
        return _inflate(arrival)


def _inflate(arrival: _Arrival) -> Message | Unreadable:
    try:
        reply = inflate_object_from_contents(arrival.message_id, arrival.contents)
    except Exception:  # noqa: BLE001  # whatever a company uploaded, only its own reply is lost
        return Unreadable()
    return reply if isinstance(reply, Message) else Unreadable()

"""Everything a company uses of flwr 1.41 that flwr does not promise to keep.

The Runtime API of the company's own SuperNode, as a worker sees it: ask for a task, take its
message, give back the reply. Flower's protobuf clients are used as they are, over one HTTP client of
ours that is kept between tasks, pins the SuperNode's certificate and ignores proxy settings of the
environment (the SuperNode is on loopback). The names used here have contract tests in
tests/integration/test_flower_contract.py.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import SubStatus
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity

CLIENT_TASK = "flwr-clientapp"
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_TIMEOUT_SECONDS = 30.0
_ARRIVAL_SECONDS = 20.0
_RETRY_SECONDS = 0.05


class RuntimeUnavailableError(Exception):
    """The SuperNode did not answer, or refused; carries no text of it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for this company, and the bundle that the platform says should handle it."""

    message: Message
    run_id: int
    node_id: int
    bundle: bytes


class Task:
    """One message to answer, authorised by its own token."""

    def __init__(self, client: RuntimeHttpClient) -> None:
        self._client = client

    def heartbeat(self) -> None:
        """Say that we are still at it; a failure shows at the next real call."""
        try:
            self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        except httpx.HTTPError:
            return

    def pull(self) -> Delivery:
        """The task's message and bundle.

        Flower creates the task a moment before it has the message, and announces the message before
        it has its parts; both are waited for, for a bounded time.
        """
        with _unavailable():
            task = self._client.PullTaskInput(PullTaskInputRequest())
            run_id, node_id = int(task.run.run_id), int(task.context.node_id)
            # Flower's Message constructor reads the identity of "the task of this process".
            TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = task.task_id, run_id, node_id
            tree = self._await_tree()
            node = Node(node_id=node_id)
            contents = pull_objects(
                [item.object_id for item in iterate_object_tree(tree)],
                make_pull_object_fn_protobuf(self._client.PullObject, node, run_id),
                max_time=_ARRIVAL_SECONDS,
                initial_backoff=_RETRY_SECONDS,
                backoff_cap=1.0,
            )
            message = inflate_object_from_contents(tree.object_id, contents)
            self._client.ConfirmMessageReceived(
                ConfirmMessageReceivedRequest(node=node, run_id=run_id, message_object_id=tree.object_id)
            )
            # The message on the wire does not contain its own id.
            message.metadata.__dict__["_message_id"] = tree.object_id
            return Delivery(message, run_id, node_id, bytes(task.fab.content))

    def push(self, reply: Message, delivery: Delivery) -> None:
        """Hand the reply to the SuperNode."""
        with _unavailable():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            head = message_to_proto(remove_content_from_message(reply))
            with no_object_id_recompute():
                answer = self._client.PushMessages(
                    PushAppMessagesRequest(
                        messages_list=[head], message_object_trees=[get_object_tree(reply)]
                    )
                )
                push_objects(
                    get_all_nested_objects(reply),
                    make_push_object_fn_protobuf(
                        self._client.PushObject,
                        Node(node_id=delivery.node_id),
                        run_id=delivery.run_id,
                        session_id=answer.session_id,
                    ),
                    object_ids_to_push=set(answer.objects_to_push),
                )

    def finish(self, *, is_completed: bool) -> None:
        """Close the task. Its Flower context is not sent back: we keep no state there."""
        status = SubStatus.COMPLETED if is_completed else SubStatus.FAILED
        with _unavailable():
            self._client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=""))

    def _await_tree(self) -> Any:
        end = time.monotonic() + _ARRIVAL_SECONDS
        while not (answer := self._client.PullMessages(PullAppMessagesRequest())).messages_list:
            if time.monotonic() >= end:
                raise RuntimeUnavailableError
            time.sleep(_RETRY_SECONDS)
        return answer.message_object_trees[0]


class Runtime:
    """The SuperNode's Runtime API at `address`, for whoever knows its secret."""

    def __init__(self, address: str, *, root_certificates: str, secret: bytes) -> None:
        self._address = address
        self._http = httpx.Client(
            verify=ssl.create_default_context(cadata=root_certificates),
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
            # uvicorn closes an idle connection after 5 s; ours must be the side that gives up first.
            limits=httpx.Limits(keepalive_expiry=3.0),
        )
        self._acquirer = self._client(
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=frozenset({_ACQUIRE}))
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def acquire(self) -> Task | None:
        """The next client task, if one is waiting. No other kind of task is ever asked for."""
        with _unavailable():
            answer = self._acquirer.AcquireTask(AcquireTaskRequest(supported_task_types=[CLIENT_TASK]))
        if not (answer.HasField("task") and answer.token):
            return None
        return Task(self._client(RuntimeTokenHttpInterceptor(answer.token)))

    def _client(self, interceptor: Any) -> RuntimeHttpClient:
        version = RuntimeVersionHttpInterceptor(component_name="SuperExec")
        client = RuntimeHttpClient(
            f"https://{self._address}", interceptors=[version, interceptor], verify=False
        )
        client._client.close()  # noqa: SLF001  # replaced before use by the one that verifies
        client._client = self._http  # noqa: SLF001
        return client


def empty_state() -> RecordDict:
    """The state of a Flower context that keeps none."""
    return RecordDict()


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except RuntimeUnavailableError:
        raise
    except Exception as error:
        raise RuntimeUnavailableError from error

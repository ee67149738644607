"""Flower's Grid without Flower's processes: the real ServerApp and ClientApp in one Python process.

For tests and for the demo's quick mode. Everything of ours runs as it does over the network; what is
missing is Flower's transport, so nothing here says anything about time, TLS or authentication. A
message is answered at once, in the order of pushing. An exception of a ClientApp becomes an error
reply, as a SuperNode would make it, and a dropped message is never answered.
"""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.task_identity import TaskIdentity  # private: Message's constructor reads it

_RUN_ID = 1
_FIRST_NODE_ID = 100
_SERVER_NODE_ID = 1

Drop = Callable[[str, Message], bool]


@dataclass(frozen=True, slots=True)
class InProcessNode:
    """What FleetExchange reads of Flower's NodeInfo."""

    node_id: int
    name: str
    status: str = "online"


@dataclass(frozen=True, slots=True)
class _Run:
    run_id: int = _RUN_ID


class InProcessGrid(Grid):  # type: ignore[misc]  # flwr ships no types that we follow
    """A grid of companies, each with its own directory.

    `drop` is asked for every message, with the company's name; True loses that message.
    """

    def __init__(
        self, client_app: ClientApp, company_dirs: Mapping[str, Path], *, drop: Drop | None = None
    ) -> None:
        self._client_app = client_app
        self._drop = drop
        self._replies: dict[str, Message] = {}
        self._numbers = itertools.count(1)
        self.nodes = {
            _FIRST_NODE_ID + i: InProcessNode(_FIRST_NODE_ID + i, company)
            for i, company in enumerate(sorted(company_dirs))
        }
        self._contexts = {
            node.node_id: _context(node.node_id, {"company-dir": str(company_dirs[node.name])}, {})
            for node in self.nodes.values()
        }
        _take_identity(_SERVER_NODE_ID)

    def set_run(self, run: Any) -> None:
        """Ignored: there is one run."""

    @property
    def run(self) -> _Run:
        """The one run."""
        return _Run()

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message from the server."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """The node of every company."""
        return list(self.nodes)

    def get_nodes(self) -> list[InProcessNode]:
        """The node of every company, with its name."""
        return list(self.nodes.values())

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Answer each message at once; the ids under which the replies are kept."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies to these messages, each once."""
        return [self._replies.pop(i) for i in list(message_ids) if i in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Push and pull; nothing ever takes time."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _push(self, message: Message) -> str:
        message_id = f"message-{next(self._numbers)}"
        message.metadata.__dict__["_message_id"] = message_id
        node_id = message.metadata.dst_node_id
        if self._drop is None or not self._drop(self.nodes[node_id].name, message):
            _take_identity(node_id)
            self._replies[message_id] = self._answer(message, node_id)
            _take_identity(_SERVER_NODE_ID)
        return message_id

    def _answer(self, message: Message, node_id: int) -> Message:
        # A copy, as over the network: neither side sees what the other does to its object.
        message.content = copy.deepcopy(message.content)
        try:
            return self._client_app(message, self._contexts[node_id])
        except Exception:  # noqa: BLE001  # as a SuperNode does, without the exception's text
            return Message(Error(code=2, reason="refused"), reply_to=message)


def run_campaign(
    platform_dir: Path, campaign: str, company_dirs: Mapping[str, Path], *, drop: Drop | None = None
) -> None:
    """Run a campaign's rounds with the installed ServerApp and ClientApp.

    Each company has sessions of its own, as it has a worker of its own.
    """
    from noren_client.flower_app import make_client_app
    from noren_client.training_session import TrainingSessions
    from noren_server.flower_app import app as server_app

    workers = {directory: TrainingSessions() for directory in company_dirs.values()}
    client_app = make_client_app(lambda directory, payload: workers[directory].handle(directory, payload))
    run_server_app(
        server_app,
        InProcessGrid(client_app, company_dirs, drop=drop),
        platform_dir=platform_dir,
        campaign=campaign,
    )


def run_server_app(server_app: ServerApp, grid: InProcessGrid, *, platform_dir: Path, campaign: str) -> None:
    """Run a ServerApp for a campaign as SuperExec would, platform directory in the environment."""
    from noren_server.flower_app import PLATFORM_DIR_VARIABLE

    before = os.environ.get(PLATFORM_DIR_VARIABLE)
    os.environ[PLATFORM_DIR_VARIABLE] = str(platform_dir)
    try:
        server_app(grid, _context(_SERVER_NODE_ID, {}, {"campaign": campaign}))
    finally:
        if before is None:
            del os.environ[PLATFORM_DIR_VARIABLE]
        else:
            os.environ[PLATFORM_DIR_VARIABLE] = before


def _context(node_id: int, node_config: dict[str, str], run_config: dict[str, str]) -> Context:
    return Context(
        run_id=_RUN_ID, node_id=node_id, node_config=node_config, state=RecordDict(), run_config=run_config
    )


def _take_identity(node_id: int) -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, _RUN_ID, node_id

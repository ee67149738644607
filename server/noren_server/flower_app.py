"""The platform's side of Flower: one opaque payload to each company, the well-formed answers back.

`FleetExchange` promises bounded waits and never raises because of what a company sends or fails to
send: an error, late, malformed, oversized or unknown reply is dropped and counted. It does not know
what the payloads mean, logs none of them, and shows nobody a node id (whoever learns another's can
answer in its place, which is why payloads are signed; docs/protocol.md §8).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from noren_core.errors import ConfigurationError
from noren_core.ids import parse_name
from noren_server.flower_private import ReplyInbox, Unreadable

PLATFORM_DIR_VARIABLE = "NOREN_PLATFORM_DIR"
RECORD = "noren"
FIELD = "payload"
MESSAGE_TYPE = "train"
MAX_PAYLOAD_BYTES = 1 << 20
_POLL_SECONDS = 0.2
_ENVELOPE_BYTES = 64 << 10


class DropReason(StrEnum):
    """Why a company has no answer in an exchange."""

    ABSENT = "absent"
    ERROR = "error"
    LATE = "late"
    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    UNKNOWN = "unknown"


class FleetExchange:
    """One request to each company and what comes back in time.

    Attributes:
        drops: how many answers were dropped, by reason, since this object was made.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._grid = grid
        self._clock = clock
        self._sleep = sleep
        self.drops: Counter[DropReason] = Counter()
        self._heard: Callable[[str], None] | None = None

    def listen(self, heard: Callable[[str], None] | None) -> None:
        """Call this with the name of a company whenever a readable answer of it arrives; None: nothing."""
        self._heard = heard

    def participants(self) -> dict[str, int]:
        """The companies whose node is online now. A name that two nodes carry belongs to neither."""
        online = [node for node in self._grid.get_nodes() if node.status == "online" and node.name]
        count = Counter(node.name for node in online)
        return {str(node.name): int(node.node_id) for node in online if count[node.name] == 1}

    def wait_for(self, companies: Collection[str], *, deadline_seconds: float) -> set[str]:
        """Those of `companies` that are online, as soon as all are, at the latest at the deadline."""
        end = self._clock() + deadline_seconds
        while True:
            online = set(companies) & self.participants().keys()
            if len(online) == len(set(companies)) or self._clock() >= end:
                return online
            self._sleep(_POLL_SECONDS)

    def exchange(self, requests: Mapping[str, bytes], *, deadline_seconds: float) -> dict[str, bytes]:
        """Send each company its request; the answers by company that came before the deadline.

        A company that has not taken its request by the deadline never gets it: the deadline is also
        the message's time to live, so a stale request cannot spend privacy budget later.
        """
        end = self._clock() + deadline_seconds
        pending = self._push(requests, deadline_seconds)
        inbox = ReplyInbox(self._grid, max_bytes=MAX_PAYLOAD_BYTES + _ENVELOPE_BYTES)
        answers: dict[str, bytes] = {}
        while pending:
            for message_id, reply in inbox.pull(list(pending)):
                company, node_id = pending.pop(message_id, ("", 0))
                payload = _read(reply, node_id)
                if isinstance(payload, DropReason):
                    self.drops[payload] += 1
                else:
                    answers[company] = payload
                    if self._heard is not None:
                        self._heard(company)
            remaining = end - self._clock()
            if remaining <= 0:
                break
            if pending:
                self._sleep(min(_POLL_SECONDS, remaining))
        self.drops[DropReason.LATE] += len(pending)
        return answers

    def _push(self, requests: Mapping[str, bytes], deadline_seconds: float) -> dict[str, tuple[str, int]]:
        nodes = self.participants()
        present = [company for company in sorted(requests) if company in nodes]
        messages = [
            Message(_content(requests[company]), nodes[company], MESSAGE_TYPE, ttl=deadline_seconds)
            for company in present
        ]
        ids = list(self._grid.push_messages(messages))
        pushed = {
            message_id: (company, nodes[company])
            for message_id, company in zip(ids, present, strict=True)
            if message_id
        }
        self.drops[DropReason.ABSENT] += len(requests) - len(pushed)
        return pushed


def _read(reply: Message | Unreadable, node_id: int) -> bytes | DropReason:
    """The payload of a reply that came from this node, or why there is none."""
    if isinstance(reply, Unreadable):
        return DropReason.OVERSIZED if reply.is_oversized else DropReason.MALFORMED
    if reply.has_error():
        return DropReason.ERROR
    if reply.metadata.src_node_id != node_id:
        return DropReason.UNKNOWN
    payload = _payload(reply.content)
    if payload is None:
        return DropReason.MALFORMED
    return payload if len(payload) <= MAX_PAYLOAD_BYTES else DropReason.OVERSIZED


def _content(payload: bytes) -> RecordDict:
    # One record with one field is three Flower objects; each object is a request of its own.
    return RecordDict({RECORD: ConfigRecord({FIELD: payload})})


def _payload(content: RecordDict) -> bytes | None:
    if list(content.keys()) != [RECORD] or type(content[RECORD]) is not ConfigRecord:
        return None
    record = content[RECORD]
    if list(record.keys()) != [FIELD] or type(record[FIELD]) is not bytes or not record[FIELD]:
        return None
    return bytes(record[FIELD])


def make_server_app(run: Callable[[Path, str, FleetExchange], None]) -> ServerApp:
    """A ServerApp that hands the platform directory, the campaign and the exchange to `run`."""
    server_app = ServerApp()

    def main(grid: Grid, context: Context) -> None:
        directory = os.environ.get(PLATFORM_DIR_VARIABLE)
        if not directory:
            raise ConfigurationError(f"{PLATFORM_DIR_VARIABLE}: expected the platform directory, got nothing")
        campaign = parse_name(str(context.run_config.get("campaign", "")), "campaign")
        run(Path(directory), campaign, FleetExchange(grid))

    server_app.main()(main)
    return server_app


def _run_campaign(platform_dir: Path, campaign: str, exchange: FleetExchange) -> None:
    from noren_server import campaign_rounds

    campaign_rounds.run(platform_dir, campaign, exchange, listen=exchange.listen)


app = make_server_app(_run_campaign)

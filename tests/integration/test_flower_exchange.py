"""FleetExchange against companies that misbehave, on the in-process grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from noren_client.flower_app import make_client_app
from noren_core.errors import ConfigurationError, DataError
from noren_demo.in_process_grid import InProcessGrid, InProcessNode, run_server_app
from noren_server.flower_app import MAX_PAYLOAD_BYTES, DropReason, FleetExchange, make_server_app

COMPANIES = {name: Path(name) for name in ("akane", "benten", "chidori")}
REQUESTS = {name: f"for {name}".encode() for name in COMPANIES}
ECHO = make_client_app(lambda company_dir, payload: payload + b" at " + str(company_dir).encode())
GOOD = {name: f"for {name} at {name}".encode() for name in COMPANIES}


def fast(grid: InProcessGrid) -> FleetExchange:
    """An exchange whose clock moves one second with every look."""
    seconds = itertools.count(0.0, 1.0)
    return FleetExchange(grid, clock=lambda: next(seconds), sleep=lambda _: None)


def misbehaving(company: str, answer: Callable[[Message], Message]) -> ClientApp:
    """The echo app, except at one company."""
    app = ClientApp()

    def handle(message: Message, context: Context) -> Message:
        is_it = context.node_config["company-dir"] == company
        return answer(message) if is_it else ECHO(message, context)

    app.train()(handle)
    return app


def reply_with(content: Mapping[str, object]) -> Callable[[Message], Message]:
    return lambda message: Message(RecordDict(dict(content)), reply_to=message)


def raising(_: Message) -> Message:
    raise ValueError("row 17")


def forged(message: Message) -> Message:
    reply = reply_with({"noren": ConfigRecord({"payload": b"x"})})(message)
    reply.metadata.__dict__["_src_node_id"] = 101
    return reply


def test_every_company_gets_its_own_request() -> None:
    """Requests and answers are matched by company name; nothing is dropped."""
    exchange = fast(InProcessGrid(ECHO, COMPANIES))
    assert exchange.exchange(REQUESTS, deadline_seconds=5) == GOOD
    assert +exchange.drops == {}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raising, DropReason.ERROR),
        (lambda m: Message(Error(code=7, reason="text"), reply_to=m), DropReason.ERROR),
        (reply_with({}), DropReason.MALFORMED),
        (reply_with({"other": ConfigRecord({"payload": b"x"})}), DropReason.MALFORMED),
        (reply_with({"noren": ConfigRecord({"payload": b"x", "score": 0.5})}), DropReason.MALFORMED),
        (reply_with({"noren": ConfigRecord({"payload": "text"})}), DropReason.MALFORMED),
        (reply_with({"noren": ConfigRecord({"payload": b""})}), DropReason.MALFORMED),
        (reply_with({"noren": ArrayRecord()}), DropReason.MALFORMED),
        (
            reply_with({"noren": ConfigRecord({"payload": b"x"}), "second": ConfigRecord({})}),
            DropReason.MALFORMED,
        ),
        (
            reply_with({"noren": ConfigRecord({"payload": bytes(MAX_PAYLOAD_BYTES + 1)})}),
            DropReason.OVERSIZED,
        ),
        (forged, DropReason.UNKNOWN),
    ],
)
def test_one_bad_answer_is_dropped_alone(answer: Callable[[Message], Message], reason: DropReason) -> None:
    """Whatever one company sends, it is counted and the others' answers are returned."""
    exchange = fast(InProcessGrid(misbehaving("akane", answer), COMPANIES))
    answers = exchange.exchange(REQUESTS, deadline_seconds=5)
    assert answers == {name: GOOD[name] for name in ("benten", "chidori")}
    assert +exchange.drops == {reason: 1}


def test_a_silent_company_is_late() -> None:
    """An answer that never comes ends the wait at the deadline and is counted as late."""
    exchange = fast(InProcessGrid(ECHO, COMPANIES, drop=lambda company, _: company == "benten"))
    assert exchange.exchange(REQUESTS, deadline_seconds=5).keys() == {"akane", "chidori"}
    assert +exchange.drops == {DropReason.LATE: 1}


def test_the_deadline_is_the_time_to_live() -> None:
    """A request that is not taken in time is void, so that it cannot be answered later."""
    lifetimes: list[float] = []

    def record(_: str, message: Message) -> bool:
        lifetimes.append(message.metadata.ttl)
        return False

    fast(InProcessGrid(ECHO, COMPANIES, drop=record)).exchange(REQUESTS, deadline_seconds=7)
    assert lifetimes == [7, 7, 7]


def test_absent_companies_are_counted() -> None:
    """A company that is unknown or offline gets no message."""
    grid = InProcessGrid(ECHO, COMPANIES)
    grid.nodes[100] = InProcessNode(100, "akane", status="offline")
    exchange = fast(grid)
    answers = exchange.exchange({**REQUESTS, "daruma": b"x"}, deadline_seconds=5)
    assert answers.keys() == {"benten", "chidori"}
    assert +exchange.drops == {DropReason.ABSENT: 2}


def test_a_name_that_two_nodes_carry_belongs_to_neither() -> None:
    """An ambiguous name is nobody, rather than whoever came last."""
    grid = InProcessGrid(ECHO, COMPANIES)
    grid.nodes[101] = InProcessNode(101, "akane")
    assert fast(grid).participants() == {"chidori": 102}


def test_an_exchange_with_nobody_ends_at_once() -> None:
    """No requests, no answers, no wait."""
    assert fast(InProcessGrid(ECHO, COMPANIES)).exchange({}, deadline_seconds=5) == {}


def test_wait_for_ends_when_all_are_there() -> None:
    """Waiting ends with the last company."""
    grid = InProcessGrid(ECHO, COMPANIES)
    late = grid.nodes.pop(101)
    sleeps = itertools.count()

    def arrive(_: float) -> None:
        if next(sleeps) == 2:
            grid.nodes[101] = late

    exchange = FleetExchange(grid, clock=lambda: 0.0, sleep=arrive)
    assert exchange.wait_for(list(COMPANIES), deadline_seconds=5) == set(COMPANIES)


def test_wait_for_ends_at_the_deadline() -> None:
    """Waiting for a company that never comes is bounded and says who did come."""
    exchange = fast(InProcessGrid(ECHO, COMPANIES))
    assert exchange.wait_for([*COMPANIES, "daruma"], deadline_seconds=5) == set(COMPANIES)


def test_the_server_app_passes_directory_campaign_and_exchange(tmp_path: Path) -> None:
    """ServerApp and ClientApp run together in process, and the rounds see only opaque bytes."""
    seen: list[object] = []

    def rounds(platform_dir: Path, campaign: str, exchange: FleetExchange) -> None:
        seen.extend([platform_dir, campaign, exchange.exchange(REQUESTS, deadline_seconds=5)])

    grid = InProcessGrid(ECHO, COMPANIES)
    run_server_app(make_server_app(rounds), grid, platform_dir=tmp_path, campaign="spring")
    assert seen == [tmp_path, "spring", GOOD]


def test_the_server_app_refuses_a_bad_campaign(tmp_path: Path) -> None:
    """A campaign name that could be a path is refused before anything runs."""
    app = make_server_app(lambda *_: pytest.fail("must not run"))
    grid = InProcessGrid(ECHO, COMPANIES)
    with pytest.raises(DataError):
        run_server_app(app, grid, platform_dir=tmp_path, campaign="../elsewhere")


def test_the_server_app_needs_its_directory() -> None:
    """Without the platform directory in its environment the ServerApp refuses to run."""
    app = make_server_app(lambda *_: pytest.fail("must not run"))
    grid = InProcessGrid(ECHO, COMPANIES)
    with pytest.raises(ConfigurationError):
        app(grid, Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={}))

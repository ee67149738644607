"""The company's own record of privacy spent: what is acknowledged stays, whatever happens to the machine."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from noren_client import odometer as module
from noren_client.config import Limits
from noren_client.odometer import Odometer, Reservation
from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import BudgetExceededError, LocalProtocolError, NorenError, VerificationError
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.privacy.accounting import epsilon_pld
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event

KEY = SigningKey.from_bytes(bytes(range(32)))


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "odometer.jsonl"


def named(plan: CampaignPlan, campaign: str, **changes: Any) -> CampaignPlan:
    return replace(plan, campaign=campaign, **changes)


def intent(plan: CampaignPlan, reservation: Reservation) -> SignedEntry:
    """What the ledger shows of a reservation."""
    body = {
        "campaign": plan.campaign,
        "company": "company-1",
        "event": round_event(plan).to_body(),
        "plan_sha256": plan.digest().hex(),
        "previous": reservation.previous.hex(),
        "round": reservation.round_number,
        "sequence": reservation.sequence,
    }
    return SignedEntry(EntryKind.INTENT, "company-1", body, bytes(64))


def rounds(path: Path) -> list[tuple[str, str, int]]:
    """Kind, campaign and round of every line."""
    lines = [canonical_json.parse_object(line) for line in path.read_bytes().splitlines()]
    return [(line["kind"], line["campaign"], line["round"]) for line in lines]


def test_rounds_are_spent_once_in_order_and_up_to_the_plan(path: Path, plan: CampaignPlan) -> None:
    """No round twice, none skipped, none beyond the plan, also for a process that starts anew."""
    made = [Odometer(path, KEY).reserve(plan, number) for number in (1, 2, 3)]
    assert len({reservation.previous for reservation in made}) == 3
    assert [(r.round_number, r.sequence) for r in made] == [(1, 0), (2, 1), (3, 2)]
    for number in (1, 3, 4, 5):
        with pytest.raises(BudgetExceededError):
            Odometer(path, KEY).reserve(plan, number)
    assert Odometer(path, KEY).rounds_reserved(plan.campaign) == 3
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [0, -1, 2])
def test_a_gap_is_refused(path: Path, plan: CampaignPlan, number: int) -> None:
    """Nothing can come before round 1."""
    with pytest.raises(BudgetExceededError, match="round 1"):
        Odometer(path, KEY).reserve(plan, number)


def test_a_line_says_what_the_whole_plan_takes(path: Path, plan: CampaignPlan) -> None:
    """From the first reservation on, all rounds of the plan count, whatever becomes of the campaign."""
    odometer = Odometer(path, KEY)
    odometer.reserve(plan, 1)
    line = canonical_json.parse_object(path.read_bytes().rstrip(b"\n"))
    assert line | {"signature": ""} == {
        "campaign": plan.campaign,
        "delta": "0.000001",
        "event": round_event(plan).to_body(),
        "kind": "reserve",
        "plan_sha256": plan.digest().hex(),
        "previous": module._GENESIS.hex(),
        "round": 1,
        "rounds": 3,
        "seq": 0,
        "signature": "",
        "train_seasons": ["2025"],
    }
    [spent] = odometer.spending()
    assert (spent.event.count, spent.reserved, spent.settled) == (3, 1, 0)
    assert replace(spent.event, count=1) == round_event(plan)


def test_a_settle_is_written_once_and_gives_nothing_back(path: Path, plan: CampaignPlan) -> None:
    """Settles move the place of the next reservation and change no budget; unknown ones are not written."""
    odometer = Odometer(path, KEY)
    odometer.settle(plan, 1)  # of a round that we did not take part in
    assert path.read_bytes() == b""
    odometer.reserve(plan, 1)
    for _ in range(2):
        odometer.settle(plan, 1)
        odometer.settle(plan, 2)
    assert rounds(path) == [("reserve", plan.campaign, 1), ("settle", plan.campaign, 1)]
    assert odometer.reserve(plan, 2).sequence == 2
    [spent] = odometer.spending()
    assert (spent.event.count, spent.reserved, spent.settled) == (3, 2, 1)
    odometer.settle(plan, 2)
    odometer.settle(plan, 1)  # a late answer, asked for again
    assert rounds(path)[2:] == [("reserve", plan.campaign, 2), ("settle", plan.campaign, 2)]


def test_another_plan_of_the_same_name_is_refused(path: Path, plan: CampaignPlan) -> None:
    """A platform cannot change the plan of a campaign that was begun."""
    odometer = Odometer(path, KEY)
    odometer.reserve(plan, 1)
    other = replace(plan, training=replace(plan.training, noise_multiplier="1"))
    for step in (odometer.reserve, odometer.settle):
        with pytest.raises(BudgetExceededError) as refusal:
            step(other, 2)
        assert refusal.value.code == "PLAN_MISMATCH"
    assert len(rounds(path)) == 1


# Lifetime limits


def test_the_number_of_campaigns_on_a_season_is_limited(path: Path, plan: CampaignPlan) -> None:
    """A fourth campaign on the same records is refused, with the limit and what it would have to be."""
    odometer = Odometer(path, KEY)
    for campaign in ("a", "b", "c"):
        odometer.reserve(named(plan, campaign), 1)
    with pytest.raises(BudgetExceededError, match=r"max_campaigns_per_season: .*at most 3.* 2025.*needs 4"):
        odometer.reserve(named(plan, "d"), 1)
    odometer.reserve(named(plan, "a"), 2)  # what was begun goes on
    odometer.reserve(named(plan, "e", train_seasons=("2024",)), 1)  # other records
    with pytest.raises(BudgetExceededError, match="2025"):
        odometer.reserve(named(plan, "f", train_seasons=("2024", "2025")), 1)


def test_epsilon_of_whole_plans_is_limited(path: Path, plan: CampaignPlan) -> None:
    """An aborted campaign has taken all its rounds; the first reservation of one too many is refused."""
    one, two = (f"{epsilon_pld([round_event(plan)] * rounds, 1e-6):.4f}" for rounds in (3, 6))
    odometer = Odometer(path, KEY, limits=Limits(lifetime_epsilon=Fraction(1)))
    odometer.reserve(plan, 1)  # and never another round
    with pytest.raises(BudgetExceededError, match=rf"lifetime_epsilon: .*at most 1 .*needs {two}"):
        odometer.reserve(named(plan, "second"), 1)
    odometer.reserve(plan, 2)
    with pytest.raises(BudgetExceededError, match=rf"needs {one}"):
        Odometer(path.with_name("other"), KEY, limits=Limits(lifetime_epsilon=Fraction(1, 2))).reserve(
            plan, 1
        )
    Odometer(path, KEY, limits=Limits(lifetime_epsilon=Fraction(13, 10))).reserve(named(plan, "second"), 1)


# Crashes and full disks


def test_a_line_torn_at_any_byte_is_not_a_reservation(path: Path, plan: CampaignPlan) -> None:
    """A line that was being written when the power went was never acknowledged; the round can be reserved."""
    odometer = Odometer(path, KEY)
    odometer.reserve(plan, 1)
    before = path.read_bytes()
    odometer.reserve(plan, 2)
    after = path.read_bytes()
    for length in range(len(before), len(after)):
        path.write_bytes(after[:length])
        assert odometer.rounds_reserved(plan.campaign) == 1
        assert path.read_bytes() == before
    odometer.reserve(plan, 2)
    assert path.read_bytes() == after


def dies_at(place: int, step: Callable[[], object]) -> bool:
    """Whether a child was killed, by SIGKILL at the n-th step through our file handling.

    A step is a line, and where the file is changed every byte-code instruction.
    """
    child = os.fork()
    if child == 0:
        left = place

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in TRACED:
                return None
            frame.f_trace_opcodes = frame.f_code.co_name in CHANGING
            if event == ("opcode" if frame.f_trace_opcodes else "line"):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        step()
        sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


TRACED = {module.__file__, sys.modules["noren_local.private_file"].__file__}
CHANGING = {"_append", "_locked", "_read", "sync_directory"}

Line = tuple[str, int]


def kill_everywhere(path: Path, body: dict[str, Any], before: Sequence[Line], last: Line) -> tuple[int, int]:
    """Kill the writing of line `last` after `before` at every step, one after the other.

    Returns:
        The number of steps, and at how many of them the line was written and not acknowledged.
    """
    plan, acknowledged = CampaignPlan.from_body(body), path.with_name("acknowledged")

    def write(line: Line) -> None:
        kind, number = line
        getattr(Odometer(path, KEY), kind)(plan, number)

    def act() -> None:
        write(last)
        acknowledged.touch()

    for line in before:
        write(line)
    whole = path.read_bytes() if before else None
    for_nothing = steps = 0
    while not acknowledged.exists():
        steps += 1
        killed = dies_at(steps, act)
        found = Odometer(path, KEY).spending()  # verifies the chain
        assert path.read_bytes().startswith(whole or b"")
        lines = [(kind, number) for kind, _, number in rounds(path)]
        assert lines in ([*before], [*before, last])
        assert lines == [*before, last] or not acknowledged.exists()
        if lines == [*before]:
            write(last)  # what a restarted worker does
        else:
            for_nothing += killed
            assert found[0].reserved == max(number for kind, number in lines if kind == "reserve")
        with pytest.raises(BudgetExceededError):  # no budget comes back
            write(("reserve", max(number for _, number in [*before, last])))
        assert [(kind, number) for kind, _, number in rounds(path)] == [*before, last]
        if whole is None:
            path.unlink()
        else:
            path.write_bytes(whole)
    return steps, for_nothing


@pytest.mark.parametrize(
    ("before", "last"),
    [
        ([], ("reserve", 1)),
        ([("reserve", 1)], ("reserve", 2)),
        ([("reserve", 1)], ("settle", 1)),
    ],
    ids=["first", "next", "settle"],
)
def test_killed_at_any_step(path: Path, plan_body: dict[str, Any], before: list[Line], last: Line) -> None:
    """Nothing acknowledged is lost, nothing is counted twice, the chain verifies, and the work goes on."""
    # In a process of its own, which is small and quickly forked.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        steps, for_nothing = pool.submit(kill_everywhere, path, plan_body, before, last).result()
    assert steps > 200
    assert for_nothing > 10


def limited_reservation(path: Path, plan: CampaignPlan, room: int) -> str:
    """What a process gets for round 2 that may write `room` bytes more to the file."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = path.stat().st_size + room
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            Odometer(path, KEY).reserve(plan, 2)
            sending.send("reserved")
        except NorenError as error:
            sending.send(error.code)
        os._exit(0)
    os.waitpid(child, 0)
    return str(receiving.recv())


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_short_write_leaves_the_file_as_it_was(path: Path, plan: CampaignPlan, room: int) -> None:
    """The kernel takes a part of the line, or nothing: nothing is spent, and later there is room again."""
    Odometer(path, KEY).reserve(plan, 1)
    before = path.read_bytes()
    assert limited_reservation(path, plan, room) == "STORAGE_FAILED"
    assert path.read_bytes() == before
    assert limited_reservation(path, plan, 10_000) == "reserved"


@pytest.mark.parametrize(("call", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO)])
def test_a_full_or_broken_disk_spends_nothing(
    path: Path, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """Unless the disk has the line, nothing is acknowledged and nothing computed."""
    odometer = Odometer(path, KEY)
    odometer.reserve(plan, 1)
    before = path.read_bytes()

    def fails(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(LocalProtocolError) as refusal:
            odometer.reserve(plan, 2)
    assert refusal.value.code == "STORAGE_FAILED"
    assert path.read_bytes() == before
    assert odometer.reserve(plan, 2).sequence == 1


def test_what_is_acknowledged_was_synced(
    path: Path, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is durable before the first line is written, every line before it is acknowledged."""
    done: list[tuple[str, bool]] = []
    fsync, write = os.fsync, os.write

    def synced(descriptor: int) -> None:
        done.append(("sync", os.path.isdir(f"/proc/self/fd/{descriptor}")))  # noqa: PTH112 (a descriptor)
        fsync(descriptor)

    def written(descriptor: int, data: bytes) -> int:
        done.append(("write", False))
        return write(descriptor, data)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "write", written)
    Odometer(path, KEY).reserve(plan, 1)
    assert done == [("sync", True), ("write", False), ("sync", False)]
    done.clear()
    Odometer(path, KEY).settle(plan, 1)
    assert done == [("write", False), ("sync", False)]


def test_no_clock_is_read(path: Path, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set clocks and times of files back or forward: what counts is the number of lines."""
    odometer = Odometer(path, KEY)
    odometer.reserve(plan, 1)

    def read(*_: object) -> float:
        raise AssertionError("a clock was read")

    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "gmtime", "localtime", "perf_counter"):
        monkeypatch.setattr(time, name, read)
    for seconds in (0, 2**33):
        os.utime(path, (seconds, seconds))
        assert odometer.rounds_reserved(plan.campaign) == 1
    odometer.settle(plan, 1)
    assert odometer.reserve(plan, 2).sequence == 2
    with pytest.raises(BudgetExceededError):
        odometer.reserve(plan, 2)


# Somebody else's hands


@pytest.mark.parametrize("place", [10, 100, -60])
def test_a_changed_byte_stops_everything(path: Path, plan: CampaignPlan, place: int) -> None:
    """Whoever edits the file cannot buy rounds: the next reservation is refused."""
    for number in (1, 2):
        Odometer(path, KEY).reserve(plan, number)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(VerificationError) as refusal:
        Odometer(path, KEY).reserve(plan, 3)
    assert refusal.value.code == "ACCOUNTANT_RESET"


def test_a_removed_line_stops_everything(path: Path, plan: CampaignPlan) -> None:
    """Lines cannot be taken out of the middle."""
    for number in (1, 2, 3):
        Odometer(path, KEY).reserve(plan, number)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(VerificationError) as refusal:
        Odometer(path, KEY).rounds_reserved(plan.campaign)
    assert refusal.value.code == "ACCOUNTANT_RESET"


def forged(path: Path, **changes: object) -> None:
    """One more line of ours that follows in the chain, of other content."""
    lines = path.read_bytes().splitlines()
    body = canonical_json.parse_object(lines[-1])
    del body["signature"]
    body |= {"previous": module.hashlib.sha256(lines[-1]).hexdigest(), "seq": len(lines), "round": 2}
    body = {name: value for name, value in {**body, **changes}.items() if value is not None}
    signature = KEY.sign(b"noren/v1/odometer", canonical_json.encode(body)).hex()
    path.write_bytes(path.read_bytes() + canonical_json.encode({**body, "signature": signature}) + b"\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"round": 1},
        {"round": 3},
        {"round": True},
        {"plan_sha256": "00" * 32},
        {"plan_sha256": "00"},
        {"kind": "refund"},
        {"kind": "settle"},
        {"rounds": None},
        {"rounds": 0},
        {"rounds": 101},
        {"rounds": 1},
        {"more": 1},
        {"train_seasons": []},
        {"train_seasons": "2025"},
        {"train_seasons": [2025]},
        {"event": {}},
        {"delta": 1},
        {"campaign": "Not a name"},
        {"campaign": 7},
        {"seq": 7},
        {"previous": "00" * 32},
    ],
)
def test_a_signed_line_that_we_would_not_write_is_refused(
    path: Path, plan: CampaignPlan, changes: dict[str, object]
) -> None:
    """Our signature alone does not make a line: each must follow from those before it."""
    Odometer(path, KEY).reserve(plan, 1)
    whole = path.read_bytes()
    forged(path)
    assert Odometer(path, KEY).rounds_reserved(plan.campaign) == 2
    path.write_bytes(whole)
    forged(path, **changes)
    with pytest.raises(VerificationError) as refusal:
        Odometer(path, KEY).spending()
    assert refusal.value.code == "ACCOUNTANT_RESET"


def test_a_settle_before_its_reservation_is_refused(path: Path, plan: CampaignPlan) -> None:
    """A settle, once of each round, follows the reservation."""
    absent: dict[str, object] = dict.fromkeys(("delta", "event", "rounds", "train_seasons"))
    Odometer(path, KEY).reserve(plan, 1)
    whole = path.read_bytes()
    forged(path, kind="settle", round=1, **absent)
    assert Odometer(path, KEY).spending()[0].settled == 1
    forged(path, kind="settle", round=1, **absent)
    with pytest.raises(VerificationError):
        Odometer(path, KEY).spending()
    path.write_bytes(whole)
    forged(path, kind="settle", round=2, **absent)
    with pytest.raises(VerificationError):
        Odometer(path, KEY).spending()


def test_a_file_without_end_is_not_read(
    path: Path, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file beyond the bound is refused before its lines are looked at."""
    Odometer(path, KEY).reserve(plan, 1)
    monkeypatch.setattr(module, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(VerificationError, match="at most"):
        Odometer(path, KEY).spending()


def reserve_in_child(path: Path, raw: bytes, body: dict[str, Any], results: Any) -> None:
    try:
        Odometer(path, SigningKey.from_bytes(raw)).reserve(CampaignPlan.from_body(body), 1)
        results.put("reserved")
    except NorenError as error:
        results.put(error.code)


def test_two_workers_cannot_spend_the_same_round(
    path: Path, plan: CampaignPlan, plan_body: dict[str, Any]
) -> None:
    """Of several processes that reserve round 1 at once, exactly one gets it."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (path, KEY.to_bytes(), plan_body, results)
    workers = [context.Process(target=reserve_in_child, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    outcomes = sorted(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert outcomes == ["BUDGET_EXCEEDED", "BUDGET_EXCEEDED", "reserved"]
    assert len(rounds(path)) == 1


def test_two_workers_cannot_pass_a_lifetime_limit_together(
    path: Path, plan: CampaignPlan, plan_body: dict[str, Any]
) -> None:
    """Processes that begin different campaigns at once get as many as the limit allows."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    bodies = [{**plan_body, "campaign": f"campaign-{number}"} for number in range(5)]
    workers = [
        context.Process(target=reserve_in_child, args=(path, KEY.to_bytes(), body, results))
        for body in bodies
    ]
    for worker in workers:
        worker.start()
    outcomes = sorted(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert outcomes == ["BUDGET_EXCEEDED"] * 2 + ["reserved"] * 3


def test_a_chain_goes_on_under_a_new_key_and_never_back(path: Path, plan: CampaignPlan) -> None:
    """Lines of earlier keys stay good before the first of a later one; a stranger's never are."""
    old, new = SigningKey.generate(), SigningKey.generate()
    Odometer(path, old).reserve(plan, 1)
    Odometer(path, new, earlier=[old.public_key]).reserve(plan, 2)
    assert Odometer(path, new, earlier=[old.public_key]).rounds_reserved(plan.campaign) == 2
    for key, earlier in ((new, []), (old, []), (old, [new.public_key])):
        with pytest.raises(VerificationError):
            Odometer(path, key, earlier=earlier).rounds_reserved(plan.campaign)


# What the ledger knows of it


@pytest.fixture
def published(path: Path, plan: CampaignPlan) -> tuple[Odometer, SignedEntry]:
    """A chain of four lines, and the intent of its last reservation."""
    odometer = Odometer(path, KEY)
    odometer.reserve(plan, 1)
    odometer.settle(plan, 1)
    reservation = odometer.reserve(plan, 2)
    odometer.settle(plan, 2)
    newest = intent(plan, reservation)
    odometer.verify_holds(newest)
    odometer.verify_holds(None)
    return odometer, newest


@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_chain_without_what_the_ledger_shows_is_refused(
    path: Path, published: tuple[Odometer, SignedEntry], lines: int
) -> None:
    """Restored from any copy that is older than the newest intent, or removed."""
    odometer, newest = published
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    with pytest.raises(VerificationError) as refusal:
        odometer.verify_holds(newest)
    assert refusal.value.code == "ACCOUNTANT_RESET"


def test_a_chain_that_took_another_turn_is_refused(
    path: Path, plan: CampaignPlan, published: tuple[Odometer, SignedEntry]
) -> None:
    """Restored and continued differently, it is as long as before and not the same."""
    odometer, newest = published
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    for number in (2, 3):
        odometer.reserve(plan, number)
    with pytest.raises(VerificationError, match="newest intent"):
        odometer.verify_holds(newest)


@pytest.mark.parametrize("name", ["campaign", "plan_sha256", "previous", "round"])
def test_every_field_of_the_intent_is_compared(published: tuple[Odometer, SignedEntry], name: str) -> None:
    """An intent that differs from the line in one field was not made from it."""
    odometer, newest = published
    other = 7 if name == "round" else "00" * 32
    with pytest.raises(VerificationError):
        odometer.verify_holds(replace(newest, body={**newest.body, name: other}))


def test_an_intent_does_not_name_a_settle(published: tuple[Odometer, SignedEntry]) -> None:
    """The line that an intent names is a reservation."""
    odometer, newest = published
    lines = odometer._path.read_bytes().splitlines()
    settle = canonical_json.parse_object(lines[3])
    body = {**newest.body, "sequence": 3, "previous": settle["previous"]}
    with pytest.raises(VerificationError):
        odometer.verify_holds(replace(newest, body=body))

"""Counting bytes per company in two places."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from noren_server.traffic_meter import (
    FLEET_FILE,
    SERVICE_FILE,
    Traffic,
    TrafficMeter,
    company_traffic,
    node_name,
    read_counts,
)

NOW = 1_790_000_000


class Clock:
    """Seconds that pass only when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_was_counted_is_read_back(tmp_path: Path, clock: Clock) -> None:
    """Bytes add up by name and direction, and are in the file once the meter is closed."""
    meter = TrafficMeter(tmp_path / "t.json", clock=clock, now=lambda: NOW)
    meter.add("aoba", sent=5, received=7)
    meter.add("benten", sent=1, received=0)
    meter.add("aoba", sent=10, received=100)
    meter.close()
    assert read_counts(tmp_path / "t.json") == {"aoba": Traffic(15, 107, NOW), "benten": Traffic(1, 0, NOW)}
    assert (tmp_path / "t.json").stat().st_mode & 0o777 == 0o600


def test_the_file_is_written_at_most_once_a_second(tmp_path: Path, clock: Clock) -> None:
    """Within a second of the last writing nothing is written; the next exchange after it writes all."""
    path = tmp_path / "t.json"
    meter = TrafficMeter(path, clock=clock, now=lambda: NOW)
    clock.now += 0.9
    meter.add("aoba", sent=1, received=1)
    assert read_counts(path) == {}
    clock.now += 0.1
    meter.add("aoba", sent=1, received=1)
    assert read_counts(path) == {"aoba": Traffic(2, 2, NOW)}
    clock.now += 0.5
    meter.add("aoba", sent=1, received=1)
    assert read_counts(path) == {"aoba": Traffic(2, 2, NOW)}
    clock.now += 0.5
    meter.add("aoba", sent=1, received=1)
    assert read_counts(path) == {"aoba": Traffic(4, 4, NOW)}


def test_threads_lose_nothing(tmp_path: Path, clock: Clock) -> None:
    """Exchanges counted by many threads at once all count, and nobody writes while another does."""
    meter = TrafficMeter(tmp_path / "t.json", clock=clock, now=lambda: NOW)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4000):
            pool.submit(meter.add, "aoba", sent=1, received=2)
    meter.close()
    assert read_counts(tmp_path / "t.json") == {"aoba": Traffic(4000, 8000, NOW)}


def test_a_company_is_counted_in_both_places(tmp_path: Path, clock: Clock) -> None:
    """The service's count by name and the fleet's by key are added; strangers are not companies."""
    keys = {"benten": b"pem b", "aoba": b"pem a", "chidori": b"pem c"}
    service = TrafficMeter(tmp_path / SERVICE_FILE, clock=clock, now=lambda: NOW)
    service.add("aoba", sent=1, received=2)
    service.add("benten", sent=3, received=4)
    service.add("stranger", sent=9, received=9)
    service.close()
    fleet = TrafficMeter(tmp_path / FLEET_FILE, clock=clock, now=lambda: NOW)
    fleet.add(node_name(keys["aoba"]), sent=10, received=20)
    fleet.add(node_name(b"another"), sent=9, received=9)
    fleet.close()
    assert list(company_traffic(tmp_path, keys).items()) == [
        ("aoba", Traffic(11, 22, NOW)),
        ("benten", Traffic(3, 4, NOW)),
        ("chidori", Traffic(0, 0)),
    ]


def test_before_anything_was_written_nothing_was_sent(tmp_path: Path) -> None:
    """Missing files are zero bytes."""
    assert company_traffic(tmp_path, {"aoba": b"pem"}) == {"aoba": Traffic(0, 0)}

"""The kit's smaller parts: charts, jobs, limits, filters, and the scripts of others."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import tomllib
from importlib import resources
from typing import cast

import pytest

from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_web import pages
from noren_web.charts import Chart, ChartKind, Series
from noren_web.jobs import KEPT_SECONDS, MAX_RUNNING, Job, Jobs, JobState
from noren_web.localhost_entry import VALID_SECONDS, OneTimeEntry
from noren_web.rate_limits import RateLimit


class Clock:
    """Stands where it is put."""

    now = 1000

    def __call__(self) -> int:
        return self.now


def test_a_chart_is_its_table() -> None:
    """The drawing gets nothing that the table does not say."""
    chart = Chart(ChartKind.BAR, "T", "x", ("a", "b"), (Series("s", (1, None)), Series("t", (0.5, 2))))
    assert chart.rows() == [("a", "1", "0.5"), ("b", "–", "2")]
    assert json.loads(chart.option)["series"][0] == {"name": "s", "values": [1, None]}
    with pytest.raises(DataError):
        Chart(ChartKind.BAR, "T", "x", ("a", "b"), (Series("s", (1,)),))


def test_a_job_runs_beside_the_page() -> None:
    """It says how far it is, ends, and is found by its owner alone."""
    jobs, gate = Jobs(Clock()), threading.Event()

    def work(job: Job) -> None:
        job.progress(1, 2, "half")
        gate.wait()

    job = jobs.start(work, kind="k", owner="aiko", title="T", next_path="/")
    try:
        with pytest.raises(LocalProtocolError) as refused:
            jobs.start(work, kind="k", owner="aiko", title="T", next_path="/")
        assert refused.value.code == "JOB_RUNNING"
        for kind in range(MAX_RUNNING - 1):
            jobs.start(work, kind=str(kind), owner="aiko", title="T", next_path="/")
        with pytest.raises(LocalProtocolError):
            jobs.start(work, kind="one more", owner="aiko", title="T", next_path="/")
    finally:
        gate.set()
    job.wait()
    assert (job.state, job.done, job.total, job.step) == (JobState.DONE, 1, 2, "half")
    assert jobs.find(job.job, owner="aiko") is job
    assert jobs.newest("k") is job
    with pytest.raises(LocalProtocolError):
        jobs.find(job.job, owner="ben")


def test_a_job_that_fails_says_what_an_error_of_ours_says(caplog: pytest.LogCaptureFixture) -> None:
    """And of any other error only that there was one."""
    clock = Clock()
    jobs = Jobs(clock)

    def refuse(_: Job) -> None:
        raise DataError("expected rows, got none", code="NO_ROWS")

    def break_down(_: Job) -> None:
        raise RuntimeError("taro@example.com")

    found = []
    with caplog.at_level(logging.DEBUG):
        for kind, work in (("a", refuse), ("b", break_down)):
            job = jobs.start(work, kind=kind, owner="aiko", title="T", next_path="/")
            job.wait()
            found.append((job.state, job.code, job.message))
    assert found[0] == (JobState.FAILED, "NO_ROWS", "expected rows, got none")
    assert found[1][:2] == (JobState.FAILED, "INTERNAL")
    assert "taro" not in found[1][2] + caplog.text
    clock.now += KEPT_SECONDS
    jobs.start(refuse, kind="c", owner="aiko", title="T", next_path="/").wait()
    assert jobs.newest("a") is None


def test_attempts_are_limited_in_a_window() -> None:
    """By key; and whoever invents keys is refused before memory is full."""
    clock = Clock()
    limit = RateLimit(most=2, seconds=10, clock=clock)
    for second in (0, 5):
        clock.now = 1000 + second
        limit.count("aiko")
    with pytest.raises(LocalProtocolError, match="at most 2"):
        limit.count("aiko")
    limit.count("ben")
    clock.now = 1010
    limit.count("aiko")
    others = (limit.count(str(number)) for number in range(20_000))
    with pytest.raises(LocalProtocolError):
        list(others)
    clock.now = 1021
    limit.count("aiko")


def test_a_link_is_used_once_and_in_time() -> None:
    """Each of several; a guess is no link."""
    clock = Clock()
    entry = OneTimeEntry(clock)
    tokens = [entry.new_path().split("=")[1] for _ in range(2)]
    entry.use_up(tokens[0])
    for token in (tokens[0], "", "é", "a" * 43):
        with pytest.raises(VerificationError):
            entry.use_up(token)
    clock.now += VALID_SECONDS
    with pytest.raises(VerificationError):
        entry.use_up(tokens[1])


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 bytes"), (1023, "1,023 bytes"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_bytes_are_told_in_their_unit(count: int, words: str) -> None:
    """The largest that leaves at least one."""
    assert pages.byte_count(count) == words


def test_numbers_and_days() -> None:
    """Commas between thousands, three digits at most, a date as ISO 8601 has it."""
    assert [pages.number(value) for value in (1234567, 0.5, 2.0, 1234.56789)] == [
        "1,234,567", "0.5", "2", "1,234.568",
    ]  # fmt: skip
    assert pages.day(86_400) == "1970-01-02"


def test_scripts_of_others_are_as_published() -> None:
    """Every file of somebody else's is listed, with its licence and the hash that it has."""
    folder = resources.files("noren_web")
    listed = tomllib.loads(folder.joinpath("VENDORED.toml").read_text())["script"]
    ours = {"charts.js", "drop.js", "noren.css", "noren.svg"}
    found = {item.name for item in folder.joinpath("static").iterdir() if item.is_file()}
    assert found - ours == {cast("str", script["file"]).removeprefix("static/") for script in listed}
    for script in listed:
        content = folder.joinpath(script["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == script["sha256"]
        assert all(folder.joinpath(name).read_text().strip() for name in script["licence_files"])

"""Every row of the speed table, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from noren_bench import (
    aggregation_cost,
    alignment_cost,
    audit_cost,
    consent_cost,
    console_cost,
    coverage_cost,
    end_to_end,
    features_cost,
    ledger_cost,
    scoring_cost,
    sealing_cost,
    statistics_cost,
    training_cost,
)
from noren_bench.measurement import Row
from noren_bench.peers import OPENMINED_PSI, SPU, TENSEAL, Peer, figures
from noren_bench.progress import say

_PEER_APPLICANTS, _PEER_STUDENTS = 1_000, 100_000


def rows(names: tuple[str, ...], *, with_peers: bool) -> Iterator[Row]:
    """The rows with these names, as they are measured."""
    for name in names:
        say(f"{name} ...")
        yield ROWS[name](with_peers)


def _alignment(with_peers: bool) -> Row:
    sizes = (_PEER_APPLICANTS, _PEER_STUDENTS)
    found = _of((OPENMINED_PSI, SPU), "us_per_server_id", *sizes, wanted=with_peers)
    return alignment_cost.row(found)


def _scoring(dimensions: int, weight_bits: int, with_peers: bool) -> Row:
    found = _of((TENSEAL,), "us_per_student", dimensions, wanted=with_peers and weight_bits == 8)
    return scoring_cost.row(dimensions, found, weight_bits=weight_bits)


def _season(size: end_to_end.Size, with_peers: bool) -> Row:
    found = _of((OPENMINED_PSI, SPU), "cpu_s", size.applicants, size.students, wanted=with_peers)
    return end_to_end.row(size, found)


def _of(peers: tuple[Peer, ...], field: str, *arguments: int, wanted: bool) -> dict[str, float]:
    return {
        name: value for peer in peers if wanted for name, value in figures(peer, field, *arguments).items()
    }


def _alone(row: Callable[[], Row]) -> Callable[[bool], Row]:
    return lambda _with_peers: row()


ROWS: Mapping[str, Callable[[bool], Row]] = {
    "alignment": _alignment,
    "scoring-16": partial(_scoring, 16, 8),
    "scoring-32": partial(_scoring, 32, 8),
    "scoring-64": partial(_scoring, 64, 8),
    "scoring-32-12-bits": partial(_scoring, 32, 12),
    "sealing": _alone(sealing_cost.row),
    "statistics-20k": _alone(partial(statistics_cost.row, 20_000)),
    "statistics-100k": _alone(partial(statistics_cost.row, 100_000)),
    "season-100k": partial(_season, end_to_end.HUNDRED_THOUSAND),
    "season-1m": partial(_season, end_to_end.MILLION),
    "aggregation": _alone(aggregation_cost.row),
    "training": _alone(training_cost.row),
    "features": _alone(features_cost.row),
    "audit": _alone(audit_cost.row),
    "ledger": _alone(ledger_cost.row),
    "consents": _alone(consent_cost.row),
    "console": _alone(console_cost.row),
    "coverage": _alone(coverage_cost.row),
}
"""Each kind of work by the name that --only takes."""

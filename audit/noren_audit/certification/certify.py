"""Does an installed client do what the ledger will say it did? And would we notice, if it did not?

Two instruments, on releases over made-up rows that the client computes in a process of its own:

* Exact comparison: with seeds that we keep, every number must be the reference's, but for at most one unit
  per row where a coordinate is rounded.
* The curve test: with seeds that nobody knows, what can be said about a record's presence must stay within
  the claimed curve δ(ε), at several claims.

The client must pass both. Then the same is done to mutants of it, each of which breaks one promise: every one
must be caught. That is what makes the first result worth something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from noren_audit.certification import privacy_curve
from noren_audit.certification.cases import (
    CLAIM_ROUNDS,
    MAX_RUNS_PER_REQUEST,
    CanaryClaim,
    ExactCase,
    exact_cases,
)
from noren_audit.certification.client_process import ClientCommands, MechanismClient, running
from noren_audit.certification.mutants import MUTANTS, Mutant
from noren_audit.certification.privacy_curve import Look, Scores
from noren_core.errors import DataError

FALSE_ALARM = 1e-3
"""The probability with which the curve test rejects an honest client, over all claims and looks."""

_CLAIM = re.compile(r"[1-9][0-9]?\Z", re.ASCII)

LOOKS = (100, 400, 1_200, 2_500, 5_000)
"""Runs per side after which the claim is tested."""

QUICK_LOOKS = LOOKS[:3]
CLAIMS = (1, 4, 8)
HONEST = "the client"

LIMITS = (
    "a client that behaves differently when certified: compare its image's digest with what companies run",
    "to the curve test: rows left out; what leaks less than claimed keeps every claim (compared exactly)",
    "one person's record twice under two names (the tables' tags), or records that are not true",
    "parameters tuned on private rows before the plan",
    "what lies outside the mechanism: logs, backups, timing",
)
"""Printed with every result: what neither instrument sees."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ExactResult:
    """The comparison with the reference.

    Attributes:
        releases: how many were compared.
        largest_difference: in grid units, if every difference is one that rounding explains; otherwise None.
    """

    releases: int
    largest_difference: int | None

    @property
    def passes(self) -> bool:
        """Every release is the reference's."""
        return self.largest_difference is not None


@dataclass(frozen=True, slots=True)
class CurveResult:
    """The curve test of one claim: the looks that were taken, the last of which may have rejected it."""

    claim: CanaryClaim
    looks: tuple[Look, ...]

    @property
    def caught_at(self) -> int | None:
        """Runs per side at which the claim was rejected; None if it was not."""
        return self.looks[-1].runs if self.looks[-1].is_rejected else None


@dataclass(frozen=True, slots=True)
class Examined:
    """What both instruments say about one program; `curves` is empty where none can see anything."""

    name: str
    mutant: Mutant | None
    exact: ExactResult
    curves: tuple[CurveResult, ...]

    @property
    def is_caught(self) -> bool:
        """Whether at least one instrument told it from an honest client."""
        return not self.exact.passes or any(result.caught_at is not None for result in self.curves)


@dataclass(frozen=True, slots=True)
class Certification:
    """The result: the client's own examination and those of its mutants."""

    client: Examined
    mutants: tuple[Examined, ...]
    looks: tuple[int, ...]
    false_alarm_per_look: float

    @property
    def is_certified(self) -> bool:
        """The client passes, and every mutant is caught."""
        return not self.client.is_caught and all(mutant.is_caught for mutant in self.mutants)

    def power(self, claim: CanaryClaim, shift: float, runs: int) -> float:
        """About how likely the look at `runs` is to catch a client with this `shift`; see `Mutant`."""
        return privacy_curve.power(claim.mean, shift, runs, false_alarm=self.false_alarm_per_look)


def certify(
    commands: ClientCommands, claims: Sequence[int], *, looks: Sequence[int], progress: Progress
) -> Certification:
    """Examine a client and its mutants.

    1. The client: exact comparison, then every claim at every look.
    2. Each mutant likewise, a claim only until it is rejected, and none where nothing can show.

    Args:
        commands: how they are started.
        claims: values of ε to claim.
        looks: ascending numbers of runs per side.
        progress: told what is examined next.

    Raises:
        RemoteProtocolError: if a program does not answer as docs/protocol.md §4.8 says.
    """
    tried = tuple(CanaryClaim(epsilon) for epsilon in claims)
    spent = FALSE_ALARM / (len(tried) * len(looks))
    cases = tuple(exact_cases())

    def examine(command: tuple[str, ...], mutant: Mutant | None) -> Examined:
        name = HONEST if mutant is None else mutant.name
        progress(name)
        with running(command) as client:
            exact = compare(client, cases)
            is_visible = mutant is None or mutant.shift is not None
            curves = tuple(_curve(client, claim, looks, spent) for claim in tried if is_visible)
        return Examined(name, mutant, exact, curves)

    client = examine(commands.service, None)  # 1
    mutants = tuple(examine(commands.mutant(mutant.prelude), mutant) for mutant in MUTANTS)  # 2
    return Certification(client, mutants, tuple(looks), spent)


def compare(client: MechanismClient, cases: Sequence[ExactCase]) -> ExactResult:
    """Every release of every case against the reference; at the sentinels nothing is rounded."""
    largest: int | None = 0
    for case in cases:
        expected = case.expected()
        answer = client.updates(case.request(), releases=len(expected), length=expected.shape[1])
        apart = np.abs(answer.astype(object) - expected.astype(object))
        head = case.plan.head_length
        if apart[:, :head].max() > len(case.records) or apart[:, head:].any():
            largest = None
        elif largest is not None:
            largest = max(largest, int(apart.max()))
    return ExactResult(sum(len(case.releases) for case in cases), largest)


def _curve(
    client: MechanismClient, claim: CanaryClaim, looks: Sequence[int], false_alarm: float
) -> CurveResult:
    """The claim's looks, until one rejects it."""
    present, absent = (np.empty((0, 2)) for _ in range(2))
    taken: list[Look] = []
    for runs in looks:
        more = runs - len(present)
        present = np.concatenate([present, _scores(client, claim, more, is_present=True)])
        absent = np.concatenate([absent, _scores(client, claim, more, is_present=False)])
        taken.append(privacy_curve.look(present, absent, mean=claim.mean, false_alarm=false_alarm))
        if taken[-1].is_rejected:
            break
    return CurveResult(claim, tuple(taken))


def _scores(client: MechanismClient, claim: CanaryClaim, runs: int, *, is_present: bool) -> Scores:
    batches = [
        claim.scores(
            client.updates(
                claim.request(size, is_present=is_present),
                releases=size * CLAIM_ROUNDS,
                length=claim.plan.vector_length,
            )
        )
        for size in (
            min(MAX_RUNS_PER_REQUEST, runs - start) for start in range(0, runs, MAX_RUNS_PER_REQUEST)
        )
    ]
    return np.concatenate(batches)


def parse_claims(text: str) -> tuple[int, ...]:
    """The ε of `--claims 1,4,8`; DataError unless they are distinct integers from 1 to 16."""
    words = text.split(",")
    if not all(_CLAIM.match(word) and int(word) <= 16 for word in words):
        raise DataError("claims: expected integers from 1 to 16, separated by commas")
    if len(set(words)) != len(words):
        raise DataError("claims: expected each once, got one twice")
    return tuple(int(word) for word in words)

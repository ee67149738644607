"""Clients that break one promise each, to show that certification would notice.

A mutant is the installed client itself with one piece of its program replaced, in a process of its own: a few
lines run first in the client's own interpreter, then the client's own command does the rest. Nothing in the
client knows of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

_PRELUDE = """\
import sys
from noren_client import mechanism
from noren_core.privacy.noise_seed import NoiseSeed
{change}
from noren_client.cli import main
sys.exit(main(["mechanism"]))
"""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken promise.

    Attributes:
        name: in reports.
        change: the statements that break the client.
        shift: how many times further than claimed one record moves the release, relative to its noise; None
            if no further: then no test of the releases' distribution can see it.
    """

    name: str
    change: str
    shift: float | None

    @property
    def prelude(self) -> str:
        """The program for the client's interpreter."""
        return _PRELUDE.format(change=self.change.strip())


MUTANTS = (
    Mutant(
        "no noise",
        "mechanism.sample = lambda count, **_: mechanism.np.zeros(count, mechanism.np.int64)",
        shift=inf,
    ),
    Mutant(
        "half the deviation",
        """
drawn = mechanism.sample
mechanism.sample = lambda count, *, variance, stream: drawn(count, variance=variance / 4, stream=stream)
""",
        shift=2,
    ),
    Mutant(
        "no clipping",
        """
summed = mechanism.clipped_gradient_sum
mechanism.clipped_gradient_sum = lambda *data, clipping_norm, grid: summed(
    *data, clipping_norm=clipping_norm * 100, grid=grid
)
""",
        shift=10,
    ),
    Mutant(
        "one noise for all rounds",
        """
stream = NoiseSeed.round_stream
NoiseSeed.round_stream = lambda seed, *, beacon, campaign, round_number: stream(
    seed, beacon=beacon, campaign=campaign, round_number=1
)
""",
        shift=inf,
    ),
    Mutant(
        "a fixed part of the rows",
        """
update = mechanism.noised_update
def halved(rows, labels, *rest, **named):
    part = (len(rows) + 1) // 2
    return update(rows[:part], labels[:part], *rest, **named)
mechanism.noised_update = halved
""",
        shift=None,
    ),
    Mutant(
        "divided by the number of rows",
        """
summed = mechanism.clipped_gradient_sum
mechanism.clipped_gradient_sum = lambda rows, *rest, **named: (
    summed(rows, *rest, **named) * 64 // max(len(rows), 1)
)
""",
        shift=16,
    ),
    Mutant(
        "every row twice",
        """
summed = mechanism.clipped_gradient_sum
mechanism.clipped_gradient_sum = lambda *data, **named: 2 * summed(*data, **named)
""",
        shift=2,
    ),
)
"""What an auditor must be able to tell from an honest client."""

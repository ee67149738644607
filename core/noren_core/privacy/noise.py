"""How much noise a company adds in a round.

The noise parameters are exact rationals from the plan, never floats. A round without secure aggregation,
or with fewer companies than the plan's minimum, does not take place.
"""

from __future__ import annotations

from fractions import Fraction

from noren_core.errors import ConfigurationError
from noren_core.privacy.events import GaussianEvent, NoisePlacement


def company_variance(event: GaussianEvent, *, companies: int) -> Fraction:
    """The variance parameter of one company's noise, in squared grid units.

    With σ·C·S the noise of the whole release: (σ·C·S)² if local. If distributed, (σ·C·S)²/(N − t) for
    N = `companies` that contribute and t tolerated, so that any N − t of them still add up to all of it.

    Raises:
        ConfigurationError: if no company is left once the tolerated ones are set aside.
    """
    whole = event.grid_deviation**2
    if event.placement is NoisePlacement.LOCAL:
        return whole
    if companies <= event.tolerated:
        raise ConfigurationError(
            f"distributed noise: expected more than {event.tolerated} companies, got {companies}"
        )
    return whole / (companies - event.tolerated)

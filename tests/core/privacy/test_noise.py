from dataclasses import replace
from fractions import Fraction

import pytest

from noren_core.errors import ConfigurationError
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.privacy.noise import company_variance

LOCAL, DISTRIBUTED = NoisePlacement.LOCAL, NoisePlacement.DISTRIBUTED
EVENT = GaussianEvent(
    noise_multiplier=Fraction("13.361"),
    clipping_norm=Fraction(2),
    grid=65536,
    count=1,
    placement=DISTRIBUTED,
    tolerated=2,
)


def test_shares_of_all_but_the_tolerated_add_up_to_the_whole():
    """N − t shares have exactly the variance (σ·C·S)² of the event, and N have more."""
    whole = (Fraction("13.361") * 2 * 65536) ** 2
    assert company_variance(EVENT, companies=8) * 6 == whole
    assert company_variance(EVENT, companies=3) == whole


def test_local_noise_is_the_whole_for_each():
    """A company's local noise does not depend on the others."""
    event = replace(EVENT, placement=LOCAL, tolerated=0)
    assert {company_variance(event, companies=n) for n in (1, 3, 8)} == {
        (Fraction("13.361") * 2 * 65536) ** 2
    }


@pytest.mark.parametrize("companies", [0, 1, 2])
def test_distributed_noise_among_tolerated_companies_only_is_refused(companies):
    """If everyone may keep the noise back, nobody's share is large enough."""
    with pytest.raises(ConfigurationError, match="more than 2 companies"):
        company_variance(EVENT, companies=companies)

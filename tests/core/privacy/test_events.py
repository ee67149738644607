from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core import canonical_json
from noren_core.errors import DataError
from noren_core.privacy.events import GaussianEvent, NoisePlacement, format_decimal, parse_decimal

BODY = {
    "mechanism": "discrete_gaussian",
    "noise_multiplier": "13.361",
    "clipping_norm": "2",
    "grid": 65536,
    "sampling": {"num": 1, "den": 1},
    "count": 1,
    "adjacency": "add_remove",
    "placement": "distributed",
    "tolerated": 2,
}
EVENT = GaussianEvent(
    noise_multiplier=Fraction(13361, 1000),
    clipping_norm=Fraction(2),
    grid=65536,
    count=1,
    placement=NoisePlacement.DISTRIBUTED,
    tolerated=2,
)


def test_body_and_event_say_the_same():
    """The ledger's object and the event are one to one, through canonical JSON."""
    assert GaussianEvent.from_body(BODY) == EVENT
    assert EVENT.to_body() == BODY
    assert GaussianEvent.from_body(canonical_json.parse(canonical_json.encode(EVENT.to_body()))) == EVENT


@pytest.mark.parametrize(
    "change",
    [
        {"mechanism": "gaussian"},
        {"noise_multiplier": 13.361},
        {"noise_multiplier": "13.3610"},
        {"noise_multiplier": "0"},
        {"noise_multiplier": "-1"},
        {"noise_multiplier": "1e9"},
        {"noise_multiplier": " 1"},
        {"noise_multiplier": "1\n"},
        {"noise_multiplier": "inf"},
        {"noise_multiplier": "١"},
        {"clipping_norm": "2.0"},
        {"clipping_norm": "02"},
        {"clipping_norm": "0"},
        {"clipping_norm": ""},
        {"grid": 0},
        {"grid": "65536"},
        {"grid": 65536.0},
        {"sampling": {"num": 1, "den": 2}},
        {"sampling": {"num": 2, "den": 2}},
        {"sampling": {"num": True, "den": 1}},
        {"sampling": {"num": 1}},
        {"sampling": "1/1"},
        {"count": 0},
        {"count": True},
        {"count": 10_001},
        {"adjacency": "replace_one"},
        {"placement": "central"},
        {"placement": "local"},
        {"placement": ["distributed"]},
        {"tolerated": -1},
        {"tolerated": "2"},
        {"seed": 1},
    ],
    ids=str,
)
def test_anything_else_is_refused(change):
    """Another mechanism, spelling, type or field has no epsilon, so it is no event."""
    with pytest.raises(DataError):
        GaussianEvent.from_body(BODY | change)


@pytest.mark.parametrize("field", sorted(BODY))
def test_a_missing_field_is_refused(field):
    """Nothing has a default: what a ledger entry does not say is not assumed."""
    with pytest.raises(DataError, match="exactly the fields"):
        GaussianEvent.from_body({name: value for name, value in BODY.items() if name != field})


@pytest.mark.parametrize("body", [None, [], "x", 1], ids=str)
def test_what_is_no_object_is_refused(body):
    """The edge may hand over any JSON value."""
    with pytest.raises(DataError, match="an object"):
        GaussianEvent.from_body(body)


def test_an_impossible_event_cannot_be_made():
    """The constructor checks what the parser checks."""
    for change in ({"noise_multiplier": Fraction(0)}, {"count": 0}, {"placement": NoisePlacement.LOCAL}):
        with pytest.raises(DataError):
            replace(EVENT, **change)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**24 - 1))
def test_a_decimal_has_one_spelling(thousand_billionths):
    """Format and parse are inverse on every decimal with twelve places."""
    value = Fraction(thousand_billionths, 10**12)
    assert parse_decimal(format_decimal(value), "value") == value


@pytest.mark.parametrize("value", [Fraction(1, 3), Fraction(-1), Fraction(1, 10**13)], ids=str)
def test_what_has_no_short_decimal_is_not_formatted(value):
    """Nothing is rounded on the way into the ledger."""
    with pytest.raises(DataError, match="decimal"):
        format_decimal(value)

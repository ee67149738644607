"""Every attack breaks the naive design, and none breaks ours."""

import pytest
from attack import Attack, NotAvailableError, System, all_attacks

ATTACKS = all_attacks()


@pytest.mark.parametrize(
    ("attack", "system"),
    [
        pytest.param(attack, system, id=f"{attack.name}-{system.name}")
        for attack in ATTACKS
        for system in attack.systems
    ],
)
def test_naive_designs_fall_and_ours_stands(attack: Attack, system: System) -> None:
    """An attack reaches its aim against the naive design and does not reach it against ours."""
    try:
        result = system.attack()
    except NotAvailableError as reason:
        pytest.skip(str(reason))
    assert result.succeeded is not system.is_ours, f"{attack.aim}: {result.measured}"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_each_attack_is_tried_on_a_naive_design_and_on_ours(attack: Attack) -> None:
    """An attack that is never seen to succeed, or never tried on Noren, shows nothing."""
    assert {system.is_ours for system in attack.systems} == {True, False}


def test_names_are_unique() -> None:
    """`scripts/attack --only NAME` means one attack."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)

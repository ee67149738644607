"""Every attack breaks the naive design, and none breaks ours."""

import importlib.util
import json
import logging
from typing import Any

import pytest
from attack import HERE, Attack, NotAvailableError, Result, System, all_attacks

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


@pytest.mark.parametrize(
    ("ours_falls", "naive_falls", "exit_code"), [(False, True, 0), (True, True, 1), (False, False, 1)]
)
def test_the_program_fails_if_ours_falls_or_a_naive_design_stands(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ours_falls: bool,
    naive_falls: bool,
    exit_code: int,
) -> None:
    """Its exit code is 1 for either, and what cannot run here changes nothing; every run is one JSON row."""
    ours = System("ours", True, lambda: Result(ours_falls, "a figure"))
    naive = System("naive", False, lambda: Result(naive_falls, "another"))
    program = attack_program()
    monkeypatch.setattr(program, "all_attacks", lambda: (Attack("x", "y", "z", (ours, naive, missing())),))
    monkeypatch.setattr(logging, "disable", lambda: None)
    assert program.main(["--json"]) == exit_code
    rows = json.loads(capsys.readouterr().out)
    assert [row["success"] for row in rows] == [ours_falls, naive_falls, None]
    assert rows[2]["measured"] == "not installed"
    assert program.main(["--only", "another"]) == 2


def missing() -> System:
    def attack() -> Result:
        raise NotAvailableError("not installed")

    return System("missing", False, attack)


def attack_program() -> Any:
    """What scripts/attack runs."""
    spec = importlib.util.spec_from_file_location("attack_program", HERE / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program

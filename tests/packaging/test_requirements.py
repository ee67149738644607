"""docs/requirements.md: complete, and every proof that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from noren_core.season.participation import agreement_clauses

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "requirements.md"
MUST = {
    *(f"R-CON-{number}" for number in range(1, 7)),
    *(f"R-NOT-{number}" for number in (1, 2)),
    *(f"R-COV-{number}" for number in range(1, 5)),
    *("R-LNK-1", "R-FLW-1", "R-PRV-1", "R-AGR-1", "R-ROL-1", "R-INC-1", "R-DOC-1"),
    *(f"R-TRN-{number}" for number in range(1, 4)),
    *(f"R-GAT-{number}" for number in range(1, 4)),
    *(f"R-{family}-{number}" for family in ("DIS", "ERA", "SVC", "AUD") for number in (1, 2)),
}
SHOULD = {"R-TRN-4", "R-GAT-4", "R-FAI-1", "R-JUR-1", "R-HRD-1", "R-TRS-1"}
OF_2019 = {f"S-{number:02}" for number in range(1, 37)}
INVARIANTS = {f"I-{number}" for number in range(1, 13)}
STATES = {"yes", "in part", "no"}
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CODE = re.compile(r"`(noren_\w+(?:\.\w+)*)`")


def rows() -> dict[str, list[str]]:
    """Every line of every table by its first cell; the other cells."""
    cells = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    names = [row[0] for row in cells if row[0] not in ("id", "control", "story")]
    assert len(set(names)) == len(names)
    return {row[0]: row[1:] for row in cells}


@cache
def defined(path: str) -> frozenset[str]:
    """The functions, methods, classes and names of a test file."""
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    classes = [item for item in body if isinstance(item, ast.ClassDef)]
    items = [*body, *(method for item in classes for method in item.body)]
    found = {item.name for item in items if isinstance(item, ast.FunctionDef | ast.ClassDef)}
    assigned = (target for item in body if isinstance(item, ast.Assign) for target in item.targets)
    return frozenset(found | {target.id for target in assigned if isinstance(target, ast.Name)})


@pytest.mark.parametrize("required", [MUST, SHOULD, OF_2019, INVARIANTS])
def test_every_requirement_has_a_line(required: set[str]) -> None:
    """What must and should be there, what became of 2019, and every invariant."""
    assert required <= rows().keys()


def test_priorities_are_the_requirements_own() -> None:
    """Nothing that must be there is called less."""
    table = rows()
    for priority, names in (("M", MUST), ("S", SHOULD)):
        assert {name for name, row in table.items() if name.startswith("R-") and row[0] == priority} == names


def test_every_control_of_the_agreement_has_a_line() -> None:
    """A reader of the agreement finds what keeps each clause; no other control is claimed."""
    table = rows()
    controls = {clause.control for clause in agreement_clauses()}
    listed = {name for name in table if name == "none" or ("." in name and name == name.lower())}
    assert listed == controls


def test_every_proof_exists() -> None:
    """A test that is named is in its file."""
    proofs = PROOF.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(proofs) > 100
    missing = [f"{path}::{name}" for path, name in proofs if not (ROOT / path).is_file()]
    missing += [f"{p}::{name}" for p, name in proofs if (ROOT / p).is_file() and name not in defined(p)]
    assert missing == []


def test_nothing_is_claimed_without_a_proof() -> None:
    """Whatever is there, wholly or in part, names a test; what is not there names none."""
    for name, row in rows().items():
        state = next((cell for cell in row[:2] if cell in STATES), None)
        if re.match(r"[RSI]-", name):
            assert state is not None, name
            assert bool(PROOF.search(row[-1])) is (state != "no"), name
        elif "." in name:
            assert PROOF.search(row[-1]), name


def test_the_code_that_keeps_a_clause_exists() -> None:
    """Modules that are named can be found in the tree."""
    named = set(CODE.findall(DOCUMENT.read_text(encoding="utf-8")))
    places = {name: list(ROOT.glob(f"*/{name.replace('.', '/')}*")) for name in named}
    assert [name for name, found in places.items() if not found] == []

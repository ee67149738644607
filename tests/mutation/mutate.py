"""Mutation testing of core/crypto and core/secagg: small faults, each of which the unit tests must notice.

Every mutant changes one operator, number, constant or exception of one module, in a copy of the project, and
the tests of that module run until one fails. A mutant that no test notices either shows a missing test, or
changes nothing that can be observed; the latter are listed with a reason in docs/mutation.md, and any other
survivor makes this program end with 1.

Usage: scripts/mutate [--module NAME ...] [--jobs N], NAME as in `TESTS`.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = ROOT / "docs" / "mutation.md"
PACKAGE = Path("core/noren_core")
SECAGG_TESTS = "tests/core/secagg"
TESTS = {
    "crypto/bit_proof": "tests/core/crypto/test_head_encryption.py",
    "crypto/cores": "tests/core/crypto/test_cores.py",
    "crypto/dleq": "tests/core/crypto/test_oprf.py",
    "crypto/head_encryption": "tests/core/crypto/test_head_encryption.py",
    "crypto/identity": "tests/core/crypto/test_identity.py",
    "crypto/merkle": "tests/core/crypto/test_merkle.py",
    "crypto/oprf": "tests/core/crypto/test_oprf.py",
    "crypto/oprf_suite": "tests/core/crypto/test_oprf.py",
    "crypto/scorer": "tests/core/crypto/test_scorer.py",
    "crypto/sealed_table": "tests/core/crypto/test_sealed_table.py",
    "crypto/secp256k1": "tests/core/crypto/test_secp256k1.py tests/core/crypto/test_head_encryption.py",
    "crypto/secret": "tests/core/crypto/test_secret.py",
    "crypto/shamir": f"{SECAGG_TESTS}/test_shamir.py",
    "crypto/small_discrete_log": "tests/core/crypto/test_head_encryption.py",
    "crypto/sodium": "tests/core/crypto/test_sodium.py tests/core/crypto/test_oprf.py",
    "secagg/client": SECAGG_TESTS,
    "secagg/masking": SECAGG_TESTS,
    "secagg/messages": SECAGG_TESTS,
    "secagg/server": SECAGG_TESTS,
    "secagg/states": SECAGG_TESTS,
}
"""Module below core/noren_core → the tests that must notice its faults."""

# One or two replacements for every operator: what notices `+` turned into `-` notices it turned into `%`.
OPERATORS = (
    *("AddNot", "NumberReplacer", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ExceptionReplacer"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ZeroIterationForLoop", "ReplaceContinueWithBreak"),
    *("ReplaceBreakWithContinue", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub"),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Add", "Mod_Mul", "Pow_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("FloorDiv_Mul", "RShift_LShift", "LShift_RShift")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "NotEq_Lt", "NotEq_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "LtE_GtE", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Is_IsNot", "IsNot_Is")),
)
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A mutant by what stays the same when lines move: module, definition, operator, the line's text."""

    module: str
    definition: str
    operator: str
    line: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one module, and the tests that must notice it."""

    fault: Fault
    spec: MutationSpec
    tests: str


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module outside its annotations, which are never evaluated."""
    path = PACKAGE / f"{module}.py"
    source = (ROOT / path).read_text(encoding="utf-8")
    skipped, lines = _annotation_lines(source), source.splitlines()
    found = []
    for name in OPERATORS:
        operator = cosmic_ray.plugins.get_operator(f"core/{name}")()
        positions = (
            (node, start, end)
            for node in ast_nodes(get_ast_from_path(ROOT / path))
            for start, end in operator.mutation_positions(node)
        )
        for occurrence, (node, start, end) in enumerate(positions):
            if (start[0], start[1]) in skipped:
                continue
            definition = ASTQuery(node).get_definition_name() or ""
            spec = MutationSpec(
                module_path=path,
                operator_name=f"core/{name}",
                occurrence=occurrence,
                start_pos=start,
                end_pos=end,
                definition_name=definition,
            )
            fault = Fault(module, definition, name, lines[start[0] - 1].strip())
            found.append(Mutant(fault, spec, TESTS[module]))
    return found


def run(mutant: Mutant, *, python: str) -> tuple[Fault, bool]:
    """Whether the tests notice this mutant, in the copy that this process works in."""
    command = f"{python} -m pytest -x -q -p no:cacheprovider --hypothesis-profile=mutation {mutant.tests}"
    result = mutate_and_test((mutant.spec,), command, TIMEOUT_SECONDS)
    return mutant.fault, result.test_outcome is not TestOutcome.SURVIVED


def explained() -> Counter[Fault]:
    """The survivors that docs/mutation.md gives a reason for."""
    rows = (line.split(" | ") for line in EXPLAINED.read_text(encoding="utf-8").splitlines())
    cells = ([cell.strip("| `") for cell in row] for row in rows if len(row) >= 5)
    return Counter(Fault(row[0], row[1], row[2], row[3].replace("¦", "|")) for row in cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants; 0 if every survivor is explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--module", action="append", choices=sorted(TESTS), help="only this module")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    chosen = parser.parse_args(arguments)
    work = [mutant for module in chosen.module or TESTS for mutant in mutants(module)]
    outcomes = list(_outcomes(work, jobs=chosen.jobs))
    return _report(outcomes, modules=set(chosen.module or TESTS))


def _outcomes(work: Sequence[Mutant], *, jobs: int) -> Iterator[tuple[Fault, bool]]:
    with tempfile.TemporaryDirectory(prefix="noren-mutants-") as directory:
        context = get_context("spawn")
        with ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_enter_copy, initargs=(directory,)
        ) as pool:
            done = pool.map(partial(run, python=sys.executable), work)
            for number, outcome in enumerate(done, start=1):
                if number % 25 == 0 or number == len(work):
                    print(f"{number} of {len(work)} mutants", file=sys.stderr, flush=True)
                yield outcome


def _enter_copy(directory: str) -> None:
    """Give this process a copy of the project to break, found before the installed one."""
    copy = Path(directory) / str(os.getpid())
    for name in ("core", "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy / "core")


def _report(outcomes: Sequence[tuple[Fault, bool]], *, modules: set[str]) -> int:
    survivors = Counter(fault for fault, noticed in outcomes if not noticed)
    for module in sorted(modules):
        total = sum(fault.module == module for fault, _ in outcomes)
        left = sum(count for fault, count in survivors.items() if fault.module == module)
        print(f"{module:28} {total:5} mutants, {left:3} survive")
    known = explained()
    unexplained = survivors - known
    for fault in sorted(unexplained.elements()):
        print(f"NOT NOTICED  {fault.module} | {fault.definition} | {fault.operator} | {fault.line}")
    for fault in sorted((known - survivors).elements()):
        if fault.module in modules:
            print(
                f"NO LONGER SURVIVES  {fault.module} | {fault.definition} | {fault.operator} | {fault.line}"
            )
    return 1 if unexplained else 0


def _annotation_lines(source: str) -> set[tuple[int, int]]:
    """Every (line, column) inside an annotation."""
    spans: set[tuple[int, int]] = set()
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if isinstance(part, ast.expr):
                spans.update(_positions(part))
    return spans


def _positions(node: ast.expr) -> Iterator[tuple[int, int]]:
    """Line and column of everything within an expression (one line, as annotations are here)."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.expr):
            last = inner.end_col_offset or inner.col_offset
            yield from ((inner.lineno, column) for column in range(inner.col_offset, last))


if __name__ == "__main__":
    sys.exit(main())

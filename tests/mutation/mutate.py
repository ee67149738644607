"""Mutation testing of core/crypto and core/secagg: small faults, each of which the unit tests must notice.

Every mutant changes one operator, number, constant or exception of one module, or leaves one call out, in a
copy of the project, and the tests of that module run until one fails. A mutant that no test notices either
shows a missing test, or changes nothing that can be observed; the latter are listed with a reason in
docs/mutation.md, and any other survivor makes this program end with 1.

The mutants are cosmic-ray's. Its own runner starts an interpreter for each, which takes longer than the
tests; here each runs in a fork of a process that has imported pytest and the libraries, and nothing of ours.

Usage: scripts/mutate [--module NAME ...] [--jobs N], NAME as in `TESTS`.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import gc
import importlib
import os
import py_compile
import re
import resource
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Keyword

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = ROOT / "docs" / "mutation.md"
EXPLAINED_HEADING = "## Survivors and why"
PACKAGE = Path("core/noren_core")
CRYPTO_TESTS = "tests/core/crypto"
SECAGG_TESTS = "tests/core/secagg"
ALL_OF_SECAGG = tuple(
    f"{SECAGG_TESTS}/test_{name}.py"
    for name in ("masking", "states", "refusals", "attacks", "cohort", "wrong_shares", "aggregation")
)
SEALED_STATISTICS = (
    f"{CRYPTO_TESTS}/test_sealed_statistics.py",
    "tests/second_client/test_encrypted_weights.py",
)
TESTS = {
    "crypto/bit_proof": (f"{CRYPTO_TESTS}/test_head_encryption.py",),
    "crypto/cores": (f"{CRYPTO_TESTS}/test_cores.py",),
    "crypto/dleq": (f"{CRYPTO_TESTS}/test_oprf.py",),
    "crypto/head_encryption": (f"{CRYPTO_TESTS}/test_head_encryption.py",),
    "crypto/identity": (f"{CRYPTO_TESTS}/test_identity.py",),
    "crypto/merkle": (f"{CRYPTO_TESTS}/test_merkle.py",),
    "crypto/multi_scalar": SEALED_STATISTICS,
    "crypto/oprf": (f"{CRYPTO_TESTS}/test_oprf.py",),
    "crypto/oprf_suite": (f"{CRYPTO_TESTS}/test_oprf.py",),
    "crypto/revocation_list": (f"{CRYPTO_TESTS}/test_revocation_list.py",),
    "crypto/row_sealer": (f"{CRYPTO_TESTS}/test_row_sealer.py",),
    "crypto/scorer": (f"{CRYPTO_TESTS}/test_scorer.py",),
    "crypto/sealed_files": (f"{CRYPTO_TESTS}/test_sealed_files.py",),
    "crypto/sealed_sums": SEALED_STATISTICS,
    "crypto/sealed_table": (f"{CRYPTO_TESTS}/test_sealed_table.py",),
    "crypto/secp256k1": (f"{CRYPTO_TESTS}/test_secp256k1.py",),
    "crypto/secret": (f"{CRYPTO_TESTS}/test_secret.py",),
    "crypto/shamir": (f"{SECAGG_TESTS}/test_shamir.py",),
    "crypto/small_discrete_log": (f"{CRYPTO_TESTS}/test_secp256k1.py",),
    "crypto/sodium": (f"{CRYPTO_TESTS}/test_sodium.py", f"{CRYPTO_TESTS}/test_oprf.py"),
    "crypto/vault": (f"{CRYPTO_TESTS}/test_vault.py",),
    "crypto/weight_encryption": SEALED_STATISTICS,
    "crypto/weight_layout": SEALED_STATISTICS,
    "crypto/weight_proof": SEALED_STATISTICS,
    "secagg/client": ALL_OF_SECAGG,
    "secagg/masking": ALL_OF_SECAGG,
    "secagg/messages": ALL_OF_SECAGG,
    "secagg/server": ALL_OF_SECAGG,
    "secagg/states": ALL_OF_SECAGG,
}
"""Module below core/noren_core → the test files that must notice its faults, run in this order."""

LIBRARIES = (
    *("numpy", "hypothesis.strategies", "hypothesis.extra.numpy", "coincurve", "voprf"),
    *("cryptography.hazmat.primitives.ciphers.aead", "cryptography.hazmat.primitives.kdf.hkdf"),
    *(
        "cryptography.hazmat.primitives.asymmetric.ed25519",
        "cryptography.hazmat.primitives.asymmetric.x25519",
    ),
)
"""What the tests import and no mutant changes."""

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
    "DeleteCall",
)
LOG = Path("tests.log")
FAILED = Path("failed-test")
_TIMES_FAILED: Counter[str] = Counter()
WALL_SECONDS = 300.0
MEMORY_BYTES = 6 * 2**30


class DeleteCall(Operator):
    """Puts `pass` for a statement that is a call and nothing else: a check or a wipe that is left out."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        is_statement = node.parent is not None and node.parent.type == "simple_stmt"
        if is_statement and node.type == "atom_expr" and node.children[-1].children[0].value == "(":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Keyword:
        return Keyword("pass", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("verify(x)", "pass"),)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A mutant by what stays the same when lines move: module, definition, operator, the line's text."""

    module: str
    definition: str
    operator: str
    line: str

    def __str__(self) -> str:
        return f"{self.module} | {self.definition} | {self.operator} | {self.line}"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one module."""

    fault: Fault
    occurrence: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant, and the line that it changed as it was then."""

    fault: Fault
    is_noticed: bool
    mutated_line: str
    cpu_seconds: float


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module outside its annotations, which are never evaluated, and its decorators."""
    source = (ROOT / _path(module)).read_text(encoding="utf-8")
    skipped, lines, tree = _not_mutated(source), source.splitlines(), get_ast(source)
    found = []
    for name in OPERATORS:
        operator = _operator(name)
        positions = (
            (node, start) for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)
        )
        for occurrence, (node, start) in enumerate(positions):
            if (start[0], start[1]) not in skipped:
                definition = ASTQuery(node).get_definition_name() or "(module)"
                found.append(Mutant(Fault(module, definition, name, lines[start[0] - 1].strip()), occurrence))
    return found


def run(mutant: Mutant, *, cpu_seconds: float) -> Outcome:
    """Break the copy that this process works in, run the tests, repair it."""
    path = _path(mutant.fault.module)
    original = path.read_text(encoding="utf-8")
    mutated = mutate_code(original, _operator(mutant.fault.operator), mutant.occurrence)
    path.write_text(mutated, encoding="utf-8")
    try:
        passed, used = _pass(TESTS[mutant.fault.module], cpu_seconds=cpu_seconds)
    finally:
        path.write_text(original, encoding="utf-8")
    pairs = zip(original.splitlines(), mutated.splitlines(), strict=False)
    mutated_line = next(after.strip() for before, after in pairs if before != after)
    return Outcome(mutant.fault, not passed, mutated_line, used)


def measure(module: str) -> float:
    """CPU seconds of a module's tests with nothing broken; they must pass, or each mutant seems noticed."""
    passed, used = _pass(TESTS[module], cpu_seconds=WALL_SECONDS)
    if not passed:
        raise RuntimeError(f"{module}: its tests fail without any fault\n{LOG.read_text(encoding='utf-8')}")
    return used


def explained() -> Counter[Fault]:
    """The survivors that docs/mutation.md gives a reason for; `×2` after an operator is two of them."""
    table = EXPLAINED.read_text(encoding="utf-8").partition(EXPLAINED_HEADING)[2]
    known: Counter[Fault] = Counter()
    for row in table.splitlines():
        cells = [cell.strip("| `") for cell in row.split(" | ")]
        if len(cells) == 5 and (operator := re.fullmatch(r"(\w+)(?: ×(\d+))?", cells[2])):
            fault = Fault(cells[0], cells[1], operator[1], cells[3].replace("¦", "|"))
            known[fault] += int(operator[2] or 1)
    return known


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants; 0 if every survivor is explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--module", action="append", choices=sorted(TESTS), help="only this module")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    chosen = parser.parse_args(arguments)
    if missing := _modules() - TESTS.keys():
        parser.error(f"expected tests for every module, got none for {', '.join(sorted(missing))}")
    known = explained()
    with _pool(chosen.jobs) as pool:
        return max([_run_module(pool, module, known) for module in chosen.module or TESTS])


def _run_module(pool: ProcessPoolExecutor, module: str, known: Counter[Fault]) -> int:
    """Run and report one module; 1 if one of its survivors is not explained."""
    work, outcomes = mutants(module), []
    seconds = pool.submit(measure, module).result()
    futures = [pool.submit(run, mutant, cpu_seconds=1 + 2 * seconds) for mutant in work]
    for number, future in enumerate(futures, start=1):
        outcomes.append(future.result())
        if number % 25 == 0:
            print(f"{module}: {number} of {len(work)} mutants", file=sys.stderr, flush=True)
    survivors = Counter(outcome.fault for outcome in outcomes if not outcome.is_noticed)
    unexplained = survivors - known
    print(
        f"{module:28} {len(work):4} mutants, {survivors.total():3} survive, {unexplained.total():3} of them"
        f" unexplained, {sum(outcome.cpu_seconds for outcome in outcomes):.0f} CPU seconds"
    )
    for outcome in outcomes:
        if not outcome.is_noticed and outcome.fault in unexplained:
            print(f"NOT NOTICED  {outcome.fault}\n    as: {outcome.mutated_line}")
    gone = Counter({fault: count for fault, count in known.items() if fault.module == module}) - survivors
    for fault in gone.elements():
        print(f"NO LONGER SURVIVES  {fault}")
    sys.stdout.flush()
    return 1 if unexplained else 0


@contextlib.contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    with tempfile.TemporaryDirectory(prefix="noren-mutants-") as directory:
        context = get_context("spawn")
        with ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_enter_copy, initargs=(directory,)
        ) as pool:
            yield pool


def _enter_copy(directory: str) -> None:
    """Give this process a copy of the project to break, found before the installed one, and the libraries."""
    copy = Path(directory) / str(os.getpid())
    for name in ("core", "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    os.chdir(copy)
    # By hash and not by time: two mutants of one length may be written within one tick of the clock.
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir("core", quiet=1, invalidation_mode=checked)
    compileall.compile_dir("tests", quiet=1)
    sys.path.insert(0, str(copy / "core"))
    for name in LIBRARIES:
        importlib.import_module(name)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    gc.freeze()  # or pytest's collections at the end would take longer than most tests


def _pass(tests: Sequence[str], *, cpu_seconds: float) -> tuple[bool, float]:
    """Whether all these tests pass, in a child of this process and within that time; what it took."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = get_context("fork").Process(target=_test, args=(tests, cpu_seconds))
    child.start()
    child.join(WALL_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
    if FAILED.exists():
        _TIMES_FAILED[FAILED.read_text(encoding="utf-8")] += 1
        FAILED.unlink()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return child.exitcode == 0, ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


def _test(tests: Sequence[str], cpu_seconds: float) -> None:
    """Run tests until one fails; a mutant that runs on or fills the memory is stopped, which is noticed."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds) + 1,) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES,) * 2)
    options = ("-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider")
    with LOG.open("w", encoding="utf-8") as log:
        os.dup2(log.fileno(), sys.__stdout__.fileno())
        os.dup2(log.fileno(), sys.__stderr__.fileno())
        plugin = ("-p", "_hypothesis_pytestplugin", "--hypothesis-profile=mutation")
        sys.exit(pytest.main([*options, *plugin, *tests], plugins=[_LikelyFirst()]))


class _LikelyFirst:
    """Runs the tests in order of how often they have noticed a mutant, and records the one that fails."""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: _TIMES_FAILED[item.nodeid], reverse=True)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            FAILED.write_text(report.nodeid, encoding="utf-8")


def _modules() -> set[str]:
    """Every module that is to be tested here."""
    folders = (ROOT / PACKAGE / name for name in ("crypto", "secagg"))
    return {f"{path.parent.name}/{path.stem}" for folder in folders for path in folder.glob("[!_]*.py")}


def _path(module: str) -> Path:
    return PACKAGE / f"{module}.py"


def _operator(name: str) -> Operator:
    return DeleteCall() if name == "DeleteCall" else cosmic_ray.plugins.get_operator(f"core/{name}")()


def _not_mutated(source: str) -> set[tuple[int, int]]:
    """Every (line, column) inside an annotation or a decorator."""
    spans: set[tuple[int, int]] = set()
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for part in (*parts, *getattr(node, "decorator_list", ())):
            if isinstance(part, ast.expr):
                spans.update(_positions(part))
    return spans


def _positions(node: ast.expr) -> Iterator[tuple[int, int]]:
    """Line and column of everything within an expression (each on one line, as ours are)."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.expr):
            last = inner.end_col_offset or inner.col_offset
            yield from ((inner.lineno, column) for column in range(inner.col_offset, last))


if __name__ == "__main__":
    sys.exit(main())

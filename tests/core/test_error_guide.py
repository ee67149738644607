"""The guide to errors: every code in the programs has advice in both languages, and the page is its text."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

import noren_core
from noren_core.error_guide import PAGE, Advice, advice, entries, to_markdown
from noren_core.errors import EXIT_CODES, ExitCode, NorenError
from noren_core.rights.consent.consent_validity import ConsentRefusal
from noren_core.rights.gate.conditions import GateReason
from noren_core.wire.refusal import Refusal

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "local", "web", "client", "server", "audit")
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*\Z")
VOCABULARIES: tuple[type[Enum], ...] = (Refusal, GateReason, ConsentRefusal)
KANA = re.compile(r"[\u3040-\u30ff]")
FAMILY_OF_EXIT = {
    ExitCode.CONFIGURATION: "BAD_CONFIGURATION",
    ExitCode.NETWORK: "PROTOCOL_VIOLATION",
    ExitCode.INPUT: "BAD_DATA",
    ExitCode.BUDGET: "BUDGET_EXCEEDED",
    ExitCode.VERIFICATION: "NOT_VERIFIED",
    ExitCode.OTHER: "ILLEGAL_STATE",
}


def literal(node: ast.expr | None) -> str | None:
    """The code that an expression spells out; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.match(node.value):
        return node.value
    return None


def named_in(tree: ast.AST) -> Iterator[str]:
    """Codes given to errors: `code=` in calls, the last argument of a `_refused(…)`, `code = ` in errors."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            found += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            if ast.unparse(node.func).rpartition(".")[2] == "_refused":
                found += node.args[1:]
        elif isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
            found += [
                item.value
                for item in node.body
                if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "code"
            ]
        yield from filter(None, map(literal, found))


def codes_in_the_programs() -> dict[str, str]:
    """Every code, and one file that has it."""
    found = {member.value: f"{words.__module__}" for words in VOCABULARIES for member in words}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "wire/v1" in path.as_posix():
                continue
            for code in named_in(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(code, path.relative_to(ROOT).as_posix())
    return found


def all_errors() -> Iterator[type[NorenError]]:
    """Every subclass that core and audit define; the walk over all code above finds the others' codes."""
    for module in pkgutil.walk_packages(noren_core.__path__, "noren_core."):
        if ".wire." not in module.name:
            importlib.import_module(module.name)
    waiting: list[type[NorenError]] = [NorenError]
    while waiting:
        family = waiting.pop()
        waiting += family.__subclasses__()
        yield family


def test_every_code_in_the_programs_has_an_entry() -> None:
    """Whoever adds a code says what to do about it, in both languages."""
    missing = {code: file for code, file in codes_in_the_programs().items() if code not in entries()}
    assert not missing, (
        f"add these to core/noren_core/error_guide.toml and run scripts/error_guide: {missing}"
    )


def test_the_walk_finds_codes_in_every_way_they_are_given() -> None:
    """A keyword, a helper's argument and a class attribute; a word that only looks like a code is none."""
    source = """
class GoneError(NorenError):
    code = "GONE"
class Colour:
    code = "RED"
def check():
    raise DataError("x", code="TOO_LONG")
    raise _refused("a thing", "NOT_OURS")
    print("SOME_WORD")
"""
    assert sorted(named_in(ast.parse(source))) == ["GONE", "NOT_OURS", "TOO_LONG"]


@pytest.mark.parametrize("code", entries())
def test_an_entry_is_whole_sentences_in_both_languages(code: str) -> None:
    """English ends with a full stop and has no Japanese in it; Japanese ends with 。 and has kana."""
    english, japanese = advice(code), advice(code, "ja")
    for text in (english.cause, english.fix):
        assert text.endswith(".")
        assert not KANA.search(text)
    for text in (japanese.cause, japanese.fix):
        assert text.endswith("。")
        assert KANA.search(text)
    assert english.page == japanese.page == f"{PAGE}#{code.lower()}"


@pytest.mark.parametrize("locale", ["ja", "ja-JP", "ja_JP.UTF-8"])
def test_japanese_in_all_its_spellings(locale: str) -> None:
    """A browser's tag and a POSIX locale mean the same; every other language gets English."""
    assert advice("BAD_DATA", locale) == entries()["BAD_DATA"].in_language("ja")
    assert advice("BAD_DATA", "jam") == advice("BAD_DATA", "de") == advice("BAD_DATA")


@pytest.mark.parametrize(("exit_code", "family"), FAMILY_OF_EXIT.items())
def test_an_unknown_code_gets_the_advice_of_its_family(exit_code: ExitCode, family: str) -> None:
    """Another release may send a code that this one does not have; there is an answer all the same."""
    assert advice("FROM_THE_FUTURE", exit_code=exit_code) == advice(family)
    assert isinstance(advice("FROM_THE_FUTURE", exit_code=77), Advice)


def test_every_error_has_an_exit_code_of_the_table() -> None:
    """Of every class in core and everything that builds on it, and none beyond what shells leave free."""
    families = set(all_errors())
    assert len(families) > 8
    for family in families:
        assert family.exit_code in set(ExitCode), family
        assert 0 < family.exit_code < 126, family
        assert family.code in entries() or family.__module__.startswith(("noren_demo", "test")), family


def test_no_class_makes_up_an_exit_code() -> None:
    """Whatever a party's own errors say, it is the table's word, or another family's."""
    made_up = [
        (path.name, ast.unparse(item))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
        for item in node.body
        if isinstance(item, ast.Assign)
        and ast.unparse(item.targets[0]) == "exit_code"
        and not re.match(r"ExitCode\.|\w+Error\.exit_code$", ast.unparse(item.value))
    ]
    assert made_up == []


def test_codes_with_an_exit_of_their_own_exist() -> None:
    """The table lists no code that no program gives, and gives 5 and 7 alone."""
    texts = [
        path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "errors.py"
    ]
    assert {code for code in EXIT_CODES if not any(f'"{code}"' in text for text in texts)} == set()
    assert set(EXIT_CODES.values()) == {ExitCode.IDENTITY, ExitCode.CONSENT}


def test_the_page_is_the_guide() -> None:
    """docs/errors.md is what scripts/error_guide writes; run it if this fails."""
    assert (ROOT / PAGE).read_text(encoding="utf-8") == to_markdown()


def test_every_anchor_of_the_page_is_a_heading() -> None:
    """GitHub makes the anchor from the heading: lower case, underscores kept."""
    headings = re.findall(r"^### (\S+)$", to_markdown(), re.MULTILINE)
    assert [heading.lower() for heading in headings] == [
        entry.page.rpartition("#")[2] for entry in entries().values()
    ]

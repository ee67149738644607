"""Every public decoder is fuzzed, or says why not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from decoders import DECODERS, EXEMPT

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "core/noren_core",
    "local/noren_local",
    "client/noren_client",
    "server/noren_server",
    "audit/noren_audit",
)
DECODER_NAME = re.compile(
    r"(parse|read|load|open|verify|from_bytes|from_body|from_text|from_toml)(_\w+)?\Z|\w+_from_wire\Z"
)
RAW_TYPES = re.compile(r"\b(bytes|str|Path|Mapping|dict|Any|object|wire|training_pb2|SecretBytes)\b")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Public functions, and public methods of public classes, by qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _functions(child, f"{prefix}.{child.name}")
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield f"{prefix}.{child.name}", child


def _takes_raw_values(function: ast.FunctionDef) -> bool:
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return any(each.annotation and RAW_TYPES.search(ast.unparse(each.annotation)) for each in arguments)


def _public_decoders() -> set[str]:
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if "wire/v1" in path.as_posix():  # generated
                continue
            module = ".".join(path.relative_to(ROOT / package).with_suffix("").parts)
            prefix = f"{Path(package).name}.{module}"
            found |= {
                name
                for name, function in _functions(ast.parse(path.read_text()), prefix)
                if DECODER_NAME.match(function.name) and _takes_raw_values(function)
            }
    return found


def test_every_public_decoder_is_registered() -> None:
    """A new parse_, from_bytes, read_, load_, open_ or verify_ function is fuzzed or exempt with a reason."""
    assert _public_decoders() - {decoder.name for decoder in DECODERS} - EXEMPT.keys() == set()


def test_no_exemption_is_left_over() -> None:
    """Every exemption is of a decoder that exists and is not fuzzed."""
    assert EXEMPT.keys() - _public_decoders() == set()
    assert EXEMPT.keys() & {decoder.name for decoder in DECODERS} == set()


def test_decoders_have_distinct_names() -> None:
    """No entry hides another."""
    names = [decoder.name for decoder in DECODERS]
    assert len(set(names)) == len(names)

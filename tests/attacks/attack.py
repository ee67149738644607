"""What an attack is, and which ones there are.

An attack is real code run by an attacker against running systems: ours, and a naive design that somebody
would really build. It succeeds or fails by something measured (features recovered, correlation, identifiers
found), never by an exception alone. Each module of this folder that is neither a test nor a naive design
offers `ATTACKS`; the folder's listing is the only list.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_OTHER_PREFIXES = ("test_", "naive_", "system_", "_")
_OTHER_NAMES = {"attack", "conftest"}


class NotAvailableError(Exception):
    """This system cannot run here; the message says why, and what to install."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attack: whether its aim was reached, and the figure that decided it."""

    succeeded: bool
    measured: str


@dataclass(frozen=True, slots=True)
class System:
    """One system under attack; `attack` builds it, attacks it and measures (or raises NotAvailableError)."""

    name: str
    is_ours: bool
    attack: Callable[[], Result]


@dataclass(frozen=True, slots=True)
class Attack:
    """An attacker with an aim, and the systems it is tried on: at least one naive, at least one ours."""

    name: str
    attacker: str
    aim: str
    systems: tuple[System, ...]


def all_attacks() -> tuple[Attack, ...]:
    """Return the attacks of every attack module in this folder, by module name and then in their order."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    names = sorted(path.stem for path in HERE.glob("*.py"))
    modules = [name for name in names if not name.startswith(_OTHER_PREFIXES) and name not in _OTHER_NAMES]
    return tuple(attack for name in modules for attack in importlib.import_module(name).ATTACKS)

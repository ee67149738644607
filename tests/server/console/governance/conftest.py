"""A console of a platform where nothing happened yet, and one with a season behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from governed_console import Governed, add_people, govern
from operators_console import Console, operators_console


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Console]:
    with operators_console(tmp_path / "platform") as console:
        add_people(console)
        yield console


@pytest.fixture
def governed(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[Governed]:
    with operators_console(tmp_path / "platform") as console:
        yield govern(console, plan_body)

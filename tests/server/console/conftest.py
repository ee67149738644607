"""A console with people, for its tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from operators_console import Clock, Console, operators_console

from noren_server.console.accounts import Accounts
from noren_server.platform_secrets import secrets_of


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with operators_console(tmp_path / "platform") as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Accounts:
    (tmp_path / "keys").mkdir(mode=0o700)
    return Accounts(tmp_path, secrets_of(tmp_path), clock)

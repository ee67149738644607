"""The policies and screens of a platform's directory, opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister


@contextmanager
def policy_stores(directory: Path) -> Iterator[tuple[PolicyBook, ScreenRegister]]:
    """The book and the register until the end of the block; made if there are none."""
    with closing(PolicyBook.open(directory)) as book, closing(ScreenRegister.open(directory)) as register:
        yield book, register

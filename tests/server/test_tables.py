"""How many rows a table admits to, and what the ledger says about who is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.crypto import merkle
from noren_server.tables import consent_root, padded_rows


@pytest.mark.parametrize(("count", "size"), [(0, 64), (64, 64), (65, 128), (128, 128), (129, 256)])
def test_a_table_is_padded_to_a_power_of_two(count: int, size: int) -> None:
    """A table without rows is as large as one with sixty-four."""
    assert padded_rows(count) == size


@given(st.integers(min_value=0, max_value=2**26))
def test_padding_holds_every_row(count: int) -> None:
    """The padded size is a power of two that holds all rows and is less than twice what is needed."""
    size = padded_rows(count)
    assert size & (size - 1) == 0
    assert count <= size
    assert size == 64 or size < 2 * count


def test_the_consent_root_commits_to_the_set_and_needs_the_salt() -> None:
    """Order does not matter, members and salt do, and an empty set does not show as one."""
    members = [bytes([n]) * 64 for n in range(3)]
    salt, other = b"s" * 32, b"t" * 32
    root = consent_root(members, salt)
    assert consent_root(members[::-1], salt) == root
    assert consent_root(members[:2], salt) != root
    assert consent_root(members, other) != root
    assert consent_root([], salt) != consent_root([], other)
    assert merkle.EMPTY_ROOT not in {consent_root([], salt), consent_root([], other)}

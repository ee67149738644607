"""libsodium's ChaCha20-Poly1305, called without a net: the same bytes as cryptography's, or a refusal."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto.row_sealer import RowSealer
from noren_core.errors import DataError


@settings(max_examples=80, deadline=None)
@given(
    keys=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3),
    payload=st.binary(min_size=1, max_size=300),
    associated=st.binary(min_size=1, max_size=100),
)
def test_equals_the_other_library(keys, payload, associated):
    """For any key, payload and associated data, one after another from one sealer: the same bytes."""
    sealer = RowSealer(payload_bytes=len(payload), associated_bytes=len(associated))
    sealed = [sealer.seal(key, payload, associated) for key in keys]
    assert sealed == [ChaCha20Poly1305(key).encrypt(bytes(12), payload, associated) for key in keys]


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b + b"\0", bytearray, memoryview, lambda _: b""]
)
def test_nothing_else_reaches_c(place, change):
    """Another length, or another type that C would read as it pleases, is refused."""
    sealer = RowSealer(payload_bytes=66, associated_bytes=48)
    arguments = [bytes(32), bytes(66), bytes(48)]
    arguments[place] = change(arguments[place])
    with pytest.raises(DataError):
        sealer.seal(*arguments)

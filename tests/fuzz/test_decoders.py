"""No decoder raises anything but our own errors, whatever it is given.

Each decoder is tried with three strategies (see hostile_input), for as long as `fuzzing` says, and each field
of those that have fields with every hostile value.
"""

from __future__ import annotations

import base64
import copy
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from decoders import DECODERS, Decoder, Place
from fuzzing import try_out

from noren_core.errors import NorenError

STRATEGIES = ("arbitrary", "mutated", "structured")
CPU_SECONDS = 20
MEMORY_BYTES = 1 << 30


@pytest.fixture
def place(tmp_path: Path, plan_body: dict[str, Any]) -> Place:
    return Place(tmp_path, plan_body)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_valid_input_is_accepted(decoder: Decoder, place: Place) -> None:
    """What the hostile input is made from is accepted, so that changes to it get past the first checks."""
    for value in decoder.valid(place):
        decoded = decoder.decode(copy.deepcopy(value), place)
        assert decoder.encode is None or decoder.encode(decoded) == value


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_hostile_input_is_refused_or_is_what_it_says(decoder: Decoder, strategy: str, place: Place) -> None:
    """A decoder returns or raises a NorenError, within bounded time and memory; one spelling per value."""
    hostile = getattr(decoder.shape, strategy)(decoder.valid(place))

    def decode(value: Any) -> None:
        _verify_refused_or_accepted(decoder, value, place)

    with _bounded_memory():
        try_out(decode, decoder.examples, value=hostile)


def _with_other_algorithm(pem: bytes) -> bytes:
    """The certificate with a key of a kind that nobody knows."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    changed = der.replace(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", b"\x06\x07\x00\x86\x48\xce\x3d\x02\x01")
    body = base64.encodebytes(changed)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


ONCE_FAILED = {
    "noren_client.keystore.load_tls": _with_other_algorithm,
    "noren_server.certificates.request_key": lambda data: data.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1),
}


@pytest.mark.parametrize(
    "decoder", [each for each in DECODERS if each.name in ONCE_FAILED], ids=lambda each: each.name
)
def test_rare_inputs_that_were_found(decoder: Decoder, place: Place) -> None:
    """What only a longer run found is tried in every run."""
    for value in decoder.valid(place):
        with pytest.raises(NorenError):
            decoder.decode(ONCE_FAILED[decoder.name](value), place)


@pytest.mark.parametrize(
    "decoder",
    [each for each in DECODERS if hasattr(each.shape, "swept") and each.has_own_fields],
    ids=lambda decoder: decoder.name,
)
def test_every_field_with_every_hostile_value(decoder: Decoder, place: Place) -> None:
    """As above, for one wrong value at a time in every field."""
    with _bounded_memory():
        for value in decoder.shape.swept(decoder.valid(place)):
            _verify_refused_or_accepted(decoder, value, place)


def _verify_refused_or_accepted(decoder: Decoder, value: Any, place: Place) -> None:
    original = copy.deepcopy(value)
    try:
        with _bounded_time():
            decoded = decoder.decode(value, place)
    except NorenError:
        return
    assert decoder.encode is None or decoder.encode(decoded) == original


@contextmanager
def _bounded_time() -> Iterator[None]:
    """A thousand times what any decoder needs: only an input that makes one hang fails here."""

    def stop(*_: object) -> NoReturn:
        raise AssertionError(f"no answer within {CPU_SECONDS} CPU-seconds")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """What would take a gigabyte more than we have now raises MemoryError, which is none of ours."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

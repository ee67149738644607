"""One-time codes against the published vectors."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from noren_server.console import totp

SECRET = b"12345678901234567890"  # RFC 4226 appendix D and RFC 6238 appendix B

# RFC 4226 appendix D, the six-digit values of counters 0 to 9.
HOTP = ("755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489")
# RFC 6238 appendix B, SHA-1: eight digits, of which six-digit codes are the last six (RFC 4226 §5.3).
TOTP = (
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
)


@pytest.mark.parametrize(("counter", "code"), list(enumerate(HOTP)))
def test_the_published_values_of_rfc_4226(counter: int, code: str) -> None:
    """A step is the counter of RFC 4226."""
    assert totp.code_of(SECRET, counter) == code


@pytest.mark.parametrize(("seconds", "code"), TOTP)
def test_the_published_values_of_rfc_6238(seconds: int, code: str) -> None:
    """Steps are thirty seconds from the epoch; SHA-1."""
    step = seconds // totp.STEP_SECONDS
    assert totp.code_of(SECRET, step) == code[-totp.DIGITS :]
    assert totp.step_of(SECRET, code[-totp.DIGITS :], now=seconds, after=0) == step


@pytest.mark.parametrize(("drift", "counts"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_clocks_may_differ_by_one_step(drift: int, *, counts: bool) -> None:
    """And by no more."""
    now = 1_790_000_000
    step = now // totp.STEP_SECONDS + drift
    found = totp.step_of(SECRET, totp.code_of(SECRET, step), now=now, after=0)
    assert found == (step if counts else None)


def test_a_step_counts_once() -> None:
    """The code that was used, and those before it, are refused; the next one counts."""
    now = 1_790_000_000
    step = now // totp.STEP_SECONDS
    assert totp.step_of(SECRET, totp.code_of(SECRET, step), now=now, after=step) is None
    assert totp.step_of(SECRET, totp.code_of(SECRET, step - 1), now=now, after=step) is None
    assert totp.step_of(SECRET, totp.code_of(SECRET, step + 1), now=now, after=step) == step + 1


@pytest.mark.parametrize("typed", ["", "00000", "0000000", "abcdef", "１２３４５６", "\ud800"])
def test_what_is_no_code_is_none(typed: str) -> None:
    """Also digits of another script, and text that is none."""
    assert totp.step_of(SECRET, typed, now=1_790_000_000, after=0) is None


def test_the_picture_says_what_is_typed() -> None:
    """Its address carries the same secret, the person and the platform."""
    uri = totp.enrolment_uri(SECRET, person="yuki", platform="Noren jobs")
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, unquote(parts.path)) == ("otpauth", "totp", "/Noren jobs:yuki")
    query = parse_qs(parts.query)
    assert base64.b32decode(query["secret"][0]) == SECRET
    assert query["issuer"] == ["Noren jobs"]
    assert totp.secret_text(SECRET).replace(" ", "") == query["secret"][0]
    assert totp.picture(uri).startswith("data:image/png;base64,")


def test_secrets_are_random() -> None:
    """As long as RFC 4226 §4 asks for."""
    assert len({totp.new_secret() for _ in range(50)}) == 50
    assert len(totp.new_secret()) == 20

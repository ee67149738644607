"""Permits: one encoding, one key, one company, a quarter of an hour."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.rights.consent.permit import (
    MAX_LIFETIME_SECONDS,
    MAX_PERMIT_BYTES,
    Permit,
    permit_key,
    verify_epoch,
    verify_permit,
)
from noren_core.rights.purposes import Purpose

KEY = SecretBytes(bytes(range(32)))
PERMIT = Permit(
    jti=bytes([1]) * 16,
    audience="akane",
    mailbox=bytes([2]) * 16,
    purpose=Purpose.SCORE,
    position="engineer",
    consent_seq=7,
    epoch=2,
    issued_at=1000,
    expires_at=1900,
)


def test_a_permit_comes_back_as_it_was() -> None:
    """And its bytes are the same again."""
    data = PERMIT.to_bytes(KEY)
    assert Permit.from_bytes(data, KEY) == PERMIT
    assert Permit.from_bytes(data, KEY).to_bytes(KEY) == data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jti", "11" * 16),
        ("audience", "beni"),
        ("mailbox", "01" * 16),
        ("purpose", "train.decline_model"),
        ("position", "sales"),
        ("consent_seq", 8),
        ("epoch", 3),
        ("issued_at", 1001),
        ("expires_at", 1899),
    ],
)
def test_no_field_can_be_changed(name: str, value: object) -> None:
    """Whatever is changed, the permit is not the service's."""
    data = PERMIT.to_bytes(KEY)
    body = canonical_json.parse_object(data[32:])
    assert set(body) == {
        *("jti", "audience", "mailbox", "purpose", "position"),
        *("consent_seq", "epoch", "issued_at", "expires_at"),
    }
    assert body[name] != value
    with pytest.raises(VerificationError) as refused:
        Permit.from_bytes(data[:32] + canonical_json.encode({**body, name: value}), KEY)
    assert refused.value.code == "PERMIT_FORGED"


def test_what_the_service_did_not_mean_is_no_permit() -> None:
    """Its MAC over something else, or over another encoding, makes none."""
    body = PERMIT.to_bytes(KEY)[32:]
    for other in (b"{}", b"[]", body.replace(b":7,", b": 7,"), body.replace(b'"akane"', b'"*"')):
        mac = hmac.digest(KEY.buffer, b"noren/v1/permit\0" + other, "sha256")
        with pytest.raises(DataError):
            Permit.from_bytes(mac + other, KEY)
    assert (
        Permit.from_bytes(hmac.digest(KEY.buffer, b"noren/v1/permit\0" + body, "sha256") + body, KEY)
        == PERMIT
    )


def test_another_services_permit_is_forged() -> None:
    """The MAC is under the key of the service that issued it."""
    data = PERMIT.to_bytes(permit_key(SigningKey.generate()))
    with pytest.raises(VerificationError) as refused:
        Permit.from_bytes(data, permit_key(SigningKey.generate()))
    assert refused.value.code == "PERMIT_FORGED"
    service = SigningKey.generate()
    again = SigningKey.from_bytes(service.to_bytes())
    assert Permit.from_bytes(PERMIT.to_bytes(permit_key(service)), permit_key(again)) == PERMIT


@pytest.mark.parametrize("lifetime", [-1, 0, MAX_LIFETIME_SECONDS + 1])
def test_no_permit_lives_longer_than_a_quarter_of_an_hour(lifetime: int) -> None:
    """Nor not at all."""
    permit = replace(PERMIT, expires_at=PERMIT.issued_at + lifetime)
    with pytest.raises(DataError, match="lifetime"):
        Permit.from_bytes(permit.to_bytes(KEY), KEY)


def test_a_permit_is_for_one_company_and_its_time() -> None:
    """From the second in which it was issued to the last before it expires."""
    for now in (1000, 1899):
        verify_permit(PERMIT, audience="akane", now=now)
    for audience, now, code in (
        ("beni", 1000, "PERMIT_AUDIENCE"),
        ("akane", 1900, "PERMIT_EXPIRED"),
        ("akane", 999, "PERMIT_EXPIRED"),
    ):
        with pytest.raises(LocalProtocolError) as refused:
            verify_permit(PERMIT, audience=audience, now=now)
        assert refused.value.code == code


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_permit_of_another_epoch_is_stale(epoch: int) -> None:
    """Of an earlier one as of a later one."""
    verify_epoch(PERMIT, 2)
    with pytest.raises(LocalProtocolError) as refused:
        verify_epoch(PERMIT, epoch)
    assert refused.value.code == "CONSENT_EPOCH_STALE"


@given(st.binary(max_size=300))
def test_other_bytes_are_no_permit(data: bytes) -> None:
    """They are refused as what they are."""
    with pytest.raises(NorenError):
        Permit.from_bytes(data, KEY)


def test_a_permit_is_bounded() -> None:
    """Before it is parsed."""
    with pytest.raises(DataError, match=f"at most {MAX_PERMIT_BYTES} bytes"):
        Permit.from_bytes(secrets.token_bytes(MAX_PERMIT_BYTES + 1), KEY)


def test_a_repr_names_nobody() -> None:
    """Handles and numbers that lead to a student stay out of it."""
    assert PERMIT.mailbox.hex() not in repr(PERMIT)
    assert "consent_seq" not in repr(PERMIT)

"""Signed requests and link offers: neither serves for anything else than what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.rights.consent.link_offer import LinkOffer, SignedLinkOffer
from noren_core.rights.student_request import WINDOW_SECONDS, StudentRequest, sign_request

NOW = 1_800_000_000
KEY = SigningKey.generate()


def signed() -> StudentRequest:
    return sign_request(
        KEY,
        student="学生 7/α",
        platform="job-site/ledger",
        method="POST",
        target="/v1/events?lang=ja",
        body=b"{}",
        time=NOW,
        nonce=bytes(16),
    )


def test_a_request_survives_its_headers() -> None:
    """Also for an account id that no header could hold as it is."""
    request = signed()
    again = StudentRequest.from_headers(
        request.headers(), method="POST", target="/v1/events?lang=ja", body=b"{}"
    )
    assert again == request
    again.verify(KEY.public_key, platform="job-site/ledger", now=NOW + WINDOW_SECONDS)
    assert "学生" not in repr(request)
    assert "lang" not in repr(request)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"target": "/v1/events"},
        {"body": b"{ }"},
        {"time": NOW + 1},
        {"nonce": b"n" * 16},
        {"student": "another"},
    ],
)
def test_a_signature_is_for_one_request(changes: dict[str, object]) -> None:
    """Whatever is changed, it does not verify."""
    with pytest.raises(VerificationError):
        replace(signed(), **changes).verify(  # type: ignore[arg-type]
            KEY.public_key, platform="job-site/ledger", now=NOW
        )


def test_a_signature_is_for_one_platform_key_and_time() -> None:
    """Another platform, another key, or more than five minutes: refused."""
    for key, platform, now in (
        (KEY.public_key, "other/ledger", NOW),
        (SigningKey.generate().public_key, "job-site/ledger", NOW),
        (KEY.public_key, "job-site/ledger", NOW + WINDOW_SECONDS + 1),
        (KEY.public_key, "job-site/ledger", NOW - WINDOW_SECONDS - 1),
    ):
        with pytest.raises(VerificationError):
            signed().verify(key, platform=platform, now=now)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noren-student", "a b"),
        ("noren-student", ""),
        ("noren-student", "x" * 2000),
        ("noren-time", "01"),
        ("noren-time", "-1"),
        ("noren-nonce", "AB" * 16),
        ("noren-signature", "ab"),
    ],
)
def test_headers_have_one_spelling(name: str, value: str) -> None:
    """Anything else is no request."""
    with pytest.raises(DataError):
        StudentRequest.from_headers({**signed().headers(), name: value}, method="POST", target="/", body=b"")


def test_a_link_offer_is_the_company_s_until_it_expires() -> None:
    """It survives its token, verifies, and then is LINK_OFFER_EXPIRED."""
    offer = LinkOffer(
        company="akane", position="engineer", season="2027", nonce=bytes(16), expires_at=NOW + 10
    )
    token = offer.to_token(KEY)
    found = SignedLinkOffer.from_token(token)
    assert found.offer == offer
    found.verify(KEY.public_key, now=NOW + 9)
    with pytest.raises(NorenError) as caught:
        found.verify(KEY.public_key, now=NOW + 10)
    assert caught.value.code == "LINK_OFFER_EXPIRED"
    with pytest.raises(VerificationError):
        found.verify(SigningKey.generate().public_key, now=NOW)


def test_a_token_has_one_spelling_and_no_field_for_a_person() -> None:
    """Padding, another alphabet or one changed character is refused; its fields are five."""
    offer = LinkOffer(company="akane", position="engineer", season="2027", nonce=bytes(16), expires_at=NOW)
    token = offer.to_token(KEY)
    assert set(offer._body()) == {"company", "position", "season", "nonce", "expires_at"}
    for bad in (token + "=", token[:-2], token + "A", "é", "x" * 2000, ""):
        with pytest.raises(NorenError):
            SignedLinkOffer.from_token(bad).verify(KEY.public_key, now=0)

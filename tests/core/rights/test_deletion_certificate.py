"""Certificates: complete, signed, cosigned, or refused for the one thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import ErasureGround
from noren_core.rights.erasure.artefacts import REGISTERED_STORES
from noren_core.rights.erasure.custody import CustodyCosignature, CustodyOperation, CustodyRequest
from noren_core.rights.erasure.deletion_certificate import (
    CERTIFICATE_TRANSITIONS,
    CertificateEvent,
    CertificateState,
    DeletionCertificate,
    Disposition,
    ModelLineage,
    Residual,
    ScanPlace,
    all_artefacts,
    certificate_sha256,
    certificate_to_bytes,
    inventory_commitment,
    next_certificate_state,
    parse_certificate,
    verify_certificate,
)
from noren_core.rights.erasure.erasure_order import ErasureOrder, OrderedTable, order_sha256
from noren_core.rights.signed_statement import SignedStatement

PLATFORM, COMPANY, CUSTODIAN, STRANGER = (SigningKey.from_bytes(bytes([n] * 32)) for n in range(1, 5))
NOW = 1_800_000_000
ORDER = ErasureOrder(
    order_id=bytes(range(16)),
    company="aoba",
    campaign="spring",
    ground=ErasureGround.RIGHTS,
    tables=(OrderedTable(TableKind.TRAIN, bytes(16), 1),),
    issued_at=NOW,
    due_at=NOW + 1000,
    disclose_first=True,
)
ORDERED = ORDER.sign(PLATFORM)
CERTIFICATE = DeletionCertificate(
    certificate_id=bytes(16),
    order_id=ORDER.order_id,
    order_sha256=order_sha256(ORDERED),
    company="aoba",
    campaign="spring",
    completed_at=NOW + 10,
    artefacts=all_artefacts(is_custodian_held=True),
    models=(ModelLineage("spring", Disposition.DP_BOUNDED_RETAIN, "1", "0.000001"),),
    is_clean=True,
    places=tuple(ScanPlace),
    residuals=tuple(Residual),
    inventory=bytes(32),
    is_custodian_held=True,
)


def cosigned(
    certificate: DeletionCertificate = CERTIFICATE,
    *,
    key: SigningKey = COMPANY,
    custodian: SigningKey = CUSTODIAN,
    about: SignedStatement | None = None,
    company: str = "aoba",
    since: int = NOW,
) -> bytes:
    """As it is delivered, with a cosignature of these words."""
    statement = certificate.sign(key)
    request = CustodyRequest(
        operation=CustodyOperation.COSIGN,
        company=company,
        campaign="spring",
        handle=b"",
        nonce=bytes(16),
        issued_at=NOW,
        certificate_sha256=certificate_sha256(about or statement),
        since=since,
    )
    said = CustodyCosignature.sign(request, signed_at=NOW + 20, key=custodian)
    return certificate_to_bytes(statement, said.statement)


def verify(data: bytes, *, order: ErasureOrder = ORDER, has_custodian: bool = True) -> CertificateState:
    return verify_certificate(
        data,
        order=order,
        ordered=order.sign(PLATFORM),
        company_key=COMPANY.public_key,
        custodian_key=CUSTODIAN.public_key if has_custodian else None,
    )


def test_a_complete_certificate_is_verified() -> None:
    """With the custodian's word VERIFIED; where we know no custodian it stays ISSUED."""
    assert verify(cosigned()) is CertificateState.VERIFIED
    assert verify(cosigned(), has_custodian=False) is CertificateState.ISSUED
    assert parse_certificate(cosigned())[0] == CERTIFICATE


WITHOUT_ONE_STORE = [
    (position, store) for position, (_, stores) in enumerate(REGISTERED_STORES.items()) for store in stores
]


@pytest.mark.parametrize(("position", "store"), WITHOUT_ONE_STORE)
def test_a_certificate_that_omits_a_store_is_incomplete(position: int, store: str) -> None:
    """Whichever of the registered stores it leaves out."""
    artefacts = list(CERTIFICATE.artefacts)
    stores = tuple(name for name in artefacts[position].stores if name != store)
    artefacts[position] = replace(artefacts[position], stores=stores)
    refused(cosigned(replace(CERTIFICATE, artefacts=tuple(artefacts))), "CERT_INCOMPLETE")


def refused(data: bytes, code: str, *, order: ErasureOrder = ORDER) -> None:
    with pytest.raises(VerificationError) as error:
        verify(data, order=order)
    assert error.value.code == code


CHANGED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "another's signature": ("CERT_SIG_INVALID", lambda: cosigned(key=STRANGER)),
    "a byte": (
        "CERT_SIG_INVALID",
        lambda: cosigned().replace(b'"completed_at":1800000010', b'"completed_at":1800000011'),
    ),
    "another order": ("CERT_INCOMPLETE", lambda: cosigned(replace(CERTIFICATE, order_id=bytes(16)))),
    "another order's hash": (
        "CERT_INCOMPLETE",
        lambda: cosigned(replace(CERTIFICATE, order_sha256=bytes(32))),
    ),
    "another company": ("CERT_INCOMPLETE", lambda: cosigned(replace(CERTIFICATE, company="akane"))),
    "a class": (
        "CERT_INCOMPLETE",
        lambda: cosigned(replace(CERTIFICATE, artefacts=CERTIFICATE.artefacts[1:])),
    ),
    "a method": (
        "CERT_INCOMPLETE",
        lambda: cosigned(replace(CERTIFICATE, artefacts=all_artefacts(is_custodian_held=False))),
    ),
    "a place": ("CERT_INCOMPLETE", lambda: cosigned(replace(CERTIFICATE, places=tuple(ScanPlace)[1:]))),
    "a residual": ("CERT_INCOMPLETE", lambda: cosigned(replace(CERTIFICATE, residuals=tuple(Residual)[1:]))),
    "a scan hit": ("CERT_SCAN_HIT", lambda: cosigned(replace(CERTIFICATE, is_clean=False))),
    "no model": ("CERT_LINEAGE_MISSING", lambda: cosigned(replace(CERTIFICATE, models=()))),
    "another model": (
        "CERT_LINEAGE_MISSING",
        lambda: cosigned(
            replace(CERTIFICATE, models=(ModelLineage("autumn", Disposition.DELETED, "1", "0"),))
        ),
    ),
    "no cosignature": (
        "CERT_COSIGN_MISSING",
        lambda: certificate_to_bytes(CERTIFICATE.sign(COMPANY), None),
    ),
    "a stranger's cosignature": ("CERT_COSIGN_MISSING", lambda: cosigned(custodian=STRANGER)),
    "one for another certificate": (
        "CERT_COSIGN_MISSING",
        lambda: cosigned(about=replace(CERTIFICATE, inventory=b"\1" * 32).sign(COMPANY)),
    ),
    "one for another company": ("CERT_COSIGN_MISSING", lambda: cosigned(company="akane")),
    "one about older shares": ("CERT_COSIGN_MISSING", lambda: cosigned(since=NOW - 1)),
    "a certificate that denies a custodian": (
        "CERT_COSIGN_MISSING",
        lambda: cosigned(
            replace(
                CERTIFICATE,
                is_custodian_held=False,
                artefacts=all_artefacts(is_custodian_held=False),
            )
        ),
    ),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_is_wrong_is_named(change: str) -> None:
    """Each forgery and omission is refused with its own code."""
    code, make = CHANGED[change]
    refused(make(), code)


def test_a_model_that_has_to_go_may_not_stay() -> None:
    """At the season's end a certificate that keeps the model is refused; one that deletes it is verified."""
    order = replace(ORDER, ground=ErasureGround.SEASON_END)
    about = replace(CERTIFICATE, order_sha256=order_sha256(order.sign(PLATFORM)))
    refused(cosigned(about), "CERT_LINEAGE_MISSING", order=order)
    model = replace(CERTIFICATE.models[0], disposition=Disposition.DELETED)
    assert verify(cosigned(replace(about, models=(model,))), order=order) is CertificateState.VERIFIED


def test_malformed_certificates_are_bad_data() -> None:
    """Another encoding, a count, a second cosignature: none of it parses."""
    good = cosigned()
    body = canonical_json.parse_object(good)
    counted = canonical_json.encode(
        {**body, "certificate": {**body["certificate"], "body": {**CERTIFICATE.to_body(), "count": 1}}}
    )
    doubled = canonical_json.encode({**body, "cosignatures": body["cosignatures"] * 2})
    for data in (b"", b"{}", good + b" ", counted, doubled, bytes(20_000)):
        with pytest.raises(DataError):
            parse_certificate(data)


def test_a_commitment_to_the_inventory_needs_its_salt() -> None:
    """The same inventory under another salt is another commitment; a short salt is refused."""
    assert inventory_commitment(b"x", bytes(32)) != inventory_commitment(b"x", b"\1" * 32)
    assert inventory_commitment(b"x", bytes(32)) != inventory_commitment(b"y", bytes(32))
    with pytest.raises(DataError):
        inventory_commitment(b"x", b"salt")


def test_events_of_certificates_follow_the_table() -> None:
    """Every pair that is in the table leads where it says; every other one is refused."""
    for state in CertificateState:
        for event in CertificateEvent:
            if (state, event) in CERTIFICATE_TRANSITIONS:
                assert next_certificate_state(state, event) is CERTIFICATE_TRANSITIONS[state, event]
            else:
                with pytest.raises(LocalProtocolError):
                    next_certificate_state(state, event)
    assert not [event for (state, event) in CERTIFICATE_TRANSITIONS if state is CertificateState.SUPERSEDED]

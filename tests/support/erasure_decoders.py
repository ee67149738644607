"""Decoders of erasure, custody and provision records, as `decoders.DECODERS` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hostile_input as shapes

from noren_audit.custodian import custodian
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.ids import TableKind
from noren_core.ledger.entries import ErasureGround
from noren_core.rights import signed_statement
from noren_core.rights.erasure import custody, deletion_certificate, erasure_order, provision_record
from noren_core.rights.erasure.custody import CustodyAnswer, CustodyOperation, CustodyRequest
from noren_core.rights.erasure.deletion_certificate import (
    DeletionCertificate,
    Disposition,
    ErasedArtefact,
    ModelLineage,
    Residual,
    ScanPlace,
)
from noren_core.rights.erasure.erasure_order import ErasureOrder, HoldReason, LegalHold, OrderedTable
from noren_core.rights.erasure.provision_record import ProvisionTwin

NOW = 1_800_000_000
KEY = SigningKey.from_bytes(bytes([9] * 32))
SEALING = SealingKey.from_bytes(bytes([8] * 32))
_PUT = CustodyRequest(
    operation=CustodyOperation.PUT,
    company="aoba",
    campaign="spring",
    handle=bytes(16),
    nonce=bytes(16),
    issued_at=NOW,
    reply_key=SEALING.public_key,
)
_COSIGN = CustodyRequest(
    operation=CustodyOperation.COSIGN,
    company="aoba",
    campaign="spring",
    handle=b"",
    nonce=bytes(16),
    issued_at=NOW,
    certificate_sha256=bytes(32),
    since=NOW,
)
_SENT = _PUT.sign(KEY)
_SHARE = custody.seal_share(SecretBytes(bytes(32)), _PUT, _SENT)
_DESTROYED = custody.DestructionStatement.sign(
    company="aoba", handle=bytes(16), destroyed_at=NOW, key=KEY
).statement
_COSIGNED = custody.CustodyCosignature.sign(_COSIGN, signed_at=NOW, key=KEY).statement
_TABLE = OrderedTable(TableKind.TRAIN, bytes(16), 1)
_ORDER = ErasureOrder(
    order_id=bytes(16),
    company="aoba",
    campaign="spring",
    ground=ErasureGround.RIGHTS,
    tables=(_TABLE,),
    issued_at=NOW,
    due_at=NOW + 1,
    disclose_first=True,
)
_ORDERED = _ORDER.sign(KEY)
_MODEL = ModelLineage("spring", Disposition.DP_BOUNDED_RETAIN, "1", "0.000001")
_CERTIFICATE = DeletionCertificate(
    certificate_id=bytes(16),
    order_id=bytes(16),
    order_sha256=erasure_order.order_sha256(_ORDERED),
    company="aoba",
    campaign="spring",
    completed_at=NOW,
    artefacts=deletion_certificate.all_artefacts(is_custodian_held=False),
    models=(_MODEL,),
    is_clean=True,
    places=tuple(ScanPlace),
    residuals=tuple(Residual),
    inventory=bytes(32),
    is_custodian_held=False,
)
_DELIVERED = deletion_certificate.certificate_to_bytes(_CERTIFICATE.sign(KEY), None)
_HOLD = LegalHold("aoba", "spring", HoldReason.COURT_ORDER, NOW)
_TWIN = ProvisionTwin("job-site", "aoba", "spring", TableKind.TRAIN, bytes(16), "rows", NOW, (bytes(16),))
_COMPARISON = provision_record.comparison(bytes(16), [bytes(16)], salt=bytes(32))
_RECORD_KEY = SecretBytes(bytes(32))


def _parsed(data: bytes) -> signed_statement.SignedStatement:
    return signed_statement.parse_statement(data, "statement", limit=1 << 16)


def _of_custodian(place: Any) -> list[bytes]:
    (place.directory / "companies.json").write_bytes(b"{}")
    return [b'{"aoba":"' + b"ab" * 32 + b'"}', b"{}"]


def _in(name: str, load: Any) -> Any:
    def decode(data: bytes, place: Any) -> Any:
        path: Path = place.directory / name
        path.write_bytes(data)
        return load(place.directory)

    return decode


def _verify_certificate(data: bytes, _: Any) -> None:
    deletion_certificate.verify_certificate(
        data, order=_ORDER, ordered=_ORDERED, company_key=KEY.public_key, custodian_key=None
    )


def _verify_request(data: bytes, _: Any) -> None:
    request, statement = CustodyRequest.parse(data)
    custody.verify_request(request, statement, company_key=KEY.public_key, now=NOW)


def _answer(data: bytes, _: Any) -> None:
    CustodyAnswer.open(data, _SENT, custodian_key=KEY.public_key)


FIELDS: tuple[dict[str, Any], ...] = (
    {
        "name": "noren_core.rights.signed_statement.parse_statement",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_ORDERED.to_bytes()],
        "decode": lambda data, _: _parsed(data),
        "encode": signed_statement.SignedStatement.to_bytes,
    },
    {
        "name": "noren_core.rights.erasure.custody.CustodyRequest.parse",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_SENT.to_bytes(), _COSIGN.sign(KEY).to_bytes()],
        "decode": lambda data, _: CustodyRequest.parse(data)[1],
        "encode": signed_statement.SignedStatement.to_bytes,
    },
    {
        "name": "noren_core.rights.erasure.custody.verify_request",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_SENT.to_bytes()],
        "decode": _verify_request,
        "has_own_fields": False,
    },
    {
        "name": "noren_core.rights.erasure.custody.CustodyAnswer.open",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [
            CustodyAnswer(_SHARE, NOW).sign(_SENT, KEY),
            CustodyAnswer(handles=(bytes(16),)).sign(_SENT, KEY),
            CustodyAnswer(statement=_DESTROYED).sign(_SENT, KEY),
        ],
        "decode": _answer,
    },
    {
        "name": "noren_core.rights.erasure.custody.DestructionStatement.open",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_DESTROYED.to_bytes()],
        "decode": lambda data, _: custody.DestructionStatement.open(
            _parsed(data), custodian_key=KEY.public_key
        ),
    },
    {
        "name": "noren_core.rights.erasure.custody.CustodyCosignature.open",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_COSIGNED.to_bytes()],
        "decode": lambda data, _: custody.CustodyCosignature.open(
            _parsed(data), custodian_key=KEY.public_key
        ),
    },
    {
        "name": "noren_core.rights.erasure.custody.open_share",
        "shape": shapes.Bytes(shapes.pieces(16)),
        "valid": lambda _: [_SHARE],
        "decode": lambda data, _: custody.open_share(data, SEALING, _SENT),
    },
    {
        "name": "noren_core.rights.erasure.custody.open_record",
        "shape": shapes.Bytes(shapes.pieces(12)),
        "valid": lambda _: [custody.seal_record(_RECORD_KEY, b"data", name="a/score/b")],
        "decode": lambda data, _: custody.open_record(_RECORD_KEY, data, name="a/score/b"),
    },
    {
        "name": "noren_core.rights.erasure.erasure_order.parse_order",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_ORDERED.to_bytes()],
        "decode": lambda data, _: erasure_order.parse_order(data)[1],
        "encode": signed_statement.SignedStatement.to_bytes,
    },
    {
        "name": "noren_core.rights.erasure.erasure_order.OrderedTable.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_TABLE.to_body()],
        "decode": lambda value, _: OrderedTable.from_body(value),
        "encode": OrderedTable.to_body,
    },
    {
        "name": "noren_core.rights.erasure.erasure_order.LegalHold.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_HOLD.to_body()],
        "decode": lambda value, _: LegalHold.from_body(value),
        "encode": LegalHold.to_body,
    },
    {
        "name": "noren_core.rights.erasure.deletion_certificate.parse_certificate",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [
            _DELIVERED,
            deletion_certificate.certificate_to_bytes(_CERTIFICATE.sign(KEY), _COSIGNED),
        ],
        "decode": lambda data, _: deletion_certificate.parse_certificate(data)[1:],
        "encode": lambda found: deletion_certificate.certificate_to_bytes(*found),
    },
    {
        "name": "noren_core.rights.erasure.deletion_certificate.verify_certificate",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_DELIVERED],
        "decode": _verify_certificate,
        "has_own_fields": False,
    },
    {
        "name": "noren_core.rights.erasure.deletion_certificate.DeletionCertificate.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_CERTIFICATE.to_body()],
        "decode": lambda value, _: DeletionCertificate.from_body(value),
        "encode": DeletionCertificate.to_body,
    },
    {
        "name": "noren_core.rights.erasure.deletion_certificate.ErasedArtefact.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_CERTIFICATE.artefacts[0].to_body()],
        "decode": lambda value, _: ErasedArtefact.from_body(value),
        "encode": ErasedArtefact.to_body,
    },
    {
        "name": "noren_core.rights.erasure.deletion_certificate.ModelLineage.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_MODEL.to_body()],
        "decode": lambda value, _: ModelLineage.from_body(value),
        "encode": ModelLineage.to_body,
    },
    {
        "name": "noren_core.rights.erasure.provision_record.ProvisionTwin.from_bytes",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_TWIN.to_bytes()],
        "decode": lambda data, _: ProvisionTwin.from_bytes(data),
    },
    {
        "name": "noren_core.rights.erasure.provision_record.verify_twin",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_COMPARISON],
        "decode": lambda data, _: provision_record.verify_twin(_TWIN, data),
    },
    {
        "name": "noren_audit.custodian.custodian.load_companies",
        "shape": shapes.JsonBytes(),
        "valid": _of_custodian,
        "decode": _in("companies.json", custodian.load_companies),
    },
    {
        "name": "noren_audit.custodian.custodian.load_name",
        "shape": shapes.Toml(),
        "valid": lambda _: [b'name = "auditor-1"\n'],
        "decode": _in("custodian.toml", custodian.load_name),
    },
)

EXEMPT = {
    "noren_client.rights.custody.CustodyStore.read": "hands on bytes; open_record and the share are here",
    "noren_client.rights.orders.verify_no_hold": "a file of our own; LegalHold.from_body is here",
    "noren_client.rights.orders.verify_up_to_date": "a conversation; parse_order is here",
    "noren_client.rights.retention.verify_nothing_overdue": "a question to our own files",
    "noren_core.rights.erasure.erasure_order.verify_order": (
        "a statement that was parsed; parse_order is here"
    ),
    "noren_core.rights.signed_statement.SignedStatement.verify": "as verify_order",
    "noren_server.rights.provision_records.ProvisionRecords.open": "SQLite reads it, as Store.open",
}

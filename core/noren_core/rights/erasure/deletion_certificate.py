"""Deletion certificates: what a company says that it deleted, and what can be checked of it.

docs/rights/erasure.md §4. Nobody can prove that no copy exists. What a certificate shows: every registered
store was gone through, the only key of custody records from before the order is destroyed (a custodian, who
holds the other share, says so), a search found nothing, and what cannot be deleted is named.

Promises: a certificate has no counts, no tags and no names of persons, and is the same, byte for byte except
for ids, times, commitments and signatures, whether anybody was deleted or not: the platform must not learn
from it who applied. What a model learnt is "bounded by (ε, δ)", never "removed".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.rights import fields
from noren_core.rights.erasure.artefacts import IN_CUSTODY, REGISTERED_STORES, ArtefactClass, ErasureMethod
from noren_core.rights.erasure.custody import CustodyCosignature
from noren_core.rights.erasure.erasure_order import ORDER_ID_BYTES, ErasureOrder, order_sha256
from noren_core.rights.fields import read_fields
from noren_core.rights.signed_statement import (
    SignedStatement,
    sign_statement,
    statement_from_body,
)

CERTIFICATE_FORMAT = "noren/v1/deletion-certificate"
ID_BYTES = 16
MAX_CERTIFICATE_BYTES = 16_384
INVENTORY_SALT_BYTES = 32

_LABEL = CERTIFICATE_FORMAT.encode()
_INVENTORY_LABEL = b"noren/v1/erasure-inventory\0"


class Disposition(StrEnum):
    """What became of a model that may have learnt from what was deleted."""

    DP_BOUNDED_RETAIN = "dp-bounded-retain"  # kept; the influence of one person is bounded by (ε, δ)
    DELETED = "deleted"


class ScanPlace(StrEnum):
    """Where a search for what was deleted looked."""

    DATA_DIRECTORY = "data-directory"
    LOGS = "logs"
    TEMPORARY_FILES = "temporary-files"
    WRITE_AHEAD_LOGS = "write-ahead-logs"


class Residual(StrEnum):
    """What stays, and why; said in every certificate, since it is true of every company."""

    ACCEPTED_MODELS = "accepted-models"  # bounded by (ε, δ)
    BACKUPS_OUTSIDE = "backups-outside"  # copies that the program did not make; custody records have no key
    DECISIONS = "decisions"  # the company's own, about its own applicants; what the gate is audited by
    DISK_BLOCKS = "disk-blocks"  # what an overwritten or unlinked file left on a disk
    HUMAN_MEMORY = "human-memory"  # of whoever looked at a band
    PAPER_AND_SCREENSHOTS = "paper-and-screenshots"
    PROVISION_RECORDS = "provision-records"  # kept for three years by law
    REVOCATION_LISTS = "revocation-lists"  # tags among dummies: what stops a row from coming back
    SWAP = "swap"


REQUIRED_PLACES = frozenset(ScanPlace)
REQUIRED_RESIDUALS = frozenset(Residual)


class CertificateState(StrEnum):
    """What a certificate is worth."""

    DRAFT = "draft"
    ISSUED = "issued"  # signed, and no custodian vouched for it: unverified
    VERIFIED = "verified"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"  # the same order was carried out again
    DISPUTED = "disputed"


class CertificateEvent(StrEnum):
    """What can happen to a certificate."""

    ISSUE = "issue"
    VERIFY = "verify"
    REJECT = "reject"
    SUPERSEDE = "supersede"
    DISPUTE = "dispute"


_S, _E = CertificateState, CertificateEvent
CERTIFICATE_TRANSITIONS: Mapping[tuple[CertificateState, CertificateEvent], CertificateState] = {
    (_S.DRAFT, _E.ISSUE): _S.ISSUED,
    (_S.ISSUED, _E.VERIFY): _S.VERIFIED,
    (_S.ISSUED, _E.REJECT): _S.REJECTED,
    (_S.ISSUED, _E.SUPERSEDE): _S.SUPERSEDED,
    (_S.ISSUED, _E.DISPUTE): _S.DISPUTED,
    (_S.VERIFIED, _E.SUPERSEDE): _S.SUPERSEDED,
    (_S.VERIFIED, _E.DISPUTE): _S.DISPUTED,
    (_S.REJECTED, _E.SUPERSEDE): _S.SUPERSEDED,
    (_S.DISPUTED, _E.VERIFY): _S.VERIFIED,
    (_S.DISPUTED, _E.REJECT): _S.REJECTED,
    (_S.DISPUTED, _E.SUPERSEDE): _S.SUPERSEDED,
}
"""Everything that can happen. What is not here is refused."""


def next_certificate_state(state: CertificateState, event: CertificateEvent) -> CertificateState:
    """The state after an event; LocalProtocolError (ILLEGAL_STATE) for one that cannot happen there."""
    following = CERTIFICATE_TRANSITIONS.get((state, event))
    if following is None:
        raise LocalProtocolError(f"certificate: expected an event that can follow {state}, got {event}")
    return following


@dataclass(frozen=True, slots=True)
class ErasedArtefact:
    """One class, how it was erased, and every store of it that was gone through."""

    artefact: ArtefactClass
    method: ErasureMethod
    stores: tuple[str, ...]

    def to_body(self) -> dict[str, Any]:
        """As it stands in a certificate."""
        return {"class": self.artefact.value, "method": self.method.value, "stores": list(self.stores)}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        found = read_fields(body, _ARTEFACT_FIELDS, "artefact")
        return cls(found["class"], found["method"], found["stores"])


@dataclass(frozen=True, slots=True)
class ModelLineage:
    """A model of the campaign: its budget as the plan states it, and what became of it."""

    campaign: str
    disposition: Disposition
    epsilon: str
    delta: str

    def to_body(self) -> dict[str, Any]:
        """As it stands in a certificate."""
        return {
            "campaign": self.campaign,
            "disposition": self.disposition.value,
            "epsilon": self.epsilon,
            "delta": self.delta,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _MODEL_FIELDS, "model"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionCertificate:
    """What a company certifies about one order.

    Attributes:
        certificate_id: 16 random bytes.
        order_sha256: of the order, as the ledger has it.
        completed_at: Unix seconds.
        artefacts: every class once.
        models: of the campaign.
        is_clean: whether the search found nothing of what was deleted.
        places: that were searched.
        residuals: what stays.
        inventory: commitment to the detailed local inventory, for the auditor on site.
        is_custodian_held: whether a custodian holds shares of this company's records.
    """

    certificate_id: bytes
    order_id: bytes
    order_sha256: bytes
    company: str
    campaign: str
    completed_at: int
    artefacts: tuple[ErasedArtefact, ...]
    models: tuple[ModelLineage, ...]
    is_clean: bool
    places: tuple[ScanPlace, ...]
    residuals: tuple[Residual, ...]
    inventory: bytes
    is_custodian_held: bool

    def to_body(self) -> dict[str, Any]:
        """What is signed."""
        return {
            "format": CERTIFICATE_FORMAT,
            "certificate_id": self.certificate_id.hex(),
            "order_id": self.order_id.hex(),
            "order_sha256": self.order_sha256.hex(),
            "company": self.company,
            "campaign": self.campaign,
            "completed_at": self.completed_at,
            "artefacts": [artefact.to_body() for artefact in self.artefacts],
            "models": [model.to_body() for model in self.models],
            "scan": {"clean": self.is_clean, "places": [place.value for place in self.places]},
            "residuals": [residual.value for residual in self.residuals],
            "inventory": self.inventory.hex(),
            "custodian": self.is_custodian_held,
        }

    def sign(self, key: SigningKey) -> SignedStatement:
        """The company's certificate, without a cosignature."""
        return sign_statement(_LABEL, self.to_body(), key)

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        found = read_fields(body, _CERTIFICATE_FIELDS, "certificate")
        scan, is_custodian_held = found.pop("scan"), found.pop("custodian")
        del found["format"]
        return cls(
            **found,
            is_custodian_held=is_custodian_held,
            is_clean=scan["clean"],
            places=scan["places"],
        )


def certificate_sha256(statement: SignedStatement) -> bytes:
    """What ledger and custodian refer to a certificate by; without its cosignature."""
    return statement.digest(_LABEL)


def certificate_to_bytes(statement: SignedStatement, cosignature: SignedStatement | None) -> bytes:
    """The certificate as it is delivered: canonical JSON of both signatures."""
    cosignatures = [] if cosignature is None else [cosignature.to_body()]
    return canonical_json.encode({"certificate": statement.to_body(), "cosignatures": cosignatures})


def parse_certificate(
    data: bytes,
) -> tuple[DeletionCertificate, SignedStatement, SignedStatement | None]:
    """The certificate in `data`, as it was signed, and its cosignature; nothing is verified yet.

    Raises:
        DataError: for anything else.
    """
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise DataError(f"certificate: expected at most {MAX_CERTIFICATE_BYTES} bytes, got more")
    found = read_fields(canonical_json.parse_object(data), _DELIVERED_FIELDS, "certificate")
    statement, cosignatures = found["certificate"], found["cosignatures"]
    if len(cosignatures) > 1:
        raise DataError("certificate: expected at most one cosignature, got more")
    certificate = DeletionCertificate.from_body(statement.body)
    return certificate, statement, cosignatures[0] if cosignatures else None


def verify_certificate(
    data: bytes,
    *,
    order: ErasureOrder,
    ordered: SignedStatement,
    company_key: bytes,
    custodian_key: bytes | None,
) -> CertificateState:
    """VERIFIED, or ISSUED for a certificate in order that no custodian vouches for.

    1. The company signed it (CERT_SIG_INVALID).
    2. It is about this very order, and every class with every registered store and a fitting method is in it,
       every place was searched, every residual is named (CERT_INCOMPLETE).
    3. The search found nothing (CERT_SCAN_HIT).
    4. The campaign's model is accounted for, and kept only if the order lets it (CERT_LINEAGE_MISSING).
    5. If we know a custodian of this company, it says that no share is older than the order
       (CERT_COSIGN_MISSING).

    Args:
        data: as it was delivered.
        order: that it is for.
        ordered: the same as it was signed.
        company_key: of the company, when it delivered.
        custodian_key: of the company's custodian; None if there is none.

    Raises:
        DataError: if `data` is no certificate.
        VerificationError: with one of these codes.
    """
    certificate, statement, cosignature = parse_certificate(data)
    try:  # 1
        statement.verify(_LABEL, company_key)
    except VerificationError as error:
        raise _refused("the signature of the company", "CERT_SIG_INVALID") from error
    about = (certificate.order_id, certificate.order_sha256, certificate.company, certificate.campaign)
    if about != (order.order_id, order_sha256(ordered), order.company, order.campaign):  # 2
        raise _refused("one about this order", "CERT_INCOMPLETE")
    _verify_complete(certificate)
    if not certificate.is_clean:  # 3
        raise _refused("a search that found nothing", "CERT_SCAN_HIT")
    _verify_lineage(certificate, order)  # 4
    if custodian_key is None:  # 5
        return CertificateState.ISSUED
    _verify_cosignature(certificate, statement, cosignature, order, custodian_key)
    return CertificateState.VERIFIED


def inventory_commitment(inventory: bytes, salt: bytes) -> bytes:
    """SHA-256 over label ‖ salt(32) ‖ inventory; nobody without the salt can test a guess."""
    if len(salt) != INVENTORY_SALT_BYTES:
        raise DataError(f"inventory: expected a salt of {INVENTORY_SALT_BYTES} bytes, got another length")
    return hashlib.sha256(_INVENTORY_LABEL + salt + inventory).digest()


def all_artefacts(*, is_custodian_held: bool) -> tuple[ErasedArtefact, ...]:
    """What a complete certificate lists: every class with every registered store."""
    return tuple(
        ErasedArtefact(artefact, _method(artefact, is_custodian_held=is_custodian_held), stores)
        for artefact, stores in REGISTERED_STORES.items()
    )


def _method(artefact: ArtefactClass, *, is_custodian_held: bool) -> ErasureMethod:
    """How a class is erased where a custodian holds shares, or where none does."""
    if artefact is ArtefactClass.BACKUP:
        return ErasureMethod.KEY_DESTRUCTION if is_custodian_held else ErasureMethod.DELETE
    return ErasureMethod.BOTH if artefact in IN_CUSTODY and is_custodian_held else ErasureMethod.DELETE


def _verify_complete(certificate: DeletionCertificate) -> None:
    if certificate.artefacts != all_artefacts(is_custodian_held=certificate.is_custodian_held):
        raise _refused("every registered store of every class", "CERT_INCOMPLETE")
    if set(certificate.places) != REQUIRED_PLACES or set(certificate.residuals) != REQUIRED_RESIDUALS:
        raise _refused("every place that is searched and every residual", "CERT_INCOMPLETE")


def _verify_lineage(certificate: DeletionCertificate, order: ErasureOrder) -> None:
    allowed = set(Disposition) if order.keeps_models else {Disposition.DELETED}
    found = [model for model in certificate.models if model.campaign == order.campaign]
    if len(found) != 1 or found[0].disposition not in allowed:
        raise _refused("what became of the campaign's model", "CERT_LINEAGE_MISSING")


def _verify_cosignature(
    certificate: DeletionCertificate,
    statement: SignedStatement,
    cosignature: SignedStatement | None,
    order: ErasureOrder,
    custodian_key: bytes,
) -> None:
    if cosignature is None or not certificate.is_custodian_held:
        raise _refused("the custodian's cosignature", "CERT_COSIGN_MISSING")
    try:
        said = CustodyCosignature.open(cosignature, custodian_key=custodian_key)
    except (DataError, VerificationError) as error:
        raise _refused("the custodian's cosignature", "CERT_COSIGN_MISSING") from error
    about = (said.company, said.campaign, said.certificate_sha256)
    expected = (order.company, order.campaign, certificate_sha256(statement))
    if about != expected or said.since < order.issued_at:
        raise _refused("the custodian's cosignature", "CERT_COSIGN_MISSING")


def _refused(expected: str, code: str) -> VerificationError:
    return VerificationError(f"certificate: expected {expected}, got another", code=code)


def _decimal(value: object) -> str:
    text = fields.text(value)
    if len(text) > 32 or not text.isascii():
        raise DataError("expected a decimal number as text, got another value")
    return text


def _scan(value: object) -> dict[str, Any]:
    checks = {"clean": fields.boolean, "places": fields.list_of(fields.word_of(ScanPlace))}
    return read_fields(value, checks, "scan")


def _signed(value: object) -> SignedStatement:
    return statement_from_body(value, "certificate")


_ARTEFACT_FIELDS = {
    "class": fields.word_of(ArtefactClass),
    "method": fields.word_of(ErasureMethod),
    "stores": fields.list_of(fields.text),
}
_MODEL_FIELDS = {
    "campaign": fields.name,
    "disposition": fields.word_of(Disposition),
    "epsilon": _decimal,
    "delta": _decimal,
}
_CERTIFICATE_FIELDS = {
    "format": fields.constant(CERTIFICATE_FORMAT),
    "certificate_id": fields.bytes_of(ID_BYTES),
    "order_id": fields.bytes_of(ORDER_ID_BYTES),
    "order_sha256": fields.bytes_of(32),
    "company": fields.name,
    "campaign": fields.name,
    "completed_at": fields.seconds,
    "artefacts": fields.list_of(ErasedArtefact.from_body),
    "models": fields.list_of(ModelLineage.from_body),
    "scan": _scan,
    "residuals": fields.list_of(fields.word_of(Residual)),
    "inventory": fields.bytes_of(32),
    "custodian": fields.boolean,
}
_DELIVERED_FIELDS = {"certificate": _signed, "cosignatures": fields.list_of(_signed)}

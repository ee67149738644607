"""Enrolling: from the invitation to the entries in the ledger (protocol §0.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from noren_core.wire.v1 import platform_pb2 as wire

from . import expect
from .ledger import parse, signed_entry
from .ledger_proof import Watch
from .training import sign

_TEXTS = {
    "company",
    "platform",
    "enrolment_address",
    "service_address",
    "fleet_address",
    "ca_pem",
    "log_key",
    "platform_key",
    "bundle_sha256",
    "agreement_sha256",
    "code",
    "format",
}


def read_invitation(content: bytes) -> dict[str, str]:
    """The texts of an invitation file."""
    fields = parse(content)
    expect(isinstance(fields, dict) and set(fields) == _TEXTS | {"expires_at"}, "an invitation's fields")
    expect(all(isinstance(fields[name], str) for name in _TEXTS), "texts")
    expect(fields["format"] == "noren/v1/invitation", "a format that we read")
    return {name: fields[name] for name in _TEXTS}


@dataclass(frozen=True, slots=True)
class Keys:
    """The four keys that a company enrols."""

    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    sealing: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    tls: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    node: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))


def request(keys: Keys, invitation: Mapping[str, str], declared_size: int) -> wire.EnrolmentRequest:
    """What is sent once, over TLS, and again unchanged after a lost answer."""
    company, signing = invitation["company"], keys.signing
    enrolled = {
        "company": company,
        "signing_key": signing.public_key().public_bytes_raw().hex(),
        "sealing_key": keys.sealing.public_key().public_bytes_raw().hex(),
        "tls_key_sha256": _key_sha256(keys.tls),
        "node_key_sha256": _key_sha256(keys.node),
    }
    agreed = {
        "company": company,
        "agreement_sha256": invitation["agreement_sha256"],
        "declared_size": declared_size,
    }
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, company)])
    possession = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(keys.tls, hashes.SHA256())
    return wire.EnrolmentRequest(
        code=invitation["code"],
        enrolment_entry=signed_entry(signing, company, "enrolment", enrolled),
        agreement_entry=signed_entry(signing, company, "agreement", agreed),
        tls_request=possession.public_bytes(Encoding.DER),
        node_key=keys.node.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def fingerprint(signing_key: bytes) -> str:
    """What two people compare by phone."""
    digits = hashlib.sha256(b"noren/v1/fingerprint\0" + signing_key).digest()[:20].hex()
    return " ".join(digits[i : i + 4] for i in range(0, 40, 4))


def collect(keys: Keys) -> wire.CollectRequest:
    """What only the applicant can ask."""
    public = keys.signing.public_key().public_bytes_raw()
    return wire.CollectRequest(signing_key=public, signature=sign(keys.signing, "noren/v1/collect", public))


def accept(watch: Watch, sent: wire.EnrolmentRequest, reply: wire.CollectReply) -> bytes:
    """The certificate chain, if the ledger holds exactly the two entries that we signed."""
    expect(reply.approved, "an approval")
    proven = watch.read(reply.proof).values()
    for said in (sent.enrolment_entry, sent.agreement_entry):
        expect(any(entry.says(said) for entry in proven), "both our entries in the ledger")
    certified = x509.load_pem_x509_certificates(reply.certificate)[0]
    asked = x509.load_der_x509_csr(sent.tls_request)
    expect(_spki(certified.public_key()) == _spki(asked.public_key()), "a certificate for our key")
    return reply.certificate


def _spki(public_key: Any) -> bytes:
    encoded: bytes = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _key_sha256(key: ec.EllipticCurvePrivateKey) -> str:
    return hashlib.sha256(_spki(key.public_key())).hexdigest()

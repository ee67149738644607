"""Companies that ask to enrol, for pages that show them: real requests with real keys."""

from __future__ import annotations

import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.season.participation import agreement_sha256
from noren_server.certificates import key_sha256
from noren_server.enrolment import CompanyRequest
from noren_server.platform_files import Platform


def enrol(platform: Platform, company: str, *, declared_size: int = 40) -> str:
    """Have a company use an invitation; the last group of its fingerprint, as its people read it out."""
    code = json.loads(platform.enrolment.invite(company).content)["code"]
    signing, sealing = SigningKey.generate(), SealingKey.generate()
    tls, node = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    enrolled = {
        "company": company,
        "signing_key": signing.public_key.hex(),
        "sealing_key": sealing.public_key.hex(),
        "tls_key_sha256": key_sha256(tls.public_key()),
        "node_key_sha256": key_sha256(node.public_key()),
    }
    agreed = {
        "company": company,
        "agreement_sha256": agreement_sha256(),
        "declared_size": declared_size,
    }
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, company)])
    possession = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(tls, hashes.SHA256())
    request = CompanyRequest(
        sign_entry(EntryKind.ENROLMENT, company, enrolled, signing),
        sign_entry(EntryKind.AGREEMENT, company, agreed, signing),
        possession.public_bytes(Encoding.DER),
        node.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
    return platform.enrolment.request(code, request, address="192.0.2.1").split(" ")[-1]

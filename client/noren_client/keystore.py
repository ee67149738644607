"""The company's keys: made on its machine, mode 0600, never overwritten, never sent.

    keys/signing.key   Ed25519, everything the company says
    keys/sealing.key   X25519, what other companies seal to it
    keys/tls.key       EC P-256, connections to the platform
    keys/tls.pem       the certificate chain for it, from the platform
    keys/node.key      EC P-384, Flower's SuperNode

A key file that others can read is refused: whoever read it could speak as this company.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from noren_client import config
from noren_client.campaign_files import write_private
from noren_client.supernode import create_node_key, node_public_key
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.errors import ConfigurationError, LocalProtocolError, NorenError

_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER


@dataclass(frozen=True, slots=True)
class CompanyKeys:
    """Who this company is: its name, what it signs with, what others seal to."""

    company: str
    signing: SigningKey
    sealing: SealingKey


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What a connection to the platform presents, and whom it accepts; all PEM."""

    key: bytes
    certificate: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "<TlsIdentity redacted>"


def directory(company_dir: Path) -> Path:
    """Where the keys are."""
    return company_dir / "keys"


def node_key_path(company_dir: Path) -> Path:
    """The SuperNode's private key, in OpenSSH format as Flower reads it."""
    return directory(company_dir) / "node.key"


def authority_path(company_dir: Path) -> Path:
    """The platform's root certificate, from the invitation."""
    return company_dir / "platform" / "ca.pem"


def create_missing(company_dir: Path) -> None:
    """Make every key that is not there yet; a second call changes nothing."""
    keys = directory(company_dir)
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (keys / "signing.key").exists():
        write_private(keys / "signing.key", SigningKey.generate().to_bytes())
    if not (keys / "sealing.key").exists():
        write_private(keys / "sealing.key", SealingKey.generate().to_bytes())
    if not (keys / "tls.key").exists():
        write_private(keys / "tls.key", _tls_key_pem(ec.generate_private_key(ec.SECP256R1())))
    if not node_key_path(company_dir).exists():
        create_node_key(node_key_path(company_dir))


def load(company_dir: Path) -> CompanyKeys:
    """The company's identity.

    Raises:
        ConfigurationError: if there is no configuration, or a key is missing, damaged or readable by others.
    """
    company = config.load(company_dir).company
    signing = _read_secret(directory(company_dir) / "signing.key")
    sealing = _read_secret(directory(company_dir) / "sealing.key")
    try:
        return CompanyKeys(company, SigningKey.from_bytes(signing), SealingKey.from_bytes(sealing))
    except NorenError as error:
        raise ConfigurationError(f"keys: {error.message}") from error


def certificate_request(company_dir: Path, company: str) -> bytes:
    """A PKCS #10 request (DER) that proves possession of the TLS key."""
    key = _tls_key(company_dir)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, company)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(_DER)


def tls_public_key(company_dir: Path) -> bytes:
    """The TLS key's SubjectPublicKeyInfo, DER."""
    return _public_der(_tls_key(company_dir).public_key())


def node_public_keys(company_dir: Path) -> tuple[bytes, bytes]:
    """The node key's public half in PEM, as the platform registers it, and in DER, as it is hashed."""
    pem = node_public_key(node_key_path(company_dir))
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigurationError("node key: expected an EC key, got another kind")
    return pem, _public_der(key)


def save_certificate(company_dir: Path, chain: bytes, *, company: str) -> None:
    """Keep the certificate that the platform issued.

    1. It is for our TLS key and in our name.
    2. The platform's authority, pinned by the invitation, signed it.

    Raises:
        LocalProtocolError: if one of these does not hold; nothing is kept.
    """
    try:
        certificate = x509.load_pem_x509_certificate(chain)
        authority = x509.load_pem_x509_certificate(authority_path(company_dir).read_bytes())
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        ours = certificate.public_key() == _tls_key(company_dir).public_key()
        if not ours or [name.value for name in names] != [company]:  # 1
            raise LocalProtocolError("certificate: expected one for our key and name, got another")
        certificate.verify_directly_issued_by(authority)  # 2
    except (OSError, ValueError, TypeError, InvalidSignature) as error:
        raise LocalProtocolError("certificate: expected one of the platform's authority") from error
    write_private(directory(company_dir) / "tls.pem", chain)


def load_tls(company_dir: Path, *, now: datetime) -> TlsIdentity:
    """What a connection presents.

    Raises:
        ConfigurationError: if the certificate was not collected yet, or (CERTIFICATE_EXPIRED) is out of date.
    """
    key = _read_secret(directory(company_dir) / "tls.key")
    try:
        chain = (directory(company_dir) / "tls.pem").read_bytes()
        authority = authority_path(company_dir).read_bytes()
        certificate = x509.load_pem_x509_certificate(chain)
    except (OSError, ValueError) as error:
        raise ConfigurationError("expected the platform's certificate: collect it first") from error
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ConfigurationError(
            "certificate: expected one that is valid now; ask the platform for a new invitation",
            code="CERTIFICATE_EXPIRED",
        )
    return TlsIdentity(key, chain, authority)


def _read_secret(path: Path) -> bytes:
    """The file's content, if only its owner can read it."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(f"keys/{path.name}: expected a file that only its owner can read (0600)")
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"expected keys/{path.name} in the company's directory, got none") from error


def _tls_key(company_dir: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read_secret(directory(company_dir) / "tls.key"), None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("keys/tls.key: expected an EC key in PEM, got something else") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError("keys/tls.key: expected an EC key, got another kind")
    return key


def _tls_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _public_der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)

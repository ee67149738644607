"""The platform's private certificate authority: one root for gRPC, the SuperLink and the fleet proxy.

Promises: keys are EC P-256; a server certificate is valid for the given host names and addresses only; a
client certificate names one company (common name and the URI `noren:company:<name>`), is bound to the key of
a PKCS #10 request whose holder proved possession, and takes nothing else from that request. The authority
can sign no further authorities. Nothing is stored here.

Left to the caller: who may have a certificate, and refusing one that was revoked (docs/protocol.md §0).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from noren_core.crypto.secret import Secret
from noren_core.errors import ConfigurationError, DataError
from noren_core.ids import parse_name

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
CLIENT_DAYS = 397
COMPANY_URI = "noren:company:"
MAX_REQUEST_BYTES = 4096

_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a server presents, and the authority whose client certificates it lets in; all PEM."""

    key: bytes = field(repr=False)
    certificate: bytes
    authority: bytes


class CertificateAuthority(Secret):
    """The root key and certificate."""

    __slots__ = ("_certificate", "_key")

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, *, name: str, now: datetime) -> Self:
        """A new root."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])
        builder = _builder(subject, key.public_key(), now=now, days=AUTHORITY_DAYS).issuer_name(subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def from_pem(cls, key_pem: bytes, certificate_pem: bytes) -> Self:
        """The root with this key and certificate; ConfigurationError if they are damaged or not a pair."""
        try:
            key = serialization.load_pem_private_key(key_pem, password=None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            certified = certificate.public_key()
        except (x509.InvalidVersion, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError("certificate authority: expected a key and a certificate") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certified:
            raise ConfigurationError("certificate authority: expected the certificate of its key")
        return cls(key, certificate)

    @property
    def certificate_pem(self) -> bytes:
        """The root certificate, which every party gets out of band."""
        return _certificate_pem(self._certificate)

    @property
    def key_pem(self) -> bytes:
        """The private key, for the key store only."""
        return _key_pem(self._key)

    def issue_server(self, hosts: Sequence[str], *, now: datetime) -> ServerTls:
        """A fresh key and a certificate chain for these host names and addresses.

        Raises:
            ConfigurationError: if there is no host, or one is neither an address nor a DNS name.
        """
        names = [_host_name(host) for host in hosts]
        if not names:
            raise ConfigurationError("server certificate: expected at least one host, got none")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        builder = _builder(subject, key.public_key(), now=now, days=SERVER_DAYS)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        chain = self._sign(builder, ExtendedKeyUsageOID.SERVER_AUTH)
        return ServerTls(_key_pem(key), chain, self.certificate_pem)

    def issue_client(self, request: bytes, company: str, *, now: datetime) -> bytes:
        """The certificate chain (PEM) for the key of a PKCS #10 request, in the name of `company`.

        Raises:
            DataError: if the request is malformed, not self-signed, or for a key other than EC P-256.
        """
        public_key = request_key(request)
        parse_name(company, "company")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, company)])
        builder = _builder(subject, public_key, now=now, days=CLIENT_DAYS)
        identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(COMPANY_URI + company)])
        return self._sign(builder.add_extension(identity, critical=False), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _sign(self, builder: x509.CertificateBuilder, usage: x509.ObjectIdentifier) -> bytes:
        certificate = (
            builder.issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return _certificate_pem(certificate) + self.certificate_pem


def request_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The EC P-256 key of a PKCS #10 request whose signature proves possession; DataError otherwise."""
    if len(request) > MAX_REQUEST_BYTES:
        raise DataError(
            f"certificate request: expected at most {MAX_REQUEST_BYTES} bytes, got {len(request)}"
        )
    try:
        parsed = x509.load_der_x509_csr(request)
        key = parsed.public_key()
        proven = parsed.is_signature_valid
    except (x509.InvalidVersion, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise DataError("certificate request: expected PKCS #10 in DER, got other bytes") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DataError("certificate request: expected an EC P-256 key, got another kind")
    if not proven:
        raise DataError("certificate request: expected a signature of its own key, got another")
    return key


def node_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The EC P-384 public key of a SuperNode in PEM; DataError for anything else."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DataError("node key: expected a public key in PEM, got other bytes") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise DataError("node key: expected an EC P-384 key, got another kind")
    return key


def key_sha256(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo (DER), as an enrolment entry states it."""
    encoding, layout = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(encoding, layout)).hexdigest()


def certificate_sha256(pem: bytes) -> bytes:
    """SHA-256 of the first certificate (DER) in `pem`: what a connection's certificate is compared with."""
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256())


def certified_key_sha256(pem: bytes) -> str:
    """SHA-256 of the key that the first certificate in `pem` is for, as ledger entries state it."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise DataError("certificate: expected one for an EC key, got another kind")
    return key_sha256(key)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, *, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    if not all(label.isascii() and label.replace("-", "").isalnum() and len(label) <= 63 for label in labels):
        raise ConfigurationError("server certificate: expected host names and addresses, got another text")
    return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

"""The company's keys: made on its machine, mode 0600, sealed if it is protected, never overwritten or sent.

    keys/signing.key   Ed25519, everything the company says
    keys/sealing.key   X25519, what other companies seal to it
    keys/tls.key       EC P-256, connections to the platform
    keys/tls.pem       the certificate chain for it, from the platform
    keys/node.key      EC P-384, Flower's SuperNode

    keys/*.next.key    what replaces one of these, until the ledger has the change (docs/protocol.md §0.4)
    keys/tls.next.pem  the certificate for keys/tls.next.key, once the ledger has it

    keys/vault.json    exists if the directory is protected (docs/protocol.md §0.2)

A key file that others can read is refused: whoever read it could speak as this company.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from noren_client import config
from noren_client.company_secrets import secrets_of
from noren_client.supernode import generate_node_key, node_public_key
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import (
    ConfigurationError,
    DataError,
    LocalProtocolError,
    NorenError,
    VerificationError,
)
from noren_core.ledger.entries import CompanyKey
from noren_local import passphrase
from noren_local.private_file import write_private

SIGNING_KEY, SEALING_KEY = "keys/signing.key", "keys/sealing.key"
TLS_KEY, NODE_KEY = "keys/tls.key", "keys/node.key"
CURRENT = {
    CompanyKey.SIGNING: SIGNING_KEY,
    CompanyKey.SEALING: SEALING_KEY,
    CompanyKey.TLS: TLS_KEY,
    CompanyKey.NODE: NODE_KEY,
}
NEXT = {role: name.replace(".key", ".next.key") for role, name in CURRENT.items()}
CERTIFICATE, NEXT_CERTIFICATE = "tls.pem", "tls.next.pem"

# What cryptography raises for other encodings, versions and algorithms; the first two are no ValueErrors.
_NO_CERTIFICATE = (x509.InvalidVersion, UnsupportedAlgorithm, OSError, TypeError, ValueError)
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


def node_key(company_dir: Path) -> SecretBytes:
    """The SuperNode's private key, in OpenSSH format as Flower reads it; ConfigurationError as in `load`."""
    return _key(company_dir, NODE_KEY)


def authority_path(company_dir: Path) -> Path:
    """The platform's root certificate, from the invitation."""
    return company_dir / "platform" / "ca.pem"


def read_secret(company_dir: Path, name: str) -> bytes | None:
    """A secret of the company by its path below the directory, such as `campaigns/spring/head.json`.

    Raises:
        ConfigurationError: if others can read it, it is damaged, or the directory is protected and the
            passphrase is missing or wrong.
        LocalProtocolError: if `name` is none of `noren_client.company_secrets.PATTERNS`.
    """
    secret = secrets_of(company_dir).read(name)
    return None if secret is None else secret.reveal()


def write_secret(company_dir: Path, name: str, secret: bytes) -> None:
    """Replace a secret; sealed if the directory is protected. Raises as `read_secret`."""
    secrets_of(company_dir).write(name, secret)


def remove_secret(company_dir: Path, name: str) -> None:
    """Remove a secret, sealed or not; a disk may keep what was in it. Raises as `read_secret`."""
    secrets_of(company_dir).remove(name)


def create_missing(company_dir: Path) -> None:
    """Make every key that is not there yet; a second call changes nothing.

    The first call seals them if a passphrase is configured (`noren_local.passphrase`).
    """
    directory(company_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    directory(company_dir).chmod(0o700)
    secrets_of(company_dir).protect_new(passphrase.configured())
    for role, name in CURRENT.items():
        if not (company_dir / name).exists():
            write_secret(company_dir, name, _MAKERS[role]())


def create_next(company_dir: Path, role: CompanyKey) -> None:
    """Make the key that is to replace this one, unless it is there."""
    if not (company_dir / NEXT[role]).exists():
        write_secret(company_dir, NEXT[role], _MAKERS[role]())


def swap(company_dir: Path, role: CompanyKey) -> None:
    """Let the next key take the place of the current one, which is gone then; completes what a crash left.

    For the TLS key the certificate follows its key. `NEXT_CERTIFICATE` is there before and goes last, so
    that whatever was interrupted is recognised by it.
    """
    following = read_secret(company_dir, NEXT[role])
    if following is not None:
        write_secret(company_dir, CURRENT[role], following)
    if role is CompanyKey.TLS:
        certificate = (directory(company_dir) / NEXT_CERTIFICATE).read_bytes()
        write_private(directory(company_dir) / CERTIFICATE, certificate)
    (company_dir / NEXT[role]).unlink(missing_ok=True)
    (directory(company_dir) / NEXT_CERTIFICATE).unlink(missing_ok=True)


def public_key(role: CompanyKey, secret: bytes) -> str:
    """The public half of a stored key, as ledger entries state it.

    Raises:
        ConfigurationError: if it is damaged.
    """
    try:
        match role:
            case CompanyKey.SIGNING:
                return SigningKey.from_bytes(secret).public_key.hex()
            case CompanyKey.SEALING:
                return SealingKey.from_bytes(secret).public_key.hex()
            case CompanyKey.TLS:
                return hashlib.sha256(_public_der(_parsed_tls_key(secret).public_key())).hexdigest()
            case CompanyKey.NODE:
                return hashlib.sha256(_node_public_keys(SecretBytes(secret))[1]).hexdigest()
    except NorenError as error:
        raise ConfigurationError(f"keys: {error.message}") from error


def load(company_dir: Path) -> CompanyKeys:
    """The company's identity.

    Raises:
        ConfigurationError: if there is no configuration, or a key is missing, damaged or readable by others.
    """
    company = config.load(company_dir).company
    signing, sealing = _key(company_dir, SIGNING_KEY), _key(company_dir, SEALING_KEY)
    try:
        return CompanyKeys(
            company, SigningKey.from_bytes(signing.buffer), SealingKey.from_bytes(sealing.buffer)
        )
    except NorenError as error:
        raise ConfigurationError(f"keys: {error.message}") from error


def following_signing_key(company_dir: Path) -> SigningKey:
    """The signing key that is to replace ours; ConfigurationError if there is none, or as in `load`."""
    return SigningKey.from_bytes(_key(company_dir, NEXT[CompanyKey.SIGNING]).buffer)


def own_signing_keys(company_dir: Path) -> set[bytes]:
    """The public half of our signing key and, during a change of it, of the one that comes next."""
    keys = {load(company_dir).signing.public_key}
    if (company_dir / NEXT[CompanyKey.SIGNING]).exists():
        keys.add(following_signing_key(company_dir).public_key)
    return keys


def certificate_request(company_dir: Path, company: str, *, name: str = TLS_KEY) -> bytes:
    """A PKCS #10 request (DER) that proves possession of the TLS key, or the one of that name."""
    key = _tls_key(company_dir, name)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, company)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(_DER)


def tls_public_key(company_dir: Path) -> bytes:
    """The TLS key's SubjectPublicKeyInfo, DER."""
    return _public_der(_tls_key(company_dir).public_key())


def node_public_keys(company_dir: Path, *, name: str = NODE_KEY) -> tuple[bytes, bytes]:
    """The node key's public half in PEM, as the platform registers it, and in DER, as it is hashed."""
    return _node_public_keys(_key(company_dir, name))


def _node_public_keys(secret: SecretBytes) -> tuple[bytes, bytes]:
    pem = node_public_key(secret)
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigurationError("node key: expected an EC key, got another kind")
    return pem, _public_der(key)


def save_certificate(company_dir: Path, chain: bytes, *, company: str, is_next: bool = False) -> None:
    """Keep the certificate that the platform issued for the TLS key, or for the one that replaces it.

    1. It is for our TLS key and in our name.
    2. The platform's authority, pinned by the invitation, signed it.

    Raises:
        LocalProtocolError: if one of these does not hold; nothing is kept.
    """
    try:
        certificate = x509.load_pem_x509_certificate(chain)
        authority = x509.load_pem_x509_certificate(authority_path(company_dir).read_bytes())
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        key = _tls_key(company_dir, NEXT[CompanyKey.TLS] if is_next else TLS_KEY)
        ours = certificate.public_key() == key.public_key()
        if not ours or [name.value for name in names] != [company]:  # 1
            raise LocalProtocolError("certificate: expected one for our key and name, got another")
        certificate.verify_directly_issued_by(authority)  # 2
    except (*_NO_CERTIFICATE, InvalidSignature) as error:
        raise LocalProtocolError("certificate: expected one of the platform's authority") from error
    write_private(directory(company_dir) / (NEXT_CERTIFICATE if is_next else CERTIFICATE), chain)


def replace_authority(company_dir: Path, file: Path, fingerprint: str) -> None:
    """Trust another root certificate of the platform's, which was handed over out of band.

    Raises:
        ConfigurationError: if the company has not enrolled.
        DataError: if the file is not a certificate.
        VerificationError: if it has not the fingerprint (SHA-256) that was read out; nothing is changed.
    """
    config.load(company_dir)
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except _NO_CERTIFICATE as error:
        raise DataError("authority: expected a certificate in PEM, got another file") from error
    if certificate.fingerprint(hashes.SHA256()).hex() != "".join(fingerprint.split()).lower():
        raise VerificationError(
            "authority: expected the certificate that was read out, got another", code="FINGERPRINT_MISMATCH"
        )
    write_private(authority_path(company_dir), certificate.public_bytes(_PEM))


def load_tls(company_dir: Path, *, now: datetime) -> TlsIdentity:
    """What a connection presents.

    Raises:
        ConfigurationError: if the certificate was not collected yet, or (CERTIFICATE_EXPIRED) is out of date,
            or (KEY_ROTATION_UNFINISHED) a change of the key was interrupted while it was swapped.
    """
    key = _key(company_dir, TLS_KEY)
    try:
        chain = (directory(company_dir) / CERTIFICATE).read_bytes()
        authority = authority_path(company_dir).read_bytes()
        certificate = x509.load_pem_x509_certificate(chain)
        certified = certificate.public_key()
    except _NO_CERTIFICATE as error:
        raise ConfigurationError("expected the platform's certificate: collect it first") from error
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ConfigurationError(
            "certificate: expected one that is valid now; ask the platform for a new invitation",
            code="CERTIFICATE_EXPIRED",
        )
    if certified != _parsed_tls_key(key.reveal()).public_key():
        raise ConfigurationError(
            "certificate: expected the one of our key; finish with noren-company keys rotate tls",
            code="KEY_ROTATION_UNFINISHED",
        )
    return TlsIdentity(key.reveal(), chain, authority)


def _key(company_dir: Path, name: str) -> SecretBytes:
    secret = secrets_of(company_dir).read(name)
    if secret is None:
        raise ConfigurationError(f"expected {name} in the company's directory, got none")
    return secret


def _tls_key(company_dir: Path, name: str = TLS_KEY) -> ec.EllipticCurvePrivateKey:
    return _parsed_tls_key(_key(company_dir, name).reveal())


def _parsed_tls_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("keys/tls.key: expected an EC key in PEM, got something else") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError("keys/tls.key: expected an EC key, got another kind")
    return key


def _tls_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _public_der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)


_MAKERS: dict[CompanyKey, Callable[[], bytes]] = {
    CompanyKey.SIGNING: lambda: SigningKey.generate().to_bytes(),
    CompanyKey.SEALING: lambda: SealingKey.generate().to_bytes(),
    CompanyKey.TLS: lambda: _tls_key_pem(ec.generate_private_key(ec.SECP256R1())),
    CompanyKey.NODE: generate_node_key,
}

"""What the platform's authority certifies, and what it refuses."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from noren_core.errors import ConfigurationError, DataError
from noren_server.certificates import CertificateAuthority, certificate_sha256

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def authority() -> CertificateAuthority:
    """A new authority."""
    return CertificateAuthority.create(name="job-site", now=NOW)


def request_for(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, name: str = "anything") -> bytes:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def policy(authority: CertificateAuthority, at: datetime) -> PolicyBuilder:
    root = x509.load_pem_x509_certificate(authority.certificate_pem)
    return PolicyBuilder().store(Store([root])).time(at)


def test_a_client_certificate_names_the_company_and_nothing_from_the_request(
    authority: CertificateAuthority,
) -> None:
    """Name and URI are the platform's choice; only the key comes from the request."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = authority.issue_client(request_for(key, "administrator"), "alpha", now=NOW)
    leaf = x509.load_pem_x509_certificates(chain)[0]
    assert leaf.subject.rfc4514_string() == "CN=alpha"
    assert leaf.public_key() == key.public_key()
    verified = policy(authority, NOW).build_client_verifier().verify(leaf, [])
    assert verified.subjects == [x509.UniformResourceIdentifier("noren:company:alpha")]
    assert certificate_sha256(chain) == leaf.fingerprint(hashes.SHA256())


def test_a_client_certificate_does_not_serve(authority: CertificateAuthority) -> None:
    """A company cannot pass for the platform, nor sign for others, with what it was given."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = x509.load_pem_x509_certificate(authority.issue_client(request_for(key), "localhost", now=NOW))
    server_verifier = policy(authority, NOW).build_server_verifier(x509.DNSName("localhost"))
    with pytest.raises(VerificationError):
        server_verifier.verify(leaf, [])
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize("days", [-1, 398])
def test_a_certificate_is_valid_for_a_limited_time(authority: CertificateAuthority, days: int) -> None:
    """Neither before it was issued nor after its last day does a certificate verify."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = x509.load_pem_x509_certificate(authority.issue_client(request_for(key), "alpha", now=NOW))
    with pytest.raises(VerificationError):
        policy(authority, NOW + timedelta(days=days)).build_client_verifier().verify(leaf, [])


def test_a_server_certificate_is_for_the_given_hosts_only(authority: CertificateAuthority) -> None:
    """Host names and addresses are in it, others are not; it is for the fresh key, which is not shown."""
    tls = authority.issue_server(["127.0.0.1", "noren.example"], now=NOW)
    leaf = x509.load_pem_x509_certificates(tls.certificate)[0]
    key = serialization.load_pem_private_key(tls.key, None)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    for subject in (loopback, x509.DNSName("noren.example")):
        policy(authority, NOW).build_server_verifier(subject).verify(leaf, [])
    with pytest.raises(VerificationError):
        policy(authority, NOW).build_server_verifier(x509.DNSName("other.example")).verify(leaf, [])
    assert leaf.public_key() == key.public_key()
    assert "PRIVATE" not in repr(tls)


def test_requests_that_are_not_ours_to_sign_are_refused(authority: CertificateAuthority) -> None:
    """Another curve, another algorithm, a broken self-signature and other bytes."""
    good = request_for(ec.generate_private_key(ec.SECP256R1()))
    for request in (
        request_for(ec.generate_private_key(ec.SECP384R1())),
        request_for(ed25519.Ed25519PrivateKey.generate()),
        good[:-1] + bytes([good[-1] ^ 1]),
        b"not a request",
        b"",
        bytes(5000),
    ):
        with pytest.raises(DataError):
            authority.issue_client(request, "alpha", now=NOW)


@pytest.mark.parametrize("hosts", [[], ["bad host"], ["*"], [""]])
def test_malformed_hosts_are_refused(authority: CertificateAuthority, hosts: list[str]) -> None:
    """No host, or one that is neither a name nor an address."""
    with pytest.raises(ConfigurationError):
        authority.issue_server(hosts, now=NOW)


def test_an_authority_is_loaded_as_a_pair(authority: CertificateAuthority) -> None:
    """Key and certificate give the same authority again; another's certificate, or damage, is noticed."""
    loaded = CertificateAuthority.from_pem(authority.key_pem, authority.certificate_pem)
    assert loaded.certificate_pem == authority.certificate_pem
    other = CertificateAuthority.create(name="job-site", now=NOW)
    for key, certificate in (
        (authority.key_pem, other.certificate_pem),
        (authority.key_pem[:-40], authority.certificate_pem),
        (authority.key_pem, b""),
    ):
        with pytest.raises(ConfigurationError):
            CertificateAuthority.from_pem(key, certificate)

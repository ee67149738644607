"""The checks of `noren-company doctor` that go over the network, to the platform's three ports only.

Promises: nothing but a TLS handshake, and on the fleet port one request for a page that does not exist, is
sent; no key and no certificate of ours is shown. What an untrusted party presents is named, never believed.
"""

from __future__ import annotations

import email.utils
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from noren_client import outbound
from noren_client.config import Addresses
from noren_client.outbound import NetworkSettings, Proxy, ProxyError
from noren_client.setup.findings import Check, Finding, Result
from noren_core.errors import NorenError

TIMEOUT_SECONDS = 10.0
OFF_SECONDS, FAR_OFF_SECONDS = 60, 300
"""Certificates are dated five minutes back (docs/protocol.md §0), and no signature is further ahead."""

_MAX_ANSWER_BYTES = 16 << 10
_NOT_SIGNED = (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Way:
    """How the platform is reached.

    Attributes:
        authority: the platform's root certificate, PEM.
    """

    addresses: Addresses
    authority: bytes
    network: NetworkSettings


@dataclass(frozen=True, slots=True)
class _Port:
    host: str
    port: int
    protocol: str  # for ALPN: gRPC answers nobody who does not offer it

    def values(self, proxy: Proxy | None) -> dict[str, str]:
        address = "" if proxy is None else proxy.address
        return {"host": self.host, "port": str(self.port), "proxy": address}


def all_checks(way: Way, *, clock: Callable[[], float], version: Callable[[], Finding]) -> Iterator[Finding]:
    """Proxy, TLS, clock, version; what makes no sense any more is not asked.

    Args:
        way: how the platform is reached.
        clock: this machine's, Unix seconds.
        version: the last check, which needs a certificate of ours.
    """
    yield (proxied := proxy(way))
    if proxied.exit_code:
        yield from _not_asked(Check.TLS, Check.CLOCK, Check.VERSION)
        return
    yield (presented := tls(way))
    if presented.exit_code:
        yield from _not_asked(Check.CLOCK, Check.VERSION)
        return
    yield time_of(way, clock=clock)
    yield version()


def proxy(way: Way) -> Finding:
    """Whether a proxy is in the way, and lets us through."""
    results = {
        "PROXY_NOT_REACHED": Result.PROXY_NOT_REACHED,
        "PROXY_AUTHENTICATION": Result.PROXY_AUTHENTICATION,
    }
    found = Finding(Check.PROXY, Result.STRAIGHT)
    for port in _ports(way.addresses):
        proxied = outbound.proxy_for(way.network, port.host, port.port)
        if proxied is None:
            continue
        try:
            outbound.connect(way.network, port.host, port.port, timeout=TIMEOUT_SECONDS).close()
        except ProxyError as error:
            result = results.get(error.code, Result.PROXY_REFUSED)
            return Finding(Check.PROXY, result, port.values(proxied))
        found = Finding(Check.PROXY, Result.THROUGH_PROXY, port.values(proxied))
    return found


def tls(way: Way) -> Finding:
    """Whether every port presents a certificate of the platform's authority, or somebody else's.

    1. Whatever is presented is taken, to be looked at.
    2. Our pinned authority signed it; otherwise it is named.
    3. The same handshake, verified as every connection of ours is.
    """
    pinned = x509.load_pem_x509_certificate(way.authority)
    for port in _ports(way.addresses):
        values = port.values(None) | {"pinned": _sha256(pinned)}
        try:
            presented = _presented(way, port)  # 1
        except ssl.SSLError:
            return Finding(Check.TLS, Result.NO_TLS, values)
        except (OSError, NorenError):
            return Finding(Check.TLS, Result.NOT_REACHED, values)
        if not _is_signed_by(presented, pinned):  # 2
            seen = {"issuer": _name_of_issuer(presented), "seen": _sha256(presented)}
            is_ours = any(_is_signed_by(presented, own) for own in _own_authorities(way.network))
            result = Result.INSPECTED_BY_OURS if is_ours else Result.INSPECTED
            return Finding(Check.TLS, result, values | seen)
        try:
            with _verified(way, port):  # 3
                pass
        except ssl.SSLError:
            return Finding(Check.TLS, Result.OTHER_NAME, values)
        except (OSError, NorenError):
            return Finding(Check.TLS, Result.NOT_REACHED, values)
    return Finding(Check.TLS, Result.PINNED, values)


def time_of(way: Way, *, clock: Callable[[], float]) -> Finding:
    """How far this machine's clock is from the platform's, as a verified answer dates itself."""
    fleet = _ports(way.addresses)[-1]
    try:
        with _verified(way, fleet) as connection:
            connection.sendall(
                f"GET / HTTP/1.1\r\nHost: {fleet.host}\r\nConnection: close\r\n\r\n".encode("ascii")
            )
            theirs = _date(_answer(connection))
    except (OSError, NorenError, UnicodeError):
        theirs = None
    if theirs is None:
        return Finding(Check.CLOCK, Result.NO_TIME)
    seconds = round(abs(clock() - theirs))
    result = Result.ON_TIME
    if seconds > OFF_SECONDS:
        result = Result.FAR_OFF if seconds > FAR_OFF_SECONDS else Result.OFF
    return Finding(Check.CLOCK, result, {"seconds": str(seconds)})


def compare_versions(ours: str, theirs: str) -> Finding:
    """Whether two releases speak with each other: those of one major version do."""
    values = {"ours": ours, "theirs": theirs}
    if not theirs:
        return Finding(Check.VERSION, Result.NO_VERSION, values)
    left, right = (tuple(map(int, version.split(".")[:3])) for version in (ours, theirs))
    if left[0] != right[0]:
        return Finding(Check.VERSION, Result.INCOMPATIBLE, values)
    if left[:2] == right[:2]:
        return Finding(Check.VERSION, Result.SAME_VERSION, values)
    return Finding(Check.VERSION, Result.OLDER if left < right else Result.NEWER, values)


def _not_asked(*checks: Check) -> Iterator[Finding]:
    for check in checks:
        yield Finding(check, Result.NOT_ASKED)


def _ports(addresses: Addresses) -> list[_Port]:
    given = ((addresses.enrolment, "h2"), (addresses.service, "h2"), (addresses.fleet, "http/1.1"))
    return [_Port(*outbound.split_address(address), protocol) for address, protocol in given]


def _presented(way: Way, port: _Port) -> x509.Certificate:
    """What is at the other end, whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, not believed
    context.set_alpn_protocols([port.protocol])
    with (
        outbound.connect(way.network, port.host, port.port, timeout=TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=port.host) as connection,
    ):
        presented = connection.getpeercert(binary_form=True)
    if presented is None:
        raise ssl.SSLError("no certificate")
    return x509.load_der_x509_certificate(presented)


@contextmanager
def _verified(way: Way, port: _Port) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cadata=way.authority.decode("ascii"))
    context.set_alpn_protocols([port.protocol])
    with (
        outbound.connect(way.network, port.host, port.port, timeout=TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=port.host) as connection,
    ):
        yield connection


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except _NOT_SIGNED:
        return False
    return True


def _own_authorities(network: NetworkSettings) -> list[x509.Certificate]:
    if not network.authority:
        return []
    try:
        return x509.load_pem_x509_certificates(Path(network.authority).read_bytes())
    except (OSError, ValueError):
        return []


def _name_of_issuer(certificate: x509.Certificate) -> str:
    """Its common name, or all of it; what a stranger wrote there is shown as plain text only."""
    names = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    text = str(names[0].value) if names else certificate.issuer.rfc4514_string()
    return "".join(letter for letter in text if letter.isprintable())[:100]


def _sha256(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _answer(connection: socket.socket) -> bytes:
    answer = bytearray()
    while b"\r\n\r\n" not in answer and len(answer) < _MAX_ANSWER_BYTES and (part := connection.recv(4096)):
        answer += part
    return bytes(answer)


def _date(answer: bytes) -> float | None:
    for line in answer.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"date":
            try:
                return email.utils.parsedate_to_datetime(value.strip().decode("ascii")).timestamp()
            except (UnicodeError, ValueError):
                return None
    return None

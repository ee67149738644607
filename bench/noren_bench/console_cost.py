"""The console's first page, with the platform's files as full as after a season of applications.

Companies are enrolled by real requests, and every application has a consent in the book. What is measured is
the whole page over TLS on loopback, as a browser asks for it: from its request to its last byte.
"""

from __future__ import annotations

import json
import re
import secrets
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from noren_bench.consent_cost import Student
from noren_bench.measurement import Goal, Row
from noren_core.crypto.identity import SealingKey, SigningKey, fingerprint
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.season.participation import agreement_sha256
from noren_server.certificates import key_sha256
from noren_server.consents.opening import consent_service, unix_now
from noren_server.console import listening, totp
from noren_server.console.accounts import Accounts, ConsoleRole
from noren_server.enrolment import CompanyRequest
from noren_server.platform_files import AUTHORITY, Platform, initialise
from noren_server.platform_secrets import secrets_of

COMPANIES, APPLICATIONS = 40, 100_000
PAGE_MILLISECONDS = 300.0

_PAGES = ("/", "/companies", "/enrolment", "/trail")
_REPEATS = 15
_AT_ONCE = 5_000
_WAITING = 3


def row(*, companies: int = COMPANIES, applications: int = APPLICATIONS) -> Row:
    """Milliseconds of the first page, the median; other pages of the frame as details."""
    with tempfile.TemporaryDirectory(prefix="noren-bench-") as place:
        directory = Path(place) / "platform"
        platform = initialise(directory, name="jobs", host="127.0.0.1", ports=(0, 0, 0, 0))
        for number in range(companies + _WAITING):
            _enrol(platform, f"company-{number}", is_approved=number < companies)
        _apply(platform, applications)
        with _signed_in(directory) as client:
            found = {path: _milliseconds(client, path) for path in _PAGES}
    first = found["/"]
    return Row(
        work=f"the console's first page with {companies} companies and {applications:,} applications",
        unit="ms",
        ours=first,
        goals=(Goal("first page in ms, wall time", first, PAGE_MILLISECONDS),),
        details={f"page{path.replace('/', '_')}_ms": value for path, value in found.items()},
    )


def _milliseconds(client: httpx.Client, path: str) -> float:
    """The median over several requests, on a connection that is open."""
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        answer = client.get(path)
        times.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            raise RuntimeError(f"console: expected {path} to answer, got {answer.status_code}")
    return sorted(times)[_REPEATS // 2]


def _enrol(platform: Platform, company: str, *, is_approved: bool) -> None:
    """A company with keys of its own that asks to enrol, and is let in."""
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
    agreed = {"company": company, "agreement_sha256": agreement_sha256(), "declared_size": 2500}
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, company)])
    possession = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(tls, hashes.SHA256())
    request = CompanyRequest(
        sign_entry(EntryKind.ENROLMENT, company, enrolled, signing),
        sign_entry(EntryKind.AGREEMENT, company, agreed, signing),
        possession.public_bytes(Encoding.DER),
        node.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
    platform.enrolment.request(code, request, address="127.0.0.1")
    if is_approved:
        platform.enrolment.approve(company, fingerprint(signing.public_key))


def _apply(platform: Platform, applications: int) -> None:
    """One consent in the book for every application."""
    with consent_service(platform) as service:
        for first in range(0, applications, _AT_ONCE):
            people = [Student(f"s{number}") for number in range(first, min(first + _AT_ONCE, applications))]
            events = [event for person in people for event in person.consents(platform.consent_key)]
            service.book.record_all(events, now=unix_now())


@contextmanager
def _signed_in(directory: Path) -> Iterator[httpx.Client]:
    """A browser of a privacy officer, who sees most, at the console over TLS."""
    accounts = Accounts(directory, secrets_of(directory), unix_now)
    accounts.add("boss", [ConsoleRole.ADMINISTRATOR])
    code = accounts.add("yuki", [ConsoleRole.PRIVACY_OFFICER])
    secret, password = totp.new_secret(), secrets.token_urlsafe(24)
    step = unix_now() // totp.STEP_SECONDS
    codes = accounts.join("yuki", code, password=password, secret=secret, typed=totp.code_of(secret, step))
    where = listening.choose("127.0.0.1:0", tls=True, files=(None, None), public_name="")
    trust = ssl.create_default_context(cafile=str(directory / AUTHORITY))
    with (
        listening.running(directory, where, clock=unix_now) as address,
        httpx.Client(base_url=address, verify=trust, trust_env=False, timeout=60) as client,
    ):
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/sign-in").text)
        form = {"name": "yuki", "password": password, "code": codes[0], "csrf": found[1] if found else ""}
        client.post("/sign-in", data=form, headers={"origin": address.rstrip("/")})
        yield client

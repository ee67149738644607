"""The platform's directory: what is where, and the platform as one opened thing.

config.toml     name, addresses and ports; witnesses of the ledger, auditors and public names of the students'
                pages, if there are any
keys/           keys of platform, ledger, assignment and consent service (0600); vault.json if protected
ca/             the private certificate authority
tls/            server certificate and key for gRPC and the fleet proxy
ledger.db       the transparency ledger
platform.db     companies, campaigns, keys, counters
consents.db     the consent book
logs/events/    behaviour logs in the generic format
logs/seasons.toml
embeddings/     integer embeddings per campaign, company and season (never leave the platform)
tables/         sealed tables
flower/         the SuperLink's own files
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from noren_core import ids, toml_text
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.ledger.cosignature import CosignerKey
from noren_core.ledger.entries import CompanyKey
from noren_core.ledger.note import VerifierKey
from noren_core.season.plan import CampaignPlan
from noren_local import loopback, passphrase
from noren_local.private_file import write_private
from noren_server.certificates import CertificateAuthority, ServerTls
from noren_server.enrolment import EnrolmentDesk, PlatformAddresses, PlatformFacts, utc_now
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.platform_secrets import secrets_of
from noren_server.store import DATABASE_NAME, Store
from noren_server.superlink import bundle_sha256
from noren_server.witnesses import WitnessAddress, WitnessPanel

SERVER_CERTIFICATE = "tls/server.pem"

PLATFORM_KEY, LOG_KEY, RETIRING_LOG_KEY = "keys/platform.key", "keys/log.key", "keys/log.retiring.key"
SERVER_KEY = "tls/server.key"

ASSIGNMENT_KEY, CONSENT_KEY = "keys/assignment.key", "keys/consent.key"
AUTHORITY_KEY, AUTHORITY = "ca/ca.key", "ca/ca.pem"
_PORTS = ("enrolment_port", "service_port", "fleet_port", "student_port")
_WITNESS_FIELDS = {"url": str, "key": str}
_AUDITOR_FIELDS = {"name": str, "key": str}
_HOST = re.compile(r"[a-z0-9.-]{1,253}(:[0-9]{1,5})?\Z")
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Auditor:
    """Whose word counts on coverage and on resuming the service."""

    name: str
    key: bytes


@dataclass(frozen=True, slots=True)
class PlatformConfig:
    """config.toml: how this platform calls itself and where companies reach it.

    `console` is its table of that name, which `noren_server.console.oidc` reads.
    """

    name: str
    origin: str
    host: str
    enrolment_port: int
    service_port: int
    fleet_port: int
    student_port: int
    witnesses: tuple[WitnessAddress, ...] = ()
    witness_quorum: int = 0
    auditors: tuple[Auditor, ...] = ()
    console: Mapping[str, Any] = field(default_factory=dict)
    student_hosts: tuple[str, ...] = ()

    @property
    def addresses(self) -> PlatformAddresses:
        """Where companies reach the services."""
        return PlatformAddresses(
            enrolment=f"{self.host}:{self.enrolment_port}",
            service=f"{self.host}:{self.service_port}",
            fleet=f"{self.host}:{self.fleet_port}",
        )


class Platform:
    """An initialised platform directory, opened."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = _read_config(directory)

    @cached_property
    def signing_key(self) -> SigningKey:
        """What the platform signs and countersigns entries with."""
        return self.key(PLATFORM_KEY)

    @cached_property
    def log_key(self) -> SigningKey:
        """What the platform signs checkpoints with."""
        return self.key(LOG_KEY)

    @cached_property
    def ledger_store(self) -> LedgerStore:
        """The ledger's file."""
        return open_ledger(self)

    @cached_property
    def ledger(self) -> LedgerService:
        """The one way to write the ledger."""
        panel = WitnessPanel(self.config.witnesses, self.config.witness_quorum)
        return LedgerService(self.ledger_store, self.signing_key, panel)

    @cached_property
    def store(self) -> Store:
        """The operational database."""
        return Store.open(self.directory / DATABASE_NAME, secrets_of(self.directory))

    @cached_property
    def authority(self) -> CertificateAuthority:
        """The private certificate authority."""
        certificate = _public_file(self.directory / AUTHORITY)
        return CertificateAuthority.from_pem(self._secret(AUTHORITY_KEY).reveal(), certificate)

    @property
    def server_tls(self) -> ServerTls:
        """What gRPC and the fleet proxy present."""
        return ServerTls(
            key=self._secret(SERVER_KEY).reveal(),
            certificate=_public_file(self.directory / SERVER_CERTIFICATE),
            authority=_public_file(self.directory / AUTHORITY),
        )

    @cached_property
    def enrolment(self) -> EnrolmentDesk:
        """Invitations, requests and approvals."""
        return EnrolmentDesk(self.store, self.ledger, self.authority, self.facts, clock=utc_now)

    @property
    def facts(self) -> PlatformFacts:
        """What invitations state about this platform."""
        return PlatformFacts(
            name=self.config.name,
            addresses=self.config.addresses,
            log_key=self.log_verifier_key.to_text(),
            platform_key=self.signing_key.public_key,
            bundle_sha256=bundle_sha256(),
        )

    @property
    def log_verifier_key(self) -> VerifierKey:
        """The public key of the ledger's checkpoints."""
        return VerifierKey(self.config.origin, self.log_key.public_key)

    @property
    def assignment_key(self) -> bytes:
        """Keys the assignment of students to one training company per campaign."""
        return self._secret(ASSIGNMENT_KEY).reveal()

    @property
    def consent_key(self) -> SigningKey:
        """What the consent service signs events and receipts with."""
        return self.key(CONSENT_KEY)

    def plan(self, campaign: str) -> CampaignPlan:
        """The plan of a published campaign; LocalProtocolError if there is none."""
        with self.store.transaction() as transaction:
            found = transaction.campaign(ids.parse_name(campaign, "campaign"))
        if found is None:
            raise LocalProtocolError("expected the name of a published campaign, got another")
        return found.plan

    def signing_keys(self, companies: Iterable[str]) -> dict[str, bytes]:
        """The signing keys that these companies have now, by the ledger."""
        keys, size = self.ledger.keys(), self.ledger_store.size
        return {c: bytes.fromhex(keys.key_at(c, CompanyKey.SIGNING, size)) for c in companies}

    def key(self, name: str) -> SigningKey:
        """The signing key in this file; ConfigurationError if it is missing or damaged."""
        return SigningKey.from_bytes(self._secret(name).buffer)

    def progress_path(self, campaign: str) -> Path:
        """Where a run tells the operator how far it is."""
        directory = self.directory / "progress"
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory / f"{ids.parse_name(campaign, 'campaign')}.json"

    def _secret(self, name: str) -> SecretBytes:
        secret = secrets_of(self.directory).read(name)
        if secret is None:
            raise ConfigurationError(f"expected {name} in the platform's directory, got none")
        return secret


def open_ledger(platform: Platform, *, exclusively: bool = False) -> LedgerStore:
    """The platform's ledger with its current log key and, after a change of it, the retiring one."""
    secrets = secrets_of(platform.directory)
    retiring = secrets.read(RETIRING_LOG_KEY)
    return LedgerStore(
        platform.directory / "ledger.db",
        origin=platform.config.origin,
        log_key=platform.log_key,
        retiring_log_key=None if retiring is None else SigningKey.from_bytes(retiring.buffer),
        exclusively=exclusively,
    )


def _public_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"expected {path.name} in the platform's directory, got none") from error


def initialise(directory: Path, *, name: str, host: str, ports: tuple[int, int, int, int]) -> Platform:
    """Make a new platform: keys, certificates, an empty ledger with its first entry.

    Port 0 takes one that is free on loopback. Every secret is sealed from the start if a passphrase is
    configured (`noren_local.passphrase`).

    Raises:
        LocalProtocolError: if the directory holds a platform already; keys are never overwritten.
    """
    if (directory / "config.toml").exists() or any((directory / "keys").glob("*.key")):
        raise LocalProtocolError("expected a directory without a platform, got one with keys")
    ids.parse_name(name, "platform name")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "keys").mkdir(mode=0o700, exist_ok=True)
    secrets = secrets_of(directory)
    secrets.protect_new(passphrase.configured())
    authority = CertificateAuthority.create(name=name, now=utc_now())
    server = authority.issue_server(server_hosts(host), now=utc_now())
    for key in (PLATFORM_KEY, LOG_KEY, ASSIGNMENT_KEY, CONSENT_KEY):
        secrets.write(key, SigningKey.generate().to_bytes())
    secrets.write(AUTHORITY_KEY, authority.key_pem)
    secrets.write(SERVER_KEY, server.key)
    write_private(directory / AUTHORITY, authority.certificate_pem)
    write_private(directory / SERVER_CERTIFICATE, server.certificate)
    chosen = [port or loopback.free_port() for port in ports]
    lines = [f'name = "{name}"', f'origin = "{name}/ledger"', f'host = "{host}"']
    lines += [f"{field} = {port}" for field, port in zip(_PORTS, chosen, strict=True)]
    write_private(directory / "config.toml", ("\n".join(lines) + "\n").encode())
    platform = Platform(directory)
    platform.ledger.append_platform_entry(
        "log-start",
        {
            "origin": platform.config.origin,
            "platform_key": platform.signing_key.public_key.hex(),
            "log_key": platform.log_verifier_key.to_text(),
        },
    )
    return platform


def server_hosts(host: str) -> list[str]:
    """The names and addresses that the server certificate is for."""
    return sorted({host, "localhost", "127.0.0.1"})


def trust_file(platform: Platform) -> str:
    """What an auditor is given out of band: the two keys that everything else hangs on."""
    return (
        f'origin = "{platform.config.origin}"\n'
        f'log_key = "{platform.log_verifier_key.to_text()}"\n'
        f'platform_key = "{platform.signing_key.public_key.hex()}"\n'
    )


def _read_config(directory: Path) -> PlatformConfig:
    path = directory / "config.toml"
    try:
        fields = toml_text.parse(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            "expected a platform directory (run noren-platform init), got none"
        ) from error
    except DataError as error:
        raise ConfigurationError(f"config.toml: {error.message}") from error
    witnesses = _read_witnesses(fields.pop("witness", []))
    auditors = _read_auditors(fields.pop("auditor", []))
    quorum = fields.pop("witness_quorum", 0)
    student_hosts = _read_student_hosts(fields.pop("student_hosts", []))
    console = fields.pop("console", {})
    if not isinstance(console, dict):
        raise ConfigurationError("config.toml: expected console to be a table")
    kinds = {"name": str, "origin": str, "host": str, **dict.fromkeys(_PORTS, int)}
    if {name: type(value) for name, value in fields.items()} != kinds or type(quorum) is not int:
        raise ConfigurationError("config.toml: expected name, origin, host and four ports, got others")
    return PlatformConfig(
        **fields,
        witnesses=witnesses,
        witness_quorum=quorum,
        auditors=auditors,
        console=console,
        student_hosts=student_hosts,
    )


def _read_student_hosts(names: Any) -> tuple[str, ...]:
    """The public names of the students' pages, as browsers send them: with a port unless it is 443."""
    if not isinstance(names, list) or not all(isinstance(name, str) and _HOST.match(name) for name in names):
        raise ConfigurationError("config.toml: student_hosts: expected a list of host names in lower case")
    return tuple(names)


def _read_witnesses(tables: Any) -> tuple[WitnessAddress, ...]:
    """The tables `[[witness]]`: where each listens, and its verifier key."""
    found = []
    for table in tables if isinstance(tables, list) else [tables]:
        if not isinstance(table, dict) or {name: type(v) for name, v in table.items()} != _WITNESS_FIELDS:
            raise ConfigurationError("config.toml: expected every [[witness]] to have exactly url and key")
        try:
            found.append(WitnessAddress(table["url"], CosignerKey.from_text(table["key"])))
        except DataError as error:
            raise ConfigurationError(f"config.toml: witness: {error.message}") from error
    return tuple(found)


def _read_auditors(tables: Any) -> tuple[Auditor, ...]:
    """The tables `[[auditor]]`: a name and an Ed25519 public key in hex."""
    found = []
    for table in tables if isinstance(tables, list) else [tables]:
        if not isinstance(table, dict) or {name: type(v) for name, v in table.items()} != _AUDITOR_FIELDS:
            raise ConfigurationError("config.toml: expected every [[auditor]] to have exactly name and key")
        if not _PUBLIC_KEY.match(table["key"]):
            raise ConfigurationError("config.toml: auditor: expected a key of 64 lower-case hex digits")
        found.append(Auditor(table["name"], bytes.fromhex(table["key"])))
    return tuple(found)

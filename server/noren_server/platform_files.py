"""The platform's directory: what is where, and the platform as one opened thing.

config.toml     name, addresses and ports
keys/           platform signing key, ledger signing key, assignment key (0600)
ca/             the private certificate authority
tls/            server certificate and key for gRPC and the fleet proxy
ledger.db       the transparency ledger
platform.db     companies, campaigns, keys, counters
logs/events/    behaviour logs in the generic format
logs/consents.csv, logs/seasons.toml
embeddings/     integer embeddings per campaign, company and season (never leave the platform)
tables/         sealed tables
flower/         the SuperLink's own files
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from noren_core import ids
from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_core.ledger.note import VerifierKey
from noren_core.season.plan import CampaignPlan
from noren_server.certificates import CertificateAuthority
from noren_server.enrolment import EnrolmentDesk, PlatformAddresses, PlatformFacts, utc_now
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.private_file import write_private
from noren_server.processes import free_loopback_port
from noren_server.store import Store
from noren_server.superlink import bundle_sha256

_PORTS = ("enrolment_port", "service_port", "fleet_port")


@dataclass(frozen=True, slots=True)
class PlatformConfig:
    """config.toml: how this platform calls itself and where companies reach it."""

    name: str
    origin: str
    host: str
    enrolment_port: int
    service_port: int
    fleet_port: int

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
        return SigningKey.from_bytes(self._key("platform.key"))

    @cached_property
    def ledger_store(self) -> LedgerStore:
        """The ledger's file."""
        log_key = SigningKey.from_bytes(self._key("log.key"))
        return LedgerStore(self.directory / "ledger.db", origin=self.config.origin, log_key=log_key)

    @cached_property
    def ledger(self) -> LedgerService:
        """The one way to write the ledger."""
        return LedgerService(self.ledger_store, self.signing_key)

    @cached_property
    def store(self) -> Store:
        """The operational database."""
        return Store.open(self.directory / "platform.db")

    @cached_property
    def authority(self) -> CertificateAuthority:
        """The private certificate authority."""
        return CertificateAuthority.load(self.directory / "ca")

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
        return VerifierKey(self.config.origin, SigningKey.from_bytes(self._key("log.key")).public_key)

    @property
    def assignment_key(self) -> bytes:
        """Keys the assignment of students to one training company per campaign."""
        return self._key("assignment.key")

    def plan(self, campaign: str) -> CampaignPlan:
        """The plan of a published campaign; LocalProtocolError if there is none."""
        with self.store.transaction() as transaction:
            found = transaction.campaign(ids.parse_name(campaign, "campaign"))
        if found is None:
            raise LocalProtocolError("expected the name of a published campaign, got another")
        return found.plan

    def signing_keys(self, companies: Iterable[str]) -> dict[str, bytes]:
        """The enrolled signing keys of these companies."""
        with self.store.transaction() as transaction:
            known = {company.name: company.signing_key for company in transaction.companies()}
        return {company: known[company] for company in companies}

    def progress_path(self, campaign: str) -> Path:
        """Where a run tells the operator how far it is."""
        directory = self.directory / "progress"
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory / f"{ids.parse_name(campaign, 'campaign')}.json"

    def _key(self, name: str) -> bytes:
        try:
            return (self.directory / "keys" / name).read_bytes()
        except FileNotFoundError as error:
            raise ConfigurationError(f"expected keys/{name} in the platform's directory, got none") from error


def initialise(directory: Path, *, name: str, host: str, ports: tuple[int, int, int]) -> Platform:
    """Make a new platform: keys, certificates, an empty ledger with its first entry.

    Port 0 takes one that is free on loopback.

    Raises:
        LocalProtocolError: if the directory holds a platform already; keys are never overwritten.
    """
    if (directory / "config.toml").exists():
        raise LocalProtocolError("expected a directory without a platform, got one with a config.toml")
    ids.parse_name(name, "platform name")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key in ("platform.key", "log.key", "assignment.key"):
        write_private(directory / "keys" / key, SigningKey.generate().to_bytes())
    authority = CertificateAuthority.create(directory / "ca", name=name, now=utc_now())
    authority.issue_server(
        sorted({host, "localhost", "127.0.0.1"}),
        key_path=directory / "tls" / "server.key",
        certificate_path=directory / "tls" / "server.pem",
        now=utc_now(),
    )
    chosen = [port or free_loopback_port() for port in ports]
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
        return PlatformConfig(**tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigurationError(
            "expected a platform directory (run noren-platform init), got none"
        ) from error
    except (tomllib.TOMLDecodeError, TypeError, UnicodeDecodeError) as error:
        raise ConfigurationError("config.toml: expected name, origin, host and three ports") from error

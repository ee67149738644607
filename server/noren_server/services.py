"""Everything `noren-platform serve` keeps running: gRPC and the students' API here, the rest as children.

If one of them ends, all end: a platform that answers half of its questions is harder to notice than one
that is down, and the operator's service manager starts it again.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from noren_core.errors import LocalProtocolError
from noren_core.season.plan import CampaignPlan
from noren_local import passphrase
from noren_local.private_file import in_memory, write_private
from noren_server import publication
from noren_server.company_keys import KeyDesk
from noren_server.consents.opening import unix_now
from noren_server.coverage.opening import is_clear
from noren_server.enrolment import utc_now
from noren_server.fleet_proxy import FleetProxySettings
from noren_server.gate import Gate
from noren_server.grpc_service import PlatformParts, RunningService
from noren_server.grpc_service import serve as serve_grpc
from noren_server.platform_files import SERVER_CERTIFICATE, Platform
from noren_server.platform_secrets import secrets_of
from noren_server.processes import Child, Supervisor, is_listening
from noren_server.publication import Consents
from noren_server.rights.opening import publication_consents, rights_of, table_publisher
from noren_server.rights.service_states import service_desk
from noren_server.rights.student_api import run_student_api
from noren_server.sealed_scoring import ScoreRows, SealedScoring
from noren_server.sealed_statistics import SealedStatistics
from noren_server.store import CompanyState
from noren_server.student_pages.student_site import hosts_of, student_site
from noren_server.superlink import Fleet, SuperlinkFiles, prepare_superlink
from noren_server.tables import TablePublisher
from noren_server.traffic_meter import FLEET_FILE, SERVICE_FILE, TrafficMeter


@contextmanager
def online_services(platform: Platform) -> Iterator[RunningService]:
    """Everything that companies and students reach, on the platform's ports, until the end of the block."""
    directory = platform.directory
    with ExitStack() as stack:
        consents = stack.enter_context(publication_consents(platform))
        rights = stack.enter_context(rights_of(platform, consents))
        publisher = table_publisher(platform, rights.provisions)
        desk = service_desk(platform)

        def rows(plan: CampaignPlan, company: str) -> ScoreRows:
            return publication.score_rows(consents, plan, company, embeddings_dir=directory / "embeddings")

        parts = PlatformParts(
            store=platform.store,
            gate=Gate(
                platform.store,
                platform.ledger,
                clock=unix_now,
                is_running=desk.is_running,
                is_covered=lambda campaign: is_clear(platform, campaign, now=unix_now()),
            ),
            ledger=platform.ledger,
            publisher=publisher,
            scoring=SealedScoring(
                platform.store, platform.ledger, publisher, rows, is_running=desk.is_running
            ),
            statistics=_statistics(platform, consents),
            revocations=rights.revocations,
            keys=KeyDesk(
                platform.store,
                platform.ledger,
                platform.authority,
                clock=utc_now,
                register_node=lambda company, key: _register_node(directory, company, key),
            ),
        )
        meter = TrafficMeter(directory / "run" / SERVICE_FILE)
        stack.callback(meter.close)
        running = serve_grpc(
            platform.enrolment,
            parts,
            platform.server_tls,
            rights=rights.parts,
            enrolment_address=platform.config.addresses.enrolment,
            service_address=platform.config.addresses.service,
            clock=utc_now,
            meter=meter,
        )
        stack.callback(running.stop)
        stack.enter_context(
            run_student_api(
                rights.students,
                host=platform.config.host,
                port=platform.config.student_port,
                private_key=platform.server_tls.key,
                certificate=directory / SERVER_CERTIFICATE,
                pages=student_site(platform, rights.students, hosts=hosts_of(platform)),
            )
        )
        yield running


@contextmanager
def sealed_statistics(platform: Platform) -> Iterator[SealedStatistics]:
    """The sealed sums of this platform, made of the rows whose consent is live."""
    with publication_consents(platform) as consents:
        yield _statistics(platform, consents)


def _statistics(platform: Platform, consents: Consents) -> SealedStatistics:
    directory = platform.directory
    publisher = TablePublisher(platform.store, platform.ledger, directory / "tables")

    def rows(plan: CampaignPlan, company: str) -> ScoreRows:
        return publication.training_rows(consents, plan, company, embeddings_dir=directory / "embeddings")

    return SealedStatistics(platform.store, platform.ledger, publisher, rows, directory / "statistics")


def serve(directory: Path) -> None:
    """Run everything until SIGTERM or SIGINT.

    Raises:
        LocalProtocolError: `CHILD_FAILED` if a child does not start, or ends while we run.
    """
    platform = Platform(directory)
    is_over = threading.Event()
    crashed: list[str] = []

    def on_crash(name: str, _status: int) -> None:
        crashed.append(name)
        is_over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_over.set())
    with (
        secrets_of(directory).held(),  # nobody converts the keys under running services
        passphrase.for_children(secrets_of(directory)),
        in_memory(platform.server_tls.key) as tls_key,
        Supervisor(directory / "run", on_crash=on_crash) as supervisor,
        online_services(platform),
    ):
        for child in prepare_superlink(directory):
            supervisor.start(child)
        supervisor.start(_proxy(platform, tls_key))
        _register_companies(platform)
        write_private(directory / "run" / "ready", b"ready\n")
        is_over.wait()
        (directory / "run" / "ready").unlink(missing_ok=True)
    if crashed:
        raise LocalProtocolError(f"expected all services to run, {crashed[0]} ended", code="CHILD_FAILED")


def _proxy(platform: Platform, tls_key: int) -> Child:
    """The fleet proxy as a process of its own: it faces the network and holds no key but its TLS key.

    It gets that key as an open file in memory and opens nothing of the platform's secrets itself.
    """
    superlink = SuperlinkFiles(platform.directory)
    config = platform.config
    settings = FleetProxySettings(
        host=config.host,
        port=config.fleet_port,
        certificate=platform.directory / SERVER_CERTIFICATE,
        private_key=Path(f"/proc/self/fd/{tls_key}"),
        upstream_address=superlink.address.read_text(),
        upstream_root_certificates=superlink.certificate,
        traffic_file=platform.directory / "run" / FLEET_FILE,
    )
    options = (
        "host",
        "port",
        "certificate",
        "private_key",
        "upstream_address",
        "upstream_root_certificates",
        "traffic_file",
    )
    arguments = [
        text for name in options for text in (f"--{name.replace('_', '-')}", str(getattr(settings, name)))
    ]
    return Child(
        "fleet-proxy",
        (sys.executable, "-m", "noren_server.fleet_proxy", *arguments),
        inherited=(tls_key,),
        is_ready=lambda: is_listening(config.host, config.fleet_port),
    )


def _register_node(directory: Path, company: str, node_key: bytes) -> None:
    with Fleet(directory) as fleet:
        fleet.register(company, node_key)


def _register_companies(platform: Platform) -> None:
    """Let every approved company's node in; those approved while we were down are not known to Flower."""
    with platform.store.transaction() as transaction:
        approved = [c for c in transaction.companies() if c.state is CompanyState.APPROVED]
    with Fleet(platform.directory) as fleet:
        for company in approved:
            fleet.register(company.name, company.node_key)

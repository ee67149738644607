"""The rights of a platform's directory, opened: what gRPC, the students' API and the commands work with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from noren_core.ids import TableKind
from noren_core.season.plan import CampaignPlan
from noren_server import publication
from noren_server.consents.consent_book import ConsentBook
from noren_server.consents.opening import consent_service, unix_now
from noren_server.coverage.opening import require_may_process
from noren_server.grpc_rights import RightsParts
from noren_server.logged_students import LoggedStudents
from noren_server.platform_files import Platform
from noren_server.publication import Consents
from noren_server.revocation import Revocations
from noren_server.rights.erasure_orders import ErasureDesk
from noren_server.rights.erasure_requests import ErasureRequests
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.retention import Retention
from noren_server.rights.student_api import StudentServices
from noren_server.rights.student_services import students_side
from noren_server.tables import TablePublisher

ERASURE_DATABASE = "erasure.db"


@dataclass(frozen=True, slots=True)
class Rights:
    """What is kept and answered for students' rights."""

    revocations: Revocations
    erasure: ErasureDesk
    provisions: ProvisionRecords
    parts: RightsParts
    students: StudentServices


@contextmanager
def provision_records(platform: Platform) -> Iterator[ProvisionRecords]:
    """The provision records of a platform."""
    with closing(ProvisionRecords.open(platform.directory)) as provisions:
        yield provisions


def table_publisher(platform: Platform, provisions: ProvisionRecords) -> TablePublisher:
    """The publisher of rows about persons: no table of it comes out before its rows are written down."""
    return TablePublisher(
        platform.store, platform.ledger, platform.directory / "tables", provided=provisions.seal
    )


@contextmanager
def publication_consents(platform: Platform) -> Iterator[Consents]:
    """What publication asks about consents, with provisions written down before they leave."""
    with (
        consent_service(platform) as service,
        closing(ProvisionRecords.open(platform.directory)) as provisions,
    ):
        yield Consents(
            service,
            provisions.write,
            unix_now,
            lambda campaign, company: require_may_process(platform, campaign, company, now=unix_now()),
        )


def revocations_of(platform: Platform, book: ConsentBook) -> Revocations:
    """The revocation lists of a platform's tables, by its consent book."""
    publisher = TablePublisher(platform.store, platform.ledger, platform.directory / "tables")

    def withdrawn(plan: CampaignPlan, company: str, kind: TableKind) -> Sequence[bytes]:
        return publication.withdrawn_identifiers(book, plan, company, kind)

    return Revocations(platform.store, publisher, platform.signing_key, withdrawn)


@contextmanager
def erasure_desk(platform: Platform, book: ConsentBook) -> Iterator[ErasureDesk]:
    """The erasure orders of a platform."""
    desk = ErasureDesk(
        platform.directory / ERASURE_DATABASE,
        store=platform.store,
        ledger=platform.ledger,
        key=platform.signing_key,
        revocations=revocations_of(platform, book),
        clock=unix_now,
    )
    with closing(desk):
        yield desk


@contextmanager
def opened_erasure_desk(platform: Platform) -> Iterator[ErasureDesk]:
    """The same for a command, with the consent book that revocation lists are made by."""
    with consent_service(platform) as service, erasure_desk(platform, service.book) as desk:
        yield desk


@contextmanager
def retention_of(platform: Platform) -> Iterator[Retention]:
    """What a platform keeps for a time."""
    with provision_records(platform) as provisions, opened_erasure_desk(platform) as desk:
        yield Retention(platform.directory, platform.store, provisions, desk)


@contextmanager
def rights_of(platform: Platform, consents: Consents) -> Iterator[Rights]:
    """Everything until the end of the block."""
    with ExitStack() as stack:
        book = consents.book
        provisions = stack.enter_context(closing(ProvisionRecords.open(platform.directory)))
        desk = stack.enter_context(erasure_desk(platform, book))
        requests = ErasureRequests(provisions, desk, platform.plan)
        side = stack.enter_context(
            students_side(
                platform,
                consents.service,
                provisions_of=provisions.of_student,
                is_logged=LoggedStudents(platform.directory / "logs").has,
                erase=requests.order,
            )
        )
        yield Rights(
            revocations=revocations_of(platform, book),
            erasure=desk,
            provisions=provisions,
            parts=RightsParts(
                store=platform.store,
                ledger=platform.ledger,
                mailboxes=side.mailboxes,
                inbox=side.inbox,
                erasure=desk,
            ),
            students=side.services,
        )

"""The rights of a platform's directory, opened: what gRPC, the students' API and the commands work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from noren_server.rights.disclosure import DisclosureDesk
from noren_server.rights.erasure_orders import ErasureDesk, OverdueOrders
from noren_server.rights.erasure_requests import DATABASE_NAME as REQUESTS_DATABASE
from noren_server.rights.erasure_requests import ErasureRequests
from noren_server.rights.inquiries import InquiryDesk
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.retention import Retention
from noren_server.rights.rights_file import open_rights_file
from noren_server.rights.service_changes import suspend_company
from noren_server.rights.student_api import StudentServices
from noren_server.rights.student_services import (
    company_signing_keys,
    disclosure_desk,
    students_side,
)
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
def erasure_desk(
    platform: Platform, book: ConsentBook, *, clock: Callable[[], int] = unix_now
) -> Iterator[ErasureDesk]:
    """The erasure orders of a platform."""
    desk = ErasureDesk(
        platform.directory / ERASURE_DATABASE,
        store=platform.store,
        ledger=platform.ledger,
        key=platform.signing_key,
        revocations=revocations_of(platform, book),
        clock=clock,
    )
    with closing(desk):
        yield desk


@contextmanager
def opened_erasure_desk(platform: Platform, *, clock: Callable[[], int] = unix_now) -> Iterator[ErasureDesk]:
    """The same for a command, with the consent book that revocation lists are made by."""
    with consent_service(platform) as service, erasure_desk(platform, service.book, clock=clock) as desk:
        yield desk


def sweep_erasure(
    platform: Platform, desk: ErasureDesk, *, clock: Callable[[], int] = unix_now
) -> OverdueOrders:
    """Mark what fell due without a certificate, and suspend those companies; run it daily."""
    return desk.sweep(lambda company: suspend_company(platform, company, reason="ORDER_OVERDUE", clock=clock))


@contextmanager
def officer_desks(
    platform: Platform, *, clock: Callable[[], int]
) -> Iterator[tuple[DisclosureDesk, InquiryDesk]]:
    """What the privacy officer answers at: disclosure requests, and inquiries."""
    with closing(open_rights_file(platform.directory)) as file, consent_service(platform) as consents:
        inquiries = InquiryDesk(file, lambda company: company_signing_keys(platform, company), clock=clock)
        yield disclosure_desk(platform, consents, file, clock=clock), inquiries


@contextmanager
def retention_of(platform: Platform) -> Iterator[Retention]:
    """What a platform keeps for a time."""
    with (
        provision_records(platform) as provisions,
        opened_erasure_desk(platform) as desk,
        erasure_requests(platform, provisions, desk) as requests,
    ):
        yield Retention(platform.directory, platform.store, provisions, desk, requests)


@contextmanager
def erasure_requests(
    platform: Platform, provisions: ProvisionRecords, desk: ErasureDesk
) -> Iterator[ErasureRequests]:
    """The wishes of a platform's students to be erased."""
    path = platform.directory / REQUESTS_DATABASE
    with closing(ErasureRequests(path, provisions, desk, platform.plan, clock=unix_now)) as requests:
        yield requests


@contextmanager
def rights_of(platform: Platform, consents: Consents) -> Iterator[Rights]:
    """Everything until the end of the block."""
    with ExitStack() as stack:
        book = consents.book
        provisions = stack.enter_context(closing(ProvisionRecords.open(platform.directory)))
        desk = stack.enter_context(erasure_desk(platform, book))
        requests = stack.enter_context(erasure_requests(platform, provisions, desk))
        side = stack.enter_context(
            students_side(
                platform,
                consents.service,
                provisions_of=provisions.of_student,
                is_logged=LoggedStudents(platform.directory / "logs").has,
                erase=requests.order,
                erasures_of=requests.of_student,
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

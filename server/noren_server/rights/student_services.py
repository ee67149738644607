"""The students' side of a platform's directory, opened: what the API and the company service work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from noren_core.ledger.entries import CompanyKey
from noren_server.consents.consent_service import ConsentService
from noren_server.consents.opening import receipt_terms, unix_now
from noren_server.platform_files import Platform
from noren_server.policies.evidence_file import EvidenceFile
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister
from noren_server.released_records import ReleasedRecords
from noren_server.rights.disclosure import DisclosureDesk
from noren_server.rights.erasure_status import ErasureStatus
from noren_server.rights.inbox import Inbox
from noren_server.rights.incidents import incident_desk
from noren_server.rights.inquiries import InquiryDesk
from noren_server.rights.link_offers import LinkOffers
from noren_server.rights.mailbox import Mailboxes
from noren_server.rights.notices import NoticeDesk
from noren_server.rights.rights_file import open_rights_file
from noren_server.rights.service_states import service_desk
from noren_server.rights.student_api import ErasureRequest, StudentServices
from noren_server.rights.student_auth import AccountCodes, StudentAuthenticator
from noren_server.rights.student_report import IsLogged, ProvisionsOf, StudentReports

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class StudentsSide:
    """What companies reach through gRPC, and what students reach through HTTPS."""

    mailboxes: Mailboxes
    inbox: Inbox
    services: StudentServices


@contextmanager
def students_side(
    platform: Platform,
    consents: ConsentService,
    *,
    provisions_of: ProvisionsOf,
    is_logged: IsLogged,
    erase: Callable[[ErasureRequest], None],
    erasures_of: Callable[[str], Sequence[ErasureStatus]],
    clock: Clock = unix_now,
) -> Iterator[StudentsSide]:
    """Everything until the end of the block.

    Args:
        platform: an opened directory.
        consents: its consent service.
        provisions_of: what was provided of a student.
        is_logged: whether there are behaviour logs of hers.
        erase: hands an erasure on.
        erasures_of: what became of a student's wishes to be erased.
        clock: Unix seconds.
    """
    with ExitStack() as stack:
        file = stack.enter_context(closing(open_rights_file(platform.directory)))
        policies = stack.enter_context(closing(PolicyBook.open(platform.directory)))
        screens = stack.enter_context(closing(ScreenRegister.open(platform.directory)))
        mailboxes = stack.enter_context(
            closing(Mailboxes.open(platform.directory, platform.signing_key, clock=clock))
        )
        incidents = stack.enter_context(incident_desk(platform, clock=clock))
        terms = stack.enter_context(receipt_terms(platform))
        codes = AccountCodes(file, clock=clock)
        services = StudentServices(
            consents=consents,
            receipts=lambda student: consents.receipts(student, terms, now=clock()),
            notices=NoticeDesk(policies, screens, consents, clock=clock),
            offers=LinkOffers(lambda: (platform.ledger.keys(), platform.ledger_store.size), clock=clock),
            mailboxes=mailboxes,
            disclosure=disclosure_desk(platform, consents, file, clock=clock),
            reports=StudentReports(
                consents.book,
                provisions_of,
                ReleasedRecords(platform.store).plans_of,
                is_logged,
                clock=clock,
            ),
            inquiries=InquiryDesk(file, lambda company: company_signing_keys(platform, company), clock=clock),
            incidents=incidents.notices,
            erase=erase,
            erasures_of=erasures_of,
            is_running=service_desk(platform, clock).is_running,
            codes=codes,
            authenticator=StudentAuthenticator(
                file, consents.book.student_key, codes, platform=platform.config.origin, clock=clock
            ),
            clock=clock,
        )
        inbox = Inbox(file, lambda company: _sealing_key(platform, company), clock=clock)
        yield StudentsSide(mailboxes, inbox, services)


def disclosure_desk(
    platform: Platform, consents: ConsentService, file: EvidenceFile, *, clock: Clock = unix_now
) -> DisclosureDesk:
    """The disclosure requests of a platform; `file` is its `rights.db`."""
    return DisclosureDesk(
        file,
        consents.book,
        platform.signing_key,
        lambda company, season: _campaigns(platform, company, season),
        clock=clock,
    )


def _campaigns(platform: Platform, company: str, season: str) -> Sequence[str]:
    """Also closed ones: what was scored there is still to be answered for."""
    with platform.store.transaction() as transaction:
        plans = transaction.plans()
    return sorted(
        plan.campaign for plan in plans if plan.score_season == season and company in plan.companies
    )


def company_signing_keys(platform: Platform, company: str) -> frozenset[bytes]:
    """Every signing key that the ledger has for a company, the first one too."""
    keys = platform.ledger.keys().keys_of(company, CompanyKey.SIGNING)
    return frozenset(map(bytes.fromhex, keys))


def _sealing_key(platform: Platform, company: str) -> bytes:
    key = platform.ledger.keys().key_at(company, CompanyKey.SEALING, platform.ledger_store.size)
    return bytes.fromhex(key)

"""`noren-platform rights`: what people do for students' rights; the rest runs by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from noren_server.rights.disclosure import DisclosureDesk
    from noren_server.rights.inquiries import InquiryDesk

rights_app = typer.Typer(no_args_is_help=True, help="Disclosure, inquiries and students' keys.")

Result = dict[str, Any]


@rights_app.command("account-code")
def account_code(context: typer.Context, student: str) -> Result:
    """Make a one-time code with which this account registers a key, its first or in place of a lost one.

    Only after its owner was identified. The site's login calls the same in process.
    """
    from contextlib import closing

    from noren_core.rights.consent.consent_event import parse_student
    from noren_server.consents.opening import unix_now
    from noren_server.rights.rights_file import open_rights_file
    from noren_server.rights.student_auth import AccountCodes

    with closing(open_rights_file(context.obj)) as file:
        return {"code": AccountCodes(file, clock=unix_now).issue(parse_student(student))}


@rights_app.command("deny")
def deny(
    context: typer.Context,
    request: str,
    reason: Annotated[list[str], typer.Option(help="harm-to-rights, serious-hindrance or other-law.")],
) -> Result:
    """Deny a disclosure request, for a reason of the law; trade secrets alone are none."""
    from noren_core.rights import fields
    from noren_core.rights.disclosure.requests import DenialReason

    reasons = [fields.word_of(DenialReason)(text) for text in reason]
    with _desks(context.obj) as (disclosure, _):
        disclosure.deny(fields.hex_bytes(request), reasons)
    return {"reasons": sorted(set(reasons))}


@rights_app.command("overdue")
def overdue(context: typer.Context) -> Result:
    """Which companies did not answer in time, and whether an inquiry is overdue: for auditors."""
    with _desks(context.obj) as (disclosure, inquiries):
        return {
            "companies": sorted(disclosure.overdue_companies()),
            "inquiries": "INQUIRY_OVERDUE" if inquiries.is_any_overdue() else "",
        }


@rights_app.command("inquiries")
def open_inquiries(context: typer.Context) -> Result:
    """The inquiries that wait for an answer, the most urgent first; for the privacy officer."""
    with _desks(context.obj) as (_, inquiries):
        waiting = [
            {
                "inquiry": stored.inquiry_id.hex(),
                "topic": stored.inquiry.topic.value,
                "company": stored.company,
                "due_at": stored.inquiry.due_at,
                "text": stored.text,
            }
            for stored in inquiries.open_inquiries()
        ]
    return {"inquiries": waiting}


@rights_app.command("answer-inquiry")
def answer_inquiry(
    context: typer.Context,
    inquiry: str,
    answer: Annotated[Path, typer.Argument(help="A file with the answer, UTF-8.")],
    reviewer: Annotated[str, typer.Option(help="Who answers, by the name in the register of staff.")],
) -> Result:
    """Answer an inquiry, as a person."""
    from noren_core.errors import DataError
    from noren_core.rights import fields

    try:
        text = answer.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("answer: expected a file with UTF-8 text, got another") from error
    with _desks(context.obj) as (_, inquiries):
        inquiries.answer(fields.hex_bytes(inquiry), answer=text, reviewer=reviewer)
    return {"inquiry": inquiry, "state": "answered"}


@rights_app.command("sweep")
def sweep(context: typer.Context) -> Result:
    """Remove copies that are past their time, or under handles that nobody has; run it daily."""
    from contextlib import closing

    from noren_server.consents.opening import consent_service, unix_now
    from noren_server.platform_files import Platform
    from noren_server.rights.mailbox import Mailboxes

    platform = Platform(context.obj)
    mailboxes = Mailboxes.open(context.obj, platform.signing_key, clock=unix_now)
    with closing(mailboxes), consent_service(platform) as consents:
        mailboxes.sweep(consents.book.is_mailbox)
    return {"swept": True}


@contextmanager
def _desks(directory: Path) -> Iterator[tuple[DisclosureDesk, InquiryDesk]]:
    from noren_server.consents.opening import unix_now
    from noren_server.platform_files import Platform
    from noren_server.rights.opening import officer_desks

    with officer_desks(Platform(directory), clock=unix_now) as desks:
        yield desks

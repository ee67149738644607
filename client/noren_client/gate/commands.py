"""`noren-company decisions`, `staff`, `show` and `follow-up`.

Whoever acts gives her name with --as and her access code in the file that NOREN_STAFF_CODE_FILE names, or at
the prompt. Whom a look is about is read from stdin: arguments can be read by every process of the machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from noren_client.gate.staff import Authorised
    from noren_client.gate.viewing import Request, Subject
    from noren_core.rights.gate.followup import FollowUpState
    from noren_core.rights.gate.roles import Action

decisions_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Seal decisions; what became of them."
)
staff_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Who of this company may do what."
)
follow_up_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="What is done for one student."
)

Result = dict[str, Any]
Context = typer.Context
As = Annotated[str, typer.Option("--as", help="Your name in the register of staff.")]
ApplicantFile = Annotated[
    str, typer.Option(help="Where the one identifier is: - for stdin, or a file; never an argument.")
]
Kind = Annotated[str, typer.Option(help="What the identifier is: consent-code or email.")]
Head = Annotated[
    str, typer.Option("--of", help="The campaign of whose head the band is, if it was scored with another.")
]

_MAX_GIVEN_BYTES = 1 << 16


@decisions_app.command("seal")
def decisions_seal(context: Context, campaign: str, position: str, name: As) -> Result:
    """Seal the decisions about everybody who applied for a position, failures included."""
    from noren_client.gate import decisions
    from noren_core.rights.gate.roles import Action

    decider = _authorised(context.obj, name, Action.SEAL_DECISION, campaign, position)
    sealed = decisions.seal(context.obj, campaign, position, decider=decider, now=_now())
    return {
        "campaign": campaign,
        "position": position,
        "sequence": sealed.sequence,
        "index": sealed.index,
        "sealed_at": sealed.sealed_at,
    }


@decisions_app.command("reverse")
def decisions_reverse(
    context: Context,
    campaign: str,
    position: str,
    name: As,
    reason: Annotated[str, typer.Option(help="Why, from the list in docs/rights/gate-at-a-company.md.")],
    applicant_file: ApplicantFile = "-",
    identifier_kind: Kind = "consent-code",
) -> Result:
    """Record that an offer was taken back after the gate was open; her score is destroyed."""
    from noren_client.gate import decisions
    from noren_core.errors import DataError
    from noren_core.rights.gate.gate_file import ReversalReason
    from noren_core.rights.gate.roles import Action

    if reason not in tuple(ReversalReason):
        raise DataError(f"reason: expected one of {', '.join(ReversalReason)}; got another word")
    subject = _subject(applicant_file, identifier_kind, position)
    decider = _authorised(context.obj, name, Action.SEAL_DECISION, campaign, position)
    decisions.reverse(
        context.obj, campaign, subject.applicant, ReversalReason(reason), decider=decider, now=_now()
    )
    return {"campaign": campaign, "position": position, "state": "reversed"}


@decisions_app.command("status")
def decisions_status(context: Context, campaign: str) -> Result:
    """Every batch and where it stands, offers that were taken back, and what the detectors noticed."""
    from noren_client import follow_up
    from noren_client.gate import decision_report

    follow_up.tidy(context.obj, now=_now())
    return decision_report.status(context.obj, campaign, now=_now())


@decisions_app.command("export")
def decisions_export(context: Context, campaign: str) -> None:
    """Write decisions, salts and blinds to stdout, for a pipe into `noren-audit gate` on this machine."""
    from noren_client.gate import decision_report

    for line in decision_report.export(context.obj, campaign):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


@staff_app.command("add")
def staff_add(
    context: Context,
    member: str,
    roles: Annotated[str, typer.Option(help="Roles, separated by commas.")],
    position: Annotated[str, typer.Option(help="Only for this position; every one if left out.")] = "",
    season: Annotated[str, typer.Option(help="Only for this season; every one if left out.")] = "",
    name: Annotated[
        str, typer.Option("--as", help="An administrator; left out for the first member, who is one.")
    ] = "",
) -> Result:
    """Add a member of the staff; she types her access code herself, or NOREN_STAFF_NEW_CODE_FILE names it."""
    from noren_client.gate.staff import register
    from noren_core.rights.gate.roles import PER_POSITION, Assignment, parse_role
    from noren_local.staff import chosen_code

    _verify_administrator(context.obj, name)
    chosen = [parse_role(role) for role in roles.split(",")]
    assignments = [
        Assignment(role, position, season) if role in PER_POSITION else Assignment(role) for role in chosen
    ]
    register(context.obj).add(member, assignments, chosen_code())
    return {"member": member, "roles": [role.value for role in chosen]}


@staff_app.command("list")
def staff_list(context: Context) -> Result:
    """Every member and her roles."""
    from noren_client.gate.staff import register

    return {
        "members": {
            member.name: [item.to_body() for item in member.assignments]
            for member in register(context.obj).members()
        }
    }


@staff_app.command("remove")
def staff_remove(context: Context, member: str, name: As) -> Result:
    """Remove a member of the staff; what she did stays recorded under her name."""
    from noren_client.gate.staff import register

    _verify_administrator(context.obj, name)
    register(context.obj).remove(member)
    return {"member": member, "state": "removed"}


def show(
    context: Context,
    campaign: str,
    position: str,
    name: As,
    applicant_file: ApplicantFile = "-",
    identifier_kind: Kind = "consent-code",
    head: Head = "",
    language: Annotated[str, typer.Option(help="Of the reasons: ja or en.")] = "ja",
) -> Result:
    """Show the band of one student who was offered a place, to somebody who looks after her."""
    from noren_client.gate import viewing
    from noren_core.errors import DataError
    from noren_core.rights.gate.roles import Action
    from noren_core.rights.locales import Locale

    if language not in tuple(Locale):
        raise DataError(f"language: expected one of {', '.join(Locale)}; got another")
    subject = _subject(applicant_file, identifier_kind, position)
    request = _request(context.obj, campaign, head, subject, name, Action.VIEW_SCORE)
    view = viewing.show(context.obj, request, locale=Locale(language))
    return {
        "position": position,
        "band": view.band,
        "bands": view.bands,
        "computed_at": view.computed_at,
        "expires_at": view.expires_at,
        "reasons": list(view.reasons),
        "not_for": list(view.not_for),
    }


@follow_up_app.command("plan")
def follow_up_plan(
    context: Context,
    campaign: str,
    position: str,
    action: Annotated[str, typer.Argument(help="One of a closed list; other words are refused.")],
    name: As,
    applicant_file: ApplicantFile = "-",
    identifier_kind: Kind = "consent-code",
    head: Head = "",
) -> Result:
    """Note something that is planned for one student."""
    from noren_client.gate import followup_actions
    from noren_core.rights.gate.followup import parse_follow_up
    from noren_core.rights.gate.roles import Action

    kind = parse_follow_up(action)
    subject = _subject(applicant_file, identifier_kind, position)
    request = _request(context.obj, campaign, head, subject, name, Action.PLAN_FOLLOW_UP)
    followup_actions.plan_action(context.obj, request, kind)
    return {"action": kind.value, "state": "planned"}


@follow_up_app.command("done")
def follow_up_done(
    context: Context,
    campaign: str,
    position: str,
    action: str,
    name: As,
    applicant_file: ApplicantFile = "-",
    identifier_kind: Kind = "consent-code",
    head: Head = "",
) -> Result:
    """Note that something planned for one student was done."""
    from noren_core.rights.gate.followup import FollowUpState

    subject = _subject(applicant_file, identifier_kind, position)
    return _ended(context.obj, campaign, head, subject, name, action, FollowUpState.DONE)


@follow_up_app.command("cancel")
def follow_up_cancel(
    context: Context,
    campaign: str,
    position: str,
    action: str,
    name: As,
    applicant_file: ApplicantFile = "-",
    identifier_kind: Kind = "consent-code",
    head: Head = "",
) -> Result:
    """Note that something planned for one student is not done."""
    from noren_core.rights.gate.followup import FollowUpState

    subject = _subject(applicant_file, identifier_kind, position)
    return _ended(context.obj, campaign, head, subject, name, action, FollowUpState.CANCELLED)


@follow_up_app.command("show")
def follow_up_show(
    context: Context,
    campaign: str,
    position: str,
    name: As,
    applicant_file: ApplicantFile = "-",
    identifier_kind: Kind = "consent-code",
    head: Head = "",
) -> Result:
    """Show what is planned and was done for one student."""
    from noren_client.gate import followup_actions
    from noren_core.rights.disclosure.student_report import utc_text
    from noren_core.rights.gate.roles import Action

    subject = _subject(applicant_file, identifier_kind, position)
    request = _request(context.obj, campaign, head, subject, name, Action.PLAN_FOLLOW_UP)
    found = followup_actions.actions_for(context.obj, request)
    return {
        "actions": [
            {"action": item.kind.value, "state": item.state.value, "changed_at": utc_text(item.changed_at)}
            for item in found
        ]
    }


def _ended(
    directory: Path,
    campaign: str,
    head: str,
    subject: Subject,
    name: str,
    action: str,
    state: FollowUpState,
) -> Result:
    from noren_client.gate import followup_actions
    from noren_core.rights.gate.followup import parse_follow_up
    from noren_core.rights.gate.roles import Action

    kind = parse_follow_up(action)
    request = _request(directory, campaign, head, subject, name, Action.PLAN_FOLLOW_UP)
    followup_actions.end_action(directory, request, kind, state)
    return {"action": kind.value, "state": state.value}


def _request(
    directory: Path, campaign: str, head: str, subject: Subject, name: str, action: Action
) -> Request:
    from noren_client.gate.viewing import Request

    viewer = _authorised(directory, name, action, campaign, subject.position)
    return Request(campaign, head or campaign, subject, viewer)


def _subject(applicant_file: str, identifier_kind: str, position: str) -> Subject:
    """The one person in the file or on stdin."""
    from noren_client.gate.viewing import parse_subject
    from noren_core.errors import DataError
    from noren_core.ids import IdentifierKind

    if identifier_kind not in tuple(IdentifierKind):
        raise DataError(f"identifier kind: expected one of {', '.join(IdentifierKind)}; got another word")
    if applicant_file == "-":
        given = sys.stdin.buffer.read(_MAX_GIVEN_BYTES)
    else:
        try:
            with Path(applicant_file).open("rb") as file:
                given = file.read(_MAX_GIVEN_BYTES)
        except OSError as error:
            raise DataError("applicant file: expected a readable file, got none") from error
    return parse_subject(given, IdentifierKind(identifier_kind), position)


def _authorised(directory: Path, name: str, action: Action, campaign: str, position: str) -> Authorised:
    from noren_client import campaign_files
    from noren_client.gate.staff import authorise
    from noren_core.ids import parse_name
    from noren_local.staff import given_code

    season = campaign_files.load_plan(directory, campaign).score_season
    return authorise(
        directory,
        name,
        given_code(),
        action,
        position=parse_name(position, "position"),
        season=season,
        now=_now(),
    )


def _verify_administrator(directory: Path, name: str) -> None:
    """Whoever changes the register is an administrator; the first member has nobody to ask."""
    from noren_client.gate.staff import authorise, register
    from noren_core.rights.gate.roles import Action
    from noren_local.staff import given_code

    if register(directory).has_administrator:
        authorise(directory, name, given_code(), Action.MANAGE_STAFF, now=_now())


def _now() -> int:
    return int(time.time())

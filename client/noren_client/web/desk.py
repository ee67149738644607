"""What every page of the company works with: its directory, who is at the desk, and what she may do.

Promises: the roles of whoever is signed in are those of the register now, so that whom an administrator
removed sees nothing more; which roles a page lets in is read from the table of actions (`may`), and what a
page does is authorised again by the function that does it (`authorised`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes

from fastapi import Request, Response
from fastapi.params import Depends

from noren_client import alignment, campaign_files, config
from noren_client.gate import decision_preview, staff
from noren_client.gate.decision_preview import Positions
from noren_client.gate.staff import COMPANY_ROLES, Authorised, SignedIn
from noren_client.rights import orders
from noren_client.rights.orders import ReceivedOrder
from noren_client.season_progress import LedgerView
from noren_core.errors import LocalProtocolError
from noren_core.rights.erasure.erasure_order import OrderState
from noren_core.rights.gate.roles import MATRIX, Action, Permission
from noren_web.access import NotSignedInError, allow
from noren_web.jobs import Work
from noren_web.pages import redirect
from noren_web.translations import Text

HANDLE_KEY_BYTES = 32
_FileState = tuple[int, int, int]


@dataclass(slots=True)
class Desk:
    """The pages' side of one company.

    Attributes:
        directory: the company's.
        clock: Unix seconds.
        handle_key: what the opaque handles of applicants in forms are made with; another in every process.
        ledger_views: what the ledger said of a campaign when it was asked last, and when.
        orders: the same for erasure orders.
        warnings: by campaign, what accepting or preparing it said that its operator should know.
    """

    directory: Path
    clock: Callable[[], int]
    handle_key: bytes = field(default_factory=lambda: token_bytes(HANDLE_KEY_BYTES), repr=False)
    ledger_views: dict[str, tuple[int, LedgerView]] = field(default_factory=dict)
    orders: dict[str, tuple[int, tuple[ReceivedOrder, ...]]] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    _positions: dict[str, tuple[_FileState, Positions]] = field(default_factory=dict)

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a configuration and a certificate."""
        return self.has_begun and (self.directory / "keys" / "tls.pem").exists()

    @property
    def has_begun(self) -> bool:
        """Whether an invitation was taken up."""
        return (self.directory / config.FILE_NAME).exists()

    @property
    def has_applicants(self) -> bool:
        """Whether a file was imported."""
        return (self.directory / alignment.APPLICANTS_FILE).exists()

    def campaigns(self) -> list[str]:
        """The accepted ones, by name."""
        return campaign_files.accepted(self.directory)

    def has_waiting_orders(self) -> bool:
        """Whether an erasure order that was fetched was not carried out here."""
        return any(
            state is not OrderState.CERTIFIED
            for name in self.campaigns()
            for state in orders.kept_states(self.directory, name).values()
        )

    def positions(self, campaign: str) -> Positions:
        """The positions of the season that an accepted campaign scores.

        Names of positions are kept until the file is another one: a large file takes seconds to read. Nothing
        about applicants is kept.
        """
        path = self.directory / alignment.APPLICANTS_FILE
        if not path.exists():
            return Positions((), ())
        status = path.stat()
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._positions.get(campaign)
        if known is None or known[0] != state:
            known = (state, decision_preview.positions(self.directory, campaign))
            self._positions[campaign] = known
        return known[1]

    def campaign(self, name: str) -> str:
        """An accepted campaign's name; LocalProtocolError with code NOT_FOUND for another text."""
        if name not in self.campaigns():
            raise LocalProtocolError("page: expected an accepted campaign, got another", code="NOT_FOUND")
        return name


@dataclass(frozen=True, slots=True)
class StaffPerson:
    """One of the staff at the desk (`noren_web.access.Person`)."""

    directory: Path
    who: SignedIn

    @property
    def name(self) -> str:
        """As it is recorded where she acts."""
        return self.who.name

    @property
    def roles(self) -> frozenset[str]:
        """What the register says now; nothing once she was removed or her code was changed."""
        member = staff.member_now(self.directory, self.who)
        return frozenset() if member is None else frozenset(item.role.value for item in member.assignments)


def may(*actions: Action, fresh: bool = False) -> Depends:
    """The declaration of a page for whoever may take one of these actions, by the table of actions."""
    return allow(*roles_for(*actions), fresh=fresh)


def roles_for(*actions: Action) -> tuple[str, ...]:
    """The roles of a company that may take one of these actions alone, sorted."""
    found = {
        role
        for action in actions
        for role, permission in MATRIX[action].items()
        if permission is Permission.YES and role in COMPANY_ROLES
    }
    return tuple(sorted(role.value for role in found))


def desk_of(request: Request) -> Desk:
    """The desk of the site that the request came to."""
    desk: Desk = request.app.state.desk
    return desk


def person_of(request: Request) -> StaffPerson:
    """Who is signed in; NotSignedInError if nobody is."""
    person = request.state.session.person
    if not isinstance(person, StaffPerson):
        raise NotSignedInError(again=False)
    return person


def authorised(request: Request, action: Action, *, position: str = "", season: str = "") -> Authorised:
    """Who is signed in, for this action there; LocalProtocolError (ROLE_FORBIDDEN) if she may not."""
    return staff.authorise_signed_in(
        desk_of(request).directory, person_of(request).who, action, position=position, season=season
    )


def start_job(request: Request, work: Work, *, kind: str, title: Text, next_path: str) -> Response:
    """Begin long work in the name of who is signed in, and go on to the page that says how far it is."""
    owner = person_of(request).name
    job = request.app.state.jobs.start(work, kind=kind, owner=owner, title=str(title), next_path=next_path)
    return redirect(request, f"/jobs/{job.job}")

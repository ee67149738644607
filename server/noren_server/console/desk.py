"""What the console's pages work with: the opened platform, its people, the trail, and who acts now.

A page's handler gets it by `desk_of(request)`; who acts is `acting(request)`; what an act is about, for the
trail, is said with `about(request, "campaign", name)` before it is done. That an act is in the trail is not
for handlers to see to: every posted form is (`noren_server.console.site`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request

from noren_server.console.accounts import Account, Accounts, ConsoleRole
from noren_server.console.oidc import OidcClient, oidc_client
from noren_server.console.proposals import Proposals
from noren_server.console.trail import Trail, parse_about
from noren_server.platform_files import Platform
from noren_server.platform_secrets import secrets_of
from noren_web.rate_limits import RateLimit
from noren_web.sessions import Session

ATTEMPTS, ATTEMPT_SECONDS = 20, 600
"""How many forms of nobody are taken from one address in a time."""
ALL_ATTEMPTS = 600
"""How many from all addresses together."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody of the platform who is signed in (`noren_web.access.Person`).

    Attributes:
        name: as it is recorded where she acts.
        roles: values of `ConsoleRole`.
        handle: stands for her in addresses of pages.
        epoch: of her account when she signed in; if the account has another, the session is over.
    """

    name: str
    roles: frozenset[str]
    handle: str
    epoch: int

    @classmethod
    def of(cls, account: Account) -> SignedIn:
        """Whom this account is."""
        return cls(account.name, frozenset(account.roles), account.handle, account.epoch)

    def has(self, role: ConsoleRole) -> bool:
        """Whether she has this role."""
        return role in self.roles


@dataclass(frozen=True, slots=True)
class Desk:
    """The platform as the console has it open.

    Attributes:
        platform: keys, ledger, databases (`noren_server.platform_files`); other parts are opened with it.
        clock: Unix seconds.
        accounts: the people.
        trail: what they did.
        proposals: what waits for a second person.
        oidc: the identity provider, if there is one.
        by_address, by_all: count the forms of those who are not signed in.
    """

    platform: Platform
    clock: Callable[[], int]
    accounts: Accounts
    trail: Trail
    proposals: Proposals
    oidc: OidcClient | None
    by_address: RateLimit = field(repr=False)
    by_all: RateLimit = field(repr=False)


@contextmanager
def open_desk(directory: Path, clock: Callable[[], int], *, base_url: str) -> Iterator[Desk]:
    """The desk of a platform's directory until the end of the block.

    Args:
        directory: the platform's.
        clock: Unix seconds.
        base_url: where browsers reach the console, without a slash at the end.
    """
    platform = Platform(directory)
    with ExitStack() as stack:
        trail = stack.enter_context(closing(Trail(directory, clock)))
        proposals = stack.enter_context(closing(Proposals(directory, clock)))
        # opened now and not by the first of several threads that ask at once
        stack.callback(platform.store.close)
        stack.callback(platform.ledger_store.close)
        yield Desk(
            platform=platform,
            clock=clock,
            accounts=Accounts(directory, secrets_of(directory), clock),
            trail=trail,
            proposals=proposals,
            oidc=oidc_client(platform, clock, base_url=base_url),
            by_address=RateLimit(most=ATTEMPTS, seconds=ATTEMPT_SECONDS, clock=clock),
            by_all=RateLimit(most=ALL_ATTEMPTS, seconds=ATTEMPT_SECONDS, clock=clock),
        )


def desk_of(request: Request) -> Desk:
    """What this site's pages work with."""
    desk: Desk = request.app.state.desk
    return desk


def signed_in(request: Request) -> SignedIn | None:
    """Who is signed in, if anybody is."""
    session: Session = request.state.session
    return session.person if isinstance(session.person, SignedIn) else None


def acting(request: Request) -> SignedIn:
    """Who acts, on a page that lets only people in who are signed in."""
    person = signed_in(request)
    if person is None:
        raise TypeError("expected a page that somebody signed in for")
    return person


def about(request: Request, kind: str, name: str) -> None:
    """Say what this act is about, for the trail: a kind such as `campaign`, and an opaque name.

    Never a student's identifier, nor anything that a student's identifier can be looked up by.

    Raises:
        DataError: for other characters than names and handles have.
    """
    request.state.about = parse_about(f"{kind}:{name}")

"""Who may come in where: every route says it, and a site whose routes do not all say it is not built.

Promises: a route without a declaration is an error when the site is made, not a page that anybody sees; who
is not signed in is sent to the sign-in page, who has none of the roles is refused with ROLE_FORBIDDEN, and
what changes much can ask for a sign-in of the last minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from fastapi import Depends, FastAPI, Request
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from starlette.routing import Mount

from noren_core.errors import ConfigurationError, LocalProtocolError

FRESH_SECONDS = 300
"""How long after a sign-in somebody may do what asks for a fresh one."""


class Person(Protocol):
    """Somebody who is signed in."""

    @property
    def name(self) -> str:
        """As it is recorded where she acts."""

    @property
    def roles(self) -> frozenset[str]:
        """What she may do."""


class NotSignedInError(LocalProtocolError):
    """Nobody is signed in, or not recently enough."""

    code = "NOT_SIGNED_IN"

    def __init__(self, *, again: bool) -> None:
        super().__init__("page: expected somebody who signed in, got nobody")
        self.again = again


@dataclass(frozen=True, slots=True)
class Access:
    """What a route declares.

    Attributes:
        roles: one of them is needed; none named: anybody who is signed in.
        public: nobody needs to be signed in.
        fresh: the sign-in is at most `FRESH_SECONDS` old.
    """

    roles: frozenset[str]
    public: bool = False
    fresh: bool = False

    def __call__(self, request: Request) -> None:
        """Let the request through, or raise."""
        if self.public:
            return
        session = request.state.session
        if session.person is None:
            raise NotSignedInError(again=False)
        if self.roles and not self.roles & session.person.roles:
            raise LocalProtocolError(
                f"page: expected one of the roles {', '.join(sorted(self.roles))}, got others",
                code="ROLE_FORBIDDEN",
            )
        if self.fresh and request.app.state.clock() - session.signed_in_at > FRESH_SECONDS:
            raise NotSignedInError(again=True)

    def admits(self, person: Person | None) -> bool:
        """Whether this person could come in, fresh or not."""
        if self.public:
            return True
        return person is not None and (not self.roles or bool(self.roles & person.roles))


def allow(*roles: str, public: bool = False, fresh: bool = False) -> Dependency:
    """The declaration of a route; see `Access`."""
    if public and (roles or fresh):
        raise ConfigurationError("allow: expected roles or public, got both")
    depends: Dependency = Depends(Access(frozenset(str(role) for role in roles), public, fresh))
    return depends


def declared(app: FastAPI) -> Iterator[tuple[APIRoute, Access]]:
    """Every route with what it declares.

    Raises:
        ConfigurationError: for a route that declares nothing, or twice, or whose declaration cannot be seen
            because it stands in a router inside a router.
    """
    for route in app.routes:
        if isinstance(route, Mount):
            continue
        if not isinstance(route, APIRoute):
            raise ConfigurationError(
                f"site: expected pages given to the site itself, got a {type(route).__name__}"
            )
        found = [item.call for item in route.dependant.dependencies if isinstance(item.call, Access)]
        if len(found) != 1:
            raise ConfigurationError(f"route {route.path}: expected one declaration of who may come in")
        yield route, found[0]


def methods_of(route: APIRoute) -> set[str]:
    """The methods that a route answers."""
    return route.methods or set()

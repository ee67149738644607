"""Every state and legal transition of secure aggregation, for both sides, in one table.

docs/protocol.md §4.3.6 has the same table, and a test compares the two. A machine asks `next_state` before it
looks at anything else, checks everything, and only then stores the answer: an illegal event raises and
changes nothing. Events that answer a message blame the sender (RemoteProtocolError); events our own program
starts blame it (LocalProtocolError).
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from noren_core.errors import LocalProtocolError, RemoteProtocolError


class ClientState(Enum):
    """Where one company's machine stands."""

    NEW = "new"
    ADVERTISED = "advertised"
    SHARED = "shared"
    READY = "ready"
    MASKED = "masked"
    CLOSED = "closed"


class ServerState(Enum):
    """Where the server's set-up stands; once running, each round has a state of its own."""

    ADVERTISING = "advertising"
    SHARING = "sharing"
    RUNNING = "running"


class RoundState(Enum):
    """Where one round stands at the server."""

    COLLECTING = "collecting"
    UNMASKING = "unmasking"
    AGGREGATED = "aggregated"


class Event(Enum):
    """What can happen to a machine."""

    ADVERTISE = "advertise"
    SHARE = "share"
    ACCEPT_SHARES = "accept-shares"
    CONFIRM = "confirm"
    MASK = "mask"
    UNMASK = "unmask"
    CLOSE = "close"
    ADD_ADVERTISEMENT = "add-advertisement"
    ADD_SHARES = "add-shares"
    OPEN_INBOX = "open-inbox"
    ADD_COHORT_SIGNATURE = "add-cohort-signature"
    ADD_MASKED = "add-masked"
    CLOSE_INPUTS = "close-inputs"
    ADD_UNMASKING = "add-unmasking"
    AGGREGATE = "aggregate"


State = ClientState | ServerState | RoundState
_S = TypeVar("_S", ClientState, ServerState, RoundState)

_FROM_A_MESSAGE = frozenset(
    {
        Event.SHARE,
        Event.ACCEPT_SHARES,
        Event.CONFIRM,
        Event.UNMASK,
        Event.ADD_ADVERTISEMENT,
        Event.ADD_SHARES,
        Event.ADD_COHORT_SIGNATURE,
        Event.ADD_MASKED,
        Event.ADD_UNMASKING,
    }
)

_TRANSITIONS: dict[tuple[State, Event], State] = {
    # Company. UNMASK leaves MASKED, so a round is answered at most once; MASK may leave it too, for a
    # round that failed or went on without us.
    (ClientState.NEW, Event.ADVERTISE): ClientState.ADVERTISED,
    (ClientState.ADVERTISED, Event.SHARE): ClientState.SHARED,
    (ClientState.SHARED, Event.ACCEPT_SHARES): ClientState.READY,
    (ClientState.READY, Event.CONFIRM): ClientState.READY,
    (ClientState.MASKED, Event.CONFIRM): ClientState.MASKED,
    (ClientState.READY, Event.MASK): ClientState.MASKED,
    (ClientState.MASKED, Event.MASK): ClientState.MASKED,
    (ClientState.MASKED, Event.UNMASK): ClientState.READY,
    # Closing is always allowed: what is forgotten can do no harm.
    **{(state, Event.CLOSE): ClientState.CLOSED for state in ClientState},
    # Server, set-up. The first sealed shares end advertising and the first inbox ends sharing: from then on
    # what was sent out is fixed, and nobody joins late.
    (ServerState.ADVERTISING, Event.ADD_ADVERTISEMENT): ServerState.ADVERTISING,
    (ServerState.ADVERTISING, Event.ADD_SHARES): ServerState.SHARING,
    (ServerState.SHARING, Event.ADD_SHARES): ServerState.SHARING,
    (ServerState.SHARING, Event.OPEN_INBOX): ServerState.RUNNING,
    (ServerState.RUNNING, Event.OPEN_INBOX): ServerState.RUNNING,
    (ServerState.RUNNING, Event.ADD_COHORT_SIGNATURE): ServerState.RUNNING,
    (ServerState.RUNNING, Event.ADD_MASKED): ServerState.RUNNING,
    (ServerState.RUNNING, Event.CLOSE_INPUTS): ServerState.RUNNING,
    (ServerState.RUNNING, Event.ADD_UNMASKING): ServerState.RUNNING,
    (ServerState.RUNNING, Event.AGGREGATE): ServerState.RUNNING,
    # Server, one round.
    (RoundState.COLLECTING, Event.ADD_MASKED): RoundState.COLLECTING,
    (RoundState.COLLECTING, Event.CLOSE_INPUTS): RoundState.UNMASKING,
    (RoundState.UNMASKING, Event.ADD_UNMASKING): RoundState.UNMASKING,
    (RoundState.UNMASKING, Event.AGGREGATE): RoundState.AGGREGATED,
}


def next_state(state: _S, event: Event) -> _S:
    """The state after `event`.

    Raises:
        RemoteProtocolError: if a message caused an event that is illegal now.
        LocalProtocolError: if we caused it.
    """
    after = _TRANSITIONS.get((state, event))
    if after is None:
        family = RemoteProtocolError if event in _FROM_A_MESSAGE else LocalProtocolError
        raise family(f"secure aggregation: expected an event legal when {state.value}, got {event.value}")
    return type(state)(after)

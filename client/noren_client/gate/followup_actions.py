"""What the company does for a student whose score somebody looked at: planned, done or cancelled, in custody.

docs/rights/gate-at-a-company.md §4.3. Promises: an action is one of a closed list; it is kept as a record of
its own, encrypted like a score, and goes with the score or after sixty days; when it goes, nothing is left
that says why, so that an erasure looks like every other end.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from noren_client.gate import score_records, viewing
from noren_client.gate.score_records import MAX_NOTES, NOTE_SECONDS, Note, ScoredPerson
from noren_client.gate.viewing import Request
from noren_client.rights.custody import CustodyStore
from noren_client.table_reading import Sleep
from noren_core.errors import LocalProtocolError
from noren_core.rights.gate.followup import FollowUpAction, FollowUpKind, FollowUpState
from noren_core.rights.gate.gate_file import HANDLE_BYTES
from noren_core.rights.gate.roles import Action


def plan_action(
    company_dir: Path,
    request: Request,
    kind: FollowUpKind,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = time.sleep,
) -> None:
    """Note an action that is planned for one person; the gate must be open for her as for a look.

    Raises:
        LocalProtocolError: as `viewing.show`; with code FOLLOW_UP_LIMIT for more actions than anybody needs.
    """
    person, _ = viewing.open_record(company_dir, request, Action.PLAN_FOLLOW_UP, clock=clock, sleep=sleep)
    if len(person.notes) >= MAX_NOTES:
        raise LocalProtocolError(
            f"follow-up: expected at most {MAX_NOTES} actions for one person, got more",
            code="FOLLOW_UP_LIMIT",
        )
    now = int(clock())
    action = FollowUpAction(kind, FollowUpState.PLANNED, request.viewer.name, now, now)
    note = Note(secrets.token_bytes(HANDLE_BYTES), now + NOTE_SECONDS)
    # The index first: a record that nothing leads to would outlive its person.
    score_records.set_notes(company_dir, request.campaign, person.handle, (*person.notes, note))
    with CustodyStore(company_dir) as custody:
        custody.write(score_records.note_name(request.campaign, note.handle), action.to_bytes())


def end_action(
    company_dir: Path,
    request: Request,
    kind: FollowUpKind,
    state: FollowUpState,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = time.sleep,
) -> None:
    """Note that the oldest planned action of this kind was done or cancelled.

    Raises:
        LocalProtocolError: as `viewing.show`; with code ILLEGAL_STATE, if none is planned.
    """
    person, _ = viewing.open_record(company_dir, request, Action.PLAN_FOLLOW_UP, clock=clock, sleep=sleep)
    with CustodyStore(company_dir) as custody:
        for name, action in _actions(custody, request.campaign, person):
            if (action.kind, action.state) == (kind, FollowUpState.PLANNED):
                custody.write(name, action.moved(state, now=int(clock())).to_bytes())
                return
    raise LocalProtocolError("follow-up: expected a planned action of this kind, got none")


def actions_for(
    company_dir: Path,
    request: Request,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = time.sleep,
) -> tuple[FollowUpAction, ...]:
    """Every action for one person, oldest first; the gate must be open for her as for a look."""
    person, _ = viewing.open_record(company_dir, request, Action.PLAN_FOLLOW_UP, clock=clock, sleep=sleep)
    return actions_of(company_dir, request.campaign, person)


def actions_of(company_dir: Path, campaign: str, person: ScoredPerson) -> tuple[FollowUpAction, ...]:
    """Every action for a person whose record `viewing.open_record` gave just now, oldest first."""
    with CustodyStore(company_dir) as custody:
        return tuple(action for _, action in _actions(custody, campaign, person))


def _actions(custody: CustodyStore, campaign: str, person: ScoredPerson) -> list[tuple[str, FollowUpAction]]:
    found = []
    for note in person.notes:
        name = score_records.note_name(campaign, note.handle)
        data = custody.read(name)
        if data is not None:  # planned in the moment of a crash, and never said to be
            found.append((name, FollowUpAction.from_bytes(data)))
    return found

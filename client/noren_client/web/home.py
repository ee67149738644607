"""The first page: the one thing to do next, and where everything stands.

Promises: nobody is asked and nothing is changed; what a card says comes from this machine's files, and says
no number of applicants; the next step is one that this person may take, or a sentence that it is somebody
else's turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from noren_client import budget, campaign_files, season_progress
from noren_client.gate import decisions
from noren_client.gate.decisions import NOT_YET
from noren_client.rights import retention
from noren_client.season_progress import Progress, Stage
from noren_client.web.desk import Desk, desk_of, roles_for
from noren_client.web.season import STAGE_WORDS
from noren_core.errors import NorenError
from noren_core.rights.gate.roles import Action
from noren_web.access import allow
from noren_web.pages import moment, page
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do: a sentence, and the button that leads there; `actions` says who may."""

    sentence: Text
    path: str
    label: Text
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class State:
    """Where one thing stands: a word, its tone (good, warn, bad, plain), and facts."""

    badge: Text
    tone: str
    facts: tuple[tuple[Text, str | Text], ...] = ()


@router.get("/", dependencies=[allow()])
def home(request: Request) -> Response:
    """What to do next, and the cards."""
    desk = desk_of(request)
    steps = list(_steps(desk))
    person = request.state.session.person
    roles = person.roles
    mine = next((step for step in steps if _is_for(step, roles)), None)
    return page(
        request,
        "home/home.html",
        step=mine,
        waiting=steps[0] if steps and mine is None else None,
        cards=[(title, path, _told(state, desk)) for title, path, state in _CARDS],
        paths={path for path, access in request.app.state.access.items() if access.admits(person)},
    )


def _is_for(step: Step, roles: frozenset[str]) -> bool:
    return bool(set(roles_for(*step.actions)) & roles)


def _steps(desk: Desk) -> Iterator[Step]:
    """What there is to do, the most urgent first; what cannot be read is something to do as well."""
    if not desk.is_enrolled:
        yield Step(
            _("This company does not take part yet: take up the platform's invitation."),
            "/machine",
            _("Set up this machine"),
            (Action.SIGN_AGREEMENT, Action.MANAGE_STAFF),
        )
        return
    if desk.has_waiting_orders():
        yield Step(
            _("An erasure order waits to be carried out."),
            "/rights",
            _("To the rights of students"),
            (Action.CERTIFY_DELETION,),
        )
    if not desk.has_applicants:
        yield Step(
            _("There is no file of applicants on this machine yet."),
            "/data",
            _("Import a file"),
            (Action.JOIN_ROUND, Action.SEAL_DECISION),
        )
        return
    if not desk.campaigns():
        yield Step(
            _("No campaign was accepted yet."), "/season", _("Look at a campaign"), (Action.JOIN_ROUND,)
        )
        return
    for campaign in desk.campaigns():
        try:
            yield from list(_steps_of(desk, campaign))
        except NorenError:
            yield Step(
                _("A file of campaign {campaign} cannot be read.").format(campaign=campaign),
                "/season",
                _("See what is wrong"),
                (Action.READ_OWN_LEDGER,),
            )


def _steps_of(desk: Desk, campaign: str) -> Iterator[Step]:
    known = season_progress.progress(desk.directory, campaign)
    if known.stage is Stage.ACCEPTED:
        yield Step(
            _("Campaign {campaign} is accepted and not prepared.").format(campaign=campaign),
            "/season",
            _("Prepare the training"),
            (Action.JOIN_ROUND,),
        )
    if known.stage in (Stage.PREPARED, Stage.TRAINING) and not season_progress.is_worker_running(
        desk.directory
    ):
        yield Step(
            _("Campaign {campaign} is prepared, but nothing answers its rounds: start the service.").format(
                campaign=campaign
            ),
            "/machine",
            _("To this machine"),
            (Action.JOIN_ROUND, Action.MANAGE_STAFF),
        )
    if known.stage in (Stage.TRAINED, Stage.SCORED):
        yield from _gate_steps(desk, campaign, known)


def _gate_steps(desk: Desk, campaign: str, known: Progress) -> Iterator[Step]:
    if not known.message:
        yield Step(
            _("The head of campaign {campaign} is not sent yet.").format(campaign=campaign),
            "/season",
            _("Send the encrypted head"),
            (Action.JOIN_ROUND,),
        )
    kept = decisions.kept_batches(desk.directory, campaign)
    sealed = {batch.batch.position for batch in kept if batch.index != NOT_YET}
    if set(desk.positions(campaign).every) - sealed:
        yield Step(
            _("Decisions about a position of campaign {campaign} are not sealed yet.").format(
                campaign=campaign
            ),
            "/decisions",
            _("To the decisions"),
            (Action.SEAL_DECISION,),
        )
    cooling = campaign_files.load_plan(desk.directory, campaign).gate.cooling_seconds
    waiting = [batch for batch in kept if batch.index != NOT_YET and not batch.is_open]
    if any(desk.clock() >= batch.sealed_at + cooling for batch in waiting):
        yield Step(
            _("Sealed decisions of campaign {campaign} have cooled: bands can be computed.").format(
                campaign=campaign
            ),
            "/season",
            _("Compute the bands"),
            (Action.JOIN_ROUND,),
        )
    if known.stage is Stage.SCORED:
        yield Step(
            _("Students who were offered a place may need somebody to talk to."),
            "/follow-up",
            _("To follow-up"),
            (Action.VIEW_SCORE,),
        )


def _told(make: Callable[[Desk], State], desk: Desk) -> State:
    """Where it stands; of what cannot be read the code, and its page says more."""
    try:
        return make(desk)
    except NorenError as error:
        return State(_("Cannot be read"), "bad", ((_("Code"), error.code),))


def _enrolment(desk: Desk) -> State:
    if not desk.is_enrolled:
        return State(_("Waiting for the platform") if desk.has_begun else _("Not begun"), "warn")
    contact = season_progress.last_contact(desk.directory)
    said = moment(contact) if contact else _("never")
    return State(_("Takes part"), "good", ((_("Last contact with the platform"), said),))


def _season(desk: Desk) -> State:
    known = [season_progress.progress(desk.directory, name) for name in desk.campaigns()]
    if not known:
        return State(_("No campaign"), "plain")
    newest = known[-1].stage
    tone = "good" if newest in (Stage.TRAINED, Stage.SCORED) else "plain"
    return State(STAGE_WORDS[newest], tone, tuple((_("Campaign"), _stage_words(each)) for each in known))


def _stage_words(known: Progress) -> Text:
    return _("{campaign}: {stage}, round {reserved} of {rounds}").format(
        campaign=known.campaign,
        stage=STAGE_WORDS[known.stage],
        reserved=known.reserved,
        rounds=known.rounds,
    )


def _decisions(desk: Desk) -> State:
    kept = [batch for name in desk.campaigns() for batch in decisions.kept_batches(desk.directory, name)]
    if not kept:
        return State(_("Nothing sealed"), "plain")
    facts = ((_("Batches"), str(len(kept))),)
    if any(batch.is_open for batch in kept):
        return State(_("A gate is open"), "good", facts)
    return State(_("Sealed"), "plain", facts)


def _orders(desk: Desk) -> State:
    if not desk.has_begun:
        return State(_("Nothing yet"), "plain")
    if retention.overdue(desk.directory, now=desk.clock()):
        return State(_("Something is late"), "bad")
    if desk.has_waiting_orders():
        return State(_("Something to do"), "warn")
    return State(_("Nothing open that is known here"), "good")


def _budget(desk: Desk) -> State:
    seasons = budget.by_season(desk.directory) if desk.has_begun else ()
    if not seasons:
        return State(_("Nothing spent"), "good")
    facts = tuple(
        (
            _("Season {season}").format(season=found.season),
            _("ε {spent} of {limit}").format(spent=f"{found.epsilon:.2f}", limit=f"{found.limit:g}"),
        )
        for found in seasons
    )
    if any(found.epsilon >= found.limit for found in seasons):
        return State(_("Used up"), "bad", facts)
    return State(_("Within the limits"), "good", facts)


_CARDS: tuple[tuple[Text, str, Callable[[Desk], State]], ...] = (
    (_("Enrolment"), "/machine", _enrolment),
    (_("Season"), "/season", _season),
    (_("Decisions"), "/decisions", _decisions),
    (_("Rights of students"), "/rights", _orders),
    (_("Privacy budget"), "/budget", _budget),
)

"""What sealing a position's decisions would do, before anybody does it: numbers for the decider alone.

Promises: nothing is changed and nobody is asked; a reason for which sealing would be refused is named here
first. That it is refused is not decided here: `decisions.seal` looks again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from noren_client import alignment, campaign_files
from noren_client.applicants import Decision, applicants_for, offerees
from noren_client.gate import decisions
from noren_client.gate.decisions import NOT_YET
from noren_client.gate.staff import Authorised
from noren_core.errors import LocalProtocolError
from noren_core.rights.gate.roles import Action


@dataclass(frozen=True, slots=True)
class Positions:
    """Names of positions: every one that somebody applied for, and those with an offer without an answer."""

    every: tuple[str, ...]
    with_open_offer: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """The applicants of one position in the season that a campaign scores.

    Attributes:
        applicants, offers, no_offers, holds: in the company's file.
        sealed: who are in a batch already; `unsealed` would be in the next one.
        batches_left: of the plan's number.
        cooling_seconds: how long after sealing the gate stays shut.
        obstacles: codes of what sealing would be refused with; empty if nothing is in the way.
    """

    position: str
    applicants: int = field(repr=False)
    offers: int = field(repr=False)
    no_offers: int = field(repr=False)
    holds: int = field(repr=False)
    sealed: int = field(repr=False)
    batches_left: int
    cooling_seconds: int
    obstacles: tuple[str, ...]

    @property
    def unsealed(self) -> int:
        """Who would be in the next batch."""
        return self.applicants - self.sealed


def positions(company_dir: Path, campaign: str) -> Positions:
    """The positions of the season that a campaign scores, in the order of the company's own file."""
    plan = campaign_files.load_plan(company_dir, campaign)
    people = alignment.applicants(company_dir, plan)
    return Positions(
        every=tuple(dict.fromkeys(p.position for p in people if p.season == plan.score_season)),
        with_open_offer=tuple(dict.fromkeys(p.position for p in offerees(people, plan.score_season))),
    )


def preview(company_dir: Path, campaign: str, position: str, *, decider: Authorised) -> Preview:
    """What sealing this position would seal.

    Raises:
        LocalProtocolError: with code ROLE_FORBIDDEN, unless `decider` may seal it.
        DataError: if the company's file is malformed.
    """
    plan = campaign_files.load_plan(company_dir, campaign)
    decider.verify(Action.SEAL_DECISION, position=position, season=plan.score_season)
    kept = decisions.kept_batches(company_dir, campaign)
    people = applicants_for(
        alignment.applicants(company_dir, plan), season=plan.score_season, position=position
    )
    decided = Counter(person.decision for person in people)
    sealed = sum(decisions.batch_of(kept, person.key) is not None for person in people)
    begun = bool(kept) and kept[-1].index == NOT_YET
    obstacles = [] if begun or len(kept) < plan.gate.batches else ["BATCH_LIMIT"]
    if not begun and sealed == len(people):
        obstacles.append("NOTHING_TO_SEAL")
    if decided[Decision.HOLD]:
        obstacles.append("BATCH_HAS_UNRESOLVED")
    if not begun and 0 < len(people) - sealed < plan.gate.minimum_batch:
        obstacles.append("BATCH_TOO_SMALL")
    try:
        decisions.verify_unchanged(people, kept)
    except LocalProtocolError as error:
        obstacles.append(error.code)
    return Preview(
        position=position,
        applicants=len(people),
        offers=decided[Decision.OFFER],
        no_offers=decided[Decision.NO_OFFER],
        holds=decided[Decision.HOLD],
        sealed=sealed,
        batches_left=plan.gate.batches - len(kept),
        cooling_seconds=plan.gate.cooling_seconds,
        obstacles=tuple(obstacles),
    )

"""What one person can lose over several campaigns: the worst that the ledger leaves possible.

A person trains at one company per campaign, so a campaign costs her what it costs a record of its worst
company, and every campaign in which a record of hers is used costs her again. Who was in which campaign is in
no ledger. Two things bound it, and both are for the platform's consent service to keep: in how many campaigns
a record may be used, and the lifetime total at which she is left out. The bound here is the smaller one; the
assumption stands in every report. What the ledger does prove is checked: if a single campaign spends more
than the lifetime total, the stop was kept for nobody in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from noren_audit.verification.budget import Accountants, reserved_events, rounded_up, row_event
from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.closed_form import epsilon_closed_form, mu_squared
from noren_audit.verification.findings import Code, Findings
from noren_core.errors import ConfigurationError
from noren_core.privacy.events import GaussianEvent

Events = Sequence[GaussianEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSpending:
    """What one person can lose over the campaigns that train on one season, or over all.

    Attributes:
        season: the training season that her records are of; None for all campaigns of the ledger, in which
            she may have different records.
        campaigns: how many campaigns reserved rounds on it.
        epsilons: of the worst 1, 2, … of them together, each at its worst company, as far as the plans let
            one record be used; over all seasons nothing but the stop ends the list.
        stop: the lifetime total that the plans state; infinite if they state it at different deltas.
        row_epsilon: of the rows, or sums of them, that as many campaigns release, towards one company that
            had all of them; a second number about something else.
        delta: of both; the plans' smallest for a person.
    """

    season: str | None
    campaigns: int
    epsilons: tuple[float, ...]
    stop: float
    row_epsilon: float
    delta: str

    @property
    def bound(self) -> float:
        """The most that she can lose, if the consent service keeps what the plans say."""
        return min(self.epsilons[-1], self.stop)


def person_spending(
    campaigns: Sequence[CampaignAudit], accountants: Accountants, findings: Findings
) -> tuple[PersonSpending, ...]:
    """The bound for every training season, and for all campaigns together at the end; nothing if none began.

    A campaign counts as soon as a round of it is reserved, with its whole plan.
    """
    begun = [campaign for campaign in campaigns if campaign.events]
    if not begun:
        return ()
    for campaign in begun:
        _check_stop(campaign, accountants, findings)
    seasons = sorted({season for campaign in begun for season in campaign.plan.train_seasons})
    by_season = [
        _spending(season, [c for c in begun if season in c.plan.train_seasons], accountants)
        for season in seasons
    ]
    return (*by_season, _spending(None, begun, accountants))


def _check_stop(campaign: CampaignAudit, accountants: Accountants, findings: Findings) -> None:
    """Whoever is in a campaign that spends more than the stop has passed it: it was not kept for anybody."""
    person, name = campaign.plan.person, campaign.plan.campaign
    events = _worst_company(campaign, person.delta)
    epsilon = accountants.epsilons(events, person.delta, campaign=name).pld
    if epsilon > float(person.epsilon):
        findings.add(
            Code.PERSON_EPSILON_EXCEEDED,
            f"expected one campaign to spend at most a person's total of {person.epsilon}, "
            f"got {rounded_up(epsilon)}",
            campaign=name,
        )


def _spending(
    season: str | None, campaigns: Sequence[CampaignAudit], accountants: Accountants
) -> PersonSpending:
    persons = [campaign.plan.person for campaign in campaigns]
    delta = min((person.delta for person in persons), key=Fraction)
    allowed = max(person.campaigns for person in persons) if season is not None else len(campaigns)
    worst = [_worst_company(campaign, delta) for campaign in campaigns]
    rounds = sorted(worst, key=lambda events: _loss(events, delta), reverse=True)[:allowed]
    by_loss = sorted(campaigns, key=lambda campaign: mu_squared([row_event(campaign.plan.release)]))
    releases = [campaign.plan.release for campaign in by_loss[-allowed:]]
    counts = range(1, len(rounds) + 1) if season is not None else [len(rounds)]
    has_one_delta = len({person.delta for person in persons}) == 1
    named = {} if season is None else {"season": season}
    return PersonSpending(
        season=season,
        campaigns=len(campaigns),
        epsilons=tuple(accountants.epsilons(_joined(rounds[:count]), delta, **named).pld for count in counts),
        stop=max(float(person.epsilon) for person in persons) if has_one_delta else inf,
        row_epsilon=accountants.row_epsilons(releases, delta, **named).pld,
        delta=delta,
    )


def _worst_company(campaign: CampaignAudit, delta: str) -> Events:
    """Everything that the company reserved whose records lose most."""
    reserved = (reserved_events(campaign, company) for company in sorted(campaign.events))
    return max(reserved, key=lambda events: _loss(events, delta))


def _loss(events: Events, delta: str) -> tuple[float, Fraction]:
    """For comparing: epsilon, in which the grid counts; infinite where no accountant can tell."""
    try:
        epsilon = epsilon_closed_form(events, delta)
    except ConfigurationError:
        epsilon = inf
    return epsilon, mu_squared(events)


def _joined(lists: Sequence[Events]) -> list[GaussianEvent]:
    return [event for events in lists for event in events]

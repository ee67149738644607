"""Recomputing what was spent, from the events in the ledger and nothing else.

Two numbers, never added: epsilon of the rounds (what the head says about a record), from the intents of
each company and campaign, because a round is spent when it is reserved; and epsilon of the row release
(what a company's sealed training rows, or its answer of sums, say about one student's row), from the plan. A
company's own or the platform's idea of epsilon plays no part.

Three accountants answer, none of which uses another's code: privacy loss distributions, whose answer counts;
the exact closed form, in floats and, where python-flint is installed, in balls; and Rényi divergences, as a
ceiling. That they disagree is a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, inf, isfinite, isqrt

from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.certified import Bracket, certified_epsilon
from noren_audit.verification.closed_form import MAX_COORDINATES, epsilon_closed_form
from noren_audit.verification.findings import Code, Evidence, Findings
from noren_audit.verification.trust import Trust
from noren_core.errors import ConfigurationError
from noren_core.privacy.accounting import MAX_EPSILON
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.season.plan import CampaignPlan, Release, TrainingMode

# The Rényi accountant is looser. The slack is the margin and the grid term that only the tighter one carries.
_CEILING_SLACK = 1e-2
_TOLERANCE = 1e-3
"""How far above the exact value the accountant by privacy loss distributions may be: its interval."""

_CERTIFIED_TOLERANCE = 1e-4
_PRECISION = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Epsilons:
    """One quantity by every accountant.

    Attributes:
        pld: by privacy loss distributions, rounded up; the one that is compared with limits.
        closed_form: the exact value, in floats.
        certified: rigorous bounds of the exact value; None if python-flint is not installed.
        rdp: by Rényi divergences; a looser upper bound.
    """

    pld: float
    closed_form: float
    certified: Bracket | None
    rdp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSpending:
    """What the rounds of one company in one campaign spent of a record's privacy.

    Attributes:
        releases: reserved rounds, finished or not.
        epsilon: at `delta`, of these; by privacy loss distributions; an upper bound.
        epsilon_rdp: the same by Rényi divergences; a looser upper bound, as a cross-check.
        epsilon_closed_form: the same by the exact formula.
        certified: rigorous bounds around the exact formula; None if not computed.
        reserved: epsilon of the whole plan, which is reserved as soon as one round is.
        limit: the plan's epsilon, which `reserved` must not exceed.
    """

    campaign: str
    company: str
    releases: int
    epsilon: float
    epsilon_rdp: float
    epsilon_closed_form: float
    certified: Bracket | None
    reserved: float
    delta: str
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpending:
    """What a student's row loses towards the company: by its own release, or by the one answer of sums."""

    campaign: str
    mode: TrainingMode
    epsilon: float
    epsilon_closed_form: float
    certified: Bracket | None
    delta: str
    limit: str


def rounded_up(epsilon: float) -> str:
    """Four decimals, never less than the bound."""
    return f"{ceil(epsilon * 10_000) / 10_000:.4f}" if isfinite(epsilon) else "inf"


def rounded_down(epsilon: float) -> str:
    """Four decimals, never more than the bound."""
    return f"{floor(epsilon * 10_000) / 10_000:.4f}"


def row_event(release: Release) -> GaussianEvent:
    """The row release as one Gaussian release; its noise in units of the distance between neighbours.

    Neighbours differ in one student's row, which is replaced by any other: `release.sensitivity` integer
    units under discrete Gaussian noise of the plan's variance per coordinate.
    """
    # Rounded down: the safe side.
    deviation = Fraction(isqrt(release.variance * _PRECISION**2), _PRECISION)
    return GaussianEvent(
        noise_multiplier=deviation / release.sensitivity,
        clipping_norm=release.sensitivity,
        grid=1,
        count=1,
        placement=NoisePlacement.LOCAL,
        tolerated=0,
    )


def reserved_events(campaign: CampaignAudit, company: str) -> list[GaussianEvent]:
    """What the company's first intent reserved: its intents, and the plan's further rounds."""
    events = campaign.events[company]
    return [*events, *[campaign.round_event] * (campaign.plan.training.rounds - len(events))]


class Accountants:
    """Epsilon of lists of events by every accountant; equal lists are composed once."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._known: dict[tuple[frozenset[tuple[GaussianEvent, int]], str], Epsilons] = {}
        self._known_rows: dict[tuple[frozenset[tuple[Release, int]], str], Epsilons] = {}

    def epsilons(self, events: Iterable[GaussianEvent], delta: str, **where: Evidence) -> Epsilons:
        """Epsilon at `delta`, infinite where no accountant can tell; what is wrong becomes a finding.

        Args:
            events: what is composed.
            delta: at which.
            **where: names for the finding, such as campaign and company.
        """
        counts = Counter(events)
        key = frozenset(counts.items()), delta
        if key not in self._known:
            self._known[key] = self._checked(lambda: _compose(list(counts.elements()), delta), where)
        return self._known[key]

    def row_epsilons(self, releases: Iterable[Release], delta: str, **where: Evidence) -> Epsilons:
        """The same of row releases, each with fresh noise, towards somebody who has all of them."""
        counts = Counter(releases)
        key = frozenset(counts.items()), delta
        if key not in self._known_rows:
            self._known_rows[key] = self._checked(lambda: _compose_rows(counts, delta), where)
        return self._known_rows[key]

    def _checked(self, compose: Callable[[], Epsilons], where: Mapping[str, Evidence]) -> Epsilons:
        try:
            found = compose()
        except ConfigurationError as error:
            self._findings.add(Code.EPSILON_NOT_COMPUTABLE, error.message, index=None, **where)
            return Epsilons(pld=inf, closed_form=inf, certified=None, rdp=inf)
        self._compare(found, where)
        return found

    def _compare(self, found: Epsilons, where: Mapping[str, Evidence]) -> None:
        """The tighter accountant lies between the exact value and the looser one."""
        if not isfinite(found.pld):
            return
        bracket = found.certified or Bracket(found.closed_form, found.closed_form)
        agree = (
            found.closed_form <= found.pld <= found.closed_form + _TOLERANCE
            and found.pld <= found.rdp + _CEILING_SLACK
            and bracket.lower <= found.closed_form + _CERTIFIED_TOLERANCE
            and found.closed_form - _CERTIFIED_TOLERANCE <= bracket.upper <= found.pld
        )
        if not agree:
            self._findings.add(
                Code.ACCOUNTANTS_DISAGREE,
                "expected the accountant by loss distributions just above the exact value, below the looser",
                index=None,
                **where,
                pld=rounded_up(found.pld),
                closed_form=rounded_up(found.closed_form),
                certified=rounded_up(bracket.upper),
                rdp=rounded_up(found.rdp),
            )


class Budget:
    """Epsilon of every campaign, compared with its plan's."""

    def __init__(self, trust: Trust, accountants: Accountants, findings: Findings) -> None:
        self._trust = trust
        self._accountants = accountants
        self._findings = findings

    def rounds(self, campaign: CampaignAudit) -> list[RoundSpending]:
        """Epsilon of every company that reserved a round, compared with the plan's."""
        return [self._company(campaign, company) for company in sorted(campaign.events)]

    def rows(self, plan: CampaignPlan) -> RowSpending:
        """Epsilon of the row release, compared with the plan's."""
        release = plan.release
        found = self._accountants.row_epsilons([release], release.delta, campaign=plan.campaign)
        if found.pld > float(release.epsilon):
            self._findings.add(
                Code.ROW_EPSILON_EXCEEDED,
                f"expected the row release to spend at most {release.epsilon}, got {rounded_up(found.pld)}",
                campaign=plan.campaign,
            )
        return RowSpending(
            campaign=plan.campaign,
            mode=plan.mode,
            epsilon=found.pld,
            epsilon_closed_form=found.closed_form,
            certified=found.certified,
            delta=release.delta,
            limit=release.epsilon,
        )

    def check_limits(self, index: int, plan: CampaignPlan) -> None:
        """The auditor's own limits bind every plan."""
        trust = self._trust
        for what, planned, limit in (
            ("epsilon", plan.training.epsilon, trust.max_epsilon),
            ("delta", plan.training.delta, trust.max_delta),
            ("row epsilon", plan.release.epsilon, trust.max_row_epsilon),
            ("row delta", plan.release.delta, trust.max_delta),
            ("person's epsilon", plan.person.epsilon, trust.max_person_epsilon),
            ("person's delta", plan.person.delta, trust.max_delta),
        ):
            if limit is not None and Fraction(planned) > limit:
                self._findings.add(
                    Code.PLAN_ABOVE_TRUST,
                    f"{what}: expected at most the trust file's limit, got {planned}",
                    index=index,
                    campaign=plan.campaign,
                )

    def _company(self, campaign: CampaignAudit, company: str) -> RoundSpending:
        plan, events = campaign.plan, campaign.events[company]
        where = {"campaign": plan.campaign, "company": company}
        spent = self._accountants.epsilons(events, plan.training.delta, **where)
        reserved = self._accountants.epsilons(
            reserved_events(campaign, company), plan.training.delta, **where
        )
        if reserved.pld > float(plan.training.epsilon):
            self._findings.add(
                Code.EPSILON_EXCEEDED,
                f"expected at most {plan.training.epsilon} at delta {plan.training.delta}, "
                f"got {rounded_up(reserved.pld)}",
                index=None,
                **where,
                releases=len(events),
            )
        return RoundSpending(
            **where,
            releases=sum(event.count for event in events),
            epsilon=spent.pld,
            epsilon_rdp=spent.rdp,
            epsilon_closed_form=spent.closed_form,
            certified=spent.certified,
            reserved=reserved.pld,
            delta=plan.training.delta,
            limit=plan.training.epsilon,
        )


def _compose(events: Sequence[GaussianEvent], delta: str) -> Epsilons:
    from noren_core.privacy.accounting import epsilon_pld

    return _judged(events, delta, MAX_COORDINATES, lambda: epsilon_pld(events, delta))


def _compose_rows(counts: Counter[Release], delta: str) -> Epsilons:
    """Of one kind, as the plan's own length and the accountant of rows say; of several, as any releases."""
    from noren_core.privacy.accounting import epsilon_rows

    events = [row_event(release) for release in counts.elements()]
    if len(counts) > 1:
        return _compose(events, delta)
    [(release, count)] = counts.items()
    return _judged(
        events,
        delta,
        release.dimensions,
        lambda: epsilon_rows(
            variance=release.variance,
            sensitivity=release.sensitivity,
            delta=delta,
            coordinates=release.dimensions,
            count=count,
        ),
    )


def _judged(
    events: Sequence[GaussianEvent], delta: str, coordinates: int, by_loss: Callable[[], float]
) -> Epsilons:
    """`by_loss` by privacy loss distributions, and the other accountants."""
    from noren_core.privacy.accounting import epsilon_rdp

    exact = epsilon_closed_form(events, delta, coordinates=coordinates)
    return Epsilons(
        # Distributions of very large losses take memory without bound, to end in infinity.
        pld=by_loss() if exact <= MAX_EPSILON else inf,
        closed_form=exact,
        certified=certified_epsilon(events, delta, coordinates=coordinates),
        rdp=epsilon_rdp(events, delta),
    )

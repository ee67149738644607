"""Recomputing what was spent, from the events in the ledger and nothing else.

Two numbers, never added: epsilon of the rounds (what the head says about a record), from the intents of
each company and campaign, because a round is spent when it is reserved; and epsilon of the row release
(what a company's sealed training rows say about the student), from the plan. A company's own or the
platform's idea of epsilon plays no part.

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

from noren_audit.campaign import CampaignAudit
from noren_audit.certified import Bracket, certified_epsilon
from noren_audit.closed_form import epsilon_closed_form
from noren_audit.findings import Code, Evidence, Findings
from noren_audit.trust import Trust
from noren_core.errors import ConfigurationError
from noren_core.privacy.accounting import MAX_EPSILON
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.season.plan import CampaignPlan, RowRelease

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
    """What releasing one sealed training row spends of its student's privacy towards the company."""

    campaign: str
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


def row_event(rows: RowRelease) -> GaussianEvent:
    """The row release as one Gaussian release; its noise in units of the distance between neighbours.

    Neighbours differ in one student's row: two vectors of norm at most `clip`, hence an L2 sensitivity of
    2 · clip · scale integer units, under discrete Gaussian noise of the plan's variance per coordinate.
    """
    distance = _row_distance(rows)
    deviation = Fraction(isqrt(rows.variance * _PRECISION**2), _PRECISION)  # rounded down: the safe side
    return GaussianEvent(
        noise_multiplier=deviation / distance,
        clipping_norm=distance,
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
        self._known_rows: dict[RowRelease, Epsilons] = {}

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

    def row_epsilons(self, rows: RowRelease, **where: Evidence) -> Epsilons:
        """Epsilon of one row release at its own delta and length."""
        if rows not in self._known_rows:
            self._known_rows[rows] = self._checked(lambda: _compose_row(rows), where)
        return self._known_rows[rows]

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
        found = self._accountants.row_epsilons(plan.rows, campaign=plan.campaign)
        if found.pld > float(plan.rows.epsilon):
            self._findings.add(
                Code.ROW_EPSILON_EXCEEDED,
                f"expected the row release to spend at most {plan.rows.epsilon}, got {rounded_up(found.pld)}",
                campaign=plan.campaign,
            )
        return RowSpending(
            campaign=plan.campaign,
            epsilon=found.pld,
            epsilon_closed_form=found.closed_form,
            certified=found.certified,
            delta=plan.rows.delta,
            limit=plan.rows.epsilon,
        )

    def check_limits(self, index: int, plan: CampaignPlan) -> None:
        """The auditor's own limits bind every plan."""
        trust = self._trust
        for what, planned, limit in (
            ("epsilon", plan.training.epsilon, trust.max_epsilon),
            ("delta", plan.training.delta, trust.max_delta),
            ("row epsilon", plan.rows.epsilon, trust.max_row_epsilon),
            ("row delta", plan.rows.delta, trust.max_delta),
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
    from noren_core.privacy.accounting import epsilon_pld, epsilon_rdp

    exact = epsilon_closed_form(events, delta)
    return Epsilons(
        # Distributions of very large losses take memory without bound, to end in infinity.
        pld=epsilon_pld(events, delta) if exact <= MAX_EPSILON else inf,
        closed_form=exact,
        certified=certified_epsilon(events, delta),
        rdp=epsilon_rdp(events, delta),
    )


def _compose_row(rows: RowRelease) -> Epsilons:
    from noren_core.privacy.accounting import epsilon_rdp, epsilon_rows

    events, length = [row_event(rows)], rows.dimensions
    exact = epsilon_closed_form(events, rows.delta, coordinates=length)
    bound = inf
    if exact <= MAX_EPSILON:
        bound = epsilon_rows(
            variance=rows.variance,
            sensitivity=_row_distance(rows),
            delta=rows.delta,
            coordinates=length,
        )
    return Epsilons(
        pld=bound,
        closed_form=exact,
        certified=certified_epsilon(events, rows.delta, coordinates=length),
        rdp=epsilon_rdp(events, rows.delta),
    )


def _row_distance(rows: RowRelease) -> Fraction:
    """Between two rows of norm at most `clip`, in integer units."""
    return 2 * Fraction(rows.clip) * rows.scale

"""Impact ratios, exact tests and calibration, from a people file.

* Impact ratio of a group: its rate divided by the highest rate of any group of the attribute (29 CFR
  1607.4(D); for scores, the share above the median of all, as in New York's rules for automated employment
  decision tools). Groups below 2 % of the people are reported and left out of the comparison.
* Two-sided Fisher exact test of a group against everybody else whose group is known.
* Consent: whether applicants who consented pass as often as those who did not. The company cannot know who
  did, so the ratio must be near 1; anything else is detriment, or a leak.
* Calibration: how often each band's people declined at each company, with a Clopper–Pearson interval.

Many tests are made at once; p-values are reported as they are, with their number, and an alert needs a
p-value below `ALERT_LEVEL` divided by that number (Bonferroni).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from noren_audit.fairness.people import UNKNOWN, Person

FOUR_FIFTHS = 0.8
SMALL_GROUP_SHARE = 0.02
ALERT_LEVEL = 0.05
_CONFIDENCE = 0.95

Test = Callable[[Person], bool | None]
"""Whether somebody is counted as selected; None leaves her out."""


@dataclass(frozen=True, slots=True)
class GroupRate:
    """One group of one attribute (or of two at once).

    Attributes:
        selected, total: people; for the auditor's eyes.
        ratio: rate over the best rate; None for a group too small to compare.
        p_value: of the exact test against everybody else; None where `ratio` is.
    """

    group: str
    selected: int
    total: int
    ratio: float | None
    p_value: float | None

    @property
    def rate(self) -> float:
        """The share that was selected."""
        return self.selected / self.total


@dataclass(frozen=True, slots=True)
class AttributeReport:
    """All groups of one attribute under one question, and how many people did not say."""

    attribute: str
    groups: tuple[GroupRate, ...]
    unknown: int

    @property
    def lowest_ratio(self) -> float | None:
        """The smallest impact ratio; None if there are no two groups to compare."""
        ratios = [item.ratio for item in self.groups if item.ratio is not None]
        return min(ratios) if len(ratios) > 1 else None


@dataclass(frozen=True, slots=True)
class BandCalibration:
    """One band at one company: how many of its people declined, and between which rates that is credible."""

    company: str
    band: int
    declined: int
    total: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ConsentComparison:
    """Pass rates of those who consented and those who did not."""

    consenting: tuple[int, int]
    others: tuple[int, int]
    ratio: float | None
    p_value: float | None

    @property
    def is_alert(self) -> bool:
        """CONSENT_DETRIMENT_ALERT: the ratio is off by a fifth, or the difference is no chance."""
        if self.ratio is None or self.p_value is None:
            return False
        is_off = not FOUR_FIFTHS <= self.ratio <= 1 / FOUR_FIFTHS
        return self.p_value < ALERT_LEVEL and (is_off or self.p_value < ALERT_LEVEL / 5)


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """Everything that is reported about one people file."""

    bands: tuple[AttributeReport, ...]
    band_intersections: tuple[AttributeReport, ...]
    passes: tuple[AttributeReport, ...]
    consents: tuple[AttributeReport, ...]
    consent_comparison: ConsentComparison
    calibration: tuple[BandCalibration, ...]

    @property
    def tests(self) -> int:
        """How many exact tests on groups were made."""
        return sum(item.p_value is not None for _, item in self._groups())

    def alerts(self) -> tuple[str, ...]:
        """What an auditor must look into: code and where, without numbers of people."""
        level = ALERT_LEVEL / max(1, self.tests)
        found = [
            f"IMPACT_RATIO {where}: {item.group}"
            for where, item in self._groups()
            if item.ratio is not None
            and item.p_value is not None
            and item.ratio < FOUR_FIFTHS
            and item.p_value < level
        ]
        if self.consent_comparison.is_alert:
            found.append("CONSENT_DETRIMENT_ALERT")
        return tuple(found)

    def _groups(self) -> Iterable[tuple[str, GroupRate]]:
        questions = {
            "bands": (*self.bands, *self.band_intersections),
            "passes": self.passes,
            "consents": self.consents,
        }
        for question, reports in questions.items():
            for report in reports:
                for item in report.groups:
                    yield f"{question}, {report.attribute}", item


def report(people: Sequence[Person]) -> FairnessReport:
    """All statistics of the people."""
    attributes = sorted(people[0].groups)
    above = _above_median(people)
    pairs = list(combinations(attributes, 2))
    return FairnessReport(
        bands=tuple(by_group(people, (name,), above) for name in attributes),
        band_intersections=tuple(by_group(people, pair, above) for pair in pairs),
        passes=tuple(by_group(people, (name,), lambda person: person.passed) for name in attributes),
        consents=tuple(by_group(people, (name,), lambda person: person.consented) for name in attributes),
        consent_comparison=compare_consent(people),
        calibration=calibration(people),
    )


def by_group(people: Sequence[Person], attributes: tuple[str, ...], is_selected: Test) -> AttributeReport:
    """Rates, impact ratios and exact tests over the groups of one attribute, or the crossing of several."""
    selected: Counter[str] = Counter()
    total: Counter[str] = Counter()
    unknown = 0
    for person in people:
        is_one = is_selected(person)
        if is_one is None:
            continue
        groups = [person.groups[name] for name in attributes]
        if UNKNOWN in groups:
            unknown += 1
            continue
        total[" × ".join(groups)] += 1
        selected[" × ".join(groups)] += is_one
    return AttributeReport(" × ".join(attributes), _rates(selected, total), unknown)


def compare_consent(people: Sequence[Person]) -> ConsentComparison:
    """Whether those who consented passed as often as those who did not."""
    counts = {True: [0, 0], False: [0, 0]}
    for person in people:
        counts[person.consented][0] += person.passed
        counts[person.consented][1] += 1
    (yes, all_yes), (no, all_no) = counts[True], counts[False]
    if not all_yes or not all_no:
        return ConsentComparison((yes, all_yes), (no, all_no), None, None)
    ratio = None if not no else (yes / all_yes) / (no / all_no)
    return ConsentComparison((yes, all_yes), (no, all_no), ratio, exact_p_value(yes, all_yes, no, all_no))


def calibration(people: Sequence[Person]) -> tuple[BandCalibration, ...]:
    """How often the people of each band declined, by company, with 95 % Clopper–Pearson intervals."""
    counts: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for person in people:
        if person.band is not None and person.declined is not None:
            counts[person.company, person.band][0] += person.declined
            counts[person.company, person.band][1] += 1
    return tuple(
        BandCalibration(company, band, declined, total, *credible_rates(declined, total))
        for (company, band), (declined, total) in sorted(counts.items())
    )


def exact_p_value(selected: int, total: int, other_selected: int, other_total: int) -> float:
    """Two-sided Fisher exact test that two groups have one rate."""
    from scipy.stats import fisher_exact

    table = [[selected, total - selected], [other_selected, other_total - other_selected]]
    return float(fisher_exact(table).pvalue)


def credible_rates(hits: int, total: int) -> tuple[float, float]:
    """The Clopper–Pearson interval at 95 % for `hits` of `total`."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(confidence_level=_CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _above_median(people: Sequence[Person]) -> Test:
    bands = [person.band for person in people if person.band is not None]
    middle = median(bands) if bands else 0
    return lambda person: None if person.band is None else person.band > middle


def _rates(selected: Mapping[str, int], total: Mapping[str, int]) -> tuple[GroupRate, ...]:
    everybody, hits = sum(total.values()), sum(selected.values())
    large = {group for group, count in total.items() if count >= SMALL_GROUP_SHARE * everybody}
    best = max((selected[group] / total[group] for group in large), default=0.0)
    rates = []
    for group in sorted(total):
        mine, count = selected[group], total[group]
        is_compared = group in large and len(large) > 1 and best > 0
        rates.append(
            GroupRate(
                group,
                mine,
                count,
                ratio=mine / count / best if is_compared else None,
                p_value=exact_p_value(mine, count, hits - mine, everybody - count) if is_compared else None,
            )
        )
    return tuple(rates)

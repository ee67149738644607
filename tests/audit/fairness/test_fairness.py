from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import comb, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_audit.cli import main
from noren_audit.fairness import publication, statistics
from noren_audit.fairness.people import Person, read_people
from noren_core.errors import ConfigurationError, DataError
from noren_core.privacy.discrete_gaussian import NoiseStream

HEADER = "company,consented,passed,band,outcome,group_gender,group_age"


def person(group: str, *, band: int | None = 1, consented: bool = True, passed: bool = True) -> Person:
    return Person("akane", consented, passed, band, None, {"gender": group})


def exactly(selected: int, total: int, other: int, other_total: int) -> float:
    """Fisher's exact test, summed over every table with these margins: slow and obvious."""
    hits, everybody = selected + other, total + other_total

    def chance(first: int) -> Fraction:
        ways = comb(total, first) * comb(other_total, hits - first)
        return Fraction(ways, comb(everybody, hits))

    seen = chance(selected)
    possible = range(max(0, hits - other_total), min(hits, total) + 1)
    return float(sum(p for p in map(chance, possible) if p <= seen * (1 + Fraction(1, 10**9))))


@settings(deadline=None)  # the first call loads the library
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_the_exact_test_is_the_sum_over_all_tables(a: int, b: int, c: int, d: int) -> None:
    """The library's p-value is the one of the definition."""
    if a + b == 0 or c + d == 0:
        return
    assert statistics.exact_p_value(a, a + b, c, c + d) == pytest.approx(exactly(a, a + b, c, c + d))


def test_impact_ratios_are_those_of_the_rule() -> None:
    """Forty-eight of 80 and twelve of 40 selected: rates .6 and .3, ratio one half (29 CFR 1607.4(D))."""
    people = [person("f", band=3)] * 48 + [person("f")] * 32 + [person("m", band=3)] * 12 + [person("m")] * 28
    found = statistics.report(people)
    rates = {item.group: item for item in found.bands[0].groups}
    assert (rates["f"].ratio, rates["m"].ratio) == (1.0, 0.5)
    assert found.bands[0].lowest_ratio == 0.5
    assert [alert.split()[0] for alert in found.alerts()] == ["IMPACT_RATIO"]


def test_a_small_group_is_shown_and_not_compared() -> None:
    """A group below 2 % of the people has counts and no ratio; who does not say is counted apart."""
    people = [person("f", band=2)] * 60 + [person("m")] * 60 + [person("x")] * 2 + [person("")] * 5
    report = statistics.by_group(people, ("gender",), lambda p: p.band == 2)
    small = next(item for item in report.groups if item.group == "x")
    assert (small.total, small.ratio, small.p_value) == (2, None, None)
    assert report.unknown == 5


@pytest.mark.parametrize(("without", "expected"), [(80, False), (40, True)])
def test_worse_chances_of_those_who_did_not_consent_raise_an_alert(without: int, expected: bool) -> None:
    """Equal pass rates are silent; half the pass rate without consent is CONSENT_DETRIMENT_ALERT."""
    people: list[Person] = []
    for consented, passed in ((True, 80), (False, without)):
        people += [person("f", consented=consented, passed=True)] * passed
        people += [person("f", consented=consented, passed=False)] * (100 - passed)
    alerts = statistics.report(people).alerts()
    assert ("CONSENT_DETRIMENT_ALERT" in alerts) is expected


def test_calibration_counts_each_company_and_band() -> None:
    """Ten people in a band of whom three declined: the Clopper–Pearson interval of 3 of 10."""
    people = [
        Person("akane", True, True, 2, declined, {"gender": "f"}) for declined in [True] * 3 + [False] * 7
    ]
    row = statistics.calibration([*people, person("f")])[0]
    assert (row.company, row.band, row.declined, row.total) == ("akane", 2, 3, 10)
    assert (round(row.low, 4), round(row.high, 4)) == (0.0667, 0.6525)


def test_intersections_cross_two_attributes(tmp_path: Path) -> None:
    """Every pair of attributes is looked at together."""
    file = write(tmp_path, ["akane,yes,yes,1,,f,young", "akane,yes,yes,2,,m,old"])
    found = statistics.report(read_people(file))
    assert [item.attribute for item in found.band_intersections] == ["age × gender"]


def test_published_counts_carry_the_noise_that_epsilon_asks_for() -> None:
    """The variance gives (ε, δ/2) by zCDP; the counts really differ from the truth, though not by much."""
    people = [person(f"g{number % 4}", band=1 + number % 2) for number in range(4000)]
    public = publication.publish(people, epsilon=1.0, delta=1e-6, stream=NoiseStream.generate())
    rho = 1 / (2 * public.variance)
    assert rho + 2 * sqrt(rho * log(2e6)) <= 1.0
    truth = Counter((item.groups["gender"], item.band) for item in people)
    shown = {(g.group, band): count for g in public.groups for band, count in enumerate(g.bands, start=1)}
    assert {group for group, _ in shown} == {f"g{number}" for number in range(4)}
    assert any(shown[cell] != truth[cell] for cell in truth)
    assert all(abs(shown[cell] - truth[cell]) < 10 * sqrt(public.variance) for cell in truth)


def test_one_more_person_changes_one_count_of_what_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the median of all bands moves with her; with the same noise, one cell differs, by one."""
    monkeypatch.setattr(publication, "sample", lambda size, **_: np.zeros(size, dtype=np.int64))
    people = [person("f", band=1)] * 500 + [person("m", band=2)] * 500

    def published(everybody: list[Person]) -> Counter[tuple[str, int]]:
        public = publication.publish(everybody, epsilon=8.0, delta=1e-4, stream=NoiseStream.generate())
        return Counter(
            {(g.group, band): count for g in public.groups for band, count in enumerate(g.bands, start=1)}
        )

    before, after = published(people), published([*people, person("m", band=2)])
    assert after - before == Counter({("m", 2): 1})


def test_a_group_of_one_is_not_published() -> None:
    """That it exists would be her secret; large groups are."""
    people = [person("f", band=1)] * 2000 + [person("of her own", band=3)]
    for _ in range(50):
        public = publication.publish(people, epsilon=1.0, delta=1e-6, stream=NoiseStream.generate())
        assert [group.group for group in public.groups] == ["f"]


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-6), (9, 1e-6), (1, 0), (1, 0.1)])
def test_a_publication_without_protection_is_refused(epsilon: float, delta: float) -> None:
    """Parameters with which noise protects nobody are refused."""
    people = [person("f"), person("m")]
    with pytest.raises(ConfigurationError):
        publication.publish(people, epsilon=epsilon, delta=delta, stream=NoiseStream.generate())


def write(directory: Path, rows: Sequence[str], header: str = HEADER) -> Path:
    path = directory / "people.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (HEADER, "akane,maybe,yes,1,,f,young"),
        (HEADER, "akane,yes,yes,12,,f,young"),
        (HEADER, "akane,yes,yes,x,,f,young"),
        (HEADER, "akane,yes,yes,1,hired,f,young"),
        (HEADER, "akane,yes,yes,1,,f"),
        (HEADER, f"akane,yes,yes,1,,{'f' * 99},young"),
        ("company,consented,passed,band,outcome", "akane,yes,yes,1,"),
        (HEADER + ",name", "akane,yes,yes,1,,f,young,Hanako"),
    ],
)
def test_a_malformed_file_is_refused_without_repeating_it(tmp_path: Path, header: str, row: str) -> None:
    """The error names place and expectation, and nothing that stands in the file."""
    with pytest.raises(DataError) as refused:
        read_people(write(tmp_path, [row], header))
    assert "Hanako" not in refused.value.message
    assert "maybe" not in refused.value.message


def test_the_command_reports_and_its_exit_code_says_whether_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`noren-audit fairness` prints every statistic, and ends with 9 on an alert."""
    rows = ["akane,yes,yes,3,declined,f,young"] * 40 + ["akane,yes,yes,1,accepted,m,young"] * 40
    file = write(tmp_path, [*rows, "akane,no,no,,,m,old"])
    code = main(["fairness", str(file), "--publish", str(tmp_path / "public.json"), "--json"])
    fields = json.loads(capsys.readouterr().out)
    assert code == 9
    assert fields["alerts"]
    assert json.loads((tmp_path / "public.json").read_text())["epsilon"] == 1.0
    assert main(["fairness", str(file)]) == 9
    assert "impact ratio" in capsys.readouterr().out


def test_it_works_on_the_groups_of_a_real_data_set(tmp_path: Path) -> None:
    """OULAD's gender, age, deprivation and disability: groups, intersections and calibration are computed."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "oulad"
    if not folder.exists():
        pytest.skip("OULAD is not here (shared/data/oulad)")
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "studentInfo.parquet").to_pylist()
    people = [
        Person(
            company=row["code_module"],
            consented=True,
            passed=True,
            band=1 + min(2, int(row["num_of_prev_attempts"])),
            declined=str(row["final_result"]).lower() == "withdrawn",
            groups={name: str(row[name] or "") for name in ("gender", "age_band", "imd_band", "disability")},
        )
        for row in table
    ]
    found = statistics.report(people)
    assert {item.attribute for item in found.bands} == {"gender", "age_band", "imd_band", "disability"}
    assert all(item.unknown + sum(g.total for g in item.groups) == len(people) for item in found.bands)
    assert {row.company for row in found.calibration} == {row["code_module"] for row in table}

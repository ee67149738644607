"""From an operator's few choices to a complete plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import exp
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.ledger.cosignature import CosignerKey
from noren_core.privacy import accounting
from noren_core.season.head import HeadState, attenuation
from noren_core.season.plan import MAX_COMPANIES, CampaignPlan, Witnesses
from noren_core.season.round_event import round_event
from noren_server import campaigns
from noren_server.campaigns import PlanChoices, padded_batch, publish_plan, write_plan
from noren_server.embeddings import TRAINING_ROW_SCALE
from noren_server.platform_files import Platform, initialise
from noren_server.store import EnrolmentRecord

BUNDLE = "ab" * 32
TASK = {"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": []}
CHOICES = PlanChoices(campaign="spring", task=TASK, train_seasons=("2025",), score_season="2026")
FILE = """
campaign = "spring"
train_seasons = ["2024", "2025"]
score_season = "2026"
rounds = 4
band_edges = ["0.3"]
[task]
name = "decline"
positive = ["declined"]
negative = ["accepted"]
excluded = []
"""


def sizes(count: int) -> dict[str, int]:
    return {f"company-{number:03d}": 50 + number for number in range(count)}


@pytest.fixture
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration takes seconds; where noise is not the question, it is the same number every time."""
    monkeypatch.setattr(accounting, "noise_multiplier_for", lambda **_: "12.5")
    monkeypatch.setattr(accounting, "gaussian_row_sigma", lambda **_: Fraction(2000))


@pytest.fixture(scope="module")
def calibrated() -> CampaignPlan:
    """A plan with its real noise."""
    return write_plan(CHOICES, sizes(5), BUNDLE)


def test_the_rounds_stay_within_their_epsilon(calibrated: CampaignPlan) -> None:
    """The epsilon of all rounds, recomputed from the plan alone, is at most the plan's and not far below."""
    event = replace(round_event(calibrated), count=calibrated.training.rounds)
    epsilon = accounting.epsilon_pld([event], calibrated.training.delta)
    assert 0.99 < epsilon <= Fraction(calibrated.training.epsilon) == 1


def test_the_rows_stay_within_their_epsilon(calibrated: CampaignPlan) -> None:
    """So is the epsilon of one released row, for replacing it by any other within the clipping norm."""
    rows = calibrated.rows
    assert rows.scale == TRAINING_ROW_SCALE
    assert Fraction(rows.clip) == Fraction("2.5")  # 1.25 · √4
    epsilon = accounting.epsilon_rows(
        variance=rows.variance,
        sensitivity=2 * Fraction(rows.clip) * rows.scale,
        delta=rows.delta,
        coordinates=rows.dimensions,
    )
    assert 7.9 < epsilon <= Fraction(rows.epsilon) == 8


@pytest.mark.parametrize(
    ("count", "threshold", "minimum", "tolerated"),
    [
        (3, 3, 3, 1),
        (4, 3, 4, 1),
        (5, 4, 5, 1),
        (6, 5, 5, 2),
        (8, 6, 6, 2),
        (12, 9, 9, 4),
        (200, 150, 150, 66),
    ],
)
@pytest.mark.usefixtures("known_noise")
def test_cohort_sizes_follow_from_the_number_of_companies(
    count: int, threshold: int, minimum: int, tolerated: int
) -> None:
    """Threshold three quarters, above two thirds; minimum cohort five where there are; a third tolerated."""
    plan = write_plan(CHOICES, sizes(count), BUNDLE)
    assert (plan.threshold, plan.minimum_cohort, plan.training.tolerated) == (threshold, minimum, tolerated)
    assert plan.training.placement == "distributed"


@pytest.mark.usefixtures("known_noise")
def test_every_possible_cohort_has_a_plan() -> None:
    """From three companies to the most there may be, with any minimum, a plan within the bounds comes out."""
    for count in range(3, MAX_COMPANIES + 1, 7):
        for minimum in (2, 5, count, 1000):
            plan = write_plan(replace(CHOICES, minimum_cohort=minimum), sizes(count), BUNDLE)
            assert 3 * plan.threshold > 2 * count
            assert 4 * plan.threshold >= 3 * count
            assert plan.threshold <= plan.minimum_cohort <= count
            assert plan.minimum_cohort >= min(minimum, count)
            assert plan.training.tolerated >= count - plan.minimum_cohort


@pytest.mark.usefixtures("known_noise")
def test_two_companies_are_too_few() -> None:
    """A sum of two is the other's secret: below three companies there is no plan."""
    for count in (0, 1, 2):
        with pytest.raises(ConfigurationError, match=f"at least 3 companies, got {count}"):
            write_plan(CHOICES, sizes(count), BUNDLE)


@pytest.mark.parametrize("name", ["delta", "row_delta"])
@pytest.mark.usefixtures("known_noise")
def test_a_delta_that_publishes_a_record_is_refused(name: str) -> None:
    """Above a tenth over the sum of the declared sizes, epsilon says nothing; the reason is told."""
    declared = dict.fromkeys(sizes(5), 2000)
    write_plan(replace(CHOICES, **{name: "0.00001"}), declared, BUNDLE)
    with pytest.raises(DataError, match=rf"plan\.{name}.*lets a whole record be published"):
        write_plan(replace(CHOICES, **{name: "0.000011"}), declared, BUNDLE)


@pytest.mark.usefixtures("known_noise")
def test_witnesses_and_sentinels_are_in_the_plan() -> None:
    """Eight sentinels unless the operator chooses otherwise, and whoever cosigns the ledger."""
    key = CosignerKey("witness.example", bytes(32)).to_text()
    plan = write_plan(CHOICES, sizes(5), BUNDLE, Witnesses((key,), 1))
    assert (plan.training.sentinels, plan.witnesses) == (8, Witnesses((key,), 1))
    plan = write_plan(replace(CHOICES, sentinels=0), sizes(5), BUNDLE)
    assert (plan.training.sentinels, plan.witnesses) == (0, Witnesses((), 0))
    with pytest.raises(DataError, match="sentinels"):
        write_plan(replace(CHOICES, sentinels=65), sizes(5), BUNDLE)


@pytest.mark.parametrize(
    ("declared", "batch"), [(0, 64), (1, 64), (64, 64), (65, 128), (128, 128), (1000, 1024), (32_768, 32_768)]
)
def test_batches_are_padded_to_a_power_of_two(declared: int, batch: int) -> None:
    """A batch holds the declared size and is one of few sizes, at least 64."""
    assert padded_batch(declared) == batch


@given(st.integers(1, 2**30))
def test_a_padded_batch_holds_what_was_declared(declared: int) -> None:
    """A power of two, at least what was declared, and less than twice that or 64."""
    batch = padded_batch(declared)
    assert batch & (batch - 1) == 0
    assert declared <= batch
    assert batch == 64 or batch < 2 * declared


@pytest.mark.usefixtures("known_noise")
def test_what_the_plan_says_of_each_company() -> None:
    """Sorted names, padded batches, one evaluation per padded place of two batches; the sum normalises."""
    plan = write_plan(CHOICES, {"c": 300, "a": 50, "b": 128}, BUNDLE)
    assert [(m.company, m.padded_batch, m.evaluations) for m in plan.cohort] == [
        ("a", 64, 128),
        ("b", 128, 256),
        ("c", 512, 1024),
    ]
    assert plan.training.normaliser == 478
    assert (plan.training.rounds, plan.training.average_from) == (6, 4)
    assert plan.bundle_sha256 == BUNDLE


def test_the_head_begins_at_what_the_operator_expects() -> None:
    """One log-odds for each deviation of the index, as rows under noise show it; the bias at the rate."""
    choices = replace(CHOICES, index_direction=-1, expected_rate="0.2")
    plan = write_plan(choices, sizes(5), BUNDLE)
    slope, *others, bias = plan.training.prior
    assert slope / 2**16 * attenuation(plan.rows) == pytest.approx(-1, abs=1e-4)
    assert others == [0, 0, 0]
    assert 1 / (1 + exp(-bias / 2**16)) == pytest.approx(0.2, abs=1e-5)
    assert set(write_plan(CHOICES, sizes(5), BUNDLE).training.prior) == {0}


@pytest.mark.parametrize(
    "change",
    [
        {"campaign": "Spring"},
        {"task": {**TASK, "excluded": ["declined"]}},
        {"task": {**TASK, "weights": "x"}},
        {"rounds": 101},
        {"rounds": 0},
        {"row_dimensions": -1},
        {"index_direction": 2},
        {"expected_rate": "1"},
        {"epsilon": "abc"},
        {"row_delta": "0"},
        {"learning_rate": "fast"},
        {"band_edges": ("0.4", "0.2")},
        {"weight_bits": 9},
        {"heads": 9},
        {"deadline_seconds": 1},
        {"train_seasons": ()},
    ],
)
@pytest.mark.usefixtures("known_noise")
def test_a_choice_out_of_bounds_is_no_plan(change: dict[str, object]) -> None:
    """Names, vocabularies, numbers and edges are checked before there is a plan."""
    with pytest.raises(DataError, match=r"^plan\."):
        write_plan(replace(CHOICES, **change), sizes(5), BUNDLE)  # type: ignore[arg-type]


def test_a_campaign_file_is_read(tmp_path: Path) -> None:
    """What the file says is taken and what it leaves out has its default."""
    path = tmp_path / "campaign.toml"
    path.write_text(FILE)
    choices = PlanChoices.from_toml(path)
    assert choices == replace(CHOICES, train_seasons=("2024", "2025"), rounds=4, band_edges=("0.3",))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("rounds = 4", "runds = 4", "runds"),
        ('score_season = "2026"', "", "score_season"),
        ("rounds = 4", "rounds = ", ""),
        ("rounds = 4", "train = 1\nnoise_multiplier = 0", ""),
    ],
)
def test_an_unknown_or_missing_field_is_refused(tmp_path: Path, old: str, new: str, named: str) -> None:
    """A misspelt, missing or superfluous field is named, never ignored; so is text that is no TOML."""
    path = tmp_path / "campaign.toml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ConfigurationError, match="campaign file: expected") as caught:
        PlanChoices.from_toml(path)
    assert named in caught.value.message


def test_a_missing_campaign_file_is_a_configuration_error(tmp_path: Path) -> None:
    """A file that is not there is refused as a setting, not reported as a fault of the program."""
    with pytest.raises(ConfigurationError):
        PlanChoices.from_toml(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    "line", ['rounds = "six"', 'minimum_cohort = "5"', "epsilon = 1", "band_edges = [1]"]
)
def test_a_campaign_file_is_taken_at_its_word(tmp_path: Path, line: str) -> None:
    """A field of another type is refused by name; nothing is turned into what it might have meant."""
    path = tmp_path / "campaign.toml"
    name = line.partition(" ")[0]
    kept = [row for row in FILE.splitlines() if not row.startswith(f"{name} ")]
    path.write_text("\n".join([line, *kept]))
    with pytest.raises(ConfigurationError, match=name):
        PlanChoices.from_toml(path)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform with four approved companies and one that waits."""
    made = initialise(tmp_path, name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4))
    with made.store.transaction() as transaction:
        for number, name in enumerate(("a", "b", "c", "d", "waiting")):
            key = bytes([number]) * 32
            transaction.add_company(EnrolmentRecord(name, key, key, 100, b"", b"", b"{}", b"{}"))
            if name != "waiting":
                transaction.approve_company(name, certificate=b"", sha256=key)
    yield made
    made.store.close()


@pytest.mark.usefixtures("known_noise")
def test_a_published_plan_is_in_the_ledger_and_open(platform: Platform) -> None:
    """Without names all approved companies take part; the ledger's next entry is exactly this plan."""
    plan = publish_plan(platform, CHOICES, [])
    assert plan.companies == ("a", "b", "c", "d")
    assert platform.plan("spring") == plan
    assert platform.ledger_store.size == 2
    entry = platform.ledger_store.entries()[1].entry
    assert (entry.kind, entry.author, entry.body) == ("plan", "platform", plan.to_body())
    assert campaigns.progress(platform, "spring") == {"state": "not begun", "reason": ""}


@pytest.mark.usefixtures("known_noise")
def test_only_the_named_companies_take_part(platform: Platform) -> None:
    """Names choose among the approved."""
    assert publish_plan(platform, CHOICES, ["d", "a", "b"]).companies == ("a", "b", "d")


@pytest.mark.usefixtures("known_noise")
def test_a_company_whose_head_was_sent_is_in_no_further_campaign_of_the_season(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator is told which companies, before the plan is in the ledger for ever; others may go on."""
    publish_plan(platform, CHOICES, [])
    monkeypatch.setattr(
        campaigns, "season_heads", lambda _, company, season: [season] * (company == "c" and season == "2026")
    )
    for companies in ([], ["a", "b", "c"]):
        with pytest.raises(ConfigurationError, match=r"without a head for this season, got c\Z") as caught:
            publish_plan(platform, replace(CHOICES, campaign="next"), companies)
        assert caught.value.code == "HEAD_LIMIT"
    assert platform.ledger_store.size == 2
    publish_plan(platform, replace(CHOICES, campaign="next"), ["a", "b", "d"])
    publish_plan(platform, replace(CHOICES, campaign="later", score_season="2027"), [])


@pytest.mark.usefixtures("known_noise")
def test_a_plan_that_cannot_be_leaves_no_trace(platform: Platform) -> None:
    """Companies not approved, too few, or a campaign that exists: ledger and store stay as they are."""
    publish_plan(platform, CHOICES, [])
    with pytest.raises(ConfigurationError, match="approved companies, got nobody, waiting"):
        publish_plan(platform, replace(CHOICES, campaign="next"), ["a", "waiting", "b", "nobody"])
    with pytest.raises(ConfigurationError, match="at least 3"):
        publish_plan(platform, replace(CHOICES, campaign="next"), ["a", "b"])
    with pytest.raises(LocalProtocolError, match="one that was published"):
        publish_plan(platform, CHOICES, ["a", "b", "c"])
    assert platform.ledger_store.size == 2
    assert platform.plan("spring").companies == ("a", "b", "c", "d")
    with pytest.raises(LocalProtocolError):
        platform.plan("next")


# Sealed statistics

SEALED = replace(CHOICES, mode="sealed-statistics", index_direction=-1, expected_rate="0.3")


@pytest.fixture(scope="module")
def sealed() -> CampaignPlan:
    """A plan of sealed statistics with its real noise."""
    return write_plan(SEALED, sizes(8), BUNDLE)


def test_sums_stay_within_both_epsilons(sealed: CampaignPlan) -> None:
    """Labels by the event of the one round, rows by the platform's noise; both recomputed from the plan."""
    statistics = sealed.statistics
    labels = accounting.epsilon_pld([round_event(sealed)], sealed.training.delta)
    rows = accounting.epsilon_rows(
        variance=statistics.variance,
        sensitivity=statistics.sensitivity,
        delta=statistics.delta,
        coordinates=statistics.dimensions,
    )
    assert 0.99 < labels <= Fraction(sealed.training.epsilon) == 1
    assert 0.99 < rows <= Fraction(statistics.epsilon) == 1
    assert (statistics.dimensions, Fraction(statistics.clip)) == (5, Fraction("2.8"))


@pytest.mark.parametrize(
    ("rate", "largest", "expected"),
    [
        ("0.5", 64, (1, 1)),
        ("0.3", 64, (3, 7)),
        ("0.2", 64, (1, 4)),
        ("0.01", 64, (1, 99)),
        ("0.317", 64, (13, 28)),
        ("0.01", 2**15, (1, 32)),  # larger weights could not be opened
        ("0.99", 2**15, (32, 1)),
    ],
)
def test_weights_balance_the_outcomes(
    known_noise: None, rate: str, largest: int, expected: tuple[int, int]
) -> None:
    """-a to b as the expected rate to its complement, in the integers that the largest batch allows."""
    declared = {**sizes(4), "large": largest}
    statistics = write_plan(replace(SEALED, expected_rate=rate), declared, BUNDLE).statistics
    assert (statistics.negative, statistics.positive) == expected


def test_the_head_is_the_shrunk_difference_of_means(sealed: CampaignPlan) -> None:
    """With s² the variance of all noise in a weight: (1 − κ)·w + κ·expectation, κ = s²/(s² + 1/16)."""
    statistics, training = sealed.statistics, sealed.training
    sums = [40_000, -30_000, 0, 1, 20_000]
    noise = round_event(sealed).grid_deviation ** 2 / (8 - training.tolerated) + statistics.variance
    clean = (float(Fraction(statistics.clip)) / 127) * (3 + 7) / (3 * 7 * training.normaliser)
    shrinkage = (s2 := clean**2 * 8 * float(noise)) / (s2 + 1 / 16)
    head = HeadState.initial(training).advance([*(-value for value in sums), 0], training)
    expected = [(1 - shrinkage) * clean * value for value in sums]
    expected[0] -= shrinkage
    assert 0.05 < shrinkage < 0.95
    assert head.as_floats()[:-1] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    "line", ["rounds = 4", 'row_epsilon = "8"', 'learning_rate = "7"', "row_dimensions = 4"]
)
def test_a_choice_of_the_other_mode_is_refused(tmp_path: Path, line: str) -> None:
    """Whoever sets it expects something of it."""
    path = tmp_path / "campaign.toml"
    path.write_text('mode = "sealed-statistics"\n' + FILE.replace("rounds = 4", line))
    with pytest.raises(ConfigurationError, match="sealed-statistics"):
        PlanChoices.from_toml(path)
    path.write_text(FILE.replace("rounds = 4", "statistics_dimensions = 5"))
    with pytest.raises(ConfigurationError, match="noised-rows"):
        PlanChoices.from_toml(path)


def test_another_mode_is_no_plan() -> None:
    with pytest.raises(DataError, match="mode"):
        write_plan(replace(CHOICES, mode="clean-rows"), sizes(4), BUNDLE)

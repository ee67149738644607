"""The made-up job site."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from student_choices import StudentChoices

from noren_client.applicants import offerees, read_applicants
from noren_core.errors import ConfigurationError
from noren_core.rights.purposes import Purpose
from noren_demo.evaluation import ranking
from noren_demo.generator import COMPANIES, GeneratorOptions, generate_season
from noren_demo.people import read_truth
from noren_demo.reference_models import LabelledRows, reference_scores
from noren_demo.season_data import SeasonFiles, read_description
from noren_server.embeddings import Cohort, EmbeddedCohort, build_embeddings
from noren_server.event_log import open_event_log
from noren_server.features import DAY_US, FeatureConfig, Season


def test_everything_it_writes_is_well_formed(tmp_path: Path) -> None:
    """Events, choices and every company's file pass the readers of their parties."""
    data = generate_season(tmp_path, GeneratorOptions(scale=0.1))
    files = SeasonFiles(tmp_path)
    assert read_description(files) == data
    assert open_event_log(files.events).rows > 20_000
    consents = StudentChoices(files.choices)
    truth = read_truth(files.truth)
    vocabulary = tuple(data.tasks[0].outcomes)
    for company in data.companies:
        rows = read_applicants(
            files.applicants(company.name),
            seasons=(*data.train_seasons, *data.score_seasons),
            vocabulary=vocabulary,
        )
        to_score = offerees(rows, data.score_seasons[0])
        assert len(to_score) == sum(row.company == company.name for row in truth)
        assert len(to_score) <= company.declared_size
        assert consents.live(company.name, data.score_seasons[0], Purpose.SCORE)
        assert all(not row.outcome for row in rows if row.season == data.score_seasons[0])


def test_the_season_to_be_scored_ends_at_its_cutoff(tmp_path: Path) -> None:
    """Of the current season nothing later than the cut-off is written; of the past one it is."""
    data = generate_season(tmp_path, GeneratorOptions(scale=0.1))
    for season in data.seasons:
        times = pq.read_table(SeasonFiles(tmp_path).events / f"{season.name}.parquet")["time_us"]
        cutoff = season.start_us + season.cutoff_day * DAY_US
        assert (pc.max(times).as_py() >= cutoff) is season.is_past


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    """The same seed writes the same bytes, another seed others."""
    contents = []
    for run, seed in enumerate((3, 3, 4)):
        generate_season(tmp_path / str(run), GeneratorOptions(seed=seed, scale=0.05))
        files = sorted(p for p in (tmp_path / str(run)).rglob("*") if p.is_file())
        contents.append([p.read_bytes() for p in files])
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_companies_are_small_to_large(tmp_path: Path) -> None:
    """There are eight companies, and declared sizes follow the real ones in public buckets."""
    data = generate_season(tmp_path, GeneratorOptions())
    sizes = {company.name: company.declared_size for company in data.companies}
    assert set(sizes) == set(COMPANIES)
    assert all(size % 50 == 0 for size in sizes.values())
    assert sizes["aoba-foods"] <= 100
    assert sizes["hayate-motors"] >= 850


def test_a_scale_out_of_range_is_refused(tmp_path: Path) -> None:
    """A scale of nothing, or of everything, is a configuration error."""
    for options in (GeneratorOptions(scale=0.01), GeneratorOptions(unconsented=1.0)):
        with pytest.raises(ConfigurationError):
            generate_season(tmp_path, options)


def aucs(folder: Path, options: GeneratorOptions) -> Mapping[str, float]:
    """Within-company AUC of each reference model on a generated season."""
    data = generate_season(folder, options)
    files = SeasonFiles(folder)
    past, current = (Season(s.name, s.start_us, s.cutoff_day, s.is_past) for s in data.seasons)
    consents = StudentChoices(files.choices)

    def cohorts(season: Season, purpose: Purpose) -> list[Cohort]:
        live = {c.name: consents.live(c.name, season.name, purpose) for c in data.companies}
        return [Cohort(name, season, tuple(item.student for item in live[name])) for name in live]

    train, score = cohorts(past, Purpose.TRAIN), cohorts(current, Purpose.SCORE)
    embedded = build_embeddings(
        open_event_log(files.events),
        train,
        score,
        dimensions=16,
        config=FeatureConfig(data.activity_types, data.milestone_types),
    )
    outcome = {(row.student, row.company): row.outcome for row in read_truth(files.truth)}
    for company in data.companies:
        known = {row.identifier: row.outcome for row in read_applicants(files.applicants(company.name))}
        for item in consents.live(company.name, past.name, Purpose.TRAIN):
            outcome[item.student, company.name] = known[item.identifier]
    rows = [labelled(part, outcome) for part in (embedded[: len(train)], embedded[len(train) :])]
    scores = reference_scores(*rows)
    return {
        name: ranking(labels=rows[1].labels, scores=values, companies=rows[1].companies).auc
        for name, values in scores.items()
    }


def labelled(cohorts: list[EmbeddedCohort], outcome: Mapping[tuple[str, str], str]) -> LabelledRows:
    """The people of these cohorts whose outcome is known."""
    people = [(c, i, s) for c in cohorts for i, s in enumerate(c.cohort.students)]
    known = [(c, i, s) for c, i, s in people if outcome.get((s, c.cohort.company))]
    coordinates = np.array([c.values[i] for c, i, _ in known])
    return LabelledRows(
        coordinates=coordinates,
        features=coordinates,
        index=np.array([c.index[i] for c, i, _ in known]),
        companies=np.array([c.cohort.company for c, _, _ in known]),
        labels=np.array([outcome[s, c.cohort.company] == "declined" for c, _, s in known]),
    )


def test_labels_add_a_gain_over_the_index(tmp_path: Path) -> None:
    """The index knows something, a head trained on outcomes clearly more."""
    found = aucs(tmp_path, GeneratorOptions())
    assert 0.55 < found["index"] < 0.68
    assert found["pooled linear"] > found["index"] + 0.06
    assert found["pooled linear"] > found["local"] - 0.005


def test_a_planted_outcome_is_only_found_with_labels(tmp_path: Path) -> None:
    """With the outcome planted beside the index, the index is near chance and training finds it."""
    found = aucs(tmp_path, GeneratorOptions(plant_orthogonal=True))
    assert found["index"] < 0.56
    assert found["pooled linear"] > 0.7


def test_permuted_outcomes_leave_nothing_to_find(tmp_path: Path) -> None:
    """With outcomes shuffled within companies no model ranks better than chance (4 standard errors)."""
    for name, auc in aucs(tmp_path, GeneratorOptions(permute_labels=True)).items():
        assert abs(auc - 0.5) < 0.05, name

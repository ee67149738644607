"""What the whole deployed pipeline is worth: scores of real seasons beside what others could have had.

Every setting is run once whole in each mode, in this process: enrolment, alignment, rounds with secure
aggregation and noise, sealed scoring, audit. Its noise is then drawn again several times (`utility_draws`).
Only an evaluator who holds the truth of both sides can compute any of this.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noren_bench import utility_draws
from noren_bench.progress import say
from noren_bench.utility_draws import Draw
from noren_bench.utility_result import Federated, Measured
from noren_bench.utility_settings import Setting, groups, write_data
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_demo import evaluation_of_season
from noren_demo.evaluation import (
    BoolArray,
    FloatArray,
    NameArray,
    calibration_gap,
    favourable_ratio,
    gain_standard_error,
    ranking,
)
from noren_demo.evaluation_of_season import EmbeddedPeople, TaskPeople
from noren_demo.parties import Places
from noren_demo.reference_models import LabelledRows, local_scores, oriented_index, pooled_linear_scores
from noren_demo.resources import ResourceMonitor
from noren_demo.season import Options, Season, campaign_name
from noren_demo.season_data import SeasonData, SeasonFiles, Task
from noren_demo.summary import TaskResult

SMALL_ROWS = 100


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which labels meet rows: how its season is run, and how its noise is drawn again."""

    name: str
    options: Options
    draw: Callable[[CampaignPlan, TaskPeople, Sequence[str]], Draw]


MODES = (
    Mode("noised rows", Options(in_process=True, rights_story=False), utility_draws.draw_noised_rows),
    Mode(
        "sealed statistics",
        Options(mode=TrainingMode.SEALED_STATISTICS, in_process=True, rights_story=False),
        utility_draws.draw_sealed_statistics,
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A finished season of one mode, and the clean coordinates that only the evaluator may look at."""

    mode: Mode
    season: Season
    results: Mapping[str, TaskResult]
    reference: Sequence[EmbeddedPeople]
    embedded: Sequence[EmbeddedPeople]

    def plan(self, task: Task) -> CampaignPlan:
        return CampaignPlan.from_body(evaluation_of_season.plan_of(self.season, campaign_name(task)))

    def trained(self, task: Task) -> Sequence[str]:
        return self.season.joined[campaign_name(task)]


@dataclass(frozen=True, slots=True, eq=False)
class _People:
    """The scored people of one task, as every way of scoring them is judged."""

    labels: BoolArray
    companies: NameArray
    index: FloatArray
    is_small: BoolArray
    groups: Mapping[str, BoolArray]

    def auc(self, scores: FloatArray) -> float:
        return ranking(labels=self.labels, scores=scores, companies=self.companies).auc

    def auc_of_small(self, scores: FloatArray) -> float:
        own = self.is_small
        return ranking(labels=self.labels[own], scores=scores[own], companies=self.companies[own]).auc

    def four_fifths(self, scores: FloatArray) -> dict[str, float]:
        """By group, for the best fifth of each company."""
        places = np.zeros(len(scores))
        for company in np.unique(self.companies):
            own = self.companies == company
            places[own] = np.argsort(np.argsort(scores[own], kind="stable")) / own.sum()
        return {name: favourable_ratio(scores=places, group=group) for name, group in self.groups.items()}


def measure(settings: Sequence[Setting], *, modes: Sequence[Mode] = MODES) -> Iterator[Measured]:
    """Every task of every setting, as its season ends.

    Raises:
        NorenError: if a season cannot be run to its end.
    """
    for setting in settings:
        say(f"{setting.name}: a whole season in each mode, its noise drawn {setting.draws} times more ...")
        root = Path(tempfile.mkdtemp(prefix="noren-utility-"))
        try:
            yield from _measure_one(setting, modes, root)
        finally:
            shutil.rmtree(root, ignore_errors=True)


def _measure_one(setting: Setting, modes: Sequence[Mode], root: Path) -> Iterator[Measured]:
    data, files = write_data(setting, root / "data")
    runs = [_run(mode, data, files, root / str(place)) for place, mode in enumerate(modes)]
    for task in data.tasks:
        began = time.monotonic()
        measured = _measured(setting, task, runs)
        say(f"  {task.name}: {time.monotonic() - began:.0f} s")
        yield measured


def _run(mode: Mode, data: SeasonData, files: SeasonFiles, root: Path) -> _Run:
    root.mkdir()
    monitor = ResourceMonitor()
    logging.disable(logging.WARNING)  # one line per company and start; what goes wrong is raised
    try:
        season = Season(data, files, Places(root), mode.options, monitor, say=lambda _text: None)
        results = {result.task: result for result in season.run().tasks}
    finally:
        logging.disable(logging.NOTSET)
        monitor.close()
    plan = CampaignPlan.from_body(evaluation_of_season.plan_of(season, campaign_name(data.tasks[0])))
    return _Run(
        mode,
        season,
        results,
        reference=evaluation_of_season.embed(season),
        embedded=evaluation_of_season.embed(season, dimensions=plan.release.dimensions),
    )


def _measured(setting: Setting, task: Task, runs: Sequence[_Run]) -> Measured:
    """The references are those of the first mode's people, which are everybody's."""
    run = runs[0]
    reference = evaluation_of_season.task_people(run.season, task, run.reference)
    train, score = reference.train, reference.score
    people = _people(setting, reference)
    result = run.results[task.name]
    found = ranking(labels=score.labels, scores=_opened(reference), companies=score.companies)
    return Measured(
        setting=setting.name,
        task=task.name,
        control=setting.control,
        is_small=setting.is_small,
        companies=result.trained_companies,
        training_rows=result.training_rows,
        scored=result.scored,
        base_rate=result.base_rate,
        index=people.auc(people.index),
        pooled=people.auc(pooled_linear_scores(train, score)),
        local=people.auc(local_scores(train, score)),
        small_index=people.auc_of_small(people.index),
        rate_shift=_rate_shift(train, score),
        people_error=found.standard_error,
        federated=tuple(_federated(setting, task, run) for run in runs),
    )


def _rate_shift(train: LabelledRows, score: LabelledRows) -> float:
    """How far companies' rates moved since the seasons that are trained on, weighted by scored people."""
    moved = 0.0
    for company in np.unique(score.companies):
        past, present = (rows.labels[rows.companies == company] for rows in (train, score))
        moved += abs(float(past.mean() - present.mean())) * len(present)
    return moved / len(score.labels)


def _people(setting: Setting, reference: TaskPeople) -> _People:
    score = reference.score
    sizes = Counter(str(company) for company in reference.train.companies)
    return _People(
        labels=score.labels,
        companies=score.companies,
        index=oriented_index(score),
        is_small=np.array([sizes[str(company)] <= SMALL_ROWS for company in score.companies], dtype=np.bool_),
        groups=groups(setting.data, reference.score_students),
    )


def _federated(setting: Setting, task: Task, run: _Run) -> Federated:
    plan, result = run.plan(task), run.results[task.name]
    own = evaluation_of_season.task_people(run.season, task, run.embedded)
    people = _people(setting, own)
    draws = [_season_draw(run, task, plan, own)]
    draws += [run.mode.draw(plan, own, run.trained(task)) for _ in range(setting.draws)]
    aucs = [people.auc(draw.scores) for draw in draws]
    losses = [people.auc(draw.exact) - auc for auc, draw in zip(aucs, draws, strict=True)]
    ratios = [people.four_fifths(draw.scores) for draw in draws]
    _, error = gain_standard_error(
        labels=people.labels, scores=draws[0].scores, baseline=people.index, companies=people.companies
    )
    return Federated(
        mode=run.mode.name,
        season=aucs[0],
        draws=tuple(aucs[1:]),
        small=_mean(people.auc_of_small(draw.scores) for draw in draws),
        gain=_mean(aucs) - people.auc(people.index),
        gain_error=error,
        integers=_mean(abs(loss) for loss in losses),
        integer_loss=_mean(losses),
        calibration_gap=_mean(
            calibration_gap(labels=people.labels, probabilities=draw.probabilities) for draw in draws
        ),
        four_fifths={name: _mean(ratio[name] for ratio in ratios) for name in people.groups},
        epsilon=result.epsilon,
        delta=result.delta,
        row_epsilon=result.row_epsilon,
        row_delta=result.row_delta,
        person_epsilon=plan.person.epsilon,
        person_delta=plan.person.delta,
        person_campaigns=plan.person.campaigns,
    )


def _season_draw(run: _Run, task: Task, plan: CampaignPlan, people: TaskPeople) -> Draw:
    """What the companies of the season opened; refused if it is not the product of head and coordinates."""
    company = run.trained(task)[0]
    kept = evaluation_of_season.secret_file(run.season, company, campaign_name(task), "head.json")
    released = [int(weight) for weight in json.loads(kept)["weights"]]
    utility_draws.verify_opened(plan, people, released)
    return Draw(
        scores=_opened(people),
        exact=utility_draws.exact_scores(plan, people.score, released),
        probabilities=np.array([item.probability for item in people.scored]),
    )


def _opened(people: TaskPeople) -> FloatArray:
    return np.array([item.score for item in people.scored], dtype=np.float64)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)

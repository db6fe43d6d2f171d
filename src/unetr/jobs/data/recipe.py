"""A recipe of the paper: tables and a plan are written, then trained by, and scored as the paper's table is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.core.files.lock import locked
from unetr.core.files.outputs import claim
from unetr.core.observer import Observer, staged
from unetr.core.plan.file import read_plan, write_plan
from unetr.errors import InputError
from unetr.evaluation.results import Results
from unetr.prepare.datasets.cases import Case, Dataset, open_dataset, open_noted
from unetr.prepare.paper.recipes import FOLDS, Column, Recipe, check_fits, recipe_plan
from unetr.prepare.paper.tables import Tables, learned_cases, write_tables
from unetr.prepare.planning.presets import network_named
from unetr.train.observer import TrainingObserver
from unetr.train.run.folder import SHARED_CACHE, Run

if TYPE_CHECKING:
    from unetr.jobs.training.ensemble import Members


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person asks of a recipe. network: None for the paper's. splits: cross-validations, 0 for one training."""

    recipe: Recipe
    data: Path
    out: Path
    splits: int
    network: str | None
    steps: int | None
    minutes: float | None
    overwrite: bool = False

    @property
    def plan(self) -> Path:
        """The plan that is written, kept where it is there, and trained by."""
        return self.out / "plan.yaml"

    @property
    def run_folders(self) -> list[Path]:
        """One for each cross-validation, or that of the one training."""
        return [self.out / f"split{seed}" for seed in range(self.splits)] or [self.out / "run"]


@dataclass(frozen=True, slots=True)
class Row:
    """A column of the paper's table, measured, beside the paper's own figures. NaN where undefined or not reported."""

    name: str
    dice: float
    hd95_mm: float
    paper_dice: float
    paper_hd95_mm: float


def follow_recipe(ask: Ask, observer: TrainingObserver, *, run: bool) -> tuple[Tables, Results | None]:
    """Prepares the recipe and, with `run`, trains and scores; called again, it goes on.

    Raises InputError for a data set that is not the recipe's, before anything is written; MachineError, StoppedError.
    """
    with locked(ask.out, observer.on_note):
        tables = prepare_recipe(ask, observer)
        observer.on_note(f"the tables and the plan are in {ask.out}")
        return tables, run_recipe(ask, tables, observer) if run else None


def prepare_recipe(ask: Ask, observer: Observer) -> Tables:
    """Writes the tables and OUT/plan.yaml; a plan that is there stays, since it may have been edited on purpose.

    Raises InputError for a data set that is not the recipe's, before anything is written.
    """
    network = network_named(ask.network or "paper")
    dataset = open_noted(ask.data, observer)
    check_fits(ask.recipe, dataset)
    learned, test = learned_cases(ask.recipe, dataset, ask.splits)
    plan = None
    if not ask.plan.exists():
        plan = recipe_plan(ask.recipe, learned, network, staged(observer, "measuring"))
    elif ask.network is not None and read_plan(ask.plan).network != network:
        raise InputError(f"{ask.plan}: has another network than {ask.network}; choose another output folder")
    else:
        observer.on_note(f"keeping {ask.plan}")
    tables = write_tables(ask.recipe, learned, test, ask.out)
    if plan is not None:
        write_plan(ask.plan, plan)
    if ask.splits:
        (ask.out / SHARED_CACHE).mkdir(0o700, exist_ok=True)
    return tables


def run_recipe(ask: Ask, tables: Tables, observer: TrainingObserver) -> Results:
    """Trains what is not trained yet and scores, each case by models that were not trained on it.

    Where cases are held out, all models together predict them; else each case is predicted by those models of the
    cross-validations that did not see it. Raises InputError, MachineError, StoppedError.
    """
    # Only here: without training, a recipe needs no torch.
    from unetr.jobs.training.crossval import cross_validate, fold_runs
    from unetr.jobs.training.ensemble import score_ensemble
    from unetr.jobs.training.fit import fit_run
    from unetr.jobs.training.request import TrainingOptions
    from unetr.train.run.resume import refuse_other_cases

    dataset = open_dataset(tables.learned)
    options = TrainingOptions(
        plan=read_plan(ask.plan),
        folds=FOLDS,
        steps=None if ask.minutes else ask.steps,
        minutes=ask.minutes,
        rules=False,
        overwrite=ask.overwrite,
    )
    for seed, folder in enumerate(ask.run_folders):
        if ask.splits:
            observer.on_note(f"cross-validation {seed + 1} of {ask.splits}")
            cross_validate(dataset, folder, replace(options, seed=seed), observer)
        else:
            fit_run(dataset, Run(folder), options, observer)
    runs = [run for folder in ask.run_folders for run in (fold_runs(folder, FOLDS) if ask.splits else [Run(folder)])]
    refuse_other_cases(runs, dataset)
    cases, members = _who_predicts(ask, tables, dataset)
    names = [*(f"{case.id}.nii.gz" for case in cases), "results.json", "results.csv"]
    claim([ask.out / "scored" / name for name in names], overwrite=ask.overwrite)
    return score_ensemble(cases, members, ask.out / "scored", staged(observer, "scoring"))


def _who_predicts(ask: Ask, tables: Tables, dataset: Dataset) -> tuple[Sequence[Case], Members]:
    """The cases that are scored, and the models that predict each."""
    from unetr.infer.load import model_paths
    from unetr.jobs.training.crossval import fold_runs
    from unetr.jobs.training.ensemble import unseen_by

    if tables.test is not None:
        models = tuple(path for folder in ask.run_folders for path in model_paths(folder))
        cases = open_dataset(tables.test).cases
        return cases, dict.fromkeys((case.id for case in cases), models)
    count = min(FOLDS, len({case.subject for case in dataset.labelled}))
    return dataset.labelled, unseen_by(run for folder in ask.run_folders for run in fold_runs(folder, count))


def paper_rows(recipe: Recipe, results: Results) -> list[Row]:
    """The paper's table with this run's scores: means over cases of each class, then over a column's classes."""
    rows = [
        Row(column.name, _mean(results, column, "dice"), _mean(results, column, "hd95_mm"), *_paper(column))
        for column in recipe.columns
    ]
    if recipe.mean is not None:
        means = (_defined([row.dice for row in rows]), _defined([row.hd95_mm for row in rows]))
        rows.append(Row(recipe.mean.name, *means, *_paper(recipe.mean)))
    return rows


def _paper(column: Column) -> tuple[float, float]:
    return column.paper_dice, math.nan if column.paper_hd95_mm is None else column.paper_hd95_mm


def _mean(results: Results, column: Column, metric: str) -> float:
    return _defined([s.metrics[metric].mean for s in results.classes if s.label in column.targets])


def _defined(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan

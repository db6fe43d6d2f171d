"""What a recipe does with its data set: writes tables and a plan, says the commands, or runs them and scores."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.app.options import opened_dataset
from unetr.app.printing import say
from unetr.app.progress import progress
from unetr.app.training_view import cross_validate_in_view, fit_in_view
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.evaluation.results import Results
    from unetr.prepare.paper.recipes import Column, Recipe
    from unetr.prepare.paper.tables import Tables


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


@dataclass(frozen=True, slots=True)
class Row:
    """A column of the paper's table, measured, beside the paper's own figures. NaN where undefined or not reported."""

    name: str
    dice: float
    hd95_mm: float
    paper_dice: float
    paper_hd95_mm: float


def prepare_recipe(ask: Ask) -> Tables:
    """Writes the tables and OUT/plan.yaml; a plan that is there stays, since it may have been edited on purpose.

    Raises InputError for a data set that is not the recipe's, before anything is written.
    """
    from unetr.core.plan.file import read_plan, write_plan
    from unetr.prepare.paper.recipes import check_fits, recipe_plan
    from unetr.prepare.paper.tables import learned_cases, write_tables
    from unetr.prepare.planning.presets import network_named
    from unetr.train.run.folder import SHARED_CACHE

    network = network_named(ask.network or "paper")
    dataset = opened_dataset(ask.data)
    check_fits(ask.recipe, dataset)
    learned, test = learned_cases(ask.recipe, dataset, ask.splits)
    path = ask.out / "plan.yaml"
    if path.exists():
        if ask.network is not None and read_plan(path).network != network:
            raise InputError(f"{path}: has another network than {ask.network}; choose another output folder")
        plan = None
        say(f"keeping {path}")
    else:
        with progress() as bar:
            task = bar.add_task("measuring", total=None, note="")
            plan = recipe_plan(
                ask.recipe, learned, network, lambda done, of: bar.update(task, completed=done, total=of)
            )
    tables = write_tables(ask.recipe, learned, test, ask.out)
    if plan is not None:
        write_plan(path, plan)
    if ask.splits:
        (ask.out / SHARED_CACHE).mkdir(0o700, exist_ok=True)
    return tables


def commands(ask: Ask, tables: Tables) -> list[str]:
    """The shell commands that do by hand what `run_recipe` does, one a line."""
    plan = ask.out / "plan.yaml"
    length = ["--steps", ask.steps] if ask.minutes is None else ["--minutes", ask.minutes]
    train = ["unetr", "train", tables.learned, "--plan", plan, *length]
    folders = _folders(ask)
    if ask.splits:
        how = ["--folds", "all", "--no-rules"]
        lines = [[*train, *how, "--seed", seed, "-o", folder] for seed, folder in enumerate(folders)]
    else:
        lines = [[*train, "--fold", 0, "-o", folders[0]]]
    unlabelled = [ask.data / level / "img" for level in ("Testing", "RawData/Testing")]  # BTCV's
    scans = tables.test or next((path for path in unlabelled if path.is_dir()), "SCANS")
    lines.append(["unetr", "predict", *folders, scans, "-o", ask.out / "predicted"])
    if tables.test is not None:
        labels = _labels_folder(tables.test)
        lines.append(["unetr", "evaluate", ask.out / "predicted", labels, "--plan", plan, "--only-predicted"])
    return [shlex.join(str(part) for part in line) for line in lines]


def run_recipe(ask: Ask, tables: Tables) -> Results:
    """Trains what is not trained yet and scores, each case by models that were not trained on it.

    Where cases are held out, all models together predict them; else each case is predicted by those models of the
    cross-validations that did not see it. Raises InputError, MachineError, StoppedError.
    """
    from unetr.core.files.outputs import claim
    from unetr.core.plan.file import read_plan
    from unetr.infer.load import model_paths
    from unetr.jobs.training.crossval import fold_runs
    from unetr.jobs.training.ensemble import score_ensemble, unseen_by
    from unetr.jobs.training.fit import Request
    from unetr.prepare.datasets.cases import open_dataset
    from unetr.prepare.paper.recipes import FOLDS
    from unetr.train.run.folder import Run, refuse_other_cases

    dataset = open_dataset(tables.learned)
    plan = read_plan(ask.out / "plan.yaml")
    request = Request(
        plan=plan,
        folds=FOLDS,
        steps=None if ask.minutes else ask.steps,
        minutes=ask.minutes,
        rules=False,
        overwrite=ask.overwrite,
    )
    folders = _folders(ask)
    for seed, folder in enumerate(folders):
        if ask.splits:
            say(f"cross-validation {seed + 1} of {ask.splits}")
            cross_validate_in_view(dataset, folder, replace(request, seed=seed))
        else:
            fit_in_view(dataset, Run(folder), replace(request, fold=0))
    runs = [run for folder in folders for run in (fold_runs(folder, FOLDS) if ask.splits else [Run(folder)])]
    refuse_other_cases(runs, dataset)
    if tables.test is not None:
        models = tuple(path for folder in folders for path in model_paths(folder))
        cases = open_dataset(tables.test).cases
        members = dict.fromkeys((case.id for case in cases), models)
    else:
        cases = dataset.labelled
        count = min(FOLDS, len({case.subject for case in cases}))
        members = dict(unseen_by(run for folder in folders for run in fold_runs(folder, count)))
    names = [*(f"{case.id}.nii.gz" for case in cases), "results.json", "results.csv"]
    claim([ask.out / "scored" / name for name in names], overwrite=ask.overwrite)
    with progress() as bar:
        task = bar.add_task("scoring", total=len(cases), note="")
        return score_ensemble(cases, members, ask.out / "scored", lambda done, of: bar.update(task, completed=done))


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


def _folders(ask: Ask) -> list[Path]:
    return [ask.out / f"split{seed}" for seed in range(ask.splits)] or [ask.out / "run"]


def _labels_folder(table: Path) -> Path:
    from unetr.prepare.datasets.layouts.files import csv_cases

    return next(case.label.parent for case in csv_cases(table) if case.label is not None)

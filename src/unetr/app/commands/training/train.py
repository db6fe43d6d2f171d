"""unetr train: from a labelled dataset to a model file, resumable at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.launch import launch, launched_rank
from unetr.app.options import (
    CheckpointSteps,
    DatasetPath,
    Json,
    Minutes,
    Overwrite,
    Preset,
    RunFolder,
    Seed,
    Sharded,
    Steps,
    TransformName,
    training_minutes,
    transform_named,
)
from unetr.app.printing import print_json, say
from unetr.app.views.training import print_scores, scores_kept, training_view
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.jobs.training.request import Fold

ALL_DATA = "all-data"
ALL = "all"


def train(
    dataset: DatasetPath,
    out: RunFolder,
    preset: Preset = "auto",
    plan: Annotated[Path | None, typer.Option(help="A plan to train by, in place of the planner's own.")] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="A model file or shipped model to start from; its network and grid are used."),
    ] = None,
    fold: Annotated[str, typer.Option(help="The fold (from 0) that validates, or all-data to train on all.")] = "0",
    folds: Annotated[
        str, typer.Option(help="Number of folds; all, or all:N, trains each of 5, or N, in turn: an ensemble.")
    ] = "5",
    seed: Seed = 0,
    minutes: Minutes = None,
    steps: Steps = None,
    checkpoint_steps: CheckpointSteps = None,
    rules: Annotated[
        bool, typer.Option("--rules/--no-rules", help="With --folds all: look for rules that clean up predictions.")
    ] = True,
    overwrite: Overwrite = False,
    transform: TransformName = None,
    sharded: Sharded = False,
    as_json: Json = False,
) -> None:
    """Plan, prepare, train, validate, and write OUT/model.safetensors. Run it again to resume.

    Started by torchrun, the processes share each batch; the folder must be the same for all of them.

    Example: unetr train Task04_Hippocampus -o runs/hippocampus --minutes 20
    """
    minutes = training_minutes(minutes, steps)
    chosen, count = _folds(fold, folds)
    from unetr.jobs.training.request import TrainingKeywords, training_request
    from unetr.jobs.training.train_model import train_model

    how = TrainingKeywords(preset=preset, fold=chosen, folds=count, seed=seed, minutes=minutes, steps=steps)
    how |= TrainingKeywords(checkpoint_steps=checkpoint_steps, rules=rules, overwrite=overwrite)
    how |= TrainingKeywords(transform=transform_named(transform), launch=launch(sharded))
    request = training_request(dataset, out, plan=plan, start=start, **how)
    with scores_kept(as_json), training_view() as view:
        outcome = train_model(request, view)
    if launched_rank() > 0:
        return
    results = outcome.results
    if as_json:
        print_json({"model": str(outcome.model), "mean_dice": None if results is None else results.mean_dice})
    elif results is not None:
        print_scores(results)
    say(f"model: {outcome.model}")


def _folds(fold: str, folds: str) -> tuple[Fold, int]:
    """Which folds validate, and how many there are. Raises InputError."""
    every = folds.split(":", 1)[0] == ALL
    number = folds.removeprefix(f"{ALL}:") if every and ":" in folds else "5" if every else folds
    if not number.isdecimal() or int(number) < 2:
        raise InputError(f"--folds {folds}: is not understood; expected a number from 2, all, or all:10")
    if every and fold != "0":
        raise InputError(f"--fold {fold}: --folds {folds} trains every fold; leave out one of them")
    return "every" if every else _fold(fold), int(number)


def _fold(text: str) -> Fold:
    if text == ALL_DATA:
        return None
    if not text.isdecimal():
        raise InputError(f"--fold {text}: is no fold; expected a number from 0, or {ALL_DATA}")
    return int(text)

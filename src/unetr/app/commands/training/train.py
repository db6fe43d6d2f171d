"""unetr train: from a labelled dataset to a model file, resumable at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.launch import launch, launched_rank
from unetr.app.options import (
    DatasetPath,
    Json,
    Overwrite,
    Sharded,
    TransformName,
    finite,
    opened_dataset,
    training_minutes,
)
from unetr.app.printing import print_json, say
from unetr.app.training_view import cross_validate_in_view, fit_in_view, print_scores, run_transform, scores_kept
from unetr.core.space.frames import taking
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.evaluation.results import Results

ALL_DATA = "all-data"
ALL = "all"


def train(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="The run's folder; an existing run is resumed.")],
    preset: Annotated[str, typer.Option(help="auto, paper, small, medium, large or tiny.")] = "auto",
    plan: Annotated[Path | None, typer.Option(help="A plan to train by, in place of the planner's own.")] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="A model file or shipped model to start from; its network and grid are used."),
    ] = None,
    fold: Annotated[str, typer.Option(help="The fold (from 0) that validates, or all-data to train on all.")] = "0",
    folds: Annotated[
        str, typer.Option(help="Number of folds; all, or all:N, trains each of 5, or N, in turn: an ensemble.")
    ] = "5",
    seed: Annotated[int, typer.Option(help="Seed of folds, weights and samples.", min=0)] = 0,
    minutes: Annotated[
        float | None, typer.Option(help="Length of each training. Default 60.", min=0.01, callback=finite)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length of training in steps instead.", min=1)] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Save after every so many steps instead of every 8 minutes.", min=1)
    ] = None,
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
    from unetr.core.files.outputs import claim
    from unetr.core.plan.file import read_plan
    from unetr.jobs.training.crossval import fold_runs
    from unetr.jobs.training.fit import Request
    from unetr.model.file.model_file import read_model
    from unetr.model.shipped import find_model
    from unetr.train.run.folder import Run

    every, count = _folds(folds)
    if every and fold != "0":
        raise InputError(f"--fold {fold}: --folds {folds} trains every fold; leave out one of them")
    request = Request(
        preset=preset,
        plan=None if plan is None else read_plan(plan),
        fold=_fold(fold),
        folds=count,
        seed=seed,
        steps=steps,
        minutes=minutes,
        checkpoint_steps=checkpoint_steps,
        start=None if start is None else read_model(find_model(start)),
        rules=rules,
        launch=launch(sharded),
        overwrite=overwrite,
    )
    if every and plan is not None:
        claim([out / "plan.yaml"], {"the plan itself": [plan]}, overwrite=True)
    run = Run(out)
    results: Results | None
    model: Path
    with scores_kept(as_json), taking(run_transform(transform, request, [run, *fold_runs(out, 1)])):
        opened = opened_dataset(dataset)
        if every:
            results, model = cross_validate_in_view(opened, out, request), out
        else:
            results, model = fit_in_view(opened, run, request), run.model
    if launched_rank() > 0:
        return
    if as_json:
        print_json({"model": str(model), "mean_dice": None if results is None else results.mean_dice})
    elif results is not None:
        print_scores(results)
    say(f"model: {model}")


def _folds(text: str) -> tuple[bool, int]:
    """Whether all folds are trained, and how many there are."""
    every = text.split(":", 1)[0] == ALL
    number = text.removeprefix(f"{ALL}:") if every and ":" in text else "5" if every else text
    if not number.isdecimal() or int(number) < 2:
        raise InputError(f"--folds {text}: is not understood; expected a number from 2, all, or all:10")
    return every, int(number)


def _fold(text: str) -> int | None:
    if text == ALL_DATA:
        return None
    if not text.isdecimal():
        raise InputError(f"--fold {text}: is no fold; expected a number from 0, or {ALL_DATA}")
    return int(text)

"""unetr train: from a labelled dataset to a model file, resumable at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import DatasetPath, Json, finite, print_json, say
from unetr.app.training_view import fit_in_view, print_scores
from unetr.errors import InputError

ALL_DATA = "all-data"
DEFAULT_MINUTES = 60.0


def train(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="The run's folder; an existing run is resumed.")],
    preset: Annotated[str, typer.Option(help="auto, paper, small or tiny.")] = "auto",
    plan: Annotated[Path | None, typer.Option(help="A plan to train by, in place of the planner's own.")] = None,
    fold: Annotated[str, typer.Option(help="The fold (from 0) that validates, or all-data to train on all.")] = "0",
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    seed: Annotated[int, typer.Option(help="Seed of folds, weights and samples.", min=0)] = 0,
    minutes: Annotated[
        float | None, typer.Option(help="Length of training. Default 60.", min=0.01, callback=finite)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length of training in steps instead.", min=1)] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Save after every so many steps instead of every 8 minutes.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Plan, prepare, train, validate, and write OUT/model.safetensors. Run it again to resume.

    Example: unetr train Task04_Hippocampus -o runs/hippocampus --minutes 20
    """
    if minutes is not None and steps is not None:
        raise InputError("--minutes and --steps: are both given; expected one of them")
    from unetr.core.plan import read_plan
    from unetr.prepare.cases import open_dataset
    from unetr.train.fit import Request
    from unetr.train.run import Run

    request = Request(
        preset=preset,
        plan=None if plan is None else read_plan(plan),
        fold=_fold(fold),
        folds=folds,
        seed=seed,
        steps=steps,
        minutes=DEFAULT_MINUTES if minutes is None and steps is None else minutes,
        checkpoint_steps=checkpoint_steps,
    )
    run = Run(out)
    results = fit_in_view(open_dataset(dataset), run, request)
    if as_json:
        print_json({"model": str(run.model), "mean_dice": None if results is None else results.mean_dice})
    elif results is not None:
        print_scores(results)
    say(f"model: {run.model}")


def _fold(text: str) -> int | None:
    if text == ALL_DATA:
        return None
    if not text.isdecimal():
        raise InputError(f"--fold {text}: is no fold; expected a number from 0, or {ALL_DATA}")
    return int(text)

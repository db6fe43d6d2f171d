"""unetr pretrain: from scans without labels to a model file that `unetr train --from` starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.launch import launch, launched_rank
from unetr.app.options import Json, Overwrite, Sharded, TransformName, finite, training_minutes
from unetr.app.printing import print_json, say
from unetr.app.training_view import fit_in_view, run_transform
from unetr.core.space.frames import taking
from unetr.errors import InputError


def pretrain(
    scans: Annotated[
        Path,
        typer.Argument(help="A folder of scans, or a dataset, whose labels are not used.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The run's folder; an existing run is resumed.")],
    preset: Annotated[str, typer.Option(help="auto, paper, small, medium, large or tiny.")] = "auto",
    plan: Annotated[
        Path | None, typer.Option(help="A plan to pretrain for: its network, grid and normalisation are used.")
    ] = None,
    channels: Annotated[
        str, typer.Option(help="Names of the channels, with commas, such as CT or T1,FLAIR; a name with CT is CT.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of weights, samples and masks.", min=0)] = 0,
    minutes: Annotated[
        float | None, typer.Option(help="Length of the pretraining. Default 60.", min=0.01, callback=finite)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length in steps instead.", min=1)] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Save after every so many steps instead of every 8 minutes.", min=1)
    ] = None,
    transform: TransformName = None,
    overwrite: Overwrite = False,
    sharded: Sharded = False,
    as_json: Json = False,
) -> None:
    """Pretrain a network on scans without labels: it predicts patches that are hidden from it. Run again to resume.

    Then start from what it learned: unetr train DATASET --from OUT/model.safetensors -o ...

    Example: unetr pretrain scans/ -o runs/pretrained --minutes 60
    """
    minutes = training_minutes(minutes, steps)
    from unetr.core.plan.file import read_plan
    from unetr.jobs.training.fit import Request
    from unetr.prepare.datasets.unlabelled import open_unlabelled
    from unetr.prepare.planning.planner import without_labels
    from unetr.report.plots import read_log
    from unetr.train.run.folder import Run

    run = Run(out)
    request = Request(
        preset=preset,
        plan=None if plan is None else without_labels(read_plan(plan), str(plan)),
        fold=None,
        seed=seed,
        steps=steps,
        minutes=minutes,
        checkpoint_steps=checkpoint_steps,
        launch=launch(sharded),
        overwrite=overwrite,
    )
    with taking(run_transform(transform, request, [run])):
        fit_in_view(open_unlabelled(scans, _names(channels)), run, request)
    if launched_rank() > 0:
        return
    losses = read_log(run.log)["loss"]
    tenth = max(1, len(losses) // 10)
    first, last = float(losses[:tenth].mean()), float(losses[-tenth:].mean())
    if as_json:
        print_json({"model": str(run.model), "steps": len(losses), "first_loss": first, "last_loss": last})
    say(f"mean squared error of hidden voxels: {first:.4f} in the first tenth of the steps, {last:.4f} in the last")
    say(f"model: {run.model}; start from it with: unetr train DATASET --from {run.model} -o ...")


def _names(channels: str) -> list[str]:
    names = [name.strip() for name in channels.split(",")] if channels else []
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"--channels {channels}: is not understood; expected different names with commas, as T1,FLAIR")
    return names

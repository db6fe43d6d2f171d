"""unetr pretrain: from scans without labels to a model file that `unetr train --from` starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.launch import launch, launched_rank
from unetr.app.options import (
    CheckpointSteps,
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
from unetr.app.views.training import training_view
from unetr.errors import InputError


def pretrain(
    scans: Annotated[
        Path,
        typer.Argument(help="A folder of scans, or a dataset, whose labels are not used.", show_default=False),
    ],
    out: RunFolder,
    preset: Preset = "auto",
    plan: Annotated[
        Path | None, typer.Option(help="A plan to pretrain for: its network, grid and normalisation are used.")
    ] = None,
    channels: Annotated[
        str, typer.Option(help="Names of the channels, with commas, such as CT or T1,FLAIR; a name with CT is CT.")
    ] = "",
    seed: Seed = 0,
    minutes: Minutes = None,
    steps: Steps = None,
    checkpoint_steps: CheckpointSteps = None,
    transform: TransformName = None,
    overwrite: Overwrite = False,
    sharded: Sharded = False,
    as_json: Json = False,
) -> None:
    """Pretrain a network on scans without labels. It predicts patches that are hidden from it. Run again to resume.

    Then start from what it learned: unetr train DATASET --from OUT/model.safetensors -o ...

    Example: unetr pretrain scans/ -o runs/pretrained --minutes 60
    """
    minutes = training_minutes(minutes, steps)
    from unetr.jobs.training.request import PretrainingKeywords, pretraining_request
    from unetr.jobs.training.train_model import pretrain_model

    how = PretrainingKeywords(preset=preset, seed=seed, minutes=minutes, steps=steps, overwrite=overwrite)
    how |= PretrainingKeywords(checkpoint_steps=checkpoint_steps)
    how |= PretrainingKeywords(transform=transform_named(transform), launch=launch(sharded))
    request = pretraining_request(scans, out, channels=_names(channels), plan=plan, **how)
    with training_view() as view:
        outcome = pretrain_model(request, view)
    if launched_rank() > 0:
        return
    model, first, last = outcome.model, outcome.first_loss, outcome.last_loss
    if as_json:
        print_json({"model": str(model), "steps": outcome.steps, "first_loss": first, "last_loss": last})
    say(f"mean squared error of hidden voxels: {first:.4f} in the first tenth of the steps, {last:.4f} in the last")
    say(f"model: {model}; start from it with: unetr train DATASET --from {model} -o ...")


def _names(channels: str) -> list[str]:
    names = [name.strip() for name in channels.split(",")] if channels else []
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"--channels {channels}: is not understood; expected different names with commas, as T1,FLAIR")
    return names

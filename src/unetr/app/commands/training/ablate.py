"""unetr ablate: what the transformer contributes to a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import Json
from unetr.app.printing import print_json, print_table
from unetr.app.views.progress import progress
from unetr.app.views.training import TrainingView
from unetr.core.text.numbers import number


def ablate(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a model file in it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Score a run again with parts of its transformer bypassed. These are its attention, its MLPs, or all of it.

    A bypassed part hands on what it got. Much lost means that the model relies on it, not that no other could do
    without: for that, train another one (unetr compare).

    Example: unetr ablate runs/hippocampus
    """
    from unetr.jobs.models.ablate import ablate as measure

    with progress() as bar:
        found = measure(model, TrainingView(bar))
    whole = found["nothing"].mean_dice
    if as_json:
        print_json({what: {"mean_dice": report.mean_dice, "dice": report.dice} for what, report in found.items()})
        return
    names = list(found["nothing"].dice)
    rows = [
        (
            what,
            *(number(report.dice[name], 4) for name in names),
            number(report.mean_dice, 4),
            number(whole - report.mean_dice, 4),
        )
        for what, report in found.items()
    ]
    print_table(f"Dice of {model.name}", ("bypassed", *names, "mean", "lost"), rows)

"""unetr models: the models that come with the package."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from unetr.app.options import Json
from unetr.app.printing import print_json, print_table, write_out
from unetr.core.text.numbers import number
from unetr.errors import InputError
from unetr.printable import printable_lines


def models(
    name: Annotated[str | None, typer.Argument(help="Show the card of this model.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the models that come with unetr, or the card of one. A card tells data, scores, limits and licence.

    A name stands for the model's file in every command: unetr predict hippocampus scan.nii.gz -o out.nii.gz

    Example: unetr models hippocampus
    """
    from unetr.model.file.model_file import read_model
    from unetr.model.shipped import shipped_models

    shipped = {model.name: model for model in shipped_models()}
    if name is not None:
        if name not in shipped:
            raise InputError(f"{name}: is no model that comes with unetr; expected one of {', '.join(shipped)}")
        if as_json:
            print_json({"name": name, "path": str(shipped[name].path), "card": shipped[name].card})
        else:
            write_out(printable_lines(shipped[name].card.rstrip()) + "\n")
        return
    opened = {name: read_model(model.path) for name, model in shipped.items()}
    megabytes = {name: model.path.stat().st_size / 1e6 for name, model in shipped.items()}
    if as_json:
        print_json(
            {
                name: {
                    "channels": [channel.name for channel in model.plan.channels],
                    "labels": list(model.plan.foreground),
                    "metrics": model.metrics,
                    "megabytes": round(megabytes[name], 2),
                    "licence": model.licence,
                }
                for name, model in opened.items()
            }
        )
        return
    rows = [
        (
            name,
            ", ".join(channel.name for channel in model.plan.channels),
            ", ".join(model.plan.foreground),
            number(model.metrics.get("mean_dice", math.nan), 3),
            f"{megabytes[name]:.1f}",
            model.licence,
        )
        for name, model in opened.items()
    ]
    print_table("models that come with unetr", ("name", "channels", "labels", "Dice", "MB", "licence"), rows)

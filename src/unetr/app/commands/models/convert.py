"""unetr convert: weights of other projects into a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import Overwrite
from unetr.app.printing import say


def convert(
    source: Annotated[str, typer.Argument(help="The project that the weights come from: monai.", show_default=False)],
    checkpoint: Annotated[Path, typer.Argument(help="Its weights: .pt, .pth or .safetensors.", show_default=False)],
    plan: Annotated[Path, typer.Option(help="A plan that says spacing, intensities, window and labels.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The model file to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Turn a UNETR trained elsewhere into a model file. The shape of the network is read off the weights.

    Example: unetr plan --template > plan.yaml; unetr convert monai best.pt --plan plan.yaml -o model.safetensors
    """
    from unetr.jobs.models.convert import convert_weights

    convert_weights(source, checkpoint, plan, out, overwrite=overwrite)
    say(f"wrote {out}")

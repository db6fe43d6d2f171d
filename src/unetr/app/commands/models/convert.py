"""unetr convert: weights of other projects into a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import Overwrite
from unetr.app.printing import say
from unetr.errors import InputError


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
    from unetr.core.files.outputs import claim
    from unetr.core.plan.file import read_plan
    from unetr.model.convert import CONVERTERS
    from unetr.model.file.model_file import write_model

    if source not in CONVERTERS:
        raise InputError(f"{source}: unknown source; expected one of {', '.join(CONVERTERS)}")
    claim([out], {"the checkpoint itself": [checkpoint], "the plan": [plan]}, overwrite=overwrite)
    write_model(out, CONVERTERS[source](checkpoint, read_plan(plan)))
    say(f"wrote {out}")

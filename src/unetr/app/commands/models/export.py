"""unetr export: a model file for other runtimes, compared with the original before it takes its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import ModelPath, Overwrite
from unetr.app.printing import say


def export(
    model: ModelPath,
    to: Annotated[str, typer.Option(help="onnx, openvino (.xml and .bin) or torch (.safetensors).")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file to write; beside the model by default.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model for another runtime. A fresh process loads it and is compared with the original.

    What it writes predicts where torch is not installed: unetr predict model.onnx scan.nii.gz -o out.nii.gz

    Example: unetr export model.safetensors --to onnx
    """
    from unetr.jobs.models.export import export_model

    made = export_model(model, to, out, overwrite=overwrite)
    difference = f"its logits differ by up to {made.difference:.1e} from {made.reference}'s"
    say(f"wrote {made.path}; loaded again in a fresh process, {difference}")

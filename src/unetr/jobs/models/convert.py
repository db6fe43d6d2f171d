"""Weights of other projects into a model file."""

from __future__ import annotations

from pathlib import Path

from unetr.core.files.outputs import claim
from unetr.core.plan.file import read_plan
from unetr.errors import InputError
from unetr.model.file.model_file import write_model


def convert_weights(source: str, checkpoint: Path, plan: Path, out: Path, *, overwrite: bool = False) -> None:
    """Writes `out`. source: the project, such as monai. checkpoint: its weights, which the network's shape is read off.

    plan: says spacing, intensities, window and labels. Raises InputError, MachineError.
    """
    from unetr.model.convert import CONVERTERS

    if source not in CONVERTERS:
        raise InputError(f"{source}: unknown source; expected one of {', '.join(CONVERTERS)}")
    claim([out], {"the checkpoint itself": [checkpoint], "the plan": [plan]}, overwrite=overwrite)
    write_model(out, CONVERTERS[source](checkpoint, read_plan(plan)))

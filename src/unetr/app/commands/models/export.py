"""unetr export: a model file for other runtimes, compared with the original before it takes its name."""

from __future__ import annotations

import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import ModelPath, Overwrite
from unetr.app.printing import say
from unetr.core.machine.child import child_environment, python_module
from unetr.errors import InputError, MachineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Of the largest logit: rounding of float32 in another order. A wrong layer or weight is off by the whole of it.
_TOLERANCE = 1e-3


def export(
    model: ModelPath,
    to: Annotated[str, typer.Option(help="onnx, openvino (.xml and .bin) or torch (.safetensors).")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file to write; beside the model by default.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model, with its plan, for another runtime. A fresh process loads it and is compared with the original.

    What it writes predicts where torch is not installed: unetr predict model.onnx scan.nii.gz -o out.nii.gz

    Example: unetr export model.safetensors --to onnx
    """
    from unetr.app.export_check import seeded_logits
    from unetr.core.files.outputs import claim
    from unetr.model.export import EXPORTS
    from unetr.model.open_model import open_model
    from unetr.model.shipped import find_model

    if to not in EXPORTS:
        raise InputError(f"{to}: is unknown; expected one of {', '.join(EXPORTS)}")
    write, suffix = EXPORTS[to]
    target = out or model.with_suffix(suffix)
    if target.suffix != suffix:
        raise InputError(f"{target}: a model for {to} is named *{suffix}; choose such a name")
    written = [target, *([target.with_suffix(".bin")] if to == "openvino" else [])]
    claim(written, {"the model itself": [model]}, overwrite=overwrite)
    opened = open_model(find_model(model))
    if opened.kind != "model":
        raise InputError(f"{model}: is an exported network; expected the model file (.safetensors) it came from")
    reference = "torch" if find_spec("torch") is not None else "openvino"
    expected = seeded_logits(opened, reference)
    differences = []

    def verify(artefact: Path) -> None:
        found = _in_a_fresh_process(artefact, to, target)
        difference = float(abs(found - expected).max())
        if not difference <= _TOLERANCE * max(1.0, float(abs(expected).max())):
            raise MachineError(
                f"{target}: was not written: its logits differ by up to {difference:.3g} from {reference}'s; "
                "please report this with the model's plan"
            )
        differences.append(difference)

    write(opened.model, target, verify)
    difference = f"its logits differ by up to {differences[-1]:.1e} from {reference}'s"
    say(f"wrote {target}; loaded again in a fresh process, {difference}")


def _in_a_fresh_process(artefact: Path, engine: str, target: Path) -> NDArray[np.float32]:
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        logits = Path(folder) / "logits.npy"
        command = python_module("unetr.app.export_check", artefact, engine, logits)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise MachineError(f"{target}: was not written: a fresh process cannot load it ({reason})")
        found: NDArray[np.float32] = np.load(logits)
        return found

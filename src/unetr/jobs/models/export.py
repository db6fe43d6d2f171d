"""A model file for other runtimes, compared with the original in a fresh process before it takes its name."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from unetr.core.files.outputs import claim
from unetr.core.observer import Observer
from unetr.errors import BatchError, InputError, MachineError
from unetr.infer.sweep.windows import Float
from unetr.jobs.apart.registry import LOGITS, LogitsRequest
from unetr.jobs.apart.run_apart import run_apart
from unetr.jobs.models.logits import seeded_logits
from unetr.model.export import EXPORTS
from unetr.model.open_model import open_model
from unetr.model.shipped import find_model

# Of the largest logit: rounding of float32 in another order. A wrong layer or weight is off by the whole of it.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Exported:
    """The file that was written. difference: the largest of its logits to those of the engine `reference`."""

    path: Path
    reference: str
    difference: float


def export_model(
    model: Path, to: str, out: Path | None = None, *, overwrite: bool = False, observer: Observer | None = None
) -> Exported:
    """Writes a model, with its plan, for another runtime.

    model: a file, or the name of a shipped model. to: onnx, openvino or torch. out: beside the model where it is not
    given. Raises InputError; MachineError, and writes nothing, where a fresh process computes other logits with it.
    """
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

    def verify(exported: Path) -> None:
        found = _logits_of(exported, to, target, observer or Observer())
        difference = float(abs(found - expected).max())
        if not difference <= _TOLERANCE * max(1.0, float(abs(expected).max())):
            raise MachineError(
                f"{target}: was not written: its logits differ by up to {difference:.3g} from {reference}'s; "
                "please report this with the model's plan"
            )
        differences.append(difference)

    write(opened.model, target, verify)
    return Exported(target, reference, differences[-1])


def _logits_of(exported: Path, engine: str, target: Path, observer: Observer) -> Float:
    """What a fresh process, which imports what predicting imports, makes of it. Raises MachineError, StoppedError."""
    with tempfile.TemporaryDirectory(prefix="unetr-") as folder:
        logits = Path(folder) / "logits.npy"
        try:
            run_apart(LOGITS, LogitsRequest(model=exported, engine=engine, out=logits), observer)
        except (InputError, BatchError, MachineError) as error:
            raise MachineError(f"{target}: was not written: a fresh process cannot load it ({error})") from None
        found: Float = np.load(logits)
        return found

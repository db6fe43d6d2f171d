"""Opens model files for prediction: one, several as an ensemble, or a run with folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unetr.errors import InputError
from unetr.infer.combine import combined
from unetr.infer.engines import ENGINES
from unetr.infer.predict import Segmenter
from unetr.model.file import ModelFile, read_model

MODEL_NAME = "model.safetensors"
PRECISIONS = ("auto", "fp32", "bf16")


def load(
    model: str | Path | Sequence[str | Path], *, engine: str = "auto", device: str = "auto", precision: str = "auto"
) -> Segmenter:
    """Opens a model file, several as an ensemble, or the folder of a run, with its folds as an ensemble.

    Raises InputError (files, names of engine, device and precision), MachineError (device, missing dependency).
    """
    paths = [Path(model)] if isinstance(model, str | Path) else [Path(path) for path in model]
    found = [path for given in paths for path in model_paths(given)]
    if not found:
        raise InputError("no model; expected at least one model file")
    return ensemble(
        [segmenter_for(read_model(path), engine=engine, device=device, precision=precision) for path in found]
    )


def model_paths(path: Path) -> list[Path]:
    """The path itself, or for the folder of a run its model, or those of its folds. Raises InputError."""
    if not path.is_dir():
        return [path]
    if (path / MODEL_NAME).is_file():
        return [path / MODEL_NAME]
    folds = sorted(path.glob(f"fold*/{MODEL_NAME}"))
    if not folds:
        raise InputError(f"{path}: is a folder without {MODEL_NAME} or fold*/{MODEL_NAME}; expected a model or a run")
    return folds


def segmenter_for(
    model: ModelFile, *, engine: str = "auto", device: str = "auto", precision: str = "auto"
) -> Segmenter:
    """A Segmenter for a model file that is already in memory."""
    engine = "torch" if engine == "auto" else engine
    if engine not in ENGINES:
        raise InputError(f"engine {engine}: is unknown; expected one of {', '.join(sorted(ENGINES))}")
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision}: is unknown; expected one of {', '.join(PRECISIONS)}")
    return Segmenter(model.plan, ENGINES[engine](model, device, precision), model.fingerprint, source=model.source)


def ensemble(members: Sequence[Segmenter]) -> Segmenter:
    """A Segmenter whose probabilities are the mean of the members'.

    Raises InputError unless all see a scan in the same way: channels, labels, grid, windows.
    """
    first = members[0]
    for member in members[1:]:
        for name in ("channels", "labels", "regions", "orientation", "spacing_mm", "crop", "window", "postprocess"):
            mine, theirs = getattr(first.plan, name), getattr(member.plan, name)
            if mine != theirs:
                raise InputError(
                    f"{member.source}: its plan has {name} {theirs}, that of {first.source} has {mine}; models of an "
                    "ensemble must be trained with the same plan"
                )
    if len(members) == 1:
        return first
    return Segmenter(
        first.plan,
        combined([member.engine for member in members], [()], regions=bool(first.plan.regions)),
        first.fingerprint,
        sum(member.network_bytes for member in members),
        f"{len(members)} models, {first.choice}",
        first.source,
    )

"""Opens model files for prediction: one, several as an ensemble, or a run with folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.infer.engines import choose_engine, make_engine
from unetr.infer.options import EngineOptions
from unetr.infer.predict import Segmenter
from unetr.infer.sweep.combine import combined
from unetr.model.open_model import Opened, open_model
from unetr.model.shipped import find_model

MODEL_NAME = "model.safetensors"
_FLOAT = 4


def load(
    model: str | Path | Sequence[str | Path], *, engine: str = "auto", device: str = "auto", precision: str = "auto"
) -> Segmenter:
    """Opens a model file or shipped model, several as an ensemble, or the folder of a run, its folds as an ensemble.

    Raises InputError (files, names of engine, device and precision), MachineError (device, missing dependency).

    >>> segmenter = unetr.load("hippocampus")
    >>> segmenter.plan.class_names
    ('background', 'Anterior', 'Posterior')
    """
    paths = [Path(model)] if isinstance(model, str | Path) else [Path(path) for path in model]
    found = [path for given in paths for path in model_paths(given)]
    if not found:
        raise InputError("no model; expected at least one model file")
    asked = EngineOptions(engine, device, precision)
    opened = ensemble([segmenter_for(open_model(path), asked) for path in found])
    return replace(opened, files=tuple(found), asked=asked)


def model_paths(path: Path) -> list[Path]:
    """The path itself, a shipped model's by its name, or for the folder of a run its model or those of its folds.

    Raises InputError.
    """
    path = find_model(path)
    if not path.is_dir():
        return [path]
    if (path / MODEL_NAME).is_file():
        return [path / MODEL_NAME]
    folds = sorted(path.glob(f"fold*/{MODEL_NAME}"))
    if not folds:
        raise InputError(f"{path}: is a folder without {MODEL_NAME} or fold*/{MODEL_NAME}; expected a model or a run")
    return folds


def segmenter_for(opened: Opened, asked: EngineOptions) -> Segmenter:
    """A Segmenter for a model that is already open."""
    choice = choose_engine(opened, asked.engine, asked.device, asked.precision)
    return Segmenter(
        opened.plan,
        make_engine(opened, choice),
        opened.fingerprint,
        network_bytes=activation_bytes(opened.plan),
        choice=str(choice),
        source=opened.source,
    )


def activation_bytes(plan: Plan) -> int:
    """About what a network takes while it runs, beside its weights.

    Of the decoder's levels the finest counts: four tensors of its features at a time, and the scores, twice.
    """
    return int(_FLOAT * math.prod(plan.window) * (4 * plan.network.feature_size + 2 * plan.outputs))


def ensemble(members: Sequence[Segmenter]) -> Segmenter:
    """A Segmenter whose probabilities are the mean of the members'.

    Of the rules for what is removed afterwards, those count that all members have: cross-validations with different
    seeds may have found different ones. Raises InputError unless all see a scan in the same way: channels, labels,
    grid, windows.
    """
    first = members[0]
    for member in members[1:]:
        for name in ("channels", "labels", "regions", "orientation", "spacing_mm", "crop", "window"):
            mine, theirs = getattr(first.plan, name), getattr(member.plan, name)
            if mine != theirs:
                raise InputError(
                    f"{member.source}: its plan has {name} {theirs}, that of {first.source} has {mine}; models of an "
                    "ensemble must be trained with the same plan"
                )
    if len(members) == 1:
        return first
    others = [member.plan.postprocess for member in members[1:]]
    rules = {
        target: rule
        for target, rule in first.plan.postprocess.items()
        if all(theirs.get(target) == rule for theirs in others)
    }
    return Segmenter(
        first.plan.model_copy(update={"postprocess": rules}),
        combined([member.engine for member in members], [()], regions=first.plan.has_regions),
        first.fingerprint,
        sum(member.network_bytes for member in members),
        f"{len(members)} models, {first.choice}",
        first.source,
    )

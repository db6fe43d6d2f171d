"""The models of a queue, and what their files say of them. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr.core.colours import class_colour, rgb255
from unetr.core.space.frames import Transform
from unetr.errors import InputError
from unetr.queue.tasks.segment import joined_sha256

if TYPE_CHECKING:
    from unetr.core.plan.schema import Plan

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedModel:
    """A model by the name under which it is asked for.

    title: what it was trained on, by its own word. labels: name -> value in the label file, the background left out.
    colours: name -> red, green, blue 0..255, as in previews and DICOM. regions: name -> values of labels, where the
    targets are regions. transform: which affine of a NIfTI counts where its two disagree. metrics: numbers alone.
    """

    name: str
    sha256: str
    title: str
    labels: Mapping[str, int]
    colours: Mapping[str, tuple[int, int, int]]
    channels: tuple[str, ...]
    regions: Mapping[str, tuple[int, ...]]
    spacing_mm: tuple[float, ...]
    licence: str
    metrics: Mapping[str, float]
    files: tuple[Path, ...]
    transform: Transform | None = None


def offered_models(models: Sequence[str | Path]) -> dict[str, OfferedModel]:
    """By name: shipped models, model files, folders of runs; all that are shipped where none is given.

    Raises InputError for what is no model, and for none.
    """
    from unetr.model.shipped import shipped_models

    offered: dict[str, OfferedModel] = {}
    for given in models or [model.name for model in shipped_models()]:
        model = _offered(given, set(offered))
        offered[model.name] = model
    if not offered:
        raise InputError("no model; expected at least one model file")
    return offered


def _offered(given: str | Path, taken: set[str]) -> OfferedModel:
    from unetr.infer.load import model_paths
    from unetr.model.open_model import open_model

    files = [path.absolute() for path in model_paths(Path(given))]
    opened = [open_model(path).model for path in files]
    plan = opened[0].plan
    values = sorted(plan.written_values.items(), key=lambda each: each[1])
    return OfferedModel(
        name=_name(Path(given), taken),
        sha256=joined_sha256([model.sha256 for model in opened]),
        title=plan.dataset,
        labels=dict(values),
        colours=_colours(plan),
        channels=tuple(channel.name for channel in plan.channels),
        regions=plan.region_values,
        spacing_mm=plan.spacing_mm,
        licence=opened[0].licence,
        metrics=_numbers(opened[0].metrics),
        files=tuple(files),
        transform=plan.transform,
    )


def _colours(plan: Plan) -> dict[str, tuple[int, int, int]]:
    names = sorted(plan.written_values, key=plan.written_values.__getitem__)
    return {name: rgb255(class_colour(position)) for position, name in enumerate(names)}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}


def _name(given: Path, taken: set[str]) -> str:
    """The file's or folder's own name, as it may stand in an address; numbered where it is taken."""
    stem = given.stem if given.suffix else given.name
    name = _UNSAFE.sub("-", stem).strip("-.")[:_LONGEST] or "model"
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, 1000))) if each not in taken)

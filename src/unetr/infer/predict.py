"""Predict: a scan in, a segmentation on its own grid out. One path serves the command, Python and validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unetr.core.geometry import restore
from unetr.core.plan import Plan
from unetr.core.volume import Volume
from unetr.errors import InputError
from unetr.infer.engines import ENGINES
from unetr.infer.window import Engine, Float, sliding_window
from unetr.io import read_volume, write_volume
from unetr.prepare.cases import stack_channels
from unetr.prepare.preprocess import preprocess_image

if TYPE_CHECKING:
    from unetr.model.file import ModelFile

# One window at a time measured fastest on CPUs: a window already fills all cores, and larger batches leave the caches.
CPU_BATCH = 1
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A segmentation on the scan's own grid.

    scan: what was segmented. labels: Volume [1, X, Y, Z] of label values, with their names. volumes_ml: name ->
    volume of each foreground class or region. probabilities: Volume [J, X, Y, Z] float32 when they were asked for.
    """

    scan: Volume
    labels: Volume
    volumes_ml: dict[str, float]
    probabilities: Volume | None = None

    def save(self, path: str | Path) -> Path:
        """Writes the label file, atomically and verified; the suffix chooses the format."""
        write_volume(Path(path), self.labels)
        return Path(path)


@dataclass(frozen=True, slots=True)
class Segmenter:
    """A plan and an engine that runs its network; make one with `unetr.load`."""

    plan: Plan
    engine: Engine

    def predict(
        self,
        scan: str | Path | Volume | Sequence[str | Path],
        *,
        tta: bool = False,
        probabilities: bool = False,
        assume_affine: bool = False,
        accept_shear: bool = False,
    ) -> Prediction:
        """Segments one scan: a file, one file per channel, or a Volume.

        tta: average over the mirrors that the plan allows. assume_affine: take the axes of a scan without geometry as
        R, A, S. accept_shear: segment a scan whose axes are not perpendicular on its own grid.
        Raises InputError for a scan that cannot be used.
        """
        volume = _as_volume(scan, self.plan, assume_affine, accept_shear)
        image, placement = preprocess_image(volume, self.plan)
        scores = predict_scores(image, self.plan, self.engine, tta=tta)
        scores = restore(scores, placement, "linear", outside=outside_scores(self.plan))
        labels = decide(scores, self.plan)
        names = {value: name for name, value in output_values(self.plan).items()}
        result = volume.with_data(labels[None], label_names=names)
        return Prediction(
            scan=volume,
            labels=result,
            volumes_ml=volumes_ml(result, self.plan, scores),
            probabilities=volume.with_data(scores, label_names={}) if probabilities else None,
        )


def load(model: str | Path, *, engine: str = "torch", device: str = "auto", precision: str = "auto") -> Segmenter:
    """Opens a model file for prediction. Raises InputError (file), MachineError (device, missing dependency)."""
    from unetr.model.file import read_model

    opened = read_model(Path(model))
    return segmenter_for(opened, engine=engine, device=device, precision=precision)


def segmenter_for(
    model: ModelFile, *, engine: str = "torch", device: str = "auto", precision: str = "auto"
) -> Segmenter:
    """A Segmenter for a model file that is already in memory."""
    if engine not in ENGINES:
        raise InputError(f"engine {engine}: is unknown; expected one of {', '.join(sorted(ENGINES))}")
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision}: is unknown; expected one of {', '.join(PRECISIONS)}")
    return Segmenter(model.plan, ENGINES[engine](model, device, precision))


def predict_scores(image: Float, plan: Plan, engine: Engine, *, tta: bool = False) -> Float:
    """Probabilities [J, X, Y, Z] of a prepared image [C, X, Y, Z]: softmax over classes, or sigmoid per region.

    With `tta`, the mean of the probabilities over all combinations of the plan's mirror axes.
    """
    inference = plan.inference
    total: Float | None = None
    views = mirror_views(inference.mirror_axes) if tta else [()]
    for axes in views:
        flipped = tuple(1 + axis for axis in axes)
        logits = sliding_window(
            np.flip(image, flipped), engine, plan.window, inference.overlap, inference.blending, CPU_BATCH
        )
        scores = np.flip(_probabilities(logits, regions=bool(plan.regions)), flipped)
        total = scores if total is None else total + scores
    if total is None:
        raise ValueError("there is always the view without mirrors")
    return total / np.float32(len(views))


def outside_scores(plan: Plan) -> list[float]:
    """Probabilities [J] of a voxel that the crop left out: background for sure, in no region."""
    return [0.0] * plan.outputs if plan.regions else [1.0] + [0.0] * (plan.outputs - 1)


def mirror_views(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """All combinations of mirror axes, the unmirrored view first: axes (0, 1) give (), (0,), (1,), (0, 1)."""
    return [view for size in range(len(axes) + 1) for view in combinations(axes, size)]


def decide(scores: Float, plan: Plan) -> NDArray[np.integer]:
    """Label values [X, Y, Z] from probabilities [J, X, Y, Z].

    Classes: the largest wins. Regions: each region above 0.5 writes its value, later regions over earlier ones.
    """
    values = output_values(plan).values()
    dtype = np.uint8 if max(values) < 256 else np.uint16
    if plan.regions:
        labels = np.zeros(scores.shape[1:], dtype=dtype)
        for region, score in zip(plan.regions, scores, strict=True):
            labels[score > 0.5] = region.written_as
        return labels
    table: NDArray[np.integer] = np.asarray(plan.class_values, dtype=dtype)
    winners: NDArray[np.integer] = table[scores.argmax(axis=0)]
    return winners


def output_values(plan: Plan) -> dict[str, int]:
    """Name -> value of what the label file holds besides the background."""
    if plan.regions:
        return {region.name: region.written_as for region in plan.regions}
    return {name: value for name, value in plan.labels.items() if value != 0}


def volumes_ml(labels: Volume, plan: Plan, scores: Float) -> dict[str, float]:
    """Millilitres per foreground class, or per region (overlaps counted in each)."""
    if plan.regions:
        counts = [int(np.count_nonzero(score > 0.5)) for score in scores]
    else:
        histogram = np.bincount(labels.data.ravel(), minlength=max(plan.class_values) + 1)
        counts = [int(histogram[value]) for value in output_values(plan).values()]
    return {name: count * labels.voxel_ml for name, count in zip(output_values(plan), counts, strict=True)}


def _probabilities(logits: Float, *, regions: bool) -> Float:
    """In place: softmax over the first axis, or the logistic function."""
    if regions:
        np.negative(logits, out=logits)
        np.exp(logits, out=logits)
        logits += 1
        return np.reciprocal(logits, out=logits)
    logits -= logits.max(axis=0, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0, keepdims=True)
    return logits


def _as_volume(
    scan: str | Path | Volume | Sequence[str | Path], plan: Plan, assume_affine: bool, accept_shear: bool
) -> Volume:
    """Reads the scan and checks its channels against the plan's. Raises InputError that names the file."""
    if isinstance(scan, Volume):
        volume, source = scan, "the scan"
        if not np.isfinite(volume.data).all():
            raise InputError(f"{source}: has voxels that are NaN or infinite; expected numbers")
    else:
        paths = [Path(scan)] if isinstance(scan, str | Path) else [Path(path) for path in scan]
        if not paths:
            raise InputError("no file to predict; expected one, or one for each channel")
        read = partial(read_volume, assume_affine=assume_affine, accept_shear=accept_shear)
        volume = stack_channels([(path, read(path)) for path in paths])
        source = str(paths[0])
    names = [channel.name for channel in plan.channels]
    if len(volume.data) != len(names):
        found = f"{len(volume.data)} channel{'' if len(volume.data) == 1 else 's'}"
        raise InputError(f"{source}: has {found}; the model expects {len(names)} ({', '.join(names)})")
    for name, data in zip(names, volume.data, strict=True):
        if data.min() == data.max():
            raise InputError(f"{source}: channel {name!r} is constant: every voxel is {data.flat[0]:g}")
    return volume

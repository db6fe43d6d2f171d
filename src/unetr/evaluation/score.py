"""The scores of one case: two label arrays on one grid, for each class or region. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr.core.plan.targets import Target
from unetr.core.space.volume import Array
from unetr.evaluation.dice import dice, iou, pair_counts
from unetr.evaluation.results import ClassScore
from unetr.evaluation.surface import (
    Spacing,
    average_symmetric_distance_mm,
    hausdorff_mm,
    surface_dice,
    surface_distances,
)

Box = tuple[slice, slice, slice]


def score_case(
    prediction: Array,
    truth: Array,
    targets: Sequence[Target],
    spacing_mm: Spacing,
    tolerance_mm: float = 2.0,
    case: str = "",
) -> list[ClassScore]:
    """Scores every target in one case, in their order.

    prediction, truth: integer label arrays [X, Y, Z] of one shape on one grid with voxels of spacing_mm. Values that
    are in no target count as background. tolerance_mm: for the surface Dice. Raises ValueError for different shapes
    and for targets with a value below 1.
    """
    values = sorted({0}.union(*(target.values for target in targets)))
    if any(value < 1 for target in targets for value in target.values):
        raise ValueError("targets are made of values from 1 up; 0 is the background")
    prediction_index, truth_index = _indices(prediction, values), _indices(truth, values)
    counts = pair_counts(prediction_index, truth_index, len(values))
    boxes = [_boxes(prediction_index, len(values)), _boxes(truth_index, len(values))]
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    scores = []
    for target in targets:
        members = [values.index(value) for value in target.values]
        in_truth, in_prediction = int(counts[members].sum()), int(counts[:, members].sum())
        tp = int(counts[np.ix_(members, members)].sum())
        fp, fn = in_prediction - tp, in_truth - tp
        hd95_mm = assd_mm = nsd = float("nan")
        if in_truth and in_prediction:
            box = _union([found[member] for found in boxes for member in members])
            prediction_mask, truth_mask = (np.isin(index[box], members) for index in (prediction_index, truth_index))
            distances = surface_distances(prediction_mask, truth_mask, spacing_mm)
            hd95_mm, assd_mm = hausdorff_mm(distances, 95), average_symmetric_distance_mm(distances)
            nsd = surface_dice(distances, tolerance_mm)
        scores.append(
            ClassScore(
                case, target.name, target.values, dice(tp, fp, fn), iou(tp, fp, fn), hd95_mm, assd_mm, nsd,
                tp, fp, fn, in_prediction * voxel_ml, in_truth * voxel_ml,
            )
        )  # fmt: skip
    return scores


def absent_score(case: str, values: tuple[int, ...]) -> ClassScore:
    """The score of a class that was first seen after this case: in neither of its two label arrays."""
    nan = float("nan")
    return ClassScore(case, "", values, nan, nan, nan, nan, nan, 0, 0, 0, 0.0, 0.0)


def _indices(labels: Array, values: list[int]) -> NDArray[np.unsignedinteger[Any]]:
    """Replaces each label value by its position in `values` (sorted, 0 first), other values by that of 0."""
    sorted_values = np.array(values)
    index = np.empty(labels.shape, dtype=np.min_scalar_type(len(values)))
    for row, found in zip(labels, index, strict=True):  # one sagittal slice at a time, to keep memory small
        nearest = np.minimum(np.searchsorted(sorted_values, row), len(values) - 1)
        found[:] = np.where(sorted_values[nearest] == row, nearest, 0)
    return index


def _boxes(index: NDArray[np.unsignedinteger[Any]], n: int) -> list[Box | None]:
    """Per position in `values`, the box around its voxels; the background's is not looked for."""
    boxes: list[Box | None] = [None]
    boxes.extend(ndimage.find_objects(index, max_label=n - 1) if n > 1 else [])  # type: ignore[arg-type]
    return boxes


def _union(boxes: Sequence[Box | None]) -> Box:
    there = [box for box in boxes if box is not None]
    x, y, z = (slice(min(b[i].start for b in there), max(b[i].stop for b in there)) for i in range(3))
    return x, y, z

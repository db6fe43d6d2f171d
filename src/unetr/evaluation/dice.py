"""Overlap of two label arrays: counts of voxels in one pass, then Dice and IoU from the counts.

The rule for empty classes, here and everywhere in this folder: prediction and truth both without the class = NaN
(nothing can be said, so it is left out of means and counted); only one of them without it = 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetr.core.space.volume import Array

# Voxels per bincount: bounds the memory of the intermediate pair codes.
_CHUNK = 1 << 22


def pair_counts(prediction: Array, truth: Array, n_classes: int) -> NDArray[np.int64]:
    """How many voxels have truth i and prediction j: [n_classes, n_classes], the confusion matrix.

    prediction, truth: integer arrays of one shape with values 0..n_classes-1. Raises ValueError otherwise.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {prediction.shape}, truth is {truth.shape}; they must have one shape")
    counts = np.zeros(n_classes * n_classes, dtype=np.int64)
    flat_prediction, flat_truth = prediction.reshape(-1), truth.reshape(-1)
    for start in range(0, flat_truth.size, _CHUNK):
        rows = flat_truth[start : start + _CHUNK].astype(np.int64)
        columns = flat_prediction[start : start + _CHUNK].astype(np.int64)
        if min(rows.min(), columns.min()) < 0 or max(rows.max(), columns.max()) >= n_classes:
            raise ValueError(f"labels must lie in 0..{n_classes - 1}")
        rows *= n_classes
        rows += columns
        counts += np.bincount(rows, minlength=counts.size)
    return counts.reshape(n_classes, n_classes)


def tp_fp_fn(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """True positives, false positives and false negatives per class, from a confusion matrix [truth, prediction]."""
    tp = np.diagonal(counts).copy()
    return tp, counts.sum(axis=0) - tp, counts.sum(axis=1) - tp


def mask_counts(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of two masks of one shape."""
    tp = int(np.count_nonzero(prediction & truth))
    return tp, int(np.count_nonzero(prediction)) - tp, int(np.count_nonzero(truth)) - tp


def dice(tp: int, fp: int, fn: int) -> float:
    """2 TP / (2 TP + FP + FN); NaN when the class is in neither."""
    total = 2 * tp + fp + fn
    return 2 * tp / total if total else float("nan")


def iou(tp: int, fp: int, fn: int) -> float:
    """TP / (TP + FP + FN), the Jaccard index; NaN when the class is in neither."""
    total = tp + fp + fn
    return tp / total if total else float("nan")


def dice_per_class(prediction: Array, truth: Array, n_classes: int) -> NDArray[np.float64]:
    """Dice of every class 0..n_classes-1, background first: [n_classes], NaN where a class is in neither array.

    Needs no distances, so it is what validation during training calls.
    """
    tp, fp, fn = tp_fp_fn(pair_counts(prediction, truth, n_classes))
    return np.array([dice(*(int(n) for n in counts)) for counts in zip(tp, fp, fn, strict=True)])

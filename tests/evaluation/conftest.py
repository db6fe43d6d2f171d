"""Mask pairs, random and real, on which the metrics are compared with other programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

SPACINGS = [(1.0, 1.0, 1.0), (0.6875, 0.6875, 6.5), (3.0, 0.5, 1.25), (0.9, 2.0, 0.3)]


@dataclass(frozen=True)
class MaskPair:
    """Two bool masks [X, Y, Z] on one grid."""

    name: str
    prediction: np.ndarray
    truth: np.ndarray
    spacing_mm: tuple[float, float, float]


def random_pairs() -> Iterator[MaskPair]:
    rng = np.random.default_rng(11)
    for i in range(60):
        shape = tuple(int(n) for n in rng.integers(3, 18, 3))
        truth, noise = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, 1.5, 1.5, 1.5))
        prediction = truth + rng.uniform(0.1, 1) * noise
        yield MaskPair(f"smooth {i}", prediction > 0.05, truth > 0.05, SPACINGS[i % 4])
    for i in range(40):  # noise: every neighbourhood code occurs, and every edge of the array is touched
        prediction, truth = rng.random((2, 6, 7, 5)) < rng.uniform(0.1, 0.9)
        yield MaskPair(f"noise {i}", prediction, truth, SPACINGS[i % 4])


def edge_pairs() -> Iterator[MaskPair]:
    rng = np.random.default_rng(12)
    shape = (7, 9, 8)
    for i in range(20):
        single, other = np.zeros((2, *shape), bool)
        single[tuple(rng.integers(0, shape))] = other[tuple(rng.integers(0, shape))] = True
        yield MaskPair(f"single voxels {i}", single, other, SPACINGS[i % 4])
    full = np.ones(shape, bool)
    for axis in range(3):
        for i, low in enumerate((True, False)):
            half = np.zeros(shape, bool)
            index: list[slice] = [slice(None)] * 3
            index[axis] = slice(0, 3) if low else slice(-3, None)
            half[tuple(index)] = True
            yield MaskPair(f"half at border {axis} {low}", half, full, SPACINGS[i])
            yield MaskPair(f"opposite borders {axis} {low}", half, np.flip(half, axis), SPACINGS[2 + i])
    yield MaskPair("one slice", np.ones((9, 8, 1), bool), rng.random((9, 8, 1)) < 0.5, SPACINGS[1])
    yield MaskPair("identical", full, full, SPACINGS[1])


def real_pairs(folder: Path) -> Iterator[MaskPair]:
    rng = np.random.default_rng(13)
    previous: np.ndarray | None = None
    for i, path in enumerate(sorted(folder.glob("*.nii.gz"))[:30]):
        image = nibabel.load(path)
        labels = np.asarray(image.dataobj)
        spacing_mm = tuple(float(size) for size in image.header.get_zooms()[:3])
        for value in (1, 2):
            truth = labels == value
            shift = tuple(int(n) for n in rng.integers(-3, 4, 3))
            yield MaskPair(f"{path.name} {value} shifted", np.roll(truth, shift, (0, 1, 2)), truth, spacing_mm)
            grown = ndimage.binary_dilation(truth, iterations=1 + i % 3)
            yield MaskPair(f"{path.name} {value} dilated", grown, truth, SPACINGS[i % 4])
        if previous is not None:
            x, y, z = (min(a, b) for a, b in zip(labels.shape, previous.shape, strict=True))
            here, there = labels[:x, :y, :z] == 1, previous[:x, :y, :z] == 1
            yield MaskPair(f"{path.name} other subject", there, here, SPACINGS[i % 4])
        previous = labels


@pytest.fixture(scope="session")
def made_pairs() -> list[MaskPair]:
    """Random and edge cases, none of them empty."""
    return [p for p in (*random_pairs(), *edge_pairs()) if p.prediction.any() and p.truth.any()]


@pytest.fixture(scope="session")
def mask_pairs(made_pairs: list[MaskPair], shared_data: Path) -> list[MaskPair]:
    """At least 200 pairs, random and real."""
    real = real_pairs(shared_data / "Task04_Hippocampus" / "labelsTr")
    return made_pairs + [pair for pair in real if pair.prediction.any() and pair.truth.any()]

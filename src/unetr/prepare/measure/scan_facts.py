"""What can be said of a scan without a label. Training scans and new ones are measured by the same function."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from unetr.core.space.geometry import content_box, orientation_of, place
from unetr.core.space.volume import Affine, Array, Volume

CANONICAL = "RAS"
# Percentiles of a whole scan are taken of at most about this many voxels, evenly strided.
PERCENTILE_VOXELS = 1_000_000
# What is kept for each whole scan; `infer.verdict` compares a new scan's with them.
_SCAN_PERCENTILES = (0.5, 50.0, 99.5)

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """One channel of one scan, as the lists of `ScanStatistics` define it."""

    percentiles: Triple
    zero_fraction: float
    flat_fraction: float


@dataclass(frozen=True, slots=True)
class ScanFacts:
    """What can be said of a scan without a label; axes in canonical order (R, A, S).

    field_mm: the box without the border where all channels are zero. oblique_degrees: the largest angle between a voxel
    axis and the anatomical axis nearest to it.
    """

    spacing_mm: Triple
    field_mm: Triple
    oblique_degrees: float
    channels: tuple[ChannelFacts, ...]


def by_axis(sizes: Iterable[float]) -> str:
    """Sizes along the axes as reasons and messages show them: 35x50x35."""
    return "x".join(f"{size:g}" for size in sizes)


def scan_facts(image: Volume) -> ScanFacts:
    """Measures an image [C, X, Y, Z] of finite numbers from at most about a million evenly strided voxels.

    The cost does not grow with the scan; the field of view is exact up to the stride. Training scans and new ones are
    measured by this same function, so that they can be compared.
    """
    turned = to_canonical(image)
    steps = _strides(turned.shape)
    sampled = turned.data[:, :: steps[0], :: steps[1], :: steps[2]]
    box = content_box(image.with_data(sampled, affine=turned.affine), CANONICAL)
    spacing_mm = canonical_spacing_mm(image)
    right, front, up = (
        min((high - low) * step, size) * spacing
        for (low, high), step, size, spacing in zip(box, steps, turned.shape, spacing_mm, strict=True)
    )
    inside = sampled[:, *(slice(low, high) for low, high in box)]
    channels = []
    for every, content, whole in zip(sampled, inside, turned.data, strict=True):
        low, middle, high = (float(f"{value:.6g}") for value in np.percentile(content, _SCAN_PERCENTILES))
        flat = _flat_fraction(whole, steps, middle)
        channels.append(ChannelFacts((low, middle, high), float(np.mean(every == 0)), flat))
    return ScanFacts(spacing_mm, (right, front, up), oblique_degrees(image.affine), tuple(channels))


def oblique_degrees(affine: Affine) -> float:
    """The largest angle between a voxel axis and the anatomical axis that `orientation_of` gives it; 0 for flips."""
    cosines = np.abs(affine[:3, :3]) / np.linalg.norm(affine[:3, :3], axis=0)
    order = [next(i for i, pair in enumerate(("RL", "AP", "SI")) if c in pair) for c in orientation_of(affine)]
    smallest = min(float(cosines[world, axis]) for axis, world in enumerate(order))
    return math.degrees(math.acos(min(1.0, round(smallest, 9))))  # rounded: float32 headers are not tilted


def _strides(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """A step per axis that leaves at most about PERCENTILE_VOXELS voxels; the longest axis is thinned first."""
    steps = [1, 1, 1]
    while math.prod(left := [size / step for size, step in zip(shape, steps, strict=True)]) > PERCENTILE_VOXELS:
        steps[left.index(max(left))] += 1
    return steps[0], steps[1], steps[2]


def _flat_fraction(channel: Array, steps: tuple[int, int, int], median: float) -> float:
    """See `ScanStatistics`. 1 where no voxel is brighter than the median: most of the scan is one single plateau."""
    axis = channel.shape.index(max(channel.shape))
    every = tuple(slice(None, None, step) for step in steps)
    pair = np.moveaxis(channel, axis, 0)
    here, there = (np.moveaxis(part, 0, axis)[every] for part in (pair[:-1], pair[1:]))
    bright = (here > median) & (there > median)
    return float(np.mean((here == there)[bright])) if bright.any() else 1.0


def canonical_spacing_mm(volume: Volume) -> Triple:
    """The spacing along the axes R, A, S."""
    code, spacing = orientation_of(volume.affine), volume.spacing_mm
    right, front, up = (next(i for i in range(3) if code[i] in pair) for pair in ("RL", "AP", "SI"))
    return spacing[right], spacing[front], spacing[up]


def to_canonical(volume: Volume) -> Volume:
    """Turns the axes to R, A, S without resampling."""
    return place(volume, CANONICAL, canonical_spacing_mm(volume), "nearest")[0]

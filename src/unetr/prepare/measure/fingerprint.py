"""Measuring a dataset in one pass over its cases. Decides nothing: that is the planner's part."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.machine.parallel import in_turn
from unetr.core.plan.fingerprint import Fingerprint, IntensityStatistics, LabelStatistics, ScanStatistics
from unetr.core.space.geometry import content_box, orientation_of
from unetr.core.space.volume import Volume
from unetr.core.text.records import valid
from unetr.errors import InputError
from unetr.prepare.datasets.cases import read_learned
from unetr.prepare.datasets.dataset import Case, Dataset
from unetr.prepare.measure.contrast import ChannelContrast, channel_contrast, contrast_statistics
from unetr.prepare.measure.scan_facts import (
    CANONICAL,
    PERCENTILE_VOXELS,
    ScanFacts,
    Triple,
    canonical_spacing_mm,
    scan_facts,
    to_canonical,
)
from unetr.prepare.measure.structures import Structures, measure_structures

VOXELS_PER_CASE = 10_000
# Deviations below this (mm) are rounding: it keeps the effect size finite when all cases are alike.
_SMALLEST_DEVIATION_MM = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class CaseFacts:
    """What one case contributes.

    shape: of the box without the border where all channels are zero; voxels: of the whole scan. samples: [C, n] voxels
    of the foreground, or of all where nothing is labelled. percentiles: the 99.5th of each channel. counts: label
    value -> voxels. offsets_mm: label value -> its centroid minus that of all foreground, per canonical axis. scan:
    what needs no label. contrast: of each channel. structures: label value -> how small they are.
    """

    shape: tuple[int, int, int]
    voxels: int
    spacing_mm: Triple
    orientation: str
    voxel_ml: float
    samples: NDArray[np.float32]
    percentiles: list[float]
    counts: dict[int, int]
    offsets_mm: dict[int, Triple]
    scan: ScanFacts
    contrast: tuple[ChannelContrast, ...]
    structures: dict[int, Structures]

    @property
    def has_foreground(self) -> bool:
        """Whether any label but the background occurs."""
        return bool(self.offsets_mm)


@valid("the dataset's fingerprint")
def measure_fingerprint(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Fingerprint:
    """Reads every case to learn from once and measures it; voxels are sampled with seeds made of the case ids.

    Raises InputError for the first case that cannot be read (`unetr check` lists them all) or when none is labelled.
    """
    cases = dataset.learned_from
    if not cases:
        raise InputError(f"{dataset.root}: no case has a label; there is nothing to plan from")
    facts = in_turn(lambda case: measure_case(case, dataset), cases, progress)
    orientations: dict[str, int] = {}
    for fact in facts:
        orientations[fact.orientation] = orientations.get(fact.orientation, 0) + 1
    return Fingerprint(
        dataset=dataset.name,
        cases=len(facts),
        shapes=[fact.shape for fact in facts],
        spacings_mm=[fact.spacing_mm for fact in facts],
        orientations=dict(sorted(orientations.items())),
        channels=_channel_statistics(facts, dataset.channel_names),
        labels=[_label_statistics(name, value, facts) for name, value in dataset.labels.items() if value != 0],
        intensity_scale_spread=_scale_spread(facts),
        content_fraction=sum(math.prod(fact.shape) for fact in facts) / sum(fact.voxels for fact in facts),
        scans=_scan_statistics([fact.scan for fact in facts], dataset.channel_names),
        oblique_degrees=[fact.scan.oblique_degrees for fact in facts],
        widths_mm=[min((found.width_mm for found in fact.structures.values()), default=0.0) for fact in facts],
        contrast=contrast_statistics([fact.contrast for fact in facts], dataset.channel_names),
    )


def measure_case(case: Case, dataset: Dataset) -> CaseFacts:
    """Measures one case on its own grid, turned to canonical axes. Raises InputError."""
    return facts_of(*read_learned(case, dataset), dataset, case.id)


def facts_of(image: Volume, label: Volume, dataset: Dataset, case_id: str) -> CaseFacts:
    """Measures an image [C, X, Y, Z] and its label [1, X, Y, Z] on the same grid."""
    spacing_mm = canonical_spacing_mm(image)
    scan, values = to_canonical(image).data, to_canonical(label).data[0]
    foreground = values > 0
    if dataset.ignore_label is not None:
        foreground &= values != dataset.ignore_label
    chosen = np.flatnonzero(foreground)
    present = [int(value) for value in np.unique(values.reshape(-1)[chosen])]
    everywhere = chosen if chosen.size else np.arange(values.size)
    if everywhere.size > VOXELS_PER_CASE:
        seed = hashlib.sha256(case_id.encode("utf-8", "surrogateescape")).digest()
        rng = np.random.default_rng(int.from_bytes(seed[:8], "little"))
        everywhere = rng.choice(everywhere, VOXELS_PER_CASE, replace=False)
    stride = max(1, values.size // PERCENTILE_VOXELS)
    counts, offsets = _label_places(values, chosen, present, spacing_mm)
    box = content_box(image, CANONICAL)
    inside = tuple(slice(low, high) for low, high in box)
    right, front, up = (high - low for low, high in box)
    within = [int(value) for value in np.intersect1d(values[inside], present)]
    return CaseFacts(
        shape=(right, front, up),
        voxels=values.size,
        spacing_mm=spacing_mm,
        orientation=orientation_of(image.affine),
        voxel_ml=image.voxel_ml,
        samples=np.stack([channel.reshape(-1)[everywhere] for channel in scan]).astype(np.float32),
        percentiles=[float(np.percentile(channel.reshape(-1)[::stride], 99.5)) for channel in scan],
        counts=counts,
        offsets_mm=offsets,
        scan=scan_facts(image),
        contrast=tuple(channel_contrast(channel[inside], values[inside], within) for channel in scan),
        structures={value: measure_structures(values == value, spacing_mm) for value in present},
    )


def _label_places(
    values: NDArray[Any], chosen: NDArray[np.intp], present: list[int], spacing_mm: Triple
) -> tuple[dict[int, int], dict[int, Triple]]:
    """Voxels per label value, and where its centroid lies from that of all foreground, in mm."""
    counts: dict[int, int] = {}
    offsets: dict[int, Triple] = {}
    if not chosen.size:
        return counts, offsets
    position = np.stack(np.unravel_index(chosen, values.shape)) * np.array(spacing_mm)[:, None]
    centre = position.mean(axis=1)
    labels = values.reshape(-1)[chosen]
    for value in present:
        own = labels == value
        counts[value] = int(own.sum())
        right, front, up = (float(distance) for distance in position[:, own].mean(axis=1) - centre)
        offsets[value] = (right, front, up)
    return counts, offsets


def _channel_statistics(facts: list[CaseFacts], names: tuple[str, ...]) -> dict[str, IntensityStatistics]:
    labelled = [fact for fact in facts if fact.has_foreground] or facts
    samples = np.concatenate([fact.samples for fact in labelled], axis=1)
    result = {}
    for name, channel in zip(names, samples, strict=True):
        low, median, high = (float(p) for p in np.percentile(channel, (0.5, 50, 99.5)))
        result[name] = IntensityStatistics(
            minimum=float(channel.min()),
            maximum=float(channel.max()),
            mean=float(channel.mean(dtype=np.float64)),
            std=float(channel.std(dtype=np.float64)),
            percentile_00_5=low,
            median=median,
            percentile_99_5=high,
        )
    return result


def _scan_statistics(scans: list[ScanFacts], names: tuple[str, ...]) -> dict[str, ScanStatistics]:
    result = {}
    for index, name in enumerate(names):
        channel = [scan.channels[index] for scan in scans]
        result[name] = ScanStatistics(
            percentiles=[facts.percentiles for facts in channel],
            zero_fractions=[facts.zero_fraction for facts in channel],
            flat_fractions=[facts.flat_fraction for facts in channel],
        )
    return result


def _label_statistics(name: str, value: int, facts: list[CaseFacts]) -> LabelStatistics:
    having = [fact for fact in facts if value in fact.counts]
    voxels, rare = sum(fact.voxels for fact in facts), 2 * len(having) < len(facts)
    return LabelStatistics(
        name=name,
        value=value,
        cases=len(having),
        voxel_fraction=sum(fact.counts[value] for fact in having) / voxels,
        median_volume_ml=float(np.median([fact.counts[value] * fact.voxel_ml for fact in having])) if having else 0.0,
        components=sum(fact.structures[value].components for fact in having),
        width_mm=float(np.percentile([fact.structures[value].width_mm for fact in having], 10)) if having else 0.0,
        in_cases=[index for index, fact in enumerate(facts) if value in fact.counts] if rare else [],
        side=side_effect([fact.offsets_mm[value] for fact in having]),
    )


def side_effect(offsets_mm: list[Triple]) -> Triple:
    """Per axis mean / standard deviation over cases of a label's offset; 0 for fewer than two cases."""
    if len(offsets_mm) < 2:
        return (0.0, 0.0, 0.0)
    offsets = np.array(offsets_mm)
    deviation = np.maximum(offsets.std(axis=0, ddof=1), _SMALLEST_DEVIATION_MM)
    right, front, up = (float(effect) for effect in offsets.mean(axis=0) / deviation)
    return right, front, up


def _scale_spread(facts: list[CaseFacts]) -> float:
    """Largest ratio, over the channels, of the 99.5th percentiles of two scans; scans at or below 0 say nothing."""
    spread = 1.0
    for channel in zip(*(fact.percentiles for fact in facts), strict=True):
        positive = [value for value in channel if value > 0]
        if positive:
            spread = max(spread, max(positive) / min(positive))
    return spread

"""Fingerprint: measured facts about a dataset, kept with the plan and the model file."""

from __future__ import annotations

from pydantic import Field

from unetr.core.records import Record


class IntensityStatistics(Record):
    """Of one channel, over the foreground voxels of all cases (or all voxels where nothing is labelled)."""

    minimum: float
    maximum: float
    mean: float
    std: float
    percentile_00_5: float
    median: float
    percentile_99_5: float


class LabelStatistics(Record):
    """Of one label: in how many cases it occurs, its share of all voxels, its volume.

    side: per axis of the canonical orientation (R, A, S), the mean over cases of the distance from the centroid of all
    foreground to this label's centroid, divided by that distance's standard deviation over cases.
    """

    name: str
    value: int
    cases: int
    voxel_fraction: float
    median_volume_ml: float
    side: tuple[float, float, float] = (0.0, 0.0, 0.0)


class ScanStatistics(Record):
    """Of one channel over whole scans, not only their foreground; lists have one entry per case.

    percentiles: the 0.5th, 50th and 99.5th inside the box without the border of zeros. zero_fractions: share of all
    voxels that are exactly zero. flat_fractions: of the neighbouring voxels that are both brighter than the median, the
    share that are exactly equal; near 1 in label maps, small where there is noise.
    """

    percentiles: list[tuple[float, float, float]]
    zero_fractions: list[float]
    flat_fractions: list[float]


class ContrastStatistics(Record):
    """Of one channel: where the labels lie in the scans' own scale of percentiles; lists have one entry per case.

    low_percentiles, high_percentiles: the clip, no narrower than the usual one, that holds of each label of the case
    nine tenths of its voxels from either side. low_losses, high_losses: how far beyond the usual clip the outermost
    of these voxels lie, in standard deviations of the scan clipped so. All inside the box without the border of zeros.
    darkest, brightest: of the labelled cases, the least and the greatest of these voxels' values over the labels.
    collapsed: cases in which all but a twentieth of the channel are equal. values: all values, where the scans hold
    few (a mask, a label map); values_per_scan: the most that one of them holds then.
    """

    low_percentiles: list[float]
    high_percentiles: list[float]
    low_losses: list[float]
    high_losses: list[float]
    darkest: list[float] = Field(default_factory=list)
    brightest: list[float] = Field(default_factory=list)
    collapsed: int = 0
    values: list[float] = Field(default_factory=list)
    values_per_scan: int = 0


class Fingerprint(Record):
    """What was measured. Lists have one entry per case, in the dataset's order; axes in canonical order (R, A, S).

    shapes: without the border where all channels are zero. content_fraction: what these boxes hold of all voxels.
    orientations: orientation code -> number of cases. intensity_scale_spread: largest / smallest, over cases, of the
    scan's 99.5th percentile; large means arbitrary units. scans: channel -> statistics of the whole scans.
    oblique_degrees: the largest angle between a voxel axis and the anatomical axis nearest to it. contrast: channel ->
    where the labels lie in the scans' percentiles. These are empty in fingerprints that were measured before they
    existed.
    """

    dataset: str
    cases: int
    shapes: list[tuple[int, int, int]]
    spacings_mm: list[tuple[float, float, float]]
    orientations: dict[str, int]
    channels: dict[str, IntensityStatistics]
    labels: list[LabelStatistics]
    intensity_scale_spread: float
    content_fraction: float = 1.0
    scans: dict[str, ScanStatistics] = Field(default_factory=dict)
    oblique_degrees: list[float] = Field(default_factory=list)
    contrast: dict[str, ContrastStatistics] = Field(default_factory=dict)

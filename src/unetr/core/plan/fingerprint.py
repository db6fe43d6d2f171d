"""Fingerprint: measured facts about a dataset, kept with the plan and the model file."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from unetr.core.plan import bounds
from unetr.core.text.records import Record

_Cases = Annotated[int, Field(ge=0, le=10**7)]
_Side = Annotated[int, Field(ge=1, le=10**6)]
_Spacing = Annotated[float, Field(gt=0, le=1e6)]
_Degrees = Annotated[float, Field(ge=0, le=180)]
# Intensities are float32.
_Intensity = Annotated[float, Field(ge=-3.5e38, le=3.5e38)]


class IntensityStatistics(Record):
    """Of one channel, over the foreground voxels of all cases (or all voxels where nothing is labelled)."""

    minimum: _Intensity
    maximum: _Intensity
    mean: _Intensity
    std: _Intensity
    percentile_00_5: _Intensity
    median: _Intensity
    percentile_99_5: _Intensity


class LabelStatistics(Record):
    """Of one label: in how many cases it occurs, its share of all voxels, its volume.

    components: how many connected ones in all cases. width_mm: the 10th percentile over cases of the width of all but
    the smallest tenth of them (`prepare.measure.structures`). in_cases: the indices of the cases that have it,
    where fewer than half do.
    side: per axis of the canonical orientation (R, A, S), the mean over cases of the distance from the centroid of all
    foreground to this label's centroid, divided by that distance's standard deviation over cases.
    """

    name: bounds.Name
    value: bounds.LabelValue
    cases: _Cases
    voxel_fraction: bounds.Fraction
    median_volume_ml: Annotated[float, Field(ge=0, le=1e18)]
    side: tuple[bounds.Finite, bounds.Finite, bounds.Finite] = (0.0, 0.0, 0.0)
    components: Annotated[int, Field(ge=0)] = 0
    width_mm: bounds.NotNegative = 0.0
    in_cases: list[_Cases] = Field(default_factory=list)


class ScanStatistics(Record):
    """Of one channel over whole scans, not only their foreground; lists have one entry per case.

    percentiles: the 0.5th, 50th and 99.5th inside the box without the border of zeros. zero_fractions: share of all
    voxels that are exactly zero. flat_fractions: of the neighbouring voxels that are both brighter than the median, the
    share that are exactly equal; near 1 in label maps, small where there is noise.
    """

    percentiles: list[tuple[_Intensity, _Intensity, _Intensity]] = Field(min_length=1)
    zero_fractions: list[bounds.Fraction] = Field(min_length=1)
    flat_fractions: list[bounds.Fraction] = Field(min_length=1)


class ContrastStatistics(Record):
    """Of one channel: where the labels lie in the scans' own scale of percentiles; lists have one entry per case.

    low_percentiles, high_percentiles: the clip, no narrower than the usual one, that holds of each label of the case
    nine tenths of its voxels from either side. low_losses, high_losses: how far beyond the usual clip the outermost
    of these voxels lie, in standard deviations of the scan clipped so. All inside the box without the border of zeros.
    darkest, brightest: of the labelled cases, the least and the greatest of these voxels' values over the labels.
    collapsed: cases in which all but a twentieth of the channel are equal. values: all values, where the scans hold
    few (a mask, a label map); values_per_scan: the most that one of them holds then.
    """

    low_percentiles: list[bounds.Percentile]
    high_percentiles: list[bounds.Percentile]
    low_losses: list[bounds.Finite]
    high_losses: list[bounds.Finite]
    darkest: list[_Intensity] = Field(default_factory=list)
    brightest: list[_Intensity] = Field(default_factory=list)
    collapsed: _Cases = 0
    values: list[_Intensity] = Field(default_factory=list)
    values_per_scan: _Cases = 0


class Fingerprint(Record):
    """What was measured. Lists have one entry per case, in the dataset's order; axes in canonical order (R, A, S).

    shapes: without the border where all channels are zero. content_fraction: what these boxes hold of all voxels.
    orientations: orientation code -> number of cases. intensity_scale_spread: largest / smallest, over cases, of the
    scan's 99.5th percentile; large means arbitrary units. scans: channel -> statistics of the whole scans.
    oblique_degrees: the largest angle between a voxel axis and the anatomical axis nearest to it. contrast: channel ->
    where the labels lie in the scans' percentiles. widths_mm: of the thinnest label, 0 where
    nothing is labelled. These are empty in fingerprints that were measured before they existed.
    """

    dataset: bounds.Name
    cases: _Cases
    shapes: list[tuple[_Side, _Side, _Side]] = Field(min_length=1)
    spacings_mm: list[tuple[_Spacing, _Spacing, _Spacing]] = Field(min_length=1)
    orientations: dict[str, _Cases]
    channels: dict[bounds.Name, IntensityStatistics]
    labels: list[LabelStatistics]
    intensity_scale_spread: Annotated[float, Field(ge=0, le=1e300)]
    content_fraction: bounds.Fraction = 1.0
    scans: dict[bounds.Name, ScanStatistics] = Field(default_factory=dict)
    oblique_degrees: list[_Degrees] = Field(default_factory=list)
    contrast: dict[bounds.Name, ContrastStatistics] = Field(default_factory=dict)
    widths_mm: list[bounds.NotNegative] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_entry_per_case(self) -> Self:
        if len(self.shapes) != len(self.spacings_mm):
            raise ValueError(
                f"{len(self.shapes)} shapes and {len(self.spacings_mm)} spacings; expected one of each case"
            )
        return self

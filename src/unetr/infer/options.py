"""The options of a prediction, from reading a scan to what the result contains. This is their one owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from unetr.core.space.frames import Transform


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a person asks for: an engine, a device and a precision, or auto for what suits model and machine."""

    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"


class ReadKeywords(TypedDict, total=False):
    """The options of `PredictOptions` that say how a scan is read and judged, for calls by keyword."""

    strict: bool
    assume_affine: bool
    accept_shear: bool
    transform: Transform | None
    series: tuple[str, ...]


class ComputeKeywords(TypedDict, total=False):
    """The options of `PredictOptions` that say what is computed, for calls by keyword."""

    tta: bool
    probabilities: bool
    uncertainty: bool
    memory_limit_bytes: int | None


class PredictKeywords(ReadKeywords, ComputeKeywords, total=False):
    """All options of `PredictOptions`, for calls by keyword."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How a scan is segmented.

    strict: refuse a scan that does not look like the training scans. assume_affine: take the axes of a scan without
    geometry as R, A, S. accept_shear: segment a scan whose axes are not perpendicular, on its own grid. transform:
    which affine of a NIfTI counts where its two disagree, in place of the plan's. series: SeriesInstanceUIDs of a
    DICOM folder, one for each channel. tta: average over the mirrors that the plan allows. probabilities, uncertainty:
    keep these volumes. memory_limit_bytes: of the whole process; None for what the machine has free.
    """

    strict: bool = False
    assume_affine: bool = False
    accept_shear: bool = False
    transform: Transform | None = None
    series: tuple[str, ...] = ()
    tta: bool = False
    probabilities: bool = False
    uncertainty: bool = False
    memory_limit_bytes: int | None = None

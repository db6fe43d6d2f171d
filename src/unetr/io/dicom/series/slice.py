"""One slice of a DICOM series: where it lies, how its numbers are stored, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydicom.dataset import Dataset

from unetr.core.space.grids import MOST_SHEAR
from unetr.core.space.volume import Array
from unetr.errors import InputError
from unetr.io.dicom.files import DicomFile
from unetr.io.dicom.header import items, needed_integer, needed_numbers, numbers_of, printed_steps, text
from unetr.io.dicom.rescale import Rescale, rescale_of
from unetr.io.dicom.series.instances import Instance


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How an instance stores its numbers: rows × columns of `allocated` bits, `stored` of them used up to `high`.

    bare: nothing may be in the other bits.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool
    bare: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One slice. frame: from 0 within its file. position: LPS mm [3]; rounding_mm: half the last digit that each of
    its numbers is printed with [3]; axes: LPS unit vectors along columns and rows [2, 3]; spacing_mm: between rows,
    between columns. groups: where its attributes are, its own functional groups before the shared ones before the
    object's."""

    file: DicomFile
    frame: int
    name: str
    position: Array
    rounding_mm: Array
    axes: Array
    spacing_mm: tuple[float, ...]
    layout: PixelLayout
    rescale: Rescale
    groups: tuple[Dataset, ...]


def single_slice(instance: Instance) -> Slice:
    """The slice of a single-frame object. Raises InputError."""
    header, name = instance.header, instance.file.name
    if numbers_of(header, "NumberOfFrames", 1, name) not in (None, (1.0,)):
        raise InputError(f"{name}: has several frames in a single-frame object; expected one")
    return _slice(instance.file, 0, name, _layout(header, name), [header] * 3, (header,))


def frame_slices(instance: Instance) -> list[Slice]:
    """The frames of an enhanced instance, each with the functional groups of its own or the shared ones."""
    header, name = instance.header, instance.file.name
    shared = items(header, "SharedFunctionalGroupsSequence", name)[:1]
    own = items(header, "PerFrameFunctionalGroupsSequence", name)
    count = needed_integer(header, "NumberOfFrames", name)
    if count < 1 or count != len(own):
        raise InputError(
            f"{name}: has NumberOfFrames {count} and describes {len(own)} frames; expected the same number"
        )
    layout = _layout(header, name)
    slices = []
    for index, group in enumerate(own):
        groups = (group, *shared, header)
        part = partial(_macro, groups, name)
        parts = [part("PlanePositionSequence"), part("PlaneOrientationSequence"), part("PixelMeasuresSequence")]
        slices.append(_slice(instance.file, index, f"{name}, frame {index + 1}", layout, parts, groups))
    return slices


def _macro(groups: Sequence[Dataset], name: str, keyword: str) -> Dataset:
    found = [part for each in groups for part in items(each, keyword, name)]
    return found[0] if found else Dataset()


def _slice(
    file: DicomFile,
    frame: int,
    name: str,
    layout: PixelLayout,
    parts: Sequence[Dataset],
    groups: tuple[Dataset, ...],
) -> Slice:
    """parts: where position, orientation and spacing are."""
    position, orientation, measures = parts
    axes = np.array(needed_numbers(orientation, "ImageOrientationPatient", 6, name)).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > MOST_SHEAR or abs(float(axes[0] @ axes[1])) > MOST_SHEAR:
        raise InputError(f"{name}: its ImageOrientationPatient is not two perpendicular unit vectors; correct the file")
    spacing = needed_numbers(measures, "PixelSpacing", 2, name)
    if min(spacing) <= 0:
        raise InputError(f"{name}: its PixelSpacing is {spacing[0]:g}×{spacing[1]:g} mm; expected positive numbers")
    place = np.array(needed_numbers(position, "ImagePositionPatient", 3, name))
    rounding = np.array(printed_steps(position, "ImagePositionPatient", name)) / 2
    axes = axes / lengths[:, None]
    return Slice(file, frame, name, place, rounding, axes, spacing, layout, rescale_of(groups, name), groups)


def _layout(header: Dataset, name: str) -> PixelLayout:
    sizes = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel")
    rows, columns, allocated, stored, high, signed, samples = (needed_integer(header, each, name) for each in sizes)
    photometric = text(header, "PhotometricInterpretation", name)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"{name}: has {samples} values per pixel ({photometric or 'no photometric'}); expected a grey scan"
        )
    if min(rows, columns) < 2:
        raise InputError(f"{name}: has {columns}×{rows} pixels; expected at least 2 along each axis")
    sound = allocated in (8, 16, 32) and 1 <= stored <= allocated and stored - 1 <= high < allocated
    if not sound or signed not in (0, 1):
        raise InputError(
            f"{name}: stores {stored} of {allocated} bits up to bit {high}, PixelRepresentation {signed}; expected "
            "whole numbers in 8, 16 or 32 bits"
        )
    return PixelLayout(rows, columns, allocated, stored, high, bool(signed))

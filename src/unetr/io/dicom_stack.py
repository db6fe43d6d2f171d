"""One series as a stack of slices: what each header says about its place, and the grid that they must form.

Slices are ordered by position along the normal. SliceThickness, SliceLocation, InstanceNumber and names are not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from unetr.core.volume import Affine, Array
from unetr.errors import InputError
from unetr.io.dicom_files import DicomFile
from unetr.io.dicom_header import items, needed_integer, needed_numbers, numbers_of, text
from unetr.io.dicom_series import Instance, Series

# Direction cosines are decimal text of at least 4 digits; the project's shear tolerance.
_MOST_SHEAR = 1e-3
# How far direction cosines, and relatively pixel spacings, may differ within a series: rounding of text.
_SAME = 1e-4
# How far slices may be from equal steps, relative to the step: positions are often rounded to 0.01 mm.
_UNEVEN = 0.01


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How an instance stores its numbers: rows × columns of `allocated` bits, `stored` of them used up to `high`."""

    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One slice. frame: from 0 within its file. position: LPS mm [3]; axes: LPS unit vectors along columns and rows
    [2, 3]; spacing_mm: between rows, between columns. rescale: slope and intercept, None where there are none."""

    file: DicomFile
    frame: int
    name: str
    position: Array
    axes: Array
    spacing_mm: tuple[float, ...]
    layout: PixelLayout
    rescale: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A series on a sound grid: slices in the order of the third axis. affine: voxel -> RAS mm. headers: one for each
    slice, or a single one for a multi-frame instance. frame_of_reference: its UID, empty where there is none."""

    series: Series
    slices: tuple[Slice, ...]
    affine: Affine
    headers: tuple[Dataset, ...]
    frame_of_reference: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        layout = self.slices[0].layout
        return layout.columns, layout.rows, len(self.slices)


def stack_series(series: Series) -> Stack:
    """Judges the headers of a series. Raises InputError for whatever is not one regular grid, naming file or mm."""
    instances = series.instances
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "PhotometricInterpretation"):
        _check_same(instances, keyword)
    if series.is_multi_frame:
        if len(instances) > 1:
            raise InputError(
                f"{instances[1].file.name}: is one of {len(instances)} multi-frame instances of {series.title}; "
                "expected one per series; move the others away"
            )
        slices = _frames(instances[0])
    else:
        slices = [_single(each) for each in instances]
        _check_instance_uids(instances)
    _check_alike(slices, {each.file.name: each.header for each in instances})
    order, affine = regular_grid(series.title, slices)
    headers = (instances[0].header,) if series.is_multi_frame else tuple(instances[i].header for i in order)
    frame_of_reference = text(instances[0].header, "FrameOfReferenceUID", instances[0].file.name)
    return Stack(series, tuple(slices[i] for i in order), affine, headers, frame_of_reference)


def regular_grid(title: str, slices: Sequence[Slice]) -> tuple[list[int], Affine]:
    """The slices' order along the normal and the affine, voxel [column, row, slice] -> RAS mm. Raises InputError."""
    if len(slices) < 2:
        raise InputError(f"{slices[0].name}: {title} has a single slice, is 2D; expected the folder of a 3D scan")
    axes = slices[0].axes
    normal = np.cross(axes[0], axes[1])
    positions = np.stack([each.position for each in slices])
    heights = positions @ normal
    order = [int(index) for index in np.argsort(heights, kind="stable")]
    positions, heights = positions[order], heights[order]
    steps = np.diff(heights)
    _check_duplicates(title, [slices[i] for i in order], heights, steps)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    tilt = float(np.abs(axes @ step).max() / np.linalg.norm(step))
    if tilt > _MOST_SHEAR:
        raise InputError(
            f"{slices[0].name}: {title} has a gantry tilt: its slices are stacked {np.degrees(np.arcsin(tilt)):.2f} "
            "degrees away from their normal; expected perpendicular slices; resample it to a regular grid"
        )
    _check_steps(title, [slices[i] for i in order], heights, steps)
    off = np.linalg.norm(positions - positions[0] - np.outer(np.arange(len(slices)), step), axis=1)
    worst = int(np.argmax(off))
    if off[worst] > _UNEVEN * np.linalg.norm(step):
        raise InputError(
            f"{slices[order[worst]].name}: is {off[worst]:.3g} mm away from equal steps of "
            f"{np.linalg.norm(step):.4g} mm ({heights[worst]:.2f} mm along the normal); expected at most {_UNEVEN:.0%} "
            "of the step: variable spacing"
        )
    affine = np.eye(4)
    between_rows, between_columns = slices[0].spacing_mm
    affine[:3, :3] = np.stack([axes[0] * between_columns, axes[1] * between_rows, step], axis=1)
    affine[:3, 3] = positions[0]
    return order, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _check_duplicates(title: str, slices: Sequence[Slice], heights: Array, steps: Array) -> None:
    apart = steps[steps > 1e-3]
    usual = float(np.median(apart)) if apart.size else 1.0
    same = np.flatnonzero(steps <= max(1e-3, _UNEVEN * usual))
    if same.size:
        first = int(same[0])
        raise InputError(
            f"{slices[first + 1].name}: is at the same position as {slices[first].name}, {heights[first]:.2f} mm along "
            f"the normal ({same.size} such in {title}); expected one slice per position: duplicate slices, or several "
            "time points, echoes or b-values, which must be separate series"
        )


def _check_steps(title: str, slices: Sequence[Slice], heights: Array, steps: Array) -> None:
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    at = int(np.argmax(steps))
    if steps[at] > 1.5 * usual:
        missing = max(round(float(steps[at]) / usual) - 1, 1)
        raise InputError(
            f"{slices[at].name}: after it about {missing} slice{'s are' if missing > 1 else ' is'} missing, between "
            f"{heights[at]:.2f} and {heights[at + 1]:.2f} mm along the normal of {title}; "
            f"expected steps of {usual:.4g} mm"
        )


def _single(instance: Instance) -> Slice:
    header, name = instance.header, instance.file.name
    if numbers_of(header, "NumberOfFrames", 1, name) not in (None, (1.0,)):
        raise InputError(f"{name}: has several frames in a single-frame object; expected one")
    return _slice(instance.file, 0, name, _layout(header, name), [header] * 4)


def _frames(instance: Instance) -> list[Slice]:
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
    keywords = ("Plane Position", "Plane Orientation", "Pixel Measures", "Pixel Value Transformation")
    slices = []
    for index, group in enumerate(own):
        frame_name = f"{name}, frame {index + 1}"
        parts = []
        for keyword in keywords:
            found = [
                part for each in (group, *shared) for part in items(each, f"{keyword} Sequence".replace(" ", ""), name)
            ]
            parts.append(found[0] if found else Dataset())
        slices.append(_slice(instance.file, index, frame_name, layout, parts))
    return slices


def _slice(file: DicomFile, frame: int, name: str, layout: PixelLayout, parts: Sequence[Dataset]) -> Slice:
    """parts: where position, orientation, spacing and rescale are."""
    position, orientation, measures, transformation = parts
    axes = np.array(needed_numbers(orientation, "ImageOrientationPatient", 6, name)).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > _MOST_SHEAR or abs(float(axes[0] @ axes[1])) > _MOST_SHEAR:
        raise InputError(f"{name}: its ImageOrientationPatient is not two perpendicular unit vectors; correct the file")
    spacing = needed_numbers(measures, "PixelSpacing", 2, name)
    if min(spacing) <= 0:
        raise InputError(f"{name}: its PixelSpacing is {spacing[0]:g}×{spacing[1]:g} mm; expected positive numbers")
    place = np.array(needed_numbers(position, "ImagePositionPatient", 3, name))
    axes = axes / lengths[:, None]
    return Slice(file, frame, name, place, axes, spacing, layout, _rescale(transformation, name))


def _rescale(dataset: Dataset, name: str) -> tuple[float, float] | None:
    slope = numbers_of(dataset, "RescaleSlope", 1, name)
    intercept = numbers_of(dataset, "RescaleIntercept", 1, name)
    if items(dataset, "ModalityLUTSequence", name):
        raise InputError(f"{name}: has a modality look-up table; expected a RescaleSlope and a RescaleIntercept")
    if slope is None and intercept is None:
        return None
    if slope is None or intercept is None or slope[0] == 0:
        raise InputError(f"{name}: its rescaling is incomplete; expected a RescaleSlope above 0 and a RescaleIntercept")
    return slope[0], intercept[0]


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


def _check_same(instances: Sequence[Instance], keyword: str) -> None:
    found = [text(each.header, keyword, each.file.name) for each in instances]
    odd = _odd_one(found)
    if odd is not None:
        raise InputError(
            f"{instances[odd].file.name}: its {keyword} differs from the other slices'; expected one in a series"
        )


def _check_instance_uids(instances: Sequence[Instance]) -> None:
    seen: dict[str, str] = {}
    for each in instances:
        uid = text(each.header, "SOPInstanceUID", each.file.name)
        if not uid:
            raise InputError(f"{each.file.name}: has no SOPInstanceUID; expected a complete image")
        if uid in seen:
            raise InputError(f"{each.file.name}: is the same instance as {seen[uid]}, a duplicate slice; remove one")
        seen[uid] = each.file.name


def _check_alike(slices: Sequence[Slice], headers: dict[str, Dataset]) -> None:
    """Raises InputError naming the slice whose size, orientation, spacing or rescaling is not the others'."""
    traits: dict[str, Callable[[Slice], Hashable]] = {
        "pixels": lambda each: (each.layout.columns, each.layout.rows),
        "orientation": lambda each: tuple(np.round(each.axes, 3).ravel() + 0.0),
        "PixelSpacing": lambda each: tuple(round(value, 3) for value in each.spacing_mm),
        "rescaling": lambda each: each.rescale is None,
    }
    usual = {trait: Counter(map(of, slices)).most_common(1)[0][0] for trait, of in traits.items()}
    like = {trait: next(each for each in slices if of(each) == usual[trait]) for trait, of in traits.items()}
    for each in slices:
        turn = float(np.abs(each.axes - like["orientation"].axes).max())
        stretch = max(abs(a / b - 1) for a, b in zip(each.spacing_mm, like["PixelSpacing"].spacing_mm, strict=True))
        odd = {
            "pixels": traits["pixels"](each) != usual["pixels"],
            "orientation": turn > _SAME,
            "PixelSpacing": stretch > _SAME,
            "rescaling": (each.rescale is None) != usual["rescaling"],
        }
        for trait in (trait for trait, differs in odd.items() if differs):
            header = headers[each.file.name]
            scout = " (it is a localizer)" if "LOCALIZER" in text(header, "ImageType", each.file.name).upper() else ""
            raise InputError(
                f"{each.name}: its {trait} differs from {like[trait].name}'s{scout}; expected slices that are alike in "
                "a series; move it away"
            )


def _odd_one(values: Sequence[str]) -> int | None:
    usual = Counter(values).most_common(1)[0][0]
    return next((index for index, each in enumerate(values) if each != usual), None)

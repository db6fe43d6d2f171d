"""DICOM in: the series in a folder, zip archive or file, and one or several of them as a Volume.

Importing this module does not import pydicom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.core.space.grids import grid_tolerance_mm
from unetr.core.space.volume import Volume, affine_spacing_mm, grid_distance_mm
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.io.checks import check_affine
from unetr.io.dicom.files import looks_like_dicom, open_files
from unetr.io.dicom.source import DicomSource

if TYPE_CHECKING:
    from unetr.io.dicom.series.instances import Series
    from unetr.io.dicom.series.stack import Stack


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One image series, from headers alone.

    instances: DICOM objects; slices: what they hold together. shape: columns, rows, slices and spacing_mm along them,
    None unless the headers form a regular grid. files: their names. remarks: what is wrong or worth knowing. missing:
    those of the remarks that ask whether slices are missing.
    """

    uid: str
    modality: str
    description: str
    instances: int
    slices: int
    shape: tuple[int, int, int] | None
    spacing_mm: tuple[float, float, float] | None
    files: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def is_dicom(path: Path) -> bool:
    """Whether the path is for `read_dicom`: never raises, whatever is there.

    True for a folder that holds DICOM files at any depth and no scan files (`is_scan`), for a .zip that holds DICOM
    or that cannot be looked into (reading it says why), and for a file with DICM at byte 128 that is no scan by name.
    """
    return looks_like_dicom(path)


@reads_untrusted("readable DICOM")
def list_series(path: Path) -> list[SeriesInfo]:
    """The CT, MR and PET series, by series number, then UID; no pixel data is read. Raises InputError."""
    from unetr.io.dicom.series.instances import find_series

    with open_files(path) as files:
        return [_info(series) for series in find_series(path, files)]


@reads_untrusted("readable DICOM")
def read_dicom(path: Path, series: Sequence[str] = ()) -> Volume:
    """Reads a series, or several of one grid as channels in the order of their UIDs `series`, as [C, X, Y, Z].

    X are columns, Y rows, Z slices, sorted by position along their normal; affine: voxel -> RAS mm. Numbers: see
    `pixels.read_pixels`; pixels with the PixelPaddingValue are left as they are. `Volume.source` is a tuple of
    one DicomSource per channel. Raises InputError for whatever is not one sound regular grid, with the file's name or
    the position in mm, and for several series where none is chosen; MachineError for a missing decoder.
    """
    from unetr.io.dicom.pixels import read_pixels
    from unetr.io.dicom.series.instances import chosen_series, find_series
    from unetr.io.dicom.series.stack import stack_series

    with open_files(path) as files:
        stacks = [stack_series(each) for each in chosen_series(path, find_series(path, files), series)]
        for stack in stacks:
            check_affine(path, stack.affine, f"affine of {stack.series.title}")
            _check_same_grid(path, stacks[0], stack)
        data = read_pixels(path, stacks)
    said = [note for stack in stacks for note in stack.notes]
    return Volume(
        data,
        stacks[0].affine,
        notes=tuple(note.text for note in said if not note.doubt),
        source=tuple(_source(stack) for stack in stacks),
        doubts=tuple(note.text for note in said if note.doubt),
    )


def _info(series: Series) -> SeriesInfo:
    from unetr.io.dicom.series.stack import stack_series

    stack: Stack | None = None
    missing: tuple[str, ...] = ()
    try:
        stack = stack_series(series)
        remarks = tuple(note.text for note in stack.notes)
        missing = tuple(note.text for note in stack.notes if note.missing)
    except InputError as error:
        remarks = (str(error),)
    names = tuple(each.file.name for each in series.instances)
    shape, spacing_mm = (stack.shape, affine_spacing_mm(stack.affine)) if stack else (None, None)
    return SeriesInfo(
        uid=series.uid,
        modality=series.modality,
        description=series.description,
        instances=len(names),
        slices=series.slices,
        shape=shape,
        spacing_mm=spacing_mm,
        files=names,
        remarks=remarks,
        missing=missing,
    )


def _source(stack: Stack) -> DicomSource:
    frames: tuple[int, ...] = ()
    if stack.series.is_multi_frame:
        frames = tuple(each.frame + 1 for each in stack.slices)
    return DicomSource(stack.series.uid, stack.headers, frames)


def _check_same_grid(path: Path, first: Stack, other: Stack) -> None:
    """Raises InputError unless both series have the same voxels at the same place in one frame of reference."""
    if other is first:
        return
    names = f"{path}: {other.series.title} and {first.series.title}"
    if not first.frame_of_reference or first.frame_of_reference != other.frame_of_reference:
        raise InputError(
            f"{names} do not share a frame of reference (FrameOfReferenceUID); expected registered series of one study"
        )
    if first.shape != other.shape:
        sizes = ["×".join(map(str, stack.shape)) for stack in (other, first)]
        raise InputError(f"{names} have {sizes[0]} and {sizes[1]} voxels; expected the same grid; register them first")
    distance = grid_distance_mm(first.affine, other.affine, first.shape)
    allowed = grid_tolerance_mm(first.affine, first.shape)
    if distance > allowed:
        raise InputError(
            f"{names} place voxels up to {distance:.3g} mm apart; expected at most {allowed:.2g} mm; "
            "register them first"
        )

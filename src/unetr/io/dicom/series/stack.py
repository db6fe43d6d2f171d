"""One series as a stack of slices: what its headers say about their places, and the grid that they must form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from unetr.core.space.volume import Affine
from unetr.errors import InputError
from unetr.io.dicom.header import Note, text
from unetr.io.dicom.rescale import notes_on_numbers, upside_down
from unetr.io.dicom.series.alike import alike, check_one_stack, check_same
from unetr.io.dicom.series.grid import regular_grid
from unetr.io.dicom.series.instances import Instance, Series
from unetr.io.dicom.series.parts import joined_parts, notes_on_completeness, without_localizers
from unetr.io.dicom.series.slice import PixelLayout, Slice, frame_slices, single_slice

__all__ = ["PixelLayout", "Slice", "Stack", "stack_series"]

_ONE_IN_A_SERIES = (
    *("FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "PhotometricInterpretation", "PresentationLUTShape"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A series on a sound grid: slices in the order of the third axis. affine: voxel -> RAS mm. headers: one for each
    slice, or one for each part of a multi-frame series. frame_of_reference: its UID, empty where there is none.
    turned_over: large numbers are dark. notes: what a person should know of it."""

    series: Series
    slices: tuple[Slice, ...]
    affine: Affine
    headers: tuple[Dataset, ...]
    frame_of_reference: str
    turned_over: bool
    notes: tuple[Note, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        layout = self.slices[0].layout
        return layout.columns, layout.rows, len(self.slices)


def stack_series(series: Series) -> Stack:
    """Judges the headers of a series. Raises InputError for whatever is not one regular grid, naming file or mm."""
    title = series.title
    if series.is_multi_frame:
        instances, notes = joined_parts(title, series.instances)
        slices = [each for instance in instances for each in frame_slices(instance)]
    else:
        instances, notes = without_localizers(series.instances)
        slices = [single_slice(each) for each in instances]
    for keyword in _ONE_IN_A_SERIES:
        check_same(instances, keyword)
    _check_instance_uids(instances)
    slices = alike(slices)
    notes = [*notes, *check_one_stack(title, slices)]
    try:
        order, affine = regular_grid(title, slices)
    except InputError as error:
        left_out = "; ".join(note.text for note in notes if not note.doubt)
        raise InputError(f"{error} ({left_out})" if left_out else str(error), hint=error.hint) from None
    header, name = instances[0].header, instances[0].file.name
    notes += notes_on_numbers(series.kind, header, [each.rescale for each in slices], name)
    notes += notes_on_completeness(title, slices, series.instances, affine)
    headers = [each.header for each in instances]
    return Stack(
        replace(series, instances=tuple(instances)),
        tuple(slices[i] for i in order),
        affine,
        tuple(headers if series.is_multi_frame else (headers[i] for i in order)),
        text(header, "FrameOfReferenceUID", name),
        series.kind == "MR" and bool(upside_down(header, name)),
        tuple(notes),
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

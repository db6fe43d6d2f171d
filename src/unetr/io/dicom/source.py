"""What a DICOM result must refer to: the instances that a volume was read from. Knows pydicom's datasets, no pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, slots=True, eq=False)
class DicomSource:
    """The series behind a Volume read from DICOM, kept in `Volume.source`.

    series_uid: its SeriesInstanceUID. headers: the instances' datasets without pixel data, in the order of the
    volume's third axis; a single one for an enhanced multi-frame instance (one for each part of a concatenation), whose
    frames are then in `frames`: frame number (from 1, in its own part) of each slice of the volume. Voxel [c, x, y, z]
    is column x, row y of slice z.
    """

    series_uid: str
    headers: tuple[Dataset, ...] = field(repr=False)  # they name the patient
    frames: tuple[int, ...] = ()

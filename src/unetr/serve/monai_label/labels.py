"""A job's labels as MONAI Label's clients need them, and what the numbers in a client's label file mean.

3D Slicer names the segments of a label file by position among the numbers that occur in it. So what is sent to it has
no gaps, also where a label does not occur: otherwise the next one would bear its name.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetr.core.space.volume import Array, Volume
from unetr.errors import InputError
from unetr.io.formats import nrrd
from unetr.io.scan import read_label, write_volume
from unetr.io.voxels import smallest_integer
from unetr.queue.service import Service

NRRD = ".nrrd"
# Of a file that a client may ask for. Slicer and OHIF ask for .nrrd; MONAI Label sends .nii.gz unless asked.
ENDINGS = (NRRD, ".nii.gz", ".nii")
DEFAULT_ENDING = ".nii.gz"
# Name -> number.
Names = dict[str, int]
_ONE_AT_A_TIME = threading.Lock()
_TOP = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Numbered:
    """Labels whose numbers are not those of the model. names: what each number means, by number."""

    volume: Volume
    names: Names


def that_occur(labels: Volume, values: Mapping[str, int]) -> Numbered:
    """The labels that occur, numbered from 1 without gaps. values: name -> value in `labels`, by value."""
    there = _occurring(labels.data)
    return renumbered(labels, {name: value for name, value in values.items() if there[value]})


def renumbered(labels: Volume, values: Mapping[str, int]) -> Numbered:
    """Each label with its position in `values`, counted from 1; whatever has no name there becomes background."""
    names = {name: number for number, name in enumerate(values, start=1)}
    table = np.zeros(_TOP, dtype=smallest_integer(0, len(names)))
    for name, value in values.items():
        table[value] = names[name]
    data = table[labels.data]
    return Numbered(labels.with_data(data, label_names={number: name for name, number in names.items()}), names)


def write(path: Path, labels: Volume, *, compressed: bool) -> None:
    """Writes NRRD or NIfTI, as the path's end says. compressed: of NRRD, whose readers in browsers want it raw."""
    if path.name.endswith(NRRD):
        nrrd.write(path, labels, "gzip" if compressed else "raw")
    else:
        write_volume(path, labels)


@contextmanager
def room(service: Service) -> Iterator[Path]:
    """A fresh folder for one answer's file, which goes with an error; otherwise whoever sends the file removes it."""
    folder = service.new_incoming()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_for_client(labels: Path, out: Path, values: Mapping[str, int], *, gapless: bool, compressed: bool) -> Names:
    """Writes a job's labels, a file of this program, numbered anew; what the numbers mean.

    gapless: labels that do not occur have no number. One file at a time, since its voxels are in memory.
    """
    with _ONE_AT_A_TIME:
        number = that_occur if gapless else renumbered
        numbered = number(read_label(labels), values)
        write(out, numbered.volume, compressed=compressed)
    return numbered.names


def names_in(labels: Path, values: Mapping[str, int]) -> Names:
    """What the numbers mean that a client gets of these labels."""
    with _ONE_AT_A_TIME:
        return that_occur(read_label(labels), values).names


def meant_values(label_info: Sequence[Mapping[str, Any]], values: Mapping[str, int]) -> tuple[int, ...]:
    """The model's value for each number in a client's label file, from 0 on. values: name -> value.

    label_info: of the file, an entry a segment with its `name`, in the order of their numbers, which begin at 1:
    Slicer's own `idx` also counts segments that it leaves out. Raises InputError for a name that the model lacks.
    """
    meant = [0]
    for entry in label_info:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or name not in values:
            raise InputError(f"the label file has a segment that the model lacks; expected {', '.join(values)}")
        meant.append(values[name])
    return tuple(meant)


def _occurring(data: Array) -> Array:
    """Which of the values occur, plane by plane, so that no copy of the voxels is made."""
    there = np.zeros(_TOP, dtype=bool)
    for plane in np.moveaxis(data[0], -1, 0):
        there[plane] = True
    return there

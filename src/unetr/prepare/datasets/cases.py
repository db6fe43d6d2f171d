"""From a path to cases, and from a case to volumes. Knows the names of the layouts; each is read in its own module."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from unetr.core.machine.allowance import Claim, admit, reading
from unetr.core.observer import Observer
from unetr.core.plan import bounds
from unetr.core.space.frames import Transform, taking
from unetr.core.space.volume import Volume
from unetr.core.text.records import Record, record_from
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.io import onto_grid, read_dicom, read_label, read_volume
from unetr.prepare.datasets.dataset import Case, Dataset
from unetr.prepare.datasets.inputs import Inputs, prediction_inputs
from unetr.prepare.datasets.layouts import btcv as layouts_btcv
from unetr.prepare.datasets.layouts import dataset_json as layouts_json
from unetr.prepare.datasets.layouts import files as layouts_files

__all__ = [
    "LAYOUTS",
    "Case",
    "Dataset",
    "Inputs",
    "Layout",
    "open_dataset",
    "prediction_inputs",
    "read_case",
    "read_image",
    "read_learned",
    "read_scan",
    "recognised",
    "stack_channels",
]


@dataclass(frozen=True, slots=True)
class Layout:
    """A way in which datasets lie on disk. looks_for: what a person is told when nothing is recognised."""

    looks_for: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Dataset]


LAYOUTS: dict[str, Layout] = {
    "nnunet": Layout(
        "dataset.json with channel_names (nnU-Net)", layouts_json.recognises_nnunet, layouts_json.read_nnunet
    ),
    "decathlon": Layout(
        "dataset.json with training (Decathlon)", layouts_json.recognises_decathlon, layouts_json.read_decathlon
    ),
    "folders": Layout("folders images and labels", layouts_files.recognises_folders, layouts_files.read_folders),
    "btcv": Layout(
        "img/img0001.nii.gz and label/label0001.nii.gz (BTCV)", layouts_btcv.recognises_btcv, layouts_btcv.read_btcv
    ),
    "csv": Layout("a .csv file of paths", layouts_files.recognises_csv, layouts_files.read_csv),
}


def recognised(path: Path) -> bool:
    """Whether any layout recognises the path."""
    return _is_description(path) or any(layout.recognises(path) for layout in LAYOUTS.values())


@reads_untrusted("a dataset")
def open_dataset(path: Path) -> Dataset:
    """Reads the dataset at `path` in the first layout that recognises it. Raises InputError."""
    if _is_description(path):
        path = path.parent
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a dataset")
    for layout in LAYOUTS.values():
        if layout.recognises(path):
            return _nameable(layout.read(path), path)
    looked = "; ".join(layout.looks_for for layout in LAYOUTS.values())
    raise InputError(f"{path}: is not a dataset; looked for {looked}")


def open_noted(path: Path, observer: Observer) -> Dataset:
    """`open_dataset`, with a note on what of the description is not obeyed, or read in another way."""
    dataset = open_dataset(path)
    for note in dataset.notes:
        observer.on_note(f"{dataset.root}: {note.message}")
    return dataset


class _Names(Record):
    """What a plan and a fingerprint of the dataset will hold of it."""

    name: bounds.Name
    channels: tuple[bounds.Name, ...] = Field(min_length=1, max_length=bounds.MOST_CHANNELS)
    labels: dict[bounds.Name, bounds.LabelValue] = Field(max_length=bounds.MOST_LABELS)
    regions: tuple[bounds.Name, ...] = Field(max_length=bounds.MOST_REGIONS)


def _nameable(dataset: Dataset, path: Path) -> Dataset:
    """The dataset, if a plan can name all it has: told before every case is read for it. Raises InputError."""
    names = {
        "name": dataset.name,
        "channels": dataset.channel_names,
        "labels": dataset.labels,
        "regions": tuple(region.name for region in dataset.regions),
    }
    record_from(_Names, names, str(path))
    for kind, given in (("channel", names["channels"]), ("label", names["labels"]), ("region", names["regions"])):
        twice = bounds.repeated(given)
        if twice:
            raise InputError(f"{path}: has the {kind} {twice!r} twice; each needs a name of its own")
    return dataset


def _is_description(path: Path) -> bool:
    """Whether it is a dataset.json, which stands for its folder."""
    return path.name == layouts_json.DATASET_JSON and path.is_file()


def read_case(case: Case, dataset: Dataset) -> tuple[Volume, Volume | None]:
    """The image [C, X, Y, Z] in float32 and the label [1, X, Y, Z] in integers, or None, on the image's grid.

    A label stored in another orientation is turned, without loss (`io.onto_grid`). Raises InputError for unreadable
    files, another number of channels than the dataset's, and grids that differ.
    """
    image = read_image(case, len(dataset.channel_names))
    if case.label is None:
        return image, None
    label = read_label(case.label, dataset.allowed_values)
    return image, onto_grid(image, label, case.images[0], case.label)


def read_learned(case: Case, dataset: Dataset) -> tuple[Volume, Volume]:
    """Image and label of a case that is learned from: background everywhere in a dataset without labels.

    Raises InputError, as `read_case` does and for a case that lacks its label.
    """
    image, label = read_case(case, dataset)
    if label is None and not dataset.unlabelled:
        raise InputError(f"{case.images[0]}: case {case.id!r} has no label; expected one for training")
    return image, label or image.with_data(np.zeros((1, *image.shape), dtype=np.uint8), label_names={})


def read_image(case: Case, n_channels: int) -> Volume:
    """All channels of a case in float32 [C, X, Y, Z]. Raises InputError."""
    with reading(_stacking_bytes):
        image = stack_channels([(path, read_volume(path)) for path in case.images])
    if image.data.shape[0] != n_channels:
        raise InputError(
            f"{case.images[0]}: case {case.id!r} has {image.data.shape[0]} channels in {len(case.images)} files; "
            f"expected {n_channels} channels, in one file or in a file each"
        )
    return image


def read_scan(
    paths: Sequence[Path],
    *,
    series: Sequence[str] = (),
    assume_affine: bool = False,
    accept_shear: bool = False,
    transform: Transform | None = None,
) -> Volume:
    """All channels of a scan, [C, X, Y, Z], from one path or one for each channel. transform: as in `io.read_volume`.

    series: of the one DICOM folder, one for each channel. Raises InputError that names the file.
    """
    with taking(transform), reading(_stacking_bytes):
        if series:
            return stack_channels([(paths[0], read_dicom(paths[0], series))])
        read = partial(read_volume, assume_affine=assume_affine, accept_shear=accept_shear)
        return stack_channels([(path, read(path)) for path in paths])


def _stacking_bytes(claim: Claim) -> int:
    """What follows a scan's reading before it is resampled: float32 numbers where they are not small, and marks."""
    small = not claim.rescaled and np.can_cast(claim.dtype, np.float32, "safe")
    return (1 if small else 5) * claim.numbers + math.prod(claim.shape)


def stack_channels(scans: Sequence[tuple[Path, Volume]]) -> Volume:
    """One scan [C, X, Y, Z] out of the file with all channels, or a file per channel in order.

    Files in another orientation than the first are turned, without loss. In float32; numbers of one file that need no
    more than 16 bits stay as they are, in half the memory. Raises InputError for files on different grids, several
    channels in one of several files, and values that float32 cannot hold.
    """
    first_path, first = scans[0]
    scans = [scans[0], *((path, onto_grid(first, volume, first_path, path)) for path, volume in scans[1:])]
    for path, volume in scans if len(scans) > 1 else ():
        if volume.data.shape[0] != 1:
            raise InputError(f"{path}: has {volume.data.shape[0]} channels; expected 1, as there is a file per channel")
    if len(scans) == 1 and np.can_cast(first.data.dtype, np.float32, "safe"):
        return first
    shape = (sum(volume.data.shape[0] for _, volume in scans), *first.shape)
    admit(first_path, 4 * math.prod(shape), "for its channels in float32", held=sum(v.data.nbytes for _, v in scans))
    data = np.empty(shape, dtype=np.float32)
    with np.errstate(over="ignore"):
        np.concatenate([volume.data for _, volume in scans], out=data, casting="unsafe")
    if any(volume.data.dtype == np.float64 for _, volume in scans) and not np.isfinite(data).all():
        raise InputError(f"{first_path}: has voxels beyond 3.4e38; expected values in the range of float32")
    notes = tuple(note for _, volume in scans for note in volume.notes)
    return first.with_data(data, notes=notes, doubts=tuple(doubt for _, volume in scans for doubt in volume.doubts))

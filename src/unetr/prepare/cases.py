"""From a path to cases, and from a case to volumes. Knows the names of the layouts; each is read in its own module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetr.core.volume import Volume
from unetr.errors import InputError
from unetr.io import case_name, check_same_grid, read_label, read_volume
from unetr.prepare import layouts_files, layouts_json
from unetr.prepare.dataset import Case, Dataset, sorted_cases

__all__ = [
    "LAYOUTS",
    "Case",
    "Dataset",
    "Layout",
    "open_dataset",
    "prediction_inputs",
    "read_case",
    "read_image",
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
    "csv": Layout("a .csv file of paths", layouts_files.recognises_csv, layouts_files.read_csv),
}


def open_dataset(path: Path) -> Dataset:
    """Reads the dataset at `path` in the first layout that recognises it. Raises InputError."""
    if path.name == layouts_json.DATASET_JSON and path.is_file():
        path = path.parent
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a dataset")
    for layout in LAYOUTS.values():
        if layout.recognises(path):
            return layout.read(path)
    looked = "; ".join(layout.looks_for for layout in LAYOUTS.values())
    raise InputError(f"{path}: is not a dataset; looked for {looked}")


def read_case(case: Case, dataset: Dataset) -> tuple[Volume, Volume | None]:
    """The image [C, X, Y, Z] in float32 and the label [1, X, Y, Z] in integers, or None, on one grid.

    Raises InputError for unreadable files, another number of channels than the dataset's, and grids that differ.
    """
    image = read_image(case, len(dataset.channel_names))
    if case.label is None:
        return image, None
    label = read_label(case.label, dataset.allowed_values)
    check_same_grid(image, label, case.images[0], case.label)
    return image, label


def read_image(case: Case, n_channels: int) -> Volume:
    """All channels of a case in float32 [C, X, Y, Z]. Raises InputError."""
    image = stack_channels([(path, read_volume(path)) for path in case.images])
    if image.data.shape[0] != n_channels:
        raise InputError(
            f"{case.images[0]}: case {case.id!r} has {image.data.shape[0]} channels in {len(case.images)} files; "
            f"expected {n_channels} channels, in one file or in a file each"
        )
    return image


def stack_channels(scans: Sequence[tuple[Path, Volume]]) -> Volume:
    """One scan [C, X, Y, Z] in float32 out of the file with all channels, or a file per channel in order.

    Raises InputError for files on different grids, several channels in one of several files, and values that float32
    cannot hold.
    """
    (first_path, first), *others = scans
    for path, volume in others:
        check_same_grid(first, volume, first_path, path)
    for path, volume in scans if others else ():
        if volume.data.shape[0] != 1:
            raise InputError(f"{path}: has {volume.data.shape[0]} channels; expected 1, as there is a file per channel")
    data = np.empty((sum(volume.data.shape[0] for _, volume in scans), *first.shape), dtype=np.float32)
    with np.errstate(over="ignore"):
        np.concatenate([volume.data for _, volume in scans], out=data, casting="unsafe")
    if any(volume.data.dtype == np.float64 for _, volume in scans) and not np.isfinite(data).all():
        raise InputError(f"{first_path}: has voxels beyond 3.4e38; expected values in the range of float32")
    return first.with_data(data)


def prediction_inputs(path: Path, n_channels: int) -> list[Case]:
    """The cases to predict in a scan file or a folder of scans, sorted by id.

    CASE.nii.gz is a case with all its channels; CASE_0000.nii.gz, CASE_0001.nii.gz, ... are a case with a file per
    channel. Four digits that are no channel of the model belong to the name, as in scan_2021. Raises InputError.
    """
    if path.is_file():
        files = [path]
        suffix = layouts_files.CHANNEL_SUFFIX.match(case_name(path))
        if suffix and int(suffix[2]) < n_channels:
            channels = [f"{suffix[1]}_{channel:04d}" for channel in range(n_channels)]
            files = [other for other in layouts_files.scans_in(path.parent) if case_name(other) in channels]
    elif path.is_dir():
        files = layouts_files.scans_in(path)
        if not files:
            raise InputError(f"{path}: holds no scan; expected files such as case.nii.gz")
    else:
        raise InputError(f"{path}: no such file or folder; expected a scan or a folder of scans")
    return _group_channels(files, n_channels, path)


def _channel_of(path: Path, n_channels: int) -> tuple[str, int | None]:
    """Case id and channel number of a file; None where the file holds the whole case."""
    name = case_name(path)
    suffix = layouts_files.CHANNEL_SUFFIX.match(name)
    if suffix and int(suffix[2]) < n_channels:
        return suffix[1], int(suffix[2])
    return name, None


def _group_channels(files: list[Path], n_channels: int, source: Path) -> list[Case]:
    whole: list[Case] = []
    channels: dict[str, dict[int, Path]] = {}
    for path in files:
        name, channel = _channel_of(path, n_channels)
        if channel is None:
            whole.append(Case(id=name, images=(path,), label=None, subject=name))
        elif channel in channels.setdefault(name, {}):
            raise InputError(f"{path}: and {channels[name][channel].name} are both channel {channel} of case {name!r}")
        else:
            channels[name][channel] = path
    for name, found in channels.items():
        missing = [f"{name}_{channel:04d}" for channel in range(n_channels) if channel not in found]
        if missing:
            raise InputError(
                f"{source}: case {name!r} lacks the channel file {missing[0]}; expected {n_channels} channels"
            )
        images = tuple(found[channel] for channel in range(n_channels))
        whole.append(Case(id=name, images=images, label=None, subject=name))
    return list(sorted_cases(whole, source))

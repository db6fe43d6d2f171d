"""From a path to scans to learn from without labels: a folder of scans as for prediction, or a dataset's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetr.errors import InputError
from unetr.io import case_name
from unetr.prepare.datasets.cases import open_dataset, recognised
from unetr.prepare.datasets.dataset import BACKGROUND, Dataset
from unetr.prepare.datasets.inputs import prediction_inputs
from unetr.prepare.datasets.layouts.files import CHANNEL_SUFFIX, channel_count, read_csv_scans, recognises_csv, scans_in


def open_unlabelled(path: Path, channel_names: Sequence[str] = ()) -> Dataset:
    """The scans of a dataset or of a folder, none of them labelled; the only label is the background.

    A dataset's own channel names are used where none are given. In a folder, CASE_0000.nii.gz, CASE_0001.nii.gz, ...
    are one case, as in prediction; without names, the number of channels is that of the first case.
    Raises InputError for what holds no scans, for a case that is not complete, and for another number of channels.
    """
    dataset = _of_layout(path) if recognised(path) else _of_folder(path, len(channel_names))
    if channel_names and len(channel_names) != len(dataset.channel_names):
        raise InputError(
            f"{path}: has {len(dataset.channel_names)} channels; expected {len(channel_names)}: "
            f"{', '.join(channel_names)}"
        )
    return replace(dataset, channel_names=tuple(channel_names) or dataset.channel_names)


def _of_layout(path: Path) -> Dataset:
    dataset = read_csv_scans(path) if recognises_csv(path) else open_dataset(path)
    cases = tuple(replace(case, label=None, fold=None) for case in dataset.cases)
    return replace(dataset, cases=cases, labels={BACKGROUND: 0}, regions=(), ignore_label=None)


def _of_folder(path: Path, n_channels: int) -> Dataset:
    """n_channels: 0 where it has to be found."""
    files = _files_per_case(path) if n_channels == 0 else n_channels
    inputs = prediction_inputs(path, files)
    if inputs.problems:
        more = f"; {len(inputs.problems) - 1} more cases have problems" if len(inputs.problems) > 1 else ""
        raise InputError(f"{next(iter(inputs.problems.values()))}{more}")
    channels = n_channels or channel_count(inputs.cases)
    return Dataset(
        name=path.resolve().name,
        root=path,
        layout="scans",
        cases=inputs.cases,
        channel_names=tuple(f"channel_{number}" for number in range(channels)),
        labels={BACKGROUND: 0},
    )


def _files_per_case(path: Path) -> int:
    """How many files CASE_0000, CASE_0001, ... the first such case has; 1 where there is none."""
    names = {case_name(file) for file in scans_in(path)} if path.is_dir() else set()
    found = [suffix[1] for name in sorted(names) if (suffix := CHANNEL_SUFFIX.match(name)) and suffix[2] == "0000"]
    count = 1
    while found and f"{found[0]}_{count:04d}" in names:
        count += 1
    return count

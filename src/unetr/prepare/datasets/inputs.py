"""From a path to the cases to predict: a scan, a folder of scans in any forms, or a table of paths. Opens no scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.io import case_name, is_dicom, is_scan
from unetr.prepare.datasets.dataset import Case, check_id
from unetr.prepare.datasets.folder_inputs import (
    Claims,
    channel_of,
    claims_of_files,
    dicom_id,
    is_one_series,
    look_into,
    printable_id,
)
from unetr.prepare.datasets.layouts.files import csv_cases, recognises_csv, recognises_folders, scans_in


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a path holds for prediction.

    cases: sorted by id; `images` are a file per channel, one file with all, or one DICOM folder, zip or file.
    problems: case id -> why that case cannot be predicted; no id is in both. single: the path is one scan, no folder
    of scans. dicom: some of the cases are DICOM.
    """

    cases: tuple[Case, ...]
    problems: dict[str, str]
    single: bool
    dicom: bool


@reads_untrusted("a scan or a folder of scans")
def prediction_inputs(path: Path, n_channels: int, series: Sequence[str] = ()) -> Inputs:
    """The cases in a scan file, a DICOM folder, zip or file, a folder of any of these, or a CSV of paths.

    CASE.nii.gz is a case with all its channels; CASE_0000.nii.gz, CASE_0001.nii.gz, ... are a case with a file per
    channel. Four digits that are no channel of the model belong to the name, as in scan_2021. A folder is one DICOM
    case if DICOM files and nothing else lie in it or `series` are chosen from it; else every scan file, zip of DICOM
    and subfolder is looked at (`folder_inputs`). Raises InputError for a path that holds nothing to predict,
    and for a single case that is not complete.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a scan or a folder of scans")
    if recognises_csv(path):
        _refuse_series(path, series)
        return Inputs(csv_cases(path), {}, single=False, dicom=False)
    if path.is_dir() and not series and not is_one_series(path):
        return _of_folder(path, n_channels)
    if is_dicom(path):
        return _inputs({dicom_id(path): [(path,)]}, {}, single=True)
    _refuse_series(path, series)
    return _inputs(*claims_of_files(_channel_files(path, n_channels), n_channels), single=True)


def _of_folder(path: Path, n_channels: int) -> Inputs:
    if not scans_in(path) and (recognises_folders(path) or (path / "dataset.json").is_file()):
        raise InputError(f"{path}: is a dataset; expected a folder of scans, such as the images in it")
    found = look_into(path, n_channels)
    if not found.claims and not found.problems:
        raise InputError(f"{path}: holds no scan; expected files such as case.nii.gz, or DICOM")
    problems = dict(found.problems)
    if any(not is_scan(first) for claimed in found.claims.values() for (first, *_) in claimed) and not scans_in(path):
        for other in found.others:
            problems[printable_id(dicom_id(other))] = (
                f"{other}: holds no DICOM; expected a series, as its neighbours have"
            )
    return _inputs(found.claims, problems, single=False)


def _refuse_series(path: Path, series: Sequence[str]) -> None:
    if series:
        raise InputError(f"{path}: has no series to choose from; expected DICOM, or no choice of series")


def _inputs(claims: Claims, problems: dict[str, str], *, single: bool) -> Inputs:
    """One case for each id that is claimed once, can be a file name, and has no problem yet."""
    problems = dict(problems)
    cases = []
    for name, claimed in sorted(claims.items()):
        first = claimed[0][0]
        try:
            check_id(name, first)
        except InputError as error:
            problems[printable_id(name)] = str(error)
        if len(claimed) > 1:
            others = " and ".join(str(files[0]) for files in claimed[1:])
            problems[printable_id(name)] = (
                f"{first}: case {name!r} occurs more than once, also as {others}; keep or rename one of them"
            )
        if printable_id(name) not in problems:
            cases.append(Case(id=name, images=claimed[0], label=None, subject=name))
    if single and problems:
        raise InputError(next(iter(problems.values())))
    dicom = any(not is_scan(case.images[0]) for case in cases)
    return Inputs(tuple(cases), dict(sorted(problems.items())), single, dicom)


def _channel_files(path: Path, n_channels: int) -> list[Path]:
    """The file, and the files of the case's other channels beside it."""
    name, channel = channel_of(path, n_channels)
    if channel is None:
        return [path]
    wanted = [f"{name}_{number:04d}" for number in range(n_channels)]
    return [other for other in scans_in(path.parent) if case_name(other) in wanted]

"""From a path to the cases to predict. Knows how scan files and DICOM lie in folders, and opens no scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unetr.core.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.io import case_name, is_dicom
from unetr.prepare.dataset import Case, check_id
from unetr.prepare.layouts_files import CHANNEL_SUFFIX, csv_cases, recognises_csv, scans_in


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a path holds for prediction.

    cases: sorted by id; `images` are a file per channel, one file with all, or one DICOM folder, zip or file.
    problems: case id -> why that case cannot be predicted; no id is in both. single: the path is one scan, no folder
    of scans. dicom: the cases are DICOM.
    """

    cases: tuple[Case, ...]
    problems: dict[str, str]
    single: bool
    dicom: bool


@reads_untrusted("a scan or a folder of scans")
def prediction_inputs(path: Path, n_channels: int, series: Sequence[str] = ()) -> Inputs:
    """The cases in a scan file, a DICOM folder, zip or file, a folder of any one of these kinds, or a CSV of paths.

    CASE.nii.gz is a case with all its channels; CASE_0000.nii.gz, CASE_0001.nii.gz, ... are a case with a file per
    channel. Four digits that are no channel of the model belong to the name, as in scan_2021. A folder without scan
    files is one DICOM case if DICOM files lie in it or `series` are chosen from it; else each subfolder and zip is one.
    Raises InputError for a path that holds nothing to predict, and for a single case that is not complete.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a scan or a folder of scans")
    if recognises_csv(path):
        _refuse_series(path, series)
        return Inputs(csv_cases(path), {}, single=False, dicom=False)
    if path.is_dir() and scans_in(path):
        _refuse_series(path, series)
        return _of_files(scans_in(path), n_channels, single=False)
    members = [] if series else _dicom_members(path)
    if is_dicom(path) or any(is_dicom(member) for member in members):
        return _of_dicom(path, members)
    if path.is_dir():
        raise InputError(f"{path}: holds no scan; expected files such as case.nii.gz, or DICOM")
    _refuse_series(path, series)
    return _of_files(_channel_files(path, n_channels), n_channels, single=True)


def _refuse_series(path: Path, series: Sequence[str]) -> None:
    if series:
        raise InputError(f"{path}: has no series to choose from; expected DICOM, or no --series")


_Claims = dict[str, list[tuple[Path, ...]]]
"""Case id -> every set of files that claims it."""


def _inputs(claims: _Claims, problems: dict[str, str], *, single: bool, dicom: bool) -> Inputs:
    """One case for each id that is claimed once, can be a file name, and has no problem yet."""
    problems = dict(problems)
    cases = []
    for name, claimed in sorted(claims.items()):
        first = claimed[0][0]
        try:
            check_id(name, first)
        except InputError as error:
            problems[_printable(name)] = str(error)
        if len(claimed) > 1:
            others = " and ".join(files[0].name for files in claimed[1:])
            problems[_printable(name)] = (
                f"{first}: case {name!r} occurs more than once, also as {others}; keep one of them"
            )
        if _printable(name) not in problems:
            cases.append(Case(id=name, images=claimed[0], label=None, subject=name))
    if single and problems:
        raise InputError(next(iter(problems.values())))
    return Inputs(tuple(cases), dict(sorted(problems.items())), single, dicom)


def _of_files(files: list[Path], n_channels: int, *, single: bool) -> Inputs:
    """Scan files by case. A case whose channel files are not one each is a problem."""
    claims: _Claims = {}
    channels: dict[str, list[list[Path]]] = {}
    for path in files:
        name, channel = _channel_of(path, n_channels)
        if channel is None:
            claims.setdefault(name, []).append((path,))
        else:
            channels.setdefault(name, [[] for _ in range(n_channels)])[channel].append(path)
    problems = {}
    for name, found in channels.items():
        incomplete = _incomplete(name, found)
        if incomplete is None:
            claims.setdefault(name, []).append(tuple(paths[0] for paths in found))
        else:
            problems[_printable(name)] = incomplete
    return _inputs(claims, problems, single=single, dicom=False)


def _incomplete(name: str, channels: list[list[Path]]) -> str | None:
    """What is wrong with a case's channel files, None if there is one of each."""
    for number, paths in enumerate(channels):
        if len(paths) > 1:
            return f"{paths[1]}: and {paths[0].name} are both channel {number} of case {name!r}; keep one of them"
    for number, paths in enumerate(channels):
        if not paths:
            present = next(path for paths in channels for path in paths)
            missing = f"{name}_{number:04d}"
            return f"{present}: case {name!r} lacks the channel file {missing}; expected {len(channels)} channels"
    return None


def _channel_files(path: Path, n_channels: int) -> list[Path]:
    """The file, and the files of the case's other channels beside it."""
    name, channel = _channel_of(path, n_channels)
    if channel is None:
        return [path]
    wanted = [f"{name}_{number:04d}" for number in range(n_channels)]
    return [other for other in scans_in(path.parent) if case_name(other) in wanted]


def _channel_of(path: Path, n_channels: int) -> tuple[str, int | None]:
    """Case id and channel number of a file; None where the file holds the whole case."""
    name = case_name(path)
    suffix = CHANNEL_SUFFIX.match(name)
    if suffix and int(suffix[2]) < n_channels:
        return suffix[1], int(suffix[2])
    return name, None


def _dicom_members(path: Path) -> list[Path]:
    """The subfolders and zips that are a case each; none where the path is a single case."""
    if not path.is_dir():
        return []
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    archives = [entry for entry in entries if entry.is_file() and entry.suffix.lower() == ".zip"]
    if any(is_dicom(entry) for entry in entries if entry.is_file() and entry not in archives):
        return []
    return [entry for entry in entries if entry.is_dir() or entry in archives]


def _of_dicom(path: Path, members: list[Path]) -> Inputs:
    """Each member is a case; without members, the path is."""
    claims: _Claims = {}
    for member in members or [path]:
        claims.setdefault(_dicom_id(member), []).append((member,))
    problems = {
        name: f"{first[0]}: holds no DICOM; expected a series, as its neighbours have"
        for name, (first, *_) in claims.items()
        if not is_dicom(first[0])
    }
    return _inputs(claims, problems, single=not members, dicom=True)


def _dicom_id(path: Path) -> str:
    """The folder's name, or the file's without suffix. Never anything from inside the files."""
    name = path.resolve().name if path.name in ("", "..") else path.name
    return name if path.is_dir() else Path(name).stem


def _printable(name: str) -> str:
    """A name that is no Unicode, with its strange bytes spelled out, so that it can be written into a report."""
    return name.encode("utf-8", "backslashreplace").decode()

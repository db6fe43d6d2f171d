"""Everything in a folder that looks like a scan: what is a case, and what is none and why. Opens no scan.

Scan files, zips and folders of DICOM, and subfolders with any of these. A subfolder's only case has the folder's name,
several have it before theirs. Hidden files, results of this program and whatever is like no scan are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from unetr.core.text.reading import read_json
from unetr.errors import InputError
from unetr.io import case_name, is_dicom, is_scan
from unetr.io.archive import open_archive
from unetr.io.stream import open_scan
from unetr.prepare.datasets.layouts.files import CHANNEL_SUFFIX

# Case id -> every set of files that claims it.
Claims = dict[str, list[tuple[Path, ...]]]

# Formats of scans that are not read -> what to say of them.
_FOREIGN = {
    **dict.fromkeys((".hdr", ".img"), "an Analyze or two-file NIfTI scan"),
    **dict.fromkeys((".mhd", ".nhdr"), "a header whose voxels are in another file"),
    **dict.fromkeys((".mgz", ".mgh"), "a FreeSurfer scan"),
    **dict.fromkeys((".mnc", ".mnc2"), "a MINC scan"),
    **dict.fromkeys((".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip"), "a NIfTI file compressed in another way"),
    ".gipl": "a GIPL scan",
}
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_ZIP = ".zip"
_REPORT, _REPORT_FORMAT = "report.json", "unetr-prediction-report"


@dataclass(slots=True)
class Found:
    """What a folder holds. claims: see Claims. problems: id -> why it is no case. others: folders and zips without
    anything like a scan."""

    claims: Claims = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)


def look_into(folder: Path, n_channels: int) -> Found:
    """Everything in the folder and below that looks like a scan."""
    return _look_into(folder, "", n_channels, set())


def is_one_series(folder: Path) -> bool:
    """Whether the folder as a whole is one case: DICOM files lie in it, and no scans in another form at any depth."""
    if not folder.is_dir() or not is_dicom(folder):
        return False
    loose = any(entry.is_file() and not _is_zip(entry) and is_dicom(entry) for entry in _shown(folder))
    return loose and not _zips_of_dicom(folder)


def claims_of_files(files: Sequence[Path], n_channels: int, prefix: str = "") -> tuple[Claims, dict[str, str]]:
    """Scan files by case. A case whose channel files are not one each is a problem."""
    claims: Claims = {}
    channels: dict[str, list[list[Path]]] = {}
    for path in files:
        name, channel = channel_of(path, n_channels)
        if channel is None:
            claims.setdefault(prefix + name, []).append((path,))
        else:
            channels.setdefault(name, [[] for _ in range(n_channels)])[channel].append(path)
    problems = {}
    for name, found in channels.items():
        incomplete = _incomplete(name, found)
        if incomplete is None:
            claims.setdefault(prefix + name, []).append(tuple(paths[0] for paths in found))
        else:
            problems[printable_id(prefix + name)] = incomplete
    return claims, problems


def channel_of(path: Path, n_channels: int) -> tuple[str, int | None]:
    """Case id and channel number of a file; None where the file holds the whole case."""
    name = case_name(path)
    suffix = CHANNEL_SUFFIX.match(name)
    if suffix and int(suffix[2]) < n_channels:
        return suffix[1], int(suffix[2])
    return name, None


def dicom_id(path: Path) -> str:
    """The folder's name, or the file's without suffix. Never anything from inside the files."""
    name = path.resolve().name if path.name in ("", "..") else path.name
    return name if path.is_dir() else Path(name).stem


def printable_id(name: str) -> str:
    """A name that is no Unicode, with its strange bytes spelled out, so that it can be written into a report."""
    return name.encode("utf-8", "backslashreplace").decode()


def _look_into(folder: Path, prefix: str, n_channels: int, seen: set[Path]) -> Found:
    seen.add(folder.resolve())  # links may lead in circles
    found = Found()
    try:
        entries = _shown(folder)
    except OSError as error:
        found.problems[printable_id(prefix + folder.name)] = f"{folder}: cannot be read: {error.strerror or error}"
        return found
    scans = [entry for entry in entries if entry.is_file() and is_scan(entry)]
    found.claims, found.problems = claims_of_files(scans, n_channels, prefix)
    loose = []
    for entry in entries:
        if entry.is_dir():
            if entry.resolve() not in seen and not _holds_results(entry):
                _add_folder(found, entry, prefix, n_channels, seen)
        elif entry not in scans:
            problem = _problem(entry)
            if problem:
                found.problems[printable_id(prefix + entry.name)] = f"{entry}: {problem}"
            elif _is_zip(entry):
                _add_zip(found, entry, prefix)
            elif is_dicom(entry):
                loose.append(entry)
    if loose:
        found.problems[printable_id(prefix + f"DICOM files in {folder.resolve().name}")] = (
            f"{loose[0]}: is one of {len(loose)} DICOM files beside scans in other forms; expected them in a folder of "
            "their own"
        )
    return found


def _add_folder(found: Found, folder: Path, prefix: str, n_channels: int, seen: set[Path]) -> None:
    name = prefix + folder.name
    if is_dicom(folder) and not _zips_of_dicom(folder):
        found.claims.setdefault(name, []).append((folder,))
        return
    inner = _look_into(folder, f"{name}_", n_channels, seen)
    if not inner.claims and not inner.problems:
        found.others.append(folder)
    if len(inner.claims) == 1 and not inner.problems:
        inner.claims = {name: next(iter(inner.claims.values()))}
    for each, claimed in inner.claims.items():
        found.claims.setdefault(each, []).extend(claimed)
    found.problems |= inner.problems


def _add_zip(found: Found, path: Path, prefix: str) -> None:
    name = prefix + dicom_id(path)
    if is_dicom(path):
        found.claims.setdefault(name, []).append((path,))
    elif _zip_holds_scans(path):
        found.problems[printable_id(prefix + path.name)] = (
            f"{path}: is an archive of scan files; expected one of DICOM; unpack it"
        )
    else:
        found.others.append(path)


def _problem(entry: Path) -> str:
    """Why an entry that looks like a scan by its name is none; empty where it does not, or could be one."""
    name = entry.name.lower()
    if not entry.exists() and entry.is_symlink():
        return "is a link to a file that is not there; expected a scan" if _named_like_a_scan(entry) else ""
    if not entry.is_file():
        return "is not a regular file; expected a scan" if _named_like_a_scan(entry) else ""
    for suffix, what in _FOREIGN.items():
        if name.endswith(suffix) and not is_dicom(entry):
            return f"is {what}, which is not read; convert it to .nii.gz"
    if name.endswith(_DICOM_SUFFIXES) and not is_dicom(entry):
        return "is named like DICOM and is none; copy it again, or move it away"
    return ""


def _named_like_a_scan(entry: Path) -> bool:
    return is_scan(entry) or entry.name.lower().endswith((*_FOREIGN, *_DICOM_SUFFIXES, _ZIP))


def _shown(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == _ZIP


def _zips_of_dicom(folder: Path) -> bool:
    """Whether zips of DICOM lie below, which reading the folder as one series would pass over."""
    zips = (path for path in folder.rglob("*") if _is_zip(path) and not path.name.startswith("."))
    return any(path.is_file() and is_dicom(path) for path in zips)


def _zip_holds_scans(path: Path) -> bool:
    with open_scan(path) as handle, open_archive(path, handle) as archive:
        return any(is_scan(Path(PurePosixPath(name).name)) for name in archive.namelist() if not name.endswith("/"))


def _holds_results(folder: Path) -> bool:
    """Whether a folder is where predictions were written to: they are not scans to predict."""
    report = folder / _REPORT
    if not report.is_file():
        return False
    try:
        document = read_json(report, "a report of unetr predict")
    except InputError:
        return False
    return isinstance(document, dict) and document.get("format") == _REPORT_FORMAT


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

"""The file formats, by suffix. A new format is one module with `read` and `write`, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.io.checks import RawScan
from unetr.io.formats import mha, nifti, nrrd


@dataclass(frozen=True, slots=True)
class Format:
    """How one format becomes voxels and back.

    read: the whole file, its integrity verified; raises InputError. write: straight to the path, neither atomic
    nor verified, which is `unetr.io.write_volume`'s part.
    """

    read: Callable[[Path], RawScan]
    write: Callable[[Path, Volume], None]


FORMATS: dict[str, Format] = {
    ".nii.gz": Format(nifti.read, nifti.write),
    ".nii": Format(nifti.read, nifti.write),
    ".nrrd": Format(nrrd.read, nrrd.write),
    ".mha": Format(mha.read, mha.write),
}


def scan_suffix(path: Path) -> str:
    """The known suffix that the name ends in, the longest if several do, in lower case. Raises InputError."""
    name = path.name.lower()
    known = [suffix for suffix in FORMATS if name.endswith(suffix) and name != suffix]
    if not known:
        raise InputError(f"{path}: is not named like a scan; expected one of {', '.join(FORMATS)}")
    return max(known, key=len)


def is_scan(path: Path) -> bool:
    """Whether the name is a scan's. Dot files are not scans: they are temporary or other programs' leftovers."""
    name = path.name.lower()
    return not name.startswith(".") and any(name.endswith(suffix) for suffix in FORMATS)


def case_name(path: Path) -> str:
    """The file's name without its scan suffix. Raises InputError."""
    return path.name[: -len(scan_suffix(path))]

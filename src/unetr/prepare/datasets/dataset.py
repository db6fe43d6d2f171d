"""Case and Dataset: the records that every layout is read into. Knows no layout and opens no file."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from unetr.core.files.outputs import folded
from unetr.core.plan.schema import Region
from unetr.errors import InputError

BACKGROUND = "background"
# What the value of voxels that nobody labelled is called among the labels' names: nnU-Net's word, and the plan's.
IGNORE_NAMES = ("ignore", "ignore_label")
_LONGEST_ID = 180


@dataclass(frozen=True, slots=True)
class Case:
    """One scan of one subject.

    images: one file per channel, or one file with all channels. label: None where the case is not labelled.
    subject: cases of one subject are never split across folds. fold: the validation fold a person chose, or None.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None
    subject: str
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know of how a dataset was read. code: a stable word for machines."""

    severity: Literal["warning", "info"]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Cases, sorted by id, and what is declared about them.

    labels: name -> value in the label files, background (0) included; no other where the scans are to be
    learned from without labels (`unlabelled.py`). regions: overlapping targets, if declared.
    ignore_label: the value of voxels that nobody labelled. layout: the name of the layout it was read from.
    held_out: scans that are for testing only. notes: what of the description was not obeyed, or read in another way.
    """

    name: str
    root: Path
    layout: str
    cases: tuple[Case, ...]
    channel_names: tuple[str, ...]
    labels: dict[str, int]
    regions: tuple[Region, ...] = ()
    ignore_label: int | None = None
    licence: str = ""
    reference: str = ""
    description: str = ""
    held_out: tuple[Case, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def labelled(self) -> tuple[Case, ...]:
        """The cases that have a label: what can be trained on and validated with."""
        return tuple(case for case in self.cases if case.label is not None)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of every case, and the table where the dataset is one."""
        of_cases = [path for case in self.cases for path in (*case.images, case.label) if path is not None]
        return (*of_cases, self.root / f"{self.name}.csv") if self.layout == "csv" else tuple(of_cases)

    @property
    def learned_from(self) -> tuple[Case, ...]:
        """The labelled cases; all where nothing is labelled but background."""
        return self.cases if self.unlabelled else self.labelled

    @property
    def unlabelled(self) -> bool:
        """Whether there are no labels but the background: scans for pretraining."""
        return len(self.labels) == 1

    @property
    def allowed_values(self) -> tuple[int, ...]:
        """Every value that a label file may hold."""
        return (*self.labels.values(), *(() if self.ignore_label is None else (self.ignore_label,)))

    def ignoring(self, value: int | None) -> Dataset:
        """The dataset as a plan with this `ignore_label` means it: what has the value is no class.

        Raises InputError where the dataset itself ignores another value.
        """
        if value == self.ignore_label:
            return self
        if self.ignore_label is not None:
            raise InputError(
                f"{self.root}: ignores the label value {self.ignore_label}, the plan "
                f"{'none' if value is None else value}; expected the same ignore_label in the plan"
            )
        return replace(self, ignore_label=value, labels={n: v for n, v in self.labels.items() if v != value})


def sorted_cases(cases: list[Case], source: Path) -> tuple[Case, ...]:
    """Cases by id.

    Raises InputError for none, repeated or unsafe ids, files that do not exist, and images that are their own labels.
    """
    if not cases:
        raise InputError(f"{source}: names no case; expected at least one image with its label")
    for case in cases:
        check_id(case.id, source)
    repeated = sorted(name for name, count in Counter(case.id for case in cases).items() if count > 1)
    if repeated:
        raise InputError(f"{source}: the case ids {_some(repeated)} occur more than once; each case needs its own")
    _check_alike(cases, source)
    files = [path for case in cases for path in (*case.images, case.label) if path is not None]
    missing = sorted({str(path) for path in files if not path.exists()})
    if missing:
        raise InputError(f"{source}: these files do not exist: {_some(missing)}; add them or remove their cases")
    for case in cases:
        if case.label is not None and any(image.samefile(case.label) for image in case.images):
            raise InputError(f"{source}: case {case.id!r} has one file, {case.label}, as its image and as its label")
    return tuple(sorted(cases, key=lambda case: case.id))


def check_id(name: str, source: Path) -> None:
    """Raises InputError unless a case id can be a file name in any folder."""
    unsafe = not name or name.startswith(".") or any(c in "/\\" or unicodedata.category(c) == "Cc" for c in name)
    if unsafe or not _is_unicode(name) or len(name.encode()) > _LONGEST_ID:
        raise InputError(
            f"{source}: {name[:60]!r} cannot be a case id; expected a Unicode file name of at most {_LONGEST_ID} bytes "
            "without path separators or control characters, not starting with a dot"
        )


def _check_alike(cases: list[Case], source: Path) -> None:
    """Files are named by the ids, and on many disks two of these names would be one. Raises InputError."""
    seen: dict[str, str] = {}
    for case in cases:
        other = seen.setdefault(folded(case.id), case.id)
        if other != case.id:
            raise InputError(
                f"{source}: the case ids {other!r} and {case.id!r} differ only in capitals or in how letters are "
                "encoded, which is one file name on many disks; rename one"
            )


def _is_unicode(name: str) -> bool:
    """Whether a file name, which is bytes on Linux, is UTF-8; what is not cannot be written into any table."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def inside(root: Path, entry: object, source: Path) -> Path:
    """The file that a dataset.json names, relative to `root`. Raises InputError for anything that may leave it."""
    if not isinstance(entry, str) or not entry.strip() or "\0" in entry:
        raise InputError(f"{source}: {str(entry)[:60]!r} is not a file name; expected a path relative to {root}")
    parts = PurePosixPath(entry.replace("\\", "/"))
    if parts.is_absolute() or not parts.parts or ".." in parts.parts or ":" in parts.parts[0]:
        raise InputError(f"{source}: {entry!r} leaves the dataset; expected a path inside {root}, without '..'")
    return root.joinpath(*parts.parts)


def checked_labels(labels: dict[str, int], source: Path) -> dict[str, int]:
    """Labels sorted by value with the background first. Raises InputError for what no label file can hold."""
    named_zero = [name for name, value in labels.items() if value == 0]
    if not named_zero:
        if BACKGROUND in labels:
            raise InputError(f"{source}: label {BACKGROUND!r} has value {labels[BACKGROUND]}; expected 0")
        labels = {BACKGROUND: 0, **labels}
    repeated = sorted(value for value, count in Counter(labels.values()).items() if count > 1)
    if repeated:
        raise InputError(f"{source}: several labels have the value {_some(repeated)}; each needs its own")
    if min(labels.values()) < 0 or max(labels.values()) > _LARGEST_VALUE:
        raise InputError(f"{source}: label values {_some(sorted(labels.values()))}; expected 0..{_LARGEST_VALUE}")
    if len(labels) == 1:
        raise InputError(f"{source}: only the background is labelled; expected at least one more label")
    return dict(sorted(labels.items(), key=lambda item: item[1]))


def without_ignore(declared: Mapping[str, Any], source: Path) -> tuple[dict[str, Any], int | None]:
    """Declared labels, name -> value, without the one that says which value nobody labelled; and that value.

    Raises InputError for a value that no label file can hold or that is a label's too.
    """
    found = [name for name in IGNORE_NAMES if name in declared]
    labels = {name: value for name, value in declared.items() if name not in found}
    if not found:
        return labels, None
    value = declared[found[0]]
    if len(found) > 1 and declared[found[1]] != value:
        raise InputError(f"{source}: has both {' and '.join(found)}; expected one of them")
    if type(value) is not int or not 1 <= value <= _LARGEST_VALUE:
        raise InputError(
            f"{source}: {found[0]} is {repr(value)[:40]}; expected the whole number, 1 to {_LARGEST_VALUE}, of the "
            "voxels that nobody labelled"
        )
    same = [name for name, own in labels.items() if own == value or (isinstance(own, list) and value in own)]
    if same:
        raise InputError(
            f"{source}: {found[0]} is {value}, which is also the value of {same[0]!r}; expected one of its own"
        )
    return labels, value


_LARGEST_VALUE = 32767


def _some(items: list[str] | list[int], shown: int = 3) -> str:
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(str(item) for item in items[:shown]) + more

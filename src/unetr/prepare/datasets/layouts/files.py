"""Layouts without a dataset.json: `images/` + `labels/` folders, and a CSV file of paths.

Both may have a JSON file {name: value} with the labels' names (`labels.json`, or `<csv stem>.labels.json`), the name
`ignore` or `ignore_label` for voxels that nobody labelled; without it the label files are read once to find which
values occur, and the names are those the files carry or label_1, label_2.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unetr.core.machine.parallel import with_choices
from unetr.core.plan.bounds import LONGEST_NAME
from unetr.core.text.reading import read_json, read_text
from unetr.errors import InputError
from unetr.io import case_name, is_scan, read_label, read_volume
from unetr.prepare.datasets.dataset import BACKGROUND, Case, Dataset, Note, checked_labels, sorted_cases, without_ignore

CHANNEL_SUFFIX = re.compile(r"^(.+)_([0-9]{4})$")
# More different values than this are an image in the place of a label, not classes.
_MOST_VALUES = 500
# The largest value of a byte is what many mark unlabelled voxels with.
_OFTEN_IGNORED = 255


def recognises_folders(path: Path) -> bool:
    """Whether there are folders `images` and `labels`."""
    return (path / "images").is_dir() and (path / "labels").is_dir()


def recognises_csv(path: Path) -> bool:
    """Whether it is a file ending in .csv."""
    return path.is_file() and path.suffix.lower() == ".csv"


def read_folders(root: Path) -> Dataset:
    """Reads `images/CASE.nii.gz` or `images/CASE_0000.nii.gz`, ... with `labels/CASE.nii.gz`. Raises InputError."""
    images, labels = _scans_by_name(root / "images"), _scans_by_name(root / "labels")
    channels: dict[str, dict[int, Path]] = {}
    for name, path in images.items():
        suffix = CHANNEL_SUFFIX.match(name)
        # A label of the very same name says that the four digits belong to the case, as in scan_2021.
        if suffix and name not in labels:
            channels.setdefault(suffix[1], {})[int(suffix[2])] = path
        else:
            channels.setdefault(name, {})[0] = path
    alone = sorted(labels.keys() ^ channels.keys())
    if alone:
        raise InputError(
            f"{root}: {len(alone)} of the cases have an image or a label but not both, first {alone[0]!r}; expected "
            f"images/{alone[0]}.nii.gz (or _0000, _0001 for channels) and labels/{alone[0]}.nii.gz"
        )
    for name, files in channels.items():
        if sorted(files) != list(range(len(files))):
            raise InputError(f"{root}: case {name!r} has the channels {sorted(files)}; expected 0 to {len(files) - 1}")
    counts = {name: len(files) for name, files in channels.items()}
    if len(set(counts.values())) > 1:
        few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        raise InputError(
            f"{root}: case {few!r} has {counts[few]} image files, {many!r} has {counts[many]}; expected as many in each"
        )
    cases = sorted_cases(
        [
            Case(id=name, images=tuple(files[i] for i in sorted(files)), label=labels[name], subject=name)
            for name, files in channels.items()
        ],
        root,
    )
    return Dataset(
        name=root.resolve().name,
        root=root,
        layout="folders",
        cases=cases,
        channel_names=tuple(f"channel_{i}" for i in range(channel_count(cases))),
        **_label_names(root / "labels.json", cases, root),
    )


def read_csv(path: Path) -> Dataset:
    """Reads a table with the columns image (or several that start with image), label, fold, subject, id.

    Paths are relative to the folder of the CSV file, or absolute. image_T1+T2 names the channels of one file with
    several. `<csv stem>.about.json` may hold the licence and reference of the data. Raises InputError.
    """
    dataset = read_csv_scans(path)
    return replace(dataset, **_label_names(path.with_name(f"{path.stem}.labels.json"), dataset.cases, path))


def read_csv_scans(path: Path) -> Dataset:
    """The same table without what its labels mean: they are the background alone. A label column is not needed."""
    image_columns, cases = _csv_cases(path)
    ordered = sorted_cases(cases, path)
    about = _about(path.with_name(f"{path.stem}.about.json"))
    return Dataset(
        name=path.stem,
        root=path.parent,
        layout="csv",
        cases=ordered,
        channel_names=_csv_channel_names(image_columns, ordered),
        labels={BACKGROUND: 0},
        licence=about.get("licence", ""),
        reference=about.get("reference", ""),
    )


def csv_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a table, without a look into their files. Raises InputError."""
    return sorted_cases(_csv_cases(path)[1], path)


def _about(sidecar: Path) -> dict[str, str]:
    """Licence and reference from the JSON file beside a table, if there is one."""
    if not sidecar.is_file():
        return {}
    about = _read_object(sidecar)
    if not all(name in ("licence", "reference") and isinstance(text, str) for name, text in about.items()):
        raise InputError(f'{sidecar}: expected texts, {{"licence": "CC-BY 4.0", "reference": "Doe et al., 2020"}}')
    return about


def _csv_cases(path: Path) -> tuple[list[str], list[Case]]:
    """The columns of images, and the cases."""
    rows = _csv_rows(path)
    columns = [column.strip() for column in rows[0]] if rows else []
    image_columns = [column for column in columns if column.lower().startswith("image")]
    unknown = [c for c in columns if c not in image_columns and c.lower() not in ("label", "fold", "subject", "id")]
    if not image_columns or unknown or len({column.lower() for column in columns}) != len(columns):
        raise InputError(
            f"{path}: has the columns {', '.join(columns)[:80]!r}; expected image (or image_1, image_2, ...), label "
            "and, if wanted, fold, subject and id, each once"
        )
    cases = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise InputError(f"{path}: row {number} has {len(row)} cells; expected {len(columns)}")
        cells = {column.lower(): cell.strip() for column, cell in zip(columns, row, strict=True)}
        cases.append(_csv_case(cells, [column.lower() for column in image_columns], number, path))
    return image_columns, cases


def _csv_rows(path: Path) -> list[list[str]]:
    """Rows with any text, split at commas, or at semicolons as spreadsheets write in some countries."""
    text = read_text(path, "a table of paths (CSV)")
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: is not CSV: {error}") from None
    return [row for row in rows if any(cell.strip() for cell in row)]


def _csv_channel_names(image_columns: list[str], cases: Sequence[Case]) -> tuple[str, ...]:
    """image_T1 names the channel T1; columns without a name of their own are numbered."""
    names = [name for column in image_columns for name in re.sub(r"(?i)^image[_ -]*", "", column).split("+")]
    count = channel_count(cases)
    if count != len(names):
        names = [str(number) for number in range(count)]
    return tuple(f"channel_{name or 0}" if not name or name.isdigit() else name for name in names)


def _csv_case(cells: dict[str, str], image_columns: list[str], number: int, source: Path) -> Case:
    images = [cells[column] for column in image_columns]
    if not all(images) or any("\0" in cell for cell in cells.values()):
        raise InputError(f"{source}: row {number} has no path in one of the columns {', '.join(image_columns)}")
    label, fold = cells.get("label", ""), cells.get("fold", "")
    if fold and not re.fullmatch(r"[0-9]{1,4}", fold):
        raise InputError(f"{source}: row {number} has the fold {fold!r}; expected a whole number from 0")
    paths = tuple(_beside(source, image) for image in images)
    name = cells.get("id") or case_name(paths[0])
    return Case(
        id=name,
        images=paths,
        label=_beside(source, label) if label else None,
        subject=cells.get("subject") or name,
        fold=int(fold) if fold else None,
    )


def _beside(source: Path, cell: str) -> Path:
    """The file that a table names, absolute or relative to its folder; with the separators of Windows, too."""
    path = source.parent / cell
    return path if "\\" not in cell or path.exists() else source.parent / cell.replace("\\", "/")


def scans_in(folder: Path) -> list[Path]:
    """The scan files of a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and is_scan(path))


def _scans_by_name(folder: Path) -> dict[str, Path]:
    """Case name -> scan file of a folder. Raises InputError where two files have one name."""
    found: dict[str, Path] = {}
    for path in scans_in(folder):
        name = case_name(path)
        if name in found:
            raise InputError(
                f"{folder}: {found[name].name} and {path.name} are both the case {name!r}; keep one of them"
            )
        found[name] = path
    return found


def channel_count(cases: Sequence[Case]) -> int:
    """Channels of each case: its files, or what its only file holds, by the first case that can be read.

    Raises InputError of the first case where none can. A bad one is named where the cases are read, not here.
    """
    if len(cases[0].images) > 1:
        return len(cases[0].images)
    problem: InputError | None = None
    for case in cases:
        try:
            return len(read_volume(case.images[0]).data)
        except InputError as error:
            problem = problem or error
    raise problem or InputError("no case")


def _label_names(sidecar: Path, cases: tuple[Case, ...], source: Path) -> dict[str, Any]:
    """The dataset's labels, ignore_label and notes from the JSON file beside the data, else from the label files."""
    if sidecar.is_file():
        labels, ignore = without_ignore(_read_object(sidecar), sidecar)
        if not all(type(value) is int for value in labels.values()):
            raise InputError(f'{sidecar}: expected names and whole numbers, {{"{BACKGROUND}": 0, "liver": 1}}')
        return {"labels": checked_labels(labels, sidecar), "ignore_label": ignore}
    labels = checked_labels(_labels_found(cases, source), source)
    name = next((name for name, value in labels.items() if value == _OFTEN_IGNORED), None)
    if name is None or len(labels) > _OFTEN_IGNORED:
        return {"labels": labels}
    message = (
        f"the label value {_OFTEN_IGNORED} is taken as a class, {name}; if it marks voxels that nobody labelled, "
        f'write {{"ignore": {_OFTEN_IGNORED}}} with the other names and values into {sidecar.name}'
    )
    return {"labels": labels, "notes": (Note("warning", "ignore_value", message),)}


def _read_object(sidecar: Path) -> dict[str, Any]:
    found = read_json(sidecar, "names and values (JSON)")
    if not isinstance(found, dict):
        raise InputError(f"{sidecar}: holds a {type(found).__name__}; expected a JSON object")
    return found


def _labels_found(cases: tuple[Case, ...], source: Path) -> dict[str, int]:
    """Reads every label file and names the values that occur."""
    paths = [case.label for case in cases if case.label is not None]
    if not paths:
        raise InputError(f"{source}: no case has a label; expected a label file for each case that is learned from")
    names: dict[int, str] = {}
    problems: list[InputError] = []
    with ThreadPoolExecutor(2) as pool:
        for path, found in zip(paths, pool.map(with_choices(_values_of), paths), strict=True):
            if isinstance(found, InputError):
                # It is named where the cases are read; the others have names all the same.
                problems.append(found)
                continue
            values, carried = found
            for value in values:
                names.setdefault(value, carried.get(value, BACKGROUND if value == 0 else f"label_{value}"))
            if len(names) > _MOST_VALUES:
                raise InputError(
                    f"{path}: the labels have more than {_MOST_VALUES} different values; is this an image?"
                )
    if len(problems) == len(paths):
        raise problems[0]
    if len(set(names.values())) < len(names):
        names = {value: BACKGROUND if value == 0 else f"label_{value}" for value in names}
    return {name: value for value, name in names.items()}


def _values_of(path: Path) -> tuple[list[int], dict[int, str]] | InputError:
    try:
        label = read_label(path)
    except InputError as error:
        return error
    names = {value: name for value, name in label.label_names.items() if 0 < len(name) <= LONGEST_NAME}
    return [int(value) for value in np.unique(label.data)], names

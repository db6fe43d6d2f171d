"""The fields of a dataset.json, checked one by one; and notes on what it says that nothing is made of.

Knows neither layout: which fields there are, and what they mean together, is `dataset_json.py`'s.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unetr.errors import InputError
from unetr.io import case_name
from unetr.prepare.datasets.dataset import BACKGROUND, IGNORE_NAMES, Case, Note

SPLITS = "splits_final.json"
# Facts for people, in which there is nothing to obey.
_FACTS = {
    *("name", "description", "reference", "citation", "licence", "license", "release", "relase", "version", "date"),
    *("author", "authors", "contact", "url", "converted_by", "dataset_name", "numTest", "tensorImageSize"),
}
_KINDS: dict[type, str] = {dict: "JSON object", list: "list", str: "text"}
_SHOWN = 3


def field(data: Mapping[str, Any], key: str, kind: type, source: Path) -> Any:
    """A field that has to be there, of this type and not empty. Raises InputError."""
    if key not in data:
        raise InputError(
            f"{source}: has no {key!r}; expected the Decathlon's modality, labels and training, or nnU-Net's "
            "channel_names, labels and file_ending"
        )
    if not isinstance(data[key], kind) or not data[key]:
        raise InputError(f"{source}: {key} is {shown(data[key])}; expected a {_KINDS[kind]} that is not empty")
    return data[key]


def shown(value: object) -> str:
    """A value as an error shows it, at most 40 characters of it."""
    return repr(value[:40]) if isinstance(value, str) else str(value)[:40]


def channels_of(data: Mapping[str, Any], key: str, source: Path) -> tuple[str, ...]:
    """Names of the channels in order, from {"0": name, "1": name}. Raises InputError."""
    names = field(data, key, dict, source)
    wanted = [str(number) for number in range(len(names))]
    if sorted(names) != sorted(wanted) or not all(isinstance(name, str) for name in names.values()):
        raise InputError(
            f"{source}: {key} has the keys {list(names)[:6]}; expected 0 to {len(names) - 1} and their names"
        )
    channels = tuple(str(names[number]) for number in wanted)
    # Channels are told apart by name in the plan; two scans of the same kind get their number.
    return tuple(name if channels.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(channels))


def labels_of(data: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Name -> value, or a list of values, out of {"background": 0, name: value} or {"0": "background", "1": name}.

    The field `ignore_label` beside the labels counts as one of them. Raises InputError.
    """
    declared = field(data, "labels", dict, source)
    labels: dict[str, Any] = {}
    numbers = [re.fullmatch(r"[0-9]{1,6}", key) is not None for key in declared]
    texts = [isinstance(value, str) for value in declared.values()]
    if all(texts) or (all(numbers) and any(texts)):
        for (value, name), is_number, is_text in zip(declared.items(), numbers, texts, strict=True):
            if not (is_number and is_text):
                raise InputError(
                    f'{source}: labels has {value!r}: {name!r}; expected an integer in quotes and a name, "1": "liver"'
                )
            if name in labels:
                raise InputError(f"{source}: the label name {name!r} occurs twice; each value needs its own")
            labels[name] = int(value)
    else:
        labels = dict(declared)
    ignore = IGNORE_NAMES[1]
    if ignore in data:
        if labels.get(ignore, data[ignore]) != data[ignore]:
            raise InputError(f"{source}: {ignore} is {shown(data[ignore])}, and another one among the labels")
        labels[ignore] = data[ignore]
    return labels


def label_value(name: str, value: object, source: Path) -> int:
    """A label's value. Raises InputError for what is no whole number."""
    if type(value) is not int:
        raise InputError(f"{source}: label {name!r} is {shown(value)}; expected an integer")
    return value


def single_labels(declared: Mapping[str, Any], source: Path) -> dict[str, int]:
    """Labels without regions. Raises InputError for values that are no whole numbers, and a background other than 0."""
    labels = {name: label_value(name, value, source) for name, value in declared.items()}
    if labels.get(BACKGROUND, 0) != 0:
        raise InputError(f"{source}: label {BACKGROUND!r} is {labels[BACKGROUND]}; expected 0")
    return labels


def about(data: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """The free-text fields that both layouts may have, as text."""
    licence = data.get("licence", data.get("license", ""))
    return {
        "name": str(data.get("name") or root.resolve().name),
        "licence": str(licence or ""),
        "reference": str(data.get("reference") or data.get("citation") or ""),
        "description": str(data.get("description") or ""),
    }


def disobeyed(message: str) -> Note:
    """What the description asks for and does not get."""
    return Note("warning", "not_obeyed", message)


def unused_note(data: Mapping[str, Any], used: Collection[str], source: Path) -> list[Note]:
    """The fields that nothing is made of."""
    rest = [key for key in data if key not in used and key not in _FACTS and key != IGNORE_NAMES[1]]
    return [disobeyed(f"{source.name}: nothing is made of {some(rest)}")] if rest else []


def count_note(data: Mapping[str, Any], key: str, found: int, what: str, source: Path) -> list[Note]:
    """Where the number that a field says is not the one that there is."""
    if key not in data or (type(data[key]) is int and data[key] == found):
        return []
    return [disobeyed(f"{source.name}: {key} is {shown(data[key])}, but {found} {what}; are files missing?")]


def unlisted_note(cases: Iterable[Case], source: Path) -> list[Note]:
    """Label files that lie beside those of the cases and are none of theirs."""
    labels = {case.label for case in cases if case.label is not None}
    left = []
    for folder in sorted({label.parent for label in labels}):
        if folder.is_dir():
            scans = {path for path in folder.iterdir() if not path.name.startswith(".") and _is_scan(path)}
            left += sorted(f"{folder.name}/{path.name}" for path in scans - labels)
    if not left:
        return []
    return [Note("info", "not_listed", f"{source.name}: does not list {some(left)}, which are not learned from")]


def _is_scan(path: Path) -> bool:
    try:
        return bool(case_name(path))
    except InputError:
        return False


def with_splits(cases: Sequence[Case], data: object, source: Path) -> tuple[list[Case], list[Note]]:
    """The folds of nnU-Net's splits_final.json, [{"train": [ids], "val": [ids]}, ...], if they are a cross-validation.

    Each case must be in one fold's `val` and in the `train` of all others; where that is not so, a note says why, and
    the folds stay those of the cases.
    """
    splits = data if isinstance(data, list) else []
    parts: list[list[Any]] = [
        [split.get(part) if isinstance(split, dict) else None for part in ("train", "val")] for split in splits
    ]
    named = all(isinstance(part, list) and all(isinstance(i, str) for i in part) for pair in parts for part in pair)
    ids = {case.id for case in cases}
    if not named or len(parts) < 2:
        why = 'it is no list of at least two {"train": [ids], "val": [ids]}'
    elif strange := sorted({name for pair in parts for part in pair for name in part} - ids):
        why = f"it names {some(strange)}, which are no cases"
    elif Counter(name for _, val in parts for name in val) != Counter(ids):
        why = "not every case is in the val of exactly one fold"
    elif any(set(train) != ids - set(val) for train, val in parts):
        why = "a fold does not train on all cases that are not in its val"
    else:
        folds = {name: fold for fold, (_, val) in enumerate(parts) for name in val}
        note = Note("info", "splits", f"{source.name}: its {len(parts)} folds are used")
        return [replace(case, fold=folds[case.id]) for case in cases], [note]
    return list(cases), [disobeyed(f"{source.name}: its folds are not used: {why}")]


def some(names: Sequence[str]) -> str:
    """The first of many names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name[:60]) for name in names[:_SHOWN]) + more

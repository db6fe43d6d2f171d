"""Layouts described by a dataset.json: the Medical Segmentation Decathlon's, and nnU-Net's raw layout (versions 2, 1).

Decathlon (Antonelli et al., Nature Communications 2022): "modality" {"0": name}, "labels" {"0": "background"},
"training" [{"image": path, "label": path}]; several channels are one 4-D file, or a list of files. An entry may have a
"fold", as MONAI's lists do. nnU-Net v1 has the same file, and CASE_0000.ext, CASE_0001.ext for the image CASE.ext.
nnU-Net v2 (documentation/dataset_format.md of MIC-DKFZ/nnUNet): "channel_names" {"0": name}, "labels"
{"background": 0, name: value or list of values}, "file_ending"; imagesTr/CASE_0000.ext, labelsTr/CASE.ext, or
"dataset" {CASE: {"images": [paths], "label": path}}.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unetr.core.plan.schema import Region
from unetr.core.text.reading import read_json
from unetr.errors import InputError
from unetr.io import FORMATS, case_name, is_scan, scan_suffix
from unetr.prepare.datasets.dataset import (
    BACKGROUND,
    Case,
    Dataset,
    Note,
    checked_labels,
    inside,
    sorted_cases,
    without_ignore,
)
from unetr.prepare.datasets.layouts.description import (
    SPLITS,
    about,
    channels_of,
    count_note,
    disobeyed,
    field,
    label_value,
    labels_of,
    shown,
    single_labels,
    some,
    unlisted_note,
    unused_note,
    with_splits,
)

DATASET_JSON = "dataset.json"
_DECATHLON = ("modality", "labels", "training", "test", "numTraining", "validation")
_NNUNET = ("channel_names", "labels", "file_ending", "regions_class_order", "dataset", "numTraining")
_ENTRY = ("image", "label", "fold")
# Of nnU-Net's names for normalisations the one that no plan has; the others are obeyed (`planner.py`).
_RESCALE = "rescale_to_0_1"


def recognises_nnunet(path: Path) -> bool:
    """Whether the folder has a dataset.json with nnU-Net's "channel_names"."""
    return (path / DATASET_JSON).is_file() and "channel_names" in _read_json(path / DATASET_JSON)


def recognises_decathlon(path: Path) -> bool:
    """Whether the folder has any other dataset.json; reading it names what is missing."""
    return (path / DATASET_JSON).is_file() and not recognises_nnunet(path)


def read_decathlon(root: Path) -> Dataset:
    """Reads the Decathlon's layout, and nnU-Net's of version 1. Raises InputError."""
    source = root / DATASET_JSON
    data = _read_json(source)
    channels = channels_of(data, "modality", source)
    declared, ignore = without_ignore(labels_of(data, source), source)
    entries = field(data, "training", list, source)
    found = [_decathlon_case(root, entry, number, len(channels)) for number, entry in enumerate(entries)]
    cases, notes = _with_folds(sorted_cases(found, source), root)
    held_out, of_tests = _held_out(root, data.get("test", []), len(channels))
    extra = sorted({key for entry in entries for key in entry} - set(_ENTRY))
    if extra:
        notes.append(disobeyed(f"{source.name}: nothing is made of {some(extra)} in the entries of training"))
    if data.get("validation"):
        notes.append(disobeyed(f"{source.name}: the cases in validation are not learned from, nor validated with"))
    if any(case_name(case.images[0]) != case.id for case in cases):
        message = f"{source.name}: is nnU-Net's of version 1: the files of the channels, CASE_0000 and so on, are read"
        notes.append(Note("info", "nnunet_v1", message))
    notes += [*of_tests, *count_note(data, "numTraining", len(cases), "cases are listed", source)]
    notes += [*unlisted_note(cases, source), *unused_note(data, _DECATHLON, source)]
    return Dataset(
        root=root,
        layout="decathlon",
        cases=cases,
        channel_names=channels,
        labels=checked_labels(single_labels(declared, source), source),
        ignore_label=ignore,
        held_out=held_out,
        notes=tuple(notes),
        **about(data, root),
    )


def _decathlon_case(root: Path, entry: Any, number: int, channels: int) -> Case:
    source = root / DATASET_JSON
    if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
        raise InputError(f'{source}: training entry {number} is not {{"image": path, "label": path}}')
    images = entry["image"] if isinstance(entry["image"], list) and entry["image"] else [entry["image"]]
    paths = [inside(root, image, source) for image in images]
    name = case_name(paths[0])
    fold = entry.get("fold")
    if "fold" in entry and (type(fold) is not int or not 0 <= fold < 10_000):
        raise InputError(f"{source}: training entry {number} has the fold {shown(fold)}; expected a number from 0")
    files = _channel_files(paths[0], channels) if len(paths) == 1 else tuple(paths)
    return Case(id=name, images=files, label=inside(root, entry["label"], source), subject=name, fold=fold)


def _channel_files(path: Path, channels: int) -> tuple[Path, ...]:
    """The file, or in its place, as nnU-Net v1 means it, those of the channels."""
    suffix = path.name[len(case_name(path)) :]
    files = tuple(path.with_name(f"{case_name(path)}_{number:04d}{suffix}") for number in range(channels))
    return files if not path.exists() and files[0].exists() else (path,)


def _held_out(root: Path, entries: Any, channels: int) -> tuple[tuple[Case, ...], list[Note]]:
    """The scans for testing that are there; and a note where they are not listed as they should be."""
    source = root / DATASET_JSON
    cases = []
    try:
        for entry in entries if isinstance(entries, list) else [None]:
            path = inside(root, entry["image"] if isinstance(entry, dict) and "image" in entry else entry, source)
            files = _channel_files(path, channels)
            if all(file.exists() for file in files):
                cases.append(Case(id=case_name(path), images=files, label=None, subject=case_name(path)))
    except InputError as error:
        return (), [disobeyed(f"{source.name}: its list of scans for testing is not used: {error}")]
    return tuple(cases), []


def _with_folds(cases: tuple[Case, ...], root: Path) -> tuple[tuple[Case, ...], list[Note]]:
    """With the folds that splits_final.json chose, if there is one and the cases have none."""
    source = root / SPLITS
    if not source.is_file():
        return cases, []
    if any(case.fold is not None for case in cases):
        return cases, [disobeyed(f"{SPLITS}: its folds are not used: {DATASET_JSON} has folds")]
    split, notes = with_splits(cases, read_json(source, "folds (JSON)"), source)
    return tuple(split), notes


def read_nnunet(root: Path) -> Dataset:
    """Reads nnU-Net's raw layout, version 2, with regions and the ignore label. Raises InputError."""
    source = root / DATASET_JSON
    data = _read_json(source)
    channels = channels_of(data, "channel_names", source)
    ending = field(data, "file_ending", str, source)
    if not re.fullmatch(r"(\.[A-Za-z0-9]+){1,3}", ending) or not is_scan(Path(f"case{ending}")):
        raise InputError(f"{source}: file_ending is {ending!r}; expected one of {', '.join(FORMATS)}")
    declared, ignore = without_ignore(labels_of(data, source), source)
    labels, regions = _nnunet_labels(declared, data.get("regions_class_order"), source)
    listed = "dataset" in data
    found = _listed_cases(root, data, len(channels)) if listed else _nnunet_cases(root, ending, len(channels))
    cases, notes = _with_folds(sorted_cases(found, source), root)
    notes += count_note(data, "numTraining", len(cases), "cases are listed" if listed else "cases are there", source)
    notes += unlisted_note(cases, source) if listed else _other_files(root, ending)
    if "regions_class_order" in data and not regions:
        notes.append(disobeyed(f"{source.name}: regions_class_order has no effect: no label is a list of values"))
    if any(name.casefold() == _RESCALE for name in field(data, "channel_names", dict, source).values()):
        notes.append(
            disobeyed(
                f"{source.name}: channel_names asks for {_RESCALE}, from each scan's minimum to its maximum; each scan "
                "gets mean 0 and deviation 1 instead; see the normalisation in the plan"
            )
        )
    notes += unused_note(data, _NNUNET, source)
    return Dataset(
        root=root,
        layout="nnunet",
        cases=cases,
        channel_names=channels,
        labels=checked_labels(labels, source),
        regions=regions,
        ignore_label=ignore,
        held_out=_nnunet_tests(root, ending, len(channels)),
        notes=tuple(notes),
        **about(data, root),
    )


def _listed_cases(root: Path, data: dict[str, Any], channels: int) -> list[Case]:
    """The cases that "dataset" lists, in the place of those in imagesTr and labelsTr."""
    source = root / DATASET_JSON
    cases = []
    for name, entry in field(data, "dataset", dict, source).items():
        images = entry.get("images") if isinstance(entry, dict) else None
        if not isinstance(images, list) or len(images) != channels or "label" not in entry:
            raise InputError(
                f'{source}: dataset has for {name[:60]!r} {shown(entry)}; expected {{"images": [{channels} paths], '
                '"label": path}'
            )
        paths = tuple(inside(root, image, source) for image in images)
        cases.append(Case(id=name, images=paths, label=inside(root, entry["label"], source), subject=name))
    return cases


def _nnunet_cases(root: Path, ending: str, channels: int) -> list[Case]:
    """Every case that has a label or an image; files that one of them lacks are named by `sorted_cases`."""
    images, labels = root / "imagesTr", root / "labelsTr"
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; nnU-Net's layout has imagesTr and labelsTr")
    names = {path.name.removesuffix(ending) for path in labels.glob(f"*{ending}")} | _names(images, ending)
    return [
        Case(id=name, images=_files(images, name, ending, channels), label=labels / f"{name}{ending}", subject=name)
        for name in names
        if not name.startswith(".")
    ]


def _nnunet_tests(root: Path, ending: str, channels: int) -> tuple[Case, ...]:
    """The complete cases of imagesTs."""
    folder = root / "imagesTs"
    cases = [Case(n, _files(folder, n, ending, channels), None, n) for n in sorted(_names(folder, ending))]
    return tuple(case for case in cases if all(path.exists() for path in case.images))


def _names(folder: Path, ending: str) -> set[str]:
    """The cases of a folder of CASE_0000, CASE_0001 and so on; none where there is no such folder."""
    files = [path.name for path in folder.glob(f"*_[0-9][0-9][0-9][0-9]{ending}")]
    return {name.removesuffix(ending)[: -len("_0000")] for name in files if not name.startswith(".")}


def _files(folder: Path, name: str, ending: str, channels: int) -> tuple[Path, ...]:
    return tuple(folder / f"{name}_{channel:04d}{ending}" for channel in range(channels))


def _other_files(root: Path, ending: str) -> list[Note]:
    """Scans in imagesTr and labelsTr that are not named as the description says, and so are no cases."""
    channel = re.compile(rf".+_[0-9]{{4}}{re.escape(ending)}")
    left = [
        f"{folder}/{path.name}"
        for folder in ("imagesTr", "labelsTr")
        for path in sorted((root / folder).iterdir())
        if is_scan(path)
        and (not path.name.endswith(ending) or (folder == "imagesTr" and not channel.fullmatch(path.name)))
        and path.name != scan_suffix(path)
    ]
    if not left:
        return []
    expected = f"imagesTr/CASE_0000{ending} and labelsTr/CASE{ending}"
    return [disobeyed(f"{some(left)} are not learned from: {DATASET_JSON} has file_ending {ending}, so {expected}")]


def _nnunet_labels(declared: dict[str, Any], order: Any, source: Path) -> tuple[dict[str, int], tuple[Region, ...]]:
    """nnU-Net's labels as one name per value, and its regions where any label is a list of values."""
    groups = {
        name: tuple(label_value(name, item, source) for item in (value if isinstance(value, list) else [value]))
        for name, value in declared.items()
    }
    if any(not group for group in groups.values()):
        raise InputError(f"{source}: a label has an empty list of values; expected at least one")
    if groups.get(BACKGROUND, (0,)) != (0,):
        raise InputError(f"{source}: label {BACKGROUND!r} is {declared[BACKGROUND]}; expected 0")
    names = {group[0]: name for name, group in groups.items() if len(group) == 1}
    values = sorted({0} | {value for group in groups.values() for value in group})
    if not any(isinstance(value, list) for value in declared.values()):
        return {name: group[0] for name, group in groups.items()}, ()
    labels = {names.get(value, BACKGROUND if value == 0 else f"label_{value}"): value for value in values}
    targets = [(name, group) for name, group in groups.items() if group != (0,)]
    if not isinstance(order, list) or len(order) != len(targets):
        raise InputError(f"{source}: labels are regions; expected regions_class_order with {len(targets)} values")
    written = [label_value("regions_class_order", value, source) for value in order]
    if min(written) < 1 or len(set(written)) != len(written):
        raise InputError(f"{source}: regions_class_order is {written}; expected different values above 0")
    regions = [
        Region(name=name, labels=group, written_as=value) for (name, group), value in zip(targets, written, strict=True)
    ]
    return labels, tuple(regions)


def _read_json(source: Path) -> dict[str, Any]:
    data = read_json(source, "a dataset description (JSON)")
    if not isinstance(data, dict):
        raise InputError(f"{source}: holds a {type(data).__name__}; expected a JSON object with labels and channels")
    return data

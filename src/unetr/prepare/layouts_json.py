"""Layouts described by a dataset.json: the Medical Segmentation Decathlon's, and nnU-Net's raw layout (version 2).

Decathlon (Antonelli et al., Nature Communications 2022): "modality" {"0": name}, "labels" {"0": "background"},
"training" [{"image": path, "label": path}]; several channels are one 4-D file.
nnU-Net v2 (documentation/dataset_format.md of MIC-DKFZ/nnUNet): "channel_names" {"0": name}, "labels"
{"background": 0, name: value or list of values}, "file_ending"; imagesTr/CASE_0000.ext, labelsTr/CASE.ext.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unetr.core.plan import Region
from unetr.core.text import read_json
from unetr.errors import InputError
from unetr.io import case_name
from unetr.prepare.dataset import BACKGROUND, Case, Dataset, checked_labels, inside, sorted_cases

DATASET_JSON = "dataset.json"
_IGNORE = "ignore"


def recognises_nnunet(path: Path) -> bool:
    """Whether the folder has a dataset.json with nnU-Net's "channel_names"."""
    return (path / DATASET_JSON).is_file() and "channel_names" in _read_json(path / DATASET_JSON)


def recognises_decathlon(path: Path) -> bool:
    """Whether the folder has any other dataset.json; reading it names what is missing."""
    return (path / DATASET_JSON).is_file() and not recognises_nnunet(path)


def read_decathlon(root: Path) -> Dataset:
    """Reads the Decathlon's layout. Raises InputError."""
    source = root / DATASET_JSON
    data = _read_json(source)
    channels = _numbered(_get(data, "modality", dict, source), "modality", source)
    names = _get(data, "labels", dict, source)
    labels = {}
    for value, name in names.items():
        if not isinstance(name, str) or not re.fullmatch(r"[0-9]{1,6}", value):
            raise InputError(
                f'{source}: labels has {value!r}: {name!r}; expected an integer in quotes and a name, "1": "liver"'
            )
        if name in labels:
            raise InputError(f"{source}: the label name {name!r} occurs twice; each value needs its own")
        labels[name] = int(value)
    cases = []
    for number, entry in enumerate(_get(data, "training", list, source)):
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise InputError(f'{source}: training entry {number} is not {{"image": path, "label": path}}')
        image, label = inside(root, entry["image"], source), inside(root, entry["label"], source)
        name = case_name(image)
        cases.append(Case(id=name, images=(image,), label=label, subject=name))
    return Dataset(
        root=root,
        layout="decathlon",
        cases=sorted_cases(cases, source),
        channel_names=channels,
        labels=checked_labels(labels, source),
        **_about(data, root),
    )


def read_nnunet(root: Path) -> Dataset:
    """Reads nnU-Net's raw layout, version 2, with regions and the ignore label. Raises InputError."""
    source = root / DATASET_JSON
    data = _read_json(source)
    channels = _numbered(_get(data, "channel_names", dict, source), "channel_names", source)
    ending = _get(data, "file_ending", str, source)
    if not re.fullmatch(r"(\.[A-Za-z0-9]+){1,3}", ending):
        raise InputError(f'{source}: file_ending is {ending!r}; expected a suffix such as ".nii.gz"')
    declared = dict(_get(data, "labels", dict, source))
    ignore = declared.pop(_IGNORE, None)
    if ignore is not None:
        ignore = _value(_IGNORE, ignore, source)
    labels, regions = _nnunet_labels(declared, data.get("regions_class_order"), source)
    return Dataset(
        root=root,
        layout="nnunet",
        cases=sorted_cases(_nnunet_cases(root, ending, len(channels)), source),
        channel_names=channels,
        labels=checked_labels(labels, source),
        regions=regions,
        ignore_label=ignore,
        **_about(data, root),
    )


def _nnunet_cases(root: Path, ending: str, channels: int) -> list[Case]:
    """Every case that has a label or an image; files that one of them lacks are named by `sorted_cases`."""
    images, labels = root / "imagesTr", root / "labelsTr"
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; nnU-Net's layout has imagesTr and labelsTr")
    names = {path.name.removesuffix(ending) for path in labels.glob(f"*{ending}")}
    names |= {
        path.name.removesuffix(ending)[: -len("_0000")] for path in images.glob(f"*_[0-9][0-9][0-9][0-9]{ending}")
    }
    return [
        Case(
            id=name,
            images=tuple(images / f"{name}_{channel:04d}{ending}" for channel in range(channels)),
            label=labels / f"{name}{ending}",
            subject=name,
        )
        for name in names
        if not name.startswith(".")
    ]


def _nnunet_labels(declared: dict[str, Any], order: Any, source: Path) -> tuple[dict[str, int], tuple[Region, ...]]:
    """nnU-Net's labels as one name per value, and its regions where any label is a list of values."""
    groups = {
        name: tuple(_value(name, item, source) for item in (value if isinstance(value, list) else [value]))
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
    written = [_value("regions_class_order", value, source) for value in order]
    if min(written) < 1 or len(set(written)) != len(written):
        raise InputError(f"{source}: regions_class_order is {written}; expected different values above 0")
    regions = [
        Region(name=name, labels=group, written_as=value) for (name, group), value in zip(targets, written, strict=True)
    ]
    return labels, tuple(regions)


def _about(data: dict[str, Any], root: Path) -> dict[str, Any]:
    """The free-text fields that both layouts may have, as text."""
    licence = data.get("licence", data.get("license", ""))
    return {
        "name": str(data.get("name") or root.resolve().name),
        "licence": str(licence or ""),
        "reference": str(data.get("reference") or data.get("citation") or ""),
        "description": str(data.get("description") or ""),
    }


def _read_json(source: Path) -> dict[str, Any]:
    data = read_json(source, "a dataset description (JSON)")
    if not isinstance(data, dict):
        raise InputError(f"{source}: holds a {type(data).__name__}; expected a JSON object with labels and channels")
    return data


def _get(data: dict[str, Any], key: str, kind: type, source: Path) -> Any:
    if key not in data:
        raise InputError(
            f"{source}: has no {key!r}; expected the Decathlon's modality, labels and training, or nnU-Net's "
            "channel_names, labels and file_ending"
        )
    if not isinstance(data[key], kind) or not data[key]:
        raise InputError(f"{source}: {key} is {str(data[key])[:40]!r}; expected a {_KINDS[kind]} that is not empty")
    return data[key]


_KINDS: dict[type, str] = {dict: "JSON object", list: "list", str: "text"}


def _numbered(names: dict[str, Any], key: str, source: Path) -> tuple[str, ...]:
    """Names of the channels in order, from {"0": name, "1": name}."""
    wanted = [str(number) for number in range(len(names))]
    if sorted(names) != sorted(wanted) or not all(isinstance(name, str) for name in names.values()):
        raise InputError(
            f"{source}: {key} has the keys {list(names)[:6]}; expected 0 to {len(names) - 1} and their names"
        )
    channels = tuple(str(names[number]) for number in wanted)
    # Channels are told apart by name in the plan; two scans of the same kind get their number.
    return tuple(name if channels.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(channels))


def _value(name: str, value: Any, source: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{source}: label {name!r} is {str(value)[:40]!r}; expected an integer")
    return value

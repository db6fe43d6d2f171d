"""Small synthetic datasets in each layout, written with nibabel, independently of unetr.io."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

SHAPE = (14, 12, 10)


def _save(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    image.header.set_qform(image.affine, 1)
    image.header.set_sform(image.affine, 1)
    nibabel.save(image, path)
    return path


def _image(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def _label(seed: int) -> np.ndarray:
    """Label 1 at the front, label 2 at the back; left-right and up-down at random."""
    x, z = np.random.default_rng(seed + 1000).integers(0, 4, 2)
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[3 + x : 7 + x, 7:11, 2 + z : 5 + z] = 1
    label[6 - x : 10 - x, 1:5, 5 - z : 8 - z] = 2
    return label


def _decathlon(root: Path, cases: int, channels: int) -> Path:
    for i in range(cases):
        shape = SHAPE if channels == 1 else (*SHAPE, channels)
        _save(root / f"imagesTr/case_{i:02d}.nii.gz", _image(i, shape))
        _save(root / f"labelsTr/case_{i:02d}.nii.gz", _label(i))
    names = [f"case_{i:02d}.nii.gz" for i in range(cases)]
    description = {
        "name": "Synthetic",
        "licence": "CC0",
        "reference": "Nobody et al.",
        "modality": {str(c): f"MR{c}" for c in range(channels)},
        "labels": {"0": "background", "1": "front", "2": "back"},
        "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def _nnunet(root: Path, cases: int, channels: int) -> Path:
    for i in range(cases):
        for c in range(channels):
            _save(root / f"imagesTr/case_{i:02d}_{c:04d}.nii.gz", _image(i + 100 * c))
        _save(root / f"labelsTr/case_{i:02d}.nii.gz", _label(i))
    description = {
        "channel_names": {str(c): f"MR{c}" for c in range(channels)},
        "labels": {"background": 0, "front": 1, "back": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def _folders(root: Path, cases: int, channels: int) -> Path:
    for i in range(cases):
        for c in range(channels):
            suffix = f"_{c:04d}" if channels > 1 else ""
            _save(root / f"images/case_{i:02d}{suffix}.nii.gz", _image(i + 100 * c))
        _save(root / f"labels/case_{i:02d}.nii.gz", _label(i))
    (root / "labels.json").write_text(json.dumps({"front": 1, "back": 2}))
    return root


def _csv(root: Path, cases: int, channels: int) -> Path:
    columns = ["image"] if channels == 1 else [f"image_{c + 1}" for c in range(channels)]
    rows = [",".join([*columns, "label", "id"])]
    for i in range(cases):
        files = [f"scans/{i}_{c}.nii.gz" for c in range(channels)]
        for c, file in enumerate(files):
            _save(root / file, _image(i + 100 * c))
        _save(root / f"truth/{i}.nii.gz", _label(i))
        rows.append(",".join([*files, f"truth/{i}.nii.gz", f"case_{i:02d}"]))
    (root / "table.labels.json").write_text(json.dumps({"background": 0, "front": 1, "back": 2}))
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root / "table.csv"


_WRITERS = {"decathlon": _decathlon, "nnunet": _nnunet, "folders": _folders, "csv": _csv}


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """make_dataset(layout, cases=6, channels=1) -> the path that open_dataset takes. Image i has the seed i."""

    def make(layout: str = "decathlon", cases: int = 6, channels: int = 1) -> Path:
        return _WRITERS[layout](tmp_path / f"data {layout}", cases, channels)

    return make


@pytest.fixture
def save_scan() -> Callable[..., Path]:
    """save_scan(path, data, affine=identity) writes a NIfTI file."""
    return _save


@pytest.fixture
def edit_json() -> Callable[..., None]:
    """edit_json(path, key=value, ...) replaces keys of a JSON file; the value ... (Ellipsis) removes one."""

    def edit(path: Path, **changes: Any) -> None:
        data = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))

    return edit

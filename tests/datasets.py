"""Small synthetic datasets in each layout, written with nibabel. Knows nothing of unetr.

`write_dataset(layout, root, cases, channels, kind)` returns the path that `open_dataset` takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

SHAPE = (14, 12, 10)
BALL_SHAPE = (20, 24, 18)


@dataclass(frozen=True)
class Sample:
    """One case. channels: arrays [X, Y, Z]."""

    channels: list[np.ndarray]
    label: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Kind:
    """What the scans show. make(seed, channels) is case number `seed`."""

    labels: tuple[str, ...]
    make: Callable[[int, int], Sample]


def save_scan(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    image.header.set_qform(image.affine, 1)
    image.header.set_sform(image.affine, 1)
    nibabel.save(image, path)
    return path


def _boxes(seed: int, channels: int) -> Sample:
    """Noise; label 1 at the front, label 2 at the back, left-right and up-down at random."""
    x, z = np.random.default_rng(seed + 1000).integers(0, 4, 2)
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[3 + x : 7 + x, 7:11, 2 + z : 5 + z] = 1
    label[6 - x : 10 - x, 1:5, 5 - z : 8 - z] = 2
    noise = [np.random.default_rng(seed + 100 * c).normal(100, 20, SHAPE).astype(np.float32) for c in range(channels)]
    return Sample(noise, label, np.eye(4))


def oblique_affine(seed: int) -> np.ndarray:
    """Rotated by up to 20 degrees about the third axis, mirrored along the first, voxels of 1.1 x 0.9 x 1.3 mm."""
    angle = np.random.default_rng(seed + 2000).uniform(-0.35, 0.35)
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[-c, -s, 0], [-s, c, 0], [0, 0, 1]]) * (1.1, 0.9, 1.3)
    affine[:3, 3] = (12.5, -7.25, 100 + seed)
    return affine


def _balls(seed: int, channels: int) -> Sample:
    """A bright ball (1) in a darker shell (2) somewhere in noise, on an oblique grid."""
    rng = np.random.default_rng(seed)
    centre = np.array(BALL_SHAPE) / 2 + rng.uniform(-2, 2, 3)
    distance = np.linalg.norm(np.indices(BALL_SHAPE) - centre[:, None, None, None], axis=0)
    label = np.where(distance < 4, 1, np.where(distance < 6.5, 2, 0)).astype(np.uint8)
    level = np.array([0, 200, 100])[label]
    scans = [(level * (1 - 0.5 * c) + rng.normal(500, 20, BALL_SHAPE)).astype(np.int16) for c in range(channels)]
    return Sample(scans, label, oblique_affine(seed))


KINDS = {"boxes": Kind(("front", "back"), _boxes), "balls": Kind(("ball", "shell"), _balls)}


def _decathlon(root: Path, samples: list[Sample], labels: tuple[str, ...]) -> Path:
    names = [f"case_{i:02d}.nii.gz" for i in range(len(samples))]
    for name, sample in zip(names, samples, strict=True):
        data = sample.channels[0] if len(sample.channels) == 1 else np.stack(sample.channels, axis=3)
        save_scan(root / "imagesTr" / name, data, sample.affine)
        save_scan(root / "labelsTr" / name, sample.label, sample.affine)
    description = {
        "name": "Synthetic",
        "licence": "CC0",
        "reference": "Nobody et al.",
        "modality": {str(c): f"MR{c}" for c in range(len(samples[0].channels))},
        "labels": {"0": "background"} | {str(value): name for value, name in enumerate(labels, start=1)},
        "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def _nnunet(root: Path, samples: list[Sample], labels: tuple[str, ...]) -> Path:
    for i, sample in enumerate(samples):
        for c, channel in enumerate(sample.channels):
            save_scan(root / f"imagesTr/case_{i:02d}_{c:04d}.nii.gz", channel, sample.affine)
        save_scan(root / f"labelsTr/case_{i:02d}.nii.gz", sample.label, sample.affine)
    description = {
        "channel_names": {str(c): f"MR{c}" for c in range(len(samples[0].channels))},
        "labels": {"background": 0} | {name: value for value, name in enumerate(labels, start=1)},
        "numTraining": len(samples),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def _folders(root: Path, samples: list[Sample], labels: tuple[str, ...]) -> Path:
    for i, sample in enumerate(samples):
        for c, channel in enumerate(sample.channels):
            suffix = f"_{c:04d}" if len(sample.channels) > 1 else ""
            save_scan(root / f"images/case_{i:02d}{suffix}.nii.gz", channel, sample.affine)
        save_scan(root / f"labels/case_{i:02d}.nii.gz", sample.label, sample.affine)
    (root / "labels.json").write_text(json.dumps({name: value for value, name in enumerate(labels, start=1)}))
    return root


def _csv(root: Path, samples: list[Sample], labels: tuple[str, ...]) -> Path:
    channels = len(samples[0].channels)
    columns = ["image"] if channels == 1 else [f"image_{c + 1}" for c in range(channels)]
    rows = [",".join([*columns, "label", "id"])]
    for i, sample in enumerate(samples):
        files = [f"scans/{i}_{c}.nii.gz" for c in range(channels)]
        for file, channel in zip(files, sample.channels, strict=True):
            save_scan(root / file, channel, sample.affine)
        save_scan(root / f"truth/{i}.nii.gz", sample.label, sample.affine)
        rows.append(",".join([*files, f"truth/{i}.nii.gz", f"case_{i:02d}"]))
    names = {"background": 0} | {name: value for value, name in enumerate(labels, start=1)}
    (root / "table.labels.json").write_text(json.dumps(names))
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root / "table.csv"


WRITERS = {"decathlon": _decathlon, "nnunet": _nnunet, "folders": _folders, "csv": _csv}


def write_dataset(layout: str, root: Path, cases: int = 6, channels: int = 1, kind: str = "boxes") -> Path:
    samples = [KINDS[kind].make(i, channels) for i in range(cases)]
    return WRITERS[layout](root, samples, KINDS[kind].labels)


def _blocks(seed: int, classes: int, shape: tuple[int, int, int]) -> np.ndarray:
    """A block of 4x4x5 voxels for each class, in rows along x, at a height of its own in each case."""
    label = np.zeros(shape, dtype=np.uint8)
    for index in range(classes):
        x, y, z = 1 + 5 * (index % 4), 1 + 5 * (index // 4), 1 + seed % 4
        label[x : x + 4, y : y + 4, z : z + 5] = index + 1
    return label


def write_btcv(root: Path, cases: int = 5) -> Path:
    """BTCV as distributed: img/img0001.nii.gz and label/label0001.nii.gz with 13 organs; and a scan to test."""
    for number in range(1, cases + 1):
        label = _blocks(number, 13, (22, 22, 12))
        air = np.random.default_rng(number).integers(-1000, -900, label.shape)
        scan = np.where(label, 40 + 10 * label.astype(np.int16), air).astype(np.int16)
        save_scan(root / f"RawData/Training/img/img{number:04d}.nii.gz", scan)
        save_scan(root / f"RawData/Training/label/label{number:04d}.nii.gz", label)
    save_scan(root / "RawData/Testing/img/img0061.nii.gz", np.full((22, 22, 12), -1000, np.int16))
    return root


MSD = {
    "Task09_Spleen": (("CT",), ("spleen",), "spleen"),
    "Task01_BrainTumour": (
        ("FLAIR", "T1w", "t1gd", "T2w"),
        ("edema", "non-enhancing tumor", "enhancing tumour"),
        "BRATS",
    ),
}


def write_msd(root: Path, task: str, cases: int = 6) -> Path:
    """A task of the Decathlon as distributed; channels, label names and spelling are those of its dataset.json."""
    channels, labels, prefix = MSD[task]
    names = [f"{prefix}_{number:03d}.nii.gz" for number in range(1, cases + 1)]
    for number, name in enumerate(names, start=1):
        label = _blocks(number, len(labels), (22, 10, 12))
        rng = np.random.default_rng(number)
        scans = [np.where(label, 100 + 20 * label + rng.normal(0, 9, label.shape), 0) for _ in channels]
        data = np.stack(scans, axis=3) if len(scans) > 1 else scans[0]
        save_scan(root / "imagesTr" / name, data.astype(np.int16 if channels == ("CT",) else np.float32))
        save_scan(root / "labelsTr" / name, label)
    description = {
        "name": task.partition("_")[2],
        "licence": "CC-BY-SA 4.0",
        "reference": "Decathlon",
        "modality": {str(number): name for number, name in enumerate(channels)},
        "labels": {"0": "background"} | {str(value): name for value, name in enumerate(labels, start=1)},
        "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root

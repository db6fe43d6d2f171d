"""A dataset in folders, of cases with random labels in noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from unetr.core.space.volume import Volume
from unetr.io import write_volume

LABELS = {"background": 0, "ball": 1, "shell": 2}


def write_cases(folder: Path) -> Path:
    """Four cases; returns the folder."""
    for index in range(4):
        write_case(folder, f"case{index}", index)
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return folder


def write_case(folder: Path, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, size=(1, 4, 4, 4)), np.ones((1, 4, 4, 4))).astype(np.uint8)
    write_volume(folder / f"labels/{name}.nii.gz", Volume(labels, np.eye(4)))
    image = (labels + rng.normal(0, 0.2, labels.shape)).astype(np.float32)
    write_volume(folder / f"images/{name}.nii.gz", Volume(image, np.eye(4)))

"""Stores the model of a run with rounded weights among those that come with the package, if it segments as before.

    uv run python benchmarks/shipped_model.py RUN DATASET hippocampus

Predicts the run's validation cases with both files and prints Dice, the share of voxels with the same label and the
file's size. The card NAME.md beside the model is written by hand.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from unetr.evaluation.dice import dice_per_class
from unetr.infer.load import load
from unetr.infer.predict import Segmenter
from unetr.io import read_volume
from unetr.model.file.model_file import compact, read_model, write_model
from unetr.model.shipped import __file__ as shipped
from unetr.prepare.datasets.cases import open_dataset
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_settings

LIMIT_BYTES = 12_000_000


def labels(segmenter: Segmenter, image: Path) -> np.ndarray:
    return np.asarray(segmenter.predict(image).labels.data[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    validation = set(read_settings(run).validation_cases)
    cases = [case for case in open_dataset(arguments.dataset).cases if case.id in validation]
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "model.safetensors"
        write_model(small, compact(read_model(run.model)))
        full, half = load(run.model), load(small)
        same, voxels = 0, 0
        dice: list[tuple[float, float]] = []
        for case in cases:
            truth = np.asarray(read_volume(case.label).data[0])
            found = [labels(segmenter, case.images[0]) for segmenter in (full, half)]
            same, voxels = same + int((found[0] == found[1]).sum()), voxels + truth.size
            dice.append(tuple(float(dice_per_class(one, truth, full.plan.outputs)[1:].mean()) for one in found))
        size = small.stat().st_size
        means = np.mean(dice, axis=0)
        print(f"{len(cases)} cases: Dice {means[0]:.4f} in float32, {means[1]:.4f} compact")
        print(f"{same / voxels:.4%} of the voxels have the same label; {size / 1e6:.2f} MB")
        if size > LIMIT_BYTES or abs(means[0] - means[1]) > 5e-4:
            raise SystemExit("not stored: too large, or it segments differently")
        (Path(shipped).parent / f"{arguments.name}.safetensors").write_bytes(small.read_bytes())


if __name__ == "__main__":
    main()

"""Accuracy in a fixed time: `unetr train` on one fold, and the facts of the run as one table row.

    uv run python benchmarks/hippocampus.py ../shared/data/Task04_Hippocampus --preset paper --minutes 20

Nothing is tuned by hand: the command is the one that a person types. The Dice is that of RUN/validation/results.json:
whole volumes predicted from the scan files with the final weights, no test-time augmentation.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/hippocampus"))
    arguments = parser.parse_args()
    before = time.monotonic()
    options = [
        "--preset",
        arguments.preset,
        "--minutes",
        arguments.minutes,
        "--fold",
        arguments.fold,
        "--seed",
        arguments.seed,
    ]
    command = [sys.executable, "-m", "unetr", "train", arguments.dataset, "-o", arguments.out, *options]
    subprocess.run([str(part) for part in command], check=True)
    wall_min = (time.monotonic() - before) / 60
    print_row(arguments.out, wall_min)


def print_row(run: Path, wall_min: float) -> None:
    steps = list(csv.DictReader((run / "timing.csv").open()))
    seconds, waited = (sum(float(step[name]) for step in steps) for name in ("seconds", "wait_seconds"))
    scores = json.loads((run / "validation" / "results.json").read_text())
    classes = ", ".join(f"{found['label']} {found['metrics']['dice']['mean']:.4f}" for found in scores["classes"])
    means = [found["metrics"]["dice"]["mean"] for found in scores["classes"]]
    print("| mean Dice | per class | cases | steps | s/step | loop, min | waiting for data | wall, min |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {sum(means) / len(means):.4f} | {classes} | {scores['classes'][0]['cases']} | {len(steps)} "
        f"| {seconds / len(steps):.3f} | {seconds / 60:.1f} | {waited / seconds:.2%} | {wall_min:.1f} |"
    )


if __name__ == "__main__":
    main()

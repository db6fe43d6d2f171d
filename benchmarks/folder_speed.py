"""Scans per second of a folder: `unetr predict MODEL FOLDER` against a MONAI loop with the same weights.

    uv run python benchmarks/folder_speed.py ../shared/data/Task04_Hippocampus/imagesTr --model MODEL [--scans 208]

MODEL is a unetr model file (preset `paper`, trained on the hippocampus by `unetr train`); its weights are handed to
monai_predict.py, which loads the network once. Whole processes take turns. Start-up is measured by running the same
command on one scan: "without start-up" is (N - 1) / (time of N - time of 1).
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from file_to_file import HERE, UNETR, labels
from measured import measure
from monai_predict import export


def main() -> None:
    asked = arguments()
    scans = sorted(path for path in asked.folder.glob("*.nii.gz") if not path.name.startswith("."))[: asked.scans]
    if len(scans) < 2:
        raise SystemExit(f"{asked.folder}: holds {len(scans)} scans (.nii.gz); expected two or more")
    names = ["MONAI fp32", *(f"unetr {precision}" for precision in asked.precisions)]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        export(asked.model, work / "weights.pt", work / "plan.json")
        inputs = {"one": scans[:1], "all": scans}
        for which, some in inputs.items():
            (work / which).mkdir()
            for scan in some:
                shutil.copyfile(scan, work / which / scan.name)
        walls: dict[tuple[str, str], list[float]] = {(who, which): [] for who in names for which in inputs}
        peaks: dict[str, float] = {}
        for _, which, who in itertools.product(range(asked.repetitions), inputs, names):
            out = work / f"{who} {which}"
            shutil.rmtree(out, ignore_errors=True)
            run = measure(command(asked, work, who, which, out))
            walls[who, which].append(run.wall_s)
            peaks[who] = max(run.peak_mb, peaks.get(who, 0.0))
        print_table(work, scans, names, {key: statistics.median(some) for key, some in walls.items()}, peaks)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scans", type=int, default=208)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1, help="MONAI's sw_batch_size")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    return parser.parse_args()


def command(asked: argparse.Namespace, work: Path, who: str, which: str, out: Path) -> list[str]:
    """Predicts the scans in the folder `which` with one of the programs."""
    if who == "MONAI fp32":
        script = [sys.executable, str(HERE / "monai_predict.py"), str(work / "weights.pt"), str(work / "plan.json")]
        return [*script, *map(str, sorted((work / which).iterdir())), "-o", str(out), "--batch", str(asked.batch)]
    job = ["predict", str(asked.model), str(work / which), "-o", str(out)]
    return [*UNETR, *job, "--precision", who.split()[1]]


def print_table(
    work: Path, scans: list[Path], names: list[str], wall: dict[tuple[str, str], float], peaks: dict[str, float]
) -> None:
    whole = {who: len(scans) / wall[who, "all"] for who in names}
    steady = {who: (len(scans) - 1) / (wall[who, "all"] - wall[who, "one"]) for who in names}
    print("| | wall, s | start-up and one scan, s | scans/s | faster | scans/s after start-up | faster | MB | agree |")
    print("|---|---|---|---|---|---|---|---|---|")
    for who in names:
        pairs = [(labels(work / f"{w} all" / s.name) for w in (who, names[0])) for s in scans]
        agree = np.concatenate([np.ravel(a == b) for a, b in pairs]).mean()
        print(
            f"| {who} | {wall[who, 'all']:.1f} | {wall[who, 'one']:.1f} | {whole[who]:.3f} "
            f"| {whole[who] / whole[names[0]]:.2f} × | {steady[who]:.3f} | {steady[who] / steady[names[0]]:.2f} × "
            f"| {peaks[who]:.0f} | {100 * agree:.3f} % |"
        )


if __name__ == "__main__":
    main()

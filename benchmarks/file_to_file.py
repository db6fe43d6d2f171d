"""One scan, from file to file: `unetr predict` against a MONAI script doing the same job with the same weights.

    uv run python benchmarks/file_to_file.py ../shared/data/ct/torso_1.5mm.nii.gz --repetitions 3 [--model MODEL]

Whole processes that take turns; wall time and peak memory by measured.py. MONAI is given its best of sw_batch_size 1, 2
and 4. Without --model the weights are random (seed 0, 14 classes, 96^3) and converted by `unetr convert monai`: the two
best classes of a voxel are then often nearly equal, which a trained model's seldom are. See monai_predict.py for how
conventions were matched.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

from measured import Measured, measure

HERE = Path(__file__).parent
UNETR = (sys.executable, "-m", "unetr")
PLAN = {
    "plan_version": 1,
    "dataset": "random",
    "channels": [{"name": "CT", "normalisation": "range", "low": -175.0, "high": 250.0}],
    "labels": {"background": 0, **{f"organ {i}": i for i in range(1, 14)}},
    "orientation": "RAS",
    "spacing_mm": [1.5, 1.5, 1.5],
    "window": [96, 96, 96],
}


def random_model(folder: Path) -> Path:
    """MONAI's UNETR with random weights, through `unetr convert monai`."""
    import torch
    from monai.networks import nets

    torch.manual_seed(0)
    torch.save(nets.UNETR(1, 14, (96, 96, 96), proj_type="perceptron").state_dict(), folder / "random.pt")
    (folder / "plan.yaml").write_text(json.dumps(PLAN))
    model = folder / "model.safetensors"
    made = ["convert", "monai", str(folder / "random.pt"), "--plan", str(folder / "plan.yaml"), "-o", str(model)]
    subprocess.run([*UNETR, *made], check=True, stdout=subprocess.DEVNULL)
    return model


def labels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--model", type=Path, help="a trained unetr model file")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4], help="MONAI's sw_batch_size")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    asked = parser.parse_args()
    from monai_predict import export

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = asked.model or random_model(folder)
        weights, plan = folder / "weights.pt", folder / "plan.json"
        export(model, weights, plan)
        contestants: dict[str, list[str]] = {}
        results: dict[str, Path] = {}
        for batch in asked.batches:
            out = folder / f"monai{batch}"
            script = [sys.executable, str(HERE / "monai_predict.py"), str(weights), str(plan), str(asked.scan)]
            contestants[f"MONAI fp32, batch {batch}"] = [*script, "-o", str(out), "--batch", str(batch)]
            results[f"MONAI fp32, batch {batch}"] = out / asked.scan.name
        for precision in asked.precisions:
            out = folder / f"unetr_{precision}.nii.gz"
            command = [*UNETR, "predict", str(model), str(asked.scan), "-o", str(out), "--precision", precision]
            contestants[f"unetr {precision}"] = command
            results[f"unetr {precision}"] = out
        runs: dict[str, list[Measured]] = {who: [] for who in contestants}
        for _ in range(asked.repetitions):
            for who, command in contestants.items():
                results[who].unlink(missing_ok=True)
                runs[who].append(measure(command))
        wall = {who: statistics.median(run.wall_s for run in some) for who, some in runs.items()}
        peak = {who: max(run.peak_mb for run in some) for who, some in runs.items()}
        best = min((who for who in wall if who.startswith("MONAI")), key=lambda who: wall[who])
        truth = labels(results[best])
        print("| | wall, s (median) | imports, s | network, s | peak, MB | faster | memory | labels agree |")
        print("|---|---|---|---|---|---|---|---|")
        for who in contestants:
            inner = json.loads(runs[who][-1].stdout.splitlines()[-1]) if who.startswith("MONAI") else {}
            agree = float(np.mean(labels(results[who]) == truth))
            within = f"{inner.get('imports', '')} | {inner.get('network', '')}"
            print(
                f"| {who} | {wall[who]:.2f} | {within} | {peak[who]:.0f} "
                f"| {wall[best] / wall[who]:.2f} × | {peak[who] / peak[best]:.2f} | {100 * agree:.3f} % |"
            )
        print(f"\nClasses in MONAI's labels: {len(np.unique(truth))}. Compared with: {best}.")


if __name__ == "__main__":
    main()

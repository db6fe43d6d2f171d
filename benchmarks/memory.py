"""Peak memory of `unetr predict`: 512x512x700 voxels, 117 classes, preset `paper`, 96^3; then with twice the slices.

    uv run python benchmarks/memory.py --spacing 1.5 [--slices 700 1400] [--size 512] [--limit 4GB]

Synthetic int16 scans (seed 0) of 0.8x0.8x1.0 mm and a model with random weights, in a temporary folder. The number of
windows grows with the third power of 1 / --spacing: 3 mm needs an eighth of the time of 1.5 mm, but says less of
memory, since the network's grid is smaller. Peaks are the kernel's (measured.py). Each scan is run without
and with --memory-limit; a run that is refused (exit 2 or 4) is a row that says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

from measured import measure


def make_scan(path: Path, size: int, slices: int) -> None:
    """Noise in air about a cylinder of soft tissue; slice by slice, so that it takes no memory here."""
    random = np.random.default_rng(0)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((size, size, slices))
    header.set_sform(np.diag([0.8, 0.8, 1.0, 1.0]), code=1)
    header.set_qform(np.diag([0.8, 0.8, 1.0, 1.0]), code=1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    axis = np.linspace(-1, 1, size)
    body = np.where(axis[:, None] ** 2 + axis[None] ** 2 < 0.6, 40, -1000)
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(slices):
            file.write((body + random.normal(0, 20, body.shape)).astype("<i2").tobytes(order="F"))


def make_model(path: Path, spacing_mm: float, classes: int) -> None:
    from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
    from unetr.model.file.model_file import ModelFile, write_model
    from unetr.model.network.build import fresh_weights

    plan = Plan(
        dataset="noise",
        channels=(ChannelPlan(name="CT", normalisation="range", low=-175.0, high=250.0),),
        labels={"background": 0, **{f"organ {i}": i for i in range(1, classes)}},
        spacing_mm=(spacing_mm,) * 3,
        window=(96, 96, 96),
        network=NetworkPlan(),
    )
    write_model(path, ModelFile(plan, None, {}, "CC0", fresh_weights(plan)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, nargs="+", default=[700, 1400])
    parser.add_argument("--spacing", type=float, default=1.5, help="of the plan, mm")
    parser.add_argument("--classes", type=int, default=117)
    parser.add_argument("--limit", default="4GB", help="for --memory-limit")
    parser.add_argument("--only", choices=["free", "limited"], help="leave out the runs with or without the limit")
    parser.add_argument("--precision", default="auto")
    asked = parser.parse_args()
    print("| slices | memory limit | exit | wall, s | peak, MB | against the first | said |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model.safetensors", asked.spacing, asked.classes)
        first: dict[str, float] = {}
        for slices in asked.slices:
            scan = folder / f"scan{slices}.nii"
            make_scan(scan, asked.size, slices)
            for kind, options in {"free": [], "limited": ["--memory-limit", asked.limit]}.items():
                if asked.only not in (None, kind):
                    continue
                out = folder / f"out{slices}{kind}.nii.gz"
                job = ["predict", str(folder / "model.safetensors"), str(scan), "-o", str(out)]
                command = [sys.executable, "-m", "unetr", *job, "--precision", asked.precision, *options]
                code, seconds, peak, *texts = measure(command, must_succeed=False)
                ratio = f"{peak / first.setdefault(kind, peak):.3f}" if not code else ""
                limit = asked.limit if options else "none"
                lines = "".join(texts).strip().splitlines() if code else []
                said = lines[-1].replace(str(folder), "").replace("|", "/") if lines else ""
                print(f"| {slices} | {limit} | {code} | {seconds:.1f} | {peak:.0f} | {ratio} | {said} |", flush=True)
            scan.unlink()


if __name__ == "__main__":
    main()

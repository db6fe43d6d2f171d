"""Run by .ci/no_torch in the project's environment: a small model, its exports, a scan, and torch's own prediction.

python tests/no_torch/make_inputs.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np

from unetr.app.cli import app
from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.model.file.model_file import ModelFile, write_model
from unetr.model.network.build import fresh_weights


def main(folder: Path) -> None:
    plan = Plan(
        dataset="no torch",
        channels=(ChannelPlan(name="CT", normalisation="range", low=0.0, high=1.0),),
        labels={"background": 0, "one": 1, "two": 2},
        spacing_mm=(1.5, 1.0, 1.0),
        window=(32, 32, 32),
        network=NetworkPlan(patch=8, width=48, depth=6, heads=4, mlp_width=96, taps=(2, 4, 6), feature_size=8),
    )
    weights = fresh_weights(plan)
    write_model(folder / "model.safetensors", ModelFile(plan, None, {}, "CC0", weights))
    smooth = np.random.default_rng(0).random((40, 36, 44))
    for axis in range(3):
        smooth = (smooth + np.roll(smooth, 1, axis) + np.roll(smooth, 2, axis)) / 3
    scan = nibabel.Nifti1Image(smooth.astype(np.float32), np.diag([-1.0, -1.0, 1.5, 1.0]))
    scan.header.set_xyzt_units("mm")
    nibabel.save(scan, folder / "scan.nii.gz")
    model = str(folder / "model.safetensors")
    for target in ("onnx", "openvino"):
        app(["export", model, "--to", target], standalone_mode=False)
    torchs = ["-o", str(folder / "torch.nii.gz"), "--engine", "torch", "--precision", "fp32", "--probabilities"]
    app(["predict", model, str(folder / "scan.nii.gz"), *torchs], standalone_mode=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Every command of unetr on small data, several of them in more than one way, and the data themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.datasets import save_scan, write_btcv, write_dataset
from tests.io.dicom.dicom_maker import write_series

from unetr.core.plan.file import write_plan
from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan, TrainingPlan

_NETWORK = NetworkPlan(patch=8, width=16, depth=3, heads=2, mlp_width=32, taps=(1, 2, 3), feature_size=4)

_NODE = "models: [hippocampus]\nrules: [{name: all, model: hippocampus, when: {modality: MR}}]\n"


def write_inputs(work: Path) -> None:
    """The folder that the commands may write to, with what they read."""
    write_dataset("folders", work / "data", 4, 1, "balls")
    write_dataset("decathlon", work / "decathlon", 4, 1, "balls")
    write_btcv(work / "btcv", 2)
    write_series(work / "dicom", np.random.default_rng(0).integers(0, 900, (20, 22, 18)).astype(np.int16))
    save_scan(work / "scan.nii.gz", np.random.default_rng(1).random((20, 20, 20)).astype(np.float32))
    plan = Plan(
        dataset="balls",
        channels=(ChannelPlan(name="MRI"),),
        labels={"background": 0, "ball": 1, "shell": 2},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(16, 16, 16),
        network=_NETWORK,
        training=TrainingPlan(batch_size=2),
    )
    write_plan(work / "plan.yaml", plan)
    (work / "node.yaml").write_text(_NODE, encoding="utf-8")
    _write_monai_weights(work, plan)


def _write_monai_weights(work: Path, plan: Plan) -> None:
    from monai.networks.nets import UNETR

    network = UNETR(1, 3, (32, 32, 32), feature_size=4, hidden_size=48, mlp_dim=96, num_heads=4)
    torch.save(network.state_dict(), work / "monai.pt")
    wide = _NETWORK.model_copy(
        update={"patch": 16, "width": 48, "depth": 12, "heads": 4, "mlp_width": 96, "taps": (3, 6, 9, 12)}
    )
    write_plan(work / "monai.yaml", plan.model_copy(update={"window": (32, 32, 32), "network": wide}))


def commands(work: Path) -> dict[str, list[str]]:
    """Name -> arguments, in an order in which each finds what those before it wrote."""
    run, out = work / "run", work / "out"
    model = run / "model.safetensors"
    short = ["--plan", work / "plan.yaml", "--steps", 2]
    told: dict[str, list[object]] = {
        "check": ["check", work / "data"],
        "check, Decathlon": ["check", work / "decathlon", "--json"],
        "plan": ["plan", work / "data", "--preset", "tiny", "-o", work / "planned"],
        "pretrain": ["pretrain", work / "data" / "images", "-o", work / "pretrained", *short],
        "train": ["train", work / "data", "-o", run, *short],
        "train, minutes": ["train", work / "data", "-o", work / "timed", "--preset", "tiny", "--minutes", 0.02],
        "predict": ["predict", model, work / "scan.nii.gz", "-o", out / "scan.nii.gz", "--preview", "--uncertainty"],
        "predict, folder": ["predict", model, work / "data" / "images", "-o", out / "folder"],
        "predict, DICOM": ["predict", model, work / "dicom", "-o", out / "seg.dcm", "--format", "dicom-seg"],
        "predict, torch": ["predict", model, work / "scan.nii.gz", "-o", out / "torch.nii.gz", "--engine", "torch"],
        "evaluate": ["evaluate", out / "folder", work / "data" / "labels", "-o", out / "scores"],
        "report": ["report", run],
        "compare": ["compare", work / "data", "-o", work / "compared", "--networks", "tiny", "--preset", "tiny"],
        "ablate": ["ablate", run],
        "recipe": ["recipe", "btcv", work / "btcv", "-o", work / "recipe", "--splits", 2, "--steps", 1],
        "profile": ["profile", "tiny", "small", "--window", "32x32x32"],
        "profile, peers": ["profile", "monai-unet", "nnunet-plain", "primus", "--window", "32x32x32"],
        "convert": ["convert", "monai", work / "monai.pt", "--plan", work / "monai.yaml", "-o", out / "m.safetensors"],
        "export, ONNX": ["export", model, "--to", "onnx"],
        "export, OpenVINO": ["export", model, "--to", "openvino"],
        "predict, ONNX": [
            *("predict", run / "model.onnx", work / "scan.nii.gz", "-o", out / "onnx.nii.gz", "--engine", "onnx")
        ],
        "info": ["info", model],
        "info, scan": ["info", work / "scan.nii.gz"],
        "models": ["models"],
        "node": ["node", work / "node.yaml", "--check", "--series", work / "dicom"],
        "serve": ["serve", "--model", "hippocampus", "--port", 0, "--folder", work / "served"],
        "mcp": ["mcp", "--allow", work, "--out", out],
        "demo": ["demo", "-o", work / "demo", "--minutes", 0.05],
    }
    told["compare"] += ["--minutes", 0.01, "--folds", 1, "--of", 2]
    return {name: [str(argument) for argument in arguments] for name, arguments in told.items()}

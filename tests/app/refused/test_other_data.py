"""Several channels, overlapping regions, and weights of another project, through the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

Command = Callable[..., Any]


def voxels(path: Path) -> np.ndarray:
    return np.asanyarray(nibabel.load(path).dataobj)


def dice(prediction: np.ndarray, truth: np.ndarray, value: int) -> float:
    a, b = prediction == value, truth == value
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize(("layout", "fold"), [("nnunet", "0"), ("csv", "all-data")])
def test_two_channels(
    layout: str,
    fold: str,
    unetr: Command,
    shrink_plan: Callable[[Path, Path], Path],
    make_dataset: Any,
    tmp_path: Path,
) -> None:
    root = make_dataset(layout, 5, 2, "balls")
    assert unetr("plan", root, "-o", tmp_path / "planned").code == 0
    plan = shrink_plan(tmp_path / "planned/plan.yaml", tmp_path / "edited.yaml")
    run = tmp_path / "run"
    outcome = unetr("train", root, "-o", run, "--plan", plan, "--steps", 3, "--fold", fold)
    assert outcome.code == 0, outcome
    assert (run / "validation").exists() == (fold == "0")
    scans = tmp_path / "scans"
    scans.mkdir()
    images = sorted(root.glob("imagesTr/*")) or sorted(root.parent.glob("scans/*"))
    for number, image in enumerate(images[:4]):
        (scans / f"case {number // 2}_{number % 2:04d}.nii.gz").write_bytes(image.read_bytes())
    outcome = unetr("predict", run / "model.safetensors", scans, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [".unetr_outputs", "case 0.nii.gz", "case 1.nii.gz", "report.json"]
    outcome = unetr("predict", run / "model.safetensors", scans / "case 1_0000.nii.gz", "-o", tmp_path / "one.nii.gz")
    assert outcome.code == 0, outcome
    assert np.array_equal(voxels(tmp_path / "one.nii.gz"), voxels(tmp_path / "out/case 1.nii.gz"))
    assert unetr("report", run).err == f"wrote {run / 'report.html'}\n"


def test_regions(
    unetr: Command,
    shrink_plan: Callable[[Path, Path], Path],
    make_dataset: Any,
    edit_json: Callable[..., None],
    tmp_path: Path,
) -> None:
    root = make_dataset("nnunet", 5, 1, "balls")
    regions = {"background": 0, "whole": [1, 2], "ball": [1]}
    edit_json(root / "dataset.json", labels=regions, regions_class_order=[2, 1])
    assert unetr("plan", root, "-o", tmp_path / "planned").code == 0
    plan = shrink_plan(tmp_path / "planned/plan.yaml", tmp_path / "edited.yaml")
    run = tmp_path / "run"
    outcome = unetr("train", root, "-o", run, "--plan", plan, "--steps", 3)
    assert outcome.code == 0, outcome
    results = json.loads((run / "validation/results.json").read_text())
    assert [summary["label"] for summary in results["classes"]] == ["whole", "ball"]
    for score in results["scores"]:
        prediction, truth = (
            np.isin(voxels(folder / f"{score['case']}.nii.gz"), [1, 2] if score["label"] == "whole" else [1])
            for folder in (run / "validation", root / "labelsTr")
        )
        assert score["dice"] == pytest.approx(dice(prediction, truth, True), abs=1e-12)
    scan = root / "imagesTr/case_00_0000.nii.gz"
    out = tmp_path / "out.nii.gz"
    outcome = unetr("predict", run / "model.safetensors", scan, "-o", out, "--probabilities", "--precision", "fp32")
    assert outcome.code == 0, outcome
    scores = voxels(tmp_path / "out_probabilities.nii.gz")
    expected = np.where(scores[..., 1] > 0.5, 1, np.where(scores[..., 0] > 0.5, 2, 0))
    assert np.array_equal(voxels(out), expected)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_monai_predict_what_monai_predicts(
    suffix: str, unetr: Command, save_scan: Callable[..., Path], tmp_path: Path
) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    inferers = pytest.importorskip("monai.inferers")
    torch.manual_seed(4)
    network = nets.UNETR(1, 3, (32, 32, 32), feature_size=4, hidden_size=48, mlp_dim=96, num_heads=4).eval()
    weights = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": network.state_dict()}, weights)
    else:
        save_file({name: tensor.clone() for name, tensor in network.state_dict().items()}, weights)
    plan = yaml.safe_load(unetr("plan", "--template").out)
    plan |= {"labels": {"background": 0, "a": 1, "b": 2}, "spacing_mm": [1, 1, 1], "window": [32, 32, 32]}
    plan["channels"] = [{"name": "MRI", "normalisation": "none"}]
    plan["network"]["heads"] = 4
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    model = tmp_path / "model.safetensors"
    outcome = unetr("convert", "monai", weights, "--plan", tmp_path / "plan.yaml", "-o", model)
    assert outcome.code == 0, outcome
    image = np.random.default_rng(2).normal(size=(40, 33, 50)).astype(np.float32)
    scan = save_scan(tmp_path / "scan.nii.gz", image)
    outcome = unetr("predict", model, scan, "-o", tmp_path / "out.nii.gz", "--precision", "fp32", "--device", "cpu")
    assert outcome.code == 0, outcome
    with torch.inference_mode():
        logits = inferers.sliding_window_inference(
            torch.from_numpy(image)[None, None], (32, 32, 32), 1, network, overlap=0.5, mode="gaussian"
        )[0].numpy()
    second, first = np.sort(logits, axis=0)[-2:]
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    assert np.array_equal(voxels(tmp_path / "out.nii.gz")[clear], logits.argmax(axis=0)[clear])
    assert len(np.unique(logits.argmax(axis=0))) > 1

"""unetr export, and predicting with what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

Command = Callable[..., Any]
Refused = Callable[..., None]


def labels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize(("target", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml"), ("torch", ".safetensors")])
def test_an_export_predicts_as_the_model(
    target: str, suffix: str, unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "made" / f"exported{suffix}"
    outcome = unetr("export", tiny_model, "--to", target, "-o", out)
    assert outcome.code == 0 and outcome.err.count("\n") == 1
    assert f"wrote {out}; loaded again in a fresh process" in outcome.err
    assert unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "a.nii.gz", "--precision", "fp32").code == 0
    for engine in {"onnx": ["onnx", "openvino"], "openvino": ["openvino"], "torch": ["torch", "openvino"]}[target]:
        options = ["--engine", engine, "--precision", "fp32"]
        outcome = unetr("predict", out, sound_scan, "-o", tmp_path / "b.nii.gz", *options)
        assert outcome.code == 0, outcome
        assert f"engine {engine} on cpu in fp32" in outcome.out
        assert np.mean(labels(tmp_path / "a.nii.gz") == labels(tmp_path / "b.nii.gz")) > 0.999


def test_exports_that_make_no_sense_are_refused(
    unetr: Command, assert_refused: Refused, tiny_model: Path, tmp_path: Path
) -> None:
    assert_refused(unetr("export", tiny_model, "--to", "coreml"), 2, "coreml", "onnx, openvino, torch")
    assert_refused(unetr("export", tiny_model, "--to", "onnx", "-o", tmp_path / "x.pb"), 2, "x.pb", ".onnx")
    assert_refused(unetr("export", tiny_model, "--to", "torch", "-o", tiny_model), 2, "the model itself")
    out = tmp_path / "x.onnx"
    assert unetr("export", tiny_model, "--to", "onnx", "-o", out).code == 0
    assert_refused(unetr("export", out, "--to", "openvino"), 2, "x.onnx", "exported network")
    assert_refused(unetr("predict", out, out, "-o", tmp_path, "--engine", "torch"), 2, "x.onnx", "engine torch")


@pytest.mark.parametrize("limit", ["much", "-4GB", "4"])
def test_a_memory_limit_that_is_no_size(
    limit: str, unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "o.nii.gz", "--memory-limit", limit)
    assert_refused(outcome, 2, limit, "4GB")
    assert list(tmp_path.glob("o*")) == []


def test_a_memory_limit_that_cannot_be_kept(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "o.nii.gz", "--memory-limit", "10MB")
    assert_refused(outcome, 2, sound_scan.name, "--memory-limit")
    assert list(tmp_path.glob("o*")) == []


def test_uncertainty_and_confidence_are_written(
    unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    out, stats = tmp_path / "out", tmp_path / "stats.csv"
    assert unetr("predict", tiny_model, sound_scan, "-o", out, "--uncertainty", "--stats", stats).code == 0
    (written,) = out.glob("*_uncertainty.nii.gz")
    values = np.asarray(nibabel.load(written).dataobj)
    assert values.dtype == np.float32 and values.min() >= 0 and 0 < values.max() <= 1
    header, *rows = stats.read_text().splitlines()
    assert header == "case,label,volume_ml,confidence"
    for row in rows:
        volume, confidence = row.split(",")[2:]
        assert (confidence == "") == (float(volume) == 0)
        assert not confidence or 1 / 3 <= float(confidence) <= 1


def test_two_models_are_averaged(unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"
    assert unetr("predict", tiny_model, sound_scan, "-o", one).code == 0
    outcome = unetr("predict", tiny_model, tiny_model, sound_scan, "-o", two)
    assert outcome.code == 0 and "2 models" in outcome.out
    assert np.mean(labels(one) == labels(two)) > 0.999

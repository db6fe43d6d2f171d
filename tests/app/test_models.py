"""The models that come with the package: listed, described, small enough, and as good as their cards say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import unetr as package
from unetr.model.file.model_file import read_model
from unetr.model.shipped import ShippedModel, find_model, shipped_models

Command = Callable[..., Any]
SHIPPED = shipped_models()
LIMIT_BYTES = 12_000_000


def dice(prediction: np.ndarray, truth: np.ndarray, value: int) -> float:
    a, b = prediction == value, truth == value
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_models_are_listed(unetr: Command) -> None:
    found = json.loads(unetr("models", "--json").out)
    assert found.keys() == {model.name for model in SHIPPED} >= {"hippocampus"}
    assert found["hippocampus"]["labels"] == ["Anterior", "Posterior"]
    text = unetr("models").out
    assert "hippocampus" in text and "CC-BY-SA" in text


@pytest.mark.parametrize("model", SHIPPED, ids=[model.name for model in SHIPPED])
def test_the_card_says_what_the_file_says(model: ShippedModel, unetr: Command) -> None:
    shown = unetr("models", model.name)
    assert (shown.code, shown.out.strip()) == (0, model.card.strip())
    assert model.path.stat().st_size <= LIMIT_BYTES
    known = read_model(model.path)
    assert known.licence and known.licence in model.card
    assert known.fingerprint is not None
    assert f"{known.metrics['mean_dice']:.4f}" in model.card
    for name in known.plan.class_names[1:]:
        assert re.search(rf"\| {name.lower()} \| {known.metrics[f'dice_{name}']:.3f} ", model.card)
    for heading in ("## Data", "## Scores", "## Limits"):
        assert heading in model.card


def test_an_unknown_model_is_refused(unetr: Command, assert_refused: Callable[..., None], sound_scan: Path) -> None:
    assert_refused(unetr("models", "liver"), 2, "liver", "hippocampus")
    assert_refused(unetr("predict", "liver", sound_scan, "-o", "out.nii.gz"), 2, "liver")


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model(Path("hippocampus")) != Path("hippocampus")
    Path("hippocampus").write_bytes(b"mine")
    assert find_model(Path("hippocampus")) == Path("hippocampus")


def test_scans_that_it_has_not_learned_from(unetr: Command, shared_data: Path, tmp_path: Path) -> None:
    """Three validation cases of the fold that it was trained without; the card has the scores of all 42."""
    task = shared_data / "Task04_Hippocampus"
    scores = []
    for case in ("hippocampus_394", "hippocampus_385", "hippocampus_001"):
        scan = task / "imagesTr" / f"{case}.nii.gz"
        out = tmp_path / f"{case}.nii.gz"
        assert unetr("predict", "hippocampus", scan, "-o", out).code == 0
        truth = np.asanyarray(nibabel.load(task / "labelsTr" / f"{case}.nii.gz").dataobj)
        found = np.asanyarray(nibabel.load(out).dataobj)
        scores += [dice(found, truth, value) for value in (1, 2)]
    assert min(scores) > 0.75
    assert np.mean(scores) > 0.84


def test_a_dicom_series_of_another_hospital(unetr: Command, shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "label.nii.gz"
    outcome = unetr("predict", "hippocampus", shared_data / "dicom" / "hippocampus_crop_T1", "-o", out, "--json")
    assert outcome.code == 0, outcome
    label = nibabel.load(out)
    assert sorted(label.shape) == [32, 35, 51]
    voxel_ml = float(np.prod(label.header.get_zooms())) / 1000
    found = np.asanyarray(label.dataobj)
    for value in (1, 2):  # the 208 cases have 1.05 to 2.59 and 0.99 to 2.15 ml
        assert 0.95 < np.count_nonzero(found == value) * voxel_ml < 2.6
    # Anterior lies in front of posterior.
    front = [nibabel.affines.apply_affine(label.affine, np.argwhere(found == value)).mean(0)[1] for value in (1, 2)]
    assert front[0] > front[1] + 10


def test_from_python(sound_scan: Path) -> None:
    segmenter = package.load("hippocampus")
    assert segmenter.plan.class_names == ("background", "Anterior", "Posterior")
    assert segmenter.predict(sound_scan).labels.data.shape == (1, 20, 24, 18)


@pytest.mark.fault("a card on several lines")
def test_a_card_is_shown_on_lines_of_its_own(unetr: Command) -> None:
    assert len(unetr("models", "hippocampus").out.splitlines()) > 10

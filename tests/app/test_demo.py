"""The demonstration: what it trains on and what it tests on have nothing in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The brain template read by nibabel: kind -> image."""
    nilearn = pytest.importorskip("nilearn")
    folder = Path(nilearn.__file__).parent / "datasets/data"
    return {
        kind: nibabel.load(folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz")
        for kind in ("t1", "gm", "wm")
    }


def test_the_demonstration_on_a_part_of_the_brain(
    unetr: Command, template: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unetr.jobs.demo import brain_template

    whole = brain_template.read_template()
    box = (slice(60, 108), slice(60, 172), slice(70, 110))

    def part() -> tuple[Any, Any]:
        shift = np.eye(4)
        shift[:3, 3] = [s.start for s in box]
        return tuple(v.with_data(v.data[:, *box], affine=v.affine @ shift) for v in whole)  # type: ignore[return-value]

    monkeypatch.setattr(brain_template, "read_template", part)
    outcome = unetr("demo", "-o", tmp_path / "demo", "--minutes", 0.05, "--json")
    assert outcome.code == 0, outcome
    said = json.loads(outcome.out)
    assert all(Path(said[key]).stat().st_size > 100 for key in ("label_file", "picture", "report"))
    results = json.loads((tmp_path / "demo/prediction/results.json").read_text())
    assert [summary["label"] for summary in results["classes"]] == ["grey matter", "white matter"]
    assert results["mean_dice"] == said["mean_dice"]

    front, back = (
        nibabel.load(tmp_path / "demo" / name) for name in ("dataset/images/front.nii.gz", "test/back.nii.gz")
    )
    rows = {}
    for image in (front, back):
        ends = np.array([[0, 0, 0], np.array(image.shape) - 1])
        low, high = np.sort(nibabel.affines.apply_affine(image.affine, ends)[:, 1])
        rows[image] = (low, high)
        # Every voxel is the template's own at that place.
        there = np.linalg.inv(template["t1"].affine) @ image.affine
        assert np.allclose(there[:3, :3], np.eye(3), atol=1e-6)
        x, y, z = np.rint(there[:3, 3]).astype(int)
        a, b, c = image.shape
        original = np.asanyarray(template["t1"].dataobj)[x : x + a, y : y + b, z : z + c]
        assert np.array_equal(np.asanyarray(image.dataobj), original)
    assert rows[front][0] - rows[back][1] >= 16
    assert nibabel.load(said["label_file"]).shape == back.shape


@pytest.fixture(scope="module")
def first_look(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from unetr.core.observer import Observer
    from unetr.jobs.demo.shipped_scan import segment_shipped_scan

    return segment_shipped_scan(tmp_path_factory.mktemp("first"), Observer())


def test_the_first_look_needs_no_torch(unetr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "lightning_fabric", "nilearn"):
        monkeypatch.setitem(sys.modules, name, None)
    outcome = unetr("demo", "-o", tmp_path, "--json")
    assert outcome.code == 0, outcome
    said = json.loads(outcome.out)
    assert list(said) == ["first_look"]
    assert 0.88 < said["first_look"]["mean_dice"] < 0.9  # the card's mean is 0.8845
    refused = unetr("demo", "-o", tmp_path / "other", "--train")
    assert refused.code == 4 and "unetr[demo]" in refused.err and "nilearn" in refused.err
    assert not (tmp_path / "other").exists()


def test_the_first_look_scores_what_it_wrote(first_look: Any) -> None:
    folder = first_look.label_file.parent
    prediction, truth = (
        np.asanyarray(nibabel.load(folder / f"{name}.nii.gz").dataobj) for name in ("prediction", "truth")
    )
    dice = [
        2
        * np.count_nonzero((prediction == value) & (truth == value))
        / (np.count_nonzero(prediction == value) + np.count_nonzero(truth == value))
        for value in (1, 2)
    ]
    assert first_look.results.mean_dice == pytest.approx(np.mean(dice))
    assert first_look.picture.read_bytes().startswith(b"\x89PNG")
    page = first_look.page.read_text(encoding="utf-8")
    assert "CC-BY-SA 4.0" in page and "Antonelli" in page and "95 % interval" not in page


def test_the_shipped_scan_is_the_decathlons_and_held_out(first_look: Any, shared_data: Path) -> None:
    from unetr.jobs.demo.shipped_scan import CASE
    from unetr.prepare.datasets.cases import open_dataset
    from unetr.prepare.datasets.folds import split_folds

    task = shared_data / "Task04_Hippocampus"
    folder = first_look.label_file.parent
    assert (folder / "scan.nii.gz").read_bytes() == (task / f"imagesTr/{CASE}.nii.gz").read_bytes()
    assert (folder / "truth.nii.gz").read_bytes() == (task / f"labelsTr/{CASE}.nii.gz").read_bytes()
    assert CASE in split_folds(open_dataset(task), 5, 0)[0]  # the fold that the model's card names


def test_the_first_look_can_be_stopped(tmp_path: Path) -> None:
    from unetr.core.observer import Observer
    from unetr.errors import StoppedError
    from unetr.jobs.demo.shipped_scan import segment_shipped_scan

    class Impatient(Observer):
        def should_stop(self) -> bool:
            return True

    with pytest.raises(StoppedError):
        segment_shipped_scan(tmp_path, Impatient())
    assert not list(tmp_path.iterdir())


def test_the_truth_of_the_demonstration_is_the_likeliest_tissue(template: dict[str, Any]) -> None:
    from unetr.jobs.demo.brain_template import read_template

    _, label = read_template()
    grey, white = (np.asanyarray(template[kind].dataobj).astype(int) for kind in ("gm", "wm"))
    rest = 255 - grey - white
    assert label.data.shape == (1, 197, 233, 189)
    assert np.array_equal(label.data[0] == 2, (white > grey) & (white > rest))
    assert np.array_equal(label.data[0] == 1, (grey >= white) & (grey > rest))

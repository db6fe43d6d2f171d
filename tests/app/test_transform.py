"""Scans whose sform and qform are two frames of space: refused, or read by the one that a person or a plan says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from unetr.core.machine.parallel import with_choices
from unetr.core.plan.file import read_plan
from unetr.core.space.frames import taken, taking
from unetr.errors import InputError
from unetr.io import read_volume

pytestmark = pytest.mark.fault("sform and qform that disagree")

Command = Any


def two_frames(path: Path, data: np.ndarray, codes: tuple[int, int] = (1, 2)) -> Path:
    """qform: 1 mm, at 0; sform: moved and turned a little, as SPM's coregistration leaves it."""
    image = nibabel.Nifti1Image(data, np.eye(4))
    moved = np.eye(4)
    c, s = np.cos(0.05), np.sin(0.05)
    moved[:3] = [[c, -s, 0, 5], [s, c, 0, -3], [0, 0, 1, 2]]
    image.set_qform(np.eye(4), codes[0])
    image.set_sform(moved, codes[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


@pytest.fixture
def frames(tmp_path: Path, datasets: Any) -> Path:
    """A dataset of five cases in which images and labels have two frames each."""
    root: Path = datasets.write_dataset("folders", tmp_path / "data", 5, 1, "balls")
    for path in root.rglob("*.nii.gz"):
        two_frames(path, np.asarray(nibabel.load(path).dataobj))
    return root


def test_reading_takes_what_is_said(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 99, (9, 8, 7)).astype(np.int16)
    path = two_frames(tmp_path / "scan.nii.gz", data)
    with pytest.raises(InputError, match=r"sform and qform place the scan .* mm apart.*as the transform") as error:
        read_volume(path)
    assert error.value.hint == "transform"
    loaded = nibabel.load(path)
    for transform, affine, code in (("sform", loaded.get_sform(), 2), ("qform", loaded.get_qform(), 1)):
        with taking(transform):
            ambient = read_volume(path)
        for volume in (read_volume(path, transform=transform), ambient):
            assert np.allclose(volume.affine, affine) and (volume.qform_code, volume.sform_code) == (code, code)
            assert f"the {transform} was taken" in volume.notes[0]
    assert taken() is None
    # Where both agree, or there is one, nothing changes.
    for qform, sform in ((1, 2), (1, 0), (0, 2)):
        image = nibabel.Nifti1Image(data, np.eye(4))
        image.set_qform(np.eye(4), qform)
        image.set_sform(np.eye(4), sform)
        nibabel.save(image, path)
        for transform in (None, "qform", "sform"):
            volume = read_volume(path, transform=transform)
            assert (volume.qform_code, volume.sform_code, volume.notes) == (qform, sform, ())


def test_a_frame_that_is_none_is_no_obstacle(tmp_path: Path) -> None:
    """An sform sheared by registration, or without voxel sizes: the qform can be taken; it is refused if chosen."""
    for broken in (np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]), np.zeros((3, 4))):
        image = nibabel.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4))
        image.set_qform(np.eye(4), 1)
        image.set_sform(np.eye(4), 2)
        path = tmp_path / "scan.nii"
        nibabel.save(image, path)
        stored = bytearray(path.read_bytes())
        stored[280:328] = broken.astype("<f4").tobytes()  # srow_x, srow_y, srow_z
        path.write_bytes(stored)
        assert np.array_equal(read_volume(path, transform="qform").affine, np.eye(4))
        for transform in (None, "sform"):
            with pytest.raises(InputError, match="its sform"):
                read_volume(path, transform=transform)


def test_a_choice_reaches_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with taking("qform"), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(with_choices(lambda _: taken()), range(20))) == ["qform"] * 20
        assert list(pool.map(lambda _: taken(), range(4))) == [None] * 4


def test_info_shows_both(unetr: Command, tmp_path: Path) -> None:
    path = two_frames(tmp_path / "scan.nii.gz", np.ones((9, 8, 7), np.uint8))
    facts = json.loads(unetr("info", path, "--json").out)
    assert [row[3] for row in facts["sform"]] == [5, -3, 2] and [row[3] for row in facts["qform"]] == [0, 0, 0]
    assert "mm apart" in facts["notes"][0]
    text = unetr("info", path).out
    assert "sform" in text and "qform" in text


def test_predict(unetr: Command, tiny_model: Path, tmp_path: Path) -> None:
    path = two_frames(tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32))
    out = tmp_path / "out.nii.gz"
    outcome = unetr("predict", tiny_model, path, "-o", out)
    assert outcome.code == 2 and "--transform sform or --transform qform" in outcome.err and not out.exists()
    assert unetr("predict", tiny_model, path, "-o", out, "--transform", "both").code == 2
    for transform in ("sform", "qform"):
        written = tmp_path / f"{transform}.nii.gz"
        assert unetr("predict", tiny_model, path, "-o", written, "--transform", transform).code == 0
        found, scan = nibabel.load(written), nibabel.load(path)
        wanted = scan.get_sform() if transform == "sform" else scan.get_qform()
        assert np.allclose(found.get_sform(), wanted) and np.allclose(found.get_qform(), wanted, atol=1e-5)
        code = 2 if transform == "sform" else 1
        assert (int(found.header["qform_code"]), int(found.header["sform_code"])) == (code, code)


def test_a_dataset_from_check_to_prediction(unetr: Command, frames: Path, tmp_path: Path) -> None:
    """The choice is in the plan and the model: what is trained in one frame is predicted in it, unasked."""
    outcome = unetr("check", frames, "--json")
    assert outcome.code == 2 and "--transform" in outcome.err + outcome.out
    outcome = unetr("check", frames, "--transform", "qform", "--json")
    assert outcome.code == 0
    codes = [problem["code"] for problem in json.loads(outcome.out)["problems"]]
    assert codes.count("as_read") == 10 and "label_turned" not in codes  # five images and five labels
    assert unetr("plan", frames, "-o", tmp_path / "plan").code == 2
    assert unetr("plan", frames, "-o", tmp_path / "plan", "--transform", "qform", "--preset", "tiny").code == 0
    plan = tmp_path / "plan/plan.yaml"
    assert yaml.safe_load(plan.read_text())["transform"] == "qform"
    options = ["--plan", plan, "--steps", "2", "--folds", "5"]
    run = tmp_path / "run"
    refused = unetr("train", frames, "-o", run, *options, "--transform", "sform")
    assert refused.code == 2 and "transform sform: the plan has transform qform" in refused.err
    assert unetr("train", frames, "-o", run, *options).code == 0
    again = unetr("train", frames, "-o", run, *options)
    assert again.code == 0, again
    assert read_plan(run / "plan.yaml").transform == "qform"
    case = next(iter(sorted((frames / "images").iterdir())))
    out = tmp_path / "out.nii.gz"
    assert unetr("predict", run / "model.safetensors", case, "-o", out).code == 0
    assert np.allclose(nibabel.load(out).affine, nibabel.load(case).get_qform())
    label = frames / "labels" / case.name
    assert unetr("evaluate", out, label, "-o", tmp_path / "scores").code == 2
    for how in (["--transform", "qform"], ["--plan", plan]):
        assert unetr("evaluate", out, label, "-o", tmp_path / "scores", *how).code == 0
    assert unetr("evaluate", out, label, "-o", tmp_path / "scores", "--transform", "sform").code == 2


def test_train_without_a_plan(unetr: Command, frames: Path, tmp_path: Path) -> None:
    options = ["--preset", "tiny", "--steps", "2", "--transform", "sform"]
    assert unetr("train", frames, "-o", tmp_path / "run", *options).code == 0
    assert read_plan(tmp_path / "run/plan.yaml").transform == "sform"
    assert unetr("train", frames, "-o", tmp_path / "run", *options[:-2]).code == 0


def test_pretrain(unetr: Command, frames: Path, tmp_path: Path) -> None:
    options = ["-o", tmp_path / "run", "--preset", "tiny", "--steps", "2"]
    assert unetr("pretrain", frames / "images", *options).code == 2
    assert unetr("pretrain", frames / "images", *options, "--transform", "qform").code == 0
    assert read_plan(tmp_path / "run/plan.yaml").transform == "qform"

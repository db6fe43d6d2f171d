"""Labels stored in other orientations than their images: the same training, the same scores, and a note."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest

from unetr.evaluation.results import read_results
from unetr.prepare.checks.check import check_dataset
from unetr.prepare.datasets.cases import open_dataset, read_case

pytestmark = pytest.mark.fault("lossless turn of a label")


def _turn(path: Path, code: str) -> None:
    image = nibabel.load(path)
    assert "".join(nibabel.aff2axcodes(image.affine)) != code
    own = nibabel.orientations.io_orientation(image.affine)
    turn = nibabel.orientations.ornt_transform(own, nibabel.orientations.axcodes2ornt(code))
    nibabel.save(image.as_reoriented(turn), path)


@pytest.fixture
def straight_and_turned(tmp_path: Path, datasets: ModuleType) -> tuple[Path, Path]:
    straight: Path = datasets.write_dataset("folders", tmp_path / "straight", 5, 1, "balls")
    turned = tmp_path / "turned"
    shutil.copytree(straight, turned)
    for path, code in zip(
        sorted((turned / "labels").glob("*.nii.gz")), ["LIA", "PIR", "RPI", "SAR", "ILA"], strict=True
    ):
        _turn(path, code)
    return straight, turned


def test_cases_are_the_same(straight_and_turned: tuple[Path, Path]) -> None:
    straight, turned = (open_dataset(path) for path in straight_and_turned)
    before = {path: path.read_bytes() for path in straight_and_turned[1].rglob("*.nii.gz")}
    for one, other in zip(straight.cases, turned.cases, strict=True):
        (image, label), (same_image, same_label) = read_case(one, straight), read_case(other, turned)
        assert label is not None and same_label is not None
        assert np.array_equal(image.data, same_image.data)
        assert np.array_equal(label.data, same_label.data) and np.array_equal(same_label.affine, image.affine)
    codes = [problem.code for problem in check_dataset(turned).problems]
    assert codes.count("label_turned") == 5 and not check_dataset(turned).errors
    assert before == {path: path.read_bytes() for path in before}


def test_training_is_the_same_and_says_it(straight_and_turned: tuple[Path, Path], unetr: Any, tmp_path: Path) -> None:
    said, scores = [], []
    for name, data in zip(("a", "b"), straight_and_turned, strict=True):
        run = tmp_path / name
        done = unetr("train", data, "-o", run, "--preset", "tiny", "--steps", "2")
        assert done.code == 0, done
        said.append(done.err)
        scores.append(
            [(s.case, s.label, s.tp, s.fp, s.fn) for s in read_results(run / "validation/results.json").scores]
        )
    assert "turned to their images" not in said[0]
    assert "5 of 5 labels are turned to their images" in said[1]
    assert scores[0] == scores[1]

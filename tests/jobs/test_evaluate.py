"""unetr.evaluate: what a program gets, in which folder files appear, and how it is stopped."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

import unetr
from unetr.core.observer import Observer
from unetr.errors import InputError, StoppedError
from unetr.jobs.evaluate import EvaluateRequest, score_files, seems_unlabelled


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases of random labels 0, 1 and 255, the last in the truth only; case c has no prediction."""
    rng = np.random.default_rng(7)
    for case in "abc":
        for folder, values in (("predictions", [0, 1]), ("labels", [0, 1, 255])):
            if (folder, case) != ("predictions", "c"):
                path = tmp_path / folder / f"{case}.nii.gz"
                path.parent.mkdir(exist_ok=True)
                data = rng.choice(values, (6, 7, 8)).astype(np.uint8)
                nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), path)
    return tmp_path / "predictions", tmp_path / "labels"


def by_hand(prediction: Path, truth: Path, *, without: int) -> float:
    """Dice of label 1 over the voxels whose truth is another value than `without`."""
    found, true = (np.asarray(nibabel.load(path).dataobj) for path in (prediction, truth))
    found, true = found[true != without] == 1, true[true != without] == 1
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def test_scores_as_by_hand_and_no_files(folders: tuple[Path, Path]) -> None:
    predictions, labels = folders
    results = unetr.evaluate(predictions, str(labels), ignore_label=255)
    dice = {score.case: score.dice for score in results.scores}
    for case in "ab":
        name = f"{case}.nii.gz"
        assert dice[case] == pytest.approx(by_hand(predictions / name, labels / name, without=255))
    assert dice["c"] == 0 and results.missing == ("c",)
    assert {path.name for path in predictions.parent.rglob("*") if path.is_file()} == {f"{c}.nii.gz" for c in "abc"}


def test_out_is_where_the_scores_go_and_an_edited_file_is_a_persons(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "scores"
    results = unetr.evaluate(*folders, out=out)
    assert json.loads((out / "results.json").read_text())["mean_dice"] == pytest.approx(results.mean_dice)
    (out / "results.csv").write_text("mine")
    with pytest.raises(InputError, match=r"results\.csv"):
        unetr.evaluate(*folders, out=out)
    assert (out / "results.csv").read_text() == "mine"
    unetr.evaluate(*folders, out=out, overwrite=True)
    assert (out / "results.csv").read_text().startswith("case,")


def test_what_nobody_labelled_is_guessed_from_the_scores_alone(folders: tuple[Path, Path]) -> None:
    request = EvaluateRequest(*folders, only_predicted=True)
    results = score_files(request, Observer())
    assert results.cases == ("a", "b") and results.missing == ()
    assert seems_unlabelled(results) == 255
    assert seems_unlabelled(unetr.evaluate(*folders, ignore_label=255)) is None


def test_an_observer_hears_each_case_and_may_stop(folders: tuple[Path, Path], tmp_path: Path) -> None:
    class Impatient(Observer):
        heard: list[tuple[str, int, int | None]]

        def __init__(self) -> None:
            self.heard = []

        def on_stage(self, name: str, done: int, of: int | None) -> None:
            self.heard.append((name, done, of))

        def should_stop(self) -> bool:
            return len(self.heard) == 2

    observer = Impatient()
    with pytest.raises(StoppedError, match="evaluating"):
        unetr.evaluate(*folders, out=tmp_path / "scores", observer=observer)
    assert observer.heard == [("evaluating", 1, 3), ("evaluating", 2, 3)]
    assert not (tmp_path / "scores").exists()

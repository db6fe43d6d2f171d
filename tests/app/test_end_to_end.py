"""The whole path on small data: plan, train, predict, evaluate, report, resume, convert, demonstrate."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from tests.systems import POSIX

import unetr as package
from unetr.core.plan.file import read_plan
from unetr.io import FORMATS

Command = Callable[..., Any]


def voxels(path: Path) -> np.ndarray:
    return np.asanyarray(nibabel.load(path).dataobj)


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def dice(prediction: np.ndarray, truth: np.ndarray, value: int) -> float:
    a, b = prediction == value, truth == value
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


# ---------------------------------------------------------------------------------------------------------------------
# The run


def test_a_run_holds_what_it_should(finished_run: Path) -> None:
    files = contents(finished_run)
    expected = {
        "plan.yaml", "settings.json", "fingerprint.json", "log.csv", "timing.csv", "validation.csv",
        "model.safetensors", "best.safetensors", "validation/results.json", "validation/results.csv",
        "checkpoints/step-00000020.safetensors", "checkpoints/step-00000024.safetensors",
    }  # fmt: skip
    assert expected <= files.keys()
    assert any("tfevents" in name for name in files)
    assert not any(".unetr-" in name for name in files)
    cases = json.loads(files["settings.json"])["validation_cases"]
    assert cases and {f"validation/{case}.nii.gz" for case in cases} <= files.keys()
    rows = list(csv.DictReader(files["log.csv"].decode().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, 25))
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())


def test_the_edited_plan_is_what_was_trained(finished_run: Path, edited_plan: Path) -> None:
    assert read_plan(finished_run / "plan.yaml") == read_plan(edited_plan)
    model = json.loads(json.dumps(package.load(finished_run / "model.safetensors").plan.model_dump(mode="json")))
    assert model == yaml.safe_load((finished_run / "plan.yaml").read_text())


def test_training_again_resumes_at_once_and_changes_nothing(
    unetr: Command, run: Path, dataset: Path, train_options: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run)
    monkeypatch.setattr("unetr.train.loop.training_step", None)  # a step would fail
    outcome = unetr("train", dataset, "-o", run, *train_options, "--json")
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out)["model"] == str(run / "model.safetensors")
    assert contents(run) == before


def test_another_run_with_the_same_options_is_the_same(
    unetr: Command, finished_run: Path, dataset: Path, train_options: list[object], tmp_path: Path
) -> None:
    assert unetr("train", dataset, "-o", tmp_path / "again", *train_options).code == 0
    for name in ("model.safetensors", "best.safetensors", "log.csv", "validation.csv", "plan.yaml"):
        assert (tmp_path / "again" / name).read_bytes() == (finished_run / name).read_bytes(), name


# ---------------------------------------------------------------------------------------------------------------------
# Predict


@pytest.fixture(scope="module")
def predicted(
    tmp_path_factory: pytest.TempPathFactory, unetr: Command, finished_run: Path, sound_scan: Path
) -> tuple[Path, str]:
    """The folder with everything that predict writes for one scan, and what it printed."""
    folder = tmp_path_factory.mktemp("predicted")
    extras = ["--tta", "--probabilities", "--preview", "--stats", folder / "stats.csv", "--precision", "fp32"]
    outcome = unetr("predict", finished_run / "model.safetensors", sound_scan, "-o", folder / "label.nii.gz", *extras)
    assert outcome.code == 0, outcome
    return folder, outcome.out


def test_the_label_is_on_the_scans_own_grid_with_names(predicted: tuple[Path, str], sound_scan: Path) -> None:
    folder, _ = predicted
    names = [".unetr_outputs", "label.nii.gz", "label.png", "label_probabilities.nii.gz", "stats.csv"]
    assert sorted(contents(folder)) == names
    scan, label = nibabel.load(sound_scan), nibabel.load(folder / "label.nii.gz")
    assert label.shape == scan.shape
    assert label.get_data_dtype() == np.uint8
    for form in ("get_sform", "get_qform"):
        (theirs, their_code), (ours, our_code) = (getattr(image, form)(coded=True) for image in (scan, label))
        assert our_code == their_code
        assert np.allclose(ours, theirs, atol=1e-5)
    assert set(np.unique(voxels(folder / "label.nii.gz"))) <= {0, 1, 2}
    (extension,) = label.header.extensions
    names = json.loads(extension.get_content().rstrip(b"\0").decode())
    assert names == {"unetr_label_names": {"1": "ball", "2": "shell"}}


def test_probabilities_sum_to_one_and_decide_the_label(predicted: tuple[Path, str]) -> None:
    folder, _ = predicted
    scores = voxels(folder / "label_probabilities.nii.gz")
    assert scores.shape == (20, 24, 18, 3) and scores.dtype == np.float32
    assert scores.min() >= 0
    assert np.abs(scores.sum(axis=3) - 1).max() < 1e-5
    assert np.array_equal(scores.argmax(axis=3), voxels(folder / "label.nii.gz"))


def test_stats_are_counted_voxels(predicted: tuple[Path, str]) -> None:
    folder, printed = predicted
    label = nibabel.load(folder / "label.nii.gz")
    voxel_ml = abs(np.linalg.det(label.affine[:3, :3])) / 1000
    rows = list(csv.DictReader((folder / "stats.csv").read_text().splitlines()))
    assert [(row["case"], row["label"]) for row in rows] == [("scan", "ball"), ("scan", "shell")]
    for value, row in enumerate(rows, start=1):
        expected = np.count_nonzero(voxels(folder / "label.nii.gz") == value) * voxel_ml
        assert float(row["volume_ml"]) == pytest.approx(expected, rel=1e-4)
        assert f"{expected:.3f}" in printed


def test_the_preview_is_a_picture(predicted: tuple[Path, str]) -> None:
    folder, _ = predicted
    from matplotlib.image import imread

    picture = imread(folder / "label.png")
    assert min(picture.shape[:2]) >= 100 and picture.std() > 0.02


def test_python_gives_what_the_command_gives(
    predicted: tuple[Path, str], finished_run: Path, sound_scan: Path, tmp_path: Path
) -> None:
    folder, _ = predicted
    segmenter = package.load(finished_run / "model.safetensors", precision="fp32")
    prediction = segmenter.predict(sound_scan, tta=True)
    assert np.array_equal(prediction.labels.data[0], voxels(folder / "label.nii.gz"))
    for suffix in FORMATS:
        saved = prediction.save(tmp_path / f"label{suffix}")
        assert np.array_equal(package.read_volume(saved).data, prediction.labels.data)
    assert (tmp_path / "label.nii.gz").read_bytes() == (folder / "label.nii.gz").read_bytes()
    volume = package.read_volume(sound_scan)
    assert np.array_equal(segmenter.predict(volume, tta=True).labels.data, prediction.labels.data)
    with pytest.raises(ValueError, match="NaN"):
        broken = volume.data.astype(np.float32)
        broken[0, 3, 3, 3] = np.nan
        _raise_as_value_error(lambda: segmenter.predict(volume.with_data(broken)))


def _raise_as_value_error(call: Callable[[], object]) -> None:
    from unetr.errors import InputError

    try:
        call()
    except InputError as error:
        raise ValueError(str(error)) from error


def test_a_folder_with_every_format(unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path) -> None:
    scan = package.read_volume(sound_scan)
    for suffix in FORMATS:
        package.write_volume(tmp_path / "in" / f"as{suffix.replace('.', '_')}{suffix}", scan)
    outcome = unetr("predict", tiny_model, tmp_path / "in", "-o", tmp_path / "out", "--preview")
    assert outcome.code == 0, outcome
    written = {path.name for path in (tmp_path / "out").iterdir()} - {"report.json", ".unetr_outputs"}
    scans = {path.name for path in (tmp_path / "in").iterdir()}
    assert scans <= written and len(written) == 2 * len(scans)
    labels = [package.read_volume(tmp_path / "out" / name).data for name in scans]
    assert all(np.array_equal(label, labels[0]) for label in labels) and len(np.unique(labels[0])) > 1


# ---------------------------------------------------------------------------------------------------------------------
# Evaluate and report


def test_evaluate_agrees_with_the_run_and_with_counting(
    unetr: Command, finished_run: Path, dataset: Path, tmp_path: Path
) -> None:
    plan = ["--plan", finished_run / "plan.yaml"]
    options = [*plan, "--only-predicted", "--per-case", "-o", tmp_path]
    outcome = unetr("evaluate", finished_run / "validation", dataset / "labels", *options)
    assert outcome.code == 0, outcome
    ours = (tmp_path / "results.json").read_bytes()
    assert ours == (finished_run / "validation/results.json").read_bytes()
    for score in json.loads(ours)["scores"]:
        name, value = f"{score['case']}.nii.gz", {"ball": 1, "shell": 2}[score["label"]]
        expected = dice(voxels(finished_run / "validation" / name), voxels(dataset / "labels" / name), value)
        assert score["dice"] == pytest.approx(expected, abs=1e-12)
        assert f"{expected:.3f}" in outcome.out
    missing = unetr("evaluate", finished_run / "validation", dataset / "labels", *plan, "-o", tmp_path)
    assert missing.err.count("counted as empty") == 4


def test_report_shows_the_classes_and_the_worst_cases(unetr: Command, run: Path) -> None:
    outcome = unetr("report", run)
    assert outcome.code == 0 and str(run / "report.html") in outcome.err
    page = (run / "report.html").read_text()
    assert "ball" in page and "shell" in page and "data:image/png;base64," in page
    cases = json.loads((run / "settings.json").read_text())["validation_cases"]
    assert all(case in page and (run / f"validation/{case}.png").exists() for case in cases)


def test_report_without_the_data(unetr: Command, run: Path) -> None:
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(settings | {"dataset": "/gone/away"}))
    outcome = unetr("report", run)
    assert outcome.code == 0 and "without pictures" in outcome.err and "/gone/away" in outcome.err
    assert "ball" in (run / "report.html").read_text()


def test_report_on_an_unfinished_run(unetr: Command, run: Path) -> None:
    for name in ("model.safetensors", "validation/results.json", "validation.csv", "log.csv", "timing.csv"):
        (run / name).unlink()
        assert unetr("report", run).code == 0, name


# ---------------------------------------------------------------------------------------------------------------------
# Killed and resumed


@pytest.fixture
def started(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """started(arguments, log, rows) is a training in a process of its own, so many rows of its log later."""
    processes = []

    def start(arguments: list[str], log: Path, rows: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        while process.poll() is None and (not log.exists() or log.read_text().count("\n") <= rows):
            time.sleep(0.002)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@POSIX
def test_stopped_by_sigterm_then_killed_then_resumed_is_the_run_that_was_left_alone(
    unetr: Command,
    finished_run: Path,
    dataset: Path,
    train_options: list[object],
    started: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    options = [str(option) for option in train_options]
    arguments = [sys.executable, "-m", "unetr", "train", str(dataset), "-o", str(folder), *options]
    first = started(arguments, folder / "log.csv", random.Random(time.time_ns()).randint(1, 7))
    first.send_signal(signal.SIGTERM)
    said = first.communicate()[1]
    assert first.returncode == 143, said
    *each, last = said.splitlines()
    assert last.startswith(f"unetr: {folder}: stopped after step ")
    assert [line for line in each if not line.startswith("step ")] == []  # no library announces itself
    stopped_at = int(sorted((folder / "checkpoints").iterdir())[-1].stem.removeprefix("step-"))
    assert 1 <= stopped_at < 24

    kill_after = random.Random(time.time_ns()).randint(stopped_at + 1, 20)
    second = started(arguments, folder / "log.csv", kill_after)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    assert second.returncode == -signal.SIGKILL
    assert not (folder / "model.safetensors").exists()

    outcome = unetr("train", dataset, "-o", folder, *train_options)
    assert outcome.code == 0, outcome
    same = ["model.safetensors", "best.safetensors", "log.csv", "validation.csv", "validation/results.json"]
    same += [f"checkpoints/{path.name}" for path in (finished_run / "checkpoints").iterdir()]
    for name in same:
        assert (folder / name).read_bytes() == (finished_run / name).read_bytes(), (name, stopped_at, kill_after)

"""A second process is refused in one line, before it writes anything; reading stays possible."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unetr.core.files.lock import locked, locked_files
from unetr.jobs.training.fit import fit_run
from unetr.jobs.training.request import TrainingOptions
from unetr.prepare.datasets.cases import open_dataset
from unetr.train.observer import TrainingObserver
from unetr.train.run.folder import Run

pytestmark = pytest.mark.fault("two processes")

Unetr = Callable[..., Any]
COMMANDS = {
    "train": ("train", "DATA", "--preset", "tiny", "--steps", "2"),
    "all folds": ("train", "DATA", "--preset", "tiny", "--steps", "2", "--folds", "all:2"),
    "pretrain": ("pretrain", "DATA", "--preset", "tiny", "--steps", "2"),
    "compare": ("compare", "DATA", "--networks", "tiny", "--minutes", "0.1"),
    "recipe": ("recipe", "btcv", "DATA"),
    "demo": ("demo",),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_second_process_in_a_folder_is_refused(
    unetr: Unetr, make_dataset: Callable[..., Path], tmp_path: Path, command: str
) -> None:
    data, out = make_dataset(), tmp_path / "out"
    with locked(out):
        found = unetr(*[data if word == "DATA" else word for word in COMMANDS[command]], "-o", out)
        assert found.code == 2 and found.err.count("\n") <= 2
        assert f"{out}: is being written by another process (process {os.getpid()} on" in found.err
        assert [path.name for path in out.iterdir()] == [".unetr-lock"]
    assert not out.exists()


@pytest.mark.parametrize("held", ["folder", "result", "report", "stats"])
def test_second_prediction_is_refused(
    unetr: Unetr, tiny_model: Path, sound_scan: Path, tmp_path: Path, held: str
) -> None:
    out = tmp_path / "out"
    paths = {"result": out / "scan.nii.gz", "report": tmp_path / "r.json", "stats": tmp_path / "s.csv"}
    extras = ("--report", paths["report"], "--stats", paths["stats"])
    with locked(out) if held == "folder" else locked_files([paths[held]]):
        found = unetr("predict", tiny_model, sound_scan, "-o", paths["result"], *extras)
        assert found.code == 2 and found.err.count("\n") == 1 and "is being written by another" in found.err
        if held in ("folder", "report"):
            found = unetr("predict", tiny_model, sound_scan.parent, "-o", out, *extras)
            assert found.code == 2 and "is being written by another" in found.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    with locked_files([out / "other.nii.gz"]):  # single scans may be predicted side by side
        assert unetr("predict", tiny_model, sound_scan, "-o", paths["result"], *extras).code == 0


def test_run_in_training_can_be_read(unetr: Unetr, make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data, run = make_dataset(), Run(tmp_path / "run")
    fit_run(open_dataset(data), run, TrainingOptions(preset="tiny", steps=2, folds=2), TrainingObserver())
    with locked(run.folder):
        assert unetr("report", run.folder).code == 0
        assert unetr("ablate", run.folder).code == 0
        assert unetr("evaluate", run.predictions, data / "labelsTr", "--only-predicted", "-o", tmp_path / "e").code == 0
    os.utime(data / "labelsTr/case_00.nii.gz")
    for label in (data / "labelsTr").iterdir():
        content = bytearray(label.read_bytes())
        content[4] ^= 1
        label.write_bytes(content)
    found = unetr("report", run.folder)
    assert found.code == 0 and found.err.count("its scan or label changed since it was scored") == 3

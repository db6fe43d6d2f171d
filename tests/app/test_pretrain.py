"""unetr pretrain end to end: scans in, a model file out that starts a training and predicts nothing."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unetr.core.plan.file import read_plan
from unetr.model.file.model_file import read_model

Command = Callable[..., Any]
Refused = Callable[..., None]
STEPS = 6


@pytest.fixture(scope="module")
def options(edited_plan: Path) -> list[object]:
    return ["--plan", edited_plan, "--steps", STEPS, "--checkpoint-steps", 4]


@pytest.fixture(scope="module")
def pretrained(
    tmp_path_factory: pytest.TempPathFactory, unetr: Command, dataset: Path, options: list[object]
) -> tuple[Path, str]:
    """The folder of a pretraining on the dataset's images, and what it printed. Not to be written to."""
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    outcome = unetr("pretrain", dataset / "images", "-o", folder, *options, "--json")
    assert outcome.code == 0, outcome
    return folder, outcome.out


def test_the_run(pretrained: tuple[Path, str], edited_plan: Path) -> None:
    folder, printed = pretrained
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    facts = json.loads(printed)
    assert facts == {
        "model": str(folder / "model.safetensors"),
        "steps": STEPS,
        "first_loss": pytest.approx(float(rows[0]["loss"])),
        "last_loss": pytest.approx(float(rows[-1]["loss"])),
    }
    model, given = read_model(folder / "model.safetensors"), read_plan(edited_plan)
    assert model.plan == read_plan(folder / "plan.yaml")
    assert (model.plan.network, model.plan.window) == (given.network, given.window)
    assert model.plan.pretraining is not None and given.pretraining is None
    assert not (folder / "best.safetensors").exists() and not (folder / "validation").exists()
    assert model.weights["decoder.head.weight"].shape[0] == 1
    assert any("tfevents" in path.name for path in (folder / "tensorboard").iterdir())


def test_training_starts_from_it(
    pretrained: tuple[Path, str], unetr: Command, dataset: Path, edited_plan: Path, tmp_path: Path
) -> None:
    model = pretrained[0] / "model.safetensors"
    asked = ["--from", model, "--plan", edited_plan, "--steps", 2]
    outcome = unetr("train", dataset, "-o", tmp_path / "run", *asked)
    assert outcome.code == 0, outcome
    lines = outcome.err.splitlines()
    count = len(read_model(model).weights) - 2
    assert f"{count} weights taken from the model as they are, and:" in lines
    table = [line.split(":")[0].strip() for line in lines if line.startswith("  ")]
    assert table == ["decoder.head.weight", "decoder.head.bias"]
    assert all("fresh, the model's predicts hidden voxels" in line for line in lines if line.startswith("  "))
    assert read_model(tmp_path / "run" / "model.safetensors").metrics["cases"] == 2


def test_it_segments_nothing(
    pretrained: tuple[Path, str], unetr: Command, assert_refused: Refused, sound_scan: Path, tmp_path: Path
) -> None:
    model = pretrained[0] / "model.safetensors"
    words = (model, "is pretrained only", f"--from {model}")
    assert_refused(unetr("predict", model, sound_scan, "-o", tmp_path / "out.nii.gz"), 2, *words)
    assert_refused(unetr("predict", pretrained[0], sound_scan, "-o", tmp_path / "out.nii.gz"), 2, *words)
    assert_refused(unetr("export", model, "--to", "onnx", "-o", tmp_path / "model.onnx"), 2, *words)
    assert list(tmp_path.iterdir()) == []
    assert json.loads(unetr("info", model, "--json").out)["pretraining"]["masked_fraction"] == 0.6


def test_stopped_by_sigterm_and_resumed_is_the_run_that_was_left_alone(
    pretrained: tuple[Path, str],
    unetr: Command,
    assert_refused: Refused,
    dataset: Path,
    options: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from unetr.train import loop

    step = loop.training_step

    def signalled(*arguments: Any) -> Any:
        if arguments[0].state.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return step(*arguments)

    command = ("pretrain", dataset / "images", "-o", tmp_path / "run", *options)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "training_step", signalled)
        assert_refused(unetr(*command), 143, "stopped after step 3; start it again")
    assert unetr(*command).code == 0
    for name in ("model.safetensors", "log.csv", "plan.yaml", f"checkpoints/step-{STEPS:08d}.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (pretrained[0] / name).read_bytes(), name


def test_folders_of_other_runs_are_left_alone(
    pretrained: tuple[Path, str],
    finished_run: Path,
    unetr: Command,
    assert_refused: Refused,
    dataset: Path,
    options: list[object],
    edited_plan: Path,
) -> None:
    folder = pretrained[0]
    kept = {path: path.read_bytes() for path in (folder / "plan.yaml", folder / "settings.json")}
    other = [option if option != STEPS else STEPS + 1 for option in options]
    outcome = unetr("pretrain", dataset / "images", "-o", folder, *other)
    assert_refused(outcome, 2, folder, "other settings: steps")
    assert_refused(unetr("pretrain", dataset, "-o", finished_run, *options), 2, finished_run, "other data")
    asked = ["--plan", edited_plan, "--steps", STEPS, "--fold", "all-data"]
    assert_refused(unetr("train", dataset, "-o", folder, *asked), 2, folder, "other data")
    assert {path: path.read_bytes() for path in kept} == kept


def test_wrong_input(
    pretrained: tuple[Path, str],
    unetr: Command,
    assert_refused: Refused,
    dataset: Path,
    options: list[object],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    scans = tmp_path / "scans"
    shutil.copytree(dataset / "images", scans)
    pretrain = ["pretrain", scans, "-o", out]
    assert_refused(unetr(*pretrain, "--minutes", 1, "--steps", 2), 2, "--minutes and --steps")
    assert_refused(unetr(*pretrain, *options, "--channels", "a,"), 2, "--channels a,")
    assert_refused(unetr(*pretrain, *options, "--channels", "a,b"), 2, "expected 2 channels")
    assert_refused(unetr(*pretrain, "--preset", "huge", "--steps", 1), 2, "'huge'")
    plan = pretrained[0] / "plan.yaml"
    assert_refused(unetr("train", dataset, "-o", out, "--plan", plan, "--steps", 1), 2, "plan", "labels")
    broken = sorted(scans.iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:-20])
    assert_refused(unetr(*pretrain, *options), 2, broken)
    assert not out.exists()


def test_a_report_of_it(pretrained: tuple[Path, str], unetr: Command, tmp_path: Path) -> None:
    shutil.copytree(pretrained[0], tmp_path / "run")
    assert unetr("report", tmp_path / "run").code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "pretraining.masked_fraction" in page and ">nan<" not in page.lower()

"""`unetr.fit` and `unetr.pretrain`: what they return, leave behind, tell, and how they are stopped and gone on with."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.train.listener import Listener

import unetr
from unetr.core.plan.file import read_plan, write_plan
from unetr.core.plan.schema import Plan
from unetr.errors import InputError, StoppedError
from unetr.evaluation.results import read_results

pytestmark = pytest.mark.usefixtures("one_thread")

PlanWith = Callable[..., Plan]


def test_one_fold_stopped_and_gone_on_with_is_the_training_left_alone(
    data: Path, tmp_path: Path, plan_with: PlanWith
) -> None:
    file = tmp_path / "plan.yaml"
    write_plan(file, plan_with())
    alone = unetr.fit(data, tmp_path / "alone", plan=plan_with(), steps=4, folds=2)
    steps: list[int] = []
    hear = {"on_step": lambda report: steps.append(report.step)}
    stopping = Listener(**hear, should_stop=lambda: steps == [1, 2])
    with pytest.raises(StoppedError, match="stopped after step 2; start it again to go on"):
        unetr.fit(str(data), str(tmp_path / "parts"), plan=str(file), steps=4, folds=2, observer=stopping)
    parts = unetr.fit(data, tmp_path / "parts", plan=file, steps=4, folds=2, observer=Listener(**hear))
    assert steps == [1, 2, 3, 4]
    assert alone.model == tmp_path / "alone/model.safetensors" and alone.model.read_bytes() == parts.model.read_bytes()
    assert alone.results == parts.results == read_results(tmp_path / "alone/validation/results.json")
    assert alone.results is not None and len(alone.results.cases) == 2


def test_every_fold_is_an_ensemble_scored_on_all_cases(data: Path, tmp_path: Path, plan_with: PlanWith) -> None:
    folds: list[tuple[int, int]] = []
    listener = Listener(on_fold=lambda fold, of: folds.append((fold, of)))
    outcome = unetr.fit(data, tmp_path / "all", plan=plan_with(), steps=2, fold="every", folds=2, observer=listener)
    assert folds == [(0, 2), (1, 2)]
    assert outcome.model == tmp_path / "all" and outcome.results is not None
    assert sorted(outcome.results.cases) == [f"case{index}" for index in range(4)]
    found = unetr.load(outcome.model).predict(data / "images/case0.nii.gz")
    assert found.volumes_ml.keys() >= {"ball", "shell"}
    with pytest.raises(InputError, match="holds a run of one fold"):
        unetr.fit(data, tmp_path / "all/fold0", plan=plan_with(), steps=2, fold="every", folds=2)


def test_plan_of_every_fold_is_not_written_over(data: Path, tmp_path: Path, plan_with: PlanWith) -> None:
    file = tmp_path / "all/plan.yaml"
    file.parent.mkdir()
    write_plan(file, plan_with())
    before = file.read_bytes()
    with pytest.raises(InputError, match="the plan itself"):
        unetr.fit(data, tmp_path / "all", plan=file, steps=2, fold="every", folds=2)
    assert [path.name for path in file.parent.iterdir()] == ["plan.yaml"] and file.read_bytes() == before


def test_all_cases_train_and_nothing_is_scored(data: Path, tmp_path: Path, plan_with: PlanWith) -> None:
    outcome = unetr.fit(data, tmp_path / "run", plan=plan_with(), steps=2, fold=None)
    assert outcome.results is None and outcome.model.exists()


def test_pretrained_weights_are_started_from(data: Path, tmp_path: Path, plan_with: PlanWith) -> None:
    pretrained = unetr.pretrain(data / "images", tmp_path / "pre", plan=plan_with(), channels=["MRI"], steps=3)
    assert pretrained.steps == 3 and pretrained.first_loss > 0 and pretrained.last_loss > 0
    said = io.StringIO()
    progress = unetr.PrintProgress(said, every_seconds=0)
    outcome = unetr.fit(
        data, tmp_path / "run", start=pretrained.model, plan=plan_with(), steps=2, folds=2, observer=progress
    )
    assert read_plan(tmp_path / "run/plan.yaml").network == plan_with().network
    lines = said.getvalue().splitlines()
    assert any(line.startswith("checking: 4 of 4") for line in lines)
    assert any("taken from the model as they are" in line for line in lines)
    assert [line[:11] for line in lines if line.startswith("step ") and "loss" in line] == [
        "step 1 of 2",
        "step 2 of 2",
    ]
    assert lines[-1] == "validating: 2 of 2" and outcome.results is not None


def test_without_a_length_it_is_refused_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give either steps or minutes"):
        unetr.fit(data, tmp_path / "run", preset="tiny")
    assert not (tmp_path / "run").exists()


def test_progress_is_printed_now_and_then_and_at_the_end() -> None:
    said = io.StringIO()
    progress = unetr.PrintProgress(said, every_seconds=3600)
    for done in range(1, 6):
        progress.on_stage("measuring", done, 5)
        progress.on_windows(done, 5)
    progress.on_note("a name\x1b[2J that clears the screen")
    assert said.getvalue().splitlines() == [
        "measuring: 1 of 5",
        "1 of 5 windows",
        "measuring: 5 of 5",
        "5 of 5 windows",
        "a name\\x1b[2J that clears the screen",
    ]

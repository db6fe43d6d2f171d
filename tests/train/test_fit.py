"""What `fit` refuses before it spends any time on training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unetr.core.observer import Observer
from unetr.core.plan.schema import LossPlan, Plan, TrainingPlan
from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.io import write_volume
from unetr.jobs.training.prepare_run import plan_for, prepare_run
from unetr.jobs.training.request import TrainingOptions
from unetr.prepare.datasets.cases import Dataset, open_dataset
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.presets import PRESETS
from unetr.train.run.folder import Run
from unetr.train.run.settings import read_settings

PlanWith = Callable[..., Plan]
LABELS = {"background": 0, "ball": 1, "shell": 2}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "data"
    rng = np.random.default_rng(0)
    for index in range(6):
        data = rng.integers(0, 3, size=(1, 16, 12, 10)).astype(np.uint8)
        write_volume(folder / "labels" / f"case{index}.nii.gz", Volume(data, np.eye(4)))
        image = (data + rng.normal(0, 0.2, data.shape)).astype(np.float32)
        write_volume(folder / "images" / f"case{index}.nii.gz", Volume(image, np.eye(4)))
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return open_dataset(folder)


def prepare(dataset: Dataset, folder: Path, **asked: object) -> tuple[Plan, object]:
    return prepare_run(dataset, Run(folder), TrainingOptions(**asked), Observer())  # type: ignore[arg-type]


def test_a_new_run_has_its_folds_and_budget_written_down(dataset: Dataset, tmp_path: Path) -> None:
    plan, settings = prepare(dataset, tmp_path / "run", preset="tiny", fold=1, folds=3, steps=7)
    kept = read_settings(Run(tmp_path / "run"))
    assert kept == settings
    assert (kept.fold, kept.steps, kept.schedule_steps, kept.minutes) == (1, 7, 7, None)
    assert sorted(kept.training_cases + kept.validation_cases) == [f"case{index}" for index in range(6)]
    assert len(kept.validation_cases) == 2
    assert plan.network.preset == "tiny"


def test_all_data_keeps_no_case_back(dataset: Dataset, tmp_path: Path) -> None:
    _, settings = prepare(dataset, tmp_path / "run", preset="tiny", fold=None, steps=7)
    assert settings.validation_cases == ()
    assert len(settings.training_cases) == 6


@pytest.mark.parametrize(("steps", "preset"), [(4999, "small"), (5001, "medium")])
def test_auto_takes_the_wider_network_where_its_minutes_are_enough(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, steps: int, preset: str
) -> None:
    """Windows of 16^3 voxels, a minute, a machine on which `medium` is four times slower."""
    timed = []

    def speed(plan: Plan, seed: int) -> float:
        timed.append(plan.network.preset)
        assert plan.window == (16, 16, 16)
        return steps * 16**3 / 60 / (4 if plan.network.preset == "medium" else 1)

    monkeypatch.setattr("unetr.jobs.training.prepare_run.training_voxels_per_second", speed)
    fingerprint = measure_fingerprint(dataset)
    plan = plan_for(dataset, fingerprint, TrainingOptions(minutes=1.0))
    assert plan.network == PRESETS[preset].network
    assert f"chosen by auto: in 1 minutes small would take about {steps} steps" in plan.reasons["network"]
    windows = {"small": "8.3e+02", "medium": "2.1e+02"}[preset]  # of each of six cases, at the speed of the one chosen
    assert f"about {windows} windows of each of 6 cases" in plan.reasons["training.augment"]
    assert timed == ["small", "medium"][: 1 + (preset == "medium")]
    asked = plan_for(dataset, fingerprint, TrainingOptions(preset="small", minutes=1.0))
    assert asked.network == PRESETS["small"].network and "auto" not in asked.reasons["network"]


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"steps": 5, "fold": 9}, "fold 9: there are folds 0 to 4"),
        ({}, "either steps or minutes"),
        ({"steps": 5, "minutes": 1.0}, "either steps or minutes"),
        ({"steps": 5, "preset": "gigantic"}, "gigantic"),
    ],
)
def test_impossible_requests(dataset: Dataset, tmp_path: Path, asked: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        prepare(dataset, tmp_path / "run", **({"preset": "tiny"} | asked))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"labels": {"background": 0, "other": 1, "shell": 2}}, "the plan has"),
        ({"network": {"patch": 6}}, "power of two"),
        ({"network": {"taps": (1, 2)}}, "taps"),
        ({"network": {"decoder": "wishful"}}, "wishful"),
        ({"training": TrainingPlan(loss=LossPlan(name="wishful"))}, "loss 'wishful': is unknown"),
    ],
)
def test_plans_that_do_not_fit(
    dataset: Dataset, tmp_path: Path, plan_with: PlanWith, change: dict[str, object], complaint: str
) -> None:
    plan = plan_with()
    if "network" in change:
        plan = plan.model_copy(update={"network": plan.network.model_copy(update=change["network"])})
    else:
        plan = plan.model_copy(update=change)
    with pytest.raises(InputError, match=complaint):
        prepare(dataset, tmp_path / "run", plan=plan, steps=3)
    assert not (tmp_path / "run").exists()


def test_a_dataset_with_errors_is_refused_with_the_first_of_them(dataset: Dataset, tmp_path: Path) -> None:
    broken = dataset.root / "images" / "case3.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(InputError, match="case3") as error:
        prepare(dataset, tmp_path / "run", preset="tiny", steps=3)
    assert error.value.hint == "check"
    assert not (tmp_path / "run").exists()

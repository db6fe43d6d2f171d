"""The loop: what is resumed continues bit by bit, what is wrong stops it, what was asked for is what is done."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.listener import Listener
from tests.train.state_bits import bits

from unetr.core.plan.schema import Plan, Region, TrainingPlan
from unetr.errors import InputError, StoppedError
from unetr.model.file.model_file import read_model
from unetr.prepare.cache import Cache
from unetr.train.loop import Options, train
from unetr.train.losses import LOSSES, LossTerms, region_targets
from unetr.train.observer import TrainedStep, TrainingObserver
from unetr.train.optimise.schedule import TIMED_TO
from unetr.train.run.checkpoint import averaged_weights, checkpoints
from unetr.train.run.folder import Run
from unetr.train.run.resume import open_run
from unetr.train.run.settings import Settings, read_settings
from unetr.train.validate import Validation, dice_on_grid

PlanWith = Callable[..., Plan]


pytestmark = pytest.mark.usefixtures("one_thread")


def settings(**changes: object) -> Settings:
    fields: dict[str, object] = {
        "dataset": "balls",
        "preset": "test",
        "fold": 0,
        "folds": 5,
        "seed": 3,
        "steps": 12,
        "minutes": None,
        "training_cases": ("large", "mixed"),
        "validation_cases": ("small",),
        "schedule_steps": 12,
    }
    return Settings(**(fields | changes))  # type: ignore[arg-type]


def start(folder: Path, plan: Plan, asked: Settings) -> tuple[Run, Settings]:
    run = Run(folder)
    return run, open_run(run, plan, asked, None)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_stopped_and_resumed_run_is_bit_identical(
    tmp_path: Path, cache: Cache, plan_with: PlanWith, dropout: float
) -> None:
    plan = plan_with()
    plan = plan.model_copy(update={"network": plan.network.model_copy(update={"dropout": dropout})})
    run, asked = start(tmp_path / "whole", plan, settings())
    whole = train(run, cache, plan, asked, TrainingObserver())
    run2, asked = start(tmp_path / "parts", plan, settings())
    reports: list[TrainedStep] = []
    for stop_after in (2, 7):
        observer = Listener(on_step=reports.append, should_stop=lambda at=stop_after: reports[-1].step >= at)
        with pytest.raises(StoppedError):
            train(run2, cache, plan, asked, observer)
    resumed = train(run2, cache, plan, asked, TrainingObserver())
    assert bits(resumed) == bits(whole)
    assert resumed.best_dice == whole.best_dice
    assert run2.log.read_bytes() == run.log.read_bytes()
    assert run2.validation_log.read_bytes() == run.validation_log.read_bytes()
    assert [report.step for report in reports] == list(range(1, 8))


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_without_an_average_the_weights_are_those_of_the_last_step(
    tmp_path: Path, cache: Cache, plan_with: PlanWith, decay: float
) -> None:
    """Averages are taken every fourth step; three steps are made."""
    plan = plan_with()
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"ema_decay": decay})})
    run, asked = start(tmp_path / "run", plan, settings(steps=3, schedule_steps=3, validation_cases=()))
    state = train(run, cache, plan, asked, TrainingObserver())
    averaged, weights = averaged_weights(state), state.network.state_dict()
    assert all(torch.equal(averaged[name], weights[name]) for name in weights) == (decay == 0)


def test_steps_after_the_last_checkpoint_are_done_again(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    """As after SIGKILL: the log is ahead of the checkpoint, its last row is cut short."""
    plan = plan_with()
    run, asked = start(tmp_path / "whole", plan, settings())
    whole = train(run, cache, plan, asked, TrainingObserver(), Options(checkpoint_steps=5))
    expected = run.log.read_bytes()
    checkpoints(run.checkpoints)[-1].unlink() if len(checkpoints(run.checkpoints)) > 1 else None
    with run.log.open("ab") as handle:
        handle.write(b"13,0.5,0.2")
    again = train(run, cache, plan, asked, TrainingObserver(), Options(checkpoint_steps=5))
    assert bits(again) == bits(whole)
    assert run.log.read_bytes() == expected


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with()
    run, asked = start(tmp_path / "run", plan, settings())
    whole = train(run, cache, plan, asked, TrainingObserver(), Options(checkpoint_steps=4))
    newest = checkpoints(run.checkpoints)[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    seen: list[TrainedStep] = []
    again = train(run, cache, plan, asked, Listener(on_step=seen.append), Options(checkpoint_steps=4))
    assert seen[0].step == 9
    assert bits(again) == bits(whole)


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with()
    run, asked = start(tmp_path / "run", plan, settings())
    train(run, cache, plan, asked, TrainingObserver(), Options(checkpoint_steps=2))
    assert [path.name for path in checkpoints(run.checkpoints)] == [
        "step-00000010.safetensors",
        "step-00000012.safetensors",
    ]


def test_the_loss_goes_down_and_the_log_says_so(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with(training=TrainingPlan(batch_size=2, learning_rate=3e-3, warmup_steps=2))
    run, asked = start(tmp_path / "run", plan, settings(steps=60, schedule_steps=60))
    seen: list[Validation] = []
    train(run, cache, plan, asked, Listener(on_validation=seen.append))
    losses = [float(row["loss"]) for row in rows(run.log)]
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    for row in rows(run.log):
        assert float(row["loss"]) == pytest.approx(float(row["dice_loss"]) + float(row["cross_entropy"]), abs=1e-5)
    assert [report.step for report in seen] == [18, 30, 39, 48, 54]
    best = max(seen, key=lambda report: report.mean_dice)
    assert read_model(run.best).metrics["validation"]["mean_dice"] == pytest.approx(best.mean_dice)


def test_minutes_become_a_fixed_number_of_steps(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with()
    run, asked = start(tmp_path / "run", plan, settings(steps=None, schedule_steps=None, minutes=0.05))
    state = train(run, cache, plan, asked, TrainingObserver())
    fixed = read_settings(run).schedule_steps
    assert fixed == state.step
    assert fixed > TIMED_TO
    resumed = train(run, cache, plan, open_run(run, plan, asked, None), TrainingObserver())
    assert resumed.step == fixed


def test_a_loss_that_is_not_finite_names_the_cases(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with()
    path = cache.folder / "mixed.image.npy"
    image = np.load(path)
    image[:] = np.nan
    np.save(path, image)
    run, asked = start(tmp_path / "run", plan, settings(training_cases=("mixed",)))
    with pytest.raises(InputError, match="mixed") as caught:
        train(run, cache, plan, asked, TrainingObserver())
    assert "not finite" in str(caught.value)


def test_another_training_in_the_folder_is_refused_with_the_difference(tmp_path: Path, plan_with: PlanWith) -> None:
    run, _ = start(tmp_path / "run", plan_with(), settings())
    with pytest.raises(InputError, match=r"seed: there 3, asked for 4"):
        open_run(run, plan_with(), settings(seed=4), None)
    with pytest.raises(InputError, match=r"window"):
        open_run(run, plan_with(window=(24, 16, 16)), settings(), None)
    other = tmp_path / "other"
    other.mkdir()
    (other / "holiday.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        open_run(Run(other), plan_with(), settings(), None)
    assert [path.name for path in other.iterdir()] == ["holiday.txt"]


def test_regions_train_and_their_targets_are_unions(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    regions = (Region(name="all", labels=(1, 2), written_as=1), Region(name="core", labels=(1,), written_as=2))
    plan = plan_with(regions=regions)
    classes = torch.tensor([[[[0, 1, 2, -1]]]])
    targets = region_targets(classes, plan)
    assert targets[0, 0].flatten().tolist() == [0, 1, 1, -1]
    assert targets[0, 1].flatten().tolist() == [0, 1, 0, -1]
    run, asked = start(tmp_path / "run", plan, settings(steps=4, schedule_steps=4))
    seen: list[Validation] = []
    train(run, cache, plan, asked, Listener(on_validation=seen.append))
    assert set(seen[0].dice) == {"all", "core"}


def test_loss_that_is_added_is_the_one_that_trains(
    tmp_path: Path, cache: Cache, plan_with: PlanWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean square of the logits, which have 3 classes and know nothing of the truth."""
    asked_for = []

    def shrink(logits: torch.Tensor, classes: torch.Tensor, plan: Plan, total: object) -> LossTerms:
        asked_for.append((tuple(logits.shape), tuple(classes.shape)))
        undefined = torch.tensor(float("nan"))
        return LossTerms(logits.float().square().mean(), undefined, undefined)

    monkeypatch.setitem(LOSSES, "shrink", shrink)
    training = TrainingPlan.model_validate({"batch_size": 2, "loss": {"name": "shrink"}, "learning_rate": 1e-2})
    plan = plan_with(training=training)
    run, asked = start(tmp_path / "run", plan, settings(steps=12, schedule_steps=12, validation_cases=()))
    seen: list[TrainedStep] = []
    train(run, cache, plan, asked, Listener(on_step=seen.append))
    assert asked_for == [((2, 3, 16, 16, 16), (2, 16, 16, 16))] * 12
    assert 0 <= seen[-1].loss < seen[0].loss / 2
    assert list(rows(run.log)[0]) == ["step", "loss", "learning_rate", "gradient_norm"]


def test_dice_on_the_grid_by_hand(plan_with: PlanWith) -> None:
    scores = np.zeros((3, 1, 1, 6), dtype=np.float32)
    for voxel, winner in enumerate([0, 1, 1, 2, 2, 1]):
        scores[winner, 0, 0, voxel] = 1
    truth = np.array([[[0, 1, 0, 2, -1, -1]]])
    # Ball: predicted in 2 known voxels, true in 1, shared 1: 2/3. Shell: 1, 1, 1.
    assert dice_on_grid(scores, truth, plan_with()) == pytest.approx([2 / 3, 1.0])


def test_shipped_weights_are_the_averages(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with()
    run, asked = start(tmp_path / "run", plan, settings(steps=8, schedule_steps=8))
    state = train(run, cache, plan, asked, TrainingObserver())
    shipped = averaged_weights(state)
    name, parameter = next(iter(state.network.named_parameters()))
    assert not torch.equal(shipped[name], parameter)
    assert shipped.keys() == state.network.state_dict().keys()


@pytest.mark.fault("a moment's load decides")
def test_the_number_of_steps_is_measured_once_more_and_a_kill_changes_nothing(
    tmp_path: Path, cache: Cache, plan_with: PlanWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first estimate is 40 steps, made on a busy machine; at step 30 it is 50, whether or not the run is killed."""
    plan = plan_with()
    promised = iter([40, 50])
    monkeypatch.setattr("unetr.train.loop.steps_in", lambda *_: next(promised))
    monkeypatch.setattr("unetr.train.loop.again_at", lambda _: 30)
    run, asked = start(tmp_path / "run", plan, settings(steps=None, schedule_steps=None, minutes=5.0))
    seen: list[TrainedStep] = []
    whole = train(run, cache, plan, asked, Listener(on_step=seen.append), Options(checkpoint_steps=27))
    fixed = read_settings(run)
    assert (fixed.first_from, fixed.first_steps, fixed.schedule_from, fixed.schedule_steps) == (24, 40, 30, 50)
    assert fixed.again_at is None and whole.step == 50
    assert [fixed.steps_known_at(step) for step in (23, 24, 29, 30, 49)] == [None, 40, 40, 50, 50]
    expected = run.log.read_bytes()
    checkpoints(run.checkpoints)[-1].unlink()
    (left,) = checkpoints(run.checkpoints)
    assert left.name == "step-00000027.safetensors"  # as after a kill, before the second estimate
    again = train(run, cache, plan, open_run(run, plan, asked, None), TrainingObserver(), Options(checkpoint_steps=27))
    assert bits(again) == bits(whole) and run.log.read_bytes() == expected
    assert read_settings(run) == fixed

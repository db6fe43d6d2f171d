"""Trainings stopped within a budget of minutes, whose number of steps the clock decides."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.systems import POSIX
from tests.train.listener import Listener
from tests.train.test_loop import bits, rows, settings, start

from unetr.app.views.progress import progress
from unetr.app.views.training import TrainingView
from unetr.core.plan.schema import Plan
from unetr.errors import CancelledError, StoppedError
from unetr.prepare.cache import Cache
from unetr.train.loop import train
from unetr.train.observer import TrainedStep, TrainingObserver
from unetr.train.optimise.schedule import TIMED_TO
from unetr.train.run.checkpoint import checkpoints
from unetr.train.run.folder import Run
from unetr.train.run.resume import open_run
from unetr.train.run.settings import read_settings

PlanWith = Callable[..., Plan]
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_stop_before_the_number_of_steps_is_known_loses_no_step(
    tmp_path: Path, cache: Cache, plan_with: PlanWith
) -> None:
    plan, seen = plan_with(), list[TrainedStep]()
    run, asked = start(tmp_path / "run", plan, settings(steps=None, schedule_steps=None, minutes=0.02))
    with pytest.raises(StoppedError):
        train(run, cache, plan, asked, Listener(on_step=seen.append, should_stop=lambda: len(seen) == 5))
    assert [path.name for path in checkpoints(run.checkpoints)] == ["step-00000005.safetensors"]
    assert read_settings(run).schedule_steps is None
    state = train(run, cache, plan, open_run(run, plan, asked, None), Listener(on_step=seen.append))
    fixed = read_settings(run)
    assert [report.step for report in seen] == list(range(1, state.step + 1))
    assert (fixed.schedule_steps, fixed.schedule_from) == (state.step, 5 + TIMED_TO)


def test_a_stop_within_a_validation_does_not_wait_for_its_end(
    tmp_path: Path, cache: Cache, plan_with: PlanWith
) -> None:
    """The first validation is after step 4 of 12 and has two cases; the stop comes while the first is predicted."""
    plan, two = plan_with(), settings(validation_cases=("small", "mixed"), training_cases=("large",))
    run, asked = start(tmp_path / "whole", plan, two)
    whole = train(run, cache, plan, asked, TrainingObserver())
    parts, asked = start(tmp_path / "parts", plan, two)
    asks: list[bool] = []

    def within() -> bool:
        asks.append(len(asks) >= 4)  # asked after each of three steps, then before each case
        return asks[-1]

    with pytest.raises(StoppedError, match="stopped after step 4"):
        train(parts, cache, plan, asked, Listener(should_stop=within))
    assert len(asks) == 6  # before either case, and once more after the step
    assert [path.name for path in checkpoints(parts.checkpoints)] == ["step-00000004.safetensors"]
    assert not parts.validation_log.exists()
    with pytest.raises(StoppedError, match="stopped in the validation after step 4"):  # and so again
        train(parts, cache, plan, asked, Listener(should_stop=lambda: True))
    assert [path.name for path in checkpoints(parts.checkpoints)] == ["step-00000004.safetensors"]
    resumed = train(parts, cache, plan, asked, TrainingObserver())
    assert bits(resumed) == bits(whole) and resumed.best_dice == whole.best_dice
    assert parts.validation_log.read_bytes() == run.validation_log.read_bytes()
    assert parts.best.read_bytes() == run.best.read_bytes()


def test_the_time_before_a_stop_is_taken_off_the_minutes(tmp_path: Path, cache: Cache, plan_with: PlanWith) -> None:
    plan, seen = plan_with(), list[TrainedStep]()
    run, asked = start(tmp_path / "run", plan, settings(steps=None, schedule_steps=None, minutes=5.0))
    with pytest.raises(StoppedError):
        train(run, cache, plan, asked, Listener(on_step=seen.append, should_stop=lambda: len(seen) == 2))
    run.timing.write_text("step,seconds,wait_seconds\n1,200.0,0.0\n2,99.0,0.0\n")  # of 300
    state = train(run, cache, plan, open_run(run, plan, asked, None), TrainingObserver())
    assert state.step == read_settings(run).schedule_steps == 2 + TIMED_TO + 1


def test_killed_after_the_number_of_steps_was_fixed_and_begun_again_is_the_same_run(
    tmp_path: Path, cache: Cache, plan_with: PlanWith
) -> None:
    """The first steps did not know it: no cosine, no validations. They do not when they are made again either."""
    plan = plan_with()
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"warmup_steps": 10})})
    run, asked = start(tmp_path / "whole", plan, settings(steps=None, schedule_steps=None, minutes=0.05))
    whole = train(run, cache, plan, asked, TrainingObserver())
    again = Run(tmp_path / "again")
    open_run(again, plan, read_settings(run), None)  # all that is left is what was written when the number was fixed
    resumed = train(again, cache, plan, open_run(again, plan, asked, None), TrainingObserver())
    assert bits(resumed) == bits(whole)
    assert again.log.read_bytes() == run.log.read_bytes()
    assert rows(again.validation_log) == rows(run.validation_log) != []


@POSIX
def test_a_second_sigterm_lets_the_first_one_save_and_ctrl_c_does_not() -> None:
    """`timeout` and launchers send a signal to a process and to its group."""
    with progress() as bar:
        view = TrainingView(bar)
        with view.watching_signals():
            for _ in range(2):
                assert view.should_stop() == (_ > 0)
                os.kill(os.getpid(), signal.SIGTERM)
            assert view.should_stop()
        with pytest.raises(CancelledError, match="at once"), view.watching_signals():
            os.kill(os.getpid(), signal.SIGINT)

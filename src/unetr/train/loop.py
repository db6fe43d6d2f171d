"""The training loop, one readable function. It does not print: it tells an observer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

from unetr.core.plan.schema import Plan
from unetr.errors import StoppedError
from unetr.model.file.model_file import ModelFile
from unetr.prepare.cache import Cache
from unetr.train.observer import TrainedStep, TrainingObserver
from unetr.train.optimise.schedule import (
    TIMED_FROM,
    TIMED_TO,
    again_at,
    learning_rate,
    steps_in,
    validation_steps,
    validations_in,
)
from unetr.train.optimise.state import TrainingState
from unetr.train.optimise.step import Trainer, start_trainer, training_step
from unetr.train.run.checkpoint import averaged_weights, save_checkpoint
from unetr.train.run.folder import Run
from unetr.train.run.logs import append_row, flush_rows, logged_seconds, logged_steps
from unetr.train.run.model import save_model
from unetr.train.run.resume import resume
from unetr.train.run.settings import Settings, write_settings
from unetr.train.samples.sample import Batch, Share, batches
from unetr.train.team import Launch
from unetr.train.validate import validate

# Cases in a validation during training; the one at the end takes all.
VALIDATED_CASES = 16
CHECKPOINT_SECONDS = 480.0


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a training beside plan and settings.

    checkpoint_steps: save after every so many steps instead of every few minutes. start: a model to start from.
    launch: the processes that train together, each of which calls `train`; one alone if not given.
    """

    checkpoint_steps: int | None = None
    start: ModelFile | None = None
    launch: Launch | None = None


def train(
    run: Run, cache: Cache, plan: Plan, settings: Settings, observer: TrainingObserver, options: Options | None = None
) -> TrainingState:
    """Trains until the steps or minutes of `settings` are done, resuming from the run's newest checkpoint.

    Raises StoppedError, with the state saved, when the observer asks to stop; InputError naming the cases when the loss
    is not finite; MachineError when a checkpoint cannot be written.
    """
    options = options or Options()
    trainer = start_trainer(plan, settings.seed, options.start, options.launch)
    state, team = trainer.state, trainer.team
    resumed = resume(run, state, team)
    if team.leads and not resumed and trainer.transferred is not None:
        observer.on_transfer(trainer.transferred)
    share, saved_at, timed = Share(team.rank, team.size), time.monotonic(), list[float]()
    with closing(batches(cache, settings.training_cases, plan, settings.seed, state.step, share)) as stream:
        if resumed:  # maybe stopped within a validation; stopped in it again, all is saved already
            _validate_where_due(run, trainer, cache, settings, observer)
        while (steps := settings.steps_known_at(state.step)) is None or state.step < steps:
            trained = _step(trainer, stream, steps, settings.seed)
            if team.leads:
                _log(run, trained)
                observer.on_step(trained)
            timed.append(trained.seconds)
            if (settings.schedule_steps is None and len(timed) == TIMED_TO) or settings.again_at == state.step:
                settings = _fix_steps(run, trainer, cache, settings, timed)
            with suppress(StoppedError):  # asked to stop, which is done below, where the state is saved
                _validate_where_due(run, trainer, cache, settings, observer)
            due, stop = team.any_of(_save_is_due(state.step, saved_at, options), observer.should_stop())
            if due or stop or state.step == settings.steps_known_at(state.step):
                _save(run, trainer)
                saved_at = time.monotonic()
            if stop:
                raise StoppedError(f"{run.folder}: stopped after step {state.step}; start it again to go on")
    return state


def _step(trainer: Trainer, stream: Iterator[Batch], steps: int | None, seed: int) -> TrainedStep:
    """One step with the next batch, at the rate of the schedule. steps: of the training, None if not known yet."""
    training, done = trainer.plan.training, trainer.state.step
    before = time.monotonic()
    batch = next(stream)
    waited = time.monotonic() - before
    rate = learning_rate(done, steps, training.learning_rate, training.warmup_steps)
    terms, norm = training_step(trainer, batch, rate, seed)
    return TrainedStep(
        step=trainer.state.step,
        steps=steps,
        seconds=time.monotonic() - before,
        wait_seconds=waited,
        loss=float(terms.total.detach()),
        dice_loss=float(terms.dice),
        cross_entropy=float(terms.cross_entropy),
        learning_rate=rate,
        gradient_norm=norm,
    )


def _save_is_due(step: int, saved_at: float, options: Options) -> bool:
    if options.checkpoint_steps:
        return step % options.checkpoint_steps == 0
    return time.monotonic() - saved_at > CHECKPOINT_SECONDS


def _save(run: Run, trainer: Trainer) -> None:
    """Writes a checkpoint, after the rows of its steps."""
    if trainer.team.leads:
        flush_rows(run)
    save_checkpoint(run.checkpoints, trainer.state, trainer.team.leads)


def _fix_steps(run: Run, trainer: Trainer, cache: Cache, settings: Settings, timed: list[float]) -> Settings:
    """Turns a budget in minutes into a number of steps, written down so that a resumed run has the same schedule.

    A run that was stopped before times its steps anew; what those before the stop took is taken off its minutes. The
    first number rests on a few steps, which a moment's load may slow down: a tenth of the way on, it is made anew.
    """
    if settings.minutes is None:
        raise ValueError("settings have neither steps nor minutes")
    first = settings.schedule_steps is None
    paced = timed[TIMED_FROM:] if first else timed[len(timed) // 2 :]
    step_s = sum(paced) / len(paced)
    cases = settings.validation_cases[:VALIDATED_CASES]
    before = time.monotonic()
    if cases:
        validate(trainer.averaged_network, cache, cases[:1], trainer.plan, 0)
    team = trainer.team
    validation_s = (time.monotonic() - before) * math.ceil(len(cases) / team.size)
    step = trainer.state.step
    elapsed = time.monotonic() - trainer.started + logged_seconds(run, step - len(timed))
    validations = validations_in(settings.minutes, validation_s)
    steps = steps_in(settings.minutes, elapsed, step, step_s, validation_s * validations)
    steps, validations = team.as_leader((steps, validations))
    update: dict[str, int | None] = {"schedule_steps": steps, "schedule_from": step, "validations": validations}
    if first:
        update["again_at"] = again_at(steps)
    else:
        update |= {"again_at": None, "first_steps": settings.schedule_steps, "first_from": settings.schedule_from}
    settings = settings.model_copy(update=update)
    if team.leads:
        write_settings(run, settings)
    return settings


def _validate_where_due(
    run: Run, trainer: Trainer, cache: Cache, settings: Settings, observer: TrainingObserver
) -> None:
    """Validates if the schedule asks for it at this step and it is not in the log yet.

    Raises StoppedError where the observer asks to stop within it; it is then due when the run is resumed.
    """
    step, steps = trainer.state.step, settings.steps_known_at(trainer.state.step)
    if steps is None or step not in validation_steps(steps, settings.validations) or not settings.validation_cases:
        return
    team = trainer.team
    if team.as_leader(team.leads and step in logged_steps(run.validation_log)):
        return
    _validate_and_keep_best(run, trainer, cache, settings, observer)


def _validate_and_keep_best(
    run: Run, trainer: Trainer, cache: Cache, settings: Settings, observer: TrainingObserver
) -> None:
    weights = averaged_weights(trainer.state)
    trainer.averaged_network.load_state_dict(weights)
    cases = settings.validation_cases[:VALIDATED_CASES]
    network, step, stop = trainer.averaged_network, trainer.state.step, observer.should_stop
    found = validate(network, cache, cases, trainer.plan, step, trainer.team, stop)
    best = found.mean_dice > trainer.state.best_dice
    if best:
        trainer.state.best_dice = found.mean_dice
    if not trainer.team.leads:
        return
    row: dict[str, float | int] = {"step": found.step, "mean_dice": found.mean_dice}
    append_row(run.validation_log, row | {f"dice_{name}": dice for name, dice in found.dice.items()})
    if best:
        save_model(run, run.best, trainer.plan, weights, {"validation": row})
    observer.on_validation(found)


def _log(run: Run, done: TrainedStep) -> None:
    terms = () if math.isnan(done.dice_loss) else ("dice_loss", "cross_entropy")
    names = ("step", "loss", *terms, "learning_rate", "gradient_norm")
    append_row(run.log, {name: getattr(done, name) for name in names})
    append_row(run.timing, {name: getattr(done, name) for name in ("step", "seconds", "wait_seconds")})

"""The training loop, one readable function, and what it needs around one step.

Lightning Fabric carries device and precision. The loop does not print: it tells an Observer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric

from unetr.core.plan import Plan
from unetr.errors import InputError, StoppedError
from unetr.infer.engines.torch import has_fast_bf16
from unetr.model.build import build_network
from unetr.prepare.cache import Cache
from unetr.train.checkpoint import TrainingState, averaged_weights, restore_checkpoint, save_checkpoint
from unetr.train.finish import save_model
from unetr.train.losses import LossTerms, region_loss, segmentation_loss
from unetr.train.run import Run, Settings, append_row, cut_rows, write_settings
from unetr.train.sample import Batch, batches
from unetr.train.schedule import (
    TIMED_FROM,
    TIMED_TO,
    averaging_decay,
    learning_rate,
    steps_in,
    validation_steps,
)
from unetr.train.validate import ValidationReport, validate

# Cases in a validation during training; the one at the end takes all.
VALIDATED_CASES = 16
CHECKPOINT_SECONDS = 480.0
# The moving average of weights reads and writes all of them, so it is taken every few steps, with the decay to match.
AVERAGED_EVERY = 4


@dataclass(frozen=True, slots=True)
class StepReport:
    """One finished step. wait_seconds: the part of `seconds` in which the loop waited for data."""

    step: int
    steps: int | None
    loss: float
    dice_loss: float
    cross_entropy: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    wait_seconds: float


def _ignore(_: object) -> None:
    """An observer that is not interested."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Whom the loop tells what happened, and whom it asks whether to stop."""

    on_step: Callable[[StepReport], None] = _ignore
    on_validation: Callable[[ValidationReport], None] = _ignore
    should_stop: Callable[[], bool] = bool


@dataclass(slots=True)
class _Trainer:
    """The objects that one training holds together. forward: the network as Fabric wraps it, for the forward pass."""

    fabric: Fabric
    forward: torch.nn.Module
    plan: Plan
    state: TrainingState
    averaged_network: torch.nn.Module
    started: float = field(default_factory=time.monotonic)


def train(
    run: Run, cache: Cache, plan: Plan, settings: Settings, observer: Observer, checkpoint_steps: int | None = None
) -> TrainingState:
    """Trains until the steps or minutes of `settings` are done, resuming from the run's newest checkpoint.

    checkpoint_steps: save after every so many steps instead of every few minutes.
    Raises StoppedError, with the state saved, when the observer asks to stop; InputError naming the cases when the loss
    is not finite; MachineError when a checkpoint cannot be written.
    """
    trainer = _start(plan, settings)
    state = trainer.state
    restore_checkpoint(run.checkpoints, state)
    cut_rows([run.log, run.timing, run.validation_log], state.step)
    steps, saved_at, timed = settings.schedule_steps, time.monotonic(), []
    stream = batches(cache, settings.training_cases, plan, settings.seed, state.step)
    try:
        while steps is None or state.step < steps:
            before = time.monotonic()
            batch = next(stream)
            waited = time.monotonic() - before
            rate = learning_rate(state.step, steps, plan.training.learning_rate, plan.training.warmup_steps)
            terms, norm = _step(trainer, batch, rate, settings.seed)
            report = _report(state.step, steps, terms, rate, norm, time.monotonic() - before, waited)
            _log(run, report)
            observer.on_step(report)
            timed.append(report.seconds)
            if steps is None and len(timed) == TIMED_TO:
                steps = _fix_steps(run, trainer, cache, settings, timed)
            if steps is not None and state.step in validation_steps(steps):
                _validate_and_keep_best(run, trainer, cache, settings, observer)
            due = (
                state.step % checkpoint_steps == 0
                if checkpoint_steps
                else time.monotonic() - saved_at > CHECKPOINT_SECONDS
            )
            # Before the number of steps is fixed, a checkpoint could not be resumed to the same schedule.
            if steps is not None and (due or observer.should_stop()):
                save_checkpoint(run.checkpoints, state)
                saved_at = time.monotonic()
            if observer.should_stop():
                raise StoppedError(f"{run.folder}: stopped after step {state.step}; run the same command to go on")
    finally:
        stream.close()
    return state


def _start(plan: Plan, settings: Settings) -> _Trainer:
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    bf16 = has_fast_bf16(torch.device(device))
    fabric = Fabric(accelerator=device, devices=1, precision="bf16-mixed" if bf16 else "32-true")
    raw = build_network(plan.network, len(plan.channels), plan.outputs, plan.window, seed=settings.seed)
    averaged_network = build_network(plan.network, len(plan.channels), plan.outputs, plan.window, seed=settings.seed)
    optimizer = torch.optim.AdamW(
        _parameter_groups(raw, plan.training.weight_decay), lr=plan.training.learning_rate, fused=device != "mps"
    )
    forward, optimizer = fabric.setup(raw, optimizer)
    averaged = {name: parameter.detach().clone() for name, parameter in raw.named_parameters()}
    state = TrainingState(0, raw, optimizer, averaged, best_dice=-1.0)
    return _Trainer(fabric, forward, plan, state, fabric.to_device(averaged_network))


def _parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels only, not for biases, norms and the positional embedding."""
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (plain if parameter.ndim < 2 or "position" in name else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _step(trainer: _Trainer, batch: Batch, rate: float, seed: int) -> tuple[LossTerms, float]:
    """One optimiser step. Returns the loss terms and the gradient's norm before clipping."""
    state, plan = trainer.state, trainer.plan
    # Dropout's randomness is a function of the step too, so that nothing but the step has to be restored.
    torch.manual_seed(seed * 1_000_003 + state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    trainer.forward.train()
    images, classes = trainer.fabric.to_device((torch.from_numpy(batch.images), torch.from_numpy(batch.classes)))
    logits = trainer.forward(images)
    if plan.regions:
        terms = region_loss(logits, region_targets(classes, plan), plan.training.loss)
    else:
        terms = segmentation_loss(logits, classes, plan.training.loss)
    if not torch.isfinite(terms.total):
        raise InputError(f"step {state.step}: the loss is not finite; check the cases {', '.join(batch.cases)}")
    state.optimizer.zero_grad(set_to_none=True)
    trainer.fabric.backward(terms.total)
    norm = trainer.fabric.clip_gradients(trainer.forward, state.optimizer, max_norm=plan.training.gradient_clip)
    state.optimizer.step()
    state.step += 1
    if state.step % AVERAGED_EVERY == 0:
        _average(state, averaging_decay(state.step, plan.training.ema_decay) ** AVERAGED_EVERY)
    return terms, float(norm) if norm is not None else math.nan


def region_targets(classes: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Class indices [B, H, W, D], -1 ignored -> truth of each region [B, R, H, W, D] float32, -1 ignored."""
    members = [[plan.class_values.index(value) for value in region.labels] for region in plan.regions]
    targets = [torch.isin(classes, torch.tensor(indices, device=classes.device)).float() for indices in members]
    return torch.stack(targets, dim=1).masked_fill(classes[:, None] < 0, -1.0)


def _average(state: TrainingState, decay: float) -> None:
    weights = dict(state.network.named_parameters())
    with torch.no_grad():
        torch._foreach_lerp_(
            list(state.averaged.values()), [weights[name].detach() for name in state.averaged], 1 - decay
        )


def _fix_steps(run: Run, trainer: _Trainer, cache: Cache, settings: Settings, timed: list[float]) -> int:
    """Turns a budget in minutes into a number of steps, written down so that a resumed run has the same schedule."""
    if settings.minutes is None:
        raise ValueError("settings have neither steps nor minutes")
    step_s = sum(timed[TIMED_FROM:]) / len(timed[TIMED_FROM:])
    cases = settings.validation_cases[:VALIDATED_CASES]
    before = time.monotonic()
    if cases:
        validate(trainer.averaged_network, cache, cases[:1], trainer.plan, 0)
    validation_s = (time.monotonic() - before) * len(cases)
    elapsed = time.monotonic() - trainer.started
    steps = steps_in(settings.minutes, elapsed, trainer.state.step, step_s, validation_s)
    write_settings(run, settings.model_copy(update={"schedule_steps": steps}))
    return steps


def _validate_and_keep_best(run: Run, trainer: _Trainer, cache: Cache, settings: Settings, observer: Observer) -> None:
    if not settings.validation_cases:
        return
    trainer.averaged_network.load_state_dict(averaged_weights(trainer.state))
    cases = settings.validation_cases[:VALIDATED_CASES]
    report = validate(trainer.averaged_network, cache, cases, trainer.plan, trainer.state.step)
    row: dict[str, float | int] = {"step": report.step, "mean_dice": report.mean_dice}
    append_row(run.validation_log, row | {f"dice_{name}": dice for name, dice in report.dice.items()})
    if report.mean_dice > trainer.state.best_dice:
        trainer.state.best_dice = report.mean_dice
        save_model(run, run.best, trainer.plan, averaged_weights(trainer.state), {"validation": row})
    observer.on_validation(report)


def _report(
    step: int, steps: int | None, terms: LossTerms, rate: float, norm: float, seconds: float, waited: float
) -> StepReport:
    return StepReport(
        step,
        steps,
        float(terms.total.detach()),
        float(terms.dice),
        float(terms.cross_entropy),
        rate,
        norm,
        seconds,
        waited,
    )


def _log(run: Run, report: StepReport) -> None:
    names = ("step", "loss", "dice_loss", "cross_entropy", "learning_rate", "gradient_norm")
    append_row(run.log, {name: getattr(report, name) for name in names})
    append_row(run.timing, {name: getattr(report, name) for name in ("step", "seconds", "wait_seconds")})

"""TensorBoard events of a run. Knows the loop's reports and nothing of screens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from unetr.train.loop import Observer, StepReport
from unetr.train.validate import ValidationReport

_SCALARS = ("loss", "dice_loss", "cross_entropy", "learning_rate", "gradient_norm")


@contextmanager
def tensorboard(folder: Path, observer: Observer) -> Iterator[Observer]:
    """An observer that also writes events to `folder`, and then tells `observer`."""
    writer = SummaryWriter(str(folder))

    def on_step(report: StepReport) -> None:
        for name in _SCALARS:
            writer.add_scalar(f"train/{name}", getattr(report, name), report.step)
        observer.on_step(report)

    def on_validation(report: ValidationReport) -> None:
        for name, value in {"mean": report.mean_dice, **report.dice}.items():
            writer.add_scalar(f"dice/{name}", value, report.step)
        observer.on_validation(report)

    try:
        yield replace(observer, on_step=on_step, on_validation=on_validation)
    finally:
        writer.close()

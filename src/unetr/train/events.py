"""TensorBoard events of a run. Knows the loop's reports and nothing of screens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from unetr.train.loop import Observer, StepReport
from unetr.train.validate import ValidationReport

_SCALARS = ("loss", "dice_loss", "cross_entropy", "learning_rate", "gradient_norm")


@contextmanager
def tensorboard(folder: Path, observer: Observer) -> Iterator[Observer]:
    """An observer that also writes events to `folder`, made with the first of them, and then tells `observer`."""
    writers: list[SummaryWriter] = []

    def write(values: Mapping[str, float], step: int) -> None:
        if not writers:
            writers.append(SummaryWriter(str(folder)))
        for name, value in values.items():
            writers[0].add_scalar(name, value, step)

    def on_step(report: StepReport) -> None:
        values = {name: float(getattr(report, name)) for name in _SCALARS}
        write({f"train/{name}": value for name, value in values.items() if not math.isnan(value)}, report.step)
        observer.on_step(report)

    def on_validation(report: ValidationReport) -> None:
        write({f"dice/{name}": value for name, value in {"mean": report.mean_dice, **report.dice}.items()}, report.step)
        observer.on_validation(report)

    try:
        yield replace(observer, on_step=on_step, on_validation=on_validation)
    finally:
        for writer in writers:
            writer.close()

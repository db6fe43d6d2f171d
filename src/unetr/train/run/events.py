"""TensorBoard events of a run. Knows the steps and validations of a training, nothing of screens.

The events are written here and now, not by the thread of torch's SummaryWriter: on a full disk that thread ends with a
traceback of its own, and what it has not written yet is lost with a process that is killed.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from unetr.core.files.atomic import machine_error
from unetr.printable import printable
from unetr.train.observer import TrainedStep, TrainingObserver
from unetr.train.optimise.transfer import Transfer
from unetr.train.validate import Validation

_SCALARS = ("loss", "dice_loss", "cross_entropy", "learning_rate", "gradient_norm")
_FORMAT = "brain.Event:2"  # what a file of events says it is, in its first one


class TensorBoard(TrainingObserver):
    """Writes events to a folder, made with the first of them, and hands everything on to another observer.

    on_step and on_validation raise MachineError when the events cannot be written.
    """

    def __init__(self, folder: Path, observer: TrainingObserver) -> None:
        # The names that TensorBoard looks for, and sorts by; one for each sitting of a run.
        self._path = folder / f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{os.getpid()}"
        self._observer = observer

    def on_step(self, done: TrainedStep) -> None:  # noqa: D102
        values = {name: float(getattr(done, name)) for name in _SCALARS}
        self._write({f"train/{name}": value for name, value in values.items() if not math.isnan(value)}, done.step)
        self._observer.on_step(done)

    def on_validation(self, found: Validation) -> None:  # noqa: D102
        dice = {"mean": found.mean_dice, **found.dice}
        self._write({f"dice/{name}": value for name, value in dice.items()}, found.step)
        self._observer.on_validation(found)

    def on_fold(self, fold: int, folds: int) -> None:  # noqa: D102
        self._observer.on_fold(fold, folds)

    def on_transfer(self, transfer: Transfer) -> None:  # noqa: D102
        self._observer.on_transfer(transfer)

    def on_note(self, text: str) -> None:  # noqa: D102
        self._observer.on_note(text)

    def on_stage(self, name: str, done: int, of: int | None) -> None:  # noqa: D102
        self._observer.on_stage(name, done, of)

    def should_stop(self) -> bool:  # noqa: D102
        return self._observer.should_stop()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        summary = Summary(
            value=[Summary.Value(tag=printable(name), simple_value=value) for name, value in values.items()]
        )
        events = [Event(wall_time=time.time(), step=step, summary=summary)]
        if not self._path.exists():
            events.insert(0, Event(wall_time=time.time(), file_version=_FORMAT))
        _append(self._path, events)


def _append(path: Path, events: list[Event]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as handle:
            for event in events:
                RecordWriter(handle).write(event.SerializeToString())
    except OSError as error:
        raise machine_error(path, error) from error

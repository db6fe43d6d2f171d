"""TensorBoard events of a run. Knows the loop's reports and nothing of screens.

The events are written here and now, not by the thread of torch's SummaryWriter: on a full disk that thread ends with a
traceback of its own, and what it has not written yet is lost with a process that is killed.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from unetr.core.files.atomic import machine_error
from unetr.core.text.printable import printable
from unetr.train.loop import Observer, StepReport
from unetr.train.validate import ValidationReport

_SCALARS = ("loss", "dice_loss", "cross_entropy", "learning_rate", "gradient_norm")
_FORMAT = "brain.Event:2"  # what a file of events says it is, in its first one


@contextmanager
def tensorboard(folder: Path, observer: Observer) -> Iterator[Observer]:
    """An observer that also writes events to `folder`, made with the first of them, and then tells `observer`.

    It raises MachineError when the events cannot be written.
    """
    # The names that TensorBoard looks for, and sorts by; one for each sitting of a run.
    path = folder / f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{os.getpid()}"

    def write(values: Mapping[str, float], step: int) -> None:
        summary = Summary(
            value=[Summary.Value(tag=printable(name), simple_value=value) for name, value in values.items()]
        )
        events = [Event(wall_time=time.time(), step=step, summary=summary)]
        if not path.exists():
            events.insert(0, Event(wall_time=time.time(), file_version=_FORMAT))
        _append(path, events)

    def on_step(report: StepReport) -> None:
        values = {name: float(getattr(report, name)) for name in _SCALARS}
        write({f"train/{name}": value for name, value in values.items() if not math.isnan(value)}, report.step)
        observer.on_step(report)

    def on_validation(report: ValidationReport) -> None:
        write({f"dice/{name}": value for name, value in {"mean": report.mean_dice, **report.dice}.items()}, report.step)
        observer.on_validation(report)

    yield replace(observer, on_step=on_step, on_validation=on_validation)


def _append(path: Path, events: list[Event]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as handle:
            for event in events:
                RecordWriter(handle).write(event.SerializeToString())
    except OSError as error:
        raise machine_error(path, error) from error

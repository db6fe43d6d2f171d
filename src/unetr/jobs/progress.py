"""How a training or a prediction goes, in plain lines: for notebooks, and for the logs of other programs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from unetr.jobs.predict.observer import PredictObserver
from unetr.printable import printable
from unetr.report import training_lines as lines
from unetr.train.observer import TrainedStep, TrainingObserver

if TYPE_CHECKING:
    from unetr.jobs.predict.report import CaseRecord
    from unetr.train.optimise.transfer import Transfer
    from unetr.train.validate import Validation


class PrintProgress(TrainingObserver, PredictObserver):
    """Prints what it hears, for notebooks; give it as `observer`.

    stream: where to, in place of standard output. every_seconds: what comes often (steps, cases of a stage, windows of
    a scan) has a line at most so often, and one at its end.

    >>> outcome = unetr.fit("dataset", "run", steps=2, preset="tiny", observer=unetr.PrintProgress())
    checking: 1 of 2
    checking: 2 of 2
    ...
    step 2 of 2: loss ...
    validating: 1 of 1
    """

    def __init__(self, stream: TextIO | None = None, every_seconds: float = 10.0) -> None:
        self._stream = stream
        self._every_seconds = every_seconds
        self._said: dict[str, float] = {}

    def on_note(self, text: str) -> None:
        """A line."""
        print(printable(text), file=self._stream or sys.stdout, flush=True)

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        """A line now and then: measuring: 3 of 20."""
        self._now_and_then(name, f"{name}: {done}{'' if of is None else f' of {of}'}", done == of)

    def on_fold(self, fold: int, folds: int) -> None:
        """A line."""
        self.on_note(lines.of_fold(fold, folds))

    def on_step(self, done: TrainedStep) -> None:
        """A line now and then, with the loss."""
        known = f"step {done.step} of {'?' if done.steps is None else done.steps}"
        last = done.step == done.steps
        self._now_and_then("step", f"{known}: {lines.of_step(done)}", last)

    def on_validation(self, found: Validation) -> None:
        """A line, with the Dice of each class or region."""
        self.on_note(lines.of_validation(found))

    def on_transfer(self, transfer: Transfer) -> None:
        """How many weights fit, and a line for each that was made to."""
        for line in lines.of_transfer(transfer):
            self.on_note(line)

    def on_estimate(self, text: str) -> None:
        """A line."""
        self.on_note(text)

    def on_windows(self, done: int, of: int) -> None:
        """A line now and then."""
        self._now_and_then("windows", f"{done} of {of} windows", done == of)

    def on_case_done(self, record: CaseRecord) -> None:
        """A line."""
        self.on_note(f"{record.id}: {record.state}")

    def on_case_failed(self, record: CaseRecord) -> None:
        """A line, with the reason."""
        self.on_note(f"{record.id}: failed: {record.error}")

    def _now_and_then(self, kind: str, line: str, last: bool) -> None:
        now = time.monotonic()
        if last or now - self._said.get(kind, -self._every_seconds) >= self._every_seconds:
            self._said[kind] = now
            self.on_note(line)

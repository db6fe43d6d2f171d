"""The process of a job: `python -P -m unetr.jobs.apart FOLDER` reads FOLDER/request.json, writes FOLDER/answer.json.

Notes, and the traceback of a defect, go to standard error; what libraries say goes nowhere. SIGTERM and Ctrl-C ask a
job to save its state and stop. The exit code is that of the error, 0 where there is none.
"""

from __future__ import annotations

import math
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from unetr.core.machine.child import own_stream
from unetr.core.machine.offline import keep_to_given_folders
from unetr.core.machine.system import STOP_SIGNALS
from unetr.errors import CancelledError, InputError, StoppedError, UnetrError, expected_error
from unetr.jobs.apart.job import checked, read_request, write_error, write_result
from unetr.jobs.apart.registry import JOBS
from unetr.printable import printable, printable_lines
from unetr.report import training_lines as lines
from unetr.train.observer import TrainedStep, TrainingObserver

if TYPE_CHECKING:
    from unetr.train.optimise.transfer import Transfer
    from unetr.train.validate import Validation

_EVERY_S = 60.0  # between two lines on steps


class _Teller(TrainingObserver):
    """Writes what happens as lines, and turns signals into a request to stop."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told_s = -math.inf
        self._asked: int | None = None
        self.waits = False

    def on_note(self, text: str) -> None:
        print(printable(text), file=self._out, flush=True)

    def on_fold(self, fold: int, folds: int) -> None:
        self.on_note(lines.of_fold(fold, folds))

    def on_step(self, done: TrainedStep) -> None:
        if (now := time.monotonic()) >= self._told_s + _EVERY_S:
            self._told_s = now
            self.on_note(f"step {done.step} of {done.steps or '?'}: {lines.of_step(done)}")

    def on_validation(self, found: Validation) -> None:
        self.on_note(lines.of_validation(found))

    def on_transfer(self, transfer: Transfer) -> None:
        for line in lines.of_transfer(transfer):
            self.on_note(line)

    def should_stop(self) -> bool:
        return self._asked is not None

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Handles a signal. Another SIGTERM changes nothing: launchers send one to the process and one to its group."""
        at_once = not self.waits or (self._asked is not None and number == signal.SIGINT)
        self._asked = number
        if at_once:
            raise StoppedError("stopped at once; start it again to go on")

    def as_asked(self, error: UnetrError) -> UnetrError:
        """The error, as one of Ctrl-C where that was pressed."""
        cancelled = isinstance(error, StoppedError) and self._asked == signal.SIGINT
        return CancelledError(str(error), hint=error.hint) if cancelled else error


def main(folder: Path) -> int:
    """Returns the exit code."""
    keep_to_given_folders()
    own = own_stream(2)
    sys.excepthook = lambda kind, error, trace: print(
        printable_lines("".join(traceback.format_exception(kind, error, trace))), file=own, end="", flush=True
    )
    teller = _Teller(own)
    for number in (*STOP_SIGNALS, signal.SIGINT):
        signal.signal(number, teller.stop)
    try:
        run_asked(folder, teller)
    except Exception as error:
        expected = expected_error(error)
        if expected is None:
            raise
        expected = teller.as_asked(expected)
        teller.on_note(str(expected))
        write_error(folder, expected)
        return expected.exit_code
    return 0


def run_asked(folder: Path, teller: _Teller) -> None:
    """Reads the request, runs its job and writes the result. Raises what the job raises, InputError."""
    name, asked = read_request(folder)
    job = JOBS.get(name)
    if job is None:
        raise InputError(f"{name}: is no job; expected one of {', '.join(JOBS)}")
    request = checked(job, asked)
    teller.waits = job.asks
    write_result(folder, job, job.run(request, teller))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) if len(sys.argv) == 2 else "expected one argument: the folder of a request")

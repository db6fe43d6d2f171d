"""What a person sees of a training: bars for the stages, one for the steps; and how they ask it to stop."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from unetr.app.launch import launched_rank
from unetr.app.printing import print_json, print_table, say
from unetr.app.views.progress import progress
from unetr.core.machine.system import STOP_SIGNALS
from unetr.core.text.numbers import counted, number, with_interval
from unetr.errors import CancelledError, StoppedError
from unetr.report import training_lines as lines
from unetr.train.observer import TrainedStep, TrainingObserver

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from unetr.evaluation.results import Results
    from unetr.train.optimise.transfer import Transfer
    from unetr.train.validate import Validation


@contextmanager
def training_view() -> Iterator[TrainingView]:
    """Bars and lines for a training, in the process that leads; SIGTERM and Ctrl-C ask it to save and stop."""
    with progress(shown=launched_rank() == 0) as bar:
        view = TrainingView(bar)
        with view.watching_signals():
            yield view


class TrainingView(TrainingObserver):
    """Shows one training on a progress display, and turns signals into a request to save and stop."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._dice = ""
        self._stop_signal: int | None = None

    def on_note(self, text: str) -> None:
        """Said above the bars."""
        say(text)

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        """A bar for each stage."""
        self._bar.update(self._task(name), completed=done, total=of)

    def on_fold(self, fold: int, folds: int) -> None:
        """A line, and bars of its own for each fold."""
        for task in self._tasks.values():
            self._bar.remove_task(task)
        self._tasks, self._dice = {}, ""
        say(lines.of_fold(fold, folds))

    def should_stop(self) -> bool:
        """Once a signal came."""
        return self._stop_signal is not None

    def on_step(self, done: TrainedStep) -> None:
        """The bar of steps."""
        note = f"{self._dice}{lines.of_step(done)}"
        self._bar.update(self._task("step"), completed=done.step, total=done.steps, note=note)

    def on_transfer(self, transfer: Transfer) -> None:
        """A line for each weight that was not taken as it was."""
        for line in lines.of_transfer(transfer):
            say(line)

    def on_validation(self, found: Validation) -> None:
        """A line, and the mean Dice beside the bar from then on."""
        self._dice = f"validation Dice {number(found.mean_dice, 3)}, "
        say(lines.of_validation(found))

    @contextmanager
    def watching_signals(self) -> Iterator[None]:
        """Meanwhile SIGTERM and Ctrl-C ask the training to save and stop; after that, Ctrl-C stops it at once.

        Another SIGTERM does not: launchers and `timeout` send one to the process and one to its group.

        Raises CancelledError in place of StoppedError when it was Ctrl-C.
        """
        numbers = (*STOP_SIGNALS, signal.SIGINT)
        before = [signal.signal(number, self._ask_to_stop) for number in numbers]
        try:
            yield
        except StoppedError as error:
            if self._stop_signal == signal.SIGINT:
                raise CancelledError(str(error)) from None
            raise
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=None, note="")
        return self._tasks[name]

    def _ask_to_stop(self, number: int, _frame: FrameType | None) -> None:
        if self._stop_signal is None:
            self._stop_signal = number
        elif number == signal.SIGINT:
            self._stop_signal = number
            raise StoppedError("stopped at once; start it again to go on from the last checkpoint")


@contextmanager
def scores_kept(as_json: bool) -> Iterator[None]:
    """Scores that cannot be written are printed before the error ends the command."""
    from unetr.evaluation.results import UnwrittenScoresError, results_to_json

    try:
        yield
    except UnwrittenScoresError as error:
        if as_json:
            print_json(json.loads(results_to_json(error.results)))
        else:
            print_scores(error.results)
        raise


def print_scores(results: Results) -> None:
    """A row per class, and one of all: mean and confidence interval of Dice, means of HD95 and surface Dice."""
    rows = []
    for label, metrics in [*((each.label, each.metrics) for each in results.classes), ("mean", results.foreground)]:
        dice, hd95, nsd = (metrics[name] for name in ("dice", "hd95_mm", "nsd"))
        mean = results.mean_dice if metrics is results.foreground else dice.mean
        scores = with_interval(mean, dice.ci_low, dice.ci_high, 3)
        rows.append((label, scores, number(hd95.mean, 2), number(nsd.mean, 3)))
    title = f"mean of {counted(len(results.cases), 'case')}"
    print_table(title, ("class", "Dice (95 % interval)", "HD95 mm", f"NSD at {results.tolerance_mm:g} mm"), rows)

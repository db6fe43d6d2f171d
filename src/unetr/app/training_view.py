"""What a person sees of a training: bars for the stages, one for the steps; and how they ask it to stop."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from unetr.app.options import print_table, say
from unetr.errors import StoppedError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from unetr.evaluate.results import Results
    from unetr.train.loop import Observer, StepReport
    from unetr.train.validate import ValidationReport


class TrainingView:
    """Shows one training on a progress display, and turns signals into a request to save and stop."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._dice = ""
        self._stopping = False

    def stage(self, name: str, done: int, of: int) -> None:
        """One more case of a stage is done. Raises StoppedError when a person asked to stop; done cases are kept."""
        if self._stopping:
            raise StoppedError(f"stopped while {name}, after {done} of {of} cases; run the same command to go on")
        self._bar.update(self._task(name), completed=done, total=of)

    def observer(self) -> Observer:
        """Callbacks for the loop. From now on SIGTERM and Ctrl-C ask it to save and stop."""
        from unetr.train.loop import Observer

        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)
        return Observer(self._show_step, self._show_validation, lambda: self._stopping)

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=None, note="")
        return self._tasks[name]

    def _ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _show_step(self, report: StepReport) -> None:
        note = f"loss {report.loss:.3f}  dice loss {report.dice_loss:.3f}  {report.seconds:.2f} s/step{self._dice}"
        self._bar.update(self._task("training"), completed=report.step, total=report.steps, note=note)
        # Without a terminal there is no bar: a line now and then instead.
        if not sys.stderr.isatty() and report.step % 50 == 0:
            say(f"step {report.step} of {report.steps or '?'}: {note}")

    def _show_validation(self, report: ValidationReport) -> None:
        self._dice = f"  validation Dice {report.mean_dice:.4f}"
        each = ", ".join(f"{name} {value:.4f}" for name, value in report.dice.items())
        say(f"step {report.step}: mean Dice {report.mean_dice:.4f} ({each})")


def print_scores(results: Results) -> None:
    """A row per class: mean and confidence interval of Dice, HD95, surface Dice."""
    rows = []
    for summary in results.classes:
        dice, hd95, nsd = (summary.metrics[name] for name in ("dice", "hd95_mm", "nsd"))
        interval = f"{dice.ci_low:.3f}..{dice.ci_high:.3f}"
        rows.append((summary.label, f"{dice.mean:.4f}", interval, f"{hd95.mean:.2f}", f"{nsd.mean:.4f}"))
    rows.append(("mean", f"{results.mean_dice:.4f}", "", "", ""))
    title = f"{len(results.cases)} cases"
    print_table(title, ("class", "Dice", "95 % interval", "HD95 mm", f"NSD {results.tolerance_mm:g} mm"), rows)

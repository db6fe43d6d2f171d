"""What a person sees of a training: bars for the stages, one for the steps; and how they ask it to stop."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from unetr.app.launch import launched_rank
from unetr.app.options import transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.app.progress import progress
from unetr.core.machine.system import STOP_SIGNALS
from unetr.core.text.numbers import counted, number, with_interval
from unetr.errors import CancelledError, InputError, StoppedError
from unetr.train.observer import StepReport, TrainingObserver

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from unetr.core.space.frames import Transform
    from unetr.evaluation.results import Results
    from unetr.jobs.training.fit import Request
    from unetr.prepare.datasets.cases import Dataset
    from unetr.train.optimise.transfer import Transfer
    from unetr.train.run.folder import Run
    from unetr.train.validate import ValidationReport


def fit_in_view(dataset: Dataset, run: Run, request: Request) -> Results | None:
    """`unetr.jobs.training.fit.fit` with progress. SIGTERM and Ctrl-C save the state first."""
    from unetr.jobs.training.fit import fit

    with progress(shown=launched_rank() == 0) as bar:
        view = TrainingView(bar)
        with view.watching_signals():
            return fit(dataset, run, request, view)


def cross_validate_in_view(dataset: Dataset, folder: Path, request: Request) -> Results | None:
    """Every fold in turn, each in FOLDER/fold<k>, then what is made of all; finished folds are not trained again.

    Of several processes that train together, only the first makes something of all and returns the results.
    """
    from unetr.core.files.lock import locked

    with locked(folder, say) if launched_rank() == 0 else nullcontext():
        return _cross_validate(dataset, folder, request)


def _cross_validate(dataset: Dataset, folder: Path, request: Request) -> Results | None:
    from unetr.core.files.outputs import claim
    from unetr.core.plan.file import read_plan
    from unetr.jobs.training.crossval import fold_runs, gather_folds, gathered_files
    from unetr.prepare.datasets.folds import split_folds
    from unetr.train.run.folder import holds_run, read_settings, refuse_other_cases, shared_caches

    count = len(split_folds(dataset, request.folds, request.seed))
    if (folder / "settings.json").exists():
        raise InputError(f"{folder}: holds a run of one fold; choose another folder for all of them")
    runs = fold_runs(folder, count)
    widest, of_folds = shared_caches(runs[0].folder)
    if not widest.is_dir():
        of_folds.mkdir(0o700, parents=True, exist_ok=True)
    if launched_rank() == 0:
        # Versions that kept no digests kept no list of what they wrote either.
        old = any(read_settings(run).data is None for run in runs if holds_run(run))
        claim(gathered_files(folder, dataset), overwrite=request.overwrite or old)
    for fold, run in enumerate(runs):
        if launched_rank() == 0:
            say(f"fold {fold} of 0 to {count - 1}")
            refuse_other_cases(runs, dataset)  # a fold that is done must not stand beside one of other data
        fit_in_view(dataset, run, replace(request, fold=fold))
        # One plan for all: what was measured on the way to it would not come out the same again.
        request = replace(request, plan=request.plan or read_plan(run.plan))
    if launched_rank() > 0:
        return None
    with progress() as bar:
        task = bar.add_task("gathering", total=None, note="")
        return gather_folds(
            folder, dataset, runs, lambda done, of: bar.update(task, completed=done, total=of), request.rules
        )


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

    def should_stop(self) -> bool:
        """Once a signal came."""
        return self._stop_signal is not None

    def on_step(self, report: StepReport) -> None:
        """The bar of steps."""
        dice = "" if math.isnan(report.dice_loss) else f"Dice loss {report.dice_loss:.3f}, "
        note = f"loss {report.loss:.3f}, {dice}{report.seconds:.2f} s/step{self._dice}"
        self._bar.update(self._task("step"), completed=report.step, total=report.steps, note=note)

    def on_transfer(self, transfer: Transfer) -> None:
        """A line for each weight that was not taken as it was."""
        say(f"{counted(len(transfer.loaded), 'weight')} taken from the model as they are, and:")
        for name, state, why in transfer.rows():
            say(f"  {name}: {state}, {why}")

    def on_validation(self, report: ValidationReport) -> None:
        """A line, and the mean Dice beside the bar from then on."""
        self._dice = f", validation Dice {number(report.mean_dice, 3)}"
        each = ", ".join(f"{name} {number(value, 3)}" for name, value in report.dice.items())
        say(f"step {report.step}: validation Dice {number(report.mean_dice, 3)} ({each})")

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


def run_transform(name: str | None, request: Request, runs: Sequence[Run]) -> Transform | None:
    """What --transform says; else the plan that is given, or that of a run that is resumed.

    Raises InputError where an option and a plan differ, since a model predicts as its plan says.
    """
    from unetr.core.plan.file import read_plan
    from unetr.train.run.folder import holds_run

    chosen = transform_named(name)
    plans = [request.plan, *(read_plan(run.plan) for run in runs if holds_run(run))]
    plan = next((plan for plan in plans if plan is not None), None)
    if plan is None:
        return chosen
    if chosen is not None and chosen != plan.transform:
        said = "no transform" if plan.transform is None else f"transform {plan.transform}"
        raise InputError(f"--transform {chosen}: the plan has {said}; set it there, or leave out one of them")
    return plan.transform


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

"""unetr train: from a labelled dataset to a model file, resumable at any moment."""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import DatasetPath, Json, print_json, print_table, progress, say
from unetr.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from unetr.evaluate.results import Results
    from unetr.train.loop import Observer, StepReport
    from unetr.train.validate import ValidationReport

ALL_DATA = "all-data"
DEFAULT_MINUTES = 60.0


def train(
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="The run's folder; an existing run is resumed.")],
    preset: Annotated[str, typer.Option(help="auto, paper, small or tiny.")] = "auto",
    plan: Annotated[Path | None, typer.Option(help="A plan to train by, in place of the planner's own.")] = None,
    fold: Annotated[str, typer.Option(help="The fold (from 0) that validates, or all-data to train on all.")] = "0",
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    seed: Annotated[int, typer.Option(help="Seed of folds, weights and samples.", min=0)] = 0,
    minutes: Annotated[float | None, typer.Option(help="Length of training. Default 60.", min=0.01)] = None,
    steps: Annotated[int | None, typer.Option(help="Length of training in steps instead.", min=1)] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Save after every so many steps instead of every 8 minutes.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Plan, prepare, train, validate, and write OUT/model.safetensors. Run it again to resume.

    Example: unetr train Task04_Hippocampus -o runs/hippocampus --minutes 20
    """
    if minutes is not None and steps is not None:
        raise InputError("give --minutes or --steps, not both")
    from unetr.core.plan import read_plan
    from unetr.prepare.cases import open_dataset
    from unetr.train.fit import Request, fit
    from unetr.train.run import Run

    request = Request(
        preset=preset,
        plan=None if plan is None else read_plan(plan),
        fold=_fold(fold),
        folds=folds,
        seed=seed,
        steps=steps,
        minutes=DEFAULT_MINUTES if minutes is None and steps is None else minutes,
        checkpoint_steps=checkpoint_steps,
    )
    run = Run(out)
    with progress() as bar:
        view = TrainingView(bar)
        results = fit(open_dataset(dataset), run, request, view.observer(run.tensorboard), view.stage)
        view.close()
    if as_json:
        print_json({"model": str(run.model), "mean_dice": None if results is None else _finite(results.mean_dice)})
    elif results is not None:
        print_scores(results)
    say(f"model: {run.model}")


def print_scores(results: Results) -> None:
    """A row per class: mean and confidence interval of Dice, HD95, surface Dice."""
    rows = []
    for summary in results.classes:
        dice, hd95, nsd = (summary.metrics[name] for name in ("dice", "hd95_mm", "nsd"))
        interval = f"{dice.low:.3f}..{dice.high:.3f}"
        rows.append((summary.label, f"{dice.mean:.4f}", interval, f"{hd95.mean:.2f}", f"{nsd.mean:.4f}"))
    rows.append(("mean", f"{results.mean_dice:.4f}", "", "", ""))
    title = f"{len(results.cases)} cases"
    print_table(title, ("class", "Dice", "95 % interval", "HD95 mm", f"NSD {results.tolerance_mm:g} mm"), rows)


class TrainingView:
    """What a person sees of a training: bars for the stages, one for the steps, TensorBoard events."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._dice = ""
        self._writer: object | None = None
        self._stopping = False

    def stage(self, name: str, done: int, of: int) -> None:
        """One more case of a stage is done."""
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=of, note="")
        self._bar.update(self._tasks[name], completed=done, total=of)

    def observer(self, tensorboard: Path) -> Observer:
        """Callbacks for the loop; SIGTERM and Ctrl-C ask it to save and stop instead of ending it at once."""
        from torch.utils.tensorboard import SummaryWriter

        from unetr.train.loop import Observer

        writer = SummaryWriter(str(tensorboard))  # type: ignore[no-untyped-call]
        self._writer = writer

        def on_step(report: StepReport) -> None:
            self._show_step(report)
            for name in ("loss", "dice_loss", "cross_entropy", "learning_rate", "gradient_norm"):
                writer.add_scalar(f"train/{name}", getattr(report, name), report.step)  # type: ignore[no-untyped-call]

        def on_validation(report: ValidationReport) -> None:
            self._show_validation(report)
            for name, value in {"mean": report.mean_dice, **report.dice}.items():
                writer.add_scalar(f"dice/{name}", value, report.step)  # type: ignore[no-untyped-call]

        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)
        return Observer(on_step, on_validation, lambda: self._stopping)

    def close(self) -> None:
        """Flushes TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()  # type: ignore[attr-defined]

    def _ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _show_step(self, report: StepReport) -> None:
        note = f"loss {report.loss:.3f}  dice loss {report.dice_loss:.3f}  {report.seconds:.2f} s/step{self._dice}"
        if "training" not in self._tasks:
            self._tasks["training"] = self._bar.add_task("training", total=report.steps, note=note)
        self._bar.update(self._tasks["training"], completed=report.step, total=report.steps, note=note)
        # Without a terminal there is no bar: a line now and then instead.
        if not sys.stderr.isatty() and report.step % 50 == 0:
            say(f"step {report.step} of {report.steps or '?'}: {note}")

    def _show_validation(self, report: ValidationReport) -> None:
        self._dice = f"  validation Dice {report.mean_dice:.4f}"
        each = ", ".join(f"{name} {value:.4f}" for name, value in report.dice.items())
        self._bar.console.print(f"step {report.step}: mean Dice {report.mean_dice:.4f} ({each})", highlight=False)


def _fold(text: str) -> int | None:
    if text == ALL_DATA:
        return None
    if not text.isdecimal():
        raise InputError(f"--fold {text}: expected a number from 0, or {ALL_DATA}")
    return int(text)


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value

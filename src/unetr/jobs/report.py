"""Gathers what a run left behind into its report page."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from unetr.app.hints import with_hint
from unetr.app.printing import say
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.evaluate.results import Results
    from unetr.train.run.folder import Run


@dataclass(frozen=True, slots=True)
class ShownCase:
    """A case whose overlay goes on the page: its scan (one file per channel), predicted and true label file."""

    name: str
    scan: tuple[Path, ...]
    prediction: Path
    truth: Path


def write_run_report(
    run: Run, results: Results | None, shown: Sequence[ShownCase], *, licence: str, citation: str
) -> Path:
    """Writes RUN/report.html and an overlay picture beside each shown prediction; returns the page's path."""
    from unetr.train.run.folder import read_settings

    settings = read_settings(run)
    facts = {
        "training": _budget(settings.steps, settings.minutes, settings.schedule_steps),
        "cases": f"{len(settings.training_cases)} trained, {len(settings.validation_cases)} validated",
        "fold, seed": f"{'all data' if settings.fold is None else settings.fold}, {settings.seed}",
    }
    return _write(run, run, results, shown, facts, (licence, citation))


def write_folds_report(folder: Path, folds: Sequence[Run], results: Results, shown: Sequence[ShownCase]) -> Path:
    """Writes FOLDER/report.html about a cross-validation, whose scores are those of all folds together."""
    from unetr.train.run.folder import Run, read_settings

    settings = [read_settings(run) for run in folds]
    budgets = dict.fromkeys(_budget(each.steps, each.minutes, each.schedule_steps) for each in settings)
    facts = {"training of each fold": ", ".join(budgets)}
    for run, each in zip(folds, settings, strict=True):
        dice = mean_dice_of(results, each.validation_cases)
        facts[run.folder.name] = (
            f"mean Dice {dice:.4f} of {len(each.validation_cases)} cases; its page is {run.folder.name}/report.html"
        )
    return _write(Run(folder), folds[0], results, shown, facts, (settings[0].licence, settings[0].reference))


def mean_dice_of(results: Results, cases: Sequence[str]) -> float:
    """Mean over classes of the mean Dice of these cases; NaN where none is defined."""
    from unetr.evaluate.results import mean_foreground_dice

    return mean_foreground_dice([score for score in results.scores if score.case in set(cases)])


def _write(
    run: Run,
    measured: Run,
    results: Results | None,
    shown: Sequence[ShownCase],
    facts: dict[str, str],
    credit: tuple[str, str],
) -> Path:
    """measured: the run that has the fingerprint. credit: the data's licence and how to cite it."""
    from unetr.core.plan.file import read_plan
    from unetr.core.space.frames import taking
    from unetr.report.page import ReportInput, WorstCase, write_report
    from unetr.train.run.folder import read_fingerprint

    plan = read_plan(run.plan)
    with taking(plan.transform):
        pictures = [(case.name, picture) for case in shown if (picture := _picture(case)) is not None]
    worst = tuple(WorstCase(name, mean_dice_of(results, [name]), png) for name, png in pictures if results is not None)
    page = run.folder / "report.html"
    report = ReportInput(
        plan=plan,
        fingerprint=read_fingerprint(measured),
        results=results,
        training_log=run.log,
        timing_log=run.timing,
        validation_log=run.validation_log,
        worst_cases=worst,
        data_licence=credit[0],
        citation=credit[1],
        facts=facts
        | {
            "unetr": version("unetr"),
            "torch": _version("torch"),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {platform.system()}",
        },
    )
    write_report(report, page)
    return page


def _picture(case: ShownCase) -> bytes | None:
    """The overlay of truth and prediction, also written beside the prediction; None where a file cannot be read."""
    from unetr.draw.picture import overlay, write_png
    from unetr.io import onto_grid, read_label, read_volume
    from unetr.prepare.datasets.cases import stack_channels

    try:
        scan = stack_channels([(path, read_volume(path)) for path in case.scan])
        predicted, true = (
            onto_grid(scan, read_label(path), case.scan[0], path) for path in (case.prediction, case.truth)
        )
        png = overlay(scan, predicted, true, case.name)
    except InputError as error:
        say(f"without a picture of {case.name}: {with_hint(error)}")
        return None
    write_png(picture_beside(case.prediction), png)
    return png


def picture_beside(prediction: Path) -> Path:
    """Where the overlay of a predicted label file is written."""
    from unetr.io import case_name

    return prediction.with_name(f"{case_name(prediction)}.png")


def _version(package: str) -> str:
    """A report can be made where the package that trained is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed here"


def _budget(steps: int | None, minutes: float | None, schedule_steps: int | None) -> str:
    return f"{steps} steps" if steps is not None else f"{minutes:g} minutes ({schedule_steps} steps)"

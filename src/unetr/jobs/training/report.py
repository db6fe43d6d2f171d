"""The page of a run, or those of all folds of a cross-validation: what the folders hold, gathered and drawn."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from unetr.core.files.lock import locked_files
from unetr.core.files.outputs import claim
from unetr.core.observer import Observer
from unetr.core.plan.file import read_plan
from unetr.core.space.frames import taking
from unetr.errors import InputError
from unetr.evaluation.results import Results, mean_foreground_dice, read_results, worst_cases
from unetr.train.run.folder import Run
from unetr.train.run.settings import Settings, dataset_folder, holds_run, read_fingerprint, read_settings

WORST_CASES = 5


@dataclass(frozen=True, slots=True)
class ShownCase:
    """A case whose overlay goes on the page: its scan (one file per channel), predicted and true label file."""

    name: str
    scan: tuple[Path, ...]
    prediction: Path
    truth: Path


def report_folder(folder: Path, *, overwrite: bool = False, observer: Observer | None = None) -> list[Path]:
    """Writes report.html into the folder of a run; of a cross-validation, into each fold's and into the one of all.

    Returns the pages. The observer hears why there is no page of all folds, or no picture of a case.
    Raises InputError, also where a person's file is in the way and `overwrite` is not set; MachineError.
    """
    observer = observer or Observer()
    if holds_run(Run(folder)):
        return [_report_run(Run(folder), overwrite, observer)]
    names = sorted(folder.glob("fold*"), key=lambda path: (len(path.name), path.name))
    folds = [fold for name in names if holds_run(fold := Run(name))]
    if not folds:
        return [_report_run(Run(folder), overwrite, observer)]  # which says what is missing
    pages = [_report_run(fold, overwrite, observer) for fold in folds]
    if not (folder / "results.json").exists():
        observer.on_note(
            f"{folder}: its folds are not all trained, so there is no page for all of them; train them to the end first"
        )
        return pages
    return [*pages, _report_folds(folder, folds, overwrite, observer)]


def _report_run(run: Run, overwrite: bool, observer: Observer) -> Path:
    settings = read_settings(run)
    scores = run.predictions / "results.json"
    results = read_results(scores) if scores.exists() else None
    shown = [] if results is None else _worst_shown(run, run.predictions, settings, results, observer)
    _claim_page(run.folder, shown, overwrite)
    with locked_files([run.folder / "report.html"], observer.on_note):
        return write_run_report(
            run, results, shown, licence=settings.licence, citation=settings.reference, observer=observer
        )


def _report_folds(folder: Path, folds: Sequence[Run], overwrite: bool, observer: Observer) -> Path:
    results = read_results(folder / "results.json")
    shown = _worst_shown(folds[0], folder / "out_of_fold", read_settings(folds[0]), results, observer)
    _claim_page(folder, shown, overwrite)
    with locked_files([folder / "report.html"], observer.on_note):
        return _write_folds_report(folder, folds, results, shown, observer)


def _claim_page(folder: Path, shown: Sequence[ShownCase], overwrite: bool) -> None:
    claim([folder / "report.html", *(picture_beside(case.prediction) for case in shown)], overwrite=overwrite)


def _worst_shown(
    run: Run, predictions: Path, settings: Settings, results: Results, observer: Observer
) -> list[ShownCase]:
    """The worst cases by `results` whose files are still there; a report without pictures is better than none."""
    from unetr.prepare.datasets.cases import open_dataset
    from unetr.prepare.datasets.digests import case_digest

    transform = read_plan(run.plan).transform
    try:
        with taking(transform):
            cases = {case.id: case for case in open_dataset(dataset_folder(run, settings)).labelled}
    except InputError as error:
        observer.on_note(f"without pictures of the worst cases: {error}")
        return []
    shown = []
    for name, _ in worst_cases(results, WORST_CASES):
        case, prediction = cases.get(name), predictions / f"{name}.nii.gz"
        known = settings.data and settings.data.cases.get(name)
        if case is not None and known is not None and case_digest(case) != known:
            observer.on_note(
                f"without a picture of {name}: its scan or label changed since it was scored; the scores are of before"
            )
        elif case is not None and case.label is not None and prediction.exists():
            shown.append(ShownCase(name, case.images, prediction, case.label))
    return shown


def write_run_report(
    run: Run,
    results: Results | None,
    shown: Sequence[ShownCase],
    *,
    licence: str,
    citation: str,
    observer: Observer | None = None,
) -> Path:
    """Writes RUN/report.html and an overlay picture beside each shown prediction; returns the page's path."""
    settings = read_settings(run)
    facts = {
        "training": _budget(settings.steps, settings.minutes, settings.schedule_steps),
        "cases": f"{len(settings.training_cases)} trained, {len(settings.validation_cases)} validated",
        "fold, seed": f"{'all data' if settings.fold is None else settings.fold}, {settings.seed}",
    }
    pictures = _pictures(run, shown, observer or Observer())
    return _write(run, run, results, pictures, facts, (licence, citation))


def _write_folds_report(
    folder: Path, folds: Sequence[Run], results: Results, shown: Sequence[ShownCase], observer: Observer
) -> Path:
    """Writes FOLDER/report.html about a cross-validation, whose scores are those of all folds together."""
    settings = [read_settings(run) for run in folds]
    budgets = dict.fromkeys(_budget(each.steps, each.minutes, each.schedule_steps) for each in settings)
    facts = {"training of each fold": ", ".join(budgets)}
    for run, each in zip(folds, settings, strict=True):
        dice = mean_dice_of(results, each.validation_cases)
        facts[run.folder.name] = (
            f"mean Dice {dice:.4f} of {len(each.validation_cases)} cases; its page is {run.folder.name}/report.html"
        )
    pictures = _pictures(Run(folder), shown, observer)
    return _write(Run(folder), folds[0], results, pictures, facts, (settings[0].licence, settings[0].reference))


def mean_dice_of(results: Results, cases: Sequence[str]) -> float:
    """Mean over classes of the mean Dice of these cases; NaN where none is defined."""
    return mean_foreground_dice([score for score in results.scores if score.case in set(cases)])


def _write(
    run: Run,
    measured: Run,
    results: Results | None,
    pictures: Mapping[str, bytes],
    facts: dict[str, str],
    credit: tuple[str, str],
) -> Path:
    """measured: the run that has the fingerprint. credit: the data's licence and how to cite it."""
    from unetr.report.page import ReportInput, WorstCase, write_report

    worst = () if results is None else (WorstCase(n, mean_dice_of(results, [n]), png) for n, png in pictures.items())
    page = run.folder / "report.html"
    report = ReportInput(
        plan=read_plan(run.plan),
        fingerprint=read_fingerprint(measured),
        results=results,
        training_log=run.log,
        timing_log=run.timing,
        validation_log=run.validation_log,
        worst_cases=tuple(worst),
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


def _pictures(run: Run, shown: Sequence[ShownCase], observer: Observer) -> dict[str, bytes]:
    """Case -> overlay, without those whose files cannot be read."""
    with taking(read_plan(run.plan).transform):
        drawn = {case.name: _picture(case, observer) for case in shown}
    return {name: png for name, png in drawn.items() if png is not None}


def _picture(case: ShownCase, observer: Observer) -> bytes | None:
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
        observer.on_note(f"without a picture of {case.name}: {error}")
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

"""unetr report: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.hints import with_hint
from unetr.app.options import Overwrite
from unetr.app.printing import say
from unetr.core.space.frames import taking
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.app.run_report import ShownCase
    from unetr.evaluate.results import Results
    from unetr.train.run.folder import Run, Settings

WORST_CASES = 5


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run made by unetr train.", show_default=False)],
    overwrite: Overwrite = False,
) -> None:
    """Write RUN/report.html: plan, curves, scores, worst cases with overlays, and how to cite the data.

    A folder of `unetr train --folds all` gets a page for each fold, and one for all of them.

    Example: unetr report runs/hippocampus
    """
    from unetr.train.run.folder import Run, holds_run

    if holds_run(Run(run)):
        _report_run(Run(run), overwrite)
        return
    folds = [
        fold
        for folder in sorted(run.glob("fold*"), key=lambda path: (len(path.name), path.name))
        if holds_run(fold := Run(folder))
    ]
    if not folds:
        _report_run(Run(run), overwrite)  # which says what is missing
        return
    for fold in folds:
        _report_run(fold, overwrite)
    _report_folds(run, folds, overwrite)


def _report_run(run: Run, overwrite: bool) -> None:
    from unetr.app.run_report import picture_beside, write_run_report
    from unetr.core.files.lock import locked_files
    from unetr.core.files.outputs import claim
    from unetr.evaluate.results import read_results
    from unetr.train.run.folder import read_settings

    settings = read_settings(run)
    scores = run.predictions / "results.json"
    results = read_results(scores) if scores.exists() else None
    shown = [] if results is None else _worst_shown(run, run.predictions, settings, results)
    pictures = [picture_beside(case.prediction) for case in shown]
    claim([run.folder / "report.html", *pictures], overwrite=overwrite)
    with locked_files([run.folder / "report.html"], say):
        page = write_run_report(run, results, shown, licence=settings.licence, citation=settings.reference)
    say(f"wrote {page}")


def _report_folds(folder: Path, folds: list[Run], overwrite: bool) -> None:
    """The page of a cross-validation that was gathered; said where it was not."""
    from unetr.app.run_report import picture_beside, write_folds_report
    from unetr.core.files.lock import locked_files
    from unetr.core.files.outputs import claim
    from unetr.evaluate.results import read_results
    from unetr.train.run.folder import read_settings

    scores = folder / "results.json"
    if not scores.exists():
        say(f"{folder}: its folds are not all trained, so there is no page for all of them; run unetr train again")
        return
    results = read_results(scores)
    shown = _worst_shown(folds[0], folder / "out_of_fold", read_settings(folds[0]), results)
    pictures = [picture_beside(case.prediction) for case in shown]
    claim([folder / "report.html", *pictures], overwrite=overwrite)
    with locked_files([folder / "report.html"], say):
        page = write_folds_report(folder, folds, results, shown)
    say(f"wrote {page}")


def _worst_shown(run: Run, predictions: Path, settings: Settings, results: Results) -> list[ShownCase]:
    """The worst cases by `results` whose files are still there; a report without pictures is better than none."""
    from unetr.app.run_report import ShownCase
    from unetr.core.plan.file import read_plan
    from unetr.evaluate.results import worst_cases
    from unetr.prepare.datasets.cases import open_dataset
    from unetr.prepare.datasets.digests import case_digest
    from unetr.train.run.folder import dataset_folder

    transform = read_plan(run.plan).transform
    try:
        with taking(transform):
            cases = {case.id: case for case in open_dataset(dataset_folder(run, settings)).labelled}
    except InputError as error:
        say(f"without pictures of the worst cases: {with_hint(error)}")
        return []
    shown = []
    for name, _ in worst_cases(results, WORST_CASES):
        case, prediction = cases.get(name), predictions / f"{name}.nii.gz"
        known = settings.data and settings.data.cases.get(name)
        if case is not None and known is not None and case_digest(case) != known:
            say(f"without a picture of {name}: its scan or label changed since it was scored; the scores are of before")
        elif case is not None and case.label is not None and prediction.exists():
            shown.append(ShownCase(name, case.images, prediction, case.label))
    return shown

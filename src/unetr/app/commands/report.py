"""unetr report: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import say
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.app.run_report import ShownCase
    from unetr.evaluate.results import Results
    from unetr.train.run import Run, Settings

WORST_CASES = 5


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run made by unetr train.", show_default=False)],
) -> None:
    """Write RUN/report.html: plan, curves, scores, worst cases with overlays, and how to cite the data.

    Example: unetr report runs/hippocampus
    """
    from unetr.app.run_report import write_run_report
    from unetr.core.lock import locked_files
    from unetr.evaluate.results import read_results
    from unetr.train.run import Run, read_settings

    opened = Run(run)
    settings = read_settings(opened)
    scores = opened.predictions / "results.json"
    results = read_results(scores) if scores.exists() else None
    shown = [] if results is None else _worst_shown(opened, settings, results)
    with locked_files([opened.folder / "report.html"], say):
        page = write_run_report(opened, results, shown, licence=settings.licence, citation=settings.reference)
    say(f"wrote {page}")


def _worst_shown(run: Run, settings: Settings, results: Results) -> list[ShownCase]:
    """The worst cases whose files are still there; a report without pictures is better than none."""
    from unetr.app.run_report import ShownCase
    from unetr.evaluate.results import worst_cases
    from unetr.prepare.cases import open_dataset
    from unetr.prepare.digests import case_digest
    from unetr.train.run import dataset_folder

    try:
        cases = {case.id: case for case in open_dataset(dataset_folder(run, settings)).labelled}
    except InputError as error:
        say(f"without pictures of the worst cases: {error}")
        return []
    shown = []
    for name, _ in worst_cases(results, WORST_CASES):
        case, prediction = cases.get(name), run.predictions / f"{name}.nii.gz"
        known = settings.data and settings.data.cases.get(name)
        if case is not None and known is not None and case_digest(case) != known:
            say(f"without a picture of {name}: its scan or label changed since it was scored; the scores are of before")
        elif case is not None and case.label is not None and prediction.exists():
            shown.append(ShownCase(name, case.images, prediction, case.label))
    return shown

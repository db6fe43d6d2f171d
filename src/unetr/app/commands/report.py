"""unetr report: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import say

WORST_CASES = 5


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run made by unetr train.", show_default=False)],
) -> None:
    """Write RUN/report.html: plan, curves, scores, worst cases with overlays, and how to cite the data.

    Example: unetr report runs/hippocampus
    """
    from unetr.app.run_report import ShownCase, write_run_report
    from unetr.evaluate.results import read_results, worst_cases
    from unetr.prepare.cases import open_dataset
    from unetr.train.run import Run, read_settings

    opened = Run(run)
    settings = read_settings(opened)
    scores = opened.predictions / "results.json"
    results = read_results(scores) if scores.exists() else None
    shown = []
    if results is not None:
        cases = {case.id: case for case in open_dataset(Path(settings.dataset)).labelled}
        for name, _ in worst_cases(results, WORST_CASES):
            case = cases.get(name)
            if case is not None and case.label is not None:
                shown.append(ShownCase(name, case.images, opened.predictions / f"{name}.nii.gz", case.label))
    page = write_run_report(opened, results, shown, licence=settings.licence, citation=settings.reference)
    say(f"wrote {page}")

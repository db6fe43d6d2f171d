"""unetr report: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import Overwrite
from unetr.app.printing import say
from unetr.app.views.progress import OnScreen


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run made by unetr train.", show_default=False)],
    overwrite: Overwrite = False,
) -> None:
    """Write the page of a run: plan, curves, scores and worst cases. Its name is RUN/report.html. How to cite is in it.

    A folder of `unetr train --folds all` gets a page for each fold, and one for all of them.

    Example: unetr report runs/hippocampus
    """
    from unetr.jobs.training.report import report_folder

    for page in report_folder(run, overwrite=overwrite, observer=OnScreen()):
        say(f"wrote {page}")

"""unetr demo: the shipped model on a real scan in seconds, then the whole path of a training in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr.app.options import Json, Overwrite, finite
from unetr.app.printing import print_json, say

if TYPE_CHECKING:
    from unetr.jobs.demo.demonstrate import DemoRequest
    from unetr.jobs.demo.shown import Shown


def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for everything that the demonstration writes.")
    ] = Path("unetr-demo"),
    train: Annotated[
        bool | None,
        typer.Option("--train/--no-train", help="With or without the training; by default where it is installed."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="Length of the training.", min=0.05, callback=finite)] = 3.5,
    seed: Annotated[int, typer.Option(help="Seed of weights and samples.", min=0)] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Segment a real scan in seconds; then train a model in minutes. It learns from half a brain.

    The first takes seconds and the base package. The second takes minutes and the extra `demo`; its scan is the ICBM152
    T1 template with its grey and white matter maps, from the nilearn package. Nothing is downloaded.

    Example: unetr demo
    """
    from unetr.jobs.demo.demonstrate import DemoRequest, missing_for_training

    missing = missing_for_training()
    trains = not missing if train is None else train
    parts = _demonstrate(DemoRequest(out, trains, minutes, seed, overwrite), as_json)
    if as_json:
        print_json(_told(parts))
    elif train is None and missing:
        say(f"to see a training as well, which needs {', '.join(missing)}: pip install 'unetr[demo]'")


def _demonstrate(request: DemoRequest, as_json: bool) -> list[Shown]:
    """The job, with what it tells on the screen; each part's scores when they are there."""
    from unetr.app.views.progress import progress
    from unetr.app.views.training import TrainingView
    from unetr.jobs.demo.demonstrate import DemoObserver, demonstrate

    with progress() as bar:

        class View(TrainingView, DemoObserver):
            def on_part_done(self, shown: Shown) -> None:
                if not as_json:
                    bar.stop()
                    _print_shown(shown)
                    bar.start()

        view = View(bar)
        with view.watching_signals():
            return demonstrate(request, view)


def _told(parts: list[Shown]) -> dict[str, Any]:
    """The training's figures, and under first_look those of the shipped model."""
    first, *trained = [
        {
            "mean_dice": part.results.mean_dice,
            "minutes": part.seconds / 60,
            "label_file": str(part.label_file),
            "picture": str(part.picture),
            "report": str(part.page),
        }
        for part in parts
    ]
    return {"first_look": first} | (trained[0] if trained else {})


def _print_shown(shown: Shown) -> None:
    from unetr.app.views.training import print_scores
    from unetr.core.text.numbers import counted

    print_scores(shown.results)
    for what, path in (("label file", shown.label_file), ("picture", shown.picture), ("report", shown.page)):
        say(f"{what + ':':<12}{path}")
    took = (
        counted(max(1, round(shown.seconds)), "second") if shown.seconds < 60 else f"{shown.seconds / 60:.1f} minutes"
    )
    say(f"done in {took}")

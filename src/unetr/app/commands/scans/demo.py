"""unetr demo: the whole path on a real scan in a few minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import Json, Overwrite, finite
from unetr.app.printing import print_json, say
from unetr.app.training_view import fit_in_view, print_scores

# What the demonstration writes beside the run, whose folder looks after itself.
_FILES = (
    "dataset/images/front.nii.gz",
    "dataset/labels/front.nii.gz",
    "dataset/labels.json",
    "test/back.nii.gz",
    "test/back_truth.nii.gz",
    "prediction/back.nii.gz",
    "prediction/back.png",
    "prediction/results.json",
    "prediction/results.csv",
    "run/report.html",
)


def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for everything that the demonstration writes.")
    ] = Path("unetr-demo"),
    minutes: Annotated[float, typer.Option(help="Length of the training.", min=0.05, callback=finite)] = 3.0,
    seed: Annotated[int, typer.Option(help="Seed of weights and samples.", min=0)] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train on the front of a real brain, segment its back, score and show the result. No download.

    The scan is the ICBM152 T1 template with its grey and white matter maps, from the nilearn package.

    Example: unetr demo
    """
    from unetr.core.files.lock import locked
    from unetr.core.files.outputs import claim

    with locked(out, say):
        claim([out / name for name in _FILES], overwrite=overwrite)
        _demonstrate(out, minutes, seed, as_json)


def _demonstrate(out: Path, minutes: float, seed: int, as_json: bool) -> None:
    from unetr.jobs.demo.brain_template import CITATION, LICENCE, NAMES, write_brain_parts
    from unetr.app.run_report import ShownCase, write_run_report
    from unetr.evaluate.results import write_results
    from unetr.evaluate.run import Pair, evaluate_pairs
    from unetr.infer.load import load
    from unetr.jobs.training.fit import Request
    from unetr.prepare.datasets.cases import open_dataset
    from unetr.train.run.folder import Run

    started = time.monotonic()
    say("preparing the ICBM152 brain template (from the nilearn package)")
    data = write_brain_parts(out)
    run = Run(out / "run")
    request = Request(preset="tiny", fold=None, seed=seed, minutes=minutes)
    fit_in_view(open_dataset(data.dataset), run, request)
    say("segmenting the back of the brain, which was not trained on")
    prediction = load(run.model).predict(data.test_scan)
    label_file = prediction.save(out / "prediction" / "back.nii.gz")
    results = evaluate_pairs([Pair("back", prediction=label_file, truth=data.test_label)], names=NAMES)
    write_results(out / "prediction", results)
    shown = ShownCase("back", (data.test_scan,), label_file, data.test_label)
    report = write_run_report(run, results, [shown], licence=LICENCE, citation=CITATION)
    picture = label_file.with_name("back.png")
    minutes_taken = (time.monotonic() - started) / 60
    if as_json:
        files = {"label_file": str(label_file), "picture": str(picture), "report": str(report)}
        print_json({"mean_dice": results.mean_dice, "minutes": minutes_taken, **files})
        return
    print_scores(results)
    for what, path in (("label file: ", label_file), ("picture:    ", picture), ("report:     ", report)):
        say(f"{what}{path}")
    say(f"done in {minutes_taken:.1f} minutes")

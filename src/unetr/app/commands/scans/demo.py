"""unetr demo: the shipped model on a real scan in seconds, then the whole path of a training in minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr.app.options import Json, Overwrite, finite
from unetr.app.printing import print_json, say
from unetr.app.training_view import fit_in_view, print_scores
from unetr.errors import MachineError

if TYPE_CHECKING:
    from unetr.jobs.demo.shown import Shown

# What the training part writes beside the run, whose folder looks after itself.
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
    train: Annotated[
        bool | None,
        typer.Option("--train/--no-train", help="With or without the training; where it is installed by default."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="Length of the training.", min=0.05, callback=finite)] = 3.0,
    seed: Annotated[int, typer.Option(help="Seed of weights and samples.", min=0)] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Segment a real scan with the shipped model; then train on half of a brain and segment the other half.

    The first takes seconds and the base package. The second takes minutes and the extra `demo`; its scan is the ICBM152
    T1 template with its grey and white matter maps, from the nilearn package. Nothing is downloaded.

    Example: unetr demo
    """
    from unetr.core.files.lock import locked
    from unetr.core.files.outputs import claim
    from unetr.core.observer import Observer
    from unetr.jobs.demo.installed import missing_for_training
    from unetr.jobs.demo.shipped_scan import segment_shipped_scan, shipped_scan_files

    missing = " and ".join(missing_for_training())
    if train and missing:
        raise MachineError(f"the training needs {missing}, not installed here; run: pip install 'unetr[demo]'")
    trains = not missing if train is None else train
    first, told = out / "hippocampus", {}
    with locked(out, say):
        claim([*shipped_scan_files(first), *(out / name for name in _FILES if trains)], overwrite=overwrite)
        say("segmenting a hippocampus with the shipped model, which has not learned from this scan")
        shown = segment_shipped_scan(first, Observer())
        told["first_look"] = _told(shown) | {"seconds": shown.seconds}
        if not as_json:
            _print_shown(shown, f"{shown.seconds:.0f} seconds")
        if trains:
            shown = _train_on_brain(out, minutes, seed)
            told |= _told(shown) | {"minutes": shown.seconds / 60}
            if not as_json:
                _print_shown(shown, f"{shown.seconds / 60:.1f} minutes")
    if as_json:
        print_json(told)
    elif train is None and missing:
        say(f"to see a training as well, which needs {missing}: pip install 'unetr[demo]'")


def _told(shown: Shown) -> dict[str, Any]:
    files = {"label_file": str(shown.label_file), "picture": str(shown.picture), "report": str(shown.page)}
    return {"mean_dice": shown.results.mean_dice, **files}


def _print_shown(shown: Shown, duration: str) -> None:
    print_scores(shown.results)
    for what, path in (("label file", shown.label_file), ("picture", shown.picture), ("report", shown.page)):
        say(f"{what + ':':<12}{path}")
    say(f"done in {duration}\n")


def _train_on_brain(out: Path, minutes: float, seed: int) -> Shown:
    from unetr.evaluation.pairs import Pair, evaluate_pairs
    from unetr.evaluation.results import write_results
    from unetr.infer.load import load
    from unetr.jobs.demo.brain_template import CITATION, LICENCE, NAMES, write_brain_parts
    from unetr.jobs.demo.shown import Shown
    from unetr.jobs.report import ShownCase, write_run_report
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
    return Shown(results, label_file, picture, report, time.monotonic() - started)

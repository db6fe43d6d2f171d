"""The second part of the demonstration: trains on the front of a real brain, segments and scores its back."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from unetr.core.observer import staged, stop_if_asked
from unetr.core.plan.file import read_plan
from unetr.core.plan.schema import Plan, PostprocessPlan
from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.evaluation.results import write_results
from unetr.infer.load import load
from unetr.jobs.demo.brain_template import CITATION, LICENCE, NAMES, write_brain_parts
from unetr.jobs.demo.shown import Shown
from unetr.jobs.training.fit import fit_run
from unetr.jobs.training.prepare_run import plan_for
from unetr.jobs.training.report import ShownCase, write_run_report
from unetr.jobs.training.request import TrainingOptions
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.datasets.dataset import Dataset
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.train.observer import TrainingObserver
from unetr.train.run.folder import Run
from unetr.train.run.settings import holds_run

# In the half that is trained on, each tissue is one piece; what else there is of it comes to less than 0.05 ml.
_SMALLEST_PIECE_ML: Final = 0.2
_FILES: Final = (
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


def brain_files(folder: Path) -> list[Path]:
    """Every file that `train_on_brain` writes, but for those of the run, whose folder looks after itself."""
    return [folder / name for name in _FILES]


def train_on_brain(folder: Path, minutes: float, seed: int, observer: TrainingObserver) -> Shown:
    """Trains for so many minutes, resuming what the folder holds; then segments, scores and draws the other half.

    Raises InputError, MachineError (also where nilearn is not installed), StoppedError.
    """
    started = time.monotonic()
    observer.on_note("training on the front half of the ICBM152 brain template (from the nilearn package)")
    data = write_brain_parts(folder)
    run, dataset = Run(folder / "run"), open_dataset(data.dataset)
    options = TrainingOptions(preset="tiny", fold=None, seed=seed, minutes=minutes)
    plan = read_plan(run.plan) if holds_run(run) else _plan(dataset, options, observer)
    fit_run(dataset, run, replace(options, plan=plan), observer)
    stop_if_asked(observer, "segmenting")
    observer.on_note("segmenting the back half, which was not trained on")
    label_file = load(run.model).predict(data.test_scan).save(folder / "prediction" / "back.nii.gz")
    results = evaluate_pairs([Pair("back", prediction=label_file, truth=data.test_label)], names=NAMES)
    write_results(label_file.parent, results)
    shown = ShownCase("back", (data.test_scan,), label_file, data.test_label)
    page = write_run_report(run, results, [shown], licence=LICENCE, citation=CITATION, observer=observer)
    return Shown("brain", results, label_file, label_file.with_name("back.png"), page, time.monotonic() - started)


def _plan(dataset: Dataset, options: TrainingOptions, observer: TrainingObserver) -> Plan:
    """The planner's choice, and no specks of tissue where there is none."""
    plan = plan_for(dataset, measure_fingerprint(dataset, staged(observer, "measuring")), options)
    rules = {name: PostprocessPlan(minimum_volume_ml=_SMALLEST_PIECE_ML) for name in NAMES if name != "background"}
    reason = f"a brain has no piece of tissue smaller than {_SMALLEST_PIECE_ML:g} ml"
    return plan.model_copy(
        update={"postprocess": rules, "dataset": "brain", "reasons": plan.reasons | {"postprocess": reason}}
    )

"""A training, from a dataset's path to a model: of one fold, of each fold, on all cases, or without labels.

The same for the command line, a server and Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from unetr.core.files.outputs import claim
from unetr.core.plan.file import read_plan
from unetr.core.plan.schema import Plan
from unetr.core.space.frames import Transform, taking
from unetr.errors import InputError
from unetr.jobs.training.crossval import cross_validate, fold_runs
from unetr.jobs.training.fit import fit_run
from unetr.jobs.training.request import (
    EVERY,
    PretrainingKeywords,
    PretrainingOutcome,
    PretrainingRequest,
    TrainingKeywords,
    TrainingOptions,
    TrainingOutcome,
    TrainingRequest,
    pretraining_request,
    training_request,
)
from unetr.model.file.model_file import ModelFile
from unetr.prepare.datasets.cases import open_noted
from unetr.prepare.datasets.unlabelled import open_unlabelled
from unetr.report.plots import read_log
from unetr.train.observer import Follower, TrainingObserver
from unetr.train.run.folder import Run
from unetr.train.run.settings import holds_run


def fit(
    dataset: Path | str,
    out: Path | str,
    *,
    plan: Plan | Path | str | None = None,
    start: ModelFile | Path | str | None = None,
    observer: TrainingObserver | None = None,
    **options: Unpack[TrainingKeywords],
) -> TrainingOutcome:
    """Trains a network on a dataset, in the folder `out`; called again, it goes on where it was stopped.

    plan, start: in place of the planner's own plan and of fresh weights; or the file, or the name of a shipped model.
    options: those of `TrainingOptions`; minutes or steps is needed. fold: the one that validates, None to train on all
    cases, "every" for an ensemble of all `folds`. observer: hears how it goes, and may end it, with the state saved.
    Raises InputError (what was asked for cannot be used), MachineError (the machine refuses), StoppedError (the
    observer asked to stop).

    >>> outcome = unetr.fit("dataset", "run", steps=2, preset="tiny", folds=2)
    >>> outcome.model.name, outcome.results.cases
    ('model.safetensors', ('case_b',))
    >>> prediction = unetr.load(outcome.model).predict("scan.nii.gz")
    """
    request = training_request(dataset, out, plan=plan, start=start, **options)
    return train_model(request, observer or TrainingObserver())


def pretrain(
    scans: Path | str,
    out: Path | str,
    *,
    channels: Sequence[str] = (),
    plan: Plan | Path | str | None = None,
    observer: TrainingObserver | None = None,
    **options: Unpack[PretrainingKeywords],
) -> PretrainingOutcome:
    """Trains a network on scans without labels, for `fit` to start from; called again, it goes on.

    channels: their names, such as CT; a name with CT is CT. plan: of which network, grid and normalisation are used.
    The others and what is raised are as in `fit`.

    >>> pretrained = unetr.pretrain("scans", "pretrained", channels=["MRI"], steps=2, preset="tiny")
    >>> outcome = unetr.fit("dataset", "run", start=pretrained.model, steps=2)
    """
    request = pretraining_request(scans, out, channels=channels, plan=plan, **options)
    return pretrain_model(request, observer or TrainingObserver())


def train_model(request: TrainingRequest, observer: TrainingObserver) -> TrainingOutcome:
    """Plans, prepares, trains, validates and writes the model, or goes on with what the folder holds.

    Raises InputError, MachineError; StoppedError, with the state saved, where the observer asks to stop.
    """
    options, run = request.options, Run(request.out)
    told = observer if options.leads else Follower(observer)
    if options.fold == EVERY and options.plan_file is not None:
        claim([run.plan], {"the plan itself": [options.plan_file]}, overwrite=True)
    with taking(_transform(options, [run, *fold_runs(request.out, 1)])):
        dataset = open_noted(request.dataset, told)
        if options.fold == EVERY:
            return TrainingOutcome(request.out, cross_validate(dataset, request.out, options, told))
        return TrainingOutcome(run.model, fit_run(dataset, run, options, told))


def pretrain_model(request: PretrainingRequest, observer: TrainingObserver) -> PretrainingOutcome:
    """Trains a network to predict patches of scans that are hidden from it. Raises what `train_model` raises."""
    options, run = request.options, Run(request.out)
    with taking(_transform(options, [run])):
        dataset = open_unlabelled(request.scans, request.channels)
        fit_run(dataset, run, options, observer if options.leads else Follower(observer))
    losses = read_log(run.log)["loss"]
    tenth = max(1, len(losses) // 10)
    return PretrainingOutcome(run.model, len(losses), float(losses[:tenth].mean()), float(losses[-tenth:].mean()))


def _transform(options: TrainingOptions, runs: Sequence[Run]) -> Transform | None:
    """What is asked for; else that of the plan that is given, or of a run that is resumed.

    Raises InputError where it differs from such a plan's, since a model predicts as its plan says.
    """
    plans = [options.plan, *(read_plan(run.plan) for run in runs if holds_run(run))]
    plan = next((plan for plan in plans if plan is not None), None)
    if plan is None:
        return options.transform
    if options.transform is not None and options.transform != plan.transform:
        said = "no transform" if plan.transform is None else f"transform {plan.transform}"
        raise InputError(f"transform {options.transform}: the plan has {said}; set it there, or leave out one of them")
    return plan.transform

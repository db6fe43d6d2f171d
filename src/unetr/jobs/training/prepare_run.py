"""What a run begins with: its data checked and measured, its plan, and which cases train and validate."""

from __future__ import annotations

from functools import partial

from unetr.core.observer import Observer, staged
from unetr.core.plan.file import read_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.jobs.training.request import TrainingOptions
from unetr.model.network.build import empty_network
from unetr.prepare.checks.check import TURNED, check_dataset
from unetr.prepare.datasets.cases import Dataset
from unetr.prepare.datasets.digests import data_digest
from unetr.prepare.datasets.folds import split_folds
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.budget import Budget, fit_preset
from unetr.prepare.planning.names import AUTO
from unetr.prepare.planning.planner import make_plan
from unetr.train.losses import loss_named
from unetr.train.optimise.capacity import free_memory_gb, training_voxels_per_second
from unetr.train.optimise.transfer import plan_from
from unetr.train.run.folder import Run
from unetr.train.run.resume import open_run
from unetr.train.run.settings import Settings, holds_run, path_from, read_fingerprint, read_settings


def prepare_run(dataset: Dataset, run: Run, options: TrainingOptions, observer: Observer) -> tuple[Plan, Settings]:
    """The plan and settings of a new run, or those of the run in the folder when they are the same training."""
    settings = _settings(dataset, run, options)
    fingerprint: Fingerprint | None
    if holds_run(run) and read_settings(run).preset == options.preset:
        # A plan follows from the dataset and the preset, so nothing has to be measured again.
        fingerprint, plan = read_fingerprint(run), options.plan or read_plan(run.plan)
    else:
        if not dataset.unlabelled:
            _check_dataset(dataset, observer)
        fingerprint = measure_fingerprint(dataset, staged(observer, "measuring"))
        plan = options.plan or plan_for(dataset, fingerprint, options)
    _check_plan(plan, dataset)
    return plan, open_run(run, plan, settings, fingerprint, options.overwrite)


def plan_for(dataset: Dataset, fingerprint: Fingerprint, options: TrainingOptions) -> Plan:
    """The planner's choice for this machine's memory and, with a budget in minutes, its speed, timed for some seconds.

    Raises InputError as make_plan does.
    """
    processes, free_gb = options.launch.size, free_memory_gb(options.launch.processes)
    planned = partial(make_plan, dataset, fingerprint, processes=processes, free_gb=free_gb)
    plan = planned(preset=options.preset)
    if options.start is not None:
        return plan_from(options.start, plan, fingerprint)
    if options.minutes is None:
        return plan
    budget = Budget(options.minutes, training_voxels_per_second(plan, options.seed) * processes)
    if options.preset != AUTO:
        return planned(preset=options.preset, budget=budget)
    preset, why = fit_preset(plan, budget, free_gb)
    if preset != plan.network.preset:
        speed = training_voxels_per_second(planned(preset=preset), options.seed)
        budget = Budget(options.minutes, speed * processes)
    chosen = planned(preset=preset, budget=budget)
    timed = f"timed: {budget.voxels_per_second / 1e6:.2g} million voxels a second in the fastest of some seconds' steps"
    reason = f"{chosen.reasons['network']}; {why}; {timed}"
    return chosen.model_copy(update={"reasons": chosen.reasons | {"network": reason}})


def _settings(dataset: Dataset, run: Run, options: TrainingOptions) -> Settings:
    if (options.steps is None) == (options.minutes is None):
        raise InputError("a training needs a budget: give either steps or minutes")
    if isinstance(options.fold, str):
        raise ValueError("a run is of one fold")
    ids = [case.id for case in dataset.learned_from]
    validation: tuple[str, ...] = ()
    if options.fold is not None:
        folds = split_folds(dataset, options.folds, options.seed)
        if not 0 <= options.fold < len(folds):
            last = len(folds) - 1
            raise InputError(f"fold {options.fold}: there are folds 0 to {last}; or train on all cases", hint="fold")
        validation = folds[options.fold]
    return Settings(
        dataset=path_from(run, dataset.root / f"{dataset.name}.csv" if dataset.layout == "csv" else dataset.root),
        preset=options.preset,
        fold=options.fold,
        folds=options.folds,
        seed=options.seed,
        steps=options.steps,
        minutes=options.minutes,
        training_cases=tuple(case for case in ids if case not in set(validation)),
        validation_cases=validation,
        schedule_steps=options.steps,
        licence=dataset.licence,
        reference=dataset.reference,
        start_digest="" if options.start is None else options.start.sha256,
        data=data_digest(dataset),
    )


def _check_dataset(dataset: Dataset, observer: Observer) -> None:
    """A dataset on which training would be wrong is refused before any time is spent on it. Raises InputError."""
    report = check_dataset(dataset, staged(observer, "checking"), held_out=False)
    turned = [problem.message for problem in report.problems if problem.code == TURNED]
    if turned:
        observer.on_note(
            f"{dataset.root}: {len(turned)} of {report.cases} labels are turned to their images; the first: {turned[0]}"
        )
    errors = report.errors
    if errors:
        first = f"case {errors[0].case}: {errors[0].message}" if errors[0].case else errors[0].message
        more = f"; {len(errors) - 1} more" if len(errors) > 1 else ""
        raise InputError(f"{dataset.root}: training would be wrong: {first}{more}", hint="check")


def _check_plan(plan: Plan, dataset: Dataset) -> None:
    """Raises InputError for a plan of another dataset, or of a network or loss that does not exist."""
    if plan.in_channels != len(dataset.channel_names):
        raise InputError(
            f"{dataset.root}: has {len(dataset.channel_names)} channels, the plan has {plan.in_channels}; "
            "use a plan made for this dataset"
        )
    try:
        empty_network(plan.network, plan.in_channels, plan.outputs, plan.window)
    except ValueError as error:
        raise InputError(f"the plan for {plan.dataset}: {error}") from None
    loss_named(plan.training.loss.name)
    if plan.labels != dataset.labels:
        raise InputError(
            f"{dataset.root}: has the labels {dataset.labels}, the plan has {plan.labels}; "
            "use a plan made for this dataset"
        )

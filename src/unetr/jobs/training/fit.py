"""fit: a dataset in, a run folder with a model file out. The same for the command, the demo and Python.

A dataset without labels makes it a pretraining: the same loop with another objective (`masking.py`), on all cases.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from unetr.core.files.lock import locked
from unetr.core.observer import Observer, staged
from unetr.core.plan.file import read_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.space.frames import taking
from unetr.errors import InputError
from unetr.evaluation.results import Results
from unetr.jobs.training.events import TensorBoard
from unetr.model.file.model_file import ModelFile
from unetr.model.network.build import empty_network
from unetr.prepare.cache import build_cache, cache_problems
from unetr.prepare.checks.check import TURNED, check_dataset
from unetr.prepare.datasets.cases import Dataset
from unetr.prepare.datasets.digests import data_digest
from unetr.prepare.datasets.folds import split_folds
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.budget import Budget, fit_preset
from unetr.prepare.planning.planner import make_plan
from unetr.prepare.planning.presets import AUTO
from unetr.prepare.prepared import refuse
from unetr.train.capacity import free_memory_gb, training_voxels_per_second
from unetr.train.finish import finish
from unetr.train.loop import Options, train
from unetr.train.observer import TrainingObserver
from unetr.train.optimise.transfer import plan_from
from unetr.train.run.checkpoint import averaged_weights
from unetr.train.run.folder import Run, Settings, holds_run, open_run, path_from, read_fingerprint, read_settings
from unetr.train.team import Launch, assemble

_NO_DIGESTS = (
    "was begun by a version that kept no digests of the data; it goes on, but nothing can tell whether the data is "
    "still the same"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks of a training.

    plan: in place of the planner's own. fold: the fold that validates, None to train on all cases.
    steps, minutes: the budget, one of them. checkpoint_steps: save so often instead of every few minutes.
    start: a model to start from; its network, window and grid are used where no plan is given.
    launch: the processes that train together, each of which calls `fit`; None for one alone.
    overwrite: whether files that a person made or edited may be replaced.
    rules: whether a cross-validation looks for rules for what is removed after prediction.
    """

    preset: str = "auto"
    plan: Plan | None = None
    fold: int | None = 0
    folds: int = 5
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    checkpoint_steps: int | None = None
    start: ModelFile | None = None
    launch: Launch | None = None
    rules: bool = True
    overwrite: bool = False


def fit(dataset: Dataset, run: Run, request: Request, observer: TrainingObserver) -> Results | None:
    """Plans, caches, trains, validates and writes the model file; resumes what the folder holds.

    Returns the scores of the validation cases, None when all cases train, and in all processes but the leader.
    Raises InputError, MachineError, StoppedError.
    """
    known = _known_plan(run, request)
    dataset = dataset if known is None else dataset.ignoring(known.ignore_label)
    team = assemble(request.launch)
    with ExitStack() as held:
        held.enter_context(taking(None if known is None else known.transform))
        with team.missing_nobody():
            with team.leader_first():
                if team.leads:
                    held.enter_context(locked(run.folder, observer.on_note))
                plan, settings = prepare_run(dataset, run, request, observer)
                if team.leads and settings.data is None:
                    observer.on_note(f"{run.folder}: {_NO_DIGESTS}")
                cache = build_cache(
                    dataset,
                    plan,
                    run.cache,
                    progress=staged(observer, "preparing"),
                    digests=None if settings.data is None else settings.data.cases,
                )
                held_back = {} if settings.fold is None else {settings.fold: settings.validation_cases}
                for warning in refuse(cache_problems(cache, plan, held_back), dataset) if team.leads else ():
                    observer.on_note(warning)
            options = Options(request.checkpoint_steps, request.start, request.launch)
            telling = TensorBoard(run.tensorboard, observer)
            weights = averaged_weights(train(run, cache, plan, settings, telling, options))
        if not team.leads:
            return None
        return finish(run, dataset, plan, settings, weights, staged(observer, "validating"), request.overwrite)


def prepare_run(dataset: Dataset, run: Run, request: Request, observer: Observer) -> tuple[Plan, Settings]:
    """The plan and settings of a new run, or those of the run in the folder when they are the same training."""
    settings = _settings(dataset, run, request)
    fingerprint: Fingerprint | None
    if holds_run(run) and read_settings(run).preset == request.preset:
        # A plan follows from the dataset and the preset, so nothing has to be measured again.
        fingerprint, plan = read_fingerprint(run), request.plan or read_plan(run.plan)
    else:
        if not dataset.unlabelled:
            _check_dataset(dataset, observer)
        fingerprint = measure_fingerprint(dataset, staged(observer, "measuring"))
        plan = request.plan or plan_for(dataset, fingerprint, request)
    _check_plan(plan, dataset)
    return plan, open_run(run, plan, settings, fingerprint, request.overwrite)


def _known_plan(run: Run, request: Request) -> Plan | None:
    """The plan that was given, or the run's own; None where it is still to be made. Raises InputError."""
    return request.plan or (read_plan(run.plan) if holds_run(run) else None)


def plan_for(dataset: Dataset, fingerprint: Fingerprint, request: Request) -> Plan:
    """The planner's choice for this machine's memory and, with a budget in minutes, its speed, timed for some seconds.

    Raises InputError as make_plan does.
    """
    launch = request.launch or Launch()
    processes, free_gb = launch.size, free_memory_gb(launch.processes)
    planned = partial(make_plan, dataset, fingerprint, processes=processes, free_gb=free_gb)
    plan = planned(preset=request.preset)
    if request.start is not None:
        return plan_from(request.start, plan, fingerprint)
    if request.minutes is None:
        return plan
    budget = Budget(request.minutes, training_voxels_per_second(plan, request.seed) * processes)
    if request.preset != AUTO:
        return planned(preset=request.preset, budget=budget)
    preset, why = fit_preset(plan, budget, free_gb)
    if preset != plan.network.preset:
        speed = training_voxels_per_second(planned(preset=preset), request.seed)
        budget = Budget(request.minutes, speed * processes)
    chosen = planned(preset=preset, budget=budget)
    timed = f"timed: {budget.voxels_per_second / 1e6:.2g} million voxels a second in the fastest of some seconds' steps"
    reason = f"{chosen.reasons['network']}; {why}; {timed}"
    return chosen.model_copy(update={"reasons": chosen.reasons | {"network": reason}})


def _settings(dataset: Dataset, run: Run, request: Request) -> Settings:
    if (request.steps is None) == (request.minutes is None):
        raise InputError("a training needs a budget: give either steps or minutes")
    ids = [case.id for case in dataset.learned_from]
    validation: tuple[str, ...] = ()
    if request.fold is not None:
        folds = split_folds(dataset, request.folds, request.seed)
        if not 0 <= request.fold < len(folds):
            raise InputError(f"fold {request.fold}: there are folds 0 to {len(folds) - 1}; or use all-data")
        validation = folds[request.fold]
    return Settings(
        dataset=path_from(run, dataset.root / f"{dataset.name}.csv" if dataset.layout == "csv" else dataset.root),
        preset=request.preset,
        fold=request.fold,
        folds=request.folds,
        seed=request.seed,
        steps=request.steps,
        minutes=request.minutes,
        training_cases=tuple(case for case in ids if case not in set(validation)),
        validation_cases=validation,
        schedule_steps=request.steps,
        licence=dataset.licence,
        reference=dataset.reference,
        start_digest="" if request.start is None else request.start.sha256,
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
    """A plan written for another dataset, or for a network that cannot exist, is refused. Raises InputError."""
    if plan.in_channels != len(dataset.channel_names):
        raise InputError(
            f"{dataset.root}: has {len(dataset.channel_names)} channels, the plan has {plan.in_channels}; "
            "use a plan made for this dataset"
        )
    try:
        empty_network(plan.network, plan.in_channels, plan.outputs, plan.window)
    except ValueError as error:
        raise InputError(f"the plan for {plan.dataset}: {error}") from None
    if plan.labels != dataset.labels:
        raise InputError(
            f"{dataset.root}: has the labels {dataset.labels}, the plan has {plan.labels}; "
            "use a plan made for this dataset"
        )

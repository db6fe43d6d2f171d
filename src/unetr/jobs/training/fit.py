"""One training in one folder: what was asked of a run is prepared, trained and scored, or gone on with.

A dataset without labels makes it a pretraining: the same loop with another objective (`masking.py`), on all cases.
"""

from __future__ import annotations

from contextlib import ExitStack

from unetr.core.files.lock import locked
from unetr.core.observer import staged
from unetr.core.plan.file import read_plan
from unetr.core.plan.schema import Plan
from unetr.core.space.frames import taking
from unetr.evaluation.results import Results
from unetr.jobs.training.finish import finish
from unetr.jobs.training.prepare_run import prepare_run
from unetr.jobs.training.request import TrainingOptions
from unetr.prepare.cache import Cache, build_cache, cache_problems
from unetr.prepare.datasets.cases import Dataset
from unetr.prepare.prepared import refuse
from unetr.train.loop import Options, train
from unetr.train.observer import TrainingObserver
from unetr.train.run.checkpoint import averaged_weights
from unetr.train.run.events import TensorBoard
from unetr.train.run.folder import Run
from unetr.train.run.settings import Settings, holds_run
from unetr.train.team import Team, assemble

_NO_DIGESTS = (
    "was begun by a version that kept no digests of the data; it goes on, but nothing can tell whether the data is "
    "still the same"
)


def fit_run(dataset: Dataset, run: Run, options: TrainingOptions, observer: TrainingObserver) -> Results | None:
    """Plans, caches, trains, validates and writes the model file; resumes what the folder holds.

    Returns the scores of the validation cases, None when all cases train, and in all processes but the leader.
    Raises InputError, MachineError, StoppedError.
    """
    known = _known_plan(run, options)
    dataset = dataset if known is None else dataset.ignoring(known.ignore_label)
    team = assemble(options.launch)
    with ExitStack() as held:
        held.enter_context(taking(None if known is None else known.transform))
        with team.missing_nobody():
            with team.leader_first():
                if team.leads:
                    held.enter_context(locked(run.folder, observer.on_note))
                plan, settings = prepare_run(dataset, run, options, observer)
                cache = _cache(dataset, run, plan, settings, team, observer)
            how = Options(options.checkpoint_steps, options.start, options.launch)
            state = train(run, cache, plan, settings, TensorBoard(run.tensorboard, observer), how)
            weights = averaged_weights(state)
        if not team.leads:
            return None
        return finish(run, dataset, plan, settings, weights, observer, options.overwrite)


def _cache(dataset: Dataset, run: Run, plan: Plan, settings: Settings, team: Team, observer: TrainingObserver) -> Cache:
    """The prepared cases, checked by the leader. Raises InputError where training on them would be wrong."""
    digests = None if settings.data is None else settings.data.cases
    if team.leads and digests is None:
        observer.on_note(f"{run.folder}: {_NO_DIGESTS}")
    cache = build_cache(dataset, plan, run.cache, progress=staged(observer, "preparing"), digests=digests)
    held_back = {} if settings.fold is None else {settings.fold: settings.validation_cases}
    for warning in refuse(cache_problems(cache, plan, held_back), dataset) if team.leads else ():
        observer.on_note(warning)
    return cache


def _known_plan(run: Run, options: TrainingOptions) -> Plan | None:
    """The plan that was given, or the run's own; None where it is still to be made. Raises InputError."""
    return options.plan or (read_plan(run.plan) if holds_run(run) else None)

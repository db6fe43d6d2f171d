"""Cross-validation: every fold trained in turn, then one model of all: out-of-fold scores, rules that earned it.

It is a folder with a run per fold, fold0, fold1, ...; `unetr.infer.load` takes it as an ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from unetr.core.files.lock import locked
from unetr.core.files.outputs import claim
from unetr.core.observer import Observer, staged
from unetr.core.plan.file import read_plan, write_plan
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.evaluation.results import Results, write_results
from unetr.infer.rules import apply_rules
from unetr.io import read_label, write_volume
from unetr.jobs.training.fit import fit_run
from unetr.jobs.training.request import TrainingOptions
from unetr.jobs.training.rule_trials import try_rules
from unetr.model.file.model_file import read_model, write_model
from unetr.prepare.datasets.cases import Dataset
from unetr.prepare.datasets.folds import split_folds
from unetr.train.observer import TrainingObserver
from unetr.train.run.folder import Run, shared_caches
from unetr.train.run.resume import refuse_other_cases
from unetr.train.run.settings import holds_run, read_settings


def cross_validate(
    dataset: Dataset, folder: Path, options: TrainingOptions, observer: TrainingObserver
) -> Results | None:
    """Every fold in turn, each in FOLDER/fold<k>, then what is made of all; finished folds are not trained again.

    Of several processes that train together, only the first makes something of all and returns the results. Raises
    InputError for a folder that holds something else, or folds of other data; MachineError, StoppedError.
    """
    with locked(folder, observer.on_note) if options.leads else nullcontext():
        runs = fold_runs(folder, len(split_folds(dataset, options.folds, options.seed)))
        _open_folder(folder, dataset, runs, options)
        for fold, run in enumerate(runs):
            if options.leads:
                observer.on_fold(fold, len(runs))
                refuse_other_cases(runs, dataset)  # a fold that is done must not stand beside one of other data
            fit_run(dataset, run, replace(options, fold=fold), observer)
            # One plan for all: what was measured on the way to it would not come out the same again.
            options = replace(options, plan=options.plan or read_plan(run.plan))
        return gather_folds(folder, dataset, runs, observer, options.rules) if options.leads else None


def _open_folder(folder: Path, dataset: Dataset, runs: Sequence[Run], options: TrainingOptions) -> None:
    """Makes the cache that the folds share, and claims what is written beside them. Raises InputError."""
    if holds_run(Run(folder)):
        raise InputError(f"{folder}: holds a run of one fold; choose another folder for all of them")
    widest, of_folds = shared_caches(runs[0].folder)
    if not widest.is_dir():
        of_folds.mkdir(0o700, parents=True, exist_ok=True)
    if options.leads:
        # Versions that kept no digests kept no list of what they wrote either.
        old = any(read_settings(run).data is None for run in runs if holds_run(run))
        claim(gathered_files(folder, dataset), overwrite=options.overwrite or old)


def fold_runs(folder: Path, folds: int) -> list[Run]:
    """The runs of a cross-validation."""
    return [Run(folder / f"fold{fold}") for fold in range(folds)]


def gathered_files(folder: Path, dataset: Dataset) -> list[Path]:
    """What `gather_folds` writes into the folder of all folds."""
    cases = [folder / "out_of_fold" / f"{case.id}.nii.gz" for case in dataset.labelled]
    return [folder / "plan.yaml", folder / "results.json", folder / "results.csv", *cases]


def gather_folds(
    folder: Path, dataset: Dataset, runs: Sequence[Run], observer: Observer, rules: bool = True
) -> Results:
    """Ends a cross-validation whose runs are done; may be called again, with the same result.

    Tries rules on the out-of-fold predictions unless `rules` is off, writes those that help into each fold's model file
    and FOLDER/plan.yaml, writes FOLDER/out_of_fold/<case>.nii.gz with these rules applied, and scores them. Raises
    InputError, also where the data is not what every fold was trained on; MachineError, StoppedError.
    """
    refuse_other_cases(runs, dataset)
    plan = read_model(runs[0].model).plan.model_copy(update={"postprocess": {}})
    pairs = _pairs(dataset, runs)
    trials = try_rules(pairs, plan, observer) if rules else []
    plan = plan.model_copy(update={"postprocess": {trial.target: trial.rule for trial in trials if trial.kept}})
    _write_rules(runs, plan)
    write_plan(folder / "plan.yaml", plan)
    final, told = [], staged(observer, "gathering")
    for done, pair in enumerate(pairs, start=1):
        final.append(_ruled(pair, folder / "out_of_fold" / f"{pair.case}.nii.gz", plan))
        told(done, len(pairs))
    results = evaluate_pairs(final, names=plan.foreground, regions=plan.region_values, ignore_value=plan.ignore_label)
    refuse_other_cases(runs, dataset)  # what was changed meanwhile
    write_results(folder, results)
    return results


def _write_rules(runs: Sequence[Run], plan: Plan) -> None:
    """Gives each fold's model file the rules of the plan of all."""
    for run in runs:
        model = read_model(run.model)
        if model.plan.postprocess != plan.postprocess:
            update = {"postprocess": plan.postprocess}
            write_model(run.model, replace(model, plan=model.plan.model_copy(update=update)))


def _ruled(pair: Pair, path: Path, plan: Plan) -> Pair:
    """The pair with its prediction written anew, by the plan's rules."""
    if pair.prediction is not None:
        volume = read_label(pair.prediction)
        write_volume(path, volume.with_data(apply_rules(volume.data[0], plan, volume.voxel_ml)[None]))
    return replace(pair, prediction=path)


def _pairs(dataset: Dataset, runs: Sequence[Run]) -> list[Pair]:
    """Each labelled case with its prediction by the fold that did not train on it."""
    found = {case: run for run in runs for case in read_settings(run).validation_cases}
    return [
        Pair(case.id, prediction=found[case.id].predictions / f"{case.id}.nii.gz", truth=case.label)
        for case in dataset.labelled
        if case.label is not None and case.id in found
    ]

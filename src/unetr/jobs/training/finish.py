"""What ends a training: the model file, and the validation cases predicted from their scan files and scored."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unetr.core.files.outputs import claim
from unetr.core.observer import Observer, staged
from unetr.core.plan.schema import Plan
from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.evaluation.results import Results, read_results, write_results
from unetr.infer.load import load
from unetr.model.file.model_file import read_model
from unetr.prepare.datasets.cases import Case, Dataset
from unetr.prepare.datasets.digests import refuse_changed
from unetr.train.run.checkpoint import Weights
from unetr.train.run.folder import Run
from unetr.train.run.model import save_model
from unetr.train.run.settings import Settings


def finish(
    run: Run,
    dataset: Dataset,
    plan: Plan,
    settings: Settings,
    weights: Weights,
    observer: Observer,
    overwrite: bool = False,
) -> Results | None:
    """Writes the model file and, where a fold validates, predicts and scores its cases from their files.

    The scores go into the model file, last of all; a run that has them is not predicted again. The path is that of
    `unetr predict` and `unetr evaluate`. overwrite: whether a person's files among the predictions may be replaced.
    Raises MachineError, and InputError, with the model written, where such files are there or one of the cases is not
    any more what the run was begun with.
    """
    finished = _finished(run)
    if finished is not None:
        return finished
    save_model(run, run.model, plan, weights, {})
    chosen = [case for case in dataset.labelled if case.id in set(settings.validation_cases)]
    if not chosen:
        return None
    results = _validate_files(run, chosen, plan, settings, observer, overwrite)
    metrics = {"fold": settings.fold, "cases": len(chosen), "mean_dice": results.mean_dice}
    metrics |= {f"dice_{summary.label}": summary.metrics["dice"].mean for summary in results.classes}
    save_model(run, run.model, plan, weights, metrics)
    return results


def _validate_files(
    run: Run, cases: Sequence[Case], plan: Plan, settings: Settings, observer: Observer, overwrite: bool
) -> Results:
    """Predicts and scores cases as `unetr predict` and `unetr evaluate` would."""
    _refuse_changed(run, cases, settings)
    names = [*(f"{case.id}.nii.gz" for case in cases), "results.json", "results.csv"]
    # Versions that kept no digests kept no list of what they wrote either.
    claim([run.predictions / name for name in names], overwrite=overwrite or settings.data is None)
    segmenter, told = load(run.model, engine="torch"), staged(observer, "validating")
    pairs = []
    for done, case in enumerate(cases, start=1):
        prediction = segmenter.predict(list(case.images)).save(run.predictions / f"{case.id}.nii.gz")
        if case.label is not None:
            pairs.append(Pair(case.id, prediction=prediction, truth=case.label))
        told(done, len(cases))
    results = evaluate_pairs(pairs, names=plan.foreground, regions=plan.region_values, ignore_value=plan.ignore_label)
    # Again, for what was changed while it was read.
    _refuse_changed(run, cases, settings)
    write_results(run.predictions, results)
    return results


def _refuse_changed(run: Run, cases: Sequence[Case], settings: Settings) -> None:
    if settings.data is not None:
        refuse_changed(cases, settings.data.cases, f"{run.model} is written, but not scored: since the run was begun")


def _finished(run: Run) -> Results | None:
    """The scores of a run that came to its end before; None where results.json holds others than its model."""
    scores = run.predictions / "results.json"
    if not (run.model.exists() and scores.exists()):
        return None
    metrics, results = read_model(run.model).metrics, read_results(scores)
    if not metrics:
        return None
    mean = metrics.get("mean_dice")
    same = math.isnan(results.mean_dice) if mean is None else mean == results.mean_dice
    return results if same else None

"""What ends a training: the model file, and the validation cases predicted from their scan files and scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unetr.core.plan import Plan
from unetr.evaluate.results import Results, read_results, write_results
from unetr.evaluate.run import Pair, evaluate_pairs
from unetr.infer.load import load
from unetr.model.file import ModelFile, read_model, write_model
from unetr.prepare.cases import Dataset
from unetr.train.run import Run, Settings, read_fingerprint, read_settings


def save_model(run: Run, path: Path, plan: Plan, weights: dict[str, torch.Tensor], metrics: dict[str, Any]) -> None:
    """Writes a model file with the run's plan and fingerprint. Raises MachineError."""
    licence = read_settings(run).licence
    write_model(path, ModelFile(plan, read_fingerprint(run), metrics, licence, weights))


def finish(
    run: Run,
    dataset: Dataset,
    plan: Plan,
    settings: Settings,
    weights: dict[str, torch.Tensor],
    progress: Callable[[int, int], None],
) -> Results | None:
    """Writes the model file and, where a fold validates, predicts and scores its cases from their files.

    The scores go into the model file, last of all; a run that has them is not predicted again. The path is that of
    `unetr predict` and `unetr evaluate`. Raises MachineError.
    """
    finished = _finished(run)
    if finished is not None:
        return finished
    save_model(run, run.model, plan, weights, {})
    chosen = [case for case in dataset.labelled if case.id in set(settings.validation_cases)]
    if not chosen:
        return None
    segmenter = load(run.model, engine="torch")
    pairs = []
    for done, case in enumerate(chosen, start=1):
        prediction = segmenter.predict(list(case.images)).save(run.predictions / f"{case.id}.nii.gz")
        if case.label is not None:
            pairs.append(Pair(case.id, prediction=prediction, truth=case.label))
        progress(done, len(chosen))
    names = {name: value for name, value in plan.labels.items() if value != 0}
    regions = {region.name: region.labels for region in plan.regions}
    results = evaluate_pairs(pairs, names=names, regions=regions, ignore_value=plan.ignore_label)
    write_results(run.predictions, results)
    metrics = {"fold": settings.fold, "cases": len(chosen), "mean_dice": results.mean_dice}
    metrics |= {f"dice_{summary.label}": summary.metrics["dice"].mean for summary in results.classes}
    save_model(run, run.model, plan, weights, metrics)
    return results


def _finished(run: Run) -> Results | None:
    """The scores of a run that came to its end before."""
    scores = run.predictions / "results.json"
    if not (run.model.exists() and scores.exists()):
        return None
    return read_results(scores) if read_model(run.model).metrics else None

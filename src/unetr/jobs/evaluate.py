"""Predicted label files scored against true ones, and the two files that the scores are kept in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unetr.core.files.lock import locked_files
from unetr.core.files.outputs import claim
from unetr.core.machine.allowance import memory_limit
from unetr.core.observer import Observer, staged
from unetr.core.plan.file import read_plan
from unetr.core.space.frames import Transform, taking
from unetr.errors import InputError
from unetr.evaluation.pairs import Pair, evaluate_pairs, match_cases
from unetr.evaluation.results import Results, write_results

# The largest value of a byte is what many programs write where nobody labelled.
_UNLABELLED = 255


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """What is scored, and how.

    predictions, labels: folders, whose files are matched by name, or one file each. out: the folder for results.json
    and results.csv, None: nothing is written. plan: whose label names, regions, ignore label and transform hold for
    both. ignore_label: voxels whose true label is this value are left out. tolerance_mm: of the surface Dice.
    only_predicted: labels without a prediction are left out in place of being scored 0. transform: which affine counts
    where a file's two disagree. overwrite: whether files that a person made or edited may be replaced.
    memory_limit_bytes: of the whole process; a pair whose reading would take more is not scored.
    """

    predictions: Path
    labels: Path
    out: Path | None = None
    plan: Path | None = None
    ignore_label: int | None = None
    tolerance_mm: float = 2.0
    only_predicted: bool = False
    transform: Transform | None = None
    overwrite: bool = False
    memory_limit_bytes: int | None = None


def evaluate(
    predictions: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    plan: str | os.PathLike[str] | None = None,
    ignore_label: int | None = None,
    tolerance_mm: float = 2.0,
    overwrite: bool = False,
    observer: Observer | None = None,
) -> Results:
    """Dice, IoU, HD95, ASSD and surface Dice of predicted label files, with 95 % confidence intervals over cases.

    predictions, labels: folders, whose files are matched by name, or one file each. The other arguments are those of
    `EvaluateRequest`. Raises InputError, MachineError, StoppedError; pairs that cannot be scored are in the result's
    `failed`, and the others are scored.

    >>> results = unetr.evaluate("dataset/labels", "dataset/labels", out="scores")
    >>> results.mean_dice, results.cases, results.failed
    (1.0, ('case_a', 'case_b'), {})
    >>> [(found.label, found.metrics["hd95_mm"].mean) for found in results.classes]
    [('label 1', 0.0), ('label 2', 0.0)]
    """
    request = EvaluateRequest(
        Path(predictions),
        Path(labels),
        out=None if out is None else Path(out),
        plan=None if plan is None else Path(plan),
        ignore_label=ignore_label,
        tolerance_mm=tolerance_mm,
        overwrite=overwrite,
    )
    observer = observer or Observer()
    results = score_files(request, observer)
    if request.out is not None:
        write_scores(request.out, results, observer)
    return results


def score_files(request: EvaluateRequest, observer: Observer) -> Results:
    """The scores, before they are written: what was found need not be lost where it cannot be.

    What `write_scores` will write is claimed first. Raises InputError, StoppedError.
    """
    pairs, extra = match_cases(request.predictions, request.labels)
    if request.out is not None:
        _claim(request, request.out, pairs)
    if request.only_predicted:
        pairs = [pair for pair in pairs if pair.prediction is not None]
    declared = _declared(request.plan, request.ignore_label)
    with taking(request.transform or declared.transform), memory_limit(request.memory_limit_bytes):
        return evaluate_pairs(
            pairs,
            names=declared.names,
            regions=declared.regions,
            ignore_value=declared.ignore_label,
            tolerance_mm=request.tolerance_mm,
            extra=extra,
            keep_going=True,
            progress=staged(observer, "evaluating"),
        )


def write_scores(folder: Path, results: Results, observer: Observer) -> tuple[Path, Path]:
    """Writes results.json and results.csv, whose paths are returned. Raises InputError, MachineError."""
    with locked_files(_files(folder)[:1], observer.on_note, 0o700):
        return write_results(folder, results)


def seems_unlabelled(results: Results) -> int | None:
    """The label that may stand for what nobody labelled, since no prediction has it and it is a byte's largest value.

    None where there is none such.
    """
    for summary in results.classes:
        scores = [score for score in results.scores if score.label == summary.label]
        if summary.values == (_UNLABELLED,) and not any(score.tp + score.fp for score in scores):
            return _UNLABELLED
    return None


def _files(folder: Path) -> list[Path]:
    return [folder / "results.json", folder / "results.csv"]


def _claim(request: EvaluateRequest, folder: Path, pairs: list[Pair]) -> None:
    labelled = [path for pair in pairs for path in (pair.prediction, pair.truth) if path is not None]
    plan = [] if request.plan is None else [request.plan]
    claim(_files(folder), {"a label file": labelled, "the plan": plan}, overwrite=request.overwrite)


@dataclass(frozen=True, slots=True)
class _Declared:
    """What holds for all label files. names, regions: None where the files' own names are used."""

    names: Mapping[str, int] | None
    regions: Mapping[str, tuple[int, ...]] | None
    ignore_label: int | None
    transform: Transform | None


def _declared(path: Path | None, ignore_label: int | None) -> _Declared:
    """From a plan, where there is one. Raises InputError where it has another ignore label than was asked for."""
    if path is None:
        return _Declared(None, None, ignore_label, None)
    plan = read_plan(path)
    if ignore_label is not None and ignore_label != plan.ignore_label:
        raise InputError(
            f"{path}: has ignore_label {plan.ignore_label}, asked for is {ignore_label}; leave out one of them"
        )
    return _Declared(plan.foreground, plan.region_values, plan.ignore_label, plan.transform)

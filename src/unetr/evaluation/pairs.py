"""Predicted label files against true ones: which belong together, and the scores of all pairs.

Cases are matched by file name without the suffix. Reading, and the rules for what is a usable label, are io's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unetr.core.machine.allowance import Claim, reading
from unetr.core.plan.targets import Target
from unetr.core.space.volume import Array, Volume
from unetr.errors import InputError
from unetr.evaluation.label_names import LabelNames
from unetr.evaluation.results import ClassScore, Results, summarise
from unetr.evaluation.score import absent_score, score_case
from unetr.io import case_name, is_scan, onto_grid, read_label


@dataclass(frozen=True, slots=True)
class Pair:
    """A labelled case and its predicted label file, None when there is none (it counts as predicted empty)."""

    case: str
    prediction: Path | None
    truth: Path


def evaluate_folders(
    predictions: Path,
    labels: Path,
    *,
    names: Mapping[str, int] | None = None,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    tolerance_mm: float = 2.0,
    ignore_value: int | None = None,
    cases: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Scores every case of `labels`, or those named in `cases`; both are folders, or one file each.

    A case without a prediction counts as predicted empty and is listed as missing; a prediction without a label is
    listed as extra. The rest is as in `evaluate_pairs`. Raises InputError, also for folders without common cases.
    """
    pairs, extra = match_cases(predictions, labels, cases)
    return evaluate_pairs(
        pairs,
        names=names,
        regions=regions,
        tolerance_mm=tolerance_mm,
        ignore_value=ignore_value,
        extra=extra,
        progress=progress,
    )


def evaluate_pairs(
    pairs: Sequence[Pair],
    *,
    names: Mapping[str, int] | None = None,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    tolerance_mm: float = 2.0,
    ignore_value: int | None = None,
    extra: Sequence[str] = (),
    keep_going: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Scores pairs of label files, one after another.

    names: name -> value, background included or not; values that are not in it are an error. Without it, the names that
    the files carry are used, "label 3" where they carry none. regions: name -> values; given, they are scored in
    place of the single labels. tolerance_mm: of the surface Dice. ignore_value: voxels with this truth are left out.
    keep_going: of several pairs, those that cannot be scored are listed as failed, with the reason, and the others are
    scored. progress(done, total) is called after each case.
    Raises InputError for grids that differ, unknown values, and names that contradict each other.
    """
    if regions and len(set(regions.values())) < len(regions):
        raise InputError(f"two regions are made of the same labels; expected different ones: {dict(regions)}")
    known = LabelNames() if names is None else LabelNames({value: name for name, value in names.items()}, fixed=True)
    scores: dict[str, dict[tuple[int, ...], ClassScore]] = {}
    failed: dict[str, str] = {}
    notes: list[str] = []
    for done, pair in enumerate(pairs, start=1):
        try:
            truth, prediction, turned = _read(pair, known, ignore_value)
        except InputError as error:
            if not keep_going or len(pairs) == 1:
                raise
            failed[pair.case] = str(error)
        else:
            notes += turned
            targets = [Target("", values) for values in (regions.values() if regions else known.labels())]
            found = score_case(prediction, truth.data[0], targets, truth.spacing_mm, tolerance_mm, pair.case)
            scores[pair.case] = {score.values: score for score in found}
        if progress is not None:
            progress(done, len(pairs))
    labels = {values: name for name, values in regions.items()} if regions else known.labels()
    rows = [
        replace(of_case.get(values) or absent_score(case, values), label=label)
        for case, of_case in scores.items()
        for values, label in labels.items()
    ]
    missing = [pair.case for pair in pairs if pair.prediction is None and pair.case not in failed]
    return replace(summarise(rows, tolerance_mm, missing, extra), failed=failed, notes=tuple(notes))


def _read(pair: Pair, known: LabelNames, ignore_value: int | None) -> tuple[Volume, Array, tuple[str, ...]]:
    """The truth, the prediction's labels [X, Y, Z] on its grid, and notes; `known` learns names and values.

    Voxels whose truth is ignored are background in both. Raises InputError.
    """
    allowed = known.allowed(ignore_value)
    truth, predicted = read_pair(pair, allowed)
    known.add_names({pair.truth: truth, pair.prediction: predicted})
    prediction = np.zeros(truth.shape, np.uint8) if predicted is None else predicted.data[0]
    if ignore_value is not None:
        ignored = truth.data == ignore_value
        truth = truth.with_data(np.where(ignored, 0, truth.data))
        prediction = np.where(ignored[0], 0, prediction)
    known.add_values(pair.truth, truth.data, prediction)
    return truth, prediction, () if predicted is None else predicted.notes


def match_cases(
    predictions: Path, labels: Path, cases: Collection[str] | None = None
) -> tuple[list[Pair], tuple[str, ...]]:
    """Pairs label files with prediction files by case name; also the names of predictions that have no label.

    Two files, one each, are a pair whatever their names. Raises InputError when there is nothing to compare.
    """
    truths, predicted = _scans(labels, "labels"), _scans(predictions, "predictions")
    if labels.is_file() and predictions.is_file():
        return [Pair(case_name(labels), predictions, labels)], ()
    unknown = sorted(set(cases or ()) - set(truths))
    if unknown:
        raise InputError(f"{labels}: has no label for {len(unknown)} of the cases asked for, first {unknown[0]!r}")
    wanted = sorted(truths if cases is None else set(cases))
    if not set(wanted) & set(predicted):
        raise InputError(
            f"{predictions}: no prediction has the name of a label in {labels} (such as {wanted[0]!r}; "
            f"found such as {min(predicted)!r}); name predictions as the labels"
        )
    pairs = [Pair(case, predicted.get(case), truths[case]) for case in wanted]
    return pairs, tuple(sorted(set(predicted) - set(truths)))


def _scans(path: Path, what: str) -> dict[str, Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected {what}")
    found: dict[str, Path] = {}
    for scan in [path] if path.is_file() else sorted(path.iterdir()):
        if not is_scan(scan):
            continue
        case = case_name(scan)
        if case in found:
            raise InputError(f"{path}: {found[case].name} and {scan.name} are one case; keep one of them")
        found[case] = scan
    if not found:
        raise InputError(f"{path}: holds no scan files; expected {what} such as case.nii.gz")
    return found


def _scoring_bytes(claim: Claim) -> int:
    """What follows when the truth has been read: a prediction of its size, and an index of each."""
    return 4 * claim.numbers


def read_pair(pair: Pair, allowed: Collection[int] | None = None) -> tuple[Volume, Volume | None]:
    """The truth and the prediction, [1, X, Y, Z] on the truth's grid; None where there is no prediction.

    A prediction stored in another orientation is turned, without loss. allowed: all values that may occur, None for
    any. Raises InputError for what cannot be read and for grids that differ.
    """
    with reading(_scoring_bytes):
        truth = read_label(pair.truth, allowed)
    if pair.prediction is None:
        return truth, None
    prediction = read_label(pair.prediction, allowed)
    return truth, onto_grid(truth, prediction, pair.truth, pair.prediction)

"""What makes one model of several folds: out-of-fold predictions, scores over all cases, and rules that earned it.

A cross-validation is a folder with a run per fold, fold0, fold1, ...; `unetr.infer.load` takes it as an ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.file import write_plan
from unetr.core.plan.schema import Plan, PostprocessPlan
from unetr.evaluation.dice import dice, mask_counts
from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.evaluation.results import Results, write_results
from unetr.evaluation.summary import PairedDifference, paired_difference
from unetr.infer.rules import apply_rules, extent_values
from unetr.io import onto_grid, read_label, write_volume
from unetr.model.file.model_file import read_model, write_model
from unetr.prepare.datasets.cases import Dataset
from unetr.train.run.folder import Run, read_settings, refuse_other_cases

# Components smaller than this share of the smallest true volume are specks.
_SPECK = 0.5

Progress = Callable[[int, int], None]
Labels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class RuleTrial:
    """A rule tried on out-of-fold predictions. gain: Dice with it minus Dice without, over the cases."""

    target: str
    rule: PostprocessPlan
    gain: PairedDifference

    @property
    def kept(self) -> bool:
        """Only where the interval of the gain lies above zero: a rule must help, not merely not harm."""
        return self.gain.ci_low > 0


def fold_runs(folder: Path, folds: int) -> list[Run]:
    """The runs of a cross-validation."""
    return [Run(folder / f"fold{fold}") for fold in range(folds)]


def gathered_files(folder: Path, dataset: Dataset) -> list[Path]:
    """What `gather_folds` writes into the folder of all folds."""
    cases = [folder / "out_of_fold" / f"{case.id}.nii.gz" for case in dataset.labelled]
    return [folder / "plan.yaml", folder / "results.json", folder / "results.csv", *cases]


def gather_folds(
    folder: Path, dataset: Dataset, runs: Sequence[Run], progress: Progress, rules: bool = True
) -> Results:
    """Ends a cross-validation whose runs are done; may be called again, with the same result.

    Tries rules on the out-of-fold predictions unless `rules` is off, writes those that help into each fold's model file
    and FOLDER/plan.yaml, writes FOLDER/out_of_fold/<case>.nii.gz with these rules applied, and scores them. Raises
    InputError, also where the data is not what every fold was trained on; MachineError.
    """
    refuse_other_cases(runs, dataset)
    plan = read_model(runs[0].model).plan.model_copy(update={"postprocess": {}})
    pairs = _pairs(dataset, runs)
    trials = try_rules(pairs, plan) if rules else []
    plan = plan.model_copy(update={"postprocess": {trial.target: trial.rule for trial in trials if trial.kept}})
    for run in runs:
        model = read_model(run.model)
        if model.plan.postprocess != plan.postprocess:
            update = {"postprocess": plan.postprocess}
            write_model(run.model, replace(model, plan=model.plan.model_copy(update=update)))
    write_plan(folder / "plan.yaml", plan)
    final = []
    for done, pair in enumerate(pairs, start=1):
        path = folder / "out_of_fold" / f"{pair.case}.nii.gz"
        if pair.prediction is not None:
            volume = read_label(pair.prediction)
            write_volume(path, volume.with_data(apply_rules(volume.data[0], plan, volume.voxel_ml)[None]))
        final.append(replace(pair, prediction=path))
        progress(done, len(pairs))
    results = evaluate_pairs(final, names=plan.foreground, regions=plan.region_values, ignore_value=plan.ignore_label)
    refuse_other_cases(runs, dataset)  # what was changed meanwhile
    write_results(folder, results)
    return results


def try_rules(pairs: Sequence[Pair], plan: Plan) -> list[RuleTrial]:
    """For each class or region, one rule: the largest component, or, where that does not help, no specks.

    Regions are compared as the label file shows them (`extent_values`). Raises InputError.
    """
    extents = extent_values(plan)
    truths = {target.name: target.values for target in plan.targets}
    trials = []
    for target in extents:
        smallest_ml = _smallest_ml(pairs, truths[target])
        candidates = [PostprocessPlan(largest_component=True)]
        if smallest_ml > 0:
            candidates.append(PostprocessPlan(minimum_volume_ml=_SPECK * smallest_ml))
        for rule in candidates:
            gain = _gain(
                pairs, plan.model_copy(update={"postprocess": {target: rule}}), extents[target], truths[target]
            )
            trials.append(RuleTrial(target, rule, gain))
            if trials[-1].kept:
                break
    return trials


def _pairs(dataset: Dataset, runs: Sequence[Run]) -> list[Pair]:
    """Each labelled case with its prediction by the fold that did not train on it."""
    found = {case: run for run in runs for case in read_settings(run).validation_cases}
    return [
        Pair(case.id, prediction=found[case.id].predictions / f"{case.id}.nii.gz", truth=case.label)
        for case in dataset.labelled
        if case.label is not None and case.id in found
    ]


def _smallest_ml(pairs: Sequence[Pair], values: tuple[int, ...]) -> float:
    volumes = []
    for pair in pairs:
        truth = read_label(pair.truth)
        volumes.append(int(np.isin(truth.data, values).sum()) * truth.voxel_ml)
    return min((volume for volume in volumes if volume), default=0.0)


def _gain(pairs: Sequence[Pair], plan: Plan, predicted: tuple[int, ...], true: tuple[int, ...]) -> PairedDifference:
    before, after = [], []
    for pair in pairs:
        if pair.prediction is None:
            continue
        volume = read_label(pair.prediction)
        truth = onto_grid(volume, read_label(pair.truth), pair.prediction, pair.truth).data[0]
        known = truth != plan.ignore_label if plan.ignore_label is not None else np.ones(truth.shape, np.bool_)
        labels = volume.data[0]
        before.append(_dice(labels, truth, known, predicted, true))
        after.append(_dice(apply_rules(labels, plan, volume.voxel_ml), truth, known, predicted, true))
    # A class that a rule removed where there is none: undefined then, but better than the 0 that it was.
    pairs_of_dice = [(1.0 if math.isnan(a) and b == 0 else a, b) for a, b in zip(after, before, strict=True)]
    return paired_difference([a for a, _ in pairs_of_dice], [b for _, b in pairs_of_dice])


def _dice(
    labels: Labels, truth: Labels, known: NDArray[np.bool_], predicted: tuple[int, ...], true: tuple[int, ...]
) -> float:
    return dice(*mask_counts(np.isin(labels, predicted) & known, np.isin(truth, true) & known))

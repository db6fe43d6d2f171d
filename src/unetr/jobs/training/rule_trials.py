"""Which rules for what is removed after prediction have earned it on out-of-fold predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.observer import Observer, stop_if_asked
from unetr.core.plan.schema import Plan, PostprocessPlan
from unetr.evaluation.dice import dice, mask_counts
from unetr.evaluation.pairs import Pair
from unetr.evaluation.summary import PairedDifference, paired_difference
from unetr.infer.rules import apply_rules, extent_values
from unetr.io import onto_grid, read_label

# Components smaller than this share of the smallest true volume are specks.
_SPECK = 0.5

Labels = NDArray[Any]
_UNHEARD = Observer()


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


def try_rules(pairs: Sequence[Pair], plan: Plan, observer: Observer = _UNHEARD) -> list[RuleTrial]:
    """For each class or region, one rule: the largest component, or, where that does not help, no specks.

    Regions are compared as the label file shows them (`extent_values`). Raises InputError, and StoppedError
    where the observer asks for it.
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
            stop_if_asked(observer, f"trying rules for {target}")
            gain = _gain(
                pairs, plan.model_copy(update={"postprocess": {target: rule}}), extents[target], truths[target]
            )
            trials.append(RuleTrial(target, rule, gain))
            if trials[-1].kept:
                break
    return trials


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

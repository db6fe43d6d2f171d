"""What a training's budget changes in a plan: the network's size, how fine the voxels are, how much is augmented."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import AugmentPlan, ChannelPlan, Plan, Window
from unetr.core.space.grids import significant
from unetr.prepare.measure.scan_facts import Triple, by_axis
from unetr.prepare.measure.structures import share_at_risk
from unetr.prepare.planning.presets import MORE_AUGMENTATION, PRESETS
from unetr.prepare.planning.training_memory import training_memory

# Fewer passes over the data than this within a training's budget, and coarser voxels are the better use of it.
_FEWEST_PASSES = 4.0
# A training with next to no passes needs windows that see this share of a volume; one with so many passes has the time
# to learn what belongs where from small ones (docs/lab/benchmarks.md, left atrium).
_SHARE_SEEN = 0.75
_PASSES_FOR_DETAIL = 40.0
# A training that has the time for this many steps of `small` gains more from fewer steps of `medium`: the hippocampus
# does from 7000 on (docs/lab/decisions.md).
_STEPS_FOR_WIDER = 5000.0
# A training that sees so many windows of each case, of fewer cases than this, learns them by heart; between the left
# atrium's 80 cases, which more augmentation helps, and the hippocampus's 208, which it harms (docs/lab/decisions.md).
_WINDOWS_FOR_MORE = 30.0
_MANY_CASES = 120
# Coarser than this many times the chosen spacing, and small structures are gone, whatever the budget.
_COARSEST = 3.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a training may take. voxels_per_second: of windows that training takes in on the machine, measured."""

    minutes: float
    voxels_per_second: float

    @property
    def voxels(self) -> float:
        """Of windows, that the training takes in."""
        return self.minutes * 60 * self.voxels_per_second


def fit_preset(small: Plan, budget: Budget, free_gb: float = math.inf) -> tuple[str, str]:
    """What `auto` stands for, and why: `medium` where `small` would take 5000 steps or more, and its windows fit.

    small: the plan of that preset, of which the budget's speed was measured. free_gb: memory.
    """
    steps = budget.voxels / (math.prod(small.window) * small.training.batch_size)
    why = (
        f"chosen by auto: in {budget.minutes:g} minutes small would take about {steps:.0f} steps; from "
        f"{_STEPS_FOR_WIDER:.0f} on it is medium"
    )
    if steps < _STEPS_FOR_WIDER:
        return "small", why
    taken_gb = training_memory(PRESETS["medium"].network, small.outputs).taken_gb(small.window, 1)
    if taken_gb > free_gb:
        return "small", f"{why}, but that takes {taken_gb:.1f} GB of memory and {free_gb:.1f} are free"
    return "medium", why


def fit_spacing(spacing_mm: Triple, fingerprint: Fingerprint, budget: Budget, window_voxels: int) -> tuple[Triple, str]:
    """A coarser spacing for a short training; the finest axes give way first.

    Training shall see the scans' voxels at least 4 times, and the fewer times it would see them at the spacing given,
    the more of the median volume a window of `window_voxels` shall hold: three quarters for next to none, any part from
    40 on. At most 3 times coarser along any axis, and never so that labels of a case that are kept now may be lost. The
    same spacing where the budget is enough.
    """
    millimetres = float(np.median(np.prod(np.array(fingerprint.shapes) * np.array(fingerprint.spacings_mm), axis=1)))

    def passes(lengths: NDArray[np.float64]) -> float:
        return budget.voxels * float(np.prod(lengths)) / (millimetres * fingerprint.cases)

    def share(lengths: NDArray[np.float64]) -> float:
        return min(1.0, window_voxels * float(np.prod(lengths)) / millimetres)

    fine = np.array(spacing_mm)
    wanted = _SHARE_SEEN * max(0.0, 1 - passes(fine) / _PASSES_FOR_DETAIL)
    coarse, lost = fine, share_at_risk(fingerprint, spacing_mm)
    kept = ""
    for factor in np.arange(1.0, _COARSEST + 0.01, 0.05):
        coarser = np.maximum(fine, fine.min() * factor)
        if share_at_risk(fingerprint, coarser.tolist()) > lost:
            kept = _thin_labels(fingerprint)
            break
        coarse = coarser
        if passes(coarse) >= _FEWEST_PASSES and share(coarse) >= wanted:
            break
    right, front, up = (significant(value, 4) for value in coarse)
    if (right, front, up) == spacing_mm:
        return spacing_mm, kept and f"; {budget.minutes:g} minutes ask for coarser voxels, but {kept}"
    reason = (
        f"; made coarser, from {by_axis(spacing_mm)} mm: {budget.minutes:g} minutes at "
        f"{budget.voxels_per_second / 1e6:.2g} million voxels a second would pass over the training data "
        f"{passes(fine):.2g} times with windows of {share(fine):.0%} of the median volume; at least "
        f"{_FEWEST_PASSES:g} times and, with so few, {wanted:.0%} are wanted; so there are {passes(coarse):.2g} with "
        f"{share(coarse):.0%}" + (kept and f"; not coarser, since {kept}")
    )
    return (right, front, up), reason


def _thin_labels(fingerprint: Fingerprint) -> str:
    """Why voxels are not made coarser: the thinnest label."""
    thinnest = min((label for label in fingerprint.labels if label.width_mm > 0), key=lambda label: label.width_mm)
    return (
        f"{thinnest.name} has {thinnest.components} components in {thinnest.cases} cases that are down to "
        f"{thinnest.width_mm:.3g} mm wide and would be lost"
    )


def fit_augmentation(
    augment: AugmentPlan, channels: Sequence[ChannelPlan], window: Window, cases: int, budget: Budget
) -> tuple[AugmentPlan, str]:
    """More augmentation for a training that sees 30 windows or more of each of fewer than 120 cases.

    Grey values are remapped only where no channel has units: a remapped CT would be no CT.
    """
    windows = budget.voxels / (math.prod(window) * cases)
    seen = f"{budget.minutes:g} minutes are about {windows:.2g} windows of each of {cases} cases"
    limit = f"from {_WINDOWS_FOR_MORE:g} on, with fewer than {_MANY_CASES} cases,"
    if windows < _WINDOWS_FOR_MORE or cases >= _MANY_CASES:
        return augment, f"the preset's: {seen}; {limit} there is more"
    more = MORE_AUGMENTATION.model_copy(update={"mirror_axes": augment.mirror_axes})
    reason = f"{seen}; {limit} more rotation, scaling, bending, gamma and low resolution"
    if any(channel.normalisation != "zscore" for channel in channels):
        return more.model_copy(update={"remap_probability": 0.0}), reason
    return more, (
        f"{reason}; grey values without units also go through a random line in {more.remap_probability:.0%} of them"
    )

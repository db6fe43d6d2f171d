"""Whole-volume validation: the same sliding window as `predict`, the same Dice as `evaluate`, on prepared cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unetr.core.plan.schema import Plan
from unetr.core.plan.targets import IN_REGION
from unetr.errors import StoppedError
from unetr.evaluation.dice import dice_per_class
from unetr.infer.engines.torch import has_fast_bf16, network_engine
from unetr.infer.predict import predict_scores
from unetr.prepare.cache import Cache
from unetr.train.team import Team


@dataclass(frozen=True, slots=True)
class Validation:
    """Mean over cases of the Dice of each foreground class or region, and their mean. NaN where nowhere defined."""

    step: int
    mean_dice: float
    dice: dict[str, float]


def validate(
    network: torch.nn.Module,
    cache: Cache,
    cases: Sequence[str],
    plan: Plan,
    step: int,
    team: Team | None = None,
    should_stop: Callable[[], bool] = bool,
) -> Validation:
    """Predicts and scores cases on the network's grid; a team shares them out, and each process knows all scores.

    Raises StoppedError, before the next case, where any process should stop.
    """
    device = next(network.parameters()).device
    engine = network_engine(network.eval(), device, has_fast_bf16(device))
    names = [target.name for target in plan.targets]
    scores = np.zeros((len(cases), len(names)))
    rank, size = (0, 1) if team is None else (team.rank, team.size)
    for first in range(0, len(cases), size):
        stop = should_stop()
        if stop if team is None else team.any_of(stop)[0]:
            raise StoppedError(f"stopped in the validation after step {step}; start it again to go on")
        if first + rank < len(cases):
            opened = cache.open(cases[first + rank])
            found = predict_scores(opened.image, plan, engine)
            scores[first + rank] = dice_on_grid(found, np.asarray(opened.label), plan)
    if team is not None:
        scores = team.total(torch.from_numpy(scores)).numpy()
    means = [_mean(column) for column in scores.T]
    return Validation(step, _mean(np.array(means)), dict(zip(names, means, strict=True)))


def dice_on_grid(scores: NDArray[np.float32], truth: NDArray[np.integer], plan: Plan) -> list[float]:
    """Dice of each foreground class or region; scores [J, X, Y, Z], truth [X, Y, Z] class indices, -1 left out."""
    known = truth >= 0
    if not plan.has_regions:
        return list(dice_per_class(scores.argmax(axis=0)[known], truth[known], plan.outputs)[1:])
    dice = []
    for members, score in zip(plan.region_classes, scores, strict=True):
        dice.append(float(dice_per_class(score[known] > IN_REGION, np.isin(truth[known], members), 2)[1]))
    return dice


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan

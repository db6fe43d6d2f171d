"""What a training tells, as text for people: the same on a screen and in a log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unetr.core.text.numbers import counted, number

if TYPE_CHECKING:
    from unetr.train.observer import TrainedStep
    from unetr.train.optimise.transfer import Transfer
    from unetr.train.validate import Validation


def of_fold(fold: int, folds: int) -> str:
    """fold 0 (1 of 5)"""
    return f"fold {fold} ({fold + 1} of {folds})"


def of_step(done: TrainedStep) -> str:
    """loss 0.512, Dice loss 0.304, 0.41 s/step"""
    dice = "" if math.isnan(done.dice_loss) else f"Dice loss {done.dice_loss:.3f}, "
    return f"loss {done.loss:.3f}, {dice}{done.seconds:.2f} s/step"


def of_validation(found: Validation) -> str:
    """step 500: validation Dice 0.861 (anterior 0.870, posterior 0.852)"""
    each = ", ".join(f"{name} {number(value, 3)}" for name, value in found.dice.items())
    return f"step {found.step}: validation Dice {number(found.mean_dice, 3)} ({each})"


def of_transfer(transfer: Transfer) -> list[str]:
    """A line for each weight that was not taken as it was."""
    rows = [f"  {name}: {state}, {why}" for name, state, why in transfer.rows()]
    return [f"{counted(len(transfer.loaded), 'weight')} taken from the model as they are, and:", *rows]

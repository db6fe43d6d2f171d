"""What a training tells, as text for people: the same on a screen and in a log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unetr.core.text.numbers import counted, number

if TYPE_CHECKING:
    from unetr.train.observer import StepReport
    from unetr.train.optimise.transfer import Transfer
    from unetr.train.validate import ValidationReport


def of_step(report: StepReport) -> str:
    """loss 0.512, Dice loss 0.304, 0.41 s/step"""
    dice = "" if math.isnan(report.dice_loss) else f"Dice loss {report.dice_loss:.3f}, "
    return f"loss {report.loss:.3f}, {dice}{report.seconds:.2f} s/step"


def of_validation(report: ValidationReport) -> str:
    """step 500: validation Dice 0.861 (anterior 0.870, posterior 0.852)"""
    each = ", ".join(f"{name} {number(value, 3)}" for name, value in report.dice.items())
    return f"step {report.step}: validation Dice {number(report.mean_dice, 3)} ({each})"


def of_transfer(transfer: Transfer) -> list[str]:
    """A line for each weight that was not taken as it was."""
    rows = [f"  {name}: {state}, {why}" for name, state, why in transfer.rows()]
    return [f"{counted(len(transfer.loaded), 'weight')} taken from the model as they are, and:", *rows]

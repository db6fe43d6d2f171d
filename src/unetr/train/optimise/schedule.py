"""How long training lasts and how fast it learns at each step: closed forms, no state."""

from __future__ import annotations

import math

# Steps that are timed before a budget in minutes becomes a number of steps; the first ones warm caches, left out.
TIMED_FROM, TIMED_TO = 8, 24
# The number of steps is measured anew after one in so many of them.
_AGAIN = 10
# Whole-volume validations during training, as shares of all steps; the last one comes after the last step.
VALIDATED_AT = (0.3, 0.5, 0.65, 0.8, 0.9)
# Share of a budget in minutes that validations may take; where all would take more, the first ones are left out.
VALIDATING = 0.05
# Share of a budget in minutes that is kept back for checkpoints and for steps slower than those timed.
RESERVE = 0.02


def learning_rate(step: int, steps: int | None, peak: float, warmup_steps: int) -> float:
    """Linear warm-up from 0 to `peak`, then half a cosine down to 0 at `steps` (Loshchilov & Hutter 2017, eq. 5).

    Warm-up takes at most a tenth of all steps. Before the number of steps is known, the warm-up is all there is.
    """
    warmup = warmup_steps if steps is None else min(warmup_steps, steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    if steps is None:
        return peak
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def validations_in(minutes: float, validation_s: float) -> int:
    """How many validations of a measured time a budget has room for, from one to all."""
    room = minutes * 60 * VALIDATING
    return len(VALIDATED_AT) if validation_s * len(VALIDATED_AT) <= room else max(1, int(room / validation_s))


def steps_in(minutes: float, elapsed_s: float, done: int, step_s: float, validating_s: float) -> int:
    """Steps that fit into a budget: what is left after the time gone, the validations to come and a reserve.

    done: steps already made. step_s: measured time of one step. validating_s: of all validations together.
    """
    left = minutes * 60 * (1 - RESERVE) - elapsed_s - validating_s
    return done + max(1, int(left / step_s))


def again_at(steps: int) -> int | None:
    """The step at which a number of steps that a few timed ones promised is measured anew; None for short trainings.

    A tenth of the way, when the warm-up is over and the first validation is still to come.
    """
    return steps // _AGAIN if steps >= _AGAIN * 2 * TIMED_TO else None


def validation_steps(steps: int, validations: int | None = None) -> frozenset[int]:
    """The numbers of finished steps after which the network is validated, the last step left out.

    validations: how many, the last ones of the schedule; None for all.
    """
    shares = VALIDATED_AT if validations is None else VALIDATED_AT[len(VALIDATED_AT) - validations :]
    return frozenset(round(share * steps) for share in shares) - {0, steps}


def averaging_decay(step: int, decay: float) -> float:
    """Decay of the moving average of weights, smaller at the start so that the random initialisation is forgotten."""
    return min(decay, (1 + step) / (10 + step))

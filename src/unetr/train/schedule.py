"""How long training lasts and how fast it learns at each step: closed forms, no state."""

from __future__ import annotations

import math

# Steps that are timed before a budget in minutes becomes a number of steps; the first ones warm caches, left out.
TIMED_FROM, TIMED_TO = 8, 24
# Whole-volume validations during training, as shares of all steps; the last one comes after the last step.
VALIDATED_AT = (0.3, 0.5, 0.65, 0.8, 0.9)
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


def steps_in(minutes: float, elapsed_s: float, done: int, step_s: float, validation_s: float) -> int:
    """Steps that fit into a budget: what is left after the time gone, the validations to come and a reserve.

    done: steps already made. step_s, validation_s: measured time of one step and of one validation.
    """
    left = minutes * 60 * (1 - RESERVE) - elapsed_s - validation_s * len(VALIDATED_AT)
    return done + max(1, int(left / step_s))


def validation_steps(steps: int) -> frozenset[int]:
    """The numbers of finished steps after which the network is validated, the last step left out."""
    return frozenset(round(share * steps) for share in VALIDATED_AT) - {0, steps}


def averaging_decay(step: int, decay: float) -> float:
    """Decay of the moving average of weights, smaller at the start so that the random initialisation is forgotten."""
    return min(decay, (1 + step) / (10 + step))

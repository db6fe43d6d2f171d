"""How fast this machine trains a network: a few steps on random numbers, so that a plan can fit its budget."""

from __future__ import annotations

import time

import torch

from unetr.core.plan import Plan
from unetr.train.sample import Batch
from unetr.train.step import start_trainer, training_step

_FEWEST_STEPS, _SECONDS = 2, 4.0


def training_voxels_per_second(plan: Plan, seed: int) -> float:
    """Voxels of windows per second that training steps of a plan take in, data ready.

    Four seconds of steps, at least two. The first, which allocates, is not counted.
    """
    trainer = start_trainer(plan, seed)
    size = plan.training.batch_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((size, len(plan.channels), *plan.window), generator=generator).numpy()
    classes = torch.randint(0, len(plan.class_values), (size, *plan.window), generator=generator).numpy()
    batch = Batch(0, images, classes, ("random",) * size)
    training_step(trainer, batch, 0.0, 0)
    before, steps = time.monotonic(), 0
    while steps < _FEWEST_STEPS or time.monotonic() - before < _SECONDS:
        training_step(trainer, batch, 0.0, 0)
        steps += 1
    return steps * classes.size / (time.monotonic() - before)

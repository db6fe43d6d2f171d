"""How fast this machine trains a network: a few steps on random numbers, so that a plan can fit its budget."""

from __future__ import annotations

import time

import torch

from unetr.core.plan import Plan
from unetr.train.run import Settings
from unetr.train.sample import Batch
from unetr.train.step import start_trainer, training_step

_STEPS = 2


def training_voxels_per_second(plan: Plan, settings: Settings) -> float:
    """Voxels of windows per second that training steps of a plan take in, data ready; about five seconds' work.

    The first step, which allocates, is not counted.
    """
    trainer = start_trainer(plan, settings)
    size = plan.training.batch_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((size, len(plan.channels), *plan.window), generator=generator).numpy()
    classes = torch.randint(0, len(plan.class_values), (size, *plan.window), generator=generator).numpy()
    batch = Batch(0, images, classes, ("random",) * size)
    training_step(trainer, batch, 0.0, 0)
    before = time.monotonic()
    for _ in range(_STEPS):
        training_step(trainer, batch, 0.0, 0)
    return _STEPS * classes.size / (time.monotonic() - before)

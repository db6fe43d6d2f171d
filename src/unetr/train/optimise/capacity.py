"""What a plan has to fit: this machine's memory, and its speed, timed by a few steps on random numbers."""

from __future__ import annotations

import math
import time

import torch

from unetr.core.machine.memory import PLENTY_BYTES, SHARE_OF_FREE, free_bytes
from unetr.core.plan.schema import Plan
from unetr.train.optimise.step import start_trainer, training_step
from unetr.train.samples.sample import Batch

_FEWEST_STEPS, _SECONDS = 2, 4.0


def free_memory_gb(processes: int) -> float:
    """Memory for a training in each of the processes on this machine: of its GPU, or its part of the machine's.

    Infinite where the system does not say.
    """
    if torch.cuda.is_available():
        return SHARE_OF_FREE * torch.cuda.mem_get_info()[0] / 1e9
    free = free_bytes()
    return math.inf if free >= PLENTY_BYTES else SHARE_OF_FREE * free / processes / 1e9


def training_voxels_per_second(plan: Plan, seed: int) -> float:
    """Voxels of windows per second that training steps of a plan take in, data ready.

    Of the fastest of the steps of four seconds, at least two: what else runs for a moment makes some of them slower,
    and none faster. The first, which allocates, is not counted.
    """
    trainer = start_trainer(plan, seed)
    size = plan.training.batch_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((size, plan.in_channels, *plan.window), generator=generator).numpy()
    classes = torch.randint(0, len(plan.class_values), (size, *plan.window), generator=generator).numpy()
    batch = Batch(0, images, classes, ("random",) * size)
    training_step(trainer, batch, 0.0, 0)
    before = time.monotonic()
    taken: list[float] = []
    while len(taken) < _FEWEST_STEPS or time.monotonic() - before < _SECONDS:
        start = time.monotonic()
        training_step(trainer, batch, 0.0, 0)
        taken.append(time.monotonic() - start)
    return classes.size / min(taken)

"""A training sample is a pure function of (seed, step, slot): which case, which window, which augmentation.

So it does not matter who prepares it or when: any number of workers give the same batches, and a resumed run goes on
with the very samples that the uninterrupted run would have seen.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import Plan
from unetr.prepare.cache import Cache, CachedCase
from unetr.prepare.preprocess import IGNORED
from unetr.train.samples.augment import augment_intensities, random_map, read_through, turn
from unetr.train.samples.masking import make_mask

Float = NDArray[np.float32]
Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Share:
    """Which slots of each batch a process takes: rank, rank + of, rank + 2 of, ...; the shares may differ by one."""

    rank: int
    of: int


ALL_SLOTS = Share(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images [B, C, H, W, D] float32, classes [B, H, W, D] int64 (-1 = ignored).

    cases: of each slot of the step, also of those that other processes take.
    """

    step: int
    images: Float
    classes: NDArray[np.int64]
    cases: tuple[str, ...]


def sample_case(ids: Sequence[str], seed: int, index: int) -> str:
    """The case of the index-th sample of a run: every case once per round, in an order of its own for each round."""
    round_, place = divmod(index, len(ids))
    order = np.random.default_rng([seed, 0, round_]).permutation(len(ids))
    return ids[int(order[place])]


def make_sample(case: CachedCase, plan: Plan, rng: np.random.Generator) -> tuple[Float, NDArray[np.int64]]:
    """One augmented window of a case: image [C, H, W, D] and classes [H, W, D].

    In pretraining all is background but what stays visible, which is -1: the loss leaves it out.
    """
    augment = plan.training.augment
    start = _window_start(case, plan, rng)
    map_ = random_map(augment, plan.spacing_mm, plan.window, rng)
    if map_ is None:
        image, classes = _cut(case, start, plan.window)
    else:
        centre = start + (np.array(plan.window) - 1) / 2
        image, classes = read_through(case.image, case.label, map_, centre, plan.window)
    mirrored = tuple(axis for axis in augment.mirror_axes if rng.random() < 0.5)
    image = np.flip(image, tuple(1 + axis for axis in mirrored))
    classes = np.flip(classes, mirrored)
    image, classes = turn(image, classes, augment.quarter_turn_probability, rng)
    image = augment_intensities(image, augment, rng)
    if plan.pretraining is not None:
        classes = np.where(make_mask(plan.window, plan.network.patch, plan.pretraining, rng), 0, IGNORED)
    return image, np.ascontiguousarray(classes, dtype=np.int64)


def make_batch(cache: Cache, ids: Sequence[str], plan: Plan, seed: int, step: int, share: Share = ALL_SLOTS) -> Batch:
    """The batch of a step, or a process's share of it. Step counts from 0."""
    size = plan.training.batch_size
    cases = tuple(sample_case(ids, seed, step * size + slot) for slot in range(size))
    samples = [
        make_sample(cache.open(case), plan, np.random.default_rng([seed, 1, step, slot]))
        for slot, case in list(enumerate(cases))[share.rank :: share.of]
    ]
    images, classes = zip(*samples, strict=True)
    return Batch(step, np.stack(images), np.stack(classes), cases)


def batches(
    cache: Cache,
    ids: Sequence[str],
    plan: Plan,
    seed: int,
    first_step: int,
    share: Share = ALL_SLOTS,
    workers: int = 1,
    ahead: int = 4,
) -> Generator[Batch]:
    """Batches from `first_step` on, without end, prepared `ahead` of use by threads (numpy, scipy release the lock)."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="samples")
    waiting: list[Future[Batch]] = []
    step = first_step
    try:
        while True:
            while len(waiting) < ahead:
                waiting.append(pool.submit(make_batch, cache, ids, plan, seed, step + len(waiting), share))
            yield waiting.pop(0).result()
            step += 1
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _window_start(case: CachedCase, plan: Plan, rng: np.random.Generator) -> NDArray[np.int64]:
    """First voxel of the window, negative where the volume is smaller than the window (then it lies anywhere inside).

    With probability foreground_fraction the window contains a voxel of a foreground class, each class of the case
    equally often; otherwise it is uniform over the volume.
    """
    window, size = np.array(plan.window), np.array(case.label.shape)
    low, high = np.minimum(0, size - window), np.maximum(0, size - window)
    present = [index for index, voxels in sorted(case.foreground.items()) if index > 0 and len(voxels)]
    if present and rng.random() < plan.training.foreground_fraction:
        voxels = case.foreground[present[rng.integers(len(present))]]
        voxel = voxels[rng.integers(len(voxels))]
        # Somewhere in the window's middle half, so that the class is seen with its surroundings.
        quarter = window // 4
        start = voxel - rng.integers(quarter, window - quarter)
        return np.asarray(np.where(size > window, np.clip(start, low, high), rng.integers(low, high + 1)))
    return np.asarray(rng.integers(low, high + 1))


def _cut(case: CachedCase, start: NDArray[np.int64], window: Shape) -> tuple[Float, NDArray[np.integer]]:
    """The window as it is; what lies outside the volume is 0 in the image and class 0 in the label."""
    shape = case.label.shape
    inside = tuple(slice(max(0, s), min(n, s + w)) for s, n, w in zip(start, shape, window, strict=True))
    target = tuple(slice(i.start - s, i.stop - s) for i, s in zip(inside, start, strict=True))
    image = np.zeros((len(case.image), *window), dtype=np.float32)
    classes = np.zeros(window, dtype=case.label.dtype)
    image[:, *target] = case.image[:, *inside]
    classes[target] = case.label[inside]
    return image, classes

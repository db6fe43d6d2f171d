"""Scores on a 1.5 mm grid -> labels on the scan's grid: unetr against nnU-Net's default resampling and export.

    uv run --with nnunetv2 python benchmarks/restore_export.py --shape 512 512 300 --repetitions 3

nnU-Net: `resample_data_or_seg_to_shape` with its default arguments for probabilities (order 1, order_z 0, separate z
decided by anisotropy), then arg-max, as `convert_predicted_logits_to_segmentation_with_correct_shape` does; reading
and writing files are left out on both sides. The logits (seed 0) are of overlapping blobs with soft edges. unetr gets
them and makes probabilities of them as it goes; nnU-Net gets the probabilities, ready made, so that both interpolate
the same; with --logits it gets the logits, which is its default. The contestants take turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.machine.parallel import ranges
from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.core.space.geometry import Placement, place
from unetr.core.space.volume import Volume
from unetr.infer.sweep.restore import Restored, restore_piece
from unetr.infer.sweep.slabs import Route

Float = NDArray[np.float32]
GRID_MM = 1.5


def ours(logits: Float, placement: Placement, plan: Plan) -> NDArray[Any]:
    """Softmax, restoring and arg-max of logits [J, *grid], a slab at a time, as in a prediction."""
    route = Route((2, 0, 1), ((0, placement.shape[0]),), 16)
    restored = Restored.blank(placement, plan, with_probabilities=False, with_uncertainty=False)
    turned = logits.transpose(0, *(1 + axis for axis in route.axes))
    slabs = (turned[:, rows] for rows in ranges(turned.shape[1], route.slab_rows))
    restore_piece(slabs, placement, plan, route, route.pieces[0], restored)
    return restored.labels


def nnunet(scores: Float, shape: tuple[int, ...], spacing: tuple[float, ...], grid: tuple[float, ...]) -> NDArray[Any]:
    import torch
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    resampled = resample_data_or_seg_to_shape(
        scores, shape, grid, spacing, is_seg=False, order=1, order_z=0, force_separate_z=None
    )
    return torch.as_tensor(resampled).argmax(0).to(torch.uint8).numpy()


def organs(shape: tuple[int, ...], classes: int, seed: int) -> Float:
    """Logits [J, *shape]: background 0, and ellipsoids with wavy surfaces, a few voxels from -5 to 5 at their edge."""
    random = np.random.default_rng(seed)
    logits = np.zeros((classes, *shape), dtype=np.float32)
    axes = [
        np.arange(n, dtype=np.float32).reshape([-1 if a == i else 1 for a in range(3)]) for i, n in enumerate(shape)
    ]
    for index in range(1, classes):
        size = random.uniform(0.06, 0.2, 3) * shape
        centre = random.uniform(0.2, 0.8, 3) * shape
        terms = [((axis - c) / s) ** 2 for axis, c, s in zip(axes, centre, size, strict=True)]
        radius = np.sqrt(terms[0] + terms[1] + terms[2])
        for axis in axes:
            radius = radius + np.float32(0.05) * np.sin(axis * random.uniform(0.1, 0.4) + random.uniform(0, 6))
        logits[index] = np.clip((1 - radius) * size.min() * 1.5, -8, 8)
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 512, 300])
    parser.add_argument("--spacing", type=float, nargs=3, default=[0.75, 0.75, 1.0], help="of the scan, mm")
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--logits", action="store_true", help="nnU-Net interpolates logits, as it does by default")
    asked = parser.parse_args()
    shape = tuple(asked.shape)
    # A volume that takes no memory: only its grid is of interest.
    empty = Volume(np.broadcast_to(np.int16(0), (1, *shape)), np.diag([*asked.spacing, 1.0]))
    _, placement = place(empty, "RAS", (GRID_MM,) * 3, "nearest")
    plan = Plan(
        dataset="blobs",
        channels=(ChannelPlan(name="CT"),),
        labels={"background": 0, **{f"organ {i}": i for i in range(1, asked.classes)}},
        spacing_mm=(GRID_MM,) * 3,
        window=(96, 96, 96),
        network=NetworkPlan(),
    )
    logits = organs(placement.shape, asked.classes, seed=0)
    scores = logits
    if not asked.logits:
        scores = np.exp(logits - logits.max(axis=0))
        scores /= scores.sum(axis=0)
    contestants = {
        "nnU-Net": lambda: nnunet(scores, shape, tuple(asked.spacing), (GRID_MM,) * 3),
        "unetr": lambda: ours(logits, placement, plan),
    }
    seconds: dict[str, list[float]] = {who: [] for who in contestants}
    labels: dict[str, NDArray[Any]] = {}
    for _ in range(asked.repetitions):
        for who, run in contestants.items():
            start = time.perf_counter()
            labels[who] = run()
            seconds[who].append(time.perf_counter() - start)
    median = {who: statistics.median(some) for who, some in seconds.items()}
    same = labels["nnU-Net"] == labels["unetr"]
    inside = (labels["nnU-Net"] > 0) | (labels["unetr"] > 0)
    print("| | median, s | fastest, s | slowest, s | faster |\n|---|---|---|---|---|")
    for who, some in seconds.items():
        ratio = median["nnU-Net"] / median[who]
        print(f"| {who} | {median[who]:.2f} | {min(some):.2f} | {max(some):.2f} | {ratio:.2f} × |")
    print(f"\nGrid {placement.shape} to {shape}, {asked.classes} classes.")
    print(f"Labels agree: {100 * same.mean():.4f} % of voxels,")
    print(f"{100 * same[inside].mean():.4f} % of those that either calls foreground ({100 * inside.mean():.1f} %).")


if __name__ == "__main__":
    main()

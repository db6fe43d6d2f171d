"""Training steps per second: preset `paper` at 96^3, batch 1, against MONAI's UNETR, in one run on the same machine.

Each contestant does whole optimiser steps (forward, loss, backward, clipping, update) on the same random input:
  monai fp32   monai.networks.nets.UNETR, DiceCELoss, torch.optim.AdamW, as its documentation uses them
  monai bf16   the same under bfloat16 autocast
  unetr        the training loop's own step, moving average of weights included
Each is a process of its own, since the training of unetr also sets up the C library's allocator; the processes take
turns, so that a machine that slows down does so for all.

    uv run python benchmarks/step_throughput.py --turns 2 --steps 6
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

CLASSES = 14
Window = tuple[int, int, int]


def monai_step(window: Window, images: np.ndarray, classes: np.ndarray, bf16: bool) -> Callable[[], object]:
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNETR

    torch.manual_seed(0)
    network = UNETR(images.shape[1], CLASSES, window)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-5)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True)
    x, y = torch.from_numpy(images), torch.from_numpy(classes)[:, None]

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_function(network(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def unetr_step(window: Window, images: np.ndarray, classes: np.ndarray) -> Callable[[], object]:
    from unetr.core.plan.schema import ChannelPlan, Plan, TrainingPlan
    from unetr.train.optimise.step import start_trainer, training_step
    from unetr.train.samples.sample import Batch

    plan = Plan(
        dataset="benchmark",
        channels=(ChannelPlan(name="CT", normalisation="none"),),
        labels={"background": 0} | {f"organ {value}": value for value in range(1, CLASSES)},
        spacing_mm=(1, 1, 1),
        window=window,
        training=TrainingPlan(batch_size=len(images)),
    )
    trainer = start_trainer(plan, seed=0)
    batch = Batch(0, images, classes, ("random",) * len(images))
    return lambda: training_step(trainer, batch, 1e-4, 0)


CONTESTANTS: dict[str, Callable[[Window, np.ndarray, np.ndarray], Callable[[], object]]] = {
    "monai fp32": lambda window, x, y: monai_step(window, x, y, bf16=False),
    "monai bf16": lambda window, x, y: monai_step(window, x, y, bf16=True),
    "unetr": unetr_step,
}


def time_steps(name: str, window: Window, batch: int, steps: int) -> list[float]:
    """Seconds of each step after two that warm up."""
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, 1, *window)).astype(np.float32)
    step = CONTESTANTS[name](window, images, rng.integers(0, CLASSES, size=(batch, *window)))
    seconds = []
    for _ in range(steps + 2):
        before = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - before)
    return seconds[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--window", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--contestant", choices=CONTESTANTS, help="time one, and print its seconds as JSON")
    arguments = parser.parse_args()
    if arguments.contestant:
        x, y, z = arguments.window
        print(json.dumps(time_steps(arguments.contestant, (x, y, z), arguments.batch, arguments.steps)))
        return
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(arguments.turns):
        for name, found in seconds.items():
            command = [sys.executable, __file__, "--contestant", name, "--steps", str(arguments.steps)]
            command += ["--window", *map(str, arguments.window), "--batch", str(arguments.batch)]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found += json.loads(printed.splitlines()[-1])
    print_table(seconds, f"window {tuple(arguments.window)}, batch {arguments.batch}")


def print_table(seconds: dict[str, list[float]], what: str) -> None:
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {what}\n")
    print("| step | median, s | fastest, s | slowest, s | unetr is faster by |\n|---|---|---|---|---|")
    for name, values in seconds.items():
        ratio = median[name] / median["unetr"]
        print(f"| {name} | {median[name]:.3f} | {min(values):.3f} | {max(values):.3f} | {ratio:.2f} x |")


if __name__ == "__main__":
    main()

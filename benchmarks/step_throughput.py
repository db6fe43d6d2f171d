"""Training steps per second: preset `paper` at 96^3, batch 1, against MONAI's UNETR, in one run on the same machine.

Each contestant does whole optimiser steps (forward, loss, backward, clipping, update) on the same random input:
  monai fp32   monai.networks.nets.UNETR, DiceCELoss, torch.optim.AdamW, as its documentation uses them
  monai bf16   the same under bfloat16 autocast
  unetr        the training loop's own step, moving average of weights included
The contestants take turns, so that a machine that slows down does so for all.

    uv run python benchmarks/step_throughput.py --rounds 5 --json step_throughput.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from unetr.core.plan import ChannelPlan, Plan, TrainingPlan
from unetr.train.run import Settings
from unetr.train.sample import Batch
from unetr.train.step import start_trainer, training_step

CLASSES = 14


def monai_step(
    window: tuple[int, int, int], images: torch.Tensor, classes: torch.Tensor, bf16: bool
) -> Callable[[], None]:
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNETR

    torch.manual_seed(0)
    network = UNETR(images.shape[1], CLASSES, window)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-5)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_function(network(images), classes[:, None])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def unetr_step(window: tuple[int, int, int], images: np.ndarray, classes: np.ndarray) -> Callable[[], None]:
    labels = {"background": 0} | {f"organ {value}": value for value in range(1, CLASSES)}
    plan = Plan(
        dataset="benchmark",
        channels=(ChannelPlan(name="CT", normalisation="none"),),
        labels=labels,
        spacing_mm=(1, 1, 1),
        window=window,
        training=TrainingPlan(batch_size=len(images)),
    )
    settings = Settings(
        dataset="",
        preset="paper",
        fold=None,
        folds=5,
        seed=0,
        steps=1,
        minutes=None,
        training_cases=(),
        validation_cases=(),
    )
    trainer = start_trainer(plan, settings)
    batch = Batch(0, images, classes, ("random",) * len(images))
    return lambda: (training_step(trainer, batch, 1e-4, 0), None)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    window = tuple(arguments.window)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(arguments.batch, 1, *window)).astype(np.float32)
    classes = rng.integers(0, CLASSES, size=(arguments.batch, *window))
    tensors = torch.from_numpy(images), torch.from_numpy(classes)
    steps = {
        "monai fp32": monai_step(window, *tensors, bf16=False),
        "monai bf16": monai_step(window, *tensors, bf16=True),
        "unetr": unetr_step(window, images, classes),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(arguments.rounds + 1):
        for name, step in steps.items():
            before = time.perf_counter()
            step()
            if round_:  # the first round warms up
                seconds[name].append(time.perf_counter() - before)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, window {window}, batch {arguments.batch}")
    print("| step | median s | fastest s | slowest s | unetr is faster by |\n|---|---|---|---|---|")
    for name, values in seconds.items():
        ratio = median[name] / median["unetr"]
        print(f"| {name} | {median[name]:.3f} | {min(values):.3f} | {max(values):.3f} | {ratio:.2f} x |")
    if arguments.json:
        arguments.json.write_text(json.dumps(seconds, indent=1))


if __name__ == "__main__":
    main()

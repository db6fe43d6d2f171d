"""Memory that training takes, measured, beside the planner's estimate (`prepare/planning/training_memory.py`).

    uv run python benchmarks/training_memory.py [--precision bf16]

Each row is a process of its own: three training steps of a preset on random numbers, data ready. Measured is the
kernel's peak less what the process had when all was imported; what that is, is the last column. The planner cuts
windows and batches by the estimate, so it must not be below what is measured, and is of little use if it is far above.
"""

from __future__ import annotations

import argparse
import json
import sys

from measured import measure

# Preset, side of the window, windows, classes.
ROWS = [
    ("small", 32, 1, 3),
    ("small", 64, 1, 3),
    ("small", 64, 1, 60),
    ("medium", 40, 1, 3),
    ("medium", 64, 1, 3),
    ("medium", 64, 2, 3),
    ("large", 64, 1, 3),
    ("large", 96, 1, 3),
    ("tiny", 64, 1, 3),
    ("tiny", 64, 4, 3),
    ("paper", 32, 1, 3),
    ("paper", 64, 2, 3),
    ("paper", 96, 1, 14),
]


def train(preset: str, side: int, windows: int, classes: int, precision: str) -> dict[str, float]:
    """GB of memory before and at the peak of three steps."""
    import torch

    from unetr.core.machine.memory import peak_bytes, resident_bytes
    from unetr.core.plan.schema import ChannelPlan, Plan
    from unetr.prepare.planning.presets import PRESETS
    from unetr.prepare.planning.training_memory import training_memory
    from unetr.train.optimise.step import start_trainer, training_step
    from unetr.train.samples.sample import Batch

    chosen = PRESETS[preset]
    plan = Plan(
        dataset="noise",
        channels=(ChannelPlan(name="MRI", normalisation="zscore"),),
        labels={"background": 0, **{f"organ {i}": i for i in range(1, classes)}},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(side, side, side),
        network=chosen.network,
        training=chosen.training.model_copy(update={"batch_size": windows, "precision": precision}),
    )
    images = torch.randn(windows, 1, side, side, side).numpy()
    truth = torch.randint(0, classes, (windows, side, side, side)).numpy()
    before = resident_bytes()
    trainer = start_trainer(plan, 0)
    for step in range(3):
        training_step(trainer, Batch(step, images, truth, ("random",) * windows), 1e-4, step)
    estimate = training_memory(plan.network, plan.outputs).taken_gb(plan.window, windows)
    return {"before": before / 1e9, "peak": peak_bytes() / 1e9, "estimate": estimate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.row:
        preset, *numbers = asked.row.split(",")
        print(json.dumps(train(preset, *map(int, numbers), asked.precision)))
        return
    print("| preset | windows | classes | measured, GB | estimate, GB | estimate / measured | before, GB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for preset, side, windows, classes in ROWS:
        row = f"{preset},{side},{windows},{classes}"
        done = measure([sys.executable, __file__, "--precision", asked.precision, "--row", row])
        found = json.loads(done.stdout)
        taken = found["peak"] - found["before"]
        print(
            f"| `{preset}` | {windows}×{side}³ | {classes} | {taken:.2f} | {found['estimate']:.2f} | "
            f"{found['estimate'] / taken:.2f} | {found['before']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

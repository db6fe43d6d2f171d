"""The network alone: one window through each engine, against MONAI's UNETR in eager fp32 with the same weights.

    uv run python benchmarks/network.py [--repetitions 9] [--model MODEL --scan SCAN]

Preset `paper`, window 96x96x96, 14 classes, batch 1, random weights (seed 0), the same input and number of threads;
engines take turns, one window each, and the median counts. fp32: largest difference of the logits from MONAI's. bf16
only on CPUs that have it in hardware: others emulate it, a hundred times slower. With a trained model and scans of its
kind, the share of voxels of whole predictions with the same label in bf16 as in fp32.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import unetr
from monai_predict import export, load
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.infer.engines import choose_engine, make_engine
from unetr.infer.engines.openvino import has_bf16
from unetr.model.file.model_file import ModelFile, write_model
from unetr.model.network.build import fresh_weights
from unetr.model.open_model import open_model

WINDOW = (96, 96, 96)
Run = Callable[[np.ndarray], np.ndarray]


def paper_model(path: Path) -> None:
    plan = Plan(
        dataset="random",
        channels=(ChannelPlan(name="CT", normalisation="none"),),
        labels={"background": 0, **{f"organ {i}": i for i in range(1, 14)}},
        spacing_mm=(1.5, 1.5, 1.5),
        window=WINDOW,
    )
    write_model(path, ModelFile(plan, None, {}, "CC0", fresh_weights(plan)))


def monai_engine(folder: Path, bf16: bool) -> Run:
    import json

    network = load(folder / "weights.pt", json.loads((folder / "plan.json").read_text()))

    def run(window: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return network(torch.from_numpy(window)).float().numpy()

    return run


def engines(folder: Path) -> dict[str, Run]:
    """Name -> windows to logits."""
    opened = open_model(folder / "model.safetensors")
    made: dict[str, Run] = {"MONAI eager fp32": monai_engine(folder, bf16=False)}
    precisions = ("fp32", "bf16") if has_bf16() else ("fp32",)
    if "bf16" in precisions:
        made["MONAI autocast bf16"] = monai_engine(folder, bf16=True)
    for engine in ("torch", "openvino"):
        for precision in precisions:
            run = make_engine(opened, choose_engine(opened, engine, "cpu", precision))
            made[f"unetr {engine} {precision}"] = run
    return made


def label_agreement(model: Path, scan: Path) -> float:
    found = [unetr.load(model, precision=precision).predict(scan).labels.data for precision in ("fp32", "bf16")]
    return float(np.mean(found[0] == found[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--model", type=Path, help="a trained model")
    parser.add_argument("--scan", type=Path, nargs="*", default=[], help="scans of its kind")
    asked = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paper_model(folder / "model.safetensors")
        export(folder / "model.safetensors", folder / "weights.pt", folder / "plan.json")
        contestants = engines(folder)
    window = np.random.default_rng(0).normal(size=(1, 1, *WINDOW)).astype(np.float32)
    seconds: dict[str, list[float]] = {who: [] for who in contestants}
    logits = {who: np.array(run(window)) for who, run in contestants.items()}  # also warms up
    for _ in range(asked.repetitions):
        for who, run in contestants.items():
            start = time.perf_counter()
            run(window)
            seconds[who].append(time.perf_counter() - start)
    first = next(iter(contestants))
    base = statistics.median(seconds[first])
    print(f"{torch.get_num_threads()} threads\n")
    print("| engine | seconds a window (median) | least | times as fast | largest difference of logits |")
    print("|---|---|---|---|---|")
    for who, some in seconds.items():
        middle = statistics.median(some)
        difference = float(np.abs(logits[who] - logits[first]).max())
        print(f"| {who} | {middle:.3f} | {min(some):.3f} | {base / middle:.2f} | {difference:.1e} |")
    if asked.model:
        shares = [label_agreement(asked.model, scan) for scan in asked.scan]
        print(f"\nLabels of {asked.model.name} alike in bf16 and fp32: {100 * float(np.mean(shares)):.3f} % of voxels")
        print(f"(mean of {len(shares)} scans, least {100 * min(shares):.3f} %)")


if __name__ == "__main__":
    main()

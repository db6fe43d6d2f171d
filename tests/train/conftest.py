"""A cache of small synthetic cases and a plan for a network that trains in a blink."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.small_cases import write_cases

from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan, PretrainingPlan, TrainingPlan
from unetr.prepare.cache import Cache

SHAPES = {"small": (10, 20, 12), "mixed": (40, 12, 33), "large": (40, 36, 44)}


def make_plan(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "dataset": "balls",
        "channels": (ChannelPlan(name="MRI"),),
        "labels": {"background": 0, "ball": 1, "shell": 2},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (16, 16, 16),
        "network": NetworkPlan(
            preset="test", patch=8, width=16, depth=3, heads=2, mlp_width=32, taps=(1, 2, 3), feature_size=4
        ),
        "training": TrainingPlan(batch_size=2),
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def plan_with() -> Callable[..., Plan]:
    return make_plan


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return make_cache(tmp_path / "cache")


def make_cache(folder: Path) -> Cache:
    """Three cases, each a ball (1) in a shell (2) in noise; their voxels say where they are."""
    folder.mkdir()
    for index, (case, shape) in enumerate(SHAPES.items()):
        rng = np.random.default_rng(index)
        centre = np.array(shape) / 2
        distance = np.linalg.norm(np.indices(shape) - centre[:, None, None, None] + 0.5, axis=0)
        label = np.where(distance < 3, 1, np.where(distance < 4.5, 2, 0)).astype(np.int8)
        image = (label[None] + rng.normal(0, 0.3, (1, *shape))).astype(np.float32)
        voxels = np.argwhere(label > 0)
        table = np.column_stack([label[tuple(voxels.T)], voxels]).astype(np.int32)
        arrays = {"image": image, "label": label, "foreground": table}
        for name, array in arrays.items():
            np.save(folder / f"{case}.{name}.npy", array)
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        (folder / f"{case}.json").write_text(json.dumps({"key": "", "id": case, "shapes": shapes}))
    return Cache(folder, tuple(SHAPES))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The same bits whatever else runs: sums do not depend on how many threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pretraining_plan(plan_with: Callable[..., Plan]) -> Callable[..., Plan]:
    """`plan_with` for a pretraining."""

    def make(**changes: object) -> Plan:
        return plan_with(**({"labels": {"background": 0}, "pretraining": PretrainingPlan()} | changes))

    return make


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_cases(tmp_path / "data")

"""Small networks and plans that the tests of this folder share, and MONAI, imported once and only where asked for."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.model.file.model_file import ModelFile
from unetr.model.network.build import fresh_weights


@pytest.fixture(scope="session")
def monai_nets() -> ModuleType:
    """monai.networks.nets; its import takes about 16 s."""
    return pytest.importorskip("monai.networks.nets")


@pytest.fixture(scope="session")
def small_network() -> Callable[..., NetworkPlan]:
    """A NetworkPlan small enough for a test; keyword arguments replace fields."""

    def make(**changes: Any) -> NetworkPlan:
        small: dict[str, Any] = {
            "patch": 8,
            "width": 24,
            "depth": 3,
            "heads": 3,
            "mlp_width": 40,
            "taps": (1, 2, 3),
            "feature_size": 4,
        }
        return NetworkPlan(**(small | changes))

    return make


@pytest.fixture(scope="session")
def make_plan(small_network: Callable[..., NetworkPlan]) -> Callable[..., Plan]:
    """A Plan around a small network: `outputs` labels, `channels` channels."""

    def make(window: tuple[int, int, int] = (16, 16, 16), channels: int = 1, outputs: int = 3, **changes: Any) -> Plan:
        fields: dict[str, Any] = {
            "dataset": "test",
            "channels": tuple(ChannelPlan(name=f"channel {i}") for i in range(channels)),
            "labels": {"background": 0} | {f"structure {i}": i for i in range(1, outputs)},
            "spacing_mm": (1.0, 1.0, 1.0),
            "window": window,
            "network": small_network(),
        }
        return Plan(**(fields | changes))

    return make


@pytest.fixture
def model(make_plan: Callable[..., Plan]) -> ModelFile:
    """A model file in memory with fresh weights; its licence and metrics have quotes, newlines and umlauts."""
    plan = make_plan()
    weights = fresh_weights(plan, seed=3)
    metrics = {"dice": 0.5, "absent": float("nan"), "cases": ["a", 'b "quoted" ü']}
    return ModelFile(plan, None, metrics, "CC-BY 4.0\nJane Doe", weights)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)

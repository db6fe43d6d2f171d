"""What a network costs: parameters, arithmetic, time. Measured on the network itself, not derived from its plan."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import InstanceNorm
from unetr.model.network.build import build_network


@dataclass(frozen=True, slots=True)
class Profile:
    """Of one window through a network with fresh weights.

    flops: of matrix products, convolutions and attention, a multiplication and an addition counted as two; other
    operations are left out. Many papers count one for both, or leave out attention: their figures are half of these,
    or less. transformer_flops: the part in our transformer's blocks; None for peers.
    latency_s: median seconds of a forward pass in torch.
    """

    parameters: int
    flops: int
    transformer_flops: int | None
    latency_s: float


def profile_network(
    network: NetworkPlan, in_channels: int, outputs: int, window: tuple[int, int, int], repetitions: int = 3
) -> Profile:
    """Builds the network and runs windows of random numbers through it, on the CPU in float32.

    Raises ValueError for a network that cannot be, ModuleNotFoundError for a peer that is not installed.
    """
    model = build_network(network, in_channels, outputs, window).eval()
    x = torch.randn((1, in_channels, *window), generator=torch.Generator().manual_seed(0))
    seconds = []
    with torch.inference_mode():
        counter = FlopCounterMode(display=False)
        with counter:
            model(x)
        for _ in range(repetitions):
            start = time.perf_counter()
            model(x)
            seconds.append(time.perf_counter() - start)
    counts = counter.get_flop_counts()
    blocks = counts.get("UNETR.encoder")
    return Profile(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        flops=counter.get_total_flops() - _of_norms(model, counts),
        transformer_flops=None if blocks is None else sum(blocks.values()),
        latency_s=statistics.median(seconds),
    )


def _of_norms(model: nn.Module, counts: dict[str, dict[Any, int]]) -> int:
    """Norms are not counted anywhere; ours take their sums by matrix products, which the counter sees."""
    norms = [name for name, module in model.named_modules() if isinstance(module, InstanceNorm)]
    return sum(sum(counts.get(f"{type(model).__name__}.{name}", {}).values()) for name in norms)

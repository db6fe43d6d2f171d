"""The convolutional stem: what of the input is finer than a token. Knows no tokens and no decoder."""

from __future__ import annotations

from torch import Tensor, nn

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import conv_block


class Stem(nn.Module):
    """levels: blocks, the first at the input's resolution, each other one at half of that before it."""

    def __init__(self, levels: list[nn.Module]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x [B, C, H, W, D] -> per level k [B, channels_k, H/2^k, W/2^k, D/2^k]."""
        details = []
        for level in self.levels:
            x = level(x)
            details.append(x)
        return details


def stem(network: NetworkPlan, in_channels: int) -> Stem:
    """The stem that decoder `stem` needs."""
    levels: list[nn.Module] = []
    inputs = in_channels
    for level, channels in enumerate(network.level_channels):
        levels.append(conv_block(network, inputs, channels, stride=2 if level else 1))
        inputs = channels
    return Stem(levels)

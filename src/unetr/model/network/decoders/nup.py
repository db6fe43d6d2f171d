"""Naive upsampling, the paper's ablation NUP after SETR (Zheng et al., CVPR 2021, section 3.2), in 3D.

Classifies the tokens of the last tap with two 1x1x1 convolutions and interpolates the logits once to full size.
"""

from __future__ import annotations

from torch import Tensor, nn

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import ConvNorm, PointConvolution, upsample


class NaiveUpsampling(nn.Module):
    """Uses the last tap only."""

    def __init__(self, patch: int, hidden: ConvNorm, head: nn.Conv3d) -> None:
        super().__init__()
        self.patch = patch
        self.hidden = hidden
        self.head = head

    def forward(self, details: list[Tensor], taps: list[Tensor]) -> Tensor:
        """details: not used, taps [B, K, H/P, W/P, D/P] -> logits [B, J, H, W, D]."""
        return upsample(self.head(self.hidden(taps[-1])), self.patch)


def naive_upsampling(network: NetworkPlan, in_channels: int, outputs: int) -> NaiveUpsampling:
    """Hidden channels: feature_size * patch (256 with the paper's 16 and 16, as SETR has)."""
    channels = network.feature_size * network.patch
    return NaiveUpsampling(
        network.patch, ConvNorm(network.width, channels, network.norm, size=1), PointConvolution(channels, outputs)
    )

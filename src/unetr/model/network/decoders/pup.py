"""Progressive upsampling, the paper's ablation PUP after SETR (Zheng et al., CVPR 2021, section 3.2), in 3D.

Alternates a 3x3x3 convolution and an upsampling by 2, log2(patch) times, from the last tap.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import ConvNorm, PointConvolution, upsample


class ProgressiveUpsampling(nn.Module):
    """Uses the last tap only."""

    def __init__(self, steps: list[ConvNorm], head: nn.Conv3d) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.head = head

    def forward(self, details: list[Tensor], taps: list[Tensor]) -> Tensor:
        """details: not used, taps [B, K, H/P, W/P, D/P] -> logits [B, J, H, W, D]."""
        out = taps[-1]
        for step in self.steps:
            out = upsample(step(out), 2)
        logits: Tensor = self.head(out)
        return logits


def progressive_upsampling(network: NetworkPlan, in_channels: int, outputs: int) -> ProgressiveUpsampling:
    """Channels halve with each step down to feature_size (SETR keeps 256, which in 3D no memory would hold)."""
    channels = [network.width, *reversed(network.level_channels)]
    steps = [ConvNorm(before, after, network.norm, size=3) for before, after in pairwise(channels)]
    return ProgressiveUpsampling(steps, PointConvolution(channels[-1], outputs))

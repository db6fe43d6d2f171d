"""Multi-level aggregation, the paper's ablation MLA after SETR (Zheng et al., CVPR 2021, section 3.2), in 3D.

Every tap gets a stream: 1x1x1 convolution, sum with the deeper streams (top-down), two 3x3x3 convolutions of which the
second halves the channels, upsampling. The streams are concatenated, classified, and the logits interpolated to full
size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import ConvNorm, PointConvolution, upsample


class MultiLevelAggregation(nn.Module):
    """reduces, refines: one per tap, shallow to deep. The patch P is upsampled by `first` and then by P / `first`."""

    def __init__(self, reduces: list[ConvNorm], refines: list[nn.Sequential], head: nn.Conv3d, patch: int) -> None:
        super().__init__()
        self.first = 2 ** (patch.bit_length() // 2)
        self.second = patch // self.first
        self.reduces = nn.ModuleList(reduces)
        self.refines = nn.ModuleList(refines)
        self.head = head

    def forward(self, details: list[Tensor], taps: list[Tensor]) -> Tensor:
        """details: not used, taps [B, K, H/P, W/P, D/P] -> logits [B, J, H, W, D]."""
        streams: list[Tensor] = []
        deeper: Tensor | None = None
        for reduce, refine, tap in zip(reversed(self.reduces), reversed(self.refines), reversed(taps), strict=True):
            deeper = reduce(tap) if deeper is None else reduce(tap) + deeper
            streams.append(upsample(refine(deeper), self.first))
        return upsample(self.head(torch.cat(streams, dim=1)), self.second)


def multi_level_aggregation(network: NetworkPlan, in_channels: int, outputs: int) -> MultiLevelAggregation:
    """Channels of a stream: feature_size * patch (256 in the paper's size, as SETR has), half of it at its end."""
    channels = network.feature_size * network.patch
    reduces = [ConvNorm(network.width, channels, network.norm, size=1) for _ in network.taps]
    refines = [
        nn.Sequential(
            ConvNorm(channels, channels, network.norm, size=3),
            ConvNorm(channels, channels // 2, network.norm, size=3),
        )
        for _ in network.taps
    ]
    head = PointConvolution(channels // 2 * len(network.taps), outputs)
    return MultiLevelAggregation(reduces, refines, head, network.patch)

"""The decoder of networks with a convolutional stem: a U whose skips are the stem's levels, the last tap its bottom."""

from __future__ import annotations

from torch import Tensor, nn

from unetr.core.plan import NetworkPlan
from unetr.model.blocks import PointConvolution
from unetr.model.decoders.fusion import Fusion, fusions


class StemDecoder(nn.Module):
    """fusions: deep to shallow. head: 1x1x1."""

    def __init__(self, fusions: list[Fusion], head: nn.Conv3d) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(fusions)
        self.head = head

    def forward(self, details: list[Tensor], taps: list[Tensor]) -> Tensor:
        """details: the stem's levels [B, F 2^k, H/2^k, ...], taps [B, K, H/P, ...] -> logits [B, J, H, W, D]."""
        deep = taps[-1]
        for fusion, skip in zip(self.fusions, reversed(details), strict=True):
            deep = fusion(deep, skip)
        out: Tensor = self.head(deep)
        return out


def stem_decoder(network: NetworkPlan, in_channels: int, outputs: int) -> StemDecoder:
    """Any number of taps; the last is used."""
    return StemDecoder(fusions(network), PointConvolution(network.feature_size, outputs))

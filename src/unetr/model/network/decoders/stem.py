"""The decoder of networks with a convolutional stem: a U whose skips are the stem's levels, the last tap its bottom."""

from __future__ import annotations

from torch import Tensor, nn

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import PointConvolution
from unetr.model.network.decoders.fusion import Fusion, fusions


class StemDecoder(nn.Module):
    """fusions: deep to shallow. head: 1x1x1. skips: how many levels of the stem, finest first, are used."""

    def __init__(self, fusions: list[Fusion], head: nn.Conv3d, skips: int) -> None:
        super().__init__()
        self.skips = skips
        self.fusions = nn.ModuleList(fusions)
        self.head = head

    def forward(self, details: list[Tensor], taps: list[Tensor]) -> Tensor:
        """details: the stem's levels [B, F 2^k, H/2^k, ...], taps [B, K, H/P, ...] -> logits [B, J, H, W, D]."""
        deep = taps[-1]
        skips = [detail if level < self.skips else None for level, detail in enumerate(details)]
        for fusion, skip in zip(self.fusions, reversed(skips), strict=True):
            deep = fusion(deep, skip)
        out: Tensor = self.head(deep)
        return out


def stem_decoder(network: NetworkPlan, in_channels: int, outputs: int) -> StemDecoder:
    """Any number of taps; the last is used."""
    levels = fusions(network, network.stem_skips)
    head = PointConvolution(network.feature_size, outputs)
    return StemDecoder(levels, head, len(levels) if network.stem_skips is None else network.stem_skips)

"""The UNETR decoder (paper, figure 2): skips at every level, from the raw input down to the patch grid.

Level k has 1/2^k of the input's resolution and feature_size * 2^k channels. With patch P = 2^n there are n taps:
tap i < n is brought up from the patch grid (level n) to level i, tap n is the bottleneck, the raw input joins at
level 0.
"""

from __future__ import annotations

from torch import Tensor, nn

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import ConvBlock, Deconvolution, PointConvolution, conv_block
from unetr.model.network.decoders.fusion import Fusion, fusions


class TapPath(nn.Module):
    """Brings a tap up by `steps` deconvolutions; each after the first is followed by a block if the plan says so."""

    def __init__(self, network: NetworkPlan, channels: int, steps: int) -> None:
        super().__init__()
        self.first = Deconvolution(network.width, channels)
        self.steps = nn.ModuleList()
        for _ in range(steps - 1):
            step: list[nn.Module] = [Deconvolution(channels, channels)]
            if network.tap_convolutions:
                step.append(conv_block(network, channels, channels))
            self.steps.append(nn.Sequential(*step))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, K, h, w, d] -> [B, channels, h*2^steps, ...]."""
        x = self.first(x)
        for step in self.steps:
            x = step(x)
        return x


class UNETRDecoder(nn.Module):
    """input_path: block of the raw input. tap_paths: shallow to deep. fusions: deep to shallow. head: 1x1x1."""

    def __init__(self, input_path: ConvBlock, tap_paths: list[TapPath], fusions: list[Fusion], head: nn.Conv3d) -> None:
        super().__init__()
        self.input_path = input_path
        self.tap_paths = nn.ModuleList(tap_paths)
        self.fusions = nn.ModuleList(fusions)
        self.head = head

    def forward(self, details: list[Tensor], taps: list[Tensor]) -> Tensor:
        """details: the input [B, C, H, W, D], taps n times [B, K, H/P, W/P, D/P] -> logits [B, J, H, W, D]."""
        skips = [self.input_path(details[0])]
        skips += [path(tap) for path, tap in zip(self.tap_paths, taps[:-1], strict=True)]
        deep = taps[-1]
        for fusion, skip in zip(self.fusions, reversed(skips), strict=True):
            deep = fusion(deep, skip)
        out: Tensor = self.head(deep)
        return out


def unetr_decoder(network: NetworkPlan, in_channels: int, outputs: int) -> UNETRDecoder:
    """There are log2(patch) taps, as `network_problem` asks for."""
    channels = network.level_channels
    levels = len(channels)
    return UNETRDecoder(
        input_path=conv_block(network, in_channels, channels[0]),
        tap_paths=[TapPath(network, channels[level], levels - level) for level in range(1, levels)],
        fusions=fusions(network),
        head=PointConvolution(channels[0], outputs),
    )

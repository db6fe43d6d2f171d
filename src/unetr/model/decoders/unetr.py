"""The UNETR decoder (paper, figure 2): skips at every level, from the raw input down to the patch grid.

Level k has 1/2^k of the input's resolution and feature_size * 2^k channels. With patch P = 2^n there are n taps:
tap i < n is brought up from the patch grid (level n) to level i, tap n is the bottleneck, the raw input joins at
level 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetr.core.plan import NetworkPlan
from unetr.model.blocks import ConvBlock, Deconvolution, conv_block


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


class Fusion(nn.Module):
    """Deconvolves the deeper feature to the skip's level, concatenates both, fuses them with a block."""

    def __init__(self, deeper: int, channels: int, fuse: ConvBlock) -> None:
        super().__init__()
        self.up = Deconvolution(deeper, channels)
        self.fuse = fuse

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """deep [B, deeper, h, w, d], skip [B, channels, 2h, 2w, 2d] -> [B, channels, 2h, 2w, 2d]."""
        if skip.requires_grad:
            skip.register_hook(_dense)  # type: ignore[no-untyped-call]
        out: Tensor = self.fuse(torch.cat((self.up(deep), skip), dim=1))
        return out


def _dense(gradient: Tensor) -> Tensor:
    """A concatenation hands each part a strided slice of its gradient, on which a CPU's elementwise kernels are slow.

    Where channels are innermost: 83 ms against 2 ms for the copy and 2 ms for the activation (16 channels of 96^3).
    """
    innermost = gradient.stride(1) == 1
    return gradient.contiguous(memory_format=torch.channels_last_3d) if innermost else gradient


class UNETRDecoder(nn.Module):
    """input_path: block of the raw input. tap_paths: shallow to deep. fusions: deep to shallow. head: 1x1x1."""

    def __init__(self, input_path: ConvBlock, tap_paths: list[TapPath], fusions: list[Fusion], head: nn.Conv3d) -> None:
        super().__init__()
        self.input_path = input_path
        self.tap_paths = nn.ModuleList(tap_paths)
        self.fusions = nn.ModuleList(fusions)
        self.head = head

    def forward(self, x: Tensor, taps: list[Tensor]) -> Tensor:
        """x [B, C, H, W, D], taps n times [B, K, H/P, W/P, D/P] -> logits [B, J, H, W, D]."""
        skips = [self.input_path(x)]
        skips += [path(tap) for path, tap in zip(self.tap_paths, taps[:-1], strict=True)]
        deep = taps[-1]
        for fusion, skip in zip(self.fusions, reversed(skips), strict=True):
            deep = fusion(deep, skip)
        out: Tensor = self.head(deep)
        return out


def unetr_decoder(network: NetworkPlan, in_channels: int, outputs: int) -> UNETRDecoder:
    """Raises ValueError unless there are log2(patch) taps."""
    levels = network.patch.bit_length() - 1
    if len(network.taps) != levels:
        raise ValueError(
            f"network.taps: decoder unetr with patch {network.patch} needs {levels} taps, one per halving, "
            f"the plan has {len(network.taps)}: {list(network.taps)}"
        )
    channels = [network.feature_size * 2**level for level in range(levels)]
    deeper = [*channels[1:], network.width]
    return UNETRDecoder(
        input_path=conv_block(network, in_channels, channels[0]),
        tap_paths=[TapPath(network, channels[level], levels - level) for level in range(1, levels)],
        fusions=[
            Fusion(deeper[level], channels[level], conv_block(network, 2 * channels[level], channels[level]))
            for level in reversed(range(levels))
        ],
        head=nn.Conv3d(channels[0], outputs, 1),
    )

"""The decoders' parts: convolution blocks and the two ways up. Knows no tokens and no levels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetr.core.plan import NetworkPlan

NormKind = Literal["instance", "instance_affine", "batch"]
SLOPE = 0.01  # of the leaky rectifier, everywhere


def norm_layer(kind: NormKind, channels: int) -> nn.Module:
    """`instance` has no parameters, `instance_affine` scale and shift, `batch` these and running statistics."""
    return nn.BatchNorm3d(channels) if kind == "batch" else InstanceNorm(channels, affine=kind == "instance_affine")


class InstanceNorm(nn.InstanceNorm3d):
    """nn.InstanceNorm3d, faster on a CPU where channels are innermost.

    PyTorch's would copy such an input to the other layout and back. Normalising a batch of one by its own statistics is
    the same thing and has a kernel for this layout. Exporters get the operator that they know.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W, D] -> the same shape, each channel of each item with mean 0 and variance 1."""
        exporting = torch.jit.is_tracing() or torch.compiler.is_exporting()  # type: ignore[attr-defined, no-untyped-call]
        if exporting or x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x)
        # Split and cat keep channels innermost, also in the gradient; unbind and stack do not.
        parts = [x] if x.shape[0] == 1 else torch.split(x, 1)
        items = [F.batch_norm(part, None, None, self.weight, self.bias, training=True, eps=self.eps) for part in parts]
        return items[0] if len(items) == 1 else torch.cat(items)


class ConvBlock(nn.Module):
    """conv - norm - activation - conv - norm (- add the input) - activation; kernels 3x3x3, no bias.

    residual: the input is added before the last activation, through a 1x1x1 convolution and norm where the
    number of channels changes. stride: of the first convolution; the shortcut's is then stride^3, without overlap.
    """

    def __init__(self, in_channels: int, channels: int, norm: NormKind, residual: bool, stride: int = 1) -> None:
        super().__init__()
        self.residual = residual
        self.conv_1 = nn.Conv3d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm_1 = norm_layer(norm, channels)
        self.conv_2 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm_2 = norm_layer(norm, channels)
        self.shortcut: nn.Module = nn.Identity()
        if residual and (in_channels != channels or stride > 1):
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, channels, stride, stride, bias=False),
                norm_layer(norm, channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """x [B, in_channels, H, W, D] -> [B, channels, H/stride, W/stride, D/stride]."""
        out = F.leaky_relu(self.norm_1(self.conv_1(x)), SLOPE, inplace=True)
        out = self.norm_2(self.conv_2(out))
        if self.residual:
            out = out + self.shortcut(x)
        return F.leaky_relu(out, SLOPE, inplace=True)


class ConvNorm(nn.Sequential):
    """conv - norm - activation, once; kernel `size`^3, no bias."""

    def __init__(self, in_channels: int, channels: int, norm: NormKind, size: int) -> None:
        super().__init__(
            nn.Conv3d(in_channels, channels, size, padding=size // 2, bias=False),
            norm_layer(norm, channels),
            nn.LeakyReLU(SLOPE, inplace=True),
        )


class Deconvolution(nn.ConvTranspose3d):
    """Twice the size along each axis: transposed convolution, kernel and stride 2x2x2, no bias.

    No two outputs overlap, so it is one matrix product of every voxel's channels, then a reordering.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, kernel_size=2, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """x [B, in_channels, h, w, d] -> [B, channels, 2h, 2w, 2d]."""
        b, _, h, w, d = x.shape
        matrix = self.weight.permute(2, 3, 4, 1, 0).flatten(0, 3)  # [8 * channels, in_channels]
        cubes = F.linear(x.permute(0, 2, 3, 4, 1), matrix).view(b, h, w, d, 2, 2, 2, -1)
        fine = cubes.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, 2 * h, 2 * w, 2 * d, -1)
        return fine.permute(0, 4, 1, 2, 3)


def conv_block(network: NetworkPlan, in_channels: int, channels: int, stride: int = 1) -> ConvBlock:
    """The block that the plan asks for."""
    return ConvBlock(in_channels, channels, network.norm, network.residual, stride)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Trilinear, x [B, C, H, W, D] -> [B, C, factor*H, factor*W, factor*D]."""
    return F.interpolate(x, scale_factor=factor, mode="trilinear", align_corners=False)

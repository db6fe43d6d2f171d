"""The decoders' parts: convolution blocks and the two ways up. Knows no tokens and no levels."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unetr.core.plan.schema import NetworkPlan

NormKind = Literal["instance", "instance_affine", "batch"]
SLOPE = 0.01  # of the leaky rectifier, everywhere


def norm_layer(kind: NormKind, channels: int) -> nn.Module:
    """`instance` has no parameters, `instance_affine` scale and shift, `batch` these and running statistics."""
    return nn.BatchNorm3d(channels) if kind == "batch" else InstanceNorm(channels, affine=kind == "instance_affine")


class InstanceNorm(nn.InstanceNorm3d):
    """nn.InstanceNorm3d, faster on a CPU where channels are innermost.

    PyTorch's would copy such an input to the other layout and back. Normalising a batch of one by its own statistics is
    the same thing and has a kernel for this layout. In float32 that kernel's sums are off by up to 1e-3 of a deviation
    (96^3 voxels, one thread), so there the statistics are taken by matrix products, which add in blocks. Exporters get
    the operator that they know.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W, D] -> the same shape, each channel of each item with mean 0 and variance 1."""
        exporting = torch.jit.is_tracing() or torch.compiler.is_exporting()  # type: ignore[attr-defined, no-untyped-call]
        if exporting or x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x)
        # Split and cat keep channels innermost, also in the gradient; unbind and stack do not.
        parts = [x] if x.shape[0] == 1 else torch.split(x, 1)
        items = [self._normalised(part) for part in parts]
        return items[0] if len(items) == 1 else torch.cat(items)

    def _normalised(self, x: Tensor) -> Tensor:
        """One item [1, C, H, W, D], channels innermost."""
        if x.dtype == torch.float32:
            out: Tensor = _Normalise.apply(x, self.weight, self.bias, self.eps)
            return out
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


# Where a mean is this many deviations from 0, mean square less square mean has lost four of float32's seven digits.
_FAR = 30.0
_BLOCK = 1024  # voxels whose sum is taken by one matrix product


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, [C] both, of x [1, C, H, W, D] in float32, channels innermost."""
    voxels = x.permute(0, 2, 3, 4, 1).flatten(0, 3)
    count, channels = voxels.shape
    blocks = count // _BLOCK
    within, rest = voxels[: blocks * _BLOCK].view(blocks, _BLOCK, channels), voxels[blocks * _BLOCK :]
    sums = torch.bmm(within.new_ones(1, 1, _BLOCK).expand(blocks, 1, _BLOCK), within).sum((0, 1)) + rest.sum(0)
    squares = torch.bmm(within.transpose(1, 2), within).sum(0).diagonal() + rest.square().sum(0)
    mean = sums / count
    variance = squares / count - mean.square()
    if bool((mean.square() > _FAR**2 * variance).any()):
        variance, mean = torch.var_mean(voxels, 0, correction=0)
    return mean, variance


class _Normalise(torch.autograd.Function):
    """Batch norm of one item by its own statistics; the gradient is batch norm's in training."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        mean, variance = channel_statistics(x)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps))
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], weight is not None, weight is not None]
        parts: tuple[Tensor | None, ...] = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse, True, ctx.eps, wanted
        )
        return (*parts, None)


class PointConvolution(nn.Conv3d):
    """1x1x1, as one matrix product of every voxel's channels.

    In float32 PyTorch's own takes its slow road for this kernel, which also brings the channels outermost again.
    """

    def __init__(self, in_channels: int, channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, in_channels, H, W, D] -> [B, channels, H, W, D], channels innermost."""
        return F.linear(x.permute(0, 2, 3, 4, 1), self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class Convolution(nn.Conv3d):
    """Padded to keep the size (divided by `stride`), no bias; channels innermost.

    Of a batch of one in float32 PyTorch puts them outermost: on its slow road for few voxels, and after one input
    channel, whose layouts it cannot tell apart.
    """

    def __init__(self, in_channels: int, channels: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(in_channels, channels, size, stride, padding=(size - 1) // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, in_channels, H, W, D] -> [B, channels, H/stride, W/stride, D/stride]."""
        return super().forward(x).contiguous(memory_format=torch.channels_last_3d)


class ConvBlock(nn.Module):
    """conv - norm - activation - conv - norm (- add the input) - activation; kernels 3x3x3, no bias.

    residual: the input is added before the last activation, through a 1x1x1 convolution and norm where the
    number of channels changes. stride: of the first convolution; the shortcut's is then stride^3, without overlap.
    """

    def __init__(self, in_channels: int, channels: int, norm: NormKind, residual: bool, stride: int = 1) -> None:
        super().__init__()
        self.residual = residual
        self.conv_1 = Convolution(in_channels, channels, stride=stride)
        self.norm_1 = norm_layer(norm, channels)
        self.conv_2 = Convolution(channels, channels)
        self.norm_2 = norm_layer(norm, channels)
        self.shortcut: nn.Module = nn.Identity()
        if residual and (in_channels != channels or stride > 1):
            shrink = (
                Convolution(in_channels, channels, stride, stride)
                if stride > 1
                else PointConvolution(in_channels, channels, bias=False)
            )
            self.shortcut = nn.Sequential(shrink, norm_layer(norm, channels))

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
            PointConvolution(in_channels, channels, bias=False)
            if size == 1
            else Convolution(in_channels, channels, size),
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

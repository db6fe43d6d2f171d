"""Networks of other projects, to be trained and measured beside ours: adapters to the packages of the extra `peers`.

An adapter builds the network as its authors publish it, with deep supervision off; only sizes follow the window. To
add one: a function and a line in PEERS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetr.core.machine.homeless import without_home

Window = tuple[int, int, int]


class Peer(nn.Module):
    """A peer's network, padded with zeros at the far end where it needs sizes that are multiples of something."""

    def __init__(self, network: nn.Module, multiples: Window) -> None:
        super().__init__()
        self.network = network
        self.multiples = multiples

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W, D], any size -> logits [B, J, H, W, D]."""
        h, w, d = x.shape[2:]
        missing = [-size % multiple for size, multiple in zip((h, w, d), self.multiples, strict=True)]
        if any(missing):
            x = F.pad(x, (0, missing[2], 0, missing[1], 0, missing[0]))
        logits: Tensor = self.network(x)
        return logits[:, :, :h, :w, :d]


def _cube(side: int) -> Window:
    return side, side, side


def _nnunet_levels(window: Window) -> tuple[list[int], list[list[int]], Window]:
    """nnU-Net's planning rule: each axis is halved while 4 voxels remain, at most 5 times; features 32, 64, .. 320.

    Returns features and strides of each stage, and the multiples that the sizes must be.
    """
    halvings = [min(5, max(0, (size // 4).bit_length() - 1)) for size in window]
    stages = range(max(halvings) + 1)
    strides = [[2 if 0 < stage <= most else 1 for most in halvings] for stage in stages]
    x, y, z = (2**most for most in halvings)
    return [min(320, 32 * 2**stage) for stage in stages], strides, (x, y, z)


_NNUNET_LAYERS = {
    "conv_op": nn.Conv3d,
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}


def _nnunet_plain(channels: int, outputs: int, window: Window) -> Peer:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return _nnunet(PlainConvUNet, channels, outputs, window, n_conv_per_stage=2, n_conv_per_stage_decoder=2)


def _nnunet_resenc(channels: int, outputs: int, window: Window) -> Peer:
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    blocks = [1, 3, 4, 6, 6, 6][: len(_nnunet_levels(window)[0])]
    return _nnunet(
        ResidualEncoderUNet, channels, outputs, window, n_blocks_per_stage=blocks, n_conv_per_stage_decoder=1
    )


def _nnunet(kind: Callable[..., nn.Module], channels: int, outputs: int, window: Window, **depth: Any) -> Peer:
    """depth: convolutions or blocks of each stage, as the kind of network names them."""
    from dynamic_network_architectures.initialization.weight_init import InitWeights_He

    features, strides, multiples = _nnunet_levels(window)
    sizes = {"kernel_sizes": 3, "strides": strides, "num_classes": outputs}
    network = kind(channels, len(features), features, **sizes, **depth, **_NNUNET_LAYERS)
    return Peer(network.apply(InitWeights_He(1e-2)), multiples)


def _primus(channels: int, outputs: int, window: Window) -> Peer:
    from dynamic_network_architectures.architectures.primus import Primus

    shape = tuple(size + -size % 8 for size in window)
    network = Primus(
        channels,
        embed_dim=396,
        patch_embed_size=(8, 8, 8),
        num_classes=outputs,
        eva_depth=12,
        eva_numheads=6,
        input_shape=shape,
        drop_path_rate=0.2,
        init_values=0.1,
        scale_attn_inner=True,
    )
    return Peer(network, _cube(8))


def _monai_unetr(channels: int, outputs: int, window: Window) -> Peer:
    from monai.networks.nets.unetr import UNETR

    shape = tuple(size + -size % 16 for size in window)
    return Peer(UNETR(channels, outputs, shape, proj_type="perceptron"), _cube(16))


def _monai_swinunetr(channels: int, outputs: int, window: Window) -> Peer:
    from monai.networks.nets.swin_unetr import SwinUNETR

    return Peer(SwinUNETR(channels, outputs, feature_size=48), _cube(32))


def _monai_unet(channels: int, outputs: int, window: Window) -> Peer:
    from monai.networks.nets.unet import UNet

    return Peer(UNet(3, channels, outputs, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2), _cube(16))


def _monai_vnet(channels: int, outputs: int, window: Window) -> Peer:
    from monai.networks.nets.vnet import VNet

    return Peer(VNet(3, channels, outputs), _cube(16))


def _monai_attention_unet(channels: int, outputs: int, window: Window) -> Peer:
    from monai.networks.nets.attentionunet import AttentionUnet

    return Peer(AttentionUnet(3, channels, outputs, (16, 32, 64, 128, 256), (2, 2, 2, 2)), _cube(16))


# Name -> (channels C, outputs J, window) -> network with fresh weights, drawn from torch's global generator.
PEERS: dict[str, Callable[[int, int, Window], Peer]] = {
    "nnunet-plain": _nnunet_plain,
    "nnunet-resenc": _nnunet_resenc,
    "primus": _primus,
    "monai-unetr": _monai_unetr,
    "monai-swinunetr": _monai_swinunetr,
    "monai-unet": _monai_unet,
    "monai-vnet": _monai_vnet,
    "monai-attention-unet": _monai_attention_unet,
}


def build_peer(name: str, in_channels: int, outputs: int, window: Window, seed: int = 0) -> Peer:
    """A peer as its own code starts it; the same seed gives the same bits. The global random state is put back.

    Raises ValueError for a name that is none, ModuleNotFoundError where its package is not installed.
    """
    if name not in PEERS:
        raise ValueError(f"network.peer: {name!r} is unknown; choose one of {', '.join(PEERS)}")
    # Their packages import matplotlib, which would make folders in the home.
    with without_home(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PEERS[name](in_channels, outputs, window)

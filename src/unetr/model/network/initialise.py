"""First values of the weights, all drawn from one generator. Knows layers by their kind, not by their place."""

from __future__ import annotations

import math

import torch
from torch import nn

from unetr.model.network.blocks import SLOPE
from unetr.model.network.encoder import LayerScale
from unetr.model.network.patch_embedding import PatchEmbedding

_TRANSFORMER_STD = 0.02  # truncated normal, as in ViT (Dosovitskiy et al., 2021)


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Fills every parameter and buffer of `model` in place, in the order of the modules.

    Linear maps and positions: truncated normal, standard deviation 0.02, biases 0. Convolutions without bias (a norm
    or a block follows): Kaiming normal over the inputs, for the leaky rectifier. Convolutions with bias (heads):
    uniform in +-1/sqrt(inputs), bias 0, so that the first logits are small. Norms: scale 1, shift 0.
    Raises TypeError for a layer with weights of a kind not listed here.
    """
    for module in model.modules():
        if isinstance(module, PatchEmbedding):
            nn.init.trunc_normal_(module.position, std=_TRANSFORMER_STD, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=_TRANSFORMER_STD, generator=generator)
            _zero(module.bias)
        elif isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            _convolution(module, generator)
        elif isinstance(module, LayerScale):
            nn.init.constant_(module.weight, module.initial)
        elif isinstance(module, (nn.LayerNorm, nn.BatchNorm3d, nn.InstanceNorm3d)):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no first values are known for {type(module).__name__}")


def _convolution(module: nn.Conv3d | nn.ConvTranspose3d, generator: torch.Generator) -> None:
    inputs = module.in_channels
    if isinstance(module, nn.Conv3d):  # a deconvolution's output voxel sees one position of its kernel
        inputs *= math.prod(module.kernel_size)
    if module.bias is None:
        gain = math.sqrt(2 / (1 + SLOPE**2))
        nn.init.normal_(module.weight, std=gain / math.sqrt(inputs), generator=generator)
    else:
        bound = 1 / math.sqrt(inputs)
        nn.init.uniform_(module.weight, -bound, bound, generator=generator)
        _zero(module.bias)


def _zero(bias: torch.Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)

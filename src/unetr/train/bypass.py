"""A trained network with its transformer's blocks bypassed, one kind of part or all at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from unetr.errors import InputError
from unetr.model.file.model_file import ModelFile
from unetr.model.network.encoder import Block
from unetr.model.torch_network import network_from


class _Nothing(nn.Module):
    """A branch of a block that adds nothing."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """z [B, N, K] -> zeros of the same shape."""
        return torch.zeros_like(z)


def _without_attention(block: Block) -> None:
    block.attention = _Nothing()  # type: ignore[assignment]


def _without_mlp(block: Block) -> None:
    block.mlp_hidden = nn.Identity()  # type: ignore[assignment]
    block.mlp_output = _Nothing()  # type: ignore[assignment]


def _without_block(block: Block) -> None:
    _without_attention(block)
    _without_mlp(block)


# What is bypassed -> how, block by block. A bypassed part hands on what it got.
BYPASSES: dict[str, Callable[[Block], None]] = {
    "nothing": lambda block: None,
    "attention": _without_attention,
    "MLPs": _without_mlp,
    "transformer": _without_block,
}


def bypassed(model: ModelFile, what: str) -> nn.Module:
    """The network of a model file with one of BYPASSES applied to all blocks; the file's weights stay as they are.

    Raises InputError for a network without transformer blocks of ours.
    """
    network = network_from(model)
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    if not blocks:
        raise InputError(f"{model.source}: network {model.plan.network.preset} has no transformer of unetr's to bypass")
    for block in blocks:
        BYPASSES[what](block)
    return network

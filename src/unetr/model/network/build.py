"""From a plan to a network. The only place that reads NetworkPlan to put the three parts together."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unetr.core.plan.network import NetworkPlan, patch_grid
from unetr.core.plan.schema import Plan
from unetr.model.network.decoders import DECODERS
from unetr.model.network.encoder import Block, Encoder
from unetr.model.network.initialise import initialise
from unetr.model.network.patch_embedding import PatchEmbedding
from unetr.model.network.peers import build_peer
from unetr.model.network.shapes import network_problem
from unetr.model.network.stem import stem
from unetr.model.network.unetr import UNETR


def build_network(
    network: NetworkPlan, in_channels: int, outputs: int, window: tuple[int, int, int], seed: int = 0
) -> nn.Module:
    """A network with fresh weights, on the CPU, in float32; the same seed gives the same bits.

    window: voxels H, W, D that the positional embeddings are learned for. The global random state is not touched.
    Raises ValueError for configurations that cannot exist.
    """
    if network.peer is not None:
        return build_peer(network.peer, in_channels, outputs, window, seed)
    model = empty_network(network, in_channels, outputs, window).to_empty(device="cpu")
    initialise(model, torch.Generator().manual_seed(seed))
    return model


def fresh_weights(plan: Plan, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Of a network that has learned nothing, as a model file holds them (`build_network`)."""
    network = build_network(plan.network, plan.in_channels, plan.outputs, plan.window, seed)
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def empty_network(network: NetworkPlan, in_channels: int, outputs: int, window: tuple[int, int, int]) -> nn.Module:
    """The same network on the meta device: shapes without memory, for weights that come from elsewhere.

    A peer's is on the CPU and has weights, since some peers compute constants when they are made.
    """
    if network.peer is not None:
        return build_peer(network.peer, in_channels, outputs, window)
    problem = network_problem(network)
    if problem:
        raise ValueError(problem)
    with torch.device("meta"):
        embedding = PatchEmbedding(
            in_channels,
            network.width,
            network.patch,
            patch_grid(window, network.patch),
            network.projection,
            network.dropout,
            network.level_channels[-1] if network.has_stem else None,
        )
        blocks = [
            Block(
                network.width,
                network.heads,
                network.mlp_width,
                network.qkv_bias,
                network.dropout,
                network.layer_scale,
            )
            for _ in range(network.depth)
        ]
        encoder = Encoder(blocks, network.taps, network.width, network.final_norm)
        decoder = DECODERS[network.decoder](network, in_channels, outputs)
        return UNETR(embedding, encoder, decoder, stem(network, in_channels) if network.has_stem else None)

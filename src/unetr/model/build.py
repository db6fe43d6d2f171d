"""From a plan to a network. The only place that reads NetworkPlan to put the three parts together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from unetr.core.plan import NetworkPlan
from unetr.errors import InputError
from unetr.model.decoders import DECODERS
from unetr.model.encoder import Block, Encoder
from unetr.model.file import ModelFile
from unetr.model.initialise import initialise
from unetr.model.patch_embedding import PatchEmbedding, patch_grid
from unetr.model.peers import build_peer
from unetr.model.stem import stem, stem_channels
from unetr.model.unetr import UNETR


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


def empty_network(network: NetworkPlan, in_channels: int, outputs: int, window: tuple[int, int, int]) -> nn.Module:
    """The same network on the meta device: shapes without memory, for weights that come from elsewhere.

    A peer's is on the CPU and has weights, since some peers compute constants when they are made.
    """
    if network.peer is not None:
        return build_peer(network.peer, in_channels, outputs, window)
    _check(network, in_channels, outputs)
    has_stem = network.decoder == "stem"
    with torch.device("meta"):
        embedding = PatchEmbedding(
            in_channels,
            network.width,
            network.patch,
            patch_grid(window, network.patch),
            network.projection,
            network.dropout,
            stem_channels(network)[-1] if has_stem else None,
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
        return UNETR(embedding, encoder, decoder, stem(network, in_channels) if has_stem else None)


def network_from(model: ModelFile) -> nn.Module:
    """The network of a model file, in evaluation mode, sharing memory with the file's arrays.

    Raises InputError that lists every missing, unexpected and mis-shaped weight.
    """
    plan = model.plan
    try:
        network = empty_network(plan.network, len(plan.channels), plan.outputs, plan.window)
    except ValueError as error:
        raise InputError(f"{model.source}: {error}") from None
    weights = {name: torch.as_tensor(array) for name, array in model.weights.items()}
    problems = weight_problems(network.state_dict(), {name: tuple(tensor.shape) for name, tensor in weights.items()})
    if problems:
        raise InputError(f"{model.source}: the weights do not fit the plan's network: {'; '.join(problems)}")
    network.load_state_dict(weights, assign=True)
    return network.eval()


def weight_problems(expected: Mapping[str, torch.Tensor], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Every difference between the weights a network has and the shapes that were found, one text each."""
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    shapes = {name: tuple(expected[name].shape) for name in sorted(expected.keys() & found.keys())}
    problems = [f"missing {', '.join(missing)}"] if missing else []
    problems += [f"unexpected {', '.join(unexpected)}"] if unexpected else []
    problems += [f"{name} is {found[name]}, not {shape}" for name, shape in shapes.items() if found[name] != shape]
    return problems


def _check(network: NetworkPlan, in_channels: int, outputs: int) -> None:
    if network.decoder not in DECODERS:
        raise ValueError(f"network.decoder: {network.decoder!r} is unknown; choose one of {', '.join(DECODERS)}")
    if network.patch < 2 or network.patch & (network.patch - 1):
        raise ValueError(
            f"network.patch: {network.patch} is not a power of two; the decoders double the size step by step"
        )
    if network.taps[-1] != network.depth:
        raise ValueError(
            f"network.taps: the last tap {network.taps[-1]} must be the last block (depth {network.depth}); "
            "blocks after it would never be used"
        )
    if in_channels < 1 or outputs < 1:
        raise ValueError(f"a network needs at least one channel and one output, got {in_channels} and {outputs}")

"""What the numbers of a plan make together: voxels, tokens, weights and values, of which none may be too many."""

from __future__ import annotations

import math

from unetr.core.plan import bounds
from unetr.core.plan.network import NetworkPlan, patch_grid


def size_problem(
    network: NetworkPlan, window: tuple[int, int, int], in_channels: int, outputs: int, batch_size: int
) -> str:
    """What there is too much of, though each number is within its own bounds; empty where nothing is."""
    voxels = math.prod(window)
    tokens = math.prod(patch_grid(window, network.patch))
    sizes = {
        "window: its voxels": (voxels, bounds.MOST_WINDOW_VOXELS),
        "labels: the scores of a window": (voxels * outputs, bounds.MOST_VALUES),
        "training.batch_size: the voxels of a batch": (voxels * in_channels * batch_size, bounds.MOST_VALUES),
    }
    if network.peer is None:
        sizes |= {
            "network.patch: the window's tokens": (tokens, bounds.MOST_TOKENS),
            "network: its weights, about": (_weights(network, in_channels, tokens), bounds.MOST_VALUES),
            "network.feature_size: the values of a feature map": (voxels * network.feature_size, bounds.MOST_VALUES),
        }
    return next(
        (f"{what} are {size}; at most {most} can be" for what, (size, most) in sizes.items() if size > most), ""
    )


def _weights(network: NetworkPlan, channels: int, tokens: int) -> int:
    """About as many as the network has, from above; the exact number is that of `model.network.shapes`."""
    transformer = network.depth * network.width * (4 * network.width + 2 * network.mlp_width)
    embedding = network.width * (network.patch**3 * channels + tokens)
    deepest = network.feature_size * network.patch  # twice the most channels of the decoder
    streams = len(network.taps) if network.decoder == "mla" else 1
    return transformer + embedding + deepest * (50 * deepest * streams + 8 * network.width)

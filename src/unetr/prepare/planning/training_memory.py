"""How much memory a training takes, and how many voxels of windows it can take in with what a machine has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unetr.core.plan.schema import NetworkPlan, Window

_FLOAT_GB = 4 / 1e9
# Weights, their averages twice, gradients and two moments of AdamW.
_COPIES = 6
# Threads, and what the kernels keep to work with.
_WORKSPACE_GB = 0.4


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """What the training of a network takes in each process, in GB of 10^9 bytes, beside what a process takes anyway.

    weights_gb: weights and all else that does not depend on the windows. voxel_gb: for each voxel of the windows that
    it takes in at a time. free_gb: what each process has for it; infinite where nobody asked, or where the system does
    not say.
    """

    weights_gb: float
    voxel_gb: float
    free_gb: float = math.inf

    def taken_gb(self, window: Window, windows: int) -> float:
        """With so many windows at a time."""
        return self.weights_gb + windows * math.prod(window) * self.voxel_gb

    @property
    def most_voxels(self) -> float:
        """How many voxels of windows at a time there is memory for."""
        return max(0.0, self.free_gb - self.weights_gb) / self.voxel_gb


def training_memory(network: NetworkPlan, outputs: int, free_gb: float = math.inf) -> TrainingMemory:
    """An estimate in float32, from above; bfloat16 takes down to half of it. outputs: of the network, J.

    Counts the weights of encoder and embedding and 3500 kernels of feature size by feature size; of what is kept for
    the gradient 16 values of the token width and 2 of the MLP's for each token and block, 24 feature maps of the
    decoder's feature size at full resolution, 34 with a stem, and 4 values of each output. These numbers are fitted to
    what was measured (`benchmarks/training_memory.py`).
    """
    blocks = network.depth * (4 * network.width**2 + 2 * network.width * network.mlp_width)
    weights = blocks + network.patch**3 * network.width + 3500 * network.feature_size**2
    encoder = network.depth * (16 * network.width + 2 * network.mlp_width) / network.patch**3
    decoder = (34 if network.has_stem else 24) * network.feature_size
    return TrainingMemory(
        weights_gb=_WORKSPACE_GB + _COPIES * weights * _FLOAT_GB,
        voxel_gb=(encoder + decoder + 4 * outputs) * _FLOAT_GB,
        free_gb=free_gb,
    )

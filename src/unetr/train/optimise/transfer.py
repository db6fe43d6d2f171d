"""Starting from a trained model: what of its plan is kept, and which of its weights fit. Knows no files of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.network import patch_grid
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.model.file.model_file import ModelFile
from unetr.model.network.patch_embedding import PatchEmbedding, resized_position
from unetr.prepare.planning.start import start_plan

_HEAD = "decoder.head."


@dataclass(frozen=True, slots=True)
class Transfer:
    """What became of the weights of a network, by name.

    loaded: as they were. adapted: made to fit, and how. fresh: left as drawn, and why. unused: the model's own that
    the network has no place for.
    """

    loaded: tuple[str, ...]
    adapted: dict[str, str]
    fresh: dict[str, str]
    unused: tuple[str, ...]

    def rows(self) -> list[tuple[str, str, str]]:
        """(weight, what became of it, why) of all that was not loaded as it was, in order."""
        rows = [(name, "adapted", how) for name, how in self.adapted.items()]
        rows += [(name, "fresh", why) for name, why in self.fresh.items()]
        return rows + [(name, "unused", "the network has no such weight") for name in self.unused]


def plan_from(model: ModelFile, planned: Plan, fingerprint: Fingerprint | None = None) -> Plan:
    """The plan that was made for a dataset, with a model's network, and its grid and normalisation where they fit.

    fingerprint: of the dataset. Without it only the two plans are compared.
    """
    return start_plan(model.plan, planned, fingerprint)


@torch.no_grad()
def transfer(network: nn.Module, model: ModelFile) -> Transfer:
    """Puts a model's weights into a network that has fresh ones, in place, wherever name and shape fit.

    Positions of another patch grid are interpolated; the head of a model that is pretrained only is left out. Raises
    InputError where nothing at all fits.
    """
    theirs = {name: torch.as_tensor(array) for name, array in model.weights.items()}
    grid = patch_grid(model.plan.window, model.plan.network.patch)
    loaded: list[str] = []
    adapted: dict[str, str] = {}
    fresh: dict[str, str] = {}
    for name, own in network.state_dict().items():
        found = theirs.get(name)
        if found is None:
            fresh[name] = "the model has no such weight"
        elif model.plan.pretraining is not None and name.startswith(_HEAD):
            fresh[name] = "the model's predicts hidden voxels, not classes"
        elif found.shape == own.shape:
            own.copy_(found)
            loaded.append(name)
        elif name == "embedding.position" and found.shape == (math.prod(grid), own.shape[1]):
            embedding = network.get_submodule("embedding")
            if not isinstance(embedding, PatchEmbedding):
                raise TypeError(f"embedding is a {type(embedding).__name__}")
            own.copy_(resized_position(found.to(own.dtype), grid, embedding.grid))
            adapted[name] = f"interpolated from {_by(grid)} patches to {_by(embedding.grid)}"
        else:
            fresh[name] = f"the model's has shape {_by(tuple(found.shape))}, the network's {_by(tuple(own.shape))}"
    if not loaded:
        raise InputError(f"{model.source}: none of its weights fit network {model.plan.network.preset}")
    unused = tuple(sorted(theirs.keys() - network.state_dict().keys()))
    return Transfer(tuple(loaded), adapted, fresh, unused)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

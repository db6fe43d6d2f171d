"""Starting from a trained model: what of its plan is kept, and which of its weights fit. Knows no files of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from unetr.core.plan import Plan
from unetr.errors import InputError
from unetr.model.file import ModelFile
from unetr.model.patch_embedding import PatchEmbedding, resized_position

_HEAD = "decoder.head."
_KEPT = ("network", "window", "spacing_mm", "orientation", "crop")


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


def plan_from(model: ModelFile, planned: Plan) -> Plan:
    """The plan that was made for a dataset, with the network, window and grid of a model, and its normalisation.

    The normalisation is kept only where there are as many channels; labels, batch, schedule and mirrors are the
    dataset's own.
    """
    theirs = model.plan
    update = {name: getattr(theirs, name) for name in _KEPT}
    reasons = {name: reason for name, reason in planned.reasons.items() if name not in _KEPT}
    for name in _KEPT:
        reasons[name] = f"that of the model it starts from ({theirs.dataset})"
    if len(theirs.channels) == len(planned.channels):
        pairs = zip(theirs.channels, planned.channels, strict=True)
        update["channels"] = tuple(their.model_copy(update={"name": own.name}) for their, own in pairs)
    return planned.model_copy(update={**update, "reasons": reasons})


@torch.no_grad()
def transfer(network: nn.Module, model: ModelFile) -> Transfer:
    """Puts a model's weights into a network that has fresh ones, in place, wherever name and shape fit.

    Positions of another patch grid are interpolated; the head of a model that is pretrained only is left out. Raises
    InputError where nothing at all fits.
    """
    theirs = {name: torch.as_tensor(array) for name, array in model.weights.items()}
    grid = _grid(model.plan)
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


def _grid(plan: Plan) -> tuple[int, int, int]:
    x, y, z = (-(-size // plan.network.patch) for size in plan.window)
    return x, y, z


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

"""Checkpoints: the whole training state in one sealed safetensors file, written atomically, the last two kept.

Not a model file: a checkpoint also holds the optimiser and the raw weights, and is only good for resuming.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from unetr.errors import InputError
from unetr.model.sealed import read_sealed, write_sealed

KIND = "unetr-checkpoint"
KEPT = 2


@dataclass(slots=True)
class TrainingState:
    """What changes during training. step: optimiser steps done. averaged: name -> moving average of a weight."""

    step: int
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    averaged: dict[str, torch.Tensor]
    best_dice: float


def save_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Writes `step-<n>.safetensors` and removes all but the last two. Raises MachineError; nothing is lost then."""
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in state.averaged.items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": tensor for slot, tensor in slots.items()}
    path = folder / f"step-{state.step:08d}.safetensors"
    write_sealed(path, tensors, {"format": KIND, "step": str(state.step), "best_dice": repr(state.best_dice)})
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def averaged_weights(state: TrainingState) -> dict[str, torch.Tensor]:
    """The weights that are validated and shipped: moving averages where there are any, buffers as they are."""
    return {name: state.averaged.get(name, tensor) for name, tensor in state.network.state_dict().items()}


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def restore_checkpoint(folder: Path, state: TrainingState) -> Path | None:
    """Loads the newest checkpoint that verifies into `state`; None when there is none.

    A damaged newest checkpoint is passed over for the one before it. Raises InputError when all are damaged.
    """
    damaged: InputError | None = None
    for path in reversed(checkpoints(folder)):
        try:
            tensors, metadata = read_sealed(path, KIND)
        except InputError as error:
            damaged = damaged or error
            continue
        _load(state, {name: torch.from_numpy(array) for name, array in tensors.items()}, metadata)
        return path
    if damaged is not None:
        raise damaged
    return None


def _load(state: TrainingState, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "averaged": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    state.network.load_state_dict(parts["network"])
    for name, tensor in state.averaged.items():
        tensor.copy_(parts["averaged"][name])
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = tensor
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    state.step = int(metadata["step"])
    state.best_dice = float(metadata["best_dice"])

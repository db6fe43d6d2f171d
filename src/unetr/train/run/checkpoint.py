"""Checkpoints: the whole training state in one sealed safetensors file, written atomically, the last two kept.

Not a model file: a checkpoint also holds the optimiser and the raw weights, and is only good for resuming.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

from unetr.core.files.atomic import machine_error
from unetr.core.text.untrusted import untrusted
from unetr.errors import InputError
from unetr.model.file.sealed import read_sealed, write_sealed
from unetr.train.optimise.state import TrainingState
from unetr.train.team import shared_like, whole_tensor

Weights = dict[str, torch.Tensor]
"""Name of a parameter or buffer of the network -> its values."""

KIND = "unetr-checkpoint"
KEPT = 2


def save_checkpoint(folder: Path, state: TrainingState, leads: bool = True) -> Path:
    """Writes `step-<n>.safetensors` and then removes all but the last two. Raises MachineError; nothing is lost then.

    Of several processes all must call it, since the network may be shared out; the one that leads writes.
    """
    tensors = {}
    for name, tensor in _tensors(state).items():
        gathered = whole_tensor(tensor)
        if leads:
            tensors[name] = gathered.cpu()
    path = folder / f"step-{state.step:08d}.safetensors"
    if not leads:
        return path
    write_sealed(path, tensors, {"format": KIND, "step": str(state.step), "best_dice": repr(state.best_dice)})
    remove_old(folder)
    return path


def remove_old(folder: Path) -> None:
    """Removes all checkpoints but the last two. Raises MachineError."""
    for old in checkpoints(folder)[:-KEPT]:
        try:
            old.unlink(missing_ok=True)
        except OSError as error:
            raise machine_error(old, error) from error


def averaged_weights(state: TrainingState) -> Weights:
    """The weights that are validated and shipped: moving averages where there are any, buffers as they are.

    Whole, on the network's device; of several processes all must call it.
    """
    return {name: whole_tensor(state.averaged.get(name, tensor)) for name, tensor in state.network.state_dict().items()}


def _tensors(state: TrainingState) -> dict[str, torch.Tensor]:
    """All that a checkpoint holds, by its name there."""
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in state.averaged.items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": tensor for slot, tensor in slots.items()}
    return tensors


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def restore_checkpoint(folder: Path, state: TrainingState, only: Path | None = None) -> Path | None:
    """Loads the newest checkpoint that verifies into `state`; None when there is none.

    A damaged newest checkpoint is passed over for the one before it, and renamed to `step-<n>.damaged`: the run goes
    back, and what is ahead of it must not be resumed later. Raises InputError when all are damaged.
    only: no other than this one.
    """
    damaged: dict[Path, InputError] = {}
    for path in reversed(checkpoints(folder)) if only is None else (only,):
        try:
            tensors, metadata = read_sealed(path, KIND)
        except InputError as error:
            damaged[path] = error
            continue
        with untrusted(path, "a checkpoint of this training"):
            _load(state, {name: torch.from_numpy(array) for name, array in tensors.items()}, metadata)
        for other in damaged:
            with suppress(OSError):
                other.replace(other.with_suffix(".damaged"))
        return path
    for newest in damaged.values():
        raise newest
    return None


def _load(state: TrainingState, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "averaged": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    own = state.network.state_dict()
    state.network.load_state_dict({name: shared_like(tensor, own[name]) for name, tensor in parts["network"].items()})
    for name, tensor in state.averaged.items():
        tensor.copy_(shared_like(parts["averaged"][name], tensor))
    parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = shared_like(tensor, parameters[int(index)]) if tensor.ndim else tensor
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    state.step = int(metadata["step"])
    state.best_dice = float(metadata["best_dice"])

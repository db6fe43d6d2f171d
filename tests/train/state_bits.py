"""Everything that training changes, as bytes: two states are the same where these are."""

from __future__ import annotations

from unetr.train.optimise.state import TrainingState


def bits(state: TrainingState) -> dict[str, bytes]:
    found = {f"w.{name}": tensor.numpy().tobytes() for name, tensor in state.network.state_dict().items()}
    found |= {f"a.{name}": tensor.numpy().tobytes() for name, tensor in state.averaged.items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        found |= {f"o.{index}.{name}": tensor.numpy().tobytes() for name, tensor in slots.items()}
    return found

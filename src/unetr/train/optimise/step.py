"""One optimiser step and the objects that it needs. Knows batches and weights; knows no files and no schedule."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.model.file.model_file import ModelFile
from unetr.model.network.build import build_network
from unetr.train.losses import LossTerms, Total, alone, loss_named
from unetr.train.optimise.optimiser import make_optimiser
from unetr.train.optimise.schedule import averaging_decay
from unetr.train.optimise.state import TrainingState
from unetr.train.optimise.transfer import Transfer, transfer
from unetr.train.samples.masking import reconstruction
from unetr.train.samples.sample import Batch
from unetr.train.team import Launch, Team, assemble, local_tensor, whole_tensor

# The moving average of weights reads and writes all of them, so it is taken every few steps, with the decay to match.
AVERAGED_EVERY = 4


@dataclass(slots=True)
class Trainer:
    """The objects that one training holds together.

    forward: the network as Fabric wraps it, for the forward pass. transferred: what came from another model.
    """

    team: Team
    forward: torch.nn.Module
    plan: Plan
    state: TrainingState
    averaged_network: torch.nn.Module
    transferred: Transfer | None
    started: float = field(default_factory=time.monotonic)


def start_trainer(plan: Plan, seed: int, start: ModelFile | None = None, launch: Launch | None = None) -> Trainer:
    """A fresh network and optimiser on the best device, in the plan's precision, with the other processes if any.

    start: a model whose weights take the place of fresh ones wherever they fit. Raises InputError where none do, and
    where there are more processes than windows in a batch.
    """
    team = assemble(launch, plan.training.precision)
    if team.size > plan.training.batch_size:
        raise InputError(
            f"{team.size} processes cannot share a batch of {plan.training.batch_size}; "
            "set training.batch_size of the plan to at least one window for each"
        )
    fabric = team.fabric
    raw = build_network(plan.network, plan.in_channels, plan.outputs, plan.window, seed=seed)
    transferred = None if start is None else transfer(raw, start)
    averaged_network = build_network(plan.network, plan.in_channels, plan.outputs, plan.window, seed=seed)
    # A network that is shared out must be so before its optimiser is made.
    forward: torch.nn.Module = fabric.setup_module(raw)
    optimizer: Any = fabric.setup_optimizers(make_optimiser(raw, plan.training, fused=fabric.device.type != "mps"))
    averaged = {name: parameter.detach().clone() for name, parameter in raw.named_parameters()}
    state = TrainingState(0, raw, optimizer, averaged, best_dice=-1.0)
    return Trainer(team, forward, plan, state, fabric.to_device(averaged_network), transferred)


def training_step(trainer: Trainer, batch: Batch, rate: float, seed: int) -> tuple[LossTerms, float]:
    """One optimiser step. Returns the loss terms and the gradient's norm before clipping."""
    state, plan = trainer.state, trainer.plan
    fabric, team = trainer.team.fabric, trainer.team
    # Dropout's randomness is a function of the step too, so that nothing but the step has to be restored.
    torch.manual_seed((seed * 1_000_003 + state.step) * team.size + team.rank)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    trainer.forward.train()
    images, classes = fabric.to_device((torch.from_numpy(batch.images), torch.from_numpy(batch.classes)))
    objective = segmentation if plan.pretraining is None else reconstruction
    terms = objective(trainer.forward, images, classes, plan, team.total)
    if not torch.isfinite(terms.total):
        raise InputError(f"step {state.step}: the loss is not finite; check the cases {', '.join(batch.cases)}")
    state.optimizer.zero_grad(set_to_none=True)
    # Gradients are averaged over the processes; what is wanted is the sum of each one's share.
    fabric.backward(terms.total * team.size)
    norm = fabric.clip_gradients(trainer.forward, state.optimizer, max_norm=plan.training.gradient_clip)
    state.optimizer.step()
    state.step += 1
    if state.step % AVERAGED_EVERY == 0 or plan.training.ema_decay == 0:  # no average: the weights of this very step
        _average(state, averaging_decay(state.step, plan.training.ema_decay) ** AVERAGED_EVERY)
    return terms, float(whole_tensor(norm)) if norm is not None else math.nan


def segmentation(
    forward: torch.nn.Module, images: torch.Tensor, classes: torch.Tensor, plan: Plan, total: Total = alone
) -> LossTerms:
    """The plan's loss of the network's logits for images [B, C, H, W, D]."""
    return loss_named(plan.training.loss.name)(forward(images), classes, plan, total)


def _average(state: TrainingState, decay: float) -> None:
    weights = dict(state.network.named_parameters())
    with torch.no_grad():
        torch._foreach_lerp_(
            [local_tensor(tensor) for tensor in state.averaged.values()],
            [local_tensor(weights[name].detach()) for name in state.averaged],
            1 - decay,
        )

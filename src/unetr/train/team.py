"""The processes that train one network together, started by torchrun on one machine or many; or one process alone.

Each holds the whole network, or with `sharded` a share of it, takes its share of every batch, and goes the same steps;
the first one, the leader, writes the run's files. What differs between processes, clocks and signals, is agreed on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from unetr.core.machine.allocator import keep_freed_memory
from unetr.errors import InputError, MachineError
from unetr.infer.engines.torch import has_fast_bf16

# The leader prepares the data while the others wait.
_PATIENCE = timedelta(hours=6)
# What gloo and NCCL say, as a RuntimeError, when another process is gone.
_GONE = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe", "recvvalue failed")


@dataclass(frozen=True, slots=True)
class Launch:
    """How a training was started. processes: on each machine. rank: of this process among all, from 0.

    sharded: weights, gradients and moments are spread over the processes instead of held by each.
    """

    processes: int = 1
    machines: int = 1
    rank: int = 0
    sharded: bool = False

    @property
    def size(self) -> int:
        """The number of processes."""
        return self.processes * self.machines


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """What a process knows of the others; all of them must call each of the methods in the same order."""

    launch: Launch
    fabric: Fabric

    @property
    def size(self) -> int:
        """The number of processes."""
        return self.launch.size

    @property
    def rank(self) -> int:
        """This process's place among them, from 0."""
        return self.launch.rank

    @property
    def leads(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each; without gradient, any device."""
        if self.size == 1:
            return values
        here = values.detach().to(self.fabric.device, copy=True)
        dist.all_reduce(here)
        return here.to(values.device)

    def as_leader(self, value: Any) -> Any:
        """The leader's value."""
        return value if self.size == 1 else self.fabric.broadcast(value)

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set in any process."""
        return tuple(bool(count) for count in self.total(torch.tensor(flags, dtype=torch.int64)))

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader goes through the block while the others wait; then they do."""
        if not self.leads:
            self.fabric.barrier()
        yield
        if self.leads:
            self.fabric.barrier()

    @contextmanager
    def missing_nobody(self) -> Iterator[None]:
        """Raises MachineError where another process has gone and so the block cannot go on."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not any(words in str(error).lower() for words in _GONE):
                raise
            raise MachineError(
                f"process {self.rank} of {self.size}: another one of this training has ended, see what it said; "
                "start all again to go on from the last checkpoint"
            ) from None


def assemble(launch: Launch | None = None, precision: Literal["auto", "fp32", "bf16"] = "auto") -> Team:
    """Joins the other processes, if there are any, on the best device, in the precision that the device is fast in.

    Raises InputError for shares of a network in a single process.
    """
    launch = launch or Launch()
    if launch.sharded and launch.size == 1:
        raise InputError("a network cannot be shared out in one process; start several with torchrun")
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cpu":
        keep_freed_memory()
    bf16 = has_fast_bf16(torch.device(device)) if precision == "auto" else precision == "bf16"
    fabric = Fabric(
        accelerator=device,
        devices=launch.processes,
        num_nodes=launch.machines,
        strategy=_strategy(launch),
        precision="bf16-mixed" if bf16 else "32-true",
    )
    fabric.launch()
    # Of every convolution whose channels are innermost; the copy it warns of costs less than contiguous kernels would.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    return Team(launch, fabric)


def _strategy(launch: Launch) -> Strategy | str:
    if launch.size == 1:
        return "auto"
    if launch.sharded:
        return ModelParallelStrategy(
            _share_out, data_parallel_size=launch.size, tensor_parallel_size=1, timeout=_PATIENCE
        )
    return DDPStrategy(timeout=_PATIENCE)


def _share_out(network: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Spreads the weights over the processes (FSDP2), block by block, so that few are whole at any time."""
    over = mesh["data_parallel"]
    for part in network.modules():
        if isinstance(part, nn.ModuleList):
            for block in part:
                fully_shard(block, mesh=over)
    fully_shard(network, mesh=over)
    return network


def whole_tensor(tensor: Tensor) -> Tensor:
    """A tensor gathered from all processes' shares; itself where it is not shared out. All must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_like(tensor: Tensor, other: Tensor) -> Tensor:
    """The share of a whole tensor, the same in all processes, that belongs here where `other` is shared out."""
    if not isinstance(other, DTensor):
        return tensor
    moved = tensor.to(other.device_mesh.device_type)
    return distribute_tensor(moved, other.device_mesh, other.placements, src_data_rank=None)


def local_tensor(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor

"""What changes during training, and so what a checkpoint keeps."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(slots=True)
class TrainingState:
    """step: optimiser steps done. averaged: name -> moving average of a weight."""

    step: int
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    averaged: dict[str, torch.Tensor]
    best_dice: float

"""The optimiser that a plan asks for: AdamW for all weights, or Muon for the kernels and AdamW for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unetr.core.plan.schema import TrainingPlan
from unetr.train.team import shared_like, whole_tensor

# Of Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): coefficients of the quintic
# whose repetition brings all singular values near 1, how often it is repeated, and the momentum.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_REPETITIONS = 5
_MOMENTUM = 0.95
# An orthogonal matrix has entries of about 1 / sqrt(longer side), an update of AdamW of about 0.2 to 0.4; with this
# factor one learning rate suits both (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2).
_LIKE_ADAMW = 0.2
# Kernels with fewer channels on one side are the first and the last of a network; their matrices are hardly such.
_FEWEST_CHANNELS = 8


class MuonAdamW(torch.optim.AdamW):
    """AdamW; the groups with `orthogonal` set take Muon's step instead.

    PyTorch's own Muon refuses kernels, and computes in bfloat16 on any processor.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every weight that has a gradient; the gradients of kernels are gone afterwards."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            if group["orthogonal"]:
                for kernel in group["params"]:
                    if kernel.grad is not None:
                        self._turn(kernel, kernel.grad, group["lr"], group["weight_decay"])
                        kernel.grad = None  # so AdamW passes over it
        super().step()
        return loss

    def _turn(self, kernel: nn.Parameter, gradient: Tensor, rate: float, weight_decay: float) -> None:
        slots = self.state[kernel]
        if not slots:
            slots["step"] = torch.zeros(())  # AdamW looks for it when it is restored
            slots["momentum"] = torch.zeros_like(kernel)
        momentum = slots["momentum"].mul_(_MOMENTUM).add_(gradient)
        matrix = whole_tensor(gradient.add(momentum, alpha=_MOMENTUM)).flatten(1)  # of Nesterov's kind
        update = orthogonalised(matrix).mul_(_LIKE_ADAMW * max(matrix.shape) ** 0.5)
        kernel.mul_(1 - rate * weight_decay)
        kernel.add_(shared_like(update.view(kernel.shape), kernel), alpha=-rate)


def orthogonalised(matrix: Tensor) -> Tensor:
    """U S V^T -> about U V^T, of the same shape: singular values that are not tiny come to lie between 0.68 and 1.14.

    Newton-Schulz iteration in the matrix's own precision; a matrix of zeros stays one.
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-12)
    for _ in range(_REPETITIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = x.T if tall else x
    return out.contiguous()


def make_optimiser(network: nn.Module, training: TrainingPlan, fused: bool) -> torch.optim.Optimizer:
    """For all weights of a network. Weight decay is for matrices and kernels, not for biases, norms and positions.

    fused: one pass of AdamW over all weights, which not every device has.
    """
    kernels: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2 or "position" in name:
            plain.append(parameter)
        elif training.optimiser == "muon" and parameter.ndim > 2 and min(parameter.shape[:2]) >= _FEWEST_CHANNELS:
            kernels.append(parameter)
        else:
            decayed.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": training.weight_decay, "orthogonal": False},
        {"params": plain, "weight_decay": 0.0, "orthogonal": False},
    ]
    if training.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=training.learning_rate, fused=fused)
    groups.append({"params": kernels, "weight_decay": training.weight_decay, "orthogonal": True})
    return MuonAdamW(groups, lr=training.learning_rate, fused=fused)

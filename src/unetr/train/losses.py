"""Soft Dice + cross entropy (DESIGN section 4). Knows logits and truth; knows no network, optimiser or device.

    L = 1 - (2/J) sum_j [ sum_i G_ij Y_ij / (sum_i G_ij^2 + sum_i Y_ij^2) ] - (1/I) sum_i sum_j G_ij log Y_ij

Y: softmax output, G: one-hot truth, I voxels, J classes; the Dice term is V-Net's (Milletari et al., 3DV 2016). Each
class's fraction gets SMOOTHING above and below: 1 - (2 sum G Y + s) / (sum G^2 + sum Y^2 + s). So a class that is in
neither truth nor prediction costs 0, and its gradient cannot explode: summed over all voxels, the absolute gradient of
its Dice term with respect to its own logits is at most 1/2 (2 P s / (P + s)^2 with P = sum_i Y_ij^2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from unetr.core.plan import LossPlan

SMOOTHING = 1e-5


@dataclass(frozen=True, slots=True)
class LossTerms:
    """Scalars. total = dice + cross_entropy and carries the gradient; the two terms are detached, for the log."""

    total: Tensor
    dice: Tensor
    cross_entropy: Tensor


def segmentation_loss(logits: Tensor, target: Tensor, options: LossPlan) -> LossTerms:
    """One class per voxel: softmax.

    logits [B, J, H, W, D] of any floating type, computed in float32 (or float64 if given); target [B, H, W, D] integer
    class indices, negative = ignored: left out of both terms, and I counts the others. Class weights scale the Dice
    term of each class and weigh the mean of the cross entropy. Raises ValueError for shapes that do not fit, IndexError
    for a class index of J or more.
    """
    if target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(f"target {tuple(target.shape)} does not fit logits {tuple(logits.shape)}")
    weights = _weights(logits, options)
    total, dice, cross_entropy = _DiceCrossEntropy.apply(logits, target, weights, options)
    return LossTerms(total, dice, cross_entropy)


def region_loss(logits: Tensor, target: Tensor, options: LossPlan) -> LossTerms:
    """Overlapping regions: a sigmoid per output, soft Dice + binary cross entropy (mean over voxels and regions).

    logits [B, J, H, W, D], target of the same shape with values in [0, 1], negative = ignored. There is no background
    output, so `include_background` has no effect. Raises ValueError for shapes that do not fit.
    """
    if target.shape != logits.shape:
        raise ValueError(f"target {tuple(target.shape)} does not fit logits {tuple(logits.shape)}")
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(_precision(logits)).flatten(2)
        valid = (target.flatten(2) >= 0).to(logits.dtype)
        truth = target.flatten(2).to(logits.dtype) * valid
        weights = _weights(logits, options)
        weighted = valid * weights[:, None]
        each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        cross_entropy = (each * weighted).sum() / valid.sum().clamp_min(1)
        share = torch.sigmoid(logits) * valid
        power = 2 if options.squared else 1
        overlap = (share * truth).sum(2)
        dice_terms = _dice_terms(overlap, share.pow(power).sum(2), truth.pow(power).sum(2), options)
        dice = (dice_terms * weights).mean()
    total = dice + cross_entropy
    return LossTerms(total, dice.detach(), cross_entropy.detach())


LOSSES: dict[str, Callable[[Tensor, Tensor, LossPlan], LossTerms]] = {
    "classes": segmentation_loss,
    "regions": region_loss,
}


def _precision(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _weights(logits: Tensor, options: LossPlan) -> Tensor:
    """Class weights [J], 1 where the plan has none."""
    values = options.class_weights or (1.0,) * logits.shape[1]
    if len(values) != logits.shape[1]:
        raise ValueError(f"class_weights has {len(values)} numbers, the logits have {logits.shape[1]} classes")
    return torch.tensor(values, dtype=_precision(logits), device=logits.device)


def _dice_terms(overlap: Tensor, predicted: Tensor, true: Tensor, options: LossPlan) -> Tensor:
    """From sums over voxels, each [B, J], to the cost of each class, [B, J] or [1, J] over the batch."""
    if options.dice_over_batch:
        overlap, predicted, true = (part.sum(0, keepdim=True) for part in (overlap, predicted, true))
    return 1 - (2 * overlap + SMOOTHING) / (predicted + true + SMOOTHING)


class _DiceCrossEntropy(torch.autograd.Function):
    """Both terms with one softmax and their gradient in closed form, without a one-hot truth.

    With a_j, c_j the derivatives of the Dice cost by sum_i G_ij Y_ij and by sum_i Y_ij^2, t the true class of voxel i
    and k_i = w_t / sum w the voxel's share in the cross entropy, the chain through the softmax gives

        dL/dz_ij = Y_ij (2 c_j Y_ij - 2 sum_m c_m Y_im^2 - a_t Y_it + k_i) + [j = t] (a_t Y_it - k_i)
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, weights: Tensor, options: LossPlan
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):
            share = F.log_softmax(logits.flatten(2), dim=1, dtype=weights.dtype)  # [B, J, V], here still log Y
            truth = target.flatten(1).long()[:, None]  # [B, 1, V]
            ignored = truth < 0
            any_ignored = bool(ignored.any())
            if any_ignored:
                truth = truth.clamp_min(0)
            voxel_weights = weights[truth] if not any_ignored else weights[truth] * ~ignored
            weight_sum = voxel_weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
            cross_entropy = -(share.gather(1, truth) * voxel_weights).sum() / weight_sum
            share.exp_()
            if any_ignored:
                share *= ~ignored
            hit = share.gather(1, truth)  # Y_it, [B, 1, V]
            sums = _sums(share, hit, truth, ignored if any_ignored else None, options)
            with torch.enable_grad():
                overlap, predicted = (part.requires_grad_() for part in sums[:2])
                terms = _dice_terms(overlap, predicted, sums[2], options) * weights
                dice = terms[:, 0 if options.include_background else 1 :].mean()
                slopes = torch.autograd.grad(dice, (overlap, predicted))
            dice = dice.detach()
        ctx.options = options
        ctx.shape, ctx.dtype = logits.shape, logits.dtype
        ctx.save_for_backward(share, hit, truth, voxel_weights / weight_sum, *slopes)
        ctx.mark_non_differentiable(dice, cross_entropy)
        return dice + cross_entropy, dice, cross_entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None]:
        share, hit, truth, voxel_share, by_overlap, by_predicted = ctx.saved_tensors
        with torch.autocast(share.device.type, enabled=False):
            if ctx.options.squared:
                out = share * (2 * by_predicted)[:, :, None]
            else:
                out = by_predicted[:, :, None].expand_as(share).clone()
            at_truth = by_overlap.gather(1, truth[:, 0])[:, None] * hit - voxel_share  # a_t Y_it - k_i
            out -= (out * share).sum(1, keepdim=True) + at_truth
            out *= share
            out.scatter_add_(1, truth, at_truth)
            out *= grad
        return out.to(ctx.dtype).view(ctx.shape), None, None, None


def _sums(
    share: Tensor, hit: Tensor, truth: Tensor, ignored: Tensor | None, options: LossPlan
) -> tuple[Tensor, Tensor, Tensor]:
    """sum_i G_ij Y_ij, sum_i Y_ij^2 (or Y_ij) and sum_i G_ij, each [B, J]."""
    b, j = share.shape[:2]
    overlap, count = share.new_zeros(b, j), share.new_zeros(b, j)
    for item in range(b):
        index = truth[item, 0]
        # Sums of a million float32 numbers one after the other need double precision.
        overlap[item] = torch.bincount(index, weights=hit[item, 0].double(), minlength=j)
        present = index if ignored is None else index[~ignored[item, 0]]
        count[item] = torch.bincount(present, minlength=j)
    predicted = torch.linalg.vector_norm(share, dim=2).square() if options.squared else share.sum(2)
    return overlap, predicted, count

"""Soft Dice + cross entropy (the UNETR paper's equation 7). Knows no network, optimiser or device.

    L = 1 - (2/J) sum_j [ sum_i G_ij Y_ij / (sum_i G_ij^2 + sum_i Y_ij^2) ] - (1/I) sum_i sum_j G_ij log Y_ij

Y: softmax output, G: one-hot truth, I voxels, J classes; the Dice term is V-Net's (Milletari et al., 3DV 2016). Each
class's fraction gets SMOOTHING above and below: 1 - (2 sum G Y + s) / (sum G^2 + sum Y^2 + s). So a class that is in
neither truth nor prediction costs 0, and its gradient cannot explode: summed over all voxels, the absolute gradient of
its Dice term with respect to its own logits is at most 1/2 (2 P s / (P + s)^2 with P = sum_i Y_ij^2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from unetr.core.plan.schema import LossPlan, Plan
from unetr.errors import InputError

SMOOTHING = 1e-5


@dataclass(frozen=True, slots=True)
class LossTerms:
    """Scalars. total = dice + cross_entropy and carries the gradient; the two terms are detached, for the log.

    Where several processes share a batch, the values are the whole batch's, and the gradient that of its loss by the
    logits of this process.
    """

    total: Tensor
    dice: Tensor
    cross_entropy: Tensor


Total = Callable[[Tensor], Tensor]
"""The sum of a tensor over the processes that share a batch; it has no gradient."""


def alone(values: Tensor) -> Tensor:
    """The total of a process that has the whole batch."""
    return values


def segmentation_loss(logits: Tensor, target: Tensor, options: LossPlan, total: Total = alone) -> LossTerms:
    """One class per voxel: softmax.

    logits [B, J, H, W, D] of any floating type, computed in float32 (or float64 if given); target [B, H, W, D] integer
    class indices, negative = ignored: left out of both terms, and I counts the others. Class weights scale the Dice
    term of each class and weigh the mean of the cross entropy. Raises ValueError for shapes that do not fit, IndexError
    for a class index of J or more.
    """
    if target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(f"target {tuple(target.shape)} does not fit logits {tuple(logits.shape)}")
    weights = _weights(logits, options)
    both, dice, cross_entropy = _DiceCrossEntropy.apply(logits, target, weights, options, total)
    return LossTerms(both, dice, cross_entropy)


def region_loss(logits: Tensor, target: Tensor, options: LossPlan, total: Total = alone) -> LossTerms:
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
        cross_entropy = (each * weighted).sum() / total(valid.sum()).clamp_min(1)
        share = torch.sigmoid(logits) * valid
        power = 2 if options.squared else 1
        intersection = (share * truth).sum(2)
        sums = (intersection, share.pow(power).sum(2), truth.pow(power).sum(2))
        dice = (_dice_terms(*sums, options, total) * weights).sum(0).mean()
        shares = torch.stack([dice, cross_entropy])
        whole = total(shares.detach())
        if options.dice_over_batch:  # already of the whole batch
            whole = torch.stack([shares[0].detach(), whole[1]])
        both = shares.sum()
    return LossTerms(both + (whole.sum() - both.detach()), whole[0], whole[1])


def dice_cross_entropy(logits: Tensor, classes: Tensor, plan: Plan, total: Total = alone) -> LossTerms:
    """`segmentation_loss`, or `region_loss` where the plan has regions."""
    if plan.has_regions:
        return region_loss(logits, region_targets(classes, plan), plan.training.loss, total)
    return segmentation_loss(logits, classes, plan.training.loss, total)


def region_targets(classes: Tensor, plan: Plan) -> Tensor:
    """Class indices [B, H, W, D], -1 ignored -> truth of each region [B, R, H, W, D] float32, -1 ignored."""
    targets = [
        torch.isin(classes, torch.tensor(indices, device=classes.device)).float() for indices in plan.region_classes
    ]
    return torch.stack(targets, dim=1).masked_fill(classes[:, None] < 0, -1.0)


Loss = Callable[[Tensor, Tensor, Plan, Total], LossTerms]
"""(logits [B, J, H, W, D], class indices [B, H, W, D] with -1 ignored, plan, total) -> what is minimised.

A loss without such terms has NaN for dice and cross_entropy; the log then leaves them out.
"""

# A plan's `training.loss.name` -> the loss that it is trained by.
LOSSES: dict[str, Loss] = {"dice_cross_entropy": dice_cross_entropy}


def loss_named(name: str) -> Loss:
    """Raises InputError for a name that no loss has."""
    if name not in LOSSES:
        raise InputError(f"loss {name!r}: is unknown; expected one of {', '.join(LOSSES)}")
    return LOSSES[name]


def _precision(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _weights(logits: Tensor, options: LossPlan) -> Tensor:
    """Class weights [J], 1 where the plan has none."""
    values = options.class_weights or (1.0,) * logits.shape[1]
    if len(values) != logits.shape[1]:
        raise ValueError(f"class_weights has {len(values)} numbers, the logits have {logits.shape[1]} classes")
    return torch.tensor(values, dtype=_precision(logits), device=logits.device)


def _dice_terms(intersection: Tensor, predicted: Tensor, true: Tensor, options: LossPlan, total: Total) -> Tensor:
    """From sums over voxels, each [B, J], to the cost of each class: [B, J], or [1, J] with `dice_over_batch`.

    Divided by the windows of the whole batch, so that the sum over the rows is the mean; with `dice_over_batch` the
    row is the whole batch's, in every process.
    """
    if options.dice_over_batch:
        intersection, predicted, true = (_shared_sum(part, total) for part in (intersection, predicted, true))
        return 1 - (2 * intersection + SMOOTHING) / (predicted + true + SMOOTHING)
    windows = total(torch.tensor(float(len(intersection)), dtype=torch.float64)).item()
    return (1 - (2 * intersection + SMOOTHING) / (predicted + true + SMOOTHING)) / windows


def _shared_sum(part: Tensor, total: Total) -> Tensor:
    """[B, J] -> [1, J], summed over the whole batch, with the gradient by the items that are here."""
    here = part.sum(0, keepdim=True)
    return here + (total(here.detach()) - here.detach())


class _DiceCrossEntropy(torch.autograd.Function):
    """Both terms with one softmax and their gradient in closed form, without a one-hot truth.

    With a_j, c_j the derivatives of the Dice cost by sum_i G_ij Y_ij and by sum_i Y_ij^2, t the true class of voxel i
    and k_i = w_t / sum w the voxel's share in the cross entropy, the chain through the softmax gives

        dL/dz_ij = Y_ij (2 c_j Y_ij - 2 sum_m c_m Y_im^2 - a_t Y_it + k_i) + [j = t] (a_t Y_it - k_i)

    The voxels are taken in chunks that stay in the processor's cache. Y of ignored voxels is set to 0, so that they are
    in no sum and get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, weights: Tensor, options: LossPlan, total: Total
    ) -> tuple[Tensor, Tensor, Tensor]:
        b, j = logits.shape[:2]
        flat, truth = logits.flatten(2), target.flatten(1)
        share = torch.empty(flat.shape, dtype=weights.dtype, device=logits.device)
        # Sums over millions of voxels, by class: intersection, predicted, true; cost and weight of the cross entropy.
        sums = torch.zeros(3, b, j, dtype=torch.float64, device=logits.device)
        entropy = torch.zeros(2, dtype=torch.float64, device=logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            for item, part in _chunks(flat):
                sums_part, entropy_part = _chunk_sums(
                    flat[item, :, part], truth[item, part], weights, share[item, :, part], options.squared
                )
                sums[:, item] += sums_part
                entropy += entropy_part
            with torch.enable_grad():
                intersection, predicted = sums[0].requires_grad_(), sums[1].requires_grad_()
                terms = _dice_terms(intersection, predicted, sums[2], options, total) * weights
                dice = terms[:, 0 if options.include_background else 1 :].sum(0).mean()
                slopes = torch.autograd.grad(dice, (intersection, predicted))
        entropy, dice = total(entropy), dice.detach()
        entropy[1].clamp_min_(torch.finfo(weights.dtype).tiny)  # everything may be ignored
        cross_entropy = (entropy[0] / entropy[1]).to(weights.dtype)
        dice = (dice if options.dice_over_batch else total(dice)).to(weights.dtype)
        ctx.squared = options.squared
        innermost = logits.is_contiguous(memory_format=torch.channels_last_3d)
        ctx.layout = torch.channels_last_3d if innermost else torch.contiguous_format
        ctx.shape, ctx.dtype = logits.shape, logits.dtype
        by_intersection, by_predicted = (slope.to(weights.dtype) for slope in slopes)
        ctx.save_for_backward(share, target, by_intersection, by_predicted, (weights / entropy[1]).to(weights.dtype))
        ctx.mark_non_differentiable(dice, cross_entropy)
        return dice + cross_entropy, dice, cross_entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None, None]:
        share, target, by_intersection, by_predicted, voxel_share = ctx.saved_tensors
        gradient = torch.empty(ctx.shape, dtype=ctx.dtype, device=share.device, memory_format=ctx.layout)
        flat, truth = gradient.flatten(2), target.flatten(1)
        with torch.autocast(share.device.type, enabled=False):
            # The gradient is linear in all three slopes, so the factor from outside goes there.
            by_intersection, by_predicted, voxel_share = (
                slope * grad for slope in (by_intersection, by_predicted, voxel_share)
            )
            for item, part in _chunks(share):
                y, t = share[item, :, part], truth[item, None, part]
                index = t.long().clamp_min(0)
                out = y * (2 * by_predicted[item, :, None]) if ctx.squared else by_predicted[item, :, None].expand_as(y)
                at_truth = by_intersection[item][index] * y.gather(0, index) - voxel_share[index] * (t >= 0)
                out = (out - ((out * y).sum(0, keepdim=True) + at_truth)) * y
                flat[item, :, part] = out.scatter_add_(0, index, at_truth)
        return gradient, None, None, None, None


_CHUNK = 1 << 18  # numbers, voxels times classes


def _chunks(flat: Tensor) -> Iterator[tuple[int, slice]]:
    """Which voxels of which item to take together; flat [B, J, V]."""
    step = max(1, _CHUNK // flat.shape[1])
    for item in range(flat.shape[0]):
        for start in range(0, flat.shape[2], step):
            yield item, slice(start, start + step)


def _chunk_sums(logits: Tensor, truth: Tensor, weights: Tensor, share: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
    """logits [J, n], truth [n] -> sums [3, J] for the Dice term and [2] for the cross entropy; fills share [J, n]."""
    log_share = torch.log_softmax(logits, dim=0, dtype=share.dtype)
    valid = truth >= 0
    index = truth.long().clamp_min(0)
    voxel_weights = weights[index] * valid
    cost = -(log_share.gather(0, index[None])[0] * voxel_weights).sum(dtype=torch.float64)
    torch.mul(log_share.exp_(), valid, out=share)
    hit = share.gather(0, index[None])[0]
    j = share.shape[0]
    intersection = torch.bincount(index, weights=hit.double(), minlength=j)
    count = torch.bincount(index, weights=valid.double(), minlength=j)
    predicted = torch.linalg.vector_norm(share, dim=1).square() if squared else share.sum(1)
    entropy = torch.stack([cost, voxel_weights.sum(dtype=torch.float64)])
    return torch.stack([intersection, predicted.double(), count]), entropy

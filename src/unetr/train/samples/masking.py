"""Masked-volume pretraining: most of a window is hidden from the network, which predicts it from the rest.

After SimMIM (Xie et al., CVPR 2022, section 3: hidden patches stay in the input, masked, and their raw pixels are
regressed; shown with 60 % of them) and MAE (He et al., CVPR 2022, section 3: mean squared error on hidden patches only,
and per-patch normalised targets as an option). Both mask tokens. Here the input's voxels are set to 0, before anything
sees them: a stem and the decoder's skips would hand on what only tokens hide. 0 is also what windows are padded with.
The network is the segmentation's, with as many outputs as input channels, so that all of it but the head is pretrained.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetr.core.plan.schema import Plan, PretrainingPlan
from unetr.train.losses import LossTerms, Total, alone

# Added to the variance of a patch whose voxels are (nearly) all alike, as in MAE's reference implementation.
_SMALLEST_VARIANCE = 1e-6


def make_mask(
    window: tuple[int, int, int], patch: int, pretraining: PretrainingPlan, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which voxels of a window are hidden, [H, W, D]: whole blocks of patches, as many as the plan's share rounds to.

    At least one is hidden and one visible. The window is made of two or more whole blocks (`Plan` sees to it).
    """
    side = patch * pretraining.block_patches
    blocks = tuple(size // side for size in window)
    count = int(np.prod(blocks))
    hidden = min(max(1, round(pretraining.masked_fraction * count)), count - 1)
    mask = np.zeros(count, dtype=np.bool_)
    mask[rng.permutation(count)[:hidden]] = True
    mask = mask.reshape(blocks)
    for axis in range(3):
        mask = mask.repeat(side, axis)
    return mask


def reconstruction(forward: nn.Module, images: Tensor, classes: Tensor, plan: Plan, total: Total = alone) -> LossTerms:
    """The loss of what the network makes of images [B, C, H, W, D] where classes [B, H, W, D] are not -1 (hidden).

    total: see `reconstruction_loss`. Raises ValueError for a plan without pretraining.
    """
    if plan.pretraining is None:
        raise ValueError("the plan is not for pretraining")
    hidden = classes >= 0
    targets = normalised_patches(images, plan.network.patch) if plan.pretraining.normalised_targets else images
    return reconstruction_loss(forward(hide(images, hidden)), targets, hidden, total)


def hide(images: Tensor, hidden: Tensor) -> Tensor:
    """images [B, C, H, W, D] with 0 in all channels where hidden [B, H, W, D] is true, whatever was there."""
    return images.masked_fill(hidden[:, None], 0.0)


def normalised_patches(images: Tensor, patch: int) -> Tensor:
    """images [B, C, H, W, D], sizes multiples of the patch: each patch and channel less its mean, over its deviation.

    He et al. 2022, section 3, "reconstruction target", on volumes.
    """
    b, c, *shape = images.shape
    h, w, d = (size // patch for size in shape)
    cubes = images.reshape(b, c, h, patch, w, patch, d, patch)
    voxels = (3, 5, 7)
    variance = cubes.var(dim=voxels, keepdim=True)
    normalised = (cubes - cubes.mean(dim=voxels, keepdim=True)) / (variance + _SMALLEST_VARIANCE).sqrt()
    return normalised.reshape(images.shape)


def reconstruction_loss(predicted: Tensor, targets: Tensor, hidden: Tensor, total: Total = alone) -> LossTerms:
    """Mean squared error over the hidden voxels [B, H, W, D] and all channels of predicted and targets [B, C, H, W, D].

    Computed in float32. total: the sum over the processes that share the batch; the value is then the whole batch's and
    the gradient that of this process's share. The terms of a segmentation are NaN. Raises ValueError for shapes that
    do not fit.
    """
    if predicted.shape != targets.shape or hidden.shape != (targets.shape[0], *targets.shape[2:]):
        raise ValueError(f"{tuple(predicted.shape)}, {tuple(targets.shape)} and {tuple(hidden.shape)} do not fit")
    with torch.autocast(predicted.device.type, enabled=False):
        errors = (predicted.float() - targets.float()).masked_fill(~hidden[:, None], 0.0)
        count = total(hidden.sum()) * targets.shape[1]
        share = errors.square().sum() / count.clamp_min(1)
        whole = total(share.detach())
    undefined = torch.full_like(whole, torch.nan)
    return LossTerms(share + (whole - share.detach()), undefined, undefined)

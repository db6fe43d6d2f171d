"""The loss of overlapping regions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from unetr.core.plan.schema import LossPlan
from unetr.train.losses import (
    region_loss,
)


def test_hand_worked_regions() -> None:
    logit = math.log(0.8 / 0.2)  # sigmoid 0.8
    logits = torch.tensor([logit, -logit]).reshape(1, 1, 2, 1, 1)
    terms = region_loss(logits, torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1, 1), LossPlan())
    assert terms.dice.item() == pytest.approx(1 - 1.6 / (1 + 0.64 + 0.04), abs=1e-5)
    assert terms.cross_entropy.item() == pytest.approx(-math.log(0.8), abs=1e-6)


def test_regions_equal_monai_and_torch() -> None:
    dice_loss = pytest.importorskip("monai.losses").DiceLoss
    torch.manual_seed(6)
    logits, target = torch.randn(2, 3, 5, 6, 7), torch.randint(0, 2, (2, 3, 5, 6, 7)).float()
    for batch in (False, True):
        terms = region_loss(logits, target, LossPlan(dice_over_batch=batch))
        expected = dice_loss(sigmoid=True, squared_pred=True, batch=batch)(logits, target)
        torch.testing.assert_close(terms.dice, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(terms.cross_entropy, F.binary_cross_entropy_with_logits(logits, target))


def test_ignored_region_voxels_do_not_matter() -> None:
    torch.manual_seed(7)
    logits, target = torch.randn(1, 2, 6, 4, 4), torch.randint(0, 2, (1, 2, 6, 4, 4)).float()
    target[:, :, 3:] = -1
    half = region_loss(logits[:, :, :3], target[:, :, :3], LossPlan())
    torch.testing.assert_close(region_loss(logits, target, LossPlan()).total, half.total)

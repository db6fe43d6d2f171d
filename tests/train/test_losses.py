"""The loss against hand-worked numbers, MONAI's DiceCELoss, and the formula written out with autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unetr.core.plan.schema import LossPlan, Plan, Region
from unetr.errors import InputError
from unetr.train.losses import (
    LOSSES,
    SMOOTHING,
    LossTerms,
    dice_cross_entropy,
    loss_named,
    region_loss,
    region_targets,
    segmentation_loss,
)

OPTIONS = [
    {},
    {"include_background": False},
    {"dice_over_batch": True},
    {"squared": False},
    {"class_weights": (0.5, 2.0, 1.0, 3.0)},
    {"class_weights": (0.5, 2.0, 1.0, 3.0), "include_background": False, "dice_over_batch": True},
]


def formula(logits: Tensor, target: Tensor, options: LossPlan) -> Tensor:
    """The paper's equation 7 with a one-hot truth, plain autograd: the oracle."""
    classes = logits.shape[1]
    valid = (target >= 0)[:, None].to(logits)
    truth = F.one_hot(target.clamp_min(0), classes).movedim(-1, 1).to(logits) * valid
    log_share = torch.log_softmax(logits, dim=1)
    share = log_share.exp() * valid
    weights = torch.tensor(options.class_weights or (1.0,) * classes).to(logits)
    power = 2 if options.squared else 1
    axes = (0, 2, 3, 4) if options.dice_over_batch else (2, 3, 4)
    above = 2 * (share * truth).sum(axes) + SMOOTHING
    below = (share**power).sum(axes) + truth.sum(axes) + SMOOTHING
    terms = (1 - above / below) * weights
    dice = terms[..., 0 if options.include_background else 1 :].mean()
    voxel_weights = (truth * weights[:, None, None, None]).sum(1)
    cross_entropy = -(truth * log_share * weights[:, None, None, None]).sum() / voxel_weights.sum()
    return dice + cross_entropy


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """[voxels][classes] -> [1, J, voxels, 1, 1]; softmax of a logarithm is the probability."""
    return torch.tensor(probabilities).T.log().reshape(1, len(probabilities[0]), -1, 1, 1)


def test_hand_worked_two_classes() -> None:
    logits = logits_of([[0.8, 0.2], [0.4, 0.6]])
    terms = segmentation_loss(logits, torch.tensor([0, 1]).reshape(1, 2, 1, 1), LossPlan())
    # class 0: 2 * 0.8 / (1 + 0.64 + 0.16); class 1: 2 * 0.6 / (1 + 0.04 + 0.36)
    dice = 1 - (1.6 / 1.8 + 1.2 / 1.4) / 2
    cross_entropy = -(math.log(0.8) + math.log(0.6)) / 2
    assert terms.dice.item() == pytest.approx(dice, abs=1e-5)
    assert terms.cross_entropy.item() == pytest.approx(cross_entropy, abs=1e-6)
    assert terms.total.item() == pytest.approx(dice + cross_entropy, abs=1e-5)


def test_hand_worked_options() -> None:
    logits = logits_of([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    target = torch.tensor([0, 1, -1]).reshape(1, 3, 1, 1)
    terms = segmentation_loss(logits, target, LossPlan(include_background=False))
    assert terms.dice.item() == pytest.approx(1 - 1.2 / 1.4, abs=1e-5)  # the third voxel is ignored
    terms = segmentation_loss(logits, target, LossPlan(squared=False))
    assert terms.dice.item() == pytest.approx(1 - (1.6 / 2.2 + 1.2 / 1.8) / 2, abs=1e-5)
    terms = segmentation_loss(logits, target, LossPlan(class_weights=(1, 3)))
    assert terms.cross_entropy.item() == pytest.approx(-(math.log(0.8) + 3 * math.log(0.6)) / 4, abs=1e-6)


def test_hand_worked_batch() -> None:
    first, second = logits_of([[0.8, 0.2]]), logits_of([[0.4, 0.6]])
    logits, target = torch.cat([first, second]), torch.tensor([0, 1]).reshape(2, 1, 1, 1)
    together = segmentation_loss(logits, target, LossPlan(dice_over_batch=True))
    assert together.dice.item() == pytest.approx(1 - (1.6 / 1.8 + 1.2 / 1.4) / 2, abs=1e-5)
    apart = segmentation_loss(logits, target, LossPlan())
    # item 1: class 0 present, class 1 absent but predicted 0.2; item 2: the other way round
    expected = 1 - (1.6 / 1.64 + 0 + 0 + 1.2 / 1.36) / 4
    assert apart.dice.item() == pytest.approx(expected, abs=2e-4)  # smoothing shows in classes that are absent


def test_a_perfect_prediction_costs_nothing() -> None:
    target = torch.randint(0, 3, (2, 4, 4, 4))
    logits = 100 * F.one_hot(target, 3).movedim(-1, 1).float()
    assert segmentation_loss(logits, target, LossPlan()).total.item() == pytest.approx(0, abs=1e-6)


@pytest.fixture(scope="session")
def dice_ce() -> Any:
    return pytest.importorskip("monai.losses").DiceCELoss


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0, 3.0)])
@pytest.mark.parametrize("absent", [False, True])
def test_equals_monai(
    batch: bool, background: bool, squared: bool, weights: tuple[float, ...] | None, absent: bool, dice_ce: Any
) -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(3, 4, 9, 10, 11)).requires_grad_()
    target = torch.randint(0, 2 if absent else 4, (3, 9, 10, 11))
    theirs = dice_ce(
        softmax=True,
        to_onehot_y=True,
        squared_pred=squared,
        batch=batch,
        include_background=background,
        weight=None if weights is None else torch.tensor(weights),
    )
    options = LossPlan(squared=squared, include_background=background, dice_over_batch=batch, class_weights=weights)
    expected = theirs(logits, target[:, None])
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    found = segmentation_loss(logits, target, options).total
    (found_gradient,) = torch.autograd.grad(found, logits)
    assert abs(found.item() - expected.item()) <= 1e-6
    assert float((found_gradient - expected_gradient).abs().max()) <= 1e-6


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("ignored", [False, True])
def test_value_and_gradient_equal_the_formula(options: dict[str, Any], ignored: bool) -> None:
    torch.manual_seed(1)
    plan = LossPlan(**options)
    logits = (2 * torch.randn(2, 4, 5, 6, 7, dtype=torch.float64)).requires_grad_()
    target = torch.randint(-1 if ignored else 0, 3, (2, 5, 6, 7))  # class 3 is absent
    expected, found = formula(logits, target, plan), segmentation_loss(logits, target, plan).total
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    (expected_gradient,) = torch.autograd.grad(3 * expected, logits)
    (found_gradient,) = torch.autograd.grad(3 * found, logits)
    torch.testing.assert_close(found_gradient, expected_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck(options: dict[str, Any]) -> None:
    torch.manual_seed(2)
    logits = torch.randn(2, 4, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randint(-1, 4, (2, 2, 2, 3))
    plan = LossPlan(**options)
    assert torch.autograd.gradcheck(lambda z: segmentation_loss(z, target, plan).total, (logits,))


def test_gradcheck_regions() -> None:
    torch.manual_seed(2)
    logits = torch.randn(2, 2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randint(-1, 2, (2, 2, 2, 2, 3))
    plan = LossPlan(class_weights=(1, 3))
    assert torch.autograd.gradcheck(lambda z: region_loss(z, target, plan).total, (logits,))


@pytest.mark.parametrize("confidence", [0.0, 3.0, 10.0, 30.0, 100.0])
def test_an_absent_class_has_a_bounded_gradient(confidence: float) -> None:
    """The bound of the module's docstring: sum over voxels of |dDice_j/dz_ij| <= 1/2, at any confidence."""
    target = torch.zeros(1, 24, 24, 24, dtype=torch.long)
    logits = torch.randn(1, 2, 24, 24, 24)
    logits[:, 1] -= confidence
    logits.requires_grad_()
    # With weight on class 1 only the Dice term of class 1 remains, and the cross entropy of class 0 is subtracted.
    both = segmentation_loss(logits, target, LossPlan(include_background=False)).total
    (gradient,) = torch.autograd.grad(both - F.cross_entropy(logits, target), logits)
    assert torch.isfinite(gradient).all()
    assert float(gradient[:, 1].abs().sum()) <= 0.5 + 1e-3


def test_extreme_logits_stay_finite() -> None:
    for scale in (1e4, 1e30):
        logits = (scale * torch.randn(1, 3, 4, 4, 4)).requires_grad_()
        terms = segmentation_loss(logits, torch.randint(0, 3, (1, 4, 4, 4)), LossPlan())
        terms.total.backward()
        assert torch.isfinite(terms.total)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_everything_ignored_costs_nothing() -> None:
    logits = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    terms = segmentation_loss(logits, torch.full((2, 4, 4, 4), -1), LossPlan())
    terms.total.backward()
    assert terms.total.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_ignored_voxels_do_not_matter() -> None:
    torch.manual_seed(3)
    logits = torch.randn(1, 3, 6, 6, 6, requires_grad=True)
    target = torch.randint(0, 3, (1, 6, 6, 6))
    target[:, 3:] = -1
    half = segmentation_loss(logits[:, :, :3], target[:, :3], LossPlan())
    whole = segmentation_loss(logits, target, LossPlan())
    torch.testing.assert_close(whole.total, half.total)
    whole.total.backward()
    assert logits.grad is not None
    assert logits.grad[:, :, 3:].abs().max() == 0
    assert logits.grad[:, :, :3].abs().min() > 0


OF_TARGETS: dict[str, Callable[..., LossTerms]] = {"classes": segmentation_loss, "regions": region_loss}


@pytest.mark.parametrize("name", OF_TARGETS)
def test_float32_under_autocast_and_for_bf16_logits(name: str) -> None:
    torch.manual_seed(4)
    logits = torch.randn(1, 3, 8, 8, 8).bfloat16()
    target = torch.randint(0, 2, (1, 8, 8, 8) if name == "classes" else (1, 3, 8, 8, 8))
    expected = OF_TARGETS[name](logits.float(), target, LossPlan())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = OF_TARGETS[name](logits, target, LossPlan())
    assert found.total.dtype == torch.float32
    torch.testing.assert_close(found.total, expected.total)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_target_and_any_memory_layout(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    logits = torch.randn(2, 3, 4, 6, 8, requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 6, 8))
    other = logits.detach().to(memory_format=torch.channels_last_3d).requires_grad_()
    first = segmentation_loss(logits, target, LossPlan()).total
    second = segmentation_loss(other, target.to(dtype), LossPlan()).total
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(torch.autograd.grad(first, logits), torch.autograd.grad(second, other))


def test_terms_are_for_the_log_and_the_total_for_the_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, 4, requires_grad=True)
    targets = {"classes": torch.zeros(1, 4, 4, 4, dtype=torch.long), "regions": torch.zeros(1, 3, 4, 4, 4)}
    for name, loss in OF_TARGETS.items():
        terms: LossTerms = loss(logits, targets[name], LossPlan())
        assert terms.total.requires_grad
        assert not terms.dice.requires_grad
        assert not terms.cross_entropy.requires_grad
        assert terms.total.item() == pytest.approx(terms.dice.item() + terms.cross_entropy.item())


def test_shapes_that_do_not_fit_are_refused() -> None:
    logits = torch.zeros(1, 3, 4, 4, 4)
    with pytest.raises(ValueError, match="does not fit"):
        segmentation_loss(logits, torch.zeros(1, 1, 4, 4, 4, dtype=torch.long), LossPlan())
    with pytest.raises(ValueError, match="does not fit"):
        region_loss(logits, torch.zeros(1, 2, 4, 4, 4), LossPlan())
    with pytest.raises(ValueError, match="2 numbers, the logits have 3"):
        segmentation_loss(logits, torch.zeros(1, 4, 4, 4, dtype=torch.long), LossPlan(class_weights=(1, 2)))
    with pytest.raises((IndexError, RuntimeError)):
        segmentation_loss(logits, torch.full((1, 4, 4, 4), 3), LossPlan())


def test_a_plan_says_which_loss_and_what_it_is_of(plan_with: Callable[..., Plan]) -> None:
    """A plan of a version that had one loss has no name in it, and is trained by the same."""
    assert list(LOSSES) == [LossPlan().name] == [LossPlan.model_validate({"squared": True}).name]
    assert loss_named(LossPlan().name) is dice_cross_entropy
    with pytest.raises(InputError, match="loss 'wishful': is unknown; expected one of dice_cross_entropy"):
        loss_named("wishful")
    logits, classes = torch.randn(1, 3, 4, 4, 4), torch.randint(-1, 3, (1, 4, 4, 4))
    of_classes = plan_with()
    expected = segmentation_loss(logits, classes, of_classes.training.loss).total
    assert torch.equal(dice_cross_entropy(logits, classes, of_classes).total, expected)
    regions = (Region(name="all", labels=(1, 2), written_as=1), Region(name="core", labels=(1,), written_as=2))
    of_regions = plan_with(regions=regions)
    expected = region_loss(logits[:, :2], region_targets(classes, of_regions), of_regions.training.loss).total
    assert torch.equal(dice_cross_entropy(logits[:, :2], classes, of_regions).total, expected)

"""The part of a plan that says how its network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unetr.core.plan import bounds
from unetr.core.plan.bounds import Fraction, Name, NotNegative, Positive, Share
from unetr.core.text.records import Record


class LossPlan(Record):
    """What is minimised, soft Dice + cross entropy unless another is named, and its options."""

    name: Name = "dice_cross_entropy"
    """A name of `train/losses.py`; this one is the UNETR paper's equation 7."""
    squared: bool = True
    """Squared terms in the denominator of the Dice."""
    include_background: bool = True
    """Whether the background counts in the Dice."""
    dice_over_batch: bool = False
    """One Dice for all windows of a batch, instead of one for each window."""
    class_weights: Annotated[tuple[Positive, ...], Field(max_length=bounds.MOST_LABELS)] | None = None
    """One number for each output; null for equal weights."""


class AugmentPlan(Record):
    """Strengths and probabilities of the training augmentations; 0 switches one off."""

    mirror_axes: bounds.MirrorAxes = ()
    """Axes (0, 1, 2) along which a mirrored scan keeps its labels. Windows are mirrored along them."""
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest angle about each axis."""
    scale: Share = 0.2
    """Largest change of size, as a share: 0.2 is from 0.8 to 1.2."""
    spatial_probability: Fraction = 0.2
    """Probability of a rotation and scaling."""
    elastic_probability: Fraction = 0.0
    """Probability of a random bending."""
    elastic_strength: Annotated[float, Field(ge=0, le=0.25)] = 0.15
    """Strength of a bending. Largest standard deviation, as a share of the distance of its knots."""
    noise_probability: Fraction = 0.15
    """Probability of added Gaussian noise."""
    blur_probability: Fraction = 0.1
    """Probability of a Gaussian blur."""
    brightness_probability: Fraction = 0.15
    """Probability of a change of brightness, by a factor."""
    contrast_probability: Fraction = 0.15
    """Probability of a change of contrast."""
    gamma_probability: Fraction = 0.2
    """Probability of a gamma curve."""
    low_resolution_probability: Fraction = 0.1
    """Probability of a simulated lower resolution."""
    quarter_turn_probability: Fraction = 0.0
    """Probability of a turn by 90, 180 or 270 degrees about axis 2."""
    rescale_probability: Fraction = 0.0
    """Probability of a factor from 0.9 to 1.1 on all channels."""
    shift_probability: Fraction = 0.0
    """Probability of adding a number from -0.1 to 0.1 to all channels."""
    remap_probability: Fraction = 0.0
    """Probability of other contrasts. Grey values go through a random broken line."""


class TrainingPlan(Record):
    """Batch, optimiser, schedule, loss and augmentation."""

    batch_size: bounds.BatchSize = 2
    """Windows in a step, of all processes together."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon for the kernels of convolutions and adamw for the rest."""
    learning_rate: Positive = 1e-3
    """Highest learning rate, after the warm-up."""
    weight_decay: NotNegative = 1e-5
    """Of matrices and kernels; biases, norms and positions have none."""
    warmup_steps: bounds.Steps = 50
    """Steps in which the learning rate rises from 0."""
    gradient_clip: Positive = 1.0
    """Largest norm of the gradient."""
    ema_decay: Share = 0.99
    """Decay of the moving average of the weights; 0 switches it off."""
    foreground_fraction: Fraction = 0.5
    """Share of the windows that are centred on a labelled voxel."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto (bf16 where the device is fast in it), fp32 or bf16."""
    loss: LossPlan = LossPlan()
    """The loss and its options."""
    augment: AugmentPlan = AugmentPlan()
    """Random changes of the samples."""

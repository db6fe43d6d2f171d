"""The part of a plan that says how its network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unetr.core.plan import bounds
from unetr.core.plan.bounds import Fraction, NotNegative, Positive, Share
from unetr.core.text.records import Record


class LossPlan(Record):
    """Soft Dice + cross entropy (DESIGN section 4) and its options."""

    squared: bool = True
    include_background: bool = True
    dice_over_batch: bool = False
    class_weights: Annotated[tuple[Positive, ...], Field(max_length=bounds.MOST_LABELS)] | None = None


class AugmentPlan(Record):
    """Strengths and probabilities of the training augmentations; 0 switches one off.

    elastic_strength: largest standard deviation of a bending, as a share of the distance of its knots.
    quarter_turn_probability: of a turn by 90, 180 or 270 degrees about the third axis.
    """

    mirror_axes: bounds.MirrorAxes = ()
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    scale: Share = 0.2
    spatial_probability: Fraction = 0.2
    elastic_probability: Fraction = 0.0
    elastic_strength: Annotated[float, Field(ge=0, le=0.25)] = 0.15
    noise_probability: Fraction = 0.15
    blur_probability: Fraction = 0.1
    brightness_probability: Fraction = 0.15
    contrast_probability: Fraction = 0.15
    gamma_probability: Fraction = 0.2
    low_resolution_probability: Fraction = 0.1
    quarter_turn_probability: Fraction = 0.0
    rescale_probability: Fraction = 0.0
    shift_probability: Fraction = 0.0
    remap_probability: Fraction = 0.0


class TrainingPlan(Record):
    """Batch, optimiser, schedule, loss and augmentation.

    optimiser: `adamw` for all weights, or `muon` for the kernels of convolutions and AdamW for the others.
    """

    batch_size: bounds.BatchSize = 2
    optimiser: Literal["adamw", "muon"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-5
    warmup_steps: bounds.Steps = 50
    gradient_clip: Positive = 1.0
    ema_decay: Share = 0.99
    foreground_fraction: Fraction = 0.5
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    loss: LossPlan = LossPlan()
    augment: AugmentPlan = AugmentPlan()

"""The plan: every choice made for a dataset, as data that a person can read and edit.

Unknown keys, wrong types and impossible values are errors (`plan_file` says them in one line that names the key).
Nothing in a plan is code: names are looked up in the plain dicts of the folder that knows them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Axis = Annotated[int, Field(ge=0, le=2)]
Window = tuple[Count, Count, Count]


class Record(BaseModel):
    """Frozen data whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelPlan(Record):
    """How one channel's intensities become the network's input.

    zscore: clip to the scan's own percentiles 0.5 and 99.5, subtract its mean, divide by its standard deviation.
    ct: clip to [low, high], subtract mean, divide by std, all four from the training fingerprint.
    range: clip to [low, high], then scale to [0, 1]. none: as they are.
    """

    name: str
    normalisation: Literal["zscore", "ct", "range", "none"] = "zscore"
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: Positive | None = None

    @model_validator(mode="after")
    def _numbers_present(self) -> Self:
        needed = {"ct": ("low", "high", "mean", "std"), "range": ("low", "high")}.get(self.normalisation, ())
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"normalisation {self.normalisation} needs {', '.join(missing)}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Region(Record):
    """A possibly overlapping target: the union of label values, written into the label file as one value."""

    name: str
    labels: tuple[int, ...] = Field(min_length=1)
    written_as: int = Field(gt=0)


class NetworkPlan(Record):
    """The shape of the network (DESIGN section 3); the defaults are the paper's configuration.

    peer: a name of `model/peers.py`, for comparisons: then the other fields say nothing.
    decoder: a name of `model/decoders`; `stem` puts a convolutional stem before the transformer, too.
    layer_scale: first value of a learned factor per channel on what a block adds to its input; 0 for no factors.
    stem_skips: so many levels of the stem, finest first, reach the decoder beside the tokens; null for all.
    norm: of the convolutions; `instance_affine` has a learned scale and shift per channel.
    """

    preset: str = "paper"
    peer: str | None = None
    decoder: str = "unetr"
    patch: Count = 16
    width: Count = 768
    depth: Count = 12
    heads: Count = 12
    mlp_width: Count = 3072
    taps: tuple[Count, ...] = (3, 6, 9, 12)
    final_norm: bool = False
    feature_size: Count = 16
    stem_skips: Count | None = None
    norm: Literal["instance", "instance_affine", "batch"] = "instance"
    residual: bool = True
    tap_convolutions: bool = True
    projection: Literal["linear", "conv"] = "linear"
    qkv_bias: bool = False
    layer_scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if list(self.taps) != sorted(set(self.taps)) or self.taps[-1] > self.depth:
            raise ValueError(f"taps {list(self.taps)} must increase and lie within 1..depth ({self.depth})")
        return self


class LossPlan(Record):
    """Soft Dice + cross entropy (DESIGN section 4) and its options."""

    squared: bool = True
    include_background: bool = True
    dice_over_batch: bool = False
    class_weights: tuple[Positive, ...] | None = None


class AugmentPlan(Record):
    """Strengths and probabilities of the training augmentations; 0 switches one off.

    elastic_strength: largest standard deviation of a bending, as a share of the distance of its knots.
    quarter_turn_probability: of a turn by 90, 180 or 270 degrees about the third axis.
    """

    mirror_axes: tuple[Axis, ...] = ()
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.2
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

    batch_size: Count = 2
    optimiser: Literal["adamw", "muon"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    gradient_clip: Positive = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    foreground_fraction: Fraction = 0.5
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    loss: LossPlan = LossPlan()
    augment: AugmentPlan = AugmentPlan()


class InferencePlan(Record):
    """Sliding window overlap, blending, and the mirrors that test-time augmentation may use."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    blending: Literal["gaussian", "constant"] = "gaussian"
    mirror_axes: tuple[Axis, ...] = ()


class PostprocessPlan(Record):
    """What is removed of one class or region after prediction (`unetr.infer.postprocess`); the defaults remove nothing.

    largest_component: keep only the largest connected component. minimum_volume_ml: remove components below it.
    """

    largest_component: bool = False
    minimum_volume_ml: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class PretrainingPlan(Record):
    """Masked-volume pretraining (`unetr.train.masking`): hidden blocks of patches are predicted from the others.

    masked_fraction: share of the blocks that are hidden. block_patches: side of a block, in patches.
    normalised_targets: what is predicted has mean 0 and standard deviation 1 in each patch and channel.
    """

    masked_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.6
    block_patches: Count = 1
    normalised_targets: bool = False


class Plan(Record):
    """Everything that turns a scan into the network's input and its output back into a label file.

    labels: name -> value in label files, background included. ignore_label: a value the loss leaves out.
    crop: `content` leaves out a scan's border of zeros, where all is background; `none` keeps the field of view.
    postprocess: name of a foreground class, or of a region where there are regions -> rules for what is removed of it.
    pretraining: set in a plan with no labels but the background, whose network predicts voxels that were hidden from
    it, and no classes.
    reasons: key of a choice -> why it was made, written by the planner for the person who reads it.
    """

    plan_version: Literal[1] = 1
    dataset: str
    channels: tuple[ChannelPlan, ...] = Field(min_length=1)
    labels: dict[str, int]
    regions: tuple[Region, ...] = ()
    ignore_label: int | None = None
    orientation: str = Field(default="RAS", pattern="^[LRAPSI]{3}$")
    crop: Literal["none", "content"] = "none"
    spacing_mm: tuple[Positive, Positive, Positive]
    window: Window
    network: NetworkPlan = NetworkPlan()
    training: TrainingPlan = TrainingPlan()
    inference: InferencePlan = InferencePlan()
    postprocess: dict[str, PostprocessPlan] = {}
    pretraining: PretrainingPlan | None = None
    reasons: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        values = sorted(self.labels.values())
        if self.pretraining is not None:
            self._check_pretraining(self.pretraining)
        elif len(values) < 2 or values[0] != 0 or len(set(values)) != len(values):
            raise ValueError("labels must have the background with value 0 and at least one more, all values different")
        if {frozenset(pair) for pair in ("RL", "AP", "SI") if set(pair) & set(self.orientation)} != _AXIS_PAIRS:
            raise ValueError(f"orientation {self.orientation} must name each of the axes R/L, A/P and S/I once")
        if self.ignore_label is not None and self.ignore_label in values:
            raise ValueError(f"ignore_label {self.ignore_label} must not be one of the labels")
        turned = self.training.augment.quarter_turn_probability > 0
        if turned and (self.window[0] != self.window[1] or self.spacing_mm[0] != self.spacing_mm[1]):
            raise ValueError("quarter_turn_probability needs windows and voxels that are square in the first two axes")
        unknown = {value for region in self.regions for value in region.labels} - set(values)
        if unknown:
            raise ValueError(f"regions use label values {sorted(unknown)} that are not in labels")
        targets = [region.name for region in self.regions] or list(self.class_names[1:])
        nobody = sorted(set(self.postprocess) - set(targets))
        if nobody:
            raise ValueError(f"postprocess has rules for {', '.join(nobody)}; expected names of {', '.join(targets)}")
        weights = self.training.loss.class_weights
        if weights is not None and len(weights) != self.outputs:
            raise ValueError(f"class_weights has {len(weights)} numbers, the network has {self.outputs} outputs")
        return self

    def _check_pretraining(self, pretraining: PretrainingPlan) -> None:
        if list(self.labels.values()) != [0] or self.ignore_label is not None:
            raise ValueError("labels must be the background alone, with value 0, in a plan with pretraining")
        if self.network.peer is not None:
            raise ValueError(f"pretraining is for networks made of patches, not for the peer {self.network.peer}")
        side = self.network.patch * pretraining.block_patches
        blocks = [size // side for size in self.window]
        if any(size % side for size in self.window) or blocks == [1, 1, 1]:
            raise ValueError(
                f"window {list(self.window)} must be made of whole blocks of {side} voxels along each axis, and of at "
                "least two, so that some can be hidden"
            )

    @property
    def outputs(self) -> int:
        """Channels of the network's output: J classes, or one per region; in pretraining those of the input."""
        if self.pretraining is not None:
            return len(self.channels)
        return len(self.regions) or len(self.labels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the network's order: by label value, background first."""
        return tuple(sorted(self.labels, key=self.labels.__getitem__))

    @property
    def class_values(self) -> tuple[int, ...]:
        """Values in label files, in the network's order."""
        return tuple(self.labels[name] for name in self.class_names)


_AXIS_PAIRS = {frozenset("RL"), frozenset("AP"), frozenset("SI")}

"""The plan: every choice made for a dataset, as data that a person can read and edit.

Unknown keys, wrong types and impossible values are errors (`plan_file` says them in one line that names the key).
Nothing in a plan is code: names are looked up in the plain dicts of the folder that knows them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from unetr.core.plan import bounds
from unetr.core.plan.bounds import Name, NotNegative, Share
from unetr.core.plan.size import size_problem
from unetr.core.plan.training import AugmentPlan as AugmentPlan
from unetr.core.plan.training import LossPlan as LossPlan
from unetr.core.plan.training import TrainingPlan as TrainingPlan
from unetr.core.space.frames import Transform
from unetr.core.text.records import Record as Record

Window = tuple[bounds.WindowSide, bounds.WindowSide, bounds.WindowSide]
# What the network sees is about 1; a plan that makes this of a scan was not made for it.
_LARGEST_INPUT = 1e6


class ChannelPlan(Record):
    """How one channel's intensities become the network's input.

    zscore: clip to the scan's own percentiles `clip_percentiles`, subtract its mean, divide by its standard deviation,
    or by the clipped range / `most_deviations` where that is more: few bright voxels are far from all others.
    ct: clip to [low, high], subtract mean, divide by std, all four from the training fingerprint.
    range: clip to [low, high], then scale to [0, 1]. none: as they are.
    """

    name: Name
    normalisation: Literal["zscore", "ct", "range", "none"] = "zscore"
    low: bounds.Finite | None = None
    high: bounds.Finite | None = None
    mean: bounds.Finite | None = None
    std: bounds.Spread | None = None
    clip_percentiles: tuple[bounds.Percentile, bounds.Percentile] = (0.5, 99.5)
    most_deviations: bounds.Positive | None = None

    @model_validator(mode="after")
    def _numbers_present(self) -> Self:
        needed = {"ct": ("low", "high", "mean", "std"), "range": ("low", "high")}.get(self.normalisation, ())
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"normalisation {self.normalisation} needs {', '.join(missing)}")
        # Scans are float32: limits that are one number there are one limit.
        if self.low is not None and self.high is not None and np.float32(self.low) >= np.float32(self.high):
            raise ValueError("low must be below high")
        if self.normalisation == "ct" and self._largest_input() > _LARGEST_INPUT:
            raise ValueError(
                f"std {self.std} makes numbers beyond {_LARGEST_INPUT:g} of low {self.low}, high {self.high}"
            )
        if self.clip_percentiles[0] >= self.clip_percentiles[1]:
            raise ValueError("the first of clip_percentiles must be below the second")
        return self

    def _largest_input(self) -> float:
        low, high, mean, std = (value or 0.0 for value in (self.low, self.high, self.mean, self.std))
        return max(abs(low - mean), abs(high - mean)) / std


class Region(Record):
    """A possibly overlapping target: the union of label values, written into the label file as one value."""

    name: Name
    labels: tuple[bounds.LabelValue, ...] = Field(min_length=1, max_length=bounds.MOST_LABELS)
    written_as: bounds.Written

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"region {self.name} lists a label value twice")
        return self


class NetworkPlan(Record):
    """The shape of the network (DESIGN section 3); the defaults are the paper's configuration.

    peer: a name of `model/network/peers.py`, for comparisons: then the other fields say nothing.
    decoder: a name of `model/decoders`; `stem` puts a convolutional stem before the transformer, too.
    layer_scale: first value of a learned factor per channel on what a block adds to its input; 0 for no factors.
    stem_skips: so many levels of the stem, finest first, reach the decoder beside the tokens; null for all.
    norm: of the convolutions; `instance_affine` has a learned scale and shift per channel.
    """

    preset: Name = "paper"
    peer: Name | None = None
    decoder: Name = "unetr"
    patch: bounds.Patch = 16
    width: bounds.Width = 768
    depth: bounds.Depth = 12
    heads: bounds.Heads = 12
    mlp_width: bounds.MlpWidth = 3072
    taps: tuple[bounds.Depth, ...] = Field(default=(3, 6, 9, 12), min_length=1, max_length=bounds.MOST_TAPS)
    final_norm: bool = False
    feature_size: bounds.Features = 16
    stem_skips: bounds.Few | None = None
    norm: Literal["instance", "instance_affine", "batch"] = "instance"
    residual: bool = True
    tap_convolutions: bool = True
    projection: Literal["linear", "conv"] = "linear"
    qkv_bias: bool = False
    layer_scale: Share = 0.0
    dropout: Share = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if list(self.taps) != sorted(set(self.taps)) or self.taps[-1] > self.depth:
            raise ValueError(f"taps {list(self.taps)} must increase and lie within 1..depth ({self.depth})")
        return self


class InferencePlan(Record):
    """Sliding window overlap, blending, and the mirrors that test-time augmentation may use.

    overlap: of 0.9 a voxel lies in a thousand windows.
    """

    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    blending: Literal["gaussian", "constant"] = "gaussian"
    mirror_axes: bounds.MirrorAxes = ()


class PostprocessPlan(Record):
    """What is removed of one class or region after prediction (`unetr.infer.rules`); the defaults remove nothing.

    largest_component: keep only the largest connected component. minimum_volume_ml: remove components below it.
    """

    largest_component: bool = False
    minimum_volume_ml: NotNegative = 0.0


class PretrainingPlan(Record):
    """Masked-volume pretraining (`train.samples.masking`): hidden blocks of patches are predicted from the others.

    masked_fraction: share of the blocks that are hidden. block_patches: side of a block, in patches.
    normalised_targets: what is predicted has mean 0 and standard deviation 1 in each patch and channel.
    """

    masked_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.6
    block_patches: bounds.Few = 1
    normalised_targets: bool = False


class Plan(Record):
    """Everything that turns a scan into the network's input and its output back into a label file.

    labels: name -> value in label files, background included. ignore_label: a value the loss leaves out.
    crop: `content` leaves out a scan's border of zeros, where all is background; `none` keeps the field of view.
    transform: which affine of a NIfTI counts where its sform and qform disagree; such scans are refused without it.
    postprocess: name of a foreground class, or of a region where there are regions -> rules for what is removed of it.
    pretraining: set in a plan with no labels but the background, whose network predicts voxels that were hidden from
    it, and no classes.
    reasons: key of a choice -> why it was made, written by the planner for the person who reads it.
    """

    plan_version: Literal[1] = 1
    dataset: Name
    channels: tuple[ChannelPlan, ...] = Field(min_length=1, max_length=bounds.MOST_CHANNELS)
    labels: dict[Name, bounds.LabelValue] = Field(max_length=bounds.MOST_LABELS)
    regions: tuple[Region, ...] = Field(default=(), max_length=bounds.MOST_REGIONS)
    ignore_label: bounds.IgnoredValue | None = None
    orientation: str = Field(default="RAS", pattern="^[LRAPSI]{3}$")
    transform: Transform | None = None
    crop: Literal["none", "content"] = "none"
    spacing_mm: tuple[bounds.Spacing, bounds.Spacing, bounds.Spacing]
    window: Window
    network: NetworkPlan = NetworkPlan()
    training: TrainingPlan = TrainingPlan()
    inference: InferencePlan = InferencePlan()
    postprocess: dict[Name, PostprocessPlan] = Field(default={}, max_length=bounds.MOST_LABELS)
    pretraining: PretrainingPlan | None = None
    reasons: dict[bounds.Key, bounds.Reason] = Field(default={}, max_length=bounds.MOST_CHANNELS)

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
        self._check_names()
        too_large = size_problem(self)
        if too_large:
            raise ValueError(too_large)
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

    def _check_names(self) -> None:
        """A name that stands twice is two things in one column, one key, one row."""
        names = {
            "channels": [channel.name for channel in self.channels],
            "labels": list(self.labels),
            "regions": [region.name for region in self.regions],
            "regions' written_as": [str(region.written_as) for region in self.regions],
        }
        for key, given in names.items():
            twice = bounds.repeated(given)
            if twice:
                raise ValueError(f"{key} has {twice!r} twice; each needs its own")

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

"""The plan: every choice made for a dataset, as data that a person can read and edit.

Unknown keys, wrong types and impossible values are errors (`core.plan.file` says them in one line that names the key).
Nothing in a plan is code: names are looked up in the plain dicts of the folder that knows them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from unetr.core.plan import bounds
from unetr.core.plan.bounds import Name, NotNegative
from unetr.core.plan.network import NetworkPlan as NetworkPlan
from unetr.core.plan.size import size_problem
from unetr.core.plan.targets import Region as Region
from unetr.core.plan.targets import Target, output_count
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
    """What the channel shows; a channel named CT is planned as CT."""
    normalisation: Literal["zscore", "ct", "range", "none"] = "zscore"
    """zscore (of a scan), ct (clip, mean, std), range (to 0..1) or none."""
    low: bounds.Finite | None = None
    """Values below are set to it; for ct and range."""
    high: bounds.Finite | None = None
    """Values above are set to it; for ct and range."""
    mean: bounds.Finite | None = None
    """Subtracted after clipping; for ct."""
    std: bounds.Spread | None = None
    """Divided by after that; for ct."""
    clip_percentiles: tuple[bounds.Percentile, bounds.Percentile] = (0.5, 99.5)
    """Percentiles of the scan's own values at which it is clipped; for zscore."""
    most_deviations: bounds.Positive | None = None
    """Most standard deviations that the clipped range spans. For zscore, so that few bright voxels set no scale."""

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


class InferencePlan(Record):
    """Sliding window overlap, blending, and the mirrors that test-time augmentation may use."""

    # With 0.9 a voxel lies in a thousand windows.
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    """Of neighbouring windows, as a share of their side."""
    blending: Literal["gaussian", "constant"] = "gaussian"
    """gaussian or constant: how windows are weighed where they overlap."""
    mirror_axes: bounds.MirrorAxes = ()
    """Axes (0, 1, 2) of the mirrors that test-time augmentation uses."""


class PostprocessPlan(Record):
    """What is removed of one class or region after prediction (`unetr.infer.rules`); the defaults remove nothing."""

    largest_component: bool = False
    """Keep only the largest connected component."""
    minimum_volume_ml: NotNegative = 0.0
    """Remove connected components below this volume."""


class PretrainingPlan(Record):
    """Masked-volume pretraining (`train.samples.masking`): hidden blocks of patches are predicted from the others."""

    masked_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Share of the blocks that are hidden."""
    block_patches: bounds.Few = 1
    """Side of a block, in patches."""
    normalised_targets: bool = False
    """What is predicted has mean 0 and standard deviation 1 in each patch and channel."""


class Plan(Record):
    """Everything that turns a scan into the network's input and its output back into a label file.

    The text below a field is also its comment in the template and its description in the JSON Schema.
    """

    plan_version: Literal[1] = 1
    """Version of this format."""
    dataset: Name
    """Name of the dataset."""
    channels: tuple[ChannelPlan, ...] = Field(min_length=1, max_length=bounds.MOST_CHANNELS)
    """One entry for each input channel, in order."""
    labels: dict[Name, bounds.LabelValue] = Field(max_length=bounds.MOST_LABELS)
    """Name -> value in label files; the background has value 0."""
    regions: tuple[Region, ...] = Field(default=(), max_length=bounds.MOST_REGIONS)
    """Overlapping targets: [{name: whole, labels: [1, 2], written_as: 1}]. Each gets an output of its own."""
    ignore_label: bounds.IgnoredValue | None = None
    """Label value that is left out of the loss and of all scores."""
    orientation: str = Field(default="RAS", pattern="^[LRAPSI]{3}$")
    """Directions in which the voxel axes run: one of R or L, A or P, S or I each."""
    transform: Transform | None = None
    """Which affine of a NIfTI counts if its sform and qform disagree; without it such scans are refused."""
    crop: Literal["none", "content"] = "none"
    """`content` leaves out the border of zeros; `none` keeps the field of view."""
    spacing_mm: tuple[bounds.Spacing, bounds.Spacing, bounds.Spacing]
    """Voxel spacing of the network's grid along these axes, mm."""
    window: Window
    """Voxels that the network sees at once, along the same axes."""
    network: NetworkPlan = NetworkPlan()
    """The shape of the network."""
    training: TrainingPlan = TrainingPlan()
    """How the network is trained."""
    inference: InferencePlan = InferencePlan()
    """How windows cover a scan."""
    postprocess: dict[Name, PostprocessPlan] = Field(default={}, max_length=bounds.MOST_LABELS)
    """Name of a class or region -> what is removed of it after prediction."""
    pretraining: PretrainingPlan | None = None
    """Only if the background is the only label; hidden voxels are predicted instead of classes."""
    reasons: dict[bounds.Key, bounds.Reason] = Field(default={}, max_length=bounds.MOST_CHANNELS)
    """Key of a choice -> why it was made; for people."""

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
        batch = self.training.batch_size
        too_large = size_problem(self.network, self.window, self.in_channels, self.outputs, batch)
        if too_large:
            raise ValueError(too_large)
        unknown = {value for region in self.regions for value in region.labels} - set(values)
        if unknown:
            raise ValueError(f"regions use label values {sorted(unknown)} that are not in labels")
        targets = [target.name for target in self.targets]
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
    def in_channels(self) -> int:
        """Channels of the network's input: those of a scan."""
        return len(self.channels)

    @property
    def outputs(self) -> int:
        """Channels of the network's output: J classes, or one per region; in pretraining those of the input."""
        return self.in_channels if self.pretraining is not None else output_count(self.labels, self.regions)

    @property
    def has_regions(self) -> bool:
        """Whether the outputs are regions, which may overlap, and not classes, of which a voxel has one."""
        return bool(self.regions)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the network's order: by label value, background first."""
        return tuple(sorted(self.labels, key=self.labels.__getitem__))

    @property
    def class_values(self) -> tuple[int, ...]:
        """Values in label files, in the network's order."""
        return tuple(self.labels[name] for name in self.class_names)

    @property
    def foreground(self) -> dict[str, int]:
        """Name -> value in label files of every class but the background, in the network's order."""
        return {name: self.labels[name] for name in self.class_names[1:]}

    @property
    def region_values(self) -> dict[str, tuple[int, ...]]:
        """Name -> values in true label files of every region; empty where the outputs are classes."""
        return {region.name: region.labels for region in self.regions}

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is scored, in the network's order: the regions, or, without any, the foreground classes."""
        classes = {name: (value,) for name, value in self.foreground.items()}
        return tuple(Target(name, values) for name, values in (self.region_values or classes).items())

    @property
    def region_classes(self) -> tuple[tuple[int, ...], ...]:
        """The indices, in the network's order of classes, of the classes that make up each region."""
        return tuple(tuple(self.class_values.index(value) for value in region.labels) for region in self.regions)

    @property
    def written_values(self) -> dict[str, int]:
        """Name -> value that a predicted label file has for each target."""
        return {region.name: region.written_as for region in self.regions} or self.foreground


_AXIS_PAIRS = {frozenset("RL"), frozenset("AP"), frozenset("SI")}

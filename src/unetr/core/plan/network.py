"""The part of a plan that says what its network looks like."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from unetr.core.plan import bounds
from unetr.core.plan.bounds import Name, Share
from unetr.core.text.records import Record

Grid = tuple[int, int, int]


def patch_grid(shape: tuple[int, ...], patch: int) -> Grid:
    """Patches along each of the last three axes of `shape`, counting the one that padding completes."""
    x, y, z = (-(-size // patch) for size in shape[-3:])
    return x, y, z


class NetworkPlan(Record):
    """The shape of the network; the defaults are the paper's configuration (UNETR, Hatamizadeh et al. 2022).

    peer: a name of `model/network/peers.py`, for comparisons: then the other fields say nothing.
    decoder: a name of `model.network.decoders`; `stem` puts a convolutional stem before the transformer, too.
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

    @property
    def has_stem(self) -> bool:
        """Whether a convolutional stem is before the transformer."""
        return self.decoder == "stem"

    @property
    def level_channels(self) -> list[int]:
        """Channels of each level, from the input's resolution down to half a patch's: feature_size, then doubled."""
        return [self.feature_size * 2**level for level in range(self.patch.bit_length() - 1)]

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

    Decoders are named in `model.network.decoders`, peers in `model.network.peers`.
    """

    preset: Name = "paper"
    """A name for people; the fields below are what counts."""
    peer: Name | None = None
    """A network of another project, for comparisons. Then the other fields of this section have no effect."""
    decoder: Name = "unetr"
    """What turns the transformer's features into scores. `stem` also puts a convolutional stem before it."""
    patch: bounds.Patch = 16
    """Side of the cube that becomes one token, voxels; a power of two."""
    width: bounds.Width = 768
    """Numbers in a token; a multiple of `heads`."""
    depth: bounds.Depth = 12
    """Transformer blocks."""
    heads: bounds.Heads = 12
    """Attention heads of each block."""
    mlp_width: bounds.MlpWidth = 3072
    """Width of the hidden layer of each block's MLP."""
    taps: tuple[bounds.Depth, ...] = Field(default=(3, 6, 9, 12), min_length=1, max_length=bounds.MOST_TAPS)
    """Blocks that feed the decoder, counted from 1, in increasing order. MONAI's UNETR has [4, 7, 10, 12]."""
    final_norm: bool = False
    """A LayerNorm after the last block. MONAI's UNETR has one."""
    feature_size: bounds.Features = 16
    """Channels of the decoder at full resolution; each coarser level has twice as many."""
    stem_skips: bounds.Few | None = None
    """How many levels of the stem, finest first, reach the decoder; null for all."""
    norm: Literal["instance", "instance_affine", "batch"] = "instance"
    """instance, instance_affine (with a learned scale and shift) or batch. Of the decoder's convolutions."""
    residual: bool = True
    """The input of a convolution block is added to its output."""
    tap_convolutions: bool = True
    """Convolutions after each upsampling of a tapped feature but the first. Of decoder `unetr`."""
    projection: Literal["linear", "conv"] = "linear"
    """linear or conv: how a patch becomes a token."""
    qkv_bias: bool = False
    """Biases in the attention's projections."""
    layer_scale: Share = 0.0
    """First value of a learned factor on what a block adds; 0 for no factors."""
    dropout: Share = 0.0
    """Share of the transformer's activations that are dropped in training."""

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

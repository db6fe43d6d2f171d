"""From voxels to tokens: non-overlapping patches, one linear map, learned positions. Knows nothing of attention."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetr.core.plan.network import Grid, patch_grid

# Axes of [B, C, h, P, w, P, d, P] in the order [B, h, w, d, <voxels of a cube>].
_CHANNELS_INNERMOST = (0, 2, 4, 6, 3, 5, 7, 1)
_CHANNELS_OUTERMOST = (0, 2, 4, 6, 1, 3, 5, 7)


class PatchEmbedding(nn.Module):
    """z0 = [x1 E; ...; xN E] + E_pos (UNETR paper, equation 1); no class token.

    `projection` says only in which order E takes the voxels of a patch: "linear" as P, P, P, C (channels innermost),
    "conv" as C, P, P, P, the layout of a convolution with kernel and stride P, flattened. Both are one matrix product.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        patch: int,
        grid: Grid,
        projection: Literal["linear", "conv"] = "linear",
        dropout: float = 0.0,
        stem_channels: int | None = None,
    ) -> None:
        """stem_channels: of the stem's last level, at half a patch's resolution; its cubes of 2x2x2 are added."""
        super().__init__()
        self.patch = patch
        self.grid = grid
        self.order = _CHANNELS_INNERMOST if projection == "linear" else _CHANNELS_OUTERMOST
        self.projection = nn.Linear(patch**3 * in_channels, width)
        self.position = nn.Parameter(torch.empty(grid[0] * grid[1] * grid[2], width))
        self.dropout = nn.Dropout(dropout)
        self.stem_projection = None if stem_channels is None else nn.Linear(8 * stem_channels, width, bias=False)

    def forward(self, x: Tensor, detail: Tensor) -> Tensor:
        """x [B, C, H, W, D], sizes multiples of the patch P -> tokens [B, HWD/P^3, K], D running fastest.

        detail: the stem's last level [B, stem_channels, 2H/P, 2W/P, 2D/P]; not used without a stem.
        """
        tokens = self.projection(_cubes(x, self.patch, self.order))
        if self.stem_projection is not None:
            tokens = tokens + self.stem_projection(_cubes(detail, 2, _CHANNELS_INNERMOST))
        out: Tensor = self.dropout(tokens + self.position_for(patch_grid(tuple(x.shape), self.patch)))
        return out

    def position_for(self, grid: Grid) -> Tensor:
        """Positional embeddings [N, K] of another patch grid, trilinear between the learned ones (outer edges kept)."""
        return self.position if grid == self.grid else resized_position(self.position, self.grid, grid)


def resized_position(position: Tensor, learned: Grid, grid: Grid) -> Tensor:
    """Positional embeddings [N, K] of one patch grid -> those of another, trilinear (outer edges kept)."""
    volume = position.reshape(1, *learned, -1).permute(0, 4, 1, 2, 3)
    return F.interpolate(volume, size=grid, mode="trilinear", align_corners=False).flatten(2)[0].T


def _cubes(x: Tensor, side: int, order: tuple[int, ...]) -> Tensor:
    """x [B, C, H, W, D], sizes multiples of `side` -> its cubes [B, HWD/side^3, side^3 C]."""
    b, c, *shape = x.shape
    h, w, d = patch_grid(tuple(shape), side)
    return x.reshape(b, c, h, side, w, side, d, side).permute(order).reshape(b, h * w * d, -1)

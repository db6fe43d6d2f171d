"""From voxels to tokens: non-overlapping patches, one linear map, learned positions. Knows nothing of attention."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Grid = tuple[int, int, int]


def patch_grid(shape: tuple[int, ...], patch: int) -> Grid:
    """Patches along each of the last three axes of `shape`, counting the one that padding completes."""
    h, w, d = (-(-size // patch) for size in shape[-3:])
    return h, w, d


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
    ) -> None:
        super().__init__()
        self.patch = patch
        self.grid = grid
        # Axes of [B, C, h, P, w, P, d, P] in the order [B, h, w, d, <voxels of a patch>].
        self.order = (0, 2, 4, 6, 3, 5, 7, 1) if projection == "linear" else (0, 2, 4, 6, 1, 3, 5, 7)
        self.projection = nn.Linear(patch**3 * in_channels, width)
        self.position = nn.Parameter(torch.empty(grid[0] * grid[1] * grid[2], width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W, D], sizes multiples of the patch P -> tokens [B, HWD/P^3, K], D running fastest."""
        b, c, *shape = x.shape
        h, w, d = patch_grid(tuple(shape), self.patch)
        p = self.patch
        patches = x.reshape(b, c, h, p, w, p, d, p).permute(self.order).reshape(b, h * w * d, -1)
        tokens = self.projection(patches)
        out: Tensor = self.dropout(tokens + self.position_for((h, w, d)))
        return out

    def position_for(self, grid: Grid) -> Tensor:
        """Positional embeddings [N, K] of another patch grid, trilinear between the learned ones (outer edges kept)."""
        if grid == self.grid:
            return self.position
        learned = self.position.reshape(1, *self.grid, -1).permute(0, 4, 1, 2, 3)
        return F.interpolate(learned, size=grid, mode="trilinear", align_corners=False).flatten(2)[0].T

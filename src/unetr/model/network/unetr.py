"""UNETR: voxels -> tokens -> tapped hidden states -> logits (Hatamizadeh et al., WACV 2022, arXiv:2103.10504).

Knows how the three parts meet and how inputs of any size fit the patch grid. The parts are handed in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetr.core.plan.network import patch_grid
from unetr.model.network.encoder import Encoder
from unetr.model.network.patch_embedding import PatchEmbedding
from unetr.model.network.stem import Stem


class UNETR(nn.Module):
    """embedding: voxels to tokens. encoder: tokens to tapped tokens. decoder: details and tapped features to logits.

    Details are what is finer than a token: the levels of the stem where there is one, the input itself otherwise.
    """

    def __init__(self, embedding: PatchEmbedding, encoder: Encoder, decoder: nn.Module, stem: Stem | None) -> None:
        super().__init__()
        self.stem = stem
        self.embedding = embedding
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W, D], any size -> logits [B, J, H, W, D].

        Sizes that are no multiple of the patch are padded with zeros at the far end and the logits cropped back.
        """
        shape = x.shape[2:]
        patch = self.embedding.patch
        grid = patch_grid(tuple(shape), patch)
        missing = [n * patch - size for n, size in zip(grid, shape, strict=True)]
        if any(missing):
            x = F.pad(x, (0, missing[2], 0, missing[1], 0, missing[0]))
        # Channels innermost, as the tokens are already: convolutions are faster so, on CPUs above all. A clone, since
        # for one channel both layouts are the same bytes and only fresh strides say which one is meant.
        innermost = x.clone(memory_format=torch.channels_last_3d)
        details = [innermost] if self.stem is None else self.stem(innermost)
        tapped = self.encoder(self.embedding(x, details[-1]))
        features = [tokens.transpose(1, 2).unflatten(2, grid) for tokens in tapped]
        logits: Tensor = self.decoder(details, features)
        return logits[:, :, : shape[0], : shape[1], : shape[2]] if any(missing) else logits

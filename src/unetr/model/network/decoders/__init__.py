"""What turns the encoder's tapped features into logits. To add a decoder: one module, one line in DECODERS."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.decoders.mla import multi_level_aggregation
from unetr.model.network.decoders.nup import naive_upsampling
from unetr.model.network.decoders.pup import progressive_upsampling
from unetr.model.network.decoders.stem import stem_decoder
from unetr.model.network.decoders.unetr import unetr_decoder

# (network, in_channels, outputs J) -> module whose forward takes the details, which are the input [B, C, H, W, D] or
# the stem's levels, finest first, and the tapped features [B, K, H/P, W/P, D/P], shallowest first; both are lists. It
# returns logits [B, J, H, W, D].
Builder = Callable[[NetworkPlan, int, int], nn.Module]

DECODERS: dict[str, Builder] = {
    "unetr": unetr_decoder,
    "nup": naive_upsampling,
    "pup": progressive_upsampling,
    "mla": multi_level_aggregation,
    "stem": stem_decoder,
}

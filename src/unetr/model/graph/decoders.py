"""The decoders of `model/network/decoders`, in primitive operations. A new one is a function and a line below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from unetr.model.graph.builder import Builder, Node

# (builder, details: the input [B, C, H, W, D] or the stem's levels, tapped features, C, J) -> logits [B, J, H, W, D]
DecoderGraph = Callable[[Builder, list[Node], list[Node], int, int], Node]


# Below so many voxels across, the 4x4x4 deconvolution in place of two steps is not quicker in the runtimes.
_COMPOSED_FROM = 24


def _unetr(b: Builder, details: list[Node], taps: list[Node], in_channels: int, outputs: int) -> Node:
    network = b.network
    channels = network.level_channels
    levels = len(channels)
    skips = [b.conv_block(details[0], "decoder.input_path", in_channels, channels[0])]
    for level in range(1, levels):
        name, size = f"decoder.tap_paths.{level - 1}", channels[level]
        skip = b.deconvolution(taps[level - 1], f"{name}.first", network.width, size)
        for step in range(levels - level - 1):
            up, block = f"{name}.steps.{step}.0", f"{name}.steps.{step}.1"
            if network.tap_convolutions and b.across >> (levels - 2 - step) >= _COMPOSED_FROM:
                skip = b.doubled_conv_block(skip, None, up, block, (size, size))
                continue
            skip = b.deconvolution(skip, up, size, size)
            if network.tap_convolutions:
                skip = b.conv_block(skip, block, size, size)
        skips.append(skip)
    return _fused(b, skips, taps[-1], outputs)


def _stem(b: Builder, details: list[Node], taps: list[Node], in_channels: int, outputs: int) -> Node:
    used = b.network.stem_skips
    skips = [detail if used is None or level < used else None for level, detail in enumerate(details)]
    return _fused(b, skips, taps[-1], outputs)


def stem_graph(b: Builder, x: Node, in_channels: int) -> list[Node]:
    """`model.network.stem.Stem`: x [B, C, H, W, D] -> its levels, finest first."""
    details: list[Node] = []
    channels = in_channels
    for level, size in enumerate(b.network.level_channels):
        x = b.conv_block(x, f"stem.levels.{level}", channels, size, stride=2 if level else 1)
        details.append(x)
        channels = size
    return details


def _fused(b: Builder, skips: Sequence[Node | None], deep: Node, outputs: int) -> Node:
    """`decoders.fusion`, then the head. skips: finest first, None where none joins; deep: at the patch grid."""
    deeper, feature_size = b.network.width, b.network.feature_size
    for index, level in enumerate(reversed(range(len(skips)))):
        name, size, skip = f"decoder.fusions.{index}", feature_size * 2**level, skips[level]
        if b.across >> level >= _COMPOSED_FROM:
            deep = b.doubled_conv_block(deep, skip, f"{name}.up", f"{name}.fuse", (deeper, size))
        else:
            up = b.deconvolution(deep, f"{name}.up", deeper, size)
            joined = up if skip is None else b.ops.concat([up, skip])
            deep = b.conv_block(joined, f"{name}.fuse", size if skip is None else 2 * size, size)
        deeper = size
    return b.head(deep, "decoder.head", feature_size, outputs)


def _nup(b: Builder, details: list[Node], taps: list[Node], in_channels: int, outputs: int) -> Node:
    channels = b.network.feature_size * b.network.patch
    hidden = b.conv_norm_act(taps[-1], "decoder.hidden", b.network.width, channels, 1)
    return b.ops.upsample(b.head(hidden, "decoder.head", channels, outputs), b.network.patch)


def _pup(b: Builder, details: list[Node], taps: list[Node], in_channels: int, outputs: int) -> Node:
    channels = [b.network.width, *reversed(b.network.level_channels)]
    out = taps[-1]
    for step, (before, after) in enumerate(pairwise(channels)):
        out = b.conv_norm_act(out, f"decoder.steps.{step}", before, after, 3)
        out = b.ops.upsample(out, 2)
    return b.head(out, "decoder.head", channels[-1], outputs)


def _mla(b: Builder, details: list[Node], taps: list[Node], in_channels: int, outputs: int) -> Node:
    channels = b.network.feature_size * b.network.patch
    first = 2 ** (b.network.patch.bit_length() // 2)
    streams: list[Node] = []
    deeper: Node | None = None
    for index in reversed(range(len(taps))):
        reduced = b.conv_norm_act(taps[index], f"decoder.reduces.{index}", b.network.width, channels, 1)
        deeper = reduced if deeper is None else b.ops.add(reduced, deeper)
        refined = b.conv_norm_act(deeper, f"decoder.refines.{index}.0", channels, channels, 3)
        refined = b.conv_norm_act(refined, f"decoder.refines.{index}.1", channels, channels // 2, 3)
        streams.append(b.ops.upsample(refined, first))
    joined = b.head(b.ops.concat(streams), "decoder.head", channels // 2 * len(taps), outputs)
    return b.ops.upsample(joined, b.network.patch // first)


DECODER_GRAPHS: dict[str, DecoderGraph] = {"unetr": _unetr, "nup": _nup, "pup": _pup, "mla": _mla, "stem": _stem}

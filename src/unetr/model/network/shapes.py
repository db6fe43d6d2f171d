"""The weights a plan's network has: names and shapes, in closed form. Needs no torch and makes nothing.

So the weights of a file are compared with its plan before a network of that size is built. That these are torch's names
and shapes is tested for every decoder and option.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

from unetr.core.plan.network import NetworkPlan, patch_grid
from unetr.core.plan.schema import Plan

Shapes = dict[str, tuple[int, ...]]
# A buffer of torch's batch norm, the only one that holds integers.
COUNTER = ".num_batches_tracked"
_SHOWN = 5


def network_problem(network: NetworkPlan) -> str:
    """Why there cannot be such a network of ours; empty where there can."""
    levels = network.patch.bit_length() - 1
    if network.decoder not in DECODER_SHAPES:
        return f"network.decoder: {network.decoder!r} is unknown; choose one of {', '.join(DECODER_SHAPES)}"
    if network.patch < 2 or network.patch != 1 << levels:
        return f"network.patch: {network.patch} is not a power of two; the decoders double the size step by step"
    if network.taps[-1] != network.depth:
        return (
            f"network.taps: the last tap {network.taps[-1]} must be the last block (depth {network.depth}); "
            "blocks after it would never be used"
        )
    if network.decoder == "unetr" and len(network.taps) != levels:
        return (
            f"network.taps: decoder unetr with patch {network.patch} needs {levels} taps, one per halving, "
            f"the plan has {len(network.taps)}: {list(network.taps)}"
        )
    return ""


def fit_problem(plan: Plan, found: Mapping[str, tuple[int, ...]]) -> str:
    """Why weights of these shapes are not those of the plan's network; empty where they are."""
    problem = network_problem(plan.network)
    if problem:
        return problem
    problems = shape_problems(weight_shapes(plan), found)
    return f"the weights do not fit the plan's network: {'; '.join(problems)}" if problems else ""


def weight_shapes(plan: Plan) -> Shapes:
    """Name -> shape of every weight and buffer of the plan's network, which is none of another project."""
    network, channels = plan.network, plan.in_channels
    tokens = math.prod(patch_grid(plan.window, network.patch))
    shapes: Shapes = {}
    if network.has_stem:
        shapes |= _stem(network, channels)
    shapes |= _embedding(network, channels, tokens)
    for number in range(network.depth):
        shapes |= _block(network, f"encoder.blocks.{number}")
    if network.final_norm:
        shapes |= _pair("encoder.norm", network.width)
    return shapes | dict(DECODER_SHAPES[network.decoder](network, channels, plan.outputs))


def shape_problems(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Every kind of difference between the weights a network has and those that were found, one text each."""
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    other = [name for name in sorted(expected.keys() & found.keys()) if found[name] != expected[name]]
    problems = [f"missing {_some(missing)}"] if missing else []
    problems += [f"unexpected {_some(unexpected)}"] if unexpected else []
    problems += [f"{name} is {found[name]}, not {expected[name]}" for name in other[:_SHOWN]]
    return problems + ([f"and {len(other) - _SHOWN} more shapes"] if len(other) > _SHOWN else [])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:100] for name in names[:_SHOWN]) + more


def _pair(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _embedding(network: NetworkPlan, channels: int, tokens: int) -> Shapes:
    name, width = "embedding", network.width
    shapes: Shapes = {
        f"{name}.position": (tokens, width),
        f"{name}.projection.weight": (width, network.patch**3 * channels),
        f"{name}.projection.bias": (width,),
    }
    if network.has_stem:
        shapes[f"{name}.stem_projection.weight"] = (width, 8 * network.level_channels[-1])
    return shapes


def _block(network: NetworkPlan, name: str) -> Shapes:
    width, hidden = network.width, network.mlp_width
    shapes = _pair(f"{name}.attention_norm", width) | _pair(f"{name}.mlp_norm", width)
    shapes |= {f"{name}.attention.qkv.weight": (3 * width, width)}
    shapes |= {f"{name}.attention.qkv.bias": (3 * width,)} if network.qkv_bias else {}
    for layer, outputs, inputs in (
        ("attention.output", width, width),
        ("mlp_hidden", hidden, width),
        ("mlp_output", width, hidden),
    ):
        shapes |= {f"{name}.{layer}.weight": (outputs, inputs), f"{name}.{layer}.bias": (outputs,)}
    if network.layer_scale:
        shapes |= {f"{name}.attention_scale.weight": (width,), f"{name}.mlp_scale.weight": (width,)}
    return shapes


def _norm(network: NetworkPlan, name: str, size: int) -> Shapes:
    if network.norm == "instance":
        return {}
    shapes = _pair(name, size)
    if network.norm == "batch":
        shapes |= {f"{name}.running_mean": (size,), f"{name}.running_var": (size,), f"{name}{COUNTER}": ()}
    return shapes


def _kernel(outputs: int, inputs: int, size: int) -> tuple[int, ...]:
    return (outputs, inputs, size, size, size)


def _conv_block(network: NetworkPlan, name: str, inputs: int, outputs: int, stride: int = 1) -> Shapes:
    """Two convolutions, and a shortcut beside them where the sum needs one."""
    shapes: Shapes = {f"{name}.conv_1.weight": _kernel(outputs, inputs, 3)}
    shapes |= _norm(network, f"{name}.norm_1", outputs)
    shapes |= {f"{name}.conv_2.weight": _kernel(outputs, outputs, 3)}
    shapes |= _norm(network, f"{name}.norm_2", outputs)
    if network.residual and (inputs != outputs or stride != 1):
        shapes |= {f"{name}.shortcut.0.weight": _kernel(outputs, inputs, stride)}
        shapes |= _norm(network, f"{name}.shortcut.1", outputs)
    return shapes


def _conv_norm(network: NetworkPlan, name: str, inputs: int, outputs: int, size: int) -> Shapes:
    return {f"{name}.0.weight": _kernel(outputs, inputs, size)} | _norm(network, f"{name}.1", outputs)


def _head(inputs: int, outputs: int) -> Shapes:
    return {"decoder.head.weight": _kernel(outputs, inputs, 1), "decoder.head.bias": (outputs,)}


def _stem(network: NetworkPlan, channels: int) -> Shapes:
    shapes: Shapes = {}
    for level, outputs in enumerate(network.level_channels):
        shapes |= _conv_block(network, f"stem.levels.{level}", channels, outputs, stride=2 if level else 1)
        channels = outputs
    return shapes


def _fusions(network: NetworkPlan, skips: int | None) -> Shapes:
    """Deep to shallow; at the finest `skips` levels a skip joins, at all where it is None."""
    levels, shapes = network.level_channels, Shapes()
    deeper = network.width
    for index, level in enumerate(reversed(range(len(levels)))):
        name, outputs = f"decoder.fusions.{index}", levels[level]
        joined = outputs * (2 if skips is None or level < skips else 1)
        shapes |= {f"{name}.up.weight": _kernel(deeper, outputs, 2)}
        shapes |= _conv_block(network, f"{name}.fuse", joined, outputs)
        deeper = outputs
    return shapes


def _unetr(network: NetworkPlan, channels: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    levels = network.level_channels
    yield from _conv_block(network, "decoder.input_path", channels, levels[0]).items()
    for level in range(1, len(levels)):
        name, size = f"decoder.tap_paths.{level - 1}", levels[level]
        yield f"{name}.first.weight", _kernel(network.width, size, 2)
        for step in range(len(levels) - level - 1):
            yield f"{name}.steps.{step}.0.weight", _kernel(size, size, 2)
            if network.tap_convolutions:
                yield from _conv_block(network, f"{name}.steps.{step}.1", size, size).items()
    yield from (_fusions(network, None) | _head(levels[0], outputs)).items()


def _stem_decoder(network: NetworkPlan, channels: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from (_fusions(network, network.stem_skips) | _head(network.feature_size, outputs)).items()


def _nup(network: NetworkPlan, channels: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden = network.feature_size * network.patch
    yield from (_conv_norm(network, "decoder.hidden", network.width, hidden, 1) | _head(hidden, outputs)).items()


def _pup(network: NetworkPlan, channels: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    sizes = [network.width, *reversed(network.level_channels)]
    for step, (before, after) in enumerate(pairwise(sizes)):
        yield from _conv_norm(network, f"decoder.steps.{step}", before, after, 3).items()
    yield from _head(sizes[-1], outputs).items()


def _mla(network: NetworkPlan, channels: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    size = network.feature_size * network.patch
    for index in range(len(network.taps)):
        yield from _conv_norm(network, f"decoder.reduces.{index}", network.width, size, 1).items()
        yield from _conv_norm(network, f"decoder.refines.{index}.0", size, size, 3).items()
        yield from _conv_norm(network, f"decoder.refines.{index}.1", size, size // 2, 3).items()
    yield from _head(size // 2 * len(network.taps), outputs).items()


DECODER_SHAPES = {"unetr": _unetr, "nup": _nup, "pup": _pup, "mla": _mla, "stem": _stem_decoder}

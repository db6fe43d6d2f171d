"""Weights of other projects -> model file. Knows their parameter names; reads the network's shape off the weights.

What weights cannot tell comes from the plan: heads, labels, channels, window, spacing, orientation and intensities.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unetr.core.plan.schema import NetworkPlan, Plan
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.model.file.model_file import ModelFile
from unetr.model.network.shapes import shape_problems, weight_shapes

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")

# MONAI's name -> ours. The first group of rules gives the place, the second the layer within a convolution block.
_MONAI_PLACES = (
    (r"^vit\.patch_embedding\.position_embeddings$", "embedding.position"),
    (r"^vit\.patch_embedding\.patch_embeddings(\.1)?\.", "embedding.projection."),
    (r"^vit\.blocks\.(\d+)\.norm1\.", r"encoder.blocks.\1.attention_norm."),
    (r"^vit\.blocks\.(\d+)\.attn\.qkv\.", r"encoder.blocks.\1.attention.qkv."),
    (r"^vit\.blocks\.(\d+)\.attn\.out_proj\.", r"encoder.blocks.\1.attention.output."),
    (r"^vit\.blocks\.(\d+)\.norm2\.", r"encoder.blocks.\1.mlp_norm."),
    (r"^vit\.blocks\.(\d+)\.mlp\.linear1\.", r"encoder.blocks.\1.mlp_hidden."),
    (r"^vit\.blocks\.(\d+)\.mlp\.linear2\.", r"encoder.blocks.\1.mlp_output."),
    (r"^vit\.norm\.", "encoder.norm."),
    (r"^encoder1\.layer\.", "decoder.input_path."),
    *((rf"^encoder{i + 2}\.transp_conv_init\.conv\.", f"decoder.tap_paths.{i}.first.") for i in range(3)),
    *((rf"^encoder{i + 2}\.blocks\.(\d+)\.(0\.)?conv\.", rf"decoder.tap_paths.{i}.steps.\1.0.") for i in range(3)),
    *((rf"^encoder{i + 2}\.blocks\.(\d+)\.1\.", rf"decoder.tap_paths.{i}.steps.\1.1.") for i in range(3)),
    *((rf"^decoder{5 - i}\.transp_conv\.conv\.", f"decoder.fusions.{i}.up.") for i in range(4)),
    *((rf"^decoder{5 - i}\.conv_block\.", f"decoder.fusions.{i}.fuse.") for i in range(4)),
    (r"^out\.conv\.conv\.", "decoder.head."),
)
_MONAI_LAYERS = (
    (r"\.conv([12])\.conv\.", r".conv_\1."),
    (r"\.norm([12])\.", r".norm_\1."),
    (r"\.conv3\.conv\.", ".shortcut.0."),
    (r"\.norm3\.", ".shortcut.1."),
)
# MONAI makes these parameters and never uses them in UNETR.
_MONAI_UNUSED = (
    r"^vit\.blocks\.\d+\.norm_cross_attn\.",
    r"^vit\.blocks\.\d+\.cross_attn\.",
    r"^vit\.patch_embedding\.cls_token$",
)
_LINEAR_PROJECTION = "vit.patch_embedding.patch_embeddings.1.weight"
_CONV_PROJECTION = "vit.patch_embedding.patch_embeddings.weight"
_POSITIONS = "vit.patch_embedding.position_embeddings"
_INPUT = "encoder1.layer.conv1.conv.weight"
_OUTPUT = "out.conv.conv.weight"
_MONAI_READ = {_POSITIONS: 3, _INPUT: 5, _OUTPUT: 5, "vit.blocks.0.mlp.linear1.weight": 2}  # name -> number of axes
_MONAI_TAPS = (4, 7, 10, 12)  # hidden states 3, 6, 9 counted from 0, and the final LayerNorm's output


def convert_monai(checkpoint: Path, plan: Plan) -> ModelFile:
    """Weights of `monai.networks.nets.UNETR` (.pt/.pth, read with weights_only, or .safetensors) as a model file.

    The result's plan is `plan` with the network's shape replaced by what the weights say: all but heads and dropout,
    which leave no trace in them. Nor does the order of the window's axes: only its number of patches can be checked.
    Parameters that MONAI never uses are dropped and counted in `metrics`.
    Raises InputError naming every weight that is missing, unknown or of another shape, and for channels, labels or a
    window that contradict the weights.
    """
    source = read_weights(checkpoint)
    used = {name: tensor for name, tensor in source.items() if not _matches(name, _MONAI_UNUSED)}
    network = _monai_shape(used, plan.network, checkpoint)
    _check_plan(used, network, plan, checkpoint)
    weights = {_rename(name): tensor for name, tensor in used.items()}
    weights["embedding.position"] = weights["embedding.position"][0]
    weights["embedding.projection.weight"] = weights["embedding.projection.weight"].flatten(1)
    plan = plan.model_copy(update={"network": network})
    problems = shape_problems(weight_shapes(plan), {name: tuple(tensor.shape) for name, tensor in weights.items()})
    if problems:
        raise InputError(f"{checkpoint}: is not a MONAI UNETR that this program knows: {'; '.join(problems)}")
    bad = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise InputError(f"{checkpoint}: weights that are not finite: {', '.join(bad)}")
    dropped = Counter(re.sub(r"\.\d+\.", ".*.", name) for name in source if name not in used)
    return ModelFile(
        plan=plan,
        fingerprint=None,
        metrics={"converted_from": f"MONAI UNETR, {checkpoint.name}", "unused_weights_dropped": dict(dropped)},
        licence="",
        weights={name: tensor.contiguous().numpy() for name, tensor in weights.items()},
        source=str(checkpoint),
    )


CONVERTERS: dict[str, Callable[[Path, Plan], ModelFile]] = {"monai": convert_monai}


@reads_untrusted("weights of a network")
def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors or from a pickle of tensors only; floating point becomes float32.

    Looks inside the usual wrappers ({"state_dict": ...}, "model", "net") and takes off prefixes that all names share
    ("module."). Raises InputError; nothing but tensors and plain containers is ever unpickled.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights (.pt, .pth or .safetensors)")
    try:
        if path.suffix == ".safetensors":
            data: Any = load_file(path)
        else:  # only the zip layout, which torch writes since 1.6, can be mapped instead of read
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except SafetensorError as error:
        raise InputError(f"{path}: is not a safetensors file or is cut off: {error}") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than weights, or is no PyTorch file; "
            "save only the state dict: torch.save(model.state_dict(), ...)"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path}: is not a PyTorch file or is cut off: {str(error)[:120]}") from None
    while isinstance(data, dict) and (inner := [data[key] for key in _WRAPPERS if isinstance(data.get(key), dict)]):
        data = inner[0]
    if not isinstance(data, dict) or not data or not all(isinstance(value, Tensor) for value in data.values()):
        raise InputError(f"{path}: holds no state dict (parameter names -> tensors)")
    weights = {str(name): value.float() if value.is_floating_point() else value for name, value in data.items()}
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(re.match(pattern, name) for pattern in patterns)


def _rename(name: str) -> str:
    """Our name of a MONAI weight; one that no rule knows keeps its name and is listed as unexpected."""
    for rules in (_MONAI_PLACES, _MONAI_LAYERS):
        for pattern, ours in rules:
            name, found = re.subn(pattern, ours, name, count=1)
            if found:
                break
    return name


def _monai_shape(weights: dict[str, Tensor], network: NetworkPlan, source: Path) -> NetworkPlan:
    """The network's shape, from the shapes and the presence of weights."""
    linear = _LINEAR_PROJECTION in weights
    projection_name = _LINEAR_PROJECTION if linear else _CONV_PROJECTION
    for name, axes in {**_MONAI_READ, projection_name: 2 if linear else 5}.items():
        if name not in weights or weights[name].ndim != axes:
            raise InputError(
                f"{source}: has no weight {name} with {axes} axes; expected the state dict of a MONAI UNETR"
            )
    projection = weights[projection_name]
    feature_size, in_channels = weights[_INPUT].shape[:2]
    voxels = projection[0].numel() / in_channels
    blocks = {name.split(".")[2] for name in weights if name.startswith("vit.blocks.")}
    if voxels != 16**3 or len(blocks) != _MONAI_TAPS[-1]:
        found = f"patches of {voxels:g} voxels and {len(blocks)} blocks"
        raise InputError(f"{source}: has {found}; MONAI's UNETR has 16x16x16 = 4096 and 12")
    shape = {
        "preset": "monai",
        "decoder": "unetr",
        "patch": 16,
        "width": projection.shape[0],
        "depth": len(blocks),
        "mlp_width": weights["vit.blocks.0.mlp.linear1.weight"].shape[0],
        "taps": _MONAI_TAPS,
        "final_norm": True,
        "feature_size": feature_size,
        "norm": "batch" if "decoder2.conv_block.norm1.running_mean" in weights else "instance",
        "residual": "decoder2.conv_block.conv3.conv.weight" in weights,
        "tap_convolutions": "encoder2.blocks.0.0.conv.weight" in weights,
        "projection": "linear" if linear else "conv",
        "qkv_bias": "vit.blocks.0.attn.qkv.bias" in weights,
    }
    try:
        return NetworkPlan.model_validate(network.model_dump() | shape)
    except ValidationError as error:
        raise InputError(f"{source}: with the plan's network.heads: {error.errors()[0]['msg']}") from None


def _check_plan(weights: dict[str, Tensor], network: NetworkPlan, plan: Plan, source: Path) -> None:
    """What the plan says about input and output must be what the weights were made for."""
    pairs = {
        "channels": (weights[_INPUT].shape[1], plan.in_channels),
        "regions" if plan.regions else "labels": (weights[_OUTPUT].shape[0], plan.outputs),
    }
    for what, (found, planned) in pairs.items():
        if found != planned:
            raise InputError(f"{source}: the weights are for {found} {what}, the plan has {planned}; edit the plan")
    tokens = weights[_POSITIONS].shape[1]
    planned = math.prod(size // network.patch for size in plan.window)
    if any(size % network.patch for size in plan.window) or tokens != planned:
        raise InputError(
            f"{source}: the weights have positions for {tokens} patches of {network.patch}^3 voxels, "
            f"the plan's window {'x'.join(map(str, plan.window))} has {planned}; "
            "set the plan's window to the img_size that the network was trained with"
        )

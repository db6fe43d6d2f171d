"""The plan that `unetr plan --template` prints: every field of the schema with its default and a comment."""

from __future__ import annotations

import json
from typing import Any

import yaml

from unetr.core.plan.schema import ChannelPlan, Plan

_HEAD = """\
# A plan says how a scan becomes the network's input and how its output becomes a label file.
# Keys marked "required" must be filled in; the others may be left out and then have the value shown here.
# Unknown keys are errors.
"""
_COMMENT_COLUMN = 44

# Path of a key -> what a person needs to know to fill it in. Keys whose name says it all have none.
COMMENTS: dict[str, str] = {
    "dataset": "required: a name",
    "channels": "required: one entry per input channel, in order",
    "channels.normalisation": "zscore (per scan), ct (clip, mean, std), range (low..high to 0..1) or none",
    "channels.low": "clip below; for ct and range",
    "channels.high": "clip above; for ct and range",
    "channels.mean": "for ct",
    "channels.std": "for ct",
    "channels.clip_percentiles": "of the scan's own values, for zscore",
    "channels.most_deviations": "for zscore: what is clipped spans at most so many",
    "labels": "required: name: value in the label files",
    "regions": "overlapping targets: [{name: whole, labels: [1, 2], written_as: 1}]",
    "ignore_label": "a value that the loss leaves out",
    "orientation": "the directions in which the voxel axes run",
    "transform": "sform or qform: which affine of a NIfTI counts where the two disagree",
    "crop": "content (leave out the border of zeros) or none",
    "spacing_mm": "required: along the axes of `orientation`",
    "window": "required: voxels that the network sees at once",
    "network.preset": "a name for people; the fields below are what counts",
    "network.taps": "blocks that feed the decoder, from 1; MONAI: [4, 7, 10, 12]",
    "network.final_norm": "a LayerNorm after the last block; MONAI: true",
    "network.norm": "instance, instance_affine or batch",
    "network.projection": "linear or conv",
    "training.batch_size": "windows per step",
    "training.optimiser": "adamw, or muon for kernels and adamw for the rest",
    "training.ema_decay": "running average of the weights; 0 switches it off",
    "training.foreground_fraction": "share of the windows centred on a labelled voxel",
    "training.precision": "auto (bf16 where the device is fast in it), fp32 or bf16",
    "training.loss.squared": "squared terms in the denominator of the dice",
    "training.loss.class_weights": "one number per output",
    "training.augment.mirror_axes": "axes 0, 1, 2 along which a mirrored scan keeps its labels",
    "training.augment.quarter_turn_probability": "of 90, 180 or 270 degrees about axis 2",
    "inference.overlap": "of neighbouring windows",
    "inference.blending": "gaussian or constant",
    "inference.mirror_axes": "for test-time augmentation",
    "postprocess": "{organ: {largest_component: true, minimum_volume_ml: 0.5}}",
    "pretraining": "only where background is the only label, for unetr pretrain",
    "reasons": "notes on choices, for people",
}


def template_plan() -> str:
    """YAML text that `read_plan` accepts as it is; the numbers of the required keys are examples for a CT model."""
    example = Plan(
        dataset="my-dataset",
        channels=(ChannelPlan(name="CT", normalisation="range", low=-175.0, high=250.0),),
        labels={"background": 0, "organ": 1},
        spacing_mm=(1.5, 1.5, 2.0),
        window=(96, 96, 96),
    )
    return _HEAD + "\n".join(_lines(json.loads(example.model_dump_json()), (), "")) + "\n"


def _lines(section: dict[str, Any], path: tuple[str, ...], indent: str) -> list[str]:
    """A mapping as YAML lines with comments, sections indented under their key, lists of numbers on one line."""
    lines = []
    for key, value in section.items():
        here = (*path, key)
        comment = COMMENTS.get(".".join(here), "")
        if isinstance(value, dict) and value:
            lines += [_commented(f"{indent}{key}:", comment), *_lines(value, here, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(_commented(f"{indent}{key}:", comment))
            for item in value:
                first, *rest = _lines(item, here, indent + "    ")
                lines += [f"{indent}  - {first.lstrip()}", *rest]
        else:
            lines.append(_commented(f"{indent}{key}: {_scalar(value)}", comment))
    return lines


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _commented(line: str, comment: str) -> str:
    return f"{line:<{_COMMENT_COLUMN}}# {comment}" if comment else line

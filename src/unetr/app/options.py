"""Options that several commands share, and what is made of the values that a person gives them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.errors import InputError
from unetr.prepare.planning.names import AUTO, PRESET_NAMES

if TYPE_CHECKING:
    from unetr.core.space.frames import Transform

DatasetPath = Annotated[
    Path,
    typer.Argument(
        help="A dataset: Decathlon, nnU-Net or BTCV folder, a folder with images/ and labels/, or a CSV of paths.",
        show_default=False,
    ),
]
ModelPath = Annotated[Path, typer.Argument(help="A model file (.safetensors).", show_default=False)]
Sharded = Annotated[bool, typer.Option("--sharded", help="Under torchrun: spread weights over the processes (FSDP).")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that unetr did not write, or that were edited since.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Engine = Annotated[str, typer.Option(help="What runs the network: auto, openvino, torch or onnx.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16; auto is bf16 where the device has it in hardware.")]

TransformName = Annotated[
    str | None,
    typer.Option("--transform", help="sform or qform: which affine of a NIfTI counts where the two disagree."),
]
ReadingLimit = Annotated[
    str | None,
    typer.Option("--memory-limit", help="Of the whole process, such as 4GB; refuse files whose reading takes more."),
]

DEFAULT_MINUTES = 60.0


def finite(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """Callback of options whose bounds alone would let NaN and infinity through. Raises InputError."""
    if value is not None and not math.isfinite(value):
        raise InputError(
            f"--{str(parameter.name).replace('_', '-')} {value}: is not a number; expected one such as 1.5"
        )
    return value


# Of trainings.
RunFolder = Annotated[Path, typer.Option("-o", "--out", help="The run's folder; an existing run is resumed.")]
Preset = Annotated[str, typer.Option(help=f"{', '.join((AUTO, *PRESET_NAMES[:-1]))} or {PRESET_NAMES[-1]}.")]
Seed = Annotated[int, typer.Option(help="Seed of all that is random: folds, weights, samples, masks.", min=0)]
Minutes = Annotated[float | None, typer.Option(help="Length of each training. Default 60.", min=0.01, callback=finite)]
Steps = Annotated[int | None, typer.Option(help="Length of each training in steps instead.", min=1)]
CheckpointSteps = Annotated[
    int | None, typer.Option(help="Save after every so many steps instead of every 8 minutes.", min=1)
]


def transform_named(name: str | None) -> Transform | None:
    """What --transform says. Raises InputError."""
    known: dict[str | None, Transform | None] = {None: None, "sform": "sform", "qform": "qform"}
    if name in known:
        return known[name]
    raise InputError(f"--transform {name}: is unknown; expected sform or qform")


def bytes_of(memory: str | None) -> int | None:
    """What --memory-limit says. Raises InputError."""
    from unetr.infer.route import parse_memory

    return None if memory is None else parse_memory(memory)


def training_minutes(minutes: float | None, steps: int | None) -> float | None:
    """The budget in minutes: 60 where neither it nor steps are given. Raises InputError where both are."""
    if minutes is not None and steps is not None:
        raise InputError("--minutes and --steps: are both given; expected one of them")
    return DEFAULT_MINUTES if minutes is None and steps is None else minutes

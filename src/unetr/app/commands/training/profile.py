"""unetr profile: what networks cost in parameters, arithmetic and time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from unetr.app.options import Json
from unetr.app.printing import print_json, print_table
from unetr.app.views.progress import OnScreen, progress
from unetr.core.text.numbers import counted
from unetr.errors import InputError
from unetr.prepare.planning.names import PRESET_NAMES


def profile(
    networks: Annotated[
        list[str] | None,
        typer.Argument(help="Presets, the paper's ablations, peers. Default: all presets.", show_default=False),
    ] = None,
    window: Annotated[str, typer.Option(help="Voxels of the window.")] = "96x96x96",
    channels: Annotated[int, typer.Option(help="Image channels.", min=1)] = 1,
    classes: Annotated[int, typer.Option(help="Classes, background included.", min=2)] = 14,
    as_json: Json = False,
) -> None:
    """Measure parameters, FLOPs and the time of a forward pass. With fresh weights, in torch on this CPU, in float32.

    A multiplication and an addition count as two FLOPs.

    Example: unetr profile paper nnunet-plain --window 96x96x96
    """
    from unetr.jobs.models.profile import ProfileRequest, profile_networks

    size = _window(window)
    names = tuple(networks or PRESET_NAMES)
    request = ProfileRequest(networks=names, window=size, channels=channels, classes=classes)
    with progress() as bar:
        found = profile_networks(request, OnScreen(bar))
    if as_json:
        print_json(
            {"window": size, "channels": channels, "classes": classes} | {n: asdict(f) for n, f in found.items()}
        )
        return
    rows = [
        (
            name,
            f"{facts.parameters / 1e6:.2f}",
            f"{facts.flops / 1e9:.2f}",
            "-" if facts.transformer_flops is None else f"{facts.transformer_flops / 1e9:.2f}",
            f"{facts.latency_s:.3f}",
        )
        for name, facts in found.items()
    ]
    header = ("network", "parameters M", "GFLOP/window", "of it transformer", "s/window")
    sizes = f"{counted(channels, 'channel')} in, {classes} classes out"
    print_table(f"one window of {window} voxels, {sizes}, in torch on this CPU in float32", header, rows)


def _window(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) <= 1024 for part in parts):
        raise InputError(f"--window {text}: is not understood; expected three sizes such as 96x96x96")
    x, y, z = (int(part) for part in parts)
    return x, y, z

"""unetr profile: what networks cost in parameters, arithmetic and time."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import Json
from unetr.app.printing import print_json, print_table
from unetr.app.progress import progress
from unetr.errors import InputError
from unetr.prepare.planning.names import PRESET_NAMES

if TYPE_CHECKING:
    from unetr.core.plan.schema import NetworkPlan


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
    from unetr.model.profile import profile_network
    from unetr.prepare.planning.presets import network_named

    size = _window(window)
    chosen = {name: network_named(name) for name in networks or PRESET_NAMES}
    for name, network in chosen.items():
        _check_sizes(f"network {name}", network, size, channels, classes)
    found = {}
    with progress() as bar:
        task = bar.add_task("measuring", total=len(chosen), note="")
        for name, network in chosen.items():
            bar.update(task, note=name)
            try:
                found[name] = profile_network(network, channels, classes, size)
            except ValueError as error:
                raise InputError(f"network {name} with a window of {window}: {error}") from None
            bar.advance(task)
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
    header = ("network", "parameters, M", "GFLOP", "in the transformer", "seconds (torch, fp32)")
    print_table(f"one window of {window}, {channels} in, {classes} out", header, rows)


def _window(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) <= 1024 for part in parts):
        raise InputError(f"--window {text}: is not understood; expected three sizes such as 96x96x96")
    x, y, z = (int(part) for part in parts)
    return x, y, z


def _check_sizes(source: str, network: NetworkPlan, size: tuple[int, int, int], channels: int, classes: int) -> None:
    """Raises InputError for sizes that no plan may have, before a network of them is made."""
    from unetr.core.plan.bounds import MOST_CHANNELS, MOST_LABELS
    from unetr.core.plan.file import parse_plan

    plan = {
        "dataset": source,
        "channels": [{"name": str(number)} for number in range(min(channels, MOST_CHANNELS + 1))],
        "labels": {str(value): value for value in range(min(classes, MOST_LABELS + 1))},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": size,
        "network": network,
        "training": {"batch_size": 1},
    }
    parse_plan(plan, source)

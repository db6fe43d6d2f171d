"""What networks cost in parameters, arithmetic and time, each measured with fresh weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unetr.core.observer import Observer, stop_if_asked
from unetr.core.plan.bounds import MOST_CHANNELS, MOST_LABELS
from unetr.core.plan.file import parse_plan
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.core.plan.schema import NetworkPlan
    from unetr.model.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """networks: presets, the paper's ablations, peers. channels: of the image. classes: background included."""

    networks: tuple[str, ...]
    window: tuple[int, int, int]
    channels: int = 1
    classes: int = 14


def profile_networks(request: ProfileRequest, observer: Observer) -> dict[str, Profile]:
    """Name -> cost, in torch on this CPU in float32. Raises InputError, MachineError, StoppedError."""
    from unetr.model.profile import profile_network
    from unetr.prepare.planning.presets import network_named

    chosen = {name: network_named(name) for name in request.networks}
    for name, network in chosen.items():
        _check_sizes(name, network, request)
    found: dict[str, Profile] = {}
    for name, network in chosen.items():
        stop_if_asked(observer, f"measuring {name}")
        observer.on_stage("measuring", len(found), len(chosen))
        try:
            found[name] = profile_network(network, request.channels, request.classes, request.window)
        except ValueError as error:
            size = "x".join(map(str, request.window))
            raise InputError(f"network {name} with a window of {size}: {error}") from None
    observer.on_stage("measuring", len(found), len(chosen))
    return found


def _check_sizes(name: str, network: NetworkPlan, request: ProfileRequest) -> None:
    """Raises InputError for sizes that no plan may have, before a network of them is made."""
    source = f"network {name}"
    plan = {
        "dataset": source,
        "channels": [{"name": str(number)} for number in range(min(request.channels, MOST_CHANNELS + 1))],
        "labels": {str(value): value for value in range(min(request.classes, MOST_LABELS + 1))},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": request.window,
        "network": network,
        "training": {"batch_size": 1},
    }
    parse_plan(plan, source)

"""The closed form of a network's weights against torch's own modules."""

import math
from typing import Any

import pytest

from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.model.network.build import empty_network
from unetr.model.network.shapes import fit_problem, network_problem, weight_shapes
from unetr.prepare.planning.presets import ABLATIONS, PRESETS, network_named

SMALL = {"patch": 8, "width": 8, "depth": 3, "heads": 2, "mlp_width": 16, "taps": (1, 2, 3), "feature_size": 2}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"patch": 2, "taps": (3,)},
    {"patch": 16, "depth": 4, "taps": (1, 2, 3, 4)},
    {"qkv_bias": True, "layer_scale": 0.1, "final_norm": True},
    {"norm": "batch"},
    {"norm": "instance_affine", "residual": False},
    {"tap_convolutions": False, "projection": "conv"},
    {"decoder": "stem"},
    {"decoder": "stem", "patch": 2, "norm": "batch"},
    {"decoder": "stem", "stem_skips": 1, "norm": "instance_affine"},
    {"decoder": "stem", "stem_skips": 2, "residual": False},
    *({"decoder": name, "norm": norm} for name in ("nup", "pup", "mla") for norm in ("batch", "instance")),
]


def plan_with(network: NetworkPlan, window: tuple[int, int, int] = (16, 16, 17)) -> Plan:
    channels = tuple(ChannelPlan(name=f"c{index}") for index in range(3))
    labels = {f"l{value}": value for value in range(5)}
    return Plan(dataset="x", channels=channels, labels=labels, spacing_mm=(1, 1, 1), window=window, network=network)


@pytest.mark.fault("weights against the plan before a network is built")
@pytest.mark.parametrize(
    "network",
    [NetworkPlan(**SMALL | options) for options in OPTIONS] + [network_named(name) for name in (*PRESETS, *ABLATIONS)],
)
def test_the_closed_form_is_the_network(network: NetworkPlan) -> None:
    plan = plan_with(network)
    state = empty_network(network, 3, 5, plan.window).state_dict()
    assert weight_shapes(plan) == {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert fit_problem(plan, weight_shapes(plan)) == ""


@pytest.mark.fault("weights against the plan before a network is built")
def test_other_weights_are_named() -> None:
    plan = plan_with(NetworkPlan(**SMALL))
    shapes = weight_shapes(plan)
    assert math.prod(shapes["embedding.position"]) == 2 * 2 * 3 * 8
    shapes["embedding.position"] = (11, 8)
    shapes["more"] = shapes.pop("decoder.head.bias")
    said = fit_problem(plan, shapes)
    assert "missing decoder.head.bias; unexpected more; embedding.position is (11, 8), not (12, 8)" in said
    many = fit_problem(plan, {f"{'x' * 1000}{index}": () for index in range(10_000)})
    assert "and 9995 more" in many and len(many) < 2000


def test_networks_that_cannot_be() -> None:
    assert "power of two" in network_problem(NetworkPlan(**SMALL | {"patch": 12}))
    assert "choose one of" in network_problem(NetworkPlan(**SMALL | {"decoder": "../x"}))
    assert "last tap" in network_problem(NetworkPlan(**SMALL | {"depth": 4}))
    assert "needs 4 taps" in network_problem(NetworkPlan(**SMALL | {"patch": 16}))

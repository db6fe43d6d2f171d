"""Every number and name of a plan has bounds, checked before anything of that size is made."""

import copy
import time
from typing import Any

import pytest

from unetr.core.plan.file import parse_plan, plan_to_yaml
from unetr.core.plan.schema import NetworkPlan, Plan
from unetr.core.text.reading import parse_yaml
from unetr.errors import InputError
from unetr.prepare.planning.presets import ABLATIONS, PEER_NAMES, PRESETS, network_named

SOUND: dict[str, Any] = {
    "dataset": "balls",
    "channels": [{"name": "CT", "normalisation": "ct", "low": -100.0, "high": 300.0, "mean": 50.0, "std": 40.0}],
    "labels": {"background": 0, "organ": 1, "core": 2},
    "spacing_mm": [1.0, 1.0, 2.5],
    "window": [32, 32, 32],
    "network": {"patch": 8, "width": 16, "depth": 3, "heads": 2, "mlp_width": 32, "taps": [1, 2, 3], "feature_size": 4},
}
HUGE, NAN, INF = 2**70, float("nan"), float("inf")
BAD: dict[str, list[Any]] = {
    "dataset": ["", "x" * 256, "\ud800"],
    "channels": [[], [{"name": "CT"}] * 2, [{"name": "é"}, {"name": "e\u0301"}]],
    "channels.0.name": ["", "x" * 256, "a\ud800"],
    "channels.0.low": [NAN, -INF, "nan", 1e31, 300.0, 299.9999999999, True],
    "channels.0.high": [NAN, INF, -100.0, 1e400],
    "channels.0.mean": [NAN, INF, -1e31],
    "channels.0.std": [NAN, INF, 0.0, -1.0, 1e-31, 1e-6],
    "labels": [
        {},
        {"background": 0},
        {"background": 0, "organ": 65536},
        {"background": 0, "organ": HUGE},
        {"background": 0, "organ": -1},
        {"background": 0, "organ": 1.5},
        {"background": 0, "organ": True},
        {"background": 0, "": 1},
        {"background": 0, "x" * 256: 1},
        {"background": 0, "\ud800": 1},
        {"background": 0, "é": 1, "e\u0301": 2},
        {f"label {value}": value for value in range(1025)},
        {f"label {value}": value for value in range(30_000)},
    ],
    "regions": [
        [{"name": "a", "labels": [1], "written_as": 1}, {"name": "a", "labels": [2], "written_as": 2}],
        [{"name": "a", "labels": [1], "written_as": 1}, {"name": "b", "labels": [2], "written_as": 1}],
        [{"name": "a", "labels": [1, 1], "written_as": 1}],
        [{"name": "a", "labels": [], "written_as": 1}],
        [{"name": "a", "labels": [HUGE], "written_as": 1}],
        [{"name": "a", "labels": [1], "written_as": 65536}],
        [{"name": "a", "labels": [1], "written_as": 0}],
        [{"name": f"r{index}", "labels": [1], "written_as": index + 1} for index in range(65)],
    ],
    "ignore_label": [HUGE, 65536, -(2**15) - 1, 1, NAN],
    "spacing_mm": [[1.0, 1.0, NAN], [1.0, 1.0, INF], [1e-300] * 3, [1e4] * 3, [0.0] * 3, [1.0, 1.0]],
    "window": [[HUGE] * 3, [100_000] * 3, [4096] * 3, [0, 32, 32], [-8, 32, 32], [32, 32]],
    "network.patch": [0, -8, 257, 2**40, NAN],
    "network.width": [0, HUGE, 2**40, 2 * 10**12, 16385, 17],
    "network.depth": [0, 10**9, 300_000, 257],
    "network.heads": [0, 3, 32, HUGE],
    "network.mlp_width": [0, 2**40],
    "network.taps": [[], [0, 3], [3, 2], [1, 1, 3], [1, 4], list(range(1, 66)), [HUGE]],
    "network.feature_size": [0, 2**62, 4097],
    "network.stem_skips": [0, 65],
    "network.layer_scale": [NAN, 1.0, -0.1],
    "network.dropout": [NAN, 1.0],
    "network.decoder": ["", "x" * 300],
    "training.batch_size": [0, HUGE, 4097],
    "training.learning_rate": [0.0, NAN, INF, 1e10, 1e-40],
    "training.weight_decay": [NAN, INF, -1.0],
    "training.warmup_steps": [-1, HUGE],
    "training.gradient_clip": [NAN, INF, 0.0],
    "training.ema_decay": [NAN, 1.0],
    "training.loss.class_weights": [[1.0, NAN, 1.0], [1.0, INF, 1.0], [1.0, 0.0, 1.0], [1.0], [1.0] * 2000],
    "training.augment.rotate_degrees": [NAN, 181.0],
    "training.augment.mirror_axes": [[3], [0, 0], [0] * 40],
    "inference.overlap": [NAN, 1.0, 0.999, -0.1],
    "inference.mirror_axes": [[0] * 40, [1, 1], [-1]],
    "postprocess": [{"organ": {"minimum_volume_ml": NAN}}, {"organ": {"minimum_volume_ml": INF}}, {"nobody": {}}],
    "reasons": [{"a": "x" * 10_001}, {f"r{index}": "" for index in range(300)}, {"a": "\udfff"}],
}


def changed(key: str, value: Any) -> dict[str, Any]:
    plan = copy.deepcopy(SOUND)
    at: Any = plan
    *path, last = key.split(".")
    for part in path:
        at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
    at[int(last) if last.isdigit() else last] = value
    return plan


@pytest.mark.fault("numbers and names of a plan")
@pytest.mark.parametrize(
    "key,value", [pytest.param(k, v, id=f"{k}-{n}") for k, values in BAD.items() for n, v in enumerate(values)]
)
def test_a_plan_out_of_bounds_is_refused_at_once(key: str, value: Any) -> None:
    parse_plan(SOUND, "plan.yaml")
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        parse_plan(changed(key, value), "plan.yaml")
    said = str(caught.value)
    assert said.startswith("plan.yaml: ") and "\n" not in said and len(said) < 700
    assert time.process_time() - started < 2


@pytest.mark.fault("numbers that are too large together")
@pytest.mark.parametrize(
    "change,said",
    [
        ({"window": [1024, 1024, 1024]}, "voxels"),
        ({"window": [512, 512, 256], "network": {"patch": 8}}, "tokens"),
        ({"network": {"width": 16384, "heads": 1024, "mlp_width": 65536, "depth": 256, "taps": [64, 256]}}, "weights"),
        ({"network": {"patch": 256, "width": 16384, "heads": 16}, "window": [256, 256, 256]}, "weights"),
        ({"network": {"patch": 256, "feature_size": 4096, "taps": [12]}}, "weights"),
        ({"network": {"feature_size": 512}, "window": [256, 256, 256]}, "feature map"),
        ({"labels": {f"l{v}": v for v in range(1024)}, "window": [256, 256, 256]}, "scores"),
        ({"training": {"batch_size": 4096}, "window": [128, 128, 128]}, "batch"),
    ],
)
def test_numbers_that_are_within_bounds_but_not_together(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=rf"{said}.* at most"):
        parse_plan({**SOUND, "network": {}} | change, "plan.yaml")


@pytest.mark.parametrize("name", [*PRESETS, *ABLATIONS, *PEER_NAMES])
@pytest.mark.parametrize("window", [(96, 96, 96), (128, 128, 128), (192, 192, 160), (320, 320, 32), (16, 384, 384)])
def test_all_networks_are_legal_with_large_windows(name: str, window: tuple[int, int, int]) -> None:
    labels = {"background": 0, **{f"organ {value}": value for value in range(1, 118)}}
    plan = Plan.model_validate(
        SOUND | {"network": network_named(name).model_dump(), "window": window, "labels": labels}
    )
    assert parse_plan(parse_yaml(plan_to_yaml(plan), "plan"), "plan") == plan


def test_the_largest_of_each_bound_is_legal() -> None:
    regions = [{"name": f"r{index}", "labels": [1, 2], "written_as": 65535 - index} for index in range(64)]
    labels = {"background": 0, "organ": 1, "core": 2, "x" * 255: 65535}
    plan = SOUND | {"labels": labels, "regions": regions, "ignore_label": -(2**15), "spacing_mm": [1e-6, 1e3, 1.0]}
    assert len(parse_plan(plan | {"inference": {"overlap": 0.9, "mirror_axes": [0, 1, 2]}}, "plan").regions) == 64
    many = {f"l{value}": value for value in range(1024)}
    assert parse_plan(SOUND | {"labels": many}, "plan").outputs == 1024
    huge = NetworkPlan(width=1280, depth=32, heads=16, mlp_width=5120, taps=(8, 16, 24, 32), feature_size=64)
    parse_plan(SOUND | {"network": huge.model_dump(), "window": [128, 128, 128]}, "plan")

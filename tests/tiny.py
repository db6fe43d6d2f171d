"""The smallest model file: two labels, windows of 8 voxels, fresh weights."""

from __future__ import annotations

from unetr.core.plan.network import NetworkPlan
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.model.file.model_file import ModelFile
from unetr.model.network.build import fresh_weights


def tiny_file(dataset: str = "balls", metrics: dict[str, float] | None = None) -> ModelFile:
    plan = Plan(
        dataset=dataset,
        channels=(ChannelPlan(name="T1"),),
        labels={"background": 0, "one": 1},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(8, 8, 8),
        network=NetworkPlan(patch=4, width=8, depth=2, heads=2, mlp_width=8, taps=(1, 2), feature_size=2),
    )
    return ModelFile(plan, None, metrics or {}, "CC0", fresh_weights(plan))

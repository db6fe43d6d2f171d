"""Starting from another model: what fits is taken to the bit, positions are interpolated, the rest is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from unetr.core.plan.fingerprint import Fingerprint, IntensityStatistics
from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.errors import InputError
from unetr.model.file.model_file import ModelFile
from unetr.model.network.build import build_network, fresh_weights
from unetr.train.optimise.transfer import plan_from, transfer

PlanWith = Callable[..., Plan]


def model_of(plan: Plan, seed: int = 3) -> ModelFile:
    return ModelFile(plan, None, {}, "CC0", fresh_weights(plan, seed=seed), source="old")


def fresh(plan: Plan) -> torch.nn.Module:
    return build_network(plan.network, plan.in_channels, plan.outputs, plan.window, seed=4)


def test_the_same_network_is_taken_whole(plan_with: PlanWith) -> None:
    model, network = model_of(plan_with()), fresh(plan_with())
    result = transfer(network, model)
    assert result.rows() == []
    assert set(result.loaded) == set(model.weights)
    for name, tensor in network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), model.weights[name])


def test_another_number_of_classes_replaces_the_head_only(plan_with: PlanWith) -> None:
    model = model_of(plan_with())
    other = plan_with(labels={"background": 0, "a": 1, "b": 2, "c": 3})
    network = fresh(other)
    head = network.state_dict()["decoder.head.weight"].clone()
    result = transfer(network, model)
    assert set(result.fresh) == {"decoder.head.weight", "decoder.head.bias"}
    assert result.fresh["decoder.head.bias"] == "the model's has shape 3, the network's 4"
    assert torch.equal(network.state_dict()["decoder.head.weight"], head)
    assert ("decoder.head.bias", "fresh", "the model's has shape 3, the network's 4") in result.rows()


def test_positions_of_another_window_are_interpolated(plan_with: PlanWith) -> None:
    """Positions that are a linear function of place stay one: checked where interpolation has two neighbours."""
    plan = plan_with(window=(32, 16, 16))
    model = model_of(plan)
    ramp = np.zeros((4, 2, 2, 16), np.float32)
    ramp += np.arange(4, dtype=np.float32)[:, None, None, None]
    model.weights["embedding.position"] = ramp.reshape(16, 16)  # type: ignore[index]
    network = fresh(plan_with(window=(64, 16, 16)))
    result = transfer(network, model)
    assert result.adapted == {"embedding.position": "interpolated from 4x2x2 patches to 8x2x2"}
    found = network.state_dict()["embedding.position"].reshape(8, 2, 2, 16)[:, 0, 0, 0].numpy()
    np.testing.assert_allclose(found, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_a_network_of_another_kind_says_what_is_left_over(plan_with: PlanWith) -> None:
    model = model_of(plan_with())
    small = plan_with().network.model_dump()
    network = fresh(plan_with(network=NetworkPlan(**(small | {"decoder": "stem"}))))
    result = transfer(network, model)
    assert "decoder.input_path.conv_1.weight" in result.unused
    assert result.fresh["stem.levels.0.conv_1.weight"] == "the model has no such weight"
    assert "encoder.blocks.0.attention.qkv.weight" in result.loaded


def test_nothing_that_fits_is_refused(plan_with: PlanWith) -> None:
    model = model_of(plan_with())
    strange = ModelFile(model.plan, None, {}, "", {"other": np.zeros(3, np.float32)}, source="other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors: none of its weights fit"):
        transfer(fresh(plan_with()), strange)


def test_the_plan_keeps_the_models_grid_and_the_datasets_labels(plan_with: PlanWith) -> None:
    ct = ChannelPlan(name="CT", normalisation="range", low=0.0, high=1.0)
    model = model_of(plan_with(channels=(ct,), spacing_mm=(2.0, 2.0, 2.0), window=(24, 16, 16)))
    planned = plan_with(labels={"background": 0, "x": 1}, reasons={"window": "own", "mirror_axes": "own"})
    plan = plan_from(model, planned)
    assert (plan.spacing_mm, plan.window, plan.network) == ((2.0, 2.0, 2.0), (24, 16, 16), model.plan.network)
    assert plan.labels == {"background": 0, "x": 1}
    assert plan.channels == planned.channels and "the model has range (CT)" in plan.reasons["channels.MRI"]
    assert plan.reasons["window"].startswith("that of the model") and plan.reasons["mirror_axes"] == "own"
    two = plan_with(channels=(ChannelPlan(name="T1"), ChannelPlan(name="T2")))
    assert plan_from(model, two).channels == two.channels


FROM = pytest.mark.fault("starting from another modality or scale")


def facts(low: float, high: float, **more: Any) -> Fingerprint:
    """Of a channel CT whose foreground is evenly spread from low to high."""
    found = IntensityStatistics(
        minimum=low,
        maximum=high,
        mean=(low + high) / 2,
        std=(high - low) / 3.5,
        percentile_00_5=low,
        median=(low + high) / 2,
        percentile_99_5=high,
    )
    known: dict[str, Any] = {"cases": 1, "shapes": [(16, 16, 16)], "spacings_mm": [(1.0, 1.0, 1.0)]}
    return Fingerprint.model_construct(channels={"CT": found, "MRI": found}, **(known | more))


def ct(low: float, high: float) -> ChannelPlan:
    return ChannelPlan(name="CT", normalisation="ct", low=low, high=high, mean=(low + high) / 2, std=(high - low) / 4)


@FROM
@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [
        (-80, 210, True),
        (-75, 160, True),
        (964, 1224, False),  # HU + 1024
        (0.0, 1.0, False),  # scaled to 0..1
        (-80_000, 210_000, False),
        (300, 900, False),
        (200, 1200, False),
    ],
)
def test_limits_are_kept_only_where_the_data_lies_within_them(
    plan_with: PlanWith, low: float, high: float, kept: bool
) -> None:
    model, planned = model_of(plan_with(channels=(ct(-90, 220),))), plan_with(channels=(ct(low, high),))
    plan = plan_from(model, planned, facts(low, high))
    assert plan.channels == (model.plan.channels if kept else planned.channels)
    assert plan.reasons["channels.CT"].startswith("that of the model" if kept else "the data's own")


@FROM
def test_another_modality_has_its_own_normalisation(plan_with: PlanWith) -> None:
    usual = ChannelPlan(name="MRI")
    hot = ChannelPlan(name="MRI", clip_percentiles=(0.5, 99.99), most_deviations=5)
    for theirs, own in ((ct(-90, 220), usual), (usual, ct(-90, 220)), (usual, hot), (hot, usual)):
        plan = plan_from(model_of(plan_with(channels=(theirs,))), plan_with(channels=(own,)), facts(-80, 210))
        assert plan.channels == (own,)


@FROM
@pytest.mark.parametrize("scale", [0.02, 0.1, 5.0, 1000.0])
def test_another_scale_has_its_own_voxels(plan_with: PlanWith, scale: float) -> None:
    model = model_of(plan_with())
    planned = plan_with(spacing_mm=(scale,) * 3, reasons={"spacing_mm": "median"})
    plan = plan_from(model, planned, facts(0, 1, spacings_mm=[(scale,) * 3], shapes=[(40, 40, 40)]))
    assert plan.spacing_mm == (scale,) * 3 and plan.window == model.plan.window
    assert plan.reasons["spacing_mm"].startswith("the data's own") and plan.reasons["spacing_mm"].endswith("median")
    near = plan_from(model, plan_with(spacing_mm=(2.0, 2.0, 2.0)), facts(0, 1))
    assert near.spacing_mm == (1.0, 1.0, 1.0)


@FROM
def test_a_grid_on_which_small_structures_vanish_is_not_taken(plan_with: PlanWith) -> None:
    model, planned = model_of(plan_with(spacing_mm=(2.0, 2.0, 2.0))), plan_with()
    plan = plan_from(model, planned, facts(0, 1, widths_mm=[1.0]))
    assert plan.spacing_mm == (1.0, 1.0, 1.0) and "small structures" in plan.reasons["spacing_mm"]
    assert plan_from(model, planned, facts(0, 1, widths_mm=[8.0])).spacing_mm == (2.0, 2.0, 2.0)


@FROM
def test_a_window_much_larger_than_the_scans_is_made_smaller_and_its_weights_still_fit(plan_with: PlanWith) -> None:
    model = model_of(plan_with(window=(64, 48, 16)))
    plan = plan_from(model, plan_with(), facts(0, 1, shapes=[(20, 30, 16)]))
    assert plan.window == (24, 48, 16) and "20x30x16" in plan.reasons["window"]
    result = transfer(fresh(plan), model)
    assert result.adapted == {"embedding.position": "interpolated from 8x6x2 patches to 3x6x2"} and not result.fresh

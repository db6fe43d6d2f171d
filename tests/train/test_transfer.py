"""Starting from another model: what fits is taken to the bit, positions are interpolated, the rest is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unetr.core.plan import ChannelPlan, NetworkPlan, Plan
from unetr.errors import InputError
from unetr.model.build import build_network
from unetr.model.file import ModelFile
from unetr.train.transfer import plan_from, transfer

PlanWith = Callable[..., Plan]


def model_of(plan: Plan, seed: int = 3) -> ModelFile:
    network = build_network(plan.network, len(plan.channels), plan.outputs, plan.window, seed=seed)
    return ModelFile(plan, None, {}, "CC0", {n: t.numpy() for n, t in network.state_dict().items()}, source="old")


def fresh(plan: Plan) -> torch.nn.Module:
    return build_network(plan.network, len(plan.channels), plan.outputs, plan.window, seed=4)


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
    assert plan.channels == (ct.model_copy(update={"name": "MRI"}),)
    assert plan.reasons["window"].startswith("that of the model") and plan.reasons["mirror_axes"] == "own"
    two = plan_with(channels=(ChannelPlan(name="T1"), ChannelPlan(name="T2")))
    assert plan_from(model, two).channels == two.channels

"""The mask of a pretraining: whole blocks, as many as it says, and nothing seen through it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr.core.plan.schema import ChannelPlan, Plan, PretrainingPlan, TrainingPlan
from unetr.model.network.build import build_network
from unetr.prepare.cache import Cache
from unetr.train.samples.masking import make_mask, reconstruction
from unetr.train.samples.sample import make_batch

PlanWith = Callable[..., Plan]


@settings(max_examples=30, deadline=None)
@given(
    blocks=st.tuples(*[st.integers(1, 4)] * 3).filter(lambda b: np.prod(b) > 1),
    side=st.integers(1, 3),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_whole_blocks_are_hidden_as_many_as_the_share_says(
    blocks: tuple[int, int, int], side: int, fraction: float, seed: int
) -> None:
    patch, count = 2, int(np.prod(blocks))
    length = patch * side
    window = (blocks[0] * length, blocks[1] * length, blocks[2] * length)
    mask = make_mask(
        window,
        patch,
        PretrainingPlan(masked_fraction=fraction, block_patches=side),
        np.random.default_rng(seed),
    )
    assert mask.shape == window
    hidden = 0
    for x, y, z in np.ndindex(*blocks):
        block = mask[x * length : (x + 1) * length, y * length : (y + 1) * length, z * length : (z + 1) * length]
        assert block.all() or not block.any()
        hidden += bool(block.all())
    assert 1 <= hidden < count
    # The nearest whole number of blocks, unless that would hide all or none.
    assert abs(hidden - fraction * count) <= 0.5 or hidden in (1, count - 1)


def test_sixty_percent_of_64_patches_are_38() -> None:
    mask = make_mask((32, 32, 32), 8, PretrainingPlan(), np.random.default_rng(0))
    assert np.count_nonzero(mask) == 38 * 8**3


def test_every_patch_is_hidden_equally_often() -> None:
    rng = np.random.default_rng(5)
    share = np.mean([make_mask((4, 4, 4), 2, PretrainingPlan(masked_fraction=0.5), rng) for _ in range(800)], axis=0)
    # 5 standard deviations of a share of 1/2 over 800 draws.
    assert np.abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(800)


def test_a_mask_is_a_function_of_seed_step_and_slot(cache: Cache, pretraining_plan: PlanWith) -> None:
    plan = pretraining_plan(window=(32, 32, 32), training=TrainingPlan(batch_size=3))
    batch = make_batch(cache, cache.ids, plan, seed=1, step=4)
    again = make_batch(cache, cache.ids, plan, seed=1, step=4)
    assert batch.classes.tobytes() == again.classes.tobytes() and batch.images.tobytes() == again.images.tobytes()
    assert [np.count_nonzero(classes == 0) for classes in batch.classes] == [38 * 8**3] * 3
    assert set(np.unique(batch.classes)) == {-1, 0}
    others = [make_batch(cache, cache.ids, plan, seed, step).classes for seed, step in ((2, 4), (1, 5))]
    masks = [*batch.classes, *(classes[0] for classes in others)]
    assert len({mask.tobytes() for mask in masks}) == 5


def test_the_images_are_those_of_a_training_without_masks(cache: Cache, plan_with: PlanWith) -> None:
    plan = plan_with()
    images = make_batch(cache, cache.ids, plan, seed=1, step=0).images
    pretraining = plan.model_copy(update={"pretraining": PretrainingPlan()})
    assert images.tobytes() == make_batch(cache, cache.ids, pretraining, seed=1, step=0).images.tobytes()


@pytest.mark.parametrize("decoder", ["unetr", "stem"])
@pytest.mark.parametrize("junk", [1e6, float("nan")])
def test_the_output_does_not_depend_on_hidden_voxels(pretraining_plan: PlanWith, decoder: str, junk: float) -> None:
    plan = pretraining_plan(channels=(ChannelPlan(name="a"), ChannelPlan(name="b")))
    network_plan = plan.network.model_copy(update={"decoder": decoder, "norm": "instance_affine"})
    plan = plan.model_copy(update={"network": network_plan})
    network = build_network(plan.network, 2, plan.outputs, plan.window, seed=1)
    seen: list[torch.Tensor] = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((1, 2, *plan.window), generator=generator)
    mask = make_mask(plan.window, 8, PretrainingPlan(), np.random.default_rng(0))
    classes = torch.from_numpy(np.where(mask, 0, -1))[None]
    other, visible = images.clone(), images.clone()
    other[:, :, mask] = junk
    place = tuple(np.argwhere(~mask)[0])
    visible[0, 0][place] += 1
    for each in (images, other, visible):
        reconstruction(network, each, classes, plan)
    assert seen[0].shape == (1, 2, *plan.window)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])

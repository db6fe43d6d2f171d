"""Masked-volume pretraining: what is hidden is hidden from all of the network, and only what is hidden is learned."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.train.listener import Listener
from tests.train.state_bits import bits

from unetr.core.plan.schema import AugmentPlan, ChannelPlan, NetworkPlan, Plan, PretrainingPlan, Region, TrainingPlan
from unetr.errors import InputError, StoppedError
from unetr.model.file.model_file import ModelFile
from unetr.model.network.build import build_network
from unetr.prepare.cache import Cache
from unetr.prepare.planning.planner import without_labels
from unetr.train.loop import train
from unetr.train.observer import TrainedStep, TrainingObserver
from unetr.train.optimise.transfer import transfer
from unetr.train.run.folder import Run
from unetr.train.run.resume import open_run
from unetr.train.run.settings import Settings
from unetr.train.samples.masking import hide, normalised_patches, reconstruction, reconstruction_loss

PlanWith = Callable[..., Plan]
BACKGROUND = {"background": 0}


# ---------------------------------------------------------------------------------------------------------------------
# The loss


def test_the_loss_by_hand() -> None:
    """Hidden: the first and third of four voxels. Channel 0 is off by 1 and -2, channel 1 by 0 and 3: 14 / 4."""
    predicted = torch.tensor([[1.0, 2, 3, 4], [5.0, 6, 7, 8]]).reshape(1, 2, 4, 1, 1).requires_grad_()
    targets = torch.tensor([[0.0, 9, 5, 9], [5.0, 9, 4, 9]]).reshape(1, 2, 4, 1, 1)
    hidden = torch.tensor([True, False, True, False]).reshape(1, 4, 1, 1)
    terms = reconstruction_loss(predicted, targets, hidden)
    assert float(terms.total.detach()) == 3.5
    assert torch.isnan(terms.dice) and torch.isnan(terms.cross_entropy)
    terms.total.backward()
    assert predicted.grad is not None
    assert predicted.grad.flatten().tolist() == [0.5, 0, -1, 0, 0, 0, 1.5, 0]  # 2 e / 4


def test_visible_voxels_are_not_in_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, targets = torch.randn((2, 2, 1, 4, 4, 4), generator=generator)
    hidden = torch.rand((2, 4, 4, 4), generator=generator) < 0.6
    expected = reconstruction_loss(predicted, targets, hidden).total
    for junk in (1e9, float("inf"), float("nan")):
        changed = torch.where(hidden[:, None], predicted, torch.tensor(junk))
        assert torch.equal(reconstruction_loss(changed, targets, hidden).total, expected)
        changed = torch.where(hidden[:, None], targets, torch.tensor(junk))
        assert torch.equal(reconstruction_loss(predicted, changed, hidden).total, expected)


def test_half_precision_is_summed_in_float32() -> None:
    predicted = torch.full((1, 1, 16, 16, 16), 3.0, dtype=torch.bfloat16)
    terms = reconstruction_loss(predicted, torch.zeros(1, 1, 16, 16, 16), torch.ones(1, 16, 16, 16, dtype=torch.bool))
    assert terms.total.dtype == torch.float32 and float(terms.total) == 9.0


def test_shares_of_a_batch_give_the_whole_batchs_loss_and_gradient() -> None:
    """Two processes: each knows its own windows and the totals; the gradients, added, are those of the whole."""
    generator = torch.Generator().manual_seed(0)
    predicted, targets = torch.randn((2, 3, 1, 4, 4, 4), generator=generator, dtype=torch.float32)
    hidden = torch.rand((3, 4, 4, 4), generator=generator) < 0.6
    whole = predicted.clone().requires_grad_()
    expected = reconstruction_loss(whole, targets, hidden).total
    expected.backward()
    errors = (predicted - targets).square() * hidden[:, None]
    parts = (slice(0, 2), slice(2, 3))
    for part in parts:
        totals = [hidden.sum(), errors.sum() / hidden.sum()]  # what the processes would add up, in the order asked for
        own = predicted[part].clone().requires_grad_()
        terms = reconstruction_loss(own, targets[part], hidden[part], lambda _, left=totals: left.pop(0))
        terms.total.backward()
        assert float(terms.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
        assert whole.grad is not None and own.grad is not None
        torch.testing.assert_close(own.grad, whole.grad[part])


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        reconstruction_loss(torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 2, 2, 2).bool())


def test_normalised_targets_patch_by_patch() -> None:
    images = np.random.default_rng(0).normal(3, 2, (2, 2, 4, 8, 4)).astype(np.float32)
    images[0, 0, :4, :4, :4] = 7  # a patch with nothing in it
    found = normalised_patches(torch.from_numpy(images), 4).numpy()
    for b, c, part in np.ndindex(2, 2, 2):
        patch = images[b, c, :, 4 * part : 4 * part + 4].astype(np.float64)
        expected = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6)
        np.testing.assert_allclose(found[b, c, :, 4 * part : 4 * part + 4], expected, atol=1e-4)
    assert not found[0, 0, :, :4].any()


def test_the_plan_decides_what_is_predicted(pretraining_plan: PlanWith) -> None:
    images = torch.randn((1, 1, 16, 16, 16), generator=torch.Generator().manual_seed(0))
    classes = torch.full((1, 16, 16, 16), -1)
    classes[:, :8, :8, :8] = 0
    constant = torch.nn.Module()
    constant.forward = torch.zeros_like  # type: ignore[method-assign]
    patch = images[0, 0, :8, :8, :8]
    raw = reconstruction(constant, images, classes, pretraining_plan())
    normalised = pretraining_plan(pretraining=PretrainingPlan(normalised_targets=True))
    assert float(raw.total) == pytest.approx(float(patch.square().mean()), rel=1e-5)
    # The mean square of a patch of 512 voxels with mean 0 and variance 1 by the n - 1 rule.
    assert float(reconstruction(constant, images, classes, normalised).total) == pytest.approx(511 / 512, rel=1e-4)


def test_hiding_is_zero_in_all_channels() -> None:
    images = torch.ones(1, 2, 2, 1, 1)
    assert hide(images, torch.tensor([[[[True]], [[False]]]])).flatten().tolist() == [0, 1, 0, 1]


# ---------------------------------------------------------------------------------------------------------------------
# The plan


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"labels": {"background": 0, "ball": 1}}, "background alone"),
        ({"labels": {}}, "background alone"),
        ({"ignore_label": 9}, "background alone"),
        ({"window": (16, 16, 20)}, "whole blocks of 8 voxels"),
        ({"window": (8, 8, 8)}, "at least two"),
        ({"pretraining": PretrainingPlan(block_patches=2)}, "blocks of 16 voxels"),
        ({"network": NetworkPlan(peer="monai-unet")}, "peer"),
        ({"regions": (Region(name="r", labels=(1,), written_as=1),)}, "not in labels"),
        ({"pretraining": {"masked_fraction": 1.0}}, "less than 1"),
        ({"pretraining": {"share": 0.5}}, "share"),
        ({"pretraining": None}, "at least one more"),
    ],
)
def test_pretraining_plans_that_make_no_sense(
    pretraining_plan: PlanWith, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        pretraining_plan(**changes)


def test_a_plan_without_its_labels(plan_with: PlanWith) -> None:
    loss = {"class_weights": (1.0, 2.0, 3.0)}
    training = TrainingPlan.model_validate({"batch_size": 3, "loss": loss})
    plan = plan_with(training=training, ignore_label=7, channels=(ChannelPlan(name="a"), ChannelPlan(name="b")))
    found = without_labels(plan, "plan.yaml")
    assert (found.labels, found.outputs, plan.outputs) == (BACKGROUND, 2, 3)
    for name in ("network", "window", "spacing_mm", "channels", "orientation", "crop"):
        assert getattr(found, name) == getattr(plan, name)
    assert found.training.batch_size == 3
    assert without_labels(found, "plan.yaml") is found
    with pytest.raises(InputError, match=r"plan\.yaml: .*whole blocks"):
        without_labels(plan_with(window=(20, 16, 16)), "plan.yaml")


# ---------------------------------------------------------------------------------------------------------------------
# The loop


def start(folder: Path, plan: Plan, steps: int, cases: tuple[str, ...]) -> tuple[Run, Settings]:
    asked = Settings(
        dataset="waves",
        preset="test",
        fold=None,
        folds=5,
        seed=3,
        steps=steps,
        minutes=None,
        training_cases=cases,
        validation_cases=(),
        schedule_steps=steps,
    )
    return Run(folder), open_run(Run(folder), plan, asked, None)


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_and_resumed_pretraining_is_bit_identical(
    tmp_path: Path, cache: Cache, pretraining_plan: PlanWith
) -> None:
    plan = pretraining_plan()
    run, asked = start(tmp_path / "whole", plan, 8, cache.ids)
    whole = train(run, cache, plan, asked, TrainingObserver())
    parts, asked = start(tmp_path / "parts", plan, 8, cache.ids)
    reports: list[TrainedStep] = []
    with pytest.raises(StoppedError):
        train(parts, cache, plan, asked, Listener(on_step=reports.append, should_stop=lambda: reports[-1].step >= 3))
    resumed = train(parts, cache, plan, asked, TrainingObserver())
    assert bits(resumed) == bits(whole)
    assert parts.log.read_bytes() == run.log.read_bytes()
    header, *rows = csv.reader(run.log.read_text().splitlines())
    assert header == ["step", "loss", "learning_rate", "gradient_norm"]
    assert len(rows) == 8 and np.isfinite(np.array(rows, dtype=float)).all()


def waves(folder: Path) -> Cache:
    """Two cases, a wave and its negative: only what is visible tells which of them the hidden voxels belong to."""
    folder.mkdir()
    wave = np.sqrt(2) * np.sin(2 * np.pi * (np.arange(16) + 0.5) / 16)
    for name, sign in (("up", 1), ("down", -1)):
        arrays = {
            "image": np.broadcast_to(sign * wave[:, None, None], (1, 16, 16, 16)).astype(np.float32),
            "label": np.zeros((16, 16, 16), np.int8),
            "foreground": np.zeros((0, 4), np.int32),
        }
        for array, values in arrays.items():
            np.save(folder / f"{name}.{array}.npy", values)
        shapes = {array: list(values.shape) for array, values in arrays.items()}
        (folder / f"{name}.json").write_text(json.dumps({"key": "", "id": name, "shapes": shapes}))
    return Cache(folder, ("up", "down"))


@pytest.mark.usefixtures("one_thread")
def test_structure_is_learned(tmp_path: Path, pretraining_plan: PlanWith) -> None:
    """Whoever does not look at what is visible predicts the mean of the two, 0, and has a loss of 1, their variance."""
    off = {name: 0 for name in AugmentPlan.model_fields if name.endswith("_probability")}
    training = TrainingPlan(batch_size=2, learning_rate=1e-2, warmup_steps=5, augment=AugmentPlan(**off))
    plan = pretraining_plan(training=training)
    cache = waves(tmp_path / "cache")
    run, asked = start(tmp_path / "run", plan, 40, cache.ids)
    train(run, cache, plan, asked, TrainingObserver())
    losses = [float(row["loss"]) for row in csv.DictReader(run.log.read_text().splitlines())]
    assert np.mean(losses[:3]) > 0.9
    assert np.mean(losses[-10:]) < 0.25


# ---------------------------------------------------------------------------------------------------------------------
# What it is for


@pytest.mark.parametrize("decoder", ["unetr", "stem", "nup", "pup", "mla"])
def test_all_but_the_head_is_taken_even_where_a_head_would_fit(
    pretraining_plan: PlanWith, plan_with: PlanWith, decoder: str
) -> None:
    two = (ChannelPlan(name="a"), ChannelPlan(name="b"))
    kind = plan_with().network.model_copy(update={"decoder": decoder})
    plan = pretraining_plan(channels=two, network=kind)
    weights = build_network(plan.network, 2, plan.outputs, plan.window, seed=1).state_dict()
    model = ModelFile(plan, None, {}, "CC0", {name: tensor.numpy() for name, tensor in weights.items()})
    target = plan_with(channels=two, network=kind, labels={"background": 0, "organ": 1})
    network = build_network(target.network, 2, target.outputs, target.window, seed=2)
    head = {name: tensor.clone() for name, tensor in network.state_dict().items() if ".head." in name}
    assert {name: tensor.shape for name, tensor in head.items()} == {name: weights[name].shape for name in head}
    result = transfer(network, model)
    assert set(result.fresh) == set(head) == {"decoder.head.weight", "decoder.head.bias"}
    assert (result.adapted, result.unused) == ({}, ())
    assert [row[:2] for row in result.rows()] == [(name, "fresh") for name in result.fresh]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, head[name] if name in head else weights[name]), name

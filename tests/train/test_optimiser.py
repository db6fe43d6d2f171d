"""Muon and AdamW: against singular values, against PyTorch's own of both, and over a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unetr.core.plan.schema import NetworkPlan, Plan, TrainingPlan
from unetr.model.network.build import build_network
from unetr.train.optimise.optimiser import MuonAdamW, make_optimiser, orthogonalised
from unetr.train.optimise.state import TrainingState
from unetr.train.run.checkpoint import restore_checkpoint, save_checkpoint

MUON = TrainingPlan(optimiser="muon", learning_rate=0.01, weight_decay=0.1)


class Net(torch.nn.Module):
    """A kernel for Muon, one with too few channels for it, a matrix and biases, which are AdamW's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv3d(1, 8, 3)
        self.middle = torch.nn.Conv3d(8, 12, 3)
        self.last = torch.nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(torch.relu(self.middle(torch.relu(self.first(x)))).mean((2, 3, 4)))
        return out


def made(training: TrainingPlan) -> tuple[Net, torch.optim.Optimizer]:
    torch.manual_seed(1)
    network = Net()
    return network, make_optimiser(network, training, fused=True)


def steps(network: Net, optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        torch.manual_seed(step)
        optimiser.zero_grad()
        network(torch.randn(2, 1, 5, 6, 7)).square().sum().backward()
        optimiser.step()


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 1000))
def test_directions_stay_and_singular_values_come_near_one(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    u, _, v = torch.linalg.svd(
        torch.randn(rows, columns, generator=generator, dtype=torch.float64), full_matrices=False
    )
    values = torch.logspace(0, -1.5, len(v), dtype=torch.float64)  # as many sizes as a matrix has directions
    rotated = u.T @ orthogonalised(u * values @ v * 7) @ v.T
    found = rotated.diagonal()
    assert found.min() > 0.65 and found.max() < 1.2
    torch.testing.assert_close(rotated, torch.diag(found), atol=1e-9, rtol=0)


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonalised(torch.zeros(3, 5)).any()


def test_kernels_step_as_pytorchs_muon_steps_their_matrices() -> None:
    network, optimiser = made(MUON)
    matrix = network.middle.weight.detach().flatten(1).clone().requires_grad_()
    theirs = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        before = matrix.detach().clone()
        gradient = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(step))
        network.middle.weight.grad, matrix.grad = gradient.view(network.middle.weight.shape), gradient.clone()
        optimiser.step()
        theirs.step()
        moved, expected = network.middle.weight.detach().flatten(1) - before, matrix.detach() - before
        # PyTorch's iterates in bfloat16, of three digits.
        assert (moved - expected).norm() < 0.03 * expected.norm()
        with torch.no_grad():
            network.middle.weight.copy_(matrix.view(network.middle.weight.shape))


def test_all_other_weights_step_as_pytorchs_adamw_steps_them() -> None:
    ours, muon = made(MUON)
    theirs, _ = made(MUON)
    weights = [weight for name, weight in theirs.named_parameters() if name != "middle.weight"]
    decayed = [weight for weight in weights if weight.ndim > 1]
    plain = [weight for weight in weights if weight.ndim == 1]
    adamw = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=0.01, fused=True
    )
    for step in range(3):
        for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            generator = torch.Generator().manual_seed(step * 100 + len(name))
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        muon.step()
        adamw.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other) == (name != "middle.weight"), name


def test_a_kernel_without_gradient_stays_and_one_with_zeros_only_decays() -> None:
    network, optimiser = made(MUON)
    before = network.middle.weight.detach().clone()
    optimiser.step()
    assert torch.equal(network.middle.weight, before)
    network.middle.weight.grad = torch.zeros_like(before)
    optimiser.step()
    torch.testing.assert_close(network.middle.weight.detach(), before * (1 - 0.01 * 0.1))


def test_which_weights_are_muons(plan_with: Callable[..., Plan]) -> None:
    """Every kernel with 8 channels or more on both sides, none of the first, the head, the tokens' matrices, norms."""
    network = NetworkPlan(
        preset="test", decoder="stem", patch=8, width=16, depth=1, heads=2, mlp_width=32, taps=(1,), feature_size=8
    )
    model = build_network(network, 1, 3, plan_with().window)
    optimiser = make_optimiser(model, MUON, fused=True)
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = {group["orthogonal"]: group["params"] for group in optimiser.param_groups}
    kernels = {names[id(weight)] for weight in groups[True]}
    assert kernels == {
        name
        for name, weight in model.named_parameters()
        if weight.ndim == 5 and "head" not in name and not name.startswith(("stem.levels.0.conv_1", "stem.levels.0.sh"))
    }
    assert len(kernels) > 15
    assert sorted(map(id, (w for group in optimiser.param_groups for w in group["params"]))) == sorted(names)
    assert not isinstance(make_optimiser(model, TrainingPlan(), fused=True), MuonAdamW)


def test_steps_go_on_to_the_bit_after_a_checkpoint(tmp_path: Path, one_thread: None) -> None:
    def state(network: Net, optimiser: torch.optim.Optimizer) -> TrainingState:
        return TrainingState(3, network, optimiser, {}, best_dice=0.0)

    network, optimiser = made(MUON)
    steps(network, optimiser, 0, 3)
    save_checkpoint(tmp_path, state(network, optimiser))
    steps(network, optimiser, 3, 6)
    resumed, other = made(MUON)
    assert restore_checkpoint(tmp_path, state(resumed, other)) is not None
    steps(resumed, other, 3, 6)
    for (name, weight), again in zip(network.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(weight, again), name


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_step_lowers_the_loss(optimiser: str) -> None:
    network, made_optimiser = made(TrainingPlan.model_validate({"optimiser": optimiser, "learning_rate": 0.01}))
    torch.manual_seed(0)
    x = torch.randn(2, 1, 5, 6, 7)
    losses = []
    for _ in range(20):
        made_optimiser.zero_grad()
        loss = network(x).square().sum()
        loss.backward()
        made_optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]

"""Peers are what their authors publish: sizes of the packages' own defaults, shapes, seeds, names, and model files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from unetr.core.plan.schema import NetworkPlan, Plan
from unetr.errors import InputError
from unetr.infer.engines import choose_engine, make_engine
from unetr.model.file.model_file import ModelFile, write_model
from unetr.model.network.build import build_network
from unetr.model.network.peers import PEERS, build_peer
from unetr.model.open_model import open_model
from unetr.prepare.planning.presets import ABLATIONS, PEER_NAMES, PRESETS, network_named


def test_the_names_known_without_torch_are_those_of_the_adapters() -> None:
    assert tuple(PEERS) == PEER_NAMES


def test_names_of_networks_are_unique_and_others_are_refused() -> None:
    names = [*PRESETS, *ABLATIONS, *PEER_NAMES]
    assert len(set(names)) == len(names)
    assert all(network_named(name).preset == name for name in names)
    with pytest.raises(InputError, match="network 'unet': is unknown; expected one of paper"):
        network_named("unet")


@pytest.mark.parametrize("name", ["nnunet-plain", "nnunet-resenc", "primus", "monai-unet", "monai-attention-unet"])
def test_a_peer_takes_any_size_and_gives_one_logit_per_class_and_voxel(name: str) -> None:
    state = torch.get_rng_state()
    first, again = (build_peer(name, 2, 3, (16, 24, 20), seed=5) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state()), "the global random state was touched"
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    with torch.inference_mode():
        logits = first.eval()(torch.randn(1, 2, 16, 24, 20))
    assert logits.shape == (1, 3, 16, 24, 20)
    assert torch.isfinite(logits).all()
    assert logits.std() > 0


def test_nnunet_halves_each_axis_by_its_own_rule() -> None:
    """Window 40x56x40: 5x7x5 at the bottom, so 4 stages of 32 to 256 features, sizes multiples of 8."""
    peer = build_peer("nnunet-plain", 1, 3, (40, 56, 40))
    assert peer.multiples == (8, 8, 8)
    kernels = [tuple(p.shape) for n, p in peer.named_parameters() if n.endswith("conv.weight") and "encoder" in n]
    assert kernels[0] == (32, 1, 3, 3, 3) and kernels[-1] == (256, 256, 3, 3, 3)
    assert build_peer("nnunet-plain", 1, 3, (16, 128, 128)).multiples == (4, 32, 32)


def test_monais_own_unetr_has_its_own_parameters() -> None:
    from monai.networks.nets.unetr import UNETR

    own = sum(p.numel() for p in UNETR(1, 3, (48, 48, 48), proj_type="perceptron").parameters())
    assert sum(p.numel() for p in build_peer("monai-unetr", 1, 3, (48, 40, 48)).parameters()) == own


def test_a_model_file_with_a_peer_predicts_with_torch_only(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_plan(window=(32, 32, 32), network=NetworkPlan(preset="monai-unet", peer="monai-unet"))
    network = build_network(plan.network, 1, 3, plan.window, seed=1).eval()
    path = tmp_path / "peer.safetensors"
    write_model(path, ModelFile(plan, None, {}, "CC0", {n: t.numpy() for n, t in network.state_dict().items()}))
    opened = open_model(path)
    choice = choose_engine(opened, precision="fp32")
    assert choice.engine == "torch"
    windows = np.random.default_rng(0).normal(size=(1, 1, 32, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(make_engine(opened, choice)(windows), expected, atol=1e-5)
    with pytest.raises(InputError, match="monai-unet is another project's network"):
        make_engine(opened, choose_engine(opened, "openvino"))


def test_an_unknown_peer_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="choose one of nnunet-plain"):
        build_peer("segformer", 1, 3, (16, 16, 16))

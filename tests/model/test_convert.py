"""Converted weights against MONAI's own network: the same logits from the same random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from unetr.core.plan.schema import NetworkPlan, Plan
from unetr.errors import InputError
from unetr.model.convert import CONVERTERS, convert_monai
from unetr.model.file.model_file import read_model, write_model
from unetr.model.torch_network import network_from

SMALL: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 3,
    "img_size": (32, 32, 32),
    "feature_size": 4,
    "hidden_size": 24,
    "mlp_dim": 40,
    "num_heads": 3,
    "proj_type": "conv",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "conv projection": {},
    "perceptron projection": {"proj_type": "perceptron"},
    "plain blocks": {"res_block": False},
    "no tap convolutions": {"conv_block": False},
    "four channels": {"in_channels": 4, "proj_type": "perceptron"},
    "channels equal to feature size": {"in_channels": 4, "feature_size": 4},
    "feature size 16, non-cubic": {"feature_size": 16, "img_size": (32, 16, 48)},
    "feature size 32": {"feature_size": 32, "img_size": (16, 32, 16)},
    "qkv bias": {"qkv_bias": True, "out_channels": 14},
    "batch norm": {"norm_name": "batch"},
    "batch norm, plain, non-cubic": {"norm_name": "batch", "res_block": False, "img_size": (48, 32, 16)},
}

MakePlan = Callable[..., Plan]


def plan_for(options: dict[str, Any], make_plan: MakePlan) -> Plan:
    return make_plan(
        window=options["img_size"],
        channels=options["in_channels"],
        outputs=options["out_channels"],
        network=NetworkPlan(width=options["hidden_size"], heads=options["num_heads"]),
    )


def monai_network(nets: ModuleType, options: dict[str, Any]) -> torch.nn.Module:
    """With random statistics in batch norms too, so that evaluation mode has something to get wrong."""
    torch.manual_seed(0)
    network: torch.nn.Module = nets.UNETR(**options)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    return network


def assert_same_logits(theirs: torch.nn.Module, ours: torch.nn.Module, options: dict[str, Any]) -> None:
    x = torch.randn(2, options["in_channels"], *options["img_size"])
    for training in (False, True):
        with torch.no_grad():
            expected = theirs.train(training)(x)
            found = ours.train(training)(x)
        assert expected.abs().max() > 0.1
        assert float((expected - found).abs().max()) <= 1e-4


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_logits_equal_monai(
    changes: dict[str, Any], monai_nets: ModuleType, make_plan: MakePlan, tmp_path: Path
) -> None:
    options = SMALL | changes
    theirs = monai_network(monai_nets, options)
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    model = convert_monai(tmp_path / "weights.pt", plan_for(options, make_plan))
    assert_same_logits(theirs, network_from(model), options)


def test_full_size_equals_monai_and_survives_the_model_file(
    monai_nets: ModuleType, make_plan: MakePlan, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"in_channels": 1, "out_channels": 14, "img_size": (48, 64, 48), "feature_size": 16}
    theirs = monai_network(monai_nets, options)
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    plan = plan_for(options | {"hidden_size": 768, "num_heads": 12}, make_plan)
    write_model(tmp_path / "model.safetensors", CONVERTERS["monai"](tmp_path / "weights.pt", plan))
    ours = network_from(read_model(tmp_path / "model.safetensors"))
    x = torch.randn(1, 1, 48, 64, 48)
    with torch.no_grad():
        assert float((theirs.eval()(x) - ours(x)).abs().max()) <= 1e-4


@pytest.fixture(scope="module")
def monai_state(monai_nets: ModuleType) -> dict[str, torch.Tensor]:
    return monai_network(monai_nets, SMALL).state_dict()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"module." + name: value for name, value in state.items()}},
        lambda state: {"net": {"_orig_mod." + name: value for name, value in state.items()}},
        lambda state: {name: value.half() if value.is_floating_point() else value for name, value in state.items()},
    ],
    ids=["state_dict", "model and module.", "net and _orig_mod.", "half precision"],
)
def test_wrapped_checkpoints(
    wrap: Callable[[Any], Any], monai_state: dict[str, torch.Tensor], make_plan: MakePlan, tmp_path: Path
) -> None:
    torch.save(wrap(monai_state), tmp_path / "weights.pth")
    model = convert_monai(tmp_path / "weights.pth", plan_for(SMALL, make_plan))
    found = torch.as_tensor(model.weights["decoder.head.weight"])
    torch.testing.assert_close(found, monai_state["out.conv.conv.weight"], rtol=1e-3, atol=1e-4)
    assert found.dtype == torch.float32


def test_safetensors_and_the_old_pickle_layout(
    monai_state: dict[str, torch.Tensor], make_plan: MakePlan, tmp_path: Path
) -> None:
    save_file({name: value.clone() for name, value in monai_state.items()}, tmp_path / "a.safetensors")
    torch.save(monai_state, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    plan = plan_for(SMALL, make_plan)
    first, second = (convert_monai(tmp_path / name, plan) for name in ("a.safetensors", "b.pt"))
    for name in first.weights:
        assert torch.equal(torch.as_tensor(first.weights[name]), torch.as_tensor(second.weights[name]))


def test_shape_is_read_off_and_unused_weights_are_listed(
    monai_state: dict[str, torch.Tensor], make_plan: MakePlan, tmp_path: Path
) -> None:
    old = {
        "vit.blocks.0.cross_attn.out_proj.weight": torch.zeros(24, 24),
        "vit.patch_embedding.cls_token": torch.zeros(1),
    }
    torch.save(monai_state | old, tmp_path / "weights.pt")
    model = convert_monai(tmp_path / "weights.pt", plan_for(SMALL, make_plan))
    network = model.plan.network
    assert (network.width, network.mlp_width, network.feature_size, network.depth, network.patch) == (24, 40, 4, 12, 16)
    assert network.taps == (4, 7, 10, 12)
    assert network.final_norm
    assert model.metrics["unused_weights_dropped"] == {
        "vit.blocks.*.norm_cross_attn.weight": 12,
        "vit.blocks.*.norm_cross_attn.bias": 12,
        "vit.blocks.*.cross_attn.out_proj.weight": 1,
        "vit.patch_embedding.cls_token": 1,
    }


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "plan_changes", "words"),
    [
        (lambda s: s | {"extra.weight": torch.zeros(1)}, {}, "unexpected extra.weight"),
        (without("vit.norm.bias"), {}, "missing encoder.norm.bias"),
        (without("out.conv.conv.weight"), {}, "no weight out.conv.conv.weight"),
        (without("vit.patch_embedding.position_embeddings"), {}, "no weight vit.patch_embedding.position_embeddings"),
        (lambda s: s | {"out.conv.conv.bias": torch.zeros(4)}, {}, r"decoder.head.bias is \(4,\), not \(3,\)"),
        (lambda s: s | {"out.conv.conv.bias": torch.full((3,), torch.nan)}, {}, "not finite: decoder.head.bias"),
        (lambda s: s | {"out.conv.conv.bias": 3}, {}, "no state dict"),
        (lambda s: {}, {}, "no state dict"),
        (lambda s: [1, 2], {}, "no state dict"),
        (lambda s: s, {"out_channels": 5}, "weights are for 3 labels, the plan has 5"),
        (lambda s: s, {"in_channels": 2}, "weights are for 1 channels, the plan has 2"),
        (lambda s: s, {"img_size": (48, 32, 32)}, "positions for 8 patches .* window 48x32x32 has 12"),
        (lambda s: s, {"img_size": (33, 32, 32)}, "positions for 8 patches .* window 33x32x32"),
        (lambda s: s, {"hidden_size": 25, "num_heads": 5}, "heads"),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[Any], Any],
    plan_changes: dict[str, Any],
    words: str,
    monai_state: dict[str, torch.Tensor],
    make_plan: MakePlan,
    tmp_path: Path,
) -> None:
    torch.save(change(monai_state), tmp_path / "weights.pt")
    with pytest.raises(InputError, match=words) as caught:
        convert_monai(tmp_path / "weights.pt", plan_for(SMALL | plan_changes, make_plan))
    assert "weights.pt" in str(caught.value)


class Malicious:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", ["missing", "empty", "text", "truncated", "code"])
def test_files_that_are_no_weights(
    name: str,
    content: str,
    monai_state: dict[str, torch.Tensor],
    make_plan: MakePlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if content == "truncated":
        save_file(monai_state, path) if path.suffix == ".safetensors" else torch.save(monai_state, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif content == "code":
        torch.save({"model": Malicious()}, path)
    elif content != "missing":
        path.write_bytes(b"" if content == "empty" else b"these are not weights" * 10)
    with pytest.raises(InputError, match=name):
        convert_monai(path, plan_for(SMALL, make_plan))
    assert not (tmp_path / "executed").exists()

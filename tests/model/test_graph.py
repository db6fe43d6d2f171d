"""The network said in primitive operations, run by OpenVINO and onnxruntime, is the torch network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan
from unetr.errors import InputError
from unetr.infer.engines import choose_engine, make_engine
from unetr.infer.sweep.windows import Engine
from unetr.model.file.model_file import ModelFile, describe, described
from unetr.model.graph.builder import composed_kernel
from unetr.model.graph.forward import build_graph
from unetr.model.graph.onnx.file import onnx_parts
from unetr.model.graph.onnx.graph import OnnxOperations
from unetr.model.network.build import build_network
from unetr.model.open_model import Opened

TINY = {"patch": 8, "width": 24, "depth": 3, "heads": 2, "mlp_width": 32, "taps": (1, 2, 3), "feature_size": 4}


def plan(window: tuple[int, int, int] = (16, 16, 16), channels: int = 1, **network: Any) -> Plan:
    return Plan(
        dataset="graph",
        channels=tuple(ChannelPlan(name=f"c{index}", normalisation="none") for index in range(channels)),
        labels={"background": 0, "one": 1, "two": 2},
        spacing_mm=(1.0, 1.0, 1.0),
        window=window,
        network=NetworkPlan(**(TINY | network)),
    )


def model_of(made: Plan, seed: int = 0) -> tuple[torch.nn.Module, ModelFile]:
    """A network whose norms and position embedding are not what they start as."""
    network = build_network(made.network, len(made.channels), made.outputs, made.window, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.dtype == torch.float32 and tensor.ndim == 1:
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return network.eval(), ModelFile(made, None, {}, "CC0", weights)


def onnx_opened(model: ModelFile) -> Opened:
    operations = OnnxOperations()
    logits = build_graph(operations, model.plan, model.weights, "model")  # type: ignore[arg-type]
    graph = operations.graph(logits, (model.plan.outputs, *model.plan.window))
    data = b"".join(onnx_parts(graph, {}, {}))
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    from pathlib import Path

    return Opened("onnx", described({**describe(model), "sha256": ""}, {}, Path("model")), data)


def engines(model: ModelFile) -> dict[str, Engine]:
    exported = onnx_opened(model)
    sources = {"openvino": Opened("model", model), "onnx": exported}
    made = {name: make_engine(opened, choose_engine(opened, name, "cpu", "fp32")) for name, opened in sources.items()}
    return made | {"openvino of onnx": make_engine(exported, choose_engine(exported, "openvino", "cpu", "fp32"))}


def assert_same_as_torch(made: Plan) -> None:
    network, model = model_of(made)
    windows = np.random.default_rng(1).normal(size=(1, len(made.channels), *made.window)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(windows)).numpy()
    for name, engine in engines(model).items():
        found = engine(windows)
        assert found.shape == expected.shape and found.dtype == np.float32, name
        np.testing.assert_allclose(found, expected, atol=1e-3 * max(1.0, np.abs(expected).max()), err_msg=name)


@pytest.mark.parametrize("decoder", ["unetr", "nup", "pup", "mla", "stem"])
@pytest.mark.parametrize("norm", ["instance", "instance_affine", "batch"])
def test_every_decoder_and_norm(decoder: str, norm: str) -> None:
    assert_same_as_torch(plan(decoder=decoder, norm=norm))


@pytest.mark.parametrize(
    "changes",
    [
        {"projection": "linear", "channels": 4},
        {"projection": "conv", "channels": 4},
        {"residual": False},
        {"tap_convolutions": False},
        {"qkv_bias": True, "final_norm": True},
        {"window": (16, 24, 32)},
        {"window": (20, 13, 9)},
        {"patch": 16, "depth": 4, "taps": (1, 2, 3, 4), "window": (48, 32, 48)},
        {"patch": 16, "depth": 4, "taps": (1, 2, 3, 4), "window": (48, 48, 48), "norm": "batch", "residual": False},
        {"patch": 4, "depth": 2, "taps": (1, 2), "feature_size": 6},
        {"decoder": "stem", "layer_scale": 0.1, "channels": 2, "window": (24, 32, 16)},
        {"decoder": "stem", "norm": "instance_affine", "projection": "conv", "window": (48, 48, 48)},
        {"decoder": "stem", "patch": 4, "residual": False, "qkv_bias": True, "window": (20, 13, 9)},
        {"layer_scale": 0.1, "norm": "instance_affine", "window": (48, 48, 48)},
        {"decoder": "stem", "stem_skips": 1, "norm": "instance_affine", "window": (48, 48, 48)},
        {"decoder": "stem", "stem_skips": 2, "window": (24, 32, 16)},
    ],
)
def test_every_option_of_the_network(changes: dict[str, Any]) -> None:
    assert_same_as_torch(plan(**changes))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_composed_kernel_is_both_steps(inputs: int, middle: int, outputs: int, size: int, seed: int) -> None:
    """Against torch doing a deconvolution and then a convolution, borders included."""
    generator = torch.Generator().manual_seed(seed)
    up = torch.randn((inputs, middle, 2, 2, 2), generator=generator, dtype=torch.float64)
    conv = torch.randn((outputs, middle, size, size, size), generator=generator, dtype=torch.float64)
    x = torch.randn((1, inputs, 3, 4, 5), generator=generator, dtype=torch.float64)
    functional = torch.nn.functional
    two_steps = functional.conv3d(functional.conv_transpose3d(x, up, stride=2), conv, padding=size // 2)
    kernel = torch.from_numpy(composed_kernel(up.numpy(), conv.numpy())).double()
    one = functional.conv_transpose3d(x, kernel, stride=2, padding=(size + 1) // 2 - 1)
    torch.testing.assert_close(one, two_steps, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("decoder.head.bias"), r"missing decoder\.head\.bias"),
        (lambda w: w.update(extra=np.zeros(3, np.float32)), "unexpected extra"),
        (lambda w: w.update({"encoder.norm.weight": np.zeros(5, np.float32)}), r"encoder\.norm\.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change: Any, said: str) -> None:
    _, model = model_of(plan(final_norm=True))
    weights = dict(model.weights)
    change(weights)
    opened = Opened("model", ModelFile(model.plan, None, {}, "CC0", weights, source="m.safetensors"))
    with pytest.raises(InputError, match=rf"m\.safetensors: .*{said}"):
        make_engine(opened, choose_engine(opened, "openvino", "cpu", "fp32"))


def test_bf16_is_near() -> None:
    made = plan(patch=16, depth=4, taps=(1, 2, 3, 4), window=(48, 32, 48))
    network, model = model_of(made)
    windows = np.random.default_rng(1).normal(size=(1, 1, *made.window)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(windows)).numpy()
    opened = Opened("model", model)
    found = make_engine(opened, choose_engine(opened, "openvino", "cpu", "bf16"))(windows)
    assert np.abs(found - expected).mean() < 0.03 * np.abs(expected).std()
    assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.98

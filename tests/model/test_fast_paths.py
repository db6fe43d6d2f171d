"""Where the network takes a faster road than PyTorch's own operator, both must arrive at the same place."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.blocks import Deconvolution, InstanceNorm, PointConvolution
from unetr.model.network.build import build_network
from unetr.model.network.encoder import attend
from unetr.prepare.planning.presets import PRESETS

INNERMOST = torch.channels_last_3d


def value_and_gradients(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    out = function(x)
    weights = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    (gradient,) = torch.autograd.grad((out * weights).sum(), x)
    return out.detach(), gradient


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, INNERMOST])
def test_instance_norm(batch: int, channels: int, layout: torch.memory_format) -> None:
    x = (5 + 3 * torch.randn(batch, channels, 5, 6, 7)).clone(memory_format=layout)
    for mode in (True, False):
        found = value_and_gradients(InstanceNorm(channels).train(mode), x)
        expected = value_and_gradients(lambda z: F.instance_norm(z.contiguous()), x)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("mean", [0.0, 3.0, 1000.0])
def test_instance_norm_of_many_voxels_is_exact(mean: float, affine: bool) -> None:
    """Against float64. PyTorch's batch norm in this layout is wrong by more than 1e-4 here."""
    x = (mean + torch.randn(1, 4, 48, 64, 48, generator=torch.Generator().manual_seed(0))).to(memory_format=INNERMOST)
    norm = InstanceNorm(4, affine=affine)
    if affine:
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
            norm.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 2.0]))
    scale, shift = (None if part is None else part.detach().double() for part in (norm.weight, norm.bias))
    found = value_and_gradients(norm, x)
    expected = value_and_gradients(lambda z: F.instance_norm(z, weight=scale, bias=shift), x.double().contiguous())
    # A mean of 1000 deviations leaves four digits in float32's input itself.
    torch.testing.assert_close(found[0].double(), expected[0], atol=2e-5 if mean < 1000 else 1e-3, rtol=0)
    torch.testing.assert_close(found[1].double(), expected[1], atol=1e-3 * float(expected[1].abs().max()), rtol=0)


def test_the_gradients_of_a_norms_own_weights() -> None:
    x = torch.randn(2, 3, 4, 5, 6).to(memory_format=INNERMOST)
    weights = torch.randn(2, 3, 4, 5, 6)
    gradients = []
    for layout in (INNERMOST, torch.contiguous_format):
        norm = InstanceNorm(3, affine=True)
        (norm(x.contiguous(memory_format=layout)) * weights).sum().backward()
        gradients.append((norm.weight.grad, norm.bias.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_instance_norm_keeps_channels_innermost() -> None:
    x = torch.randn(2, 4, 5, 6, 7).to(memory_format=INNERMOST)
    out, gradient = value_and_gradients(InstanceNorm(4), x)
    assert out.is_contiguous(memory_format=INNERMOST)
    assert gradient.is_contiguous(memory_format=INNERMOST)


@pytest.mark.parametrize("layout", [torch.contiguous_format, INNERMOST])
def test_deconvolution(layout: torch.memory_format) -> None:
    up = Deconvolution(5, 3)
    x = torch.randn(2, 5, 2, 3, 4).to(memory_format=layout)
    expected = value_and_gradients(lambda z: F.conv_transpose3d(z, up.weight, stride=2), x)
    torch.testing.assert_close(value_and_gradients(up, x), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, INNERMOST])
@pytest.mark.parametrize("bias", [True, False])
def test_point_convolution(layout: torch.memory_format, bias: bool) -> None:
    point = PointConvolution(5, 3, bias=bias)
    x = torch.randn(2, 5, 2, 3, 4).to(memory_format=layout)
    expected = value_and_gradients(lambda z: F.conv3d(z, point.weight, point.bias), x)
    torch.testing.assert_close(value_and_gradients(point, x), expected)
    assert (point.weight.shape, point.bias is not None) == ((3, 5, 1, 1, 1), bias)  # as files and MONAI have it


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("preset", ["small", "tiny"])
def test_every_norm_sees_channels_innermost(preset: str, batch: int) -> None:
    """Large enough that PyTorch takes its fast kernels; one channel, whose layouts it cannot tell apart."""
    network = build_network(PRESETS[preset].network, 1, 3, (32, 32, 32))
    seen: dict[str, bool] = {}
    for name, module in network.named_modules():
        if isinstance(module, InstanceNorm):
            module.register_forward_pre_hook(
                lambda _, inputs, name=name: seen.update({name: inputs[0].is_contiguous(memory_format=INNERMOST)})
            )
    with torch.no_grad():
        network(torch.randn(batch, 1, 32, 32, 32))
    assert len(seen) > 8
    assert [name for name, innermost in seen.items() if not innermost] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [5, 1025])
def test_attention(dtype: torch.dtype, tokens: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, tokens, 8, dtype=torch.float64) for _ in range(3))
    exact = torch.softmax(q @ k.transpose(2, 3) / 8**0.5, dim=-1) @ v
    found = attend(q.to(dtype), k.to(dtype), v.to(dtype))
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    assert float((found.double() - exact).abs().max()) < tolerance


def test_bfloat16_is_close_to_float32(small_network: Callable[..., NetworkPlan]) -> None:
    """The layouts and kernels that bfloat16 takes, against the ones of float32, through the whole network."""
    network = build_network(small_network(), 1, 3, (16, 16, 16))
    x, weights = torch.randn(2, 1, 16, 16, 16), torch.randn(2, 3, 16, 16, 16)
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = network(x)
        (logits.float() * weights).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert logits.dtype == torch.bfloat16
    assert float(F.cosine_similarity(gradients[0], gradients[1], dim=0)) > 0.99


@pytest.mark.parametrize("channels", [1, 2])
def test_the_input_path_runs_with_channels_innermost(channels: int, small_network: Callable[..., NetworkPlan]) -> None:
    network = build_network(small_network(), channels, 3, (16, 16, 16))
    layouts = []
    network.decoder.register_forward_pre_hook(lambda module, inputs: layouts.append(inputs[0][0].stride()))
    network(torch.randn(1, channels, 16, 16, 16))
    assert layouts[0][1] == 1


def test_exporters_see_instance_normalisation(small_network: Callable[..., NetworkPlan]) -> None:
    network = build_network(small_network(), 1, 3, (16, 16, 16)).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    operators = {str(node.target) for node in torch.export.export(network, (x,)).graph.nodes}
    assert "aten.instance_norm.default" in operators
    assert "aten.scaled_dot_product_attention.default" in operators
    assert not any("batch_norm" in name for name in operators)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told to keep memory")
def test_kept_memory_is_not_faulted_in_again() -> None:
    code = """
import resource
import numpy
from unetr.core.machine.allocator import keep_freed_memory

def faults_of_one_round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [numpy.ones(1 << 22) for _ in range(3)]  # 32 MB each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

rounds = [faults_of_one_round() for _ in range(5)]
assert keep_freed_memory()
kept = [faults_of_one_round() for _ in range(8)]  # the heap needs a few to have its final shape
print(rounds[-1], kept[-1])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    usual, kept = map(int, done.stdout.split())
    assert usual > 1000
    assert kept < usual / 10

"""The network against closed forms, shapes, and itself: any size, every gradient, the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from unetr.core.plan.schema import NetworkPlan
from unetr.model.network.build import build_network, empty_network
from unetr.model.network.decoders import DECODERS
from unetr.model.network.encoder import Attention, Block
from unetr.model.network.patch_embedding import PatchEmbedding

Small = Callable[..., NetworkPlan]


def test_paper_preset_has_the_papers_number_of_parameters() -> None:
    network = empty_network(NetworkPlan(), 1, 14, (96, 96, 96))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert abs(count - 92.58e6) <= 0.3e6


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("residual", [True, False])
def test_gradients_reach_every_parameter(decoder: str, norm: str, residual: bool, small_network: Small) -> None:
    plan = small_network(decoder=decoder, norm=norm, residual=residual, final_norm=True, qkv_bias=True)
    network = build_network(plan, 2, 3, (16, 16, 24))
    logits = network(torch.randn(2, 2, 16, 16, 24))
    F.cross_entropy(logits, torch.randint(0, 3, (2, 16, 16, 24))).backward()
    for name, parameter in network.named_parameters():
        if name.endswith("attention.qkv.bias"):
            # softmax does not change when every key is shifted alike: the key third has no gradient, by theory.
            width = plan.width
            used = torch.cat([parameter.grad[:width], parameter.grad[2 * width :]])
            assert used.abs().min() > 0, name
        else:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("patch", "taps"), [(8, (1, 2, 3)), (16, (1, 2, 3, 4)), (32, (1, 2, 3, 4, 5))])
def test_every_decoder_comes_back_to_full_size(
    decoder: str, patch: int, taps: tuple[int, ...], small_network: Small
) -> None:
    network = build_network(small_network(decoder=decoder, patch=patch, taps=taps, depth=taps[-1]), 1, 5, (64, 32, 64))
    assert network(torch.randn(1, 1, 64, 32, 64)).shape == (1, 5, 64, 32, 64)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 16, 16), (15, 9, 31), (3, 40, 5), (1, 1, 1)])
def test_any_input_size(shape: tuple[int, int, int], small_network: Small) -> None:
    network = build_network(small_network(), 1, 3, (16, 16, 16)).eval()
    logits = network(torch.randn(2, 1, *shape))
    assert logits.shape == (2, 3, *shape)
    assert torch.isfinite(logits).all()


def test_padding_is_zeros_at_the_far_end(small_network: Small) -> None:
    network = build_network(small_network(), 1, 3, (16, 16, 16)).eval()
    x = torch.randn(1, 1, 13, 16, 9)
    padded = torch.zeros(1, 1, 16, 16, 16)
    padded[:, :, :13, :, :9] = x
    torch.testing.assert_close(network(x), network(padded)[:, :, :13, :, :9])


def test_linear_and_conv_projection_are_a_strided_convolution() -> None:
    patch, channels, width = 4, 2, 6
    x = torch.randn(1, channels, 8, 4, 12)
    kernel, bias = torch.randn(width, channels, patch, patch, patch), torch.randn(width)
    expected = F.conv3d(x, kernel, bias, stride=patch).flatten(2).transpose(1, 2)
    layouts = {"conv": kernel.flatten(1), "linear": kernel.permute(0, 2, 3, 4, 1).flatten(1)}
    for projection, weight in layouts.items():
        embedding = PatchEmbedding(channels, width, patch, (2, 1, 3), projection)  # type: ignore[arg-type]
        torch.nn.init.zeros_(embedding.position)
        embedding.projection.load_state_dict({"weight": weight, "bias": bias})
        torch.testing.assert_close(embedding(x, x), expected)


def test_positions_are_the_learned_ones_on_their_own_grid() -> None:
    embedding = PatchEmbedding(1, 6, 4, (2, 3, 4))
    torch.nn.init.normal_(embedding.position)
    assert embedding.position_for((2, 3, 4)) is embedding.position


def test_positions_between_learned_ones_are_linear() -> None:
    embedding = PatchEmbedding(1, 1, 4, (4, 1, 1))
    with torch.no_grad():
        embedding.position.copy_(torch.tensor([[0.0], [4.0], [8.0], [12.0]]))
    # Twice as many patches over the same extent: centres at 1/4 and 3/4 of each old patch, held at the ends.
    expected = torch.tensor([0.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 12.0])
    torch.testing.assert_close(embedding.position_for((8, 1, 1))[:, 0], expected)


def test_positions_keep_their_axes() -> None:
    embedding = PatchEmbedding(1, 3, 4, (2, 3, 4))
    with torch.no_grad():
        index = torch.stack(torch.meshgrid(*map(torch.arange, (2.0, 3.0, 4.0)), indexing="ij"), dim=-1)
        embedding.position.copy_(index.reshape(-1, 3))
    finer = embedding.position_for((4, 9, 4)).reshape(4, 9, 4, 3)
    torch.testing.assert_close(finer[0, 1::3, 0, 1], torch.arange(3.0))  # old centres coincide with every third new one
    torch.testing.assert_close(finer[2, 4, :, 2], torch.arange(4.0))


def test_attention_is_the_formula() -> None:
    attention = Attention(12, heads=3, qkv_bias=True, dropout=0.0)
    x = torch.randn(2, 5, 12)
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    heads = []
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / 4**0.5, dim=-1)
        heads.append(weights @ v[..., part])
    torch.testing.assert_close(attention(x), attention.output(torch.cat(heads, dim=-1)))


def test_block_is_pre_norm_with_two_residuals() -> None:
    block = Block(12, heads=3, mlp_width=20, qkv_bias=False, dropout=0.0, layer_scale=0.0)
    z = torch.randn(2, 5, 12)
    middle = block.attention(block.attention_norm(z)) + z
    expected = block.mlp_output(F.gelu(block.mlp_hidden(block.mlp_norm(middle)))) + middle
    torch.testing.assert_close(block(z), expected)


def test_layer_scale_weighs_what_a_block_adds() -> None:
    block = Block(12, heads=3, mlp_width=20, qkv_bias=False, dropout=0.0, layer_scale=0.1)
    for scale in (block.attention_scale, block.mlp_scale):
        torch.nn.init.constant_(scale.weight, 0.1)  # type: ignore[arg-type]
    z = torch.randn(2, 5, 12)
    middle = 0.1 * block.attention(block.attention_norm(z)) + z
    expected = 0.1 * block.mlp_output(F.gelu(block.mlp_hidden(block.mlp_norm(middle)))) + middle
    torch.testing.assert_close(block(z), expected)


def test_taps_are_numbered_from_one(small_network: Small) -> None:
    network = build_network(small_network(taps=(1, 2, 4), depth=4), 1, 3, (16, 16, 16)).eval()
    z = torch.randn(1, 8, 24)
    outputs = []
    for block in network.encoder.blocks:
        z_in = z if not outputs else outputs[-1]
        outputs.append(block(z_in))
    tapped = network.encoder(z)
    for found, expected in zip(tapped, [outputs[0], outputs[1], outputs[3]], strict=True):
        torch.testing.assert_close(found, expected)


def test_dropout_acts_in_training_only(small_network: Small) -> None:
    network = build_network(small_network(dropout=0.5), 1, 3, (16, 16, 16))
    x = torch.randn(1, 1, 16, 16, 16)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_the_seed_decides_every_weight_and_the_global_state_is_left_alone(small_network: Small) -> None:
    state = torch.get_rng_state()
    first, again, other = (build_network(small_network(norm="batch"), 1, 3, (16,) * 3, seed=s) for s in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    for name, parameter in first.named_parameters():
        if parameter.ndim > 1:  # scales and shifts start at 1 and 0
            assert not torch.equal(parameter, other.get_parameter(name)), name


def test_first_logits_are_moderate(small_network: Small) -> None:
    """An untrained network must not be sure: cross entropy near log J."""
    network = build_network(small_network(), 1, 5, (16, 16, 16))
    logits = network(torch.randn(2, 1, 16, 16, 16))
    loss = F.cross_entropy(logits, torch.randint(0, 5, (2, 16, 16, 16)))
    assert abs(loss.item() - math.log(5)) < 0.7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taps": (1, 3)}, "needs 3 taps"),
        ({"patch": 12}, "12 is not a power of two"),
        ({"patch": 1}, "1 is not a power of two"),
        ({"decoder": "fpn"}, "choose one of unetr, nup, pup, mla, stem"),
        ({"depth": 5}, "last tap 3 must be the last block"),
    ],
)
def test_impossible_networks_are_refused(changes: dict[str, object], words: str, small_network: Small) -> None:
    with pytest.raises(ValueError, match=words):
        build_network(small_network(**changes), 1, 3, (16, 16, 16))

"""What the transformer contributes: the Dice of a trained network with its blocks bypassed, one kind or all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from unetr.errors import InputError
from unetr.infer.engines.torch import choose_device
from unetr.model.file.model_file import ModelFile, read_model
from unetr.model.network.encoder import Block
from unetr.model.torch_network import network_from
from unetr.prepare.cache import Cache, case_key
from unetr.train.run.folder import Run, read_settings
from unetr.train.validate import ValidationReport, validate


class _Nothing(nn.Module):
    """A branch of a block that adds nothing."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """z [B, N, K] -> zeros of the same shape."""
        return torch.zeros_like(z)


def _without_attention(block: Block) -> None:
    block.attention = _Nothing()  # type: ignore[assignment]


def _without_mlp(block: Block) -> None:
    block.mlp_hidden = nn.Identity()  # type: ignore[assignment]
    block.mlp_output = _Nothing()  # type: ignore[assignment]


def _without_block(block: Block) -> None:
    _without_attention(block)
    _without_mlp(block)


# What is bypassed -> how, block by block. A bypassed part hands on what it got.
BYPASSES: dict[str, Callable[[Block], None]] = {
    "nothing": lambda block: None,
    "attention": _without_attention,
    "MLPs": _without_mlp,
    "transformer": _without_block,
}


def bypassed(model: ModelFile, what: str) -> nn.Module:
    """The network of a model file with one of BYPASSES applied to all blocks; the file's weights stay as they are.

    Raises InputError for a network without transformer blocks of ours.
    """
    network = network_from(model)
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    if not blocks:
        raise InputError(f"{model.source}: network {model.plan.network.preset} has no transformer of unetr's to bypass")
    for block in blocks:
        BYPASSES[what](block)
    return network


def ablate(path: Path, progress: Callable[[int, int], None]) -> dict[str, ValidationReport]:
    """Dice of a run's validation cases with each of BYPASSES. path: the run's folder, or a model file in it.

    On the run's prepared cases, by the same sliding window as in training. Raises InputError for what is no run or has
    no validation cases.
    """
    run = Run(path if path.is_dir() else path.parent)
    settings = read_settings(run)
    model = read_model(run.model if path.is_dir() else path)
    if not settings.validation_cases:
        raise InputError(f"{run.folder}: was trained on all cases; expected a run with a fold that validates")
    known = {} if settings.data is None else settings.data.cases
    keys = {case: case_key(known[case], model.plan) for case in settings.validation_cases if case in known}
    cache = Cache(run.cache, settings.validation_cases, keys)
    device = choose_device("auto")
    found = {}
    for done, what in enumerate(BYPASSES, start=1):
        network = bypassed(model, what).to(device)
        found[what] = validate(network, cache, settings.validation_cases, model.plan, 0)
        progress(done, len(BYPASSES))
    return found

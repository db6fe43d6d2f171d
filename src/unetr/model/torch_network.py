"""The network of a model file, in torch."""

from __future__ import annotations

import torch
from torch import nn

from unetr.errors import InputError
from unetr.model.file.model_file import ModelFile
from unetr.model.network.build import empty_network
from unetr.model.network.shapes import fit_problem, shape_problems


def network_from(model: ModelFile) -> nn.Module:
    """The network of a model file, in evaluation mode, sharing memory with the file's arrays.

    Raises InputError that lists every missing, unexpected and mis-shaped weight.
    """
    plan = model.plan
    weights = {name: torch.as_tensor(array) for name, array in model.weights.items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problem = "" if plan.network.peer else fit_problem(plan, found)
    if problem:
        raise InputError(f"{model.source}: {problem}")
    try:
        network = empty_network(plan.network, plan.in_channels, plan.outputs, plan.window)
    except ValueError as error:
        raise InputError(f"{model.source}: {error}") from None
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    problems = shape_problems(expected, found)
    if problems:
        raise InputError(f"{model.source}: the weights do not fit the plan's network: {'; '.join(problems)}")
    network.load_state_dict(weights, assign=True)
    return network.eval()

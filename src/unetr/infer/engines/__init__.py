"""Engines: what executes the network. Each is a function (model file, device) -> (windows -> logits).

Adding an engine is one function and one line in ENGINES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unetr.infer.window import Engine

if TYPE_CHECKING:
    from unetr.model.file import ModelFile


def _torch(model: ModelFile, device: str, precision: str) -> Engine:
    from unetr.infer.engines.torch import torch_engine

    return torch_engine(model, device, precision)


ENGINES: dict[str, Callable[[ModelFile, str, str], Engine]] = {"torch": _torch}

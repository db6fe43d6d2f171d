"""Weights in fewer bytes, for models that are passed around: rounded when stored, float32 again when read.

Matrices of the transformer, most of a network, become int8 with a factor for each row; everything else float16. Knows
arrays by name; knows no files.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from unetr.core.space.volume import Array
from unetr.errors import InputError

_FACTOR = ".row_factor"
_STEPS = 127
_LARGEST = float(np.finfo(np.float16).max)
_SMALL = 4096  # numbers up to which a matrix is not worth rounding to int8


def compacted(weights: Mapping[str, ArrayLike], source: str) -> dict[str, Array]:
    """float32 weights -> int8 [rows, columns] with NAME.row_factor float32 [rows], or float16.

    Positions are no matrix in this sense: their rows are tokens. Raises InputError that names a weight beyond
    float16, or not finite.
    """
    small: dict[str, Array] = {}
    for name, weight in weights.items():
        full = np.asarray(weight)
        if not np.isfinite(full).all():
            raise InputError(f"{source}: weight {name} is not finite everywhere; it cannot be stored")
        if full.ndim == 2 and full.size > _SMALL and not name.endswith("position"):
            factor = np.abs(full).max(axis=1) / _STEPS
            steps = np.divide(full, factor[:, None], out=np.zeros_like(full), where=factor[:, None] > 0)
            small[name] = np.rint(steps).astype(np.int8)
            small[name + _FACTOR] = factor.astype(np.float32)
        else:
            if np.abs(full).max(initial=0) > _LARGEST:
                raise InputError(f"{source}: weight {name} has values beyond 65504; it cannot be stored as float16")
            small[name] = full.astype(np.float16)
    return small


def expanded(weights: Mapping[str, Array]) -> dict[str, Array]:
    """What `compacted` gave, or weights as they are, -> float32 weights."""
    full: dict[str, Array] = {}
    for name, weight in weights.items():
        factor = weights.get(name + _FACTOR)
        if factor is not None and weight.dtype == np.int8 and weight.ndim == 2 and factor.shape == weight.shape[:1]:
            full[name] = weight.astype(np.float32) * factor[:, None]
        elif not (name.endswith(_FACTOR) and name.removesuffix(_FACTOR) in weights):
            full[name] = weight.astype(np.float32) if weight.dtype == np.float16 else weight
    return full

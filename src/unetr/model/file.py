"""The model file: one .safetensors file with all that prediction needs. Knows plans and arrays; does not need torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from unetr.core.fingerprint import Fingerprint
from unetr.core.plan import Plan, parse_plan
from unetr.core.volume import Array
from unetr.errors import InputError
from unetr.model.sealed import read_sealed, write_sealed

FORMAT = "unetr-model"
FORMAT_VERSION = "1"


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """Weights and everything that is known about them.

    fingerprint: of the training data, None for weights converted from elsewhere. metrics: the validation results, plain
    JSON. licence: of the weights, in the words of who trained them. weights: the network's parameter names -> arrays,
    float32; `write_model` also takes torch tensors on the CPU, and float16, read as float32 again. created_by: program
    and version, set by `write_model`. source: the file's name, for errors, and sha256: the file's digest, set by
    `read_model`.
    """

    plan: Plan
    fingerprint: Fingerprint | None
    metrics: dict[str, Any]
    licence: str
    weights: Mapping[str, ArrayLike]
    created_by: str = ""
    source: str = "the model"
    sha256: str = ""


def write_model(path: Path, model: ModelFile) -> str:
    """Writes atomically and verifies what was written; returns the file's SHA-256. Raises MachineError."""
    return write_sealed(path, model.weights, describe(model))


def read_model(path: Path) -> ModelFile:
    """Reads and verifies a model file. Raises InputError, one line that names the file.

    Whether the weights fit the plan's network is checked where the network is built (`build.network_from`).
    """
    weights, metadata = read_sealed(path, FORMAT, FORMAT_VERSION)
    return described(metadata, {name: _as_float32(weight) for name, weight in weights.items()}, path)


def halved(model: ModelFile) -> ModelFile:
    """The model with its weights rounded to float16: half the file, for models that are passed around.

    Raises InputError where a weight is beyond what float16 holds.
    """
    weights = {name: np.asarray(weight).astype(np.float16) for name, weight in model.weights.items()}
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise InputError(f"{model.source}: weight {name} has values beyond 65504; it cannot be stored as float16")
    return replace(model, weights=weights)


def describe(model: ModelFile) -> dict[str, str]:
    """Everything about a model but its weights, as text, for the metadata of a file."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "plan": model.plan.model_dump_json(),
        "fingerprint": model.fingerprint.model_dump_json() if model.fingerprint else "",
        "metrics": json.dumps(_finite(model.metrics), ensure_ascii=False, allow_nan=False),
        "licence": model.licence,
        "created_by": model.created_by or f"unetr {version('unetr')}",
    }


def described(metadata: Mapping[str, str], weights: Mapping[str, ArrayLike], path: Path) -> ModelFile:
    """The inverse of `describe`; "sha256" is the file's digest. Raises InputError that names the file."""
    try:
        plan = parse_plan(json.loads(metadata["plan"]), f"{path}: plan")
        fingerprint = Fingerprint.model_validate_json(metadata["fingerprint"]) if metadata["fingerprint"] else None
        return ModelFile(
            plan=plan,
            fingerprint=fingerprint,
            metrics=json.loads(metadata["metrics"]),
            licence=metadata["licence"],
            weights=weights,
            created_by=metadata["created_by"],
            source=str(path),
            sha256=metadata["sha256"],
        )
    except KeyError as error:
        raise InputError(f"{path}: has no metadata entry {error}; it was not written by unetr") from None
    except ValidationError as error:
        raise InputError(f"{path}: fingerprint: {error.errors()[0]['msg']}") from None
    except ValueError as error:
        raise InputError(f"{path}: metadata are not JSON: {error}") from None


def _as_float32(weight: Array) -> Array:
    return weight.astype(np.float32) if weight.dtype == np.float16 else weight


def _finite(value: Any) -> Any:
    """JSON has no NaN: undefined metrics (structure absent in truth and prediction) become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value

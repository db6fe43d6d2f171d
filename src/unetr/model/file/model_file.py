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

from unetr.core.plan.file import parse_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.space.volume import Array
from unetr.core.text.reading import parse_json
from unetr.core.text.records import record_from
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError
from unetr.model.file.compact import compacted, expanded
from unetr.model.file.sealed import read_sealed, write_sealed

FORMAT = "unetr-model"
FORMAT_VERSION = "1"
# Of bfloat16, in which some machines run the network; float32 goes on a little further.
_LARGEST = 3.3895e38


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """Weights and everything that is known about them.

    fingerprint: of the training data, None for weights converted from elsewhere. metrics: the validation results, plain
    JSON. licence: of the weights, in the words of who trained them. weights: the network's parameter names -> arrays,
    float32; `write_model` also takes torch tensors on the CPU, and what `compact` makes. created_by: program and
    version, set by `write_model`. source: the file's name, for errors, and sha256: the file's digest, set by
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


@reads_untrusted("a unetr-model file")
def read_model(path: Path) -> ModelFile:
    """Reads and verifies a model file. Raises InputError, one line that names the file.

    Every weight is finite. Whether they fit the plan's network is checked where it is built (`shapes.fit_problem`).
    """
    arrays, metadata = read_sealed(path, FORMAT, FORMAT_VERSION)
    weights = expanded(arrays)
    model = described(metadata, weights, path)
    check_numbers(weights, str(path))
    return model


def check_numbers(weights: Mapping[str, Array], source: str) -> None:
    """Raises InputError that names a weight which is not float32, or not finite as float32 and as bfloat16.

    Integers are counters and tables of networks: they are compared where the network is built.
    """
    for name, weight in weights.items():
        if weight.dtype.kind in "iub":
            continue
        if weight.dtype != np.float32:
            raise InputError(f"{source}: weight {name[:100]} is {weight.dtype}; expected float32")
        # The least and the largest are NaN where any is; without a copy, in one pass each.
        least, largest = (weight.min(), weight.max()) if weight.size else (0.0, 0.0)
        if not (least >= -_LARGEST and largest <= _LARGEST):
            raise InputError(f"{source}: weight {name[:100]} has values that are NaN or infinite; train it again")


def compact(model: ModelFile) -> ModelFile:
    """The model with its weights rounded to fewer bytes, a quarter to a half of the file. Raises InputError."""
    return replace(model, weights=compacted(model.weights, model.source))


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
        plan = parse_plan(parse_json(metadata["plan"], f"{path}: plan"), f"{path}: plan")
        return ModelFile(
            plan=plan,
            fingerprint=_fingerprint(metadata["fingerprint"], f"{path}: fingerprint"),
            metrics=_metrics(metadata["metrics"], f"{path}: metrics"),
            licence=metadata["licence"],
            weights=weights,
            created_by=metadata["created_by"],
            source=str(path),
            sha256=metadata["sha256"],
        )
    except KeyError as error:
        raise InputError(f"{path}: has no metadata entry {error}; it was not written by unetr") from None


def _fingerprint(text: str, source: str) -> Fingerprint | None:
    return record_from(Fingerprint, parse_json(text, source), source) if text else None


def _metrics(text: str, source: str) -> dict[str, Any]:
    found = parse_json(text, source)
    if not isinstance(found, dict):
        raise InputError(f"{source}: holds a {type(found).__name__}; expected a JSON object")
    return found


def _finite(value: Any) -> Any:
    """JSON has no NaN: undefined metrics (structure absent in truth and prediction) become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value

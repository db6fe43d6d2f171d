"""Compiled networks on disk, beside the model file or in the user's cache folder: the next run need not compile.

Only where it saves time: a blob holds all weights, and above LARGEST_BYTES reading it takes longer than compiling
(docs/decisions.md). The cache is a convenience: whatever goes wrong with it, the network is compiled.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr.errors import UnetrError
from unetr.model.artefact import Opened
from unetr.model.sealed import read_sealed, write_sealed

LARGEST_BYTES = 60 * 10**6
_FORMAT = "unetr-compiled"
_BLOB = "network"
_SUFFIX = ".compiled"


def cache_path(opened: Opened, made_by: str) -> Path | None:
    """Where the compiled network of a model is kept; None for one that is not cached.

    made_by: everything besides the model that the compiled network depends on, such as runtime, precision and machine.
    """
    model = Path(opened.source)
    size = sum(np.asarray(array).nbytes for array in opened.model.weights.values())
    if opened.kind != "model" or not opened.model.sha256 or size > LARGEST_BYTES:
        return None
    key = hashlib.sha256(f"{opened.model.sha256} {made_by}".encode()).hexdigest()[:32]
    beside = os.access(model.parent, os.W_OK)
    folder = model.parent if beside else Path.home() / ".cache" / "unetr"
    return folder / f".{model.stem}.{key}{_SUFFIX}"


def read_compiled(path: Path) -> NDArray[np.uint8] | None:
    """The blob, if it is there and proves to be what was written."""
    if not path.is_file():
        return None
    try:
        arrays, _ = read_sealed(path, _FORMAT)
        return arrays.get(_BLOB)
    except UnetrError:
        return None


def write_compiled(path: Path, blob: bytes) -> None:
    """Keeps a blob, in place of those of the same model for other settings. Failing to is no error."""
    with suppress(UnetrError, OSError):
        write_sealed(path, {_BLOB: np.frombuffer(blob, np.uint8)}, {"format": _FORMAT})
        model = path.name[1:].rsplit(".", 2)[0]
        for other in path.parent.iterdir():
            if other != path and other.name.startswith(f".{model}.") and other.name.endswith(_SUFFIX):
                other.unlink()

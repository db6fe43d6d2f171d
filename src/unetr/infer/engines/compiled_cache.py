"""Compiled networks in a folder that is the user's alone: the next run need not compile.

A compiled network decides what a prediction says as much as the model does, so it is kept nowhere that others can
write to: not beside the model, not in this package. Only where it saves time: a blob holds all weights, and above
LARGEST_BYTES reading it takes longer than compiling (docs/lab/decisions.md). Whatever goes wrong with it, the network
is compiled.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr.core.files.atomic import is_leftover
from unetr.core.files.private import open_private, private_folder
from unetr.errors import UnetrError
from unetr.model.file.sealed import read_sealed, write_sealed
from unetr.model.open_model import Opened

LARGEST_BYTES = 60 * 10**6
# Of all blobs together; the ones that were not used for longest go first.
LIMIT_BYTES = 500 * 10**6
_FORMAT = "unetr-compiled"
_BLOB = "network"
_SUFFIX = ".compiled"
# Another process may be writing what is younger.
_LEFTOVER_SECONDS = 3600


def cache_key(opened: Opened, made_by: str) -> str | None:
    """What the compiled network of a model is kept under; None for one that is not cached.

    made_by: everything besides the model that the compiled network depends on, such as runtime, precision and machine.
    """
    size = sum(np.asarray(array).nbytes for array in opened.model.weights.values())
    if opened.kind != "model" or not opened.model.sha256 or size > LARGEST_BYTES:
        return None
    told = f"{opened.model.sha256}\n{opened.plan.model_dump_json()}\n{made_by}"
    return hashlib.sha256(told.encode(errors="backslashreplace")).hexdigest()


def read_compiled(key: str) -> NDArray[np.uint8] | None:
    """The blob, if it is there and proves to be what this user's unetr wrote under this key."""
    path = _path(key)
    if path is None:
        return None
    with suppress(UnetrError, OSError, MemoryError):
        arrays, metadata = read_sealed(path, _FORMAT, opener=open_private)
        if metadata.get("key") == key:
            with suppress(OSError):
                os.utime(path)  # used now
            return arrays.get(_BLOB)
    return None


def write_compiled(key: str, blob: bytes) -> None:
    """Keeps a blob, and drops the oldest where there are too many. Failing to is no error."""
    path = _path(key)
    if path is None or len(blob) > LIMIT_BYTES:
        return
    with suppress(UnetrError, OSError, MemoryError):
        _make_room(path.parent, len(blob))
        write_sealed(path, {_BLOB: np.frombuffer(blob, np.uint8)}, {"format": _FORMAT, "key": key})


def _path(key: str) -> Path | None:
    folder = private_folder("compiled")
    return None if folder is None else folder / f"{key}{_SUFFIX}"


def _make_room(folder: Path, size: int) -> None:
    """Removes what killed processes left behind, and the blobs that were not used for longest, for one of this size."""
    blobs = []
    for path in folder.iterdir():
        # Another process may take any of them away meanwhile.
        with suppress(OSError):
            found = path.lstat()
            if is_leftover(path) and found.st_mtime < time.time() - _LEFTOVER_SECONDS:
                path.unlink()
            elif path.suffix == _SUFFIX:
                blobs.append((found.st_mtime, found.st_size, path))
    total = size + sum(blob_size for _, blob_size, _ in blobs)
    for _, blob_size, path in sorted(blobs):
        if total <= LIMIT_BYTES:
            break
        with suppress(OSError):
            path.unlink()
            total -= blob_size

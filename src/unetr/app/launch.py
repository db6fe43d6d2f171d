"""How this process was started: alone, or by torchrun as one of several. Reads the environment, as torchrun sets it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.train.team import Launch


def launched_rank() -> int:
    """The rank that torchrun gave this process, 0 for one alone."""
    return int(os.environ["RANK"]) if _by_torchrun() else 0


def launch(sharded: bool) -> Launch:
    """The processes that train together. Raises InputError where machines have different numbers of them."""
    from unetr.train.team import Launch

    if not _by_torchrun():
        return Launch(sharded=sharded)
    size, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if size % local:
        raise InputError(
            f"torchrun started {size} processes, {local} of them on this machine; "
            "expected the same number on each (--nproc-per-node)"
        )
    return Launch(local, size // local, launched_rank(), sharded)


def _by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ

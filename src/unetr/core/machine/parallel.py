"""Work on arrays in threads: numpy lets go of the interpreter while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def in_threads(work: Callable[[ItemT], ResultT], items: Sequence[ItemT]) -> list[ResultT]:
    """`work` of each item, in the order of the items, on all available cores. Raises what `work` raises."""
    cores = min(available_cores(), len(items))
    if cores <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, items))


def ranges(length: int, step: int) -> list[slice]:
    """0..length in pieces of `step`."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]

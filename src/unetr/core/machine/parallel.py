"""Work on arrays in threads: numpy lets go of the interpreter while it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from unetr.core.machine.system import available_cores

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


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

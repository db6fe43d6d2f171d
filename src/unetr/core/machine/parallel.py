"""Work in threads: numpy lets go of the interpreter while it computes, and files are read while others wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
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


def with_choices(work: Callable[[ItemT], ResultT]) -> Callable[[ItemT], ResultT]:
    """The same work with this thread's choices (context variables), memory limit included, in whatever thread."""
    context = copy_context()
    return lambda item: context.copy().run(work, item)


def in_turn(
    work: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    progress: Callable[[int, int], None] | None = None,
    threads: int = 2,
) -> list[ResultT]:
    """`work` of each item, in the order of the items, with this thread's choices; `progress(done, total)` after each.

    For work that reads files: few at a time, since each takes memory. Raises what `work` raises; items that have not
    begun by then, or at Ctrl-C, are dropped.
    """
    done: list[ResultT] = []
    pool = ThreadPoolExecutor(threads)
    try:
        for result in pool.map(with_choices(work), items):
            done.append(result)
            if progress is not None:
                progress(len(done), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return done


def ranges(length: int, step: int) -> list[slice]:
    """0..length in pieces of `step`."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]

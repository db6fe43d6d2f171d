"""Which of a NIfTI header's two affines counts where they disagree: sform and qform may be two frames of space.

A choice for everything that is read within `taking`, since it is a person's word on a whole dataset, or a model's plan.
It reaches threads that are given work by `with_choices`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Literal, TypeVar

Transform = Literal["qform", "sform"]
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_TAKEN: ContextVar[Transform | None] = ContextVar("transform", default=None)


@contextmanager
def taking(transform: Transform | None) -> Iterator[None]:
    """Within, this affine counts where a header's two disagree; None leaves it as it was."""
    token = _TAKEN.set(transform or _TAKEN.get())
    try:
        yield
    finally:
        _TAKEN.reset(token)


def taken() -> Transform | None:
    """What counts now; None: a header whose affines disagree is refused."""
    return _TAKEN.get()


def with_choices(work: Callable[[ItemT], ResultT]) -> Callable[[ItemT], ResultT]:
    """The same work with this thread's choices, memory limit included, in whatever thread it is called."""
    context = copy_context()
    return lambda item: context.copy().run(work, item)
